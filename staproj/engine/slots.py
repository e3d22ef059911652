"""The queue of one machine: who may use how many CPU slots, how much memory and which GPU right now.

Every run that wants something is one small file below the person's state directory; a lock made by mkdir
guards them. A claim is freed by its owner, or by proof that its owner is gone; never because it is old.
First come, first served, within the same priority. One who waits for CPU or memory holds back those behind
who would take it away; one who waits for a GPU holds back only those who want one too.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staproj.engine.machine import Limits
from staproj.errors import LockedError, UsageError
from staproj.project.lock import project_lock
from staproj.project.process import is_alive, this_process, user_name

_FORMAT = 1


@dataclass(frozen=True)
class Need:
    """What a run wants; ``memory_bytes`` 0 where nobody knows."""

    cpus: int = 1
    memory_bytes: int = 0
    gpus: int = 0


@dataclass
class Ticket:
    """One wish in the queue: waiting, or held with the GPUs it was given."""

    need: Need
    since: float
    priority: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    who: Mapping[str, Any] = field(default_factory=dict)
    held: bool = False
    gpus: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def rank(self) -> tuple[float, float, str]:
        """Return its place in the queue: smaller comes first."""
        return (-self.priority, self.since, self.id)

    def as_dict(self) -> dict[str, Any]:
        """Return what its file holds."""
        return {
            "format": _FORMAT,
            "id": self.id,
            "need": vars(self.need),
            "since": self.since,
            "priority": self.priority,
            "about": dict(self.about),
            "who": dict(self.who),
            "held": self.held,
            "gpus": list(self.gpus),
        }


@dataclass
class _Free:
    cpus: int
    memory_bytes: int
    gpus: list[str]

    def lacking(self, need: Need) -> list[str]:
        found = ["cpus"] if need.cpus > self.cpus else []
        found += ["memory"] if need.memory_bytes > self.memory_bytes else []
        return found + (["gpus"] if need.gpus > len(self.gpus) else [])

    def take(self, need: Need, gpus: tuple[str, ...] | None = None) -> tuple[str, ...]:
        self.cpus = max(0, self.cpus - need.cpus)
        self.memory_bytes = max(0, self.memory_bytes - need.memory_bytes)
        taken = tuple(self.gpus[: need.gpus]) if gpus is None else gpus
        self.gpus = [gpu for gpu in self.gpus if gpu not in taken]
        return taken


class Slots:
    """The queue of this machine, as files in one directory."""

    def __init__(self, limits: Limits, directory: Path) -> None:
        self.limits = limits
        self.directory = directory / "slots"
        self.directory.mkdir(parents=True, exist_ok=True)

    def check(self, need: Need) -> None:
        """Refuse what this machine will never have.

        Raises
        ------
        UsageError
            If ``need`` is larger than the machine.
        """
        limits = self.limits
        gb = need.memory_bytes / 1e9
        for wanted, there, words, hint in (
            (need.cpus, limits.cpu_slots, f"{need.cpus} CPU slots", "fewer --threads or --jobs"),
            (need.memory_bytes, limits.memory_bytes, f"{gb:.1f} GB of memory", "fewer --jobs"),
            (need.gpus, len(limits.gpus), f"{need.gpus} GPU", "use --device cpu"),
        ):
            if wanted > there:
                has = f"{there / 1e9:.1f} GB" if "memory" in words else str(there)
                raise UsageError(
                    f"the run needs {words}, but there is {has}: it would wait for ever",
                    where=f"limits of {limits.where}",
                    hint=f"{hint}; limits can be set in machine.toml (docs/running.md)",
                )

    def enter(
        self, need: Need, about: Mapping[str, Any], *, priority: int = 0, since: float | None = None
    ) -> Ticket:
        """Queue up; nothing is given yet.

        Raises
        ------
        UsageError
            If the machine will never have so much.
        """
        self.check(need)
        who = {**this_process(), "user": user_name()}
        ticket = Ticket(need, time.time() if since is None else since, priority, dict(about), who)
        with self._lock():
            self._write(ticket)
        return ticket

    def try_claim(self, ticket: Ticket) -> str:
        """Take what the ticket wants if it is its turn; return "" then, else what it waits for."""
        try:
            with self._lock():
                return self._claim(ticket)
        except LockedError as error:
            return error.message

    def keep_gpus(self, ticket: Ticket, about: Mapping[str, Any]) -> Ticket:
        """Move the GPUs of a held ticket to one of their own, which outlives it; return that."""
        with self._lock():
            own = Ticket(Need(0, 0, len(ticket.gpus)), ticket.since, ticket.priority, dict(about), ticket.who)
            own.held, own.gpus = True, ticket.gpus
            self._write(own)
            ticket.gpus, ticket.need = (), Need(ticket.need.cpus, ticket.need.memory_bytes, 0)
            self._write(ticket)
        return own

    def leave(self, ticket: Ticket) -> None:
        """Give back what is held, or stop waiting."""
        with suppress(LockedError), self._lock():
            self._path(ticket).unlink(missing_ok=True)
            return
        self._path(ticket).unlink(missing_ok=True)  # a file less harms nobody

    def tickets(self) -> list[Ticket]:
        """Return all who wait or hold something and are alive, those who hold first."""
        found = [ticket for ticket in self._read_all() if is_alive(dict(ticket.who)) is not False]
        return sorted(found, key=lambda ticket: (not ticket.held, ticket.rank))

    def _claim(self, ticket: Ticket) -> str:
        others = []
        for other in self._read_all():
            if other.id == ticket.id:
                continue
            if is_alive(dict(other.who)) is False:
                self._path(other).unlink(missing_ok=True)
            else:
                others.append(other)
        free = _Free(self.limits.cpu_slots, self.limits.memory_bytes, list(self.limits.gpus))
        for other in others:
            if other.held:
                free.take(other.need, other.gpus)
        ahead = sorted((t for t in others if not t.held and t.rank < ticket.rank), key=lambda t: t.rank)
        for other in ahead:
            lacking = free.lacking(other.need)
            if lacking == ["gpus"]:
                free.gpus = []
            else:
                free.take(other.need)
        lacking = free.lacking(ticket.need)
        if lacking:
            self._write(ticket)
            return self._words(ticket, lacking, free, others)
        ticket.gpus = free.take(ticket.need)
        ticket.held = True
        self._write(ticket)
        return ""

    def _words(self, ticket: Ticket, lacking: list[str], free: _Free, others: list[Ticket]) -> str:
        limits, need = self.limits, ticket.need
        slots = f"{need.cpus} CPU slot" + ("s" if need.cpus > 1 else "")
        what = {
            "cpus": f"{slots} ({free.cpus} of {limits.cpu_slots} free)",
            "memory": f"{need.memory_bytes / 1e9:.1f} GB of memory ({free.memory_bytes / 1e9:.1f} free)",
            "gpus": f"a GPU ({len(free.gpus)} of {len(limits.gpus)} free)",
        }
        names = [_name(other) for other in others if other.held or other.rank < ticket.rank]
        behind = f", behind {', '.join(names[:2])}" + (f" and {len(names) - 2} more" if names[2:] else "")
        return "waits for " + " and ".join(what[kind] for kind in lacking) + (behind if names else "")

    def _lock(self) -> AbstractContextManager[None]:
        return project_lock(self.directory / "lock", purpose="the queue of this machine")

    def _path(self, ticket: Ticket) -> Path:
        return self.directory / f"{ticket.id}.json"

    def _write(self, ticket: Ticket) -> None:
        part = self.directory / f".{ticket.id}.part"
        part.write_text(json.dumps(ticket.as_dict()), encoding="utf-8")
        part.replace(self._path(ticket))

    def _read_all(self) -> list[Ticket]:
        found = []
        for path in self.directory.glob("*.json"):
            with suppress(OSError, ValueError, TypeError, KeyError):
                facts = json.loads(path.read_text(encoding="utf-8"))
                ticket = Ticket(
                    Need(**facts["need"]),
                    float(facts["since"]),
                    int(facts["priority"]),
                    facts["about"],
                    facts["who"],
                    bool(facts["held"]),
                    tuple(facts["gpus"]),
                    str(facts["id"]),
                )
                if path.stem == ticket.id:
                    found.append(ticket)
        return found


def _name(ticket: Ticket) -> str:
    about = ticket.about
    run = " ".join(str(about[key]) for key in ("run", "step") if about.get(key))
    return f"{run or 'process ' + str(ticket.who.get('pid'))} in {Path(str(about.get('project', '?'))).name}"
