"""The stage ``reorient``."""
