"""Which particles to keep, and their half-sets."""
