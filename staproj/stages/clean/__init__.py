"""Stage ``clean``."""
