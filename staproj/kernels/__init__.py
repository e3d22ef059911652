"""Arrays in, arrays out: no files, no logs, no clock, no configuration, no hidden random state."""
