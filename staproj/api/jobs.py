"""Jobs of a project: work that a supervisor carries on without a terminal. Plain values come out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.engine.jobs import follow, record
from staproj.errors import StaprojError, UsageError
from staproj.project.layout import JobDir, Layout

if TYPE_CHECKING:
    from staproj.engine.events import ProgressEvent
    from staproj.engine.execute import Options
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
        launch.start(self.layout, job)
        return job.id

    def follow(self, job: str, *, poll_s: float = follow.POLL_S) -> Iterator[ProgressEvent]:
        """Yield what the engine tells, from the beginning of the job to its end."""
        return follow.follow(self.layout, self._find(job), poll_s=poll_s)

    def outcome(self, job: str) -> list[dict[str, Any]]:
        """Return what an ended job did, one entry a step as from :meth:`Project.run`.

        Raises
        ------
        StaprojError
            The error it ended with.
        """
        return follow.outcome(self.layout, self._find(job))

    def all(self) -> list[dict[str, Any]]:
        """Return all jobs, newest first: job, kind, state, step, run, message, created, host, progress."""
        return [self.describe(job.id) for job in record.all_jobs(self.layout)]

    def describe(self, job: str) -> dict[str, Any]:
        """Return one job (its name, or a run it works or worked on) as it is now."""
        directory = self._find(job)
        found = record.state_of(directory)
        facts: dict[str, Any] = {}
        with suppress(StaprojError):
            facts = record.read(directory)
        ended = record.result(directory) or {}
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

    def stop(self, job: str, *, grace_s: float | None = None) -> dict[str, Any]:
        """Ask a job to stop and wait until it has; return it as :meth:`describe` does."""
        name = self.cancel(job, grace_s=grace_s)["job"]
        self.wait(name, timeout_s=GRACE_S + 10.0 if grace_s is None else grace_s + 10.0)
        return self.describe(name)

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
    options = _options(task)
    common: dict[str, Any] = {"items": asked.get("items"), "sets": asked.get("sets"), "options": options}
    common |= {"resume": asked.get("run")}
    if asked.get("original", task.kind) == "rerun":
        one = session.rerun_step(
            root, asked["step"], from_run=asked.get("from_run"), note=asked.get("note", ""), **common
        )
        return [one.as_dict()]
    results = session.run_steps(root, targets=asked.get("targets"), note=asked.get("note", ""), **common)
    return [result.as_dict() for result in results]


def _options(task: Task) -> Options:
    from staproj.engine.execute import Options

    asked = task.arguments
    threads = asked.get("threads") or Options().threads
    return Options(
        threads, asked.get("device", "auto"), task.progress, task.cancelled, asked.get("jobs") or 1
    )


__all__ = ["ACTIVE", "Jobs", "perform", "serve"]
