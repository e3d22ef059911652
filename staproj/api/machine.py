"""What staproj may use of this machine, how busy it is, and who holds or waits for it. Plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from staproj.api import queue_order
from staproj.engine import load as loads
from staproj.engine import machine
from staproj.engine.slots import Ticket


class Machine:
    """Looks at this machine; ``path`` lies on the disk whose free space is told."""

    def __init__(self, path: str | Path = ".") -> None:
        self._load = loads.Load(path)

    def load(self) -> dict[str, Any]:
        """Return how busy it is, as :meth:`staproj.engine.load.Load.read`; processors since the last call."""
        return self._load.read()

    @staticmethod
    def queue() -> list[dict[str, Any]]:
        """Return all that holds or waits for slots here, of all projects of this person, in order.

        One ``{"id", "project", "job", "run", "step", "held", "place", "cpus", "memory_bytes", "gpus",
        "gpu_uuids", "since", "priority", "pid", "host", "user"}`` each; those who hold come first. ``place``
        counts those who wait from 1 and is ``None`` for the others; ``since`` is when the job was asked for.
        """
        rows = [_row(ticket) for ticket in queue_order.standing()]
        for number, row in enumerate([row for row in rows if not row["held"]], 1):
            row["place"] = number
        return rows

    @staticmethod
    def limits() -> dict[str, Any]:
        """Return what runs may use, all projects together: cpu_slots, memory_bytes, gpus (UUIDs), where.

        Raises
        ------
        UsageError
            If the file with the limits cannot be understood.
        """
        found = machine.limits()
        return {
            "cpu_slots": found.cpu_slots,
            "memory_bytes": found.memory_bytes,
            "gpus": list(found.gpus),
            "where": found.where,
        }

    def overview(self) -> dict[str, Any]:
        """Return ``{"limits", "load", "queue", "note"}``, having looked at the processors for a moment.

        ``note`` says where the queue is kept, if not where it should be ("" else).
        """
        told = loads.sample(self._load.path)
        return {
            "limits": self.limits(),
            "load": told,
            "queue": self.queue(),
            "note": machine.state_note(),
        }


def _row(ticket: Ticket) -> dict[str, Any]:
    about, who = ticket.about, ticket.who
    asked = about.get("asked")
    return {
        "id": ticket.id,
        **{name: _text(about.get(name)) for name in ("project", "job", "run", "step")},
        "held": ticket.held,
        "place": None,
        "cpus": ticket.need.cpus,
        "memory_bytes": ticket.need.memory_bytes,
        "gpus": ticket.need.gpus,
        "gpu_uuids": list(ticket.gpus),
        "since": float(asked) if isinstance(asked, int | float) else ticket.since,
        "priority": ticket.priority,
        "pid": who.get("pid"),
        "host": _text(who.get("host")),
        "user": _text(who.get("user")),
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
