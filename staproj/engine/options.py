"""What to run and how: the request for one run; threads, device, whom to tell, how to wait for a turn."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from staproj.engine.events import Progress, ignore
from staproj.engine.plan import Node
from staproj.engine.view import Expected, View
from staproj.project.layout import RunDir

Turn = Callable[[RunDir, Node], AbstractContextManager[None]]


def at_once(run: RunDir, node: Node) -> AbstractContextManager[None]:
    """Wait for nobody."""
    return nullcontext()


@dataclass(frozen=True)
class Options:
    """How to run; never part of a key.

    ``jobs`` is how many items are computed at the same time, each in a process of its own; they share
    ``threads``. ``turn`` gives, for a run that is about to begin, a context that is entered once the machine
    has room for it, and left when it is over.
    """

    threads: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    device: str = "auto"
    progress: Progress = ignore
    cancelled: Callable[[], bool] = lambda: False
    jobs: int = 1
    turn: Turn = at_once


@dataclass(frozen=True)
class Request:
    """What to make: a step as expected now, for all or some items.

    ``reuse`` lets finished items of earlier runs stand in. ``before_seal`` is called once everything is
    computed, with the run. ``resume`` is an interrupted run to go on with in its own directory.
    """

    view: View
    expected: Expected
    items: Sequence[str] | None = None
    reuse: bool = True
    note: str = ""
    before_seal: Callable[[], None] = lambda: None
    resume: RunDir | None = None


@dataclass
class Outcome:
    """What came of a request."""

    run: str
    reused: list[str]
    wall_s: float
    verdict: str
