"""The heartbeat of a run: a small file that says how far the work is and when it was last heard of."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from staproj.engine.events import ProgressEvent
from staproj.project.atomic import read_lines, write_bytes
from staproj.project.atomic import touch as atomic_touch
from staproj.project.layout import RunDir

TOUCH_EVERY_S = 10.0
WRITE_EVERY_S = 1.0


class Beat:
    """Keeps ``heartbeat`` of a run alive while it is entered; the file is gone afterwards.

    A full disk or a lost network disk stops no work because of this file: it is only news.
    """

    def __init__(self, run: RunDir, *, every_s: float = TOUCH_EVERY_S) -> None:
        self._path = run.heartbeat
        self._every_s = every_s
        self._facts: dict[str, Any] = {"run": run.id, "item": None, "done": 0.0, "total": 0.0, "message": ""}
        self._facts |= {"items_done": 0, "items_total": 0}
        self._parts: dict[str | None, float] = {}
        self._written = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Write the first beat and go on by itself."""
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and take the file away."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)
        with suppress(OSError):
            self._path.unlink()

    def update(self, event: ProgressEvent) -> None:
        """Take news of the engine; written at once, but at most once a second."""
        facts = self._facts
        if event.kind == "step":
            facts["items_total"] = int(event.total)
        elif event.kind == "item-done":
            facts["items_done"], facts["items_total"] = int(event.done), int(event.total)
            self._parts.pop(event.item, None)
        elif event.kind in {"item", "progress"}:
            facts |= {"item": event.item, "done": event.done, "total": event.total, "message": event.message}
            self._parts[event.item] = min(max(event.done / event.total, 0.0), 1.0) if event.total > 0 else 0.0
        done = facts["items_done"] + sum(self._parts.values())  # several items may be at work
        facts["share"] = min(done / facts["items_total"], 1.0) if facts["items_total"] else 0.0
        if time.monotonic() - self._written >= WRITE_EVERY_S:
            self._write()

    def _live(self) -> None:
        while not self._stop.wait(self._every_s):
            self._write()

    def _write(self) -> None:
        with self._lock, suppress(OSError):
            self._written = time.monotonic()
            text = json.dumps({"time": round(time.time(), 3), **self._facts}, allow_nan=False, default=str)
            write_bytes(self._path, (text + "\n").encode(), sync=False)


def read(run: RunDir) -> dict[str, Any]:
    """Return the last beat of a run (empty where there is none, or it is torn)."""
    lines = read_lines(run.heartbeat)
    return lines[-1] if lines else {}


def touch(path: Path) -> None:
    """Say that somebody still watches over ``path``, made if it is not there."""
    with suppress(OSError):
        atomic_touch(path)
