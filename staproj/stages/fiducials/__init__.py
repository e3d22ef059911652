"""Gold beads found and followed."""
