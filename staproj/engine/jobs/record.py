"""Jobs on disk: what was asked for, who works on it, how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from staproj.errors import StaprojError, StorageError, UsageError
from staproj.project import atomic, runs
from staproj.project.layout import JobDir, Layout
from staproj.project.process import is_alive, this_process, user_name

FORMAT = 1
ENDED = ("done", "failed", "cancelled", "interrupted")
KINDS = ("run", "rerun", "resume")


@dataclass(frozen=True)
class JobState:
    """What became of a job.

    ``state``: starting, queued, running, done, failed, cancelled, interrupted, unreachable (another machine).
    ``run`` and ``step`` are those at work, or the last. ``message``: what it waits for, or its last word.
    """

    state: str
    message: str = ""
    run: str | None = None
    step: str | None = None


def create(
    layout: Layout,
    kind: str,
    arguments: Mapping[str, Any],
    *,
    command: Sequence[str],
    expected: Sequence[Mapping[str, Any]] = (),
) -> JobDir:
    """Write down a request as a new job; nothing is started.

    Raises
    ------
    StorageError
        If the project cannot be written to.
    """
    if layout.private.is_symlink() or layout.jobs.is_symlink():
        raise StorageError("jobs are not kept through a link", where=str(layout.jobs), hint="remove the link")
    with atomic.storage_errors(layout.jobs):
        layout.jobs.mkdir(parents=True, exist_ok=True)
        number = max(layout.iter_jobs(), default=0) + 1
        while True:
            job = layout.job(number)
            try:
                job.path.mkdir()
                break
            except FileExistsError:
                number += 1
    who = this_process()
    facts = {
        "format": FORMAT,
        "kind": kind,
        "arguments": dict(arguments),
        "command": list(command),
        "expected": [dict(step) for step in expected],
        "created": round(time.time(), 3),
        "user": user_name(),
        "host": who["host"],
        "asked_by": who,
    }
    atomic.write_json(job.request, facts, sync_dir=False)
    return job


def read(job: JobDir) -> dict[str, Any]:
    """Return the request of a job.

    Raises
    ------
    StorageError
        If it cannot be read, or a newer staproj wrote it.
    """
    facts = atomic.read_json(job.request)
    arguments = facts.get("arguments")
    if facts.get("format") != FORMAT or facts.get("kind") not in KINDS or not isinstance(arguments, dict):
        raise StorageError("this is no job that can be read", where=str(job.request))
    return facts


def note(job: JobDir, event: str, **facts: Any) -> None:
    """Append an event to the job's state."""
    atomic.append_line(job.state, {"time": round(time.time(), 3), "event": event, **facts})


def finish(job: JobDir, state: str, **facts: Any) -> None:
    """Write how the job ended, once; a job that has ended stays as it is."""
    if not job.result.exists():
        atomic.write_json(job.result, {"format": FORMAT, "state": state, "time": time.time(), **facts})


def result(job: JobDir) -> dict[str, Any] | None:
    """Return how the job ended; ``None`` as long as it has not said."""
    try:
        found = atomic.read_json(job.result) if job.result.exists() else None
    except StaprojError:
        return None
    return found if found is not None and found.get("state") in ENDED else None


def all_jobs(layout: Layout) -> list[JobDir]:
    """Return all jobs, newest first."""
    return [layout.job(number) for number in reversed(layout.iter_jobs())]


def find(layout: Layout, text: str) -> JobDir:
    """Return the job called ``j0001``, or the newest one that works or worked on run or step ``text``.

    Raises
    ------
    UsageError
        If there is none.
    """
    jobs = all_jobs(layout)
    for job in jobs:
        if job.id == text:
            return job
    short = text.split("-", 1)[0]
    for job in jobs:
        if any(text == step or short == run for step, run in made_by(job)):
            return job
    raise UsageError(f"there is no job {text!r}, nor one of such a run", hint="`staproj jobs` lists all")


def processes(job: JobDir) -> list[dict[str, Any]]:
    """Return the identities of the newest supervisor and worker."""
    events = atomic.read_lines(job.state)
    found = []
    for kind in ("supervised", "working"):
        found += [event for event in events if event.get("event") == kind][-1:]
    return found


def state_of(job: JobDir) -> JobState:
    """Return what became of a job, by proof: a stopped process is still one that lives."""
    made = made_by(job)
    step, run = made[-1] if made else (None, None)
    ended = result(job)
    if ended is not None:
        error = ended.get("error")
        message = str(error.get("message", "")) if isinstance(error, dict) else ""
        return JobState(str(ended["state"]), message, run, step)
    people = processes(job)
    if not people:
        with suppress(StaprojError):
            people = [dict(read(job).get("asked_by") or {})]
        alive = [is_alive(who) for who in people]
        return JobState("starting" if alive == [True] else "interrupted", "", run, step)
    alive = [is_alive(who) for who in people]
    if True in alive or (None in alive and runs.is_recent(job.heartbeat)):
        waiting = _waits_for(job)
        return JobState("queued" if waiting else "running", waiting, run, step)
    if None in alive:
        return JobState("unreachable", f"it ran on {people[0].get('host')}", run, step)
    return JobState("interrupted", "its processes are gone without a last word", run, step)


def made_by(job: JobDir) -> list[tuple[str, str]]:
    """Return step and run of all that the job has begun, or waits to begin, in order."""
    waiting = [event for event in atomic.read_lines(job.state) if event.get("event") == "queued"]
    begun = [event for event in atomic.read_lines(job.events) if event.get("message") != "fresh"]
    both = sorted((e for e in [*begun, *waiting] if e.get("run")), key=_time)
    return [(str(event.get("step")), str(event["run"])) for event in both]


def _waits_for(job: JobDir) -> str:
    for event in reversed(atomic.read_lines(job.state)):
        if event.get("event") == "queued":
            return str(event.get("message") or "a free slot")
        if event.get("event") in ("claimed", "working"):
            return ""
    return ""


def _time(event: Mapping[str, Any]) -> float:
    value = event.get("time")
    return float(value) if isinstance(value, int | float) else 0.0
