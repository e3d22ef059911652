"""The process that watches over a job: starts the worker, stops it when asked, writes the last word.

It does nothing else, so that it is small, quick and still there when the worker runs out of memory.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from staproj.engine.jobs import heartbeat, launch, record
from staproj.errors import StaprojError
from staproj.project import atomic, runs
from staproj.project.layout import JobDir, Layout, RunDir
from staproj.project.process import this_process

POLL_S = 0.1
MARKER_EVERY_S = 0.2
GRACE_S = 30.0
LINGER_S = 10.0


class Supervisor:
    """Watches one worker until its end."""

    def __init__(self, layout: Layout, job: JobDir) -> None:
        self.layout = layout
        self.job = job
        self._asked: dict[str, Any] | None = None
        self._asked_at = 0.0
        self._said_at = 0.0
        self._touched = 0.0
        self._looked = 0.0
        self._began = time.monotonic()

    def run(self) -> None:
        """Start the worker and stay until it has ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        record.note(self.job, "supervised", **this_process())
        worker = subprocess.Popen(
            launch.command(launch.WORK, self.layout.root, self.job), stdin=subprocess.DEVNULL, process_group=0
        )
        while worker.poll() is None:
            self._look(worker)
            time.sleep(POLL_S)
        with suppress(OSError):  # what the worker started and left behind
            os.killpg(worker.pid, signal.SIGKILL)
        self._last_word(worker.returncode)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._ask({"who": f"signal {number} to the supervisor"})

    def _look(self, worker: subprocess.Popen[bytes]) -> None:
        now = time.monotonic()
        if now - self._touched >= heartbeat.TOUCH_EVERY_S:
            self._touched = now
            heartbeat.touch(self.job.heartbeat)
        if now - self._looked >= MARKER_EVERY_S:
            self._looked = now
            if self.job.result.exists():
                self._end_lingering(worker, now)
            elif self.job.cancel.exists():
                lines = atomic.read_lines(self.job.cancel)
                self._ask(lines[-1] if lines else {})
        if self._asked is None:
            return
        if not self._asked_at:
            self._asked_at = now
            self._mark_run()
            with suppress(OSError):
                worker.send_signal(signal.SIGTERM)
                worker.send_signal(signal.SIGCONT)  # one that was stopped hears nothing
        elif now - self._asked_at >= _grace(self._asked):
            with suppress(OSError):
                os.killpg(worker.pid, signal.SIGKILL)

    def _end_lingering(self, worker: subprocess.Popen[bytes], now: float) -> None:
        """End a worker that has said how it ended but does not go: a thread of a library may hang."""
        self._said_at = self._said_at or now
        if now - self._said_at >= LINGER_S:
            with suppress(OSError):
                os.killpg(worker.pid, signal.SIGKILL)

    def _ask(self, marker: dict[str, Any]) -> None:
        if self._asked is None or "grace_s" in marker:
            self._asked = marker

    def _mark_run(self) -> None:
        """Ask the run at work to stop too: its items may be computed by processes of their own."""
        run = self._run()
        if run is not None:
            with suppress(OSError):
                atomic.touch(run.cancel)

    def _run(self) -> RunDir | None:
        name = record.state_of(self.job).run
        with suppress(StaprojError):
            return self.layout.find_run(name) if name else None
        return None

    def _last_word(self, code: int) -> None:
        run = self._run()
        if run is not None:
            with suppress(OSError):
                run.heartbeat.unlink()
        if record.result(self.job) is not None:
            return
        asked = self._asked is not None
        how = _how_it_ended(code)
        message = f"{'stopped as asked: ' if asked else ''}the process {how}"
        if run is not None and runs.state_of(run).state not in {"sealed", "failed"}:
            with suppress(OSError, StaprojError):
                runs.note(run, "interrupted", durable=True, message=message)
        place = f"{run.path.name}" if run is not None else self.job.id
        error = {
            "error": "CancelledError" if asked else "StageError",
            "message": f"{place}: {message}" if asked else f"{place} was interrupted: {message}",
            "where": self.layout.relative(self.job.log),
            "hint": _advice(code, asked=asked),
            "exit_code": 130 if asked else 1,
        }
        wall_s = round(time.monotonic() - self._began, 3)
        record.finish(self.job, "cancelled" if asked else "interrupted", steps=[], error=error, wall_s=wall_s)


def _grace(marker: dict[str, Any]) -> float:
    value = marker.get("grace_s", GRACE_S)
    return float(value) if isinstance(value, int | float) and value >= 0 else GRACE_S


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"was killed by signal {-code}"


def _advice(code: int, *, asked: bool) -> str:
    if code == -signal.SIGKILL and not asked:
        return (
            "`staproj resume` goes on where it stopped; if nobody killed it, memory ran out: "
            "then with fewer --jobs"
        )
    return "`staproj resume` goes on where it stopped"


def supervise(root: Path, name: str) -> int:
    """Leave the process that started this one, then watch over job ``name`` until its end."""
    layout = Layout(root)
    job = JobDir(layout.jobs / name)
    if os.fork():
        os._exit(0)
    os.setsid()
    try:
        Supervisor(layout, job).run()
    except BaseException as error:
        words = {"error": "StaprojError", "message": f"the supervisor failed: {error!r}", "exit_code": 1}
        with suppress(OSError, StaprojError):
            record.finish(job, "interrupted", steps=[], error={**words, "where": None, "hint": ""})
        raise
    return 0
