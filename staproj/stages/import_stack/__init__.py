"""Stage ``import_stack``."""
