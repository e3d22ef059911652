"""The order of the queue can be changed while jobs wait, and they get their turns in the new order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from staproj.api import Project
from staproj.api.machine import Machine
from staproj.api.queue_order import reorder
from staproj.engine import machine
from staproj.engine.jobs import place, record, turn
from staproj.engine.jobs.turn import Turns
from staproj.engine.machine import Limits
from staproj.engine.plan import Node
from staproj.engine.slots import Need, Slots, Ticket
from staproj.errors import CancelledError, UsageError
from staproj.project.layout import JobDir, RunDir
from staproj.project.process import this_process
from tests.integration.jobs_setup import Terminal, until


class Waiter:
    """A job of a project whose worker waits for its turn, in a thread of this process."""

    def __init__(
        self, project: Project, slots: Slots, turns: list[str], *, since: float, priority: int
    ) -> None:
        self.project = project
        self.name = project.root.name
        self.job = record.create(project.layout, "run", {"priority": priority}, command=["run"])
        facts = json.loads(self.job.request.read_text()) | {"created": since}
        self.job.request.write_text(json.dumps(facts))
        record.note(self.job, "working", **this_process())
        self.stop = False
        self._slots, self._turns = slots, turns
        self._since, self._priority = since, priority
        self._thread = threading.Thread(target=self._work, daemon=True)

    def wait(self) -> None:
        """Begin to wait, and come back once the ticket is there."""
        before = len(self._slots.tickets())
        self._thread.start()
        until(lambda: len(self._slots.tickets()) > before)

    def end(self) -> None:
        """Stop waiting."""
        self.stop = True
        self._thread.join(10.0)

    def _work(self) -> None:
        turns = Turns(
            self._slots,
            self.job,
            threads=1,
            jobs=1,
            gpus=0,
            memory_of=lambda node: 0,
            cancelled=lambda: self.stop,
            about={"project": str(self.project.root), "job": self.job.id},
            priority=self._priority,
            since=self._since,
        )
        run = RunDir(self.project.layout.runs / "r0001-slow")
        run.path.mkdir(parents=True, exist_ok=True)
        with suppress(CancelledError), turns(run, cast("Node", SimpleNamespace(name="slow"))):
            self._turns.append(self.name)
            time.sleep(0.05)


@pytest.fixture
def slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slots:
    """Return the queue of a machine with one slot, which workers look at often."""
    monkeypatch.setenv("STAPROJ_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(turn, "POLL_S", 0.01)
    return Slots(Limits(1, 10**9, ()), machine.state_dir())


@pytest.fixture
def held(slots: Slots) -> Ticket:
    """Return the ticket of somebody who holds the only slot."""
    ticket = slots.enter(Need(1), {"project": "elsewhere", "run": "r0009"}, since=50.0, priority=9)
    assert slots.try_claim(ticket) == ""
    return ticket


@pytest.fixture
def queued(
    slots: Slots, held: Ticket, make_project: Callable[..., Project]
) -> Iterator[tuple[dict[str, Waiter], list[str]]]:
    """Return four jobs of four projects that wait in the order a, b, c, d, and the list of turns they get."""
    turns: list[str] = []
    people = {}
    for number, name in enumerate("abcd"):
        people[name] = Waiter(make_project(name), slots, turns, since=100.0 + number, priority=0)
    for waiter in people.values():
        waiter.wait()
    yield people, turns
    for waiter in people.values():
        waiter.end()


def _order(people: dict[str, Waiter], slots: Slots, held: Ticket, turns: list[str]) -> str:
    """Let everybody look once more, free the slot and return who got it, in order."""
    wanted = {w.job.id + w.name: place.of(w.job, record.read(w.job)) for w in people.values()}

    def all_there() -> bool:
        found = {}
        for ticket in slots.tickets():
            if not ticket.held:
                found[str(ticket.about["job"]) + Path(str(ticket.about["project"])).name] = (
                    ticket.priority,
                    ticket.since,
                )
        return found == wanted

    until(all_there)
    slots.leave(held)
    until(lambda: len(turns) == len(people))
    return "".join(turns)


def test_they_wait_in_the_order_they_came(
    queued: tuple[dict[str, Waiter], list[str]], slots: Slots, held: Ticket
) -> None:
    """Without a word from a person, first come, first served."""
    people, turns = queued
    assert _order(people, slots, held, turns) == "abcd"


@pytest.mark.parametrize(
    ("moves", "order"),
    [
        ([("d", "first")], "dabc"),
        ([("c", "up")], "acbd"),
        ([("c", "up"), ("c", "up")], "cabd"),
        ([("a", "down")], "bacd"),
        ([("a", "last")], "bcda"),
        ([("a", "last"), ("b", "down"), ("d", "up"), ("d", "first")], "dcba"),
    ],
)
def test_a_job_that_waits_is_moved(
    queued: tuple[dict[str, Waiter], list[str]],
    slots: Slots,
    held: Ticket,
    moves: list[tuple[str, str]],
    order: str,
) -> None:
    """A move counts the others that wait, of whatever project, and the turns come in the new order."""
    people, turns = queued
    for name, move in moves:
        assert reorder(people[name].project.root, "j0001", move=move)["changed"]
    assert _waiting() == order, "the list shows it before the workers have looked"
    assert _order(people, slots, held, turns) == order


def test_a_priority_goes_before_time(
    queued: tuple[dict[str, Waiter], list[str]], slots: Slots, held: Ticket
) -> None:
    """A higher number goes first, a lower one last, and moves keep to those who have the same number."""
    people, turns = queued
    told = reorder(people["c"].project.root, "j0001", priority=5)
    assert told == {"job": "j0001", "priority": 5, "place": 1, "waiting": 4, "waits": True, "changed": True}
    assert people["c"].project.jobs.describe("j0001")["priority"] == 5
    assert reorder(people["b"].project.root, "j0001", priority=-1)["place"] == 4
    told = reorder(people["d"].project.root, "j0001", move="first")
    assert (told["priority"], told["place"]) == (5, 1)
    assert _order(people, slots, held, turns) == "dcab"


def test_a_job_at_an_end_stays_there(queued: tuple[dict[str, Waiter], list[str]]) -> None:
    """The first cannot go up, the last not down; nothing is written for it."""
    people, _ = queued
    for name, moves in (("a", ("up", "first")), ("d", ("down", "last"))):
        for move in moves:
            told = reorder(people[name].project.root, "j0001", move=move)
            assert (told["changed"], told["place"]) == (False, "abcd".index(name) + 1)
        assert not people[name].job.place.exists()


def test_later_runs_stay_where_the_job_was_put(
    slots: Slots, held: Ticket, make_project: Callable[..., Project]
) -> None:
    """A job that does not wait yet can be moved: its next run queues up there."""
    turns: list[str] = []
    early = Waiter(make_project("early"), slots, turns, since=100.0, priority=0)
    late = Waiter(make_project("late"), slots, turns, since=200.0, priority=0)
    early.wait()
    told = reorder(late.project.root, "j0001", move="first")
    assert (told["waits"], told["place"]) == (False, 1)
    late.wait()
    slots.leave(held)
    until(lambda: len(turns) == 2)
    assert turns == ["late", "early"]
    early.end()
    late.end()


def test_many_moves_between_two_neighbours_find_a_place(
    queued: tuple[dict[str, Waiter], list[str]],
) -> None:
    """Two jobs overtake each other again and again behind the same third one: each move is a move."""
    people, _ = queued
    reorder(people["c"].project.root, "j0001", move="up")
    for number in range(80):
        name, other = ("d", "c") if number % 2 == 0 else ("c", "d")
        while (names := _waiting()).index(name) > names.index(other):
            assert reorder(people[name].project.root, "j0001", move="up")["changed"]


def _waiting() -> str:
    """Return the names of the projects whose jobs wait, in order."""
    return "".join(Path(row["project"]).name for row in Machine().queue() if not row["held"])


def test_what_is_no_place_is_refused(ran: Project, slots: Slots) -> None:
    """A job that has ended, no move, two at once, and a number beyond bounds."""
    job = record.create(ran.layout, "run", {}, command=["run"])
    record.note(job, "working", **this_process())
    for where in ({}, {"priority": 1, "move": "up"}, {"move": "sideways"}, {"priority": 10**9}):
        with pytest.raises(UsageError):
            ran.jobs.reorder(job.id, **cast("Any", where))
    assert ran.jobs.reorder(job.id, priority=3)["priority"] == 3
    record.finish(job, "done")
    with pytest.raises(UsageError, match="it is done"):
        ran.jobs.reorder(job.id, priority=4)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"priority": "high"}', '{"priority": true}', '{"priority": 1e3, "since": -1}']
)
def test_a_damaged_place_counts_as_none(tmp_path: Path, text: str) -> None:
    """The file may come from anywhere: what cannot be understood changes nothing."""
    job = JobDir(tmp_path)
    job.place.write_text(text)
    assert place.read(job) is None
    assert place.of(job, {"arguments": {"priority": 2}, "created": 7.5}) == (2, 7.5)


def test_jobs_get_their_turn_as_a_command_puts_them(tmp_path: Path) -> None:
    """Of two jobs of real processes that wait, the later one is put first and begins first."""
    terminals = [Terminal(tmp_path / name) for name in "xyz"]
    at, early, late = terminals
    for terminal in (early, late):
        for name in ("STAPROJ_STATE", "XDG_CONFIG_HOME"):
            terminal.environment[name] = at.environment[name]
    try:
        at.limit("cpu_slots = 1\n")
        at.hold()
        at.call("run", "--detach")
        at.begun("TS_01")
        for terminal in (early, late):
            terminal.call("run", "--detach")
            until(lambda terminal=terminal: terminal.job()["state"] == "queued")
        rows = late.answer("queue")
        assert [(row["held"], row["place"]) for row in rows] == [(True, None), (False, 1), (False, 2)]
        moved = late.answer("queue", "j0001", "--first")
        assert (moved["place"], moved["queue"][1]["project"]) == (1, str(late.root))
        assert "number 1 of 2" in late.call("queue", "r0001", "--priority", "4")
        assert "waits (1)  j0001" in late.call("machine")
        assert "which job?" in late.answer("queue", "--first", code=2)["message"]
        at.go()
        claimed = {}
        for terminal in (early, late):
            until(lambda terminal=terminal: _claimed(terminal) is not None, 30.0)
            claimed[terminal.root] = _claimed(terminal)
        assert claimed[late.root] < claimed[early.root]
    finally:
        for terminal in terminals:
            terminal.end()


def _claimed(terminal: Terminal) -> float | None:
    """Return when the first run of a job got its turn."""
    lines = (terminal.root / ".staproj" / "jobs" / "j0001" / "state.jsonl").read_text().splitlines()
    return next((e["time"] for e in map(json.loads, lines) if e["event"] == "claimed"), None)
