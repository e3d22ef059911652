"""Coarse alignment by cross-correlation."""
