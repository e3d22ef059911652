"""The stage ``match``."""
