"""The order of the queue of this machine: who waits, and moving a job in it. Plain values come out."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from staproj.engine import machine
from staproj.engine.jobs import place, record
from staproj.engine.jobs.place import MAX_PRIORITY, Place
from staproj.engine.machine import Limits
from staproj.engine.slots import Slots, Ticket
from staproj.errors import StaprojError, UsageError
from staproj.project.layout import JOB_ID, JobDir, Layout
from staproj.project.schema import require_writable

MOVES = ("first", "up", "down", "last")
_STEP_S = 1e-3

Rank = tuple[float, float, str]


def standing() -> list[Ticket]:
    """Return all who hold or wait for slots on this machine, in order, each waiting one where it is to stand.

    Those who hold come first. A job that was moved a moment ago stands there already, although its worker
    has not looked yet.
    """
    found = Slots(Limits(1, 0, ()), machine.state_dir()).tickets()
    for ticket in found:
        put = None if ticket.held else _put(ticket)
        if put is not None:
            asked = ticket.about.get("asked", ticket.since) if put.since is None else put.since
            ticket.priority, ticket.since = put.priority, float(asked)
    return sorted(found, key=lambda ticket: (not ticket.held, ticket.rank))


def reorder(root: Path, job: str, *, priority: int | None = None, move: str | None = None) -> dict[str, Any]:
    """Give a job that waits, or whose next run will, another place in the queue of its machine.

    ``priority`` is a number, of which a higher one goes first; ``move``, one of ``MOVES``, is relative to all
    that wait on this machine. What holds its slots already is not touched. Returns ``{"job", "priority",
    "place", "waiting", "waits", "changed"}``: ``place`` (from 1) is among ``waiting`` jobs, this one
    included, and ``waits`` tells whether it waits now.

    Raises
    ------
    UsageError
        If the job has ended, belongs to the queue of another machine, or what is asked is no place.
    """
    if (priority is None) == (move is None) or (move is not None and move not in MOVES):
        raise UsageError("where is the job to go?", hint=f"give a priority, or one of {', '.join(MOVES)}")
    if priority is not None and abs(priority) > MAX_PRIORITY:
        raise UsageError(f"a priority is at most {MAX_PRIORITY}, not {priority}")
    layout = Layout(root)
    directory = record.find(layout, job)
    state = record.state_of(directory).state
    if state in record.ENDED:
        raise UsageError(
            f"{directory.id} does not wait: it is {state}", hint="`staproj queue` shows who does"
        )
    require_writable(layout)
    asked = record.read(directory)
    if move is not None and asked.get("host") != socket.gethostname():
        raise UsageError(
            f"{directory.id} is in the queue of {asked.get('host')}, which is not seen from here",
            hint="give it a priority: `staproj queue JOB --priority N`",
        )
    waiting = [ticket for ticket in standing() if not ticket.held]
    own = [ticket for ticket in waiting if _is_of(ticket, directory)]
    others = [ticket.rank for ticket in waiting if ticket not in own]
    name = own[0].id if own else ""
    before = Place(*place.of(directory, asked))
    wanted = _moved(_rank(before, name), others, move) if move else Place(priority or 0)
    if wanted is not None:
        place.write(directory, wanted)
    now = Place(*place.of(directory, asked))
    return {
        "job": directory.id,
        "priority": now.priority,
        "place": 1 + sum(rank < _rank(now, name) for rank in others),
        "waiting": len(others) + 1,
        "waits": bool(own),
        "changed": now != before,
    }


def _moved(own: Rank, others: Sequence[Rank], move: str) -> Place | None:
    """Return the place after a move; ``None`` where it is there already."""
    ahead = sorted(rank for rank in others if rank < own)
    behind = sorted(rank for rank in others if rank > own)
    gaps: list[tuple[Rank | None, Rank | None]] = []
    if ahead and move in ("first", "up"):
        gaps = list(zip([None, *ahead], ahead, strict=False))
        gaps = gaps[:1] if move == "first" else gaps[::-1]
    elif behind and move in ("down", "last"):
        gaps = list(zip(behind, [*behind[1:], None], strict=True))
        gaps = gaps[-1:] if move == "last" else gaps
    return next((found for before, after in gaps if (found := _between(before, after))), None)


def _between(before: Rank | None, after: Rank | None) -> Place | None:
    """Return a place behind one rank and ahead of another; ``None`` where no number fits between."""
    if after is None:
        assert before is not None
        return Place(-int(before[0]), before[1] + _STEP_S)
    if before is None or before[0] < after[0]:
        return Place(-int(after[0]), after[1] - _STEP_S)
    since = 0.5 * (before[1] + after[1])
    return Place(-int(after[0]), since) if before[1] < since < after[1] else None


def _rank(stands: Place, name: str) -> Rank:
    return (-stands.priority, stands.since or 0.0, name)


def _put(ticket: Ticket) -> Place | None:
    """Return the place that a person gave the job of a ticket."""
    project, job = ticket.about.get("project"), ticket.about.get("job")
    if isinstance(project, str) and isinstance(job, str) and JOB_ID.match(job):
        with suppress(StaprojError, OSError):
            return place.read(JobDir(Layout(Path(project)).jobs / job))
    return None


def _is_of(ticket: Ticket, job: JobDir) -> bool:
    """Tell whether a ticket is one of a job, by whatever way its project was reached."""
    project = ticket.about.get("project")
    if ticket.about.get("job") != job.id or not isinstance(project, str):
        return False
    root = job.path.parents[2]
    with suppress(OSError):
        return os.path.abspath(project) == os.path.abspath(root) or root.samefile(project)
    return False
