"""The command line: one thin function a command, each calling ``staproj.api``.

Only ``output.py`` writes to stdout, only ``diagnostics.py`` to stderr. Commands are imported when called.
"""
