"""Stage ``import_movies``."""
