"""Values that were written into the manifest, as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staproj.report.runs import value_text


def change_line(change: Mapping[str, Any]) -> str:
    """Return a changed value with what it was.

    >>> change_line({"field": "ctf.defocus_max_um", "item": "TS_01", "old": 8.0, "new": 6.5})
    'ctf.defocus_max_um of TS_01: 8 -> 6.5'
    """
    of = f" of {change['item']}" if change["item"] else ""
    return f"{change['field']}{of}: {value_text(change['old'])} -> {value_text(change['new'])}"


def set_lines(told: Mapping[str, Any]) -> list[str]:
    """Return what was changed and what is to be run now."""
    lines = [change_line(change) for change in told["changes"]] or ["nothing changed"]
    stale = ", ".join(told["stale"])
    to_do = f"to run now: {stale}; `staproj run` does it" if stale else "everything is as it was made"
    return [*lines, to_do]
