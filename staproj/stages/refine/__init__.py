"""The stage ``refine``."""
