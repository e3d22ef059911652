"""Starting poses on surfaces."""
