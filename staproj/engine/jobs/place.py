"""The place of a job in the queue of its machine, as a person has changed it: one small file of the job.

The worker looks at it whenever it asks for its turn, so that a job that waits is moved while it waits, and
the later runs of the job are where the first was put.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from staproj.errors import StorageError
from staproj.project import atomic
from staproj.project.layout import JobDir
from staproj.project.process import user_name

FORMAT = 1
MAX_PRIORITY = 1_000_000
_LATEST_S = 1e11


@dataclass(frozen=True)
class Place:
    """Where a job stands: the higher ``priority`` goes first, then the earlier ``since`` (Unix time, s).

    ``since`` is ``None`` where it is that of the job itself.
    """

    priority: int
    since: float | None = None


def read(job: JobDir) -> Place | None:
    """Return the place that a person gave a job; ``None`` where nobody did, or it cannot be read."""
    try:
        if not job.place.exists():
            return None
        facts = atomic.read_json(job.place)
    except (OSError, StorageError):
        return None
    priority, since = facts.get("priority"), facts.get("since")
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > MAX_PRIORITY:
        return None
    return Place(priority, _time(since))


def write(job: JobDir, place: Place) -> None:
    """Give a job a place.

    Raises
    ------
    StorageError
        If the project cannot be written to.
    """
    facts = {"format": FORMAT, "priority": place.priority, "since": place.since}
    atomic.write_json(job.place, {**facts, "who": user_name(), "time": round(time.time(), 3)}, sync=False)


def of(job: JobDir, asked: Mapping[str, Any]) -> tuple[int, float]:
    """Return priority and time at which a job stands: as a person put it, else as it was asked for.

    ``asked``: the request of the job, as :func:`staproj.engine.jobs.record.read` returns it.
    """
    priority, since = 0, _time(asked.get("created")) or 0.0
    arguments = asked.get("arguments")
    if isinstance(arguments, Mapping):
        with suppress(TypeError, ValueError, OverflowError):
            priority = int(arguments.get("priority") or 0)
    put = read(job)
    if put is None:
        return priority, since
    return put.priority, since if put.since is None else put.since


def _time(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LATEST_S:
        return None
    return float(value)
