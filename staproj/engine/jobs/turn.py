"""A run's turn in the queue of the machine: wait, say what for, hold, give back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from staproj.engine.jobs import place, record
from staproj.engine.plan import Node
from staproj.engine.slots import Need, Slots, Ticket
from staproj.errors import CancelledError, StaprojError
from staproj.project import runs
from staproj.project.layout import JobDir, RunDir
from staproj.project.process import this_process

POLL_S = 0.5
TELL_AGAIN_S = 10.0
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


class Turns:
    """Gives the runs of one job their turns. A GPU stays with the job: a process cannot change it."""

    def __init__(
        self,
        slots: Slots,
        job: JobDir,
        *,
        threads: int,
        jobs: int,
        gpus: int,
        memory_of: Callable[[Node], int],
        cancelled: Callable[[], bool],
        about: Mapping[str, Any],
        priority: int = 0,
        since: float | None = None,
    ) -> None:
        self.slots = slots
        self.job = job
        self.threads = threads
        self.cpus = max(threads, jobs)
        self.gpus = gpus
        self.memory_of = memory_of
        self.cancelled = cancelled
        self.about = dict(about)
        self.priority = priority
        self.since = since
        self._gpu: Ticket | None = None

    @contextmanager
    def __call__(self, run: RunDir, node: Node) -> Iterator[None]:
        """Wait until the machine has room for a run, and hold the room until it is over."""
        gpus = self.gpus if self._gpu is None else 0
        about = {**self.about, "run": run.id, "step": node.name}
        about["asked"] = time.time() if self.since is None else self.since
        need = Need(self.cpus, min(self.memory_of(node), self.slots.limits.memory_bytes), gpus)
        priority, since = self._place(about["asked"])
        ticket = self.slots.enter(need, about, priority=priority, since=since)
        try:
            self._wait(ticket, run, node.name)
            if ticket.gpus:
                self._keep_gpus(ticket)
            yield
        finally:
            self.slots.leave(ticket)

    def close(self) -> None:
        """Give the GPU back."""
        if self._gpu is not None:
            self.slots.leave(self._gpu)
            self._gpu = None

    def _place(self, asked: float) -> tuple[int, float]:
        """Return priority and time to queue with: a person may have moved the job since it was asked for."""
        put = place.read(self.job)
        if put is None:
            return self.priority, asked
        return put.priority, asked if put.since is None else put.since

    def _claim(self, ticket: Ticket) -> str:
        """Ask for the turn at the place where the job is to stand now."""
        ticket.priority, ticket.since = self._place(ticket.about["asked"])
        return self.slots.try_claim(ticket)

    def _wait(self, ticket: Ticket, run: RunDir, step: str) -> None:
        told, told_at = "", 0.0
        while waits_for := self._claim(ticket):
            if self.cancelled():
                raise CancelledError("stopped while it waited for its turn", hint="`staproj resume` goes on")
            if waits_for != told and (not told or time.monotonic() - told_at > TELL_AGAIN_S):
                told, told_at = waits_for, time.monotonic()
                with suppress(OSError, StaprojError):
                    runs.note(run, "queued", message=waits_for, **this_process())
                    record.note(self.job, "queued", run=run.id, step=step, message=waits_for)
            time.sleep(POLL_S)
        if told:
            with suppress(OSError, StaprojError):
                record.note(self.job, "claimed", run=run.id)

    def _keep_gpus(self, ticket: Ticket) -> None:
        """Split the GPUs off into a ticket of their own, which is held until the job ends."""
        self._gpu = self.slots.keep_gpus(ticket, self.about)
        os.environ[VISIBLE_GPUS] = ",".join(self._gpu.gpus)
