"""Run directories: giving out numbers, events, and what state a run is in."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.errors import StaprojError
from staproj.project import atomic, reading, versions
from staproj.project.layout import RUN_ID, Layout, RunDir, RunName
from staproj.project.lock import project_lock
from staproj.project.process import boot_id, is_alive, this_process

HEARTBEAT_FRESH_S = 60.0


@dataclass(frozen=True)
class RunState:
    """What became of a run: sealed, running, queued, failed, interrupted or unreachable (another machine)."""

    state: str
    event: dict[str, Any]
    started: float | None = None


def reserve(layout: Layout, step: str) -> RunDir:
    """Make the directory of a new run; its number was never given out before.

    Nothing is fsynced here: what makes the run worth anything is, with the names above it, when its first
    item is finished.
    """
    with project_lock(layout.lock, purpose="number of a run"), atomic.storage_errors(layout.runs):
        layout.runs.mkdir(exist_ok=True)
        number = _highest(layout) + 1
        run = layout.run(RunName(number, step))
        run.path.mkdir()
        note(run, "reserved", **this_process())
        counter = " ".join(str(part) for part in (number, *_stamp(layout)))
        atomic.write_bytes(layout.counter, counter.encode(), sync=False)
    return run


def _highest(layout: Layout) -> int:
    """Return the highest number ever given out; the directory is listed only if others changed it."""
    counted: list[int] = []
    with suppress(OSError, ValueError):
        counted = [int(word) for word in reading.read_bytes(layout.counter, 200).decode("ascii").split()]
    if len(counted) == 3 and (counted[1], counted[2]) == _stamp(layout):
        return counted[0]
    listed = [name.number for name in layout.iter_runs()]
    if not counted:  # deleted with everything private: versions and notes remember runs that are gone
        listed += [run for version in versions.numbers(layout)[-1:] for run in _known_to(layout, version)]
        listed += [
            int(found[1]) for path in layout.annotations.glob("r*") if (found := RUN_ID.match(path.stem))
        ]
    return max([*listed, *counted[:1]], default=0)


def _known_to(layout: Layout, number: int) -> list[int]:
    """Return the numbers of runs that a version knows."""
    with suppress(StaprojError):
        version = versions.read(layout, number)
        heads = [int(found[1]) for run in version.heads.values() if (found := RUN_ID.match(run))]
        return [version.last_run, *version.open_runs, *heads]
    return []


def _stamp(layout: Layout) -> tuple[int, int]:
    """Return what changes when somebody adds or removes a run directory."""
    stat = layout.runs.stat()
    return stat.st_mtime_ns, stat.st_nlink


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
    it is so while its heartbeat is fresh, else "unreachable", never guessed. A clock that goes wrong
    there can only make it unreachable.
    """
    events = atomic.read_lines(run.state)
    started = next((e.get("time") for e in reversed(events) if e.get("event") == "started"), None)
    if run.is_sealed():
        return RunState("sealed", _last(events, "sealed"), started)
    for event in reversed(events):
        kind = event.get("event")
        if kind in ("failed", "interrupted"):
            return RunState(str(kind), event, started)
        if kind in ("started", "queued", "reserved"):
            alive = is_alive(event)
            recent = is_recent(run.heartbeat)
            if alive is None and not recent:
                return RunState("unreachable", event, started)
            if alive is False and recent and event.get("boot_id") != boot_id():
                return RunState("unreachable", event, started)  # not here, and yet somebody keeps it alive
            living = "queued" if kind == "queued" else "running"
            return RunState("interrupted" if alive is False else living, event, started)
    lost = {"message": "nothing is known of how it went: the power may have gone as it began"}
    return RunState("interrupted", lost, started)


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
