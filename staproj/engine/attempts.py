"""Tries at one run: claiming the next one, and taking over what the ones before it have finished.

A run that was interrupted is continued in its own directory. ``attempt-2`` is made under the lock of the
project, so that of two who want to go on only one does; finished items and checkpoints move into it by
rename, one after the other, so that a stop half-way loses none: the next try looks into all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from staproj.engine import outputs
from staproj.engine.view import View
from staproj.errors import LockedError, StaprojError, StorageError, UsageError
from staproj.project import atomic, checks, reading, runs
from staproj.project.layout import AttemptDir, RunDir
from staproj.project.lock import project_lock

_MOST_TRIES = 100_000


def check_resumable(view: View, run: RunDir, image: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that is not interrupted, or would be made from something else now.

    Raises
    ------
    UsageError
        If it is finished, failed, or made from other parameters or inputs.
    LockedError
        If it is still running, or may be, on a machine that cannot be seen from here.
    """
    state = runs.state_of(run).state
    if state in ("running", "queued"):
        raise LockedError(f"run {run.id} is {state}", hint="wait for it, or stop it first")
    if state == "unreachable":
        raise LockedError(
            f"run {run.id} was started on another machine, which cannot be seen from here",
            hint=f"if it is gone for certain, `staproj run {run.name.step}` makes a new run and uses what is "
            "finished",
        )
    if state != "interrupted":
        raise UsageError(
            f"run {run.id} is {state}: there is nothing to go on with",
            hint=f"`staproj run {run.name.step}` makes a new run and uses what is finished",
        )
    try:
        same = view.spec(run.id)["preimage"] == image
    except StaprojError as error:
        raise UsageError(
            f"run {run.id} cannot be continued: its record is damaged",
            hint=f"`staproj run {run.name.step}` makes a new run and uses what is finished",
        ) from error
    if not same:
        raise UsageError(
            f"run {run.id} was made from other parameters or inputs than there are now",
            hint=f"`staproj why {run.name.step}` lists them; `staproj run {run.name.step}` makes a new run",
        )


def claim_next(view: View, run: RunDir, image: Mapping[str, Any]) -> AttemptDir:
    """Make the directory of the next try at an interrupted run, and note who works on it from now on.

    The project lock is held for this moment, so that nobody can look at the state in between.

    Raises
    ------
    UsageError, LockedError
        As :func:`check_resumable`.
    """
    with project_lock(view.layout.lock, purpose=f"resuming {run.id}"):
        check_resumable(view, run, image)
        reading.refuse_linked_directories(run.path)
        tried = [attempt.number for attempt in run.attempt_dirs()]
        begun = [event for event in atomic.read_lines(run.state) if event.get("event") == "started"]
        tried += [event["attempt"] for event in begun if _is_number(event.get("attempt"))]
        attempt = run.attempt_dir(max(tried, default=0) + 1)
        with atomic.storage_errors(run.path):
            attempt.out.mkdir(parents=True)
            run.log.parent.mkdir(exist_ok=True)
        runs.note_started(run, attempt.number)
    return attempt


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST_TRIES


def take_over(run: RunDir, attempt: AttemptDir) -> None:
    """Move finished items and checkpoints of earlier tries here; what was half done goes."""
    with atomic.storage_errors(run.path):
        for half in (run.outputs, run.record):
            half.unlink(missing_ok=True)
        finished = [path.parent.name for path in run.finished_items()]
        if run.out.is_dir():
            _move_outputs(run.out, attempt, finished, whole=run.item_done(None).is_file())
        for earlier in run.attempt_dirs():
            if earlier.number == attempt.number:
                continue
            _move_outputs(earlier.out, attempt, finished, whole=run.item_done(None).is_file())
            for item in earlier.checkpointed():
                if not attempt.checkpoints(item).exists():
                    attempt.checkpoints(item).parent.mkdir(exist_ok=True)
                    earlier.checkpoints(item).rename(attempt.checkpoints(item))
            shutil.rmtree(earlier.path, ignore_errors=True)
        run.cancel.unlink(missing_ok=True)


def _move_outputs(source: Any, attempt: AttemptDir, finished: list[str], *, whole: bool) -> None:
    if whole:
        if source.is_dir() and any(source.iterdir()):
            attempt.out.rmdir()
            source.rename(attempt.out)
        return
    for item in finished:
        if (source / item).is_dir() and not (attempt.out / item).exists():
            (source / item).rename(attempt.out / item)
    if source.is_dir():
        shutil.rmtree(source, ignore_errors=True)


def kept_item(
    view: View, run: RunDir, attempt: AttemptDir, item: str | None, key: str
) -> dict[str, Any] | None:
    """Return the entry of an item that an earlier try of this run has finished, if its files are all here."""
    done = run.item_done(item)
    if not done.is_file():
        return None
    with suppress(StaprojError):
        entry = checks.outputs(atomic.read_json(done), str(done))
        if entry.get("key") != key or not outputs.all_there(view, attempt.out, entry):
            return None
        return entry if outputs.has_record(run, item, entry) else None
    return None


def earlier_environments(run: RunDir) -> list[Any]:
    """Return what the earlier tries of a run were made with, oldest first."""
    with suppress(StorageError):
        last = atomic.read_json(run.env)
        before = last.pop("earlier_attempts", [])
        return [*(before if isinstance(before, list) else []), last]
    return []
