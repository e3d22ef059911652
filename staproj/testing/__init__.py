"""Synthetic microscope sessions with truth, scores against truth, and a harness that runs one stage.

Shipped with the package, so that ``staproj demo`` and authors of plug-in stages can use them.
"""
