"""What a project reads, as rows and lines; and what would be read with other patterns."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from staproj.api import raw_data
from staproj.report.raw_data import count, inspection
from staproj.tui import look as looks
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Column, Row
from staproj.tui.wizard import join_patterns, split_patterns
from staproj.tui.wizard_rows import styled_findings

COLUMNS = (
    Column("", 1),
    Column("data", most=32),
    Column("files", 18, right=True),
    Column("patterns", flex=True),
)
IMPORTS = ("import_movies", "import_stack")
Importers = Sequence[Mapping[str, Any]]


def keys_of(importers: Importers) -> dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return step and parameter by ``step.param``."""
    return {f"{one['step']}.{param['name']}": (one, param) for one in importers for param in one["params"]}


def now_of(param: Mapping[str, Any]) -> str:
    """Return the patterns of a parameter as one types them."""
    return join_patterns(param["given"])


def rows(importers: Importers, wanted: Mapping[str, Mapping[str, Any]], look: Look) -> list[Row]:
    """Return one row a parameter that names data; ``wanted``: other patterns with what they match."""
    found = []
    for key, (_, param) in keys_of(importers).items():
        other = wanted.get(key)
        shown = other if other is not None else {**param, "text": now_of(param)}
        lacking = bool(shown["text"]) and not shown["count"]
        style = looks.LIVE if other is not None else looks.BAD if lacking else looks.PLAIN
        sign = look.sign("differs") if other is not None else look.sign("error") if lacking else ""
        files = count(shown) if shown["text"] else "-"
        found.append(Row(key, ((sign, style), key, (files, style), shown["text"]), {"key": key, **param}))
    return found


def look_for(text: str, base: Path) -> dict[str, Any]:
    """Return what patterns on a line match together, with the line."""
    found = [raw_data.matches(pattern, base) for pattern in split_patterns(text)]
    return {
        "text": text.strip(),
        "count": sum(one["count"] for one in found),
        "bytes": sum(one["bytes"] for one in found),
        "more": any(one["more"] for one in found),
    }


def inspect(importers: Importers, wanted: Mapping[str, str], base: Path) -> dict[str, Any] | None:
    """Inspect the files of the first step whose data are known; ``None``: there is none."""
    for entry in importers:
        if entry["stage"] not in IMPORTS:  # of a plug-in: what it makes of its files is not known here
            continue
        roles: dict[str, Any] = {}
        for param in entry["params"]:
            text = wanted.get(f"{entry['step']}.{param['name']}")
            patterns = param["given"] if text is None else split_patterns(text)
            if param["name"] in raw_data.ROLES and patterns:
                roles[param["name"]] = patterns
        if roles:
            return raw_data.inspect(**roles, base=base, microscope=entry["microscope"], step=entry["step"])
    return None


def details(param: Mapping[str, Any] | None, seen: Mapping[str, Any] | None, is_read: bool) -> list[Any]:
    """Return what the parameter under the cursor means, and what the files hold."""
    lines: list[Any] = [f"{param['name']}: {param['help']}"] if param is not None else []
    if not is_read:
        return [*lines, "reading headers and mdoc files ..."]
    if seen is None:
        return [*lines, "no files are named whose contents are known here"]
    errors = [one for one in seen["findings"] if one["level"] == "error"]
    told = inspection({**seen, "findings": []})
    things = "1 thing stops" if len(errors) == 1 else f"{len(errors)} things stop"
    state = (f"{things} the import", looks.BAD) if errors else ("it can be imported", looks.GOOD)
    return [*lines, state, *styled_findings(seen["findings"]), "", *told[:-2]]


# ------------------------------------------------------------------------------------------------ writing
def sets_of(wanted: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Return values to set, and those to take out because their line is empty."""
    sets: dict[str, Any] = {}
    for key, text in wanted.items():
        patterns = [os.path.expanduser(one) for one in split_patterns(text)]  # noqa: PTH111
        if patterns:
            sets[key] = patterns[0] if len(patterns) == 1 else patterns
    return sets, [key for key in wanted if key not in sets]


def set_command(sets: Mapping[str, Any], resets: Sequence[str]) -> list[str]:
    """Return the command that writes the same."""
    values = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in sets.items()
    ]
    return ["set", *values, *(word for key in resets for word in ("--reset", key))]
