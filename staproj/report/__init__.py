"""Results as text: tables, small plots, pass marks; one wording for command line, UI and reports.

Nothing here prints: functions return lines.
"""
