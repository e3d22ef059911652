"""Jobs as lines of text, from the plain values that ``staproj.api`` gives."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.tables import duration, table

ACTIVE = ("starting", "queued", "running", "unreachable")
MOST_ENDED = 10
MARK = {
    "starting": "▶",
    "running": "▶",
    "queued": "…",
    "done": "✓",
    "failed": "✗",
    "cancelled": "‖",
    "interrupted": "‖",
    "unreachable": "?",
}


def recent(jobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the jobs at work and the newest that have ended."""
    ended = [job for job in jobs if job["state"] not in ACTIVE][:MOST_ENDED]
    return [job for job in jobs if job["state"] in ACTIVE or job in ended]


def job_rows(jobs: Sequence[Mapping[str, Any]], *, hidden: int = 0) -> list[str]:
    """Return one line a job: state, run, step, how far, time left, where, and what it waits for."""
    rows = [
        [
            MARK.get(job["state"], " "),
            job["job"],
            job["state"],
            job["run"] or "-",
            job["step"] or "-",
            _when(job["created"]),
            str(job["host"] or "-"),
            job["message"],
        ]
        for job in jobs
    ]
    if not rows:
        return ["no job yet"]
    more = [f"{hidden} older ones: `staproj jobs --all`"] if hidden else []
    return [*table(["", "job", "state", "run", "step", "began", "host", ""], rows), *more]


def detached_lines(job: Mapping[str, Any]) -> list[str]:
    """Return what to say of a job that was started and left alone."""
    run = f" with run {job['run']} ({job['step']})" if job["run"] else ""
    return [
        f"{job['job']} has begun{run}; it goes on when you leave",
        f"  staproj watch {job['job']}     follows it",
        f"  staproj cancel {job['job']}    stops it",
    ]


def cancel_lines(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what became of jobs that were asked to stop."""
    lines = []
    for job in jobs:
        at = f" at {job['run']} ({job['step']})" if job["run"] else ""
        words = (
            f"is {job['state']}{at}" if job["state"] not in ACTIVE else "was asked to stop, and still runs"
        )
        lines.append(f"{job['job']} {words}")
    return lines or ["nothing is running"]


def _when(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


__all__ = ["cancel_lines", "detached_lines", "duration", "job_rows", "recent"]
