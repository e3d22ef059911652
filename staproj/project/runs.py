"""Run directories: giving out numbers, events, and what state a run is in."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.project import atomic
from staproj.project.layout import Layout, RunDir, RunName
from staproj.project.lock import project_lock
from staproj.project.process import is_alive, this_process

HEARTBEAT_FRESH_S = 60.0


@dataclass(frozen=True)
class RunState:
    """What became of a run: sealed, running, queued, failed, interrupted or unreachable (another machine)."""

    state: str
    event: dict[str, Any]
    started: float | None = None


def reserve(layout: Layout, step: str) -> RunDir:
    """Make the directory of a new run; its number was never given out before."""
    with project_lock(layout.lock, purpose="number of a run"), atomic.storage_errors(layout.runs):
        layout.runs.mkdir(exist_ok=True)
        highest = max((name.number for name in layout.iter_runs()), default=0)
        with suppress(OSError, ValueError):
            highest = max(highest, int(layout.counter.read_text()))
        run = layout.run(RunName(highest + 1, step))
        run.path.mkdir()
        layout.counter.write_text(str(highest + 1))
    atomic.fsync_dir(layout.runs)
    return run


def note(run: RunDir, event: str, *, durable: bool = False, **facts: Any) -> None:
    """Append an event to the run's state."""
    atomic.append_line(run.state, {"time": round(time.time(), 3), "event": event, **facts}, durable=durable)


def note_started(run: RunDir, attempt: int) -> None:
    """Note which process works on the run."""
    note(run, "started", attempt=attempt, **this_process())


def is_recent(path: Path) -> bool:
    """Tell whether a heartbeat is of the last minute (clocks of two machines may differ by as much)."""
    try:
        return abs(time.time() - path.stat().st_mtime) < HEARTBEAT_FRESH_S
    except OSError:
        return False


def state_of(run: RunDir) -> RunState:
    """Return what became of a run.

    A run without a last word is running (or queued) only if its process is proven alive; on another machine
    it is so while its heartbeat is fresh, else "unreachable", never guessed.
    """
    events = atomic.read_lines(run.state)
    started = next((e.get("time") for e in reversed(events) if e.get("event") == "started"), None)
    if run.is_sealed():
        return RunState("sealed", _last(events, "sealed"), started)
    for event in reversed(events):
        kind = event.get("event")
        if kind in ("failed", "interrupted"):
            return RunState(str(kind), event, started)
        if kind in ("started", "queued"):
            alive = is_alive(event)
            if alive is None and not is_recent(run.heartbeat):
                return RunState("unreachable", event, started)
            living = "running" if kind == "started" else "queued"
            return RunState("interrupted" if alive is False else living, event, started)
    return RunState("interrupted", {}, started)


def latest_by_step(layout: Layout) -> dict[str, RunName]:
    """Return the newest run of each step, sealed or not (one directory listing)."""
    newest: dict[str, RunName] = {}
    for name in layout.iter_runs():
        if name.step not in newest or newest[name.step].number < name.number:
            newest[name.step] = name
    return newest


def runs_of(layout: Layout, step: str) -> list[RunDir]:
    """Return all runs of one step, newest first."""
    names = sorted((n for n in layout.iter_runs() if n.step == step), reverse=True)
    return [layout.run(name) for name in names]


def _last(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next((e for e in reversed(events) if e.get("event") == kind), {})
