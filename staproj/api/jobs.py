"""Jobs of a project: work that a supervisor carries on without a terminal. Plain values come out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.engine.jobs import follow, place, record
from staproj.errors import StaprojError, UsageError
from staproj.project import atomic
from staproj.project.layout import JobDir, Layout

if TYPE_CHECKING:
    from staproj.engine.events import ProgressEvent
    from staproj.engine.execute import Options
    from staproj.engine.jobs.turn import Turns
    from staproj.engine.jobs.worker import Task

ACTIVE = ("starting", "queued", "running")
GRACE_S = 30.0


class Jobs:
    """Starts, lists, follows and stops the jobs of one project."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)

    def start(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        *,
        command: Sequence[str] = (),
        expected: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """Start a job and return its name (``j0001``) at once.

        ``kind``: "run", "rerun" or "resume"; ``arguments`` are those of :meth:`Project.run` and
        :meth:`Project.rerun` as JSON values. ``command`` is what the person typed: runs record it.
        """
        from staproj.engine.jobs import launch
        from staproj.project.schema import require_writable

        require_writable(self.layout)
        job = record.create(self.layout, kind, arguments, command=command, expected=expected)
        try:
            launch.start(self.layout, job)
        except KeyboardInterrupt:  # it may run already
            follow.ask_to_stop(self.layout, job)
            raise
        return job.id

    def follow(
        self, job: str, *, poll_s: float = follow.POLL_S, idle: Callable[[], None] = lambda: None
    ) -> Iterator[ProgressEvent]:
        """Yield what the engine tells, from beginning to end of the job; ``idle`` is called between."""
        return follow.follow(self.layout, self._find(job), poll_s=poll_s, idle=idle)

    def outcome(self, job: str) -> list[dict[str, Any]]:
        """Return what an ended job did, one entry a step as from :meth:`Project.run`.

        Raises
        ------
        StaprojError
            The error it ended with.
        """
        return follow.outcome(self.layout, self._find(job))

    def expect(
        self,
        steps: Sequence[str],
        *,
        items: Sequence[str] | None = None,
        sets: Mapping[str, Any] | None = None,
        jobs: int = 1,
        rerun: bool = False,
        from_run: str | None = None,
    ) -> dict[str, Any]:
        """Return what steps will take: steps, wall_s, bytes, unknown_time, unknown_bytes, free_bytes, fits.

        Sums are of what is known; the lists name the steps of which nothing is. ``rerun``: they are run again
        whether fresh or not, with the parameters of ``from_run`` where it is given.
        """
        from staproj.engine import estimate, intent
        from staproj.engine.view import View

        view = View.open(self.root)
        start = intent.changes_to_match(view, from_run) if from_run else []
        view = View.open(self.root, start) if start else view
        view = View.open(self.root, [*start, *intent.changes_for(view, sets or {}, items)])
        for step in steps if rerun else ():
            view.expected(step).check_ready()
        found = [step.as_dict() for step in estimate.estimate(view, steps, jobs=jobs, anew=rerun)]
        needed, free = sum(step["bytes"] or 0 for step in found), estimate.free_bytes(self.root)
        return {
            "steps": found,
            "wall_s": sum(step["wall_s"] or 0.0 for step in found),
            "bytes": needed,
            "unknown_time": [step["step"] for step in found if step["wall_s"] is None],
            "unknown_bytes": [step["step"] for step in found if step["bytes"] is None],
            "free_bytes": free,
            "fits": needed <= free,
        }

    def check(
        self,
        expected: Mapping[str, Any],
        *,
        threads: int | None,
        jobs: int,
        device: str,
        force: bool = False,
    ) -> str:
        """Refuse what this machine or its disk cannot hold; return what to note where that is forced.

        Raises
        ------
        UsageError
            If more CPU slots, memory or GPUs are asked for than there are.
        StorageError
            If more is expected to be written than is free.
        """
        from staproj.engine import estimate, machine
        from staproj.engine.slots import Need, Slots

        limits = machine.limits()
        found = [known for step in expected["steps"] if (known := estimate.of_plain(step)) is not None]
        memory = max((step.memory_bytes or 0 for step in found), default=0)
        cpus = max(threads or 1, jobs)
        need = Need(cpus, 0 if force else memory, 1 if device == "gpu" else 0)
        Slots(limits, machine.state_dir()).check(need)
        return estimate.check_space(self.root, found, force=force)

    def check_free(self, planned: Sequence[Mapping[str, Any]]) -> None:
        """Refuse before any job is made what another one is computing. ``planned``: a dry run of it.

        Raises
        ------
        LockedError
            If a step to run is being run, or waits for its turn.
        """
        from staproj.engine import session, why

        for step in planned:
            for reason in step["reasons"] if step["action"] in ("run", "adopt") else ():
                if reason["kind"] in (why.RUNNING, why.QUEUED):
                    raise session.busy(step["step"], reason["new"])

    def queue_note(self) -> str:
        """Say where the queue of this machine is kept, if not where it should be ("" else)."""
        from staproj.engine import machine

        return machine.state_note()

    def all(self, newest: int | None = None) -> list[dict[str, Any]]:
        """Return jobs, newest first: job, kind, state, step, run, message, created, priority, progress."""
        return [self.describe(job.id) for job in record.all_jobs(self.layout)[:newest]]

    def describe(self, job: str) -> dict[str, Any]:
        """Return one job (its name, or a run it works or worked on) as it is now."""
        directory = self._find(job)
        found = record.state_of(directory)
        facts: dict[str, Any] = {}
        with suppress(StaprojError):
            facts = record.read(directory)
        ended = record.result(directory) or {}
        progress: dict[str, Any] | None = None
        if found.state in ACTIVE:
            from staproj.engine.jobs.progress import of_job

            progress = of_job(self.layout, directory).as_dict()
        return {
            "job": directory.id,
            "kind": facts.get("kind"),
            "state": found.state,
            "step": found.step,
            "run": found.run,
            "message": found.message,
            "created": facts.get("created"),
            "ended": ended.get("time"),
            "user": facts.get("user"),
            "host": facts.get("host"),
            "command": facts.get("command", []),
            "priority": place.of(directory, facts)[0],
            "progress": progress,
        }

    def first_run(self, job: str, *, timeout_s: float = 20.0) -> str | None:
        """Return the run a new job works on, waiting until it has one (``None``: it ended without)."""
        deadline = time.monotonic() + timeout_s
        directory = self._find(job)
        while time.monotonic() < deadline:
            found = record.state_of(directory)
            if found.run is not None or found.state in record.ENDED:
                return found.run
            time.sleep(0.05)
        return None

    def cancel(self, job: str, *, grace_s: float | None = None) -> dict[str, Any]:
        """Ask a job (or the job of a run) to stop; its supervisor does it, on whatever machine.

        Raises
        ------
        UsageError
            If it has ended already.
        """
        directory = self._find(job)
        state = record.state_of(directory).state
        if state in record.ENDED:
            raise UsageError(f"{directory.id} is not running: it is {state}", hint="`staproj jobs` lists all")
        follow.ask_to_stop(self.layout, directory, grace_s=grace_s)
        return self.describe(directory.id)

    def reorder(self, job: str, *, priority: int | None = None, move: str | None = None) -> dict[str, Any]:
        """Move a job in the queue of its machine: :func:`staproj.api.queue_order.reorder`."""
        from staproj.api.queue_order import reorder

        return reorder(self.root, job, priority=priority, move=move)

    def stop(self, job: str, *, grace_s: float | None = None) -> dict[str, Any]:
        """Ask a job to stop and wait until it has; return it as :meth:`describe` does.

        A run that no job works on (one from a Python script) gets its marker only: it stops when it looks.
        """
        try:
            name = self.cancel(job, grace_s=grace_s)["job"]
        except UsageError:
            lonely = self._stop_run(job, timeout_s=GRACE_S if grace_s is None else grace_s)
            if lonely is None:
                raise
            return lonely
        self.wait(name, timeout_s=GRACE_S + 10.0 if grace_s is None else grace_s + 10.0)
        return self.describe(name)

    def _stop_run(self, name: str, *, timeout_s: float) -> dict[str, Any] | None:
        """Ask a running run that belongs to no job to stop; ``None`` if there is no such run."""
        from staproj.project import runs

        try:
            run = self.layout.find_run(name)
        except StaprojError:
            return None
        if runs.state_of(run).state not in {"running", "queued", "unreachable"}:
            return None
        atomic.touch(run.cancel)
        deadline = time.monotonic() + timeout_s
        while runs.state_of(run).state == "running" and time.monotonic() < deadline:
            time.sleep(0.1)
        state = runs.state_of(run).state
        return {"job": None, "run": run.id, "step": run.name.step, "state": state, "message": ""}

    def newest(self) -> str:
        """Return the newest job that is running or waiting, else the newest of all.

        Raises
        ------
        UsageError
            If there is none.
        """
        jobs = record.all_jobs(self.layout)
        if not jobs:
            raise UsageError("there is no job", hint="`staproj run` starts one")
        return next(iter(self.active()), jobs[0].id)

    def step_of(self, step_or_run: str, *, device: str = "auto") -> dict[str, Any]:
        """Return the arguments of a rerun that say what is to be run, having checked that it exists."""
        from staproj.api.listing import is_run
        from staproj.engine.resources import check_device

        check_device(device)
        if is_run(step_or_run):
            return {"step": self.layout.find_run(step_or_run).name.step, "from_run": step_or_run}
        return {"step": step_or_run, "from_run": None}

    def cancel_if_active(self, job: str, *, grace_s: float | None = None) -> None:
        """Ask a job to stop unless it has ended."""
        with suppress(UsageError):
            self.cancel(job, grace_s=grace_s)

    def active(self) -> list[str]:
        """Return the jobs that are running or waiting, newest first."""
        return [job.id for job in record.all_jobs(self.layout) if record.state_of(job).state in ACTIVE]

    def wait(self, job: str, *, timeout_s: float) -> bool:
        """Wait until a job has ended; ``False`` if it has not by then."""
        directory = self._find(job)
        deadline = time.monotonic() + timeout_s
        while record.state_of(directory).state not in record.ENDED:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def to_resume(self, run: str | None = None) -> dict[str, Any] | None:
        """Return the arguments of the job that goes on with what was interrupted (``None``: nothing was).

        ``run`` names an interrupted run; without, the newest one that nothing newer has taken the place of.

        Raises
        ------
        UsageError
            If that run is complete or failed.
        LockedError
            If it is being computed.
        """
        from staproj.engine.jobs import resume

        return resume.plan(self.layout, run)

    def _find(self, job: str) -> JobDir:
        return record.find(self.layout, job)


def serve(word: str, root: str, job: str) -> int:
    """Be the supervisor or the worker of a job; only the worker loads numerical libraries."""
    if word == "_supervise":
        from staproj.engine.jobs.supervisor import supervise

        return supervise(Path(root), job)
    from staproj.engine.jobs.worker import work

    return work(Path(root), job, perform)


def perform(task: Task) -> list[dict[str, Any]]:
    """Do in this process what a job asks for; return one entry a step."""
    from staproj.engine import session

    asked = task.arguments
    root = task.layout.root
    turns = _turns(task)
    options = _options(task, turns)
    common: dict[str, Any] = {"items": asked.get("items"), "sets": asked.get("sets"), "options": options}
    common |= {"resume": asked.get("run")}
    common |= {"note": asked.get("note", "")}
    try:
        if asked.get("original", task.kind) == "rerun":
            one = session.rerun_step(root, asked["step"], from_run=asked.get("from_run"), **common)
            return [one.as_dict()]
        going = bool(asked.get("keep_going"))
        results = session.run_steps(root, targets=asked.get("targets"), keep_going=going, **common)
        return [result.as_dict() for result in results]
    finally:
        turns.close()


def _options(task: Task, turns: Turns) -> Options:
    from staproj.engine.options import Options

    asked = task.arguments
    jobs = asked.get("jobs") or 1
    return Options(turns.threads, asked.get("device", "auto"), task.progress, task.cancelled, jobs, turns)


def _turns(task: Task) -> Turns:
    """Return what gives the runs of a job their turns on this machine."""
    import os

    from staproj.engine import estimate, machine
    from staproj.engine.jobs.turn import VISIBLE_GPUS, Turns
    from staproj.engine.plan import Node
    from staproj.engine.slots import Slots
    from staproj.engine.view import View

    asked = task.arguments
    view = View.open(task.layout.root)
    jobs = int(asked.get("jobs") or 1)

    def memory_of(node: Node) -> int:
        return (estimate.history(view, node).memory_bytes or 0) * jobs

    limits = machine.limits()  # which GPUs there are is asked before they are hidden
    gpus = 1 if asked.get("device") == "gpu" else 0
    os.environ[VISIBLE_GPUS] = ""  # a run sees the GPU it was given, and no other
    threads = asked.get("threads") or min(len(os.sched_getaffinity(0)), limits.cpu_slots)
    return Turns(
        Slots(limits, machine.state_dir()),
        task.job,
        threads=int(threads),
        jobs=jobs,
        gpus=gpus,
        memory_of=memory_of,
        cancelled=task.cancelled,
        about={"project": str(task.layout.root), "job": task.job.id},
        priority=int(asked.get("priority") or 0),
        since=record.read(task.job).get("created"),
    )


__all__ = ["ACTIVE", "Jobs", "perform", "serve"]
