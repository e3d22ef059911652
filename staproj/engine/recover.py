"""Finishing what a crash left half done. Every operation that writes calls :func:`recover` before it starts.

Readers never write: they show such runs as interrupted. Only runs that are proven to have nobody at work are
touched, under the lock of the project, and looked at again there.

* A run that has everything but its marker is checked against its own record and sealed.
* Of any other, what was half written goes (temporaries, scratch, outputs of unfinished items), and its last
  word becomes "interrupted". Finished items and checkpoints stay, for ``resume`` and for later runs.
* Operations in the journal are carried to their end.
* Temporaries of processes that are gone, and broken locks, are swept.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from staproj.engine import sealing
from staproj.errors import StaprojError
from staproj.project import atomic, checks, journal, lock, reading, runs, versions
from staproj.project.fingerprints import sha256_file
from staproj.project.layout import Layout, RunDir
from staproj.project.process import start_ticks

ROLL_FORWARD: dict[str, str] = {
    "gc": "staproj.engine.collect:roll_forward",
    "migrate": "staproj.project.migrate:roll_forward",
}
"""``{op: "module:function"}``; the function gets (layout, facts) and returns what it did, in words."""

_READ_AGAIN_BYTES = 64 << 20
_OLD_S = 60.0
_TEMPORARY = re.compile(r"^\..+\.([0-9]+)\.part\Z|^.+\.part\Z")
_ENDS = ("failed", "interrupted")


def recover(layout: Layout) -> list[str]:
    """Finish or tidy up what was left half done; return what was done, in words.

    Doing it twice is doing it once. What cannot be put right is left alone: a damaged run keeps nobody from
    working on the others.
    """
    told: list[str] = []
    if layout.lock.exists() and lock.is_proven_dead(layout.lock):
        lock.break_lock(layout.lock)
    for run in _recent(layout):
        with suppress(StaprojError, OSError):
            words = _look_after(layout, run)
            if words:
                told.append(words)
    for left in journal.pending(layout):
        if left.left and left.op in ROLL_FORWARD:
            with suppress(StaprojError, OSError):
                module, _, name = ROLL_FORWARD[left.op].partition(":")
                told.append(str(getattr(importlib.import_module(module), name)(layout, left.facts)))
                left.done()
    for directory in (layout.root, layout.private, layout.versions, layout.annotations, layout.journal):
        _sweep(directory)
    for directory in lock.leftovers(layout.private):
        shutil.rmtree(directory, ignore_errors=True)
    return told


def _recent(layout: Layout) -> Iterator[RunDir]:
    """Yield the runs that were not sealed when the last version was written, or came after it."""
    try:
        version = versions.latest(layout)
    except StaprojError:
        version = None
    last = version.last_run if version else 0
    still_open = set(version.open_runs) if version else set()
    names = [name for name in layout.iter_runs() if name.number > last or name.number in still_open]
    for name in sorted(names):
        yield layout.run(name)


def _look_after(layout: Layout, run: RunDir) -> str | None:
    if run.is_sealed():
        if run.heartbeat.exists() and not runs.is_recent(run.heartbeat):  # killed right after it was sealed
            run.heartbeat.unlink(missing_ok=True)
        return None
    if not _needs_care(run):
        return None
    with lock.project_lock(layout.lock, purpose=f"looking after {run.id}", timeout_s=2.0):
        if not _needs_care(run) or run.is_sealed():
            return None
        reading.refuse_linked_directories(run.path)  # nothing out of the project is ever tidied
        said = runs.state_of(run)
        ended = any(event.get("event") in _ENDS for event in _last_try(run))
        if not ended and _is_complete(run):
            _finish(run)
            return f"sealed {run.id}: it was complete but for its marker"
        _tidy(run)
        if not ended:
            runs.note(run, "interrupted", message=_reason(said), found=True)
        return f"{run.id} was interrupted"


def _needs_care(run: RunDir) -> bool:
    """Tell whether nobody is at work on a run that has not been tidied up."""
    state = runs.state_of(run)
    if state.state not in _ENDS:
        return False
    return state.event.get("event") not in _ENDS or run.out.exists() or run.heartbeat.exists()


def _last_try(run: RunDir) -> list[dict[str, Any]]:
    events = atomic.read_lines(run.state)
    starts = [i for i, event in enumerate(events) if event.get("event") == "started"]
    return events[starts[-1] :] if starts else events


def _reason(state: runs.RunState) -> str:
    host = state.event.get("host")
    if host is None:
        return str(state.event.get("message", "it did not get to its end"))
    return f"its process ({state.event.get('pid')} on {host}) is gone: killed, or the machine went down"


def _is_complete(run: RunDir) -> bool:
    """Tell whether everything but the marker is there and is what the record says.

    Files were fsynced before ``outputs.json`` got its name, so ``stat`` would do; what is small enough
    to read in no time is read all the same.
    """
    try:
        made = checks.outputs(atomic.read_json(run.outputs), str(run.outputs))
        checks.spec(atomic.read_json(run.spec), str(run.spec), run.id)
        atomic.read_json(run.env)
        with reading.open_regular(run.record) as handle:
            if handle.read(4) != b"\x89HDF":
                return False
        budget = _READ_AGAIN_BYTES
        for entry in made["files"]:
            path = run.out / entry["path"]
            stat = reading.stat_regular(path)
            if stat.st_size != entry["size"]:
                return False
            budget -= stat.st_size
            if (budget > 0 or stat.st_mtime_ns != entry["mtime_ns"]) and sha256_file(path) != entry["sha256"]:
                return False
    except (OSError, StaprojError):
        return False
    return True


def _usage(run: RunDir) -> dict[str, Any]:
    """Return wall time, CPU time and memory from the run's last words."""
    names = ("wall_s", "cpu_s", "peak_rss_bytes")
    for event in reversed(atomic.read_lines(run.state)):
        if event.get("event") == "sealed":
            return {name: event.get(name, 0) for name in names}
    return dict.fromkeys(names, 0)


def _tidy(run: RunDir) -> None:
    """Take away what was half written; finished items and checkpoints stay."""
    _give_back(run)
    run.outputs.unlink(missing_ok=True)
    run.record.unlink(missing_ok=True)
    finished = {path.parent.name for path in run.finished_items()}
    for place in run.items.glob("*"):
        if place.name not in finished:
            shutil.rmtree(place, ignore_errors=True)
    for attempt in run.attempt_dirs():
        for extra in (attempt.scratches, attempt.progress(None).parent):
            shutil.rmtree(extra, ignore_errors=True)
        attempt.stop.unlink(missing_ok=True)
        if not run.item_done(None).exists():
            for place in attempt.out.glob("*"):
                if place.name not in finished:
                    _remove(place)
        if not any(attempt.out.glob("*")) and not attempt.checkpointed():
            shutil.rmtree(attempt.path, ignore_errors=True)
    _sweep_run(run)


def _finish(run: RunDir) -> None:
    """Seal a run that has everything else. The marker comes last: after it nothing in the run changes."""
    for path in run.attempts():
        shutil.rmtree(path, ignore_errors=True)
    for path in run.out.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o444)
    _sweep_run(run)
    sealing.write_marker(run, _usage(run))


def _sweep_run(run: RunDir) -> None:
    run.heartbeat.unlink(missing_ok=True)
    for directory in (run.path, *run.items.glob("*"), *run.path.glob("attempt-*/checkpoint/*")):
        for path in directory.glob("*.part"):
            path.unlink(missing_ok=True)


def _give_back(run: RunDir) -> None:
    """Put ``out`` of a run that was not sealed back into its last try: it stands for a complete run only."""
    if not run.out.exists():
        return
    started = [e.get("attempt") for e in atomic.read_lines(run.state) if e.get("event") == "started"]
    number = next((n for n in reversed(started) if isinstance(n, int) and 0 < n < 10**6), 1)
    attempt = run.attempt_dir(number)
    attempt.path.mkdir(exist_ok=True)
    with suppress(OSError):
        attempt.out.rmdir()
    run.out.rename(attempt.out)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sweep(directory: Path) -> None:
    """Take away temporaries that nobody will come back for."""
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for found in entries:
        temporary = _TEMPORARY.match(found.name)
        if not temporary or not temporary[1]:  # other names end in .part too
            continue
        with suppress(OSError):
            alive = start_ticks(int(temporary[1])) is not None
            if not alive and time.time() - found.stat(follow_symlinks=False).st_mtime > _OLD_S:
                _remove(Path(found.path))
