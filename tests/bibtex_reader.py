"""A small strict reader of BibTeX, written from the format's rules and not from staproj's writer."""

from __future__ import annotations

import re


def read(text: str) -> dict[str, dict[str, str]]:
    """Return ``{key: {field: value}}``, with the type under ``"@"``.

    Raises
    ------
    ValueError
        If braces do not balance, a key comes twice, or something stands outside of entries.
    """
    found: dict[str, dict[str, str]] = {}
    position = 0
    while match := re.compile(r"\s*@(\w+)\s*\{\s*([^\s,{}]+)\s*,").match(text, position):
        kind, key = match[1].lower(), match[2]
        if key in found:
            raise ValueError(f"{key} comes twice")
        found[key], position = _fields(text, match.end())
        found[key]["@"] = kind
    if text[position:].strip():
        raise ValueError(f"not an entry: {text[position : position + 40]!r}")
    return found


def _fields(text: str, position: int) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    while True:
        if end := re.compile(r"\s*\}").match(text, position):
            return fields, end.end()
        match = re.compile(r"\s*(\w+)\s*=\s*\{").match(text, position)
        if not match:
            raise ValueError(f"not a field: {text[position : position + 40]!r}")
        if match[1].lower() in fields:
            raise ValueError(f"{match[1]} comes twice")
        value, position = _braced(text, match.end())
        fields[match[1].lower()] = value
        if comma := re.compile(r"\s*,").match(text, position):
            position = comma.end()


def _braced(text: str, start: int) -> tuple[str, int]:
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position], position + 1
    raise ValueError("a brace is not closed")
