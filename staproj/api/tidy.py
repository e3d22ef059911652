"""The manifest without tables that an edit has left empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from staproj.errors import ManifestError
from staproj.project import manifest_edit, reading
from staproj.project.manifest import Change

_KEPT = 2
"""A step stays, whatever goes from it."""


def without_empty(text: str, edits: Iterable[Change]) -> str:
    """Return the text without tables that ``edits`` took the last key from, unless a remark stands there.

    A table goes only if nothing but the line of its heading goes with it.
    """
    for keys in dict.fromkeys(change.keys[:-1] for change in edits if change.value is None):
        data = reading.parse_toml(text)
        depth = len(keys)
        while depth > _KEPT and _is_empty(data, keys[:depth], depth == len(keys)):
            depth -= 1
        if depth == len(keys):
            continue
        with suppress(ManifestError):
            new = manifest_edit.apply(text, [Change(keys[: depth + 1], None)])
            if _lost(text, new) == [f"[{'.'.join(keys)}]"]:
                text = new
    return text


def _is_empty(data: dict[str, Any], keys: tuple[str, ...], innermost: bool) -> bool:
    """Tell whether a table holds nothing (one around it: nothing but that table)."""
    table: Any = data
    for key in keys:
        table = table.get(key)
        if not isinstance(table, dict):
            return False
    return len(table) == (0 if innermost else 1)


def _lost(old: str, new: str) -> list[str]:
    """Return the lines of ``old`` that are not in ``new``, blank ones left out."""
    before, after = (Counter(line for line in text.splitlines() if line.strip()) for text in (old, new))
    return list((before - after).elements())
