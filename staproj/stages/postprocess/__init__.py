"""Weighting and sharpening of the final map."""
