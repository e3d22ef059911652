"""The stage ``initial_reference``."""
