"""Soft masks."""
