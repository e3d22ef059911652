"""Rows of versions and of commands, from the plain values of the API: no widgets, no files."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from staproj.report.history import version_diff_lines
from staproj.report.runs import when
from staproj.tui import look as looks
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Cell, Column, Row

NOW = "now"
VERSION_COLUMNS = (
    Column("version", 7),
    Column("made", 16),
    Column("by", most=12),
    Column("heads", 5, right=True),
    Column("names, and why", flex=True),
)
COMMAND_COLUMNS = (
    Column("when", 8),
    Column("command", flex=True),
)


def version_rows(
    versions: Sequence[Mapping[str, Any]], since: Mapping[str, Any] | None, heads_now: int, look: Look
) -> list[Row]:
    """Return what stands now, and every version, newest first.

    ``since`` is what differs between the newest version and now (``None``: not known).
    """
    rows = [_now_row(versions, since, heads_now, look)]
    for version in versions:
        is_damaged = version["created"] is None
        tags = "".join(f"[{tag}] " for tag in version["tags"])
        why: Cell = tags + version["why"]
        if is_damaged:
            why = (f"{look.sign('error')} {why}", looks.BAD)
        elif tags:
            why = (tags + version["why"], looks.BOLD)
        made = "-" if is_damaged else when(version["created"])[:16]
        cells: tuple[Cell, ...] = (
            f"v{version['version']}",
            made,
            version["who"],
            str(len(version["heads"])),
            why,
        )
        rows.append(Row(f"v{version['version']}", cells, dict(version)))
    return rows


def _now_row(
    versions: Sequence[Mapping[str, Any]], since: Mapping[str, Any] | None, heads_now: int, look: Look
) -> Row:
    if since is None:
        words = "what stands now"
    elif since["manifest"] or since["heads"]:
        words = f"not the same as v{versions[0]['version']} any more: {change_count(since)}"
    else:
        words = f"as v{versions[0]['version']}"
    return Row(NOW, ((NOW, looks.BOLD), "", "", str(heads_now), words), {"version": None})


def change_count(diff: Mapping[str, Any]) -> str:
    """Return how much differs between two versions in few words."""
    lines = [line for line in diff["manifest"][2:] if line[:1] in "+-"]
    parts = [f"{len(lines)} line{'s' * (len(lines) != 1)} of staproj.toml"] if lines else []
    count = len(diff["heads"])
    parts += [f"{count} head{'s' * (count != 1)}"] if count else []
    return ", ".join(parts) or "nothing"


def diff_lines(diff: Mapping[str, Any]) -> list[Any]:
    """Return what differs between two versions; lines that come and go have their signs, and colours."""
    n_manifest = len(diff["manifest"])
    lines: list[Any] = []
    for place, line in enumerate(version_diff_lines(diff)):
        style = looks.PLAIN
        if place < min(n_manifest, 2) or line.startswith("@@"):
            style = looks.DIM
        elif place < n_manifest and line[:1] in "+-":
            style = looks.GOOD if line[0] == "+" else looks.BAD
        elif place == n_manifest and diff["heads"]:
            lines += [""] if lines else []
            style = looks.BOLD
        lines.append((line, style))
    return lines


def version_details(
    version: Mapping[str, Any], before: int | None, diff: Mapping[str, Any] | None
) -> list[Any]:
    """Return what one wants to know of a version under the cursor."""
    number = version["version"]
    tags = "".join(f" [{tag}]" for tag in version["tags"])
    lines: list[Any] = [(f"version {number}{tags}: {version['why']}", looks.BOLD)]
    if before is None:
        return [*lines, "the first version; enter shows it with its staproj.toml"]
    if diff is None:
        return lines
    return [*lines, (f"since v{before}: {change_count(diff)}", looks.DIM), *diff_lines(diff)]


def command_rows(commands: Iterable[tuple[float, Sequence[str], str]]) -> list[Row]:
    """Return what was done as commands, newest first, each with what came of it."""
    rows: list[Row] = []
    for number, (then, words, outcome) in enumerate(commands):
        text = shlex.join(words)
        made = time.strftime("%H:%M:%S", time.localtime(then))
        rows.append(Row(str(number), (made, text), {"text": text, "outcome": outcome, "time": then}))
    return rows[::-1]


def as_script(commands: Iterable[tuple[float, Sequence[str], str]]) -> str:
    """Return commands, oldest first, as lines of a script."""
    return "\n".join(shlex.join(words) for _, words, _ in commands)
