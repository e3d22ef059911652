"""The stage ``average``."""
