"""Stage ``motion``."""
