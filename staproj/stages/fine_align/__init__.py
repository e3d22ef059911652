"""Fine alignment by bundle adjustment of bead tracks."""
