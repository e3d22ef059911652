"""Look at a job from outside: read what is new in its small files, again and again; and ask it to stop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from staproj import errors
from staproj.engine.events import ProgressEvent
from staproj.engine.jobs import heartbeat, record
from staproj.errors import CancelledError, StageError, StaprojError
from staproj.project import atomic
from staproj.project.layout import JobDir, Layout, RunDir
from staproj.project.process import this_process, user_name

POLL_S = 0.2
ALIVE_EVERY_S = 1.0
_FIELDS = ("kind", "step", "run", "item", "done", "total", "message")


class NewLines:
    """Gives the JSON lines that were appended to a file since the last look; only new bytes are read."""

    def __init__(self, job: JobDir) -> None:
        self._path = job.events
        self._offset = 0
        self._rest = b""

    def read(self) -> list[dict[str, Any]]:
        """Return what is new; a line that is not yet whole waits for the next look."""
        try:
            if self._path.stat().st_size <= self._offset:
                return []
            with self._path.open("rb") as handle:
                handle.seek(self._offset)
                new = handle.read()
        except OSError:
            return []
        self._offset += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        found = []
        for line in whole:
            with suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict):
                    found.append(value)
        return found


def follow(
    layout: Layout, job: JobDir, *, poll_s: float = POLL_S, idle: Callable[[], None] = lambda: None
) -> Iterator[ProgressEvent]:
    """Yield what the engine tells until the job has ended or its processes are gone.

    Also yields a ``progress`` event with every new heartbeat of the run at work. ``idle`` is called after
    each look.
    """
    lines, beat = NewLines(job), _Beats(layout)
    looked = time.monotonic()
    while True:
        over = record.result(job) is not None
        if not over and time.monotonic() - looked >= ALIVE_EVERY_S:
            looked = time.monotonic()
            over = record.state_of(job).state in {*record.ENDED, "unreachable"}
        for facts in lines.read():
            event = _event(facts)
            if event is not None:
                beat.at_work(event)
                yield event
        if over:
            return
        news = beat.read()
        if news is not None:
            yield news
        idle()
        time.sleep(poll_s)


class _Beats:
    """Reads the heartbeat of the run at work whenever it has changed."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._run: RunDir | None = None
        self._step = ""
        self._changed = 0

    def at_work(self, event: ProgressEvent) -> None:
        if event.kind in {"step-done", "step-failed"}:
            self._run = None
        elif event.run and (self._run is None or self._run.id != event.run):
            with suppress(StaprojError):
                self._run, self._step, self._changed = self._layout.find_run(event.run), event.step, 0

    def read(self) -> ProgressEvent | None:
        if self._run is None:
            return None
        try:
            changed = self._run.heartbeat.stat().st_mtime_ns
        except OSError:
            return None
        if changed == self._changed:
            return None
        self._changed = changed
        facts = heartbeat.read(self._run)
        if not facts.get("total"):
            return None
        return _event({**facts, "kind": "progress", "step": self._step, "run": self._run.id})


def _event(facts: dict[str, Any]) -> ProgressEvent | None:
    try:
        event = ProgressEvent(**{name: facts[name] for name in _FIELDS if name in facts})
        float(event.done), float(event.total)
    except (TypeError, ValueError):
        return None
    return event


def outcome(layout: Layout, job: JobDir) -> list[dict[str, Any]]:
    """Return what an ended job did, one entry a step.

    Raises
    ------
    StaprojError
        The error it ended with, of the same class as in the process that computed.
    """
    found = record.result(job)
    if found is None:
        state = record.state_of(job)
        raise StageError(
            f"{job.id} {'cannot be reached' if state.state == 'unreachable' else 'was interrupted'}"
            + (f" ({state.message})" if state.message else ""),
            where=layout.relative(job.log),
            hint="`staproj resume` goes on where it stopped",
        )
    if found["state"] != "done":
        raise error_of(found.get("error"))
    return [step for step in found.get("steps", []) if isinstance(step, dict)]


def error_of(told: Any) -> StaprojError | OSError:
    """Return a recorded error as the exception it was."""
    facts = told if isinstance(told, dict) else {}
    message = str(facts.get("message") or "the job failed")
    if facts.get("error") == "OSError":
        return OSError(facts.get("errno"), facts.get("strerror"), facts.get("filename") or None)
    kind = getattr(errors, str(facts.get("error")), StaprojError)
    if not (isinstance(kind, type) and issubclass(kind, StaprojError)):
        kind = StaprojError
    where = facts.get("where")
    return kind(message, hint=str(facts.get("hint") or ""), where=None if where is None else str(where))


def ask_to_stop(layout: Layout, job: JobDir, *, grace_s: float | None = None) -> None:
    """Put the marker that stops a job: its supervisor looks for it, on whatever machine.

    ``grace_s``: seconds between the request and the end by force (default 30).
    """
    who = {"user": user_name(), "host": this_process()["host"], "time": round(time.time(), 3)}
    marker = who | ({} if grace_s is None else {"grace_s": grace_s})
    atomic.append_line(job.cancel, marker)
    run = record.state_of(job).run
    if run is not None:
        with suppress(OSError, StaprojError):
            directory = layout.find_run(run)
            if not directory.is_sealed():
                atomic.touch(directory.cancel)


def is_cancelled(error: BaseException) -> bool:
    """Tell whether an error says that a person stopped the work."""
    return isinstance(error, CancelledError)
