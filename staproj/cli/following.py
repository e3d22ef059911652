"""Look on while a job works: draw its progress, stop it with Ctrl-C; it outlives the terminal."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from staproj.api import Project
from staproj.cli import diagnostics
from staproj.cli.diagnostics import RunProgress
from staproj.report.jobs import time_left

LOOK_EVERY_S = 1.0


def work(
    opened: Project,
    kind: str,
    arguments: Mapping[str, Any],
    *,
    quiet: bool,
    expected: list[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Start a job, follow it to its end and return what it did.

    Raises
    ------
    StaprojError
        The error it ended with; CancelledError after Ctrl-C.
    """
    with _terminal_may_go():
        job = opened.jobs.start(kind, arguments, command=command(), expected=expected or [])
        return to_the_end(opened, job, quiet=quiet, ours=True)


def to_the_end(opened: Project, job: str, *, quiet: bool, ours: bool) -> list[dict[str, Any]]:
    """Follow a job to its end; Ctrl-C stops it if it is ``ours``, else only the looking."""
    with RunProgress(quiet=quiet) as progress, _terminal_may_go():
        stopping = 0
        while True:
            try:
                look = _Look(opened, job, progress, quiet=quiet)
                for event in opened.jobs.follow(job, idle=look):
                    progress(event)
                break
            except KeyboardInterrupt:
                if not ours:
                    diagnostics.note(f"{job} goes on; `staproj watch {job}` comes back to it")
                    raise
                stopping += 1
                opened.jobs.cancel_if_active(job, grace_s=None if stopping == 1 else 0.0)
                if stopping == 1 and not quiet:
                    progress.say(f"stopping {job}; what is finished is kept (Ctrl-C again: at once)")
    return opened.jobs.outcome(job)


class _Look:
    """Shows, once a second, how long a job will take and what it waits for."""

    def __init__(self, opened: Project, job: str, progress: RunProgress, *, quiet: bool) -> None:
        self._opened, self._job, self._progress, self._quiet = opened, job, progress, quiet
        self._looked = 0.0
        self._told = False

    def __call__(self) -> None:
        if self._quiet or time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        now = self._opened.jobs.describe(self._job)
        waits = now["message"] if now["state"] == "queued" else ""
        if now["progress"] is not None:
            told = now["progress"]
            step = {"left_s": told["step_left_s"], "unknown": []}
            self._progress.expect(
                (told["step_elapsed_s"], time_left(step)),
                (told["elapsed_s"], time_left(told)),
                "waits for its turn" if waits else "",
            )
        if waits and not self._told:
            self._told = True
            diagnostics.note(f"{self._job} {waits}")


def command() -> list[str]:
    """Return what the person typed, for the record of the runs."""
    return sys.argv[1:]


@contextmanager
def _terminal_may_go() -> Iterator[None]:
    """Let a lost terminal end this process only; the job goes on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
