"""Results as text: tables, small plots and pass marks, the same words on the command line, in the UI and in reports.

Nothing here prints: functions return lines.
"""
