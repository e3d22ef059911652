"""The log of a run: when what began, how far it came, how it ended. Lines for people."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from staproj.engine.view import Expected
from staproj.project import atomic

COARSE_STEPS = 10


def write(log: Path, message: str, item: str | None = None) -> None:
    """Append one line with the time of day."""
    place = f" {item}" if item else ""
    with atomic.storage_errors(log), atomic.open_to_append(log) as handle:
        handle.write(f"{time.strftime('%H:%M:%S')}{place}  {message}\n".encode("utf-8", "backslashreplace"))


def beginning(run: str, expected: Expected, units: Sequence[str | None], env: Mapping[str, Any]) -> str:
    """Return the first line: what is made, of which tilt series, with what."""
    node = expected.node
    series = ", ".join(unit for unit in units if unit)
    return (
        f"{run} {node.name} (stage {node.spec.name}) begins{': ' + series if series else ''}; "
        f"staproj {env['staproj']}, {env['threads']} threads, {env['device']}"
    )


def write_result(log: Path, item: str | None, entry: Mapping[str, Any]) -> None:
    """Say how one item went: verdict, warning, time, memory."""
    warning = " [warning]" if entry["warning"] else ""
    memory = entry["peak_rss_bytes"] / 1e6
    took = f"{entry['wall_s']:.1f} s, {entry['cpu_s']:.1f} s of CPU, at most {memory:.0f} MB"
    write(log, f"{entry['verdict'] or 'done'}{warning} ({took})", item)


class Steps:
    """Decides which of many progress messages are worth a line: new words, or another tenth of the work."""

    def __init__(self) -> None:
        self._last: tuple[int, str] = (-1, "")

    def line(self, done: float, total: float, message: str) -> str | None:
        """Return the line to write, or ``None``."""
        share = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
        tenth, words = int(share * COARSE_STEPS), re.sub(r"\d+", "#", message)
        last_tenth, last_words = self._last
        if tenth == last_tenth and words == last_words:
            return None
        self._last = (tenth, words)
        return f"{share:4.0%}  {message}".rstrip()
