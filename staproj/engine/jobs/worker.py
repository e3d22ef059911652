"""The process that computes a job: all its steps, one after the other."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from staproj.engine.events import ProgressEvent
from staproj.engine.jobs import record
from staproj.errors import CancelledError, StageError, StaprojError
from staproj.project import atomic
from staproj.project.layout import JobDir, Layout
from staproj.project.process import this_process

_PR_SET_PDEATHSIG = 1
_PARENT_EVERY_S = 0.5
_CANCEL_EVERY_S = 0.2


@dataclass(frozen=True)
class Task:
    """What a job asks for, and how it tells what happens."""

    layout: Layout
    job: JobDir
    kind: str
    arguments: Mapping[str, Any]
    progress: Callable[[ProgressEvent], None]
    cancelled: Callable[[], bool]


Perform = Callable[[Task], list[dict[str, Any]]]


class _Stopper:
    """Turns the first request to stop into an interrupt of the main thread; later ones are not heard.

    A second interrupt would hit the work of putting things in order after the first.
    """

    def __init__(self) -> None:
        self.parent = os.getppid()
        self.reason = ""

    def install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        tell_of_parents_death(signal.SIGTERM)
        threading.Thread(target=self._watch_parent, daemon=True).start()

    def orphaned(self) -> bool:
        return os.getppid() != self.parent

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.reason:
            return
        self.reason = "its supervisor is gone" if self.orphaned() else "stopped by the person who ran it"
        raise KeyboardInterrupt(self.reason)

    def _watch_parent(self) -> None:
        """Look for a lost supervisor where the system does not tell."""
        while not self.reason:
            if self.orphaned():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(_PARENT_EVERY_S)


def tell_of_parents_death(number: int) -> None:
    """Ask the system to send signal ``number`` to this process when the one that started it dies (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def work(root: Path, name: str, perform: Perform) -> int:
    """Do what job ``name`` asks for and write down how it ended."""
    layout = Layout(root)
    job = JobDir(layout.jobs / name)
    stopper = _Stopper()
    began = time.monotonic()
    steps: list[dict[str, Any]] = []
    error: BaseException | None = None
    try:
        stopper.install()
        record.note(job, "working", **this_process())
        asked = record.read(job)
        sys.argv = ["staproj", *map(str, asked.get("command", []))]  # runs record what the person typed
        steps = perform(
            Task(layout, job, asked["kind"], asked["arguments"], _Events(job), _Marker(job, stopper))
        )
    except BaseException as caught:  # noqa: BLE001 - whatever it is, it must stand in the result
        error = caught
    wall_s = round(time.monotonic() - began, 3)
    state, told = _explained(job, layout, error, orphaned=stopper.orphaned())
    record.finish(job, state, steps=steps, error=told, wall_s=wall_s)
    return 0


class _Events:
    """Writes what the engine tells to the job's file; progress within an item is in the run's heartbeat."""

    def __init__(self, job: JobDir) -> None:
        self._job = job

    def __call__(self, event: ProgressEvent) -> None:
        if event.kind != "progress":
            with suppress(OSError, StaprojError):  # news stop no work
                atomic.append_line(self._job.events, {"time": round(time.time(), 3), **asdict(event)})


class _Marker:
    """Tells whether the job was asked to stop; looks at the disk now and then."""

    def __init__(self, job: JobDir, stopper: _Stopper) -> None:
        self._job = job
        self._stopper = stopper
        self._looked = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self._looked < _CANCEL_EVERY_S:
            return False
        self._looked = now
        return self._job.cancel.exists() or self._stopper.orphaned()


def _explained(
    job: JobDir, layout: Layout, error: BaseException | None, *, orphaned: bool
) -> tuple[str, dict[str, Any] | None]:
    """Return the state that an error leaves a job in, and the error as it is shown."""
    if error is None:
        return "done", None
    if isinstance(error, KeyboardInterrupt):
        hint = "`staproj resume` goes on where it stopped"
        error = CancelledError(str(error) or "stopped by the person who ran it", hint=hint)
    if isinstance(error, CancelledError) and orphaned:
        hint = "`staproj resume` goes on where it stopped"
        lost = StageError(f"{job.id} was interrupted: its supervisor is gone", where=error.where, hint=hint)
        return "interrupted", lost.as_dict()
    if isinstance(error, CancelledError):
        return "cancelled", error.as_dict()
    if isinstance(error, StaprojError):
        return "interrupted" if atomic.is_disk_full(error) else "failed", error.as_dict()
    with suppress(OSError), job.log.open("a", encoding="utf-8") as log:
        log.writelines(traceback.format_exception(error))
    if isinstance(error, OSError) and error.errno:
        facts = {"errno": error.errno, "strerror": error.strerror, "filename": str(error.filename or "")}
        return "failed", {"error": "OSError", "message": str(error), **facts, "exit_code": 1}
    first = str(error).splitlines()[0] if str(error) else "no message"
    unexpected = StaprojError(
        f"unexpected {type(error).__name__}: {first}",
        where=f"details in {layout.relative(job.log)}",
        hint="this is a fault in staproj; please report it with that file",
    )
    return "failed", unexpected.as_dict()
