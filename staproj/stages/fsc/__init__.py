"""Fourier shell correlation of half maps."""
