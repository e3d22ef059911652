"""What `staproj resume` goes on with."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from staproj.engine.jobs import record
from staproj.errors import LockedError, StaprojError, StorageError, UsageError
from staproj.project import atomic, manifest, runs
from staproj.project.layout import JobDir, Layout, RunDir


def plan(layout: Layout, run: str | None) -> dict[str, Any] | None:
    """Return the arguments of the job that goes on with ``run`` (``None``: the last one interrupted).

    They are those of the job that was interrupted, so that it ends where that was to end, and ``run`` and
    ``original`` ("run" or "rerun"). A run that no job made is gone on with up to its own step. ``run`` is
    ``None`` where there is none to go on with: a new one is made, which uses what is finished.

    Raises
    ------
    UsageError
        If the run is complete or failed.
    LockedError
        If it is being computed.
    """
    directory = layout.find_run(run) if run is not None else _newest_interrupted(layout)
    if directory is not None:
        _check(directory)
        job = _job_of(layout, directory.id)
        if not _has_record(directory):
            if run is None:
                return _anew(directory, job)
            raise UsageError(
                f"run {directory.id} cannot be continued: its record is damaged",
                hint=f"`staproj run {directory.name.step}` makes a new run and uses what is finished",
            )
    else:
        job = _newest_stopped_job(layout)
        if job is None:
            return None
    found: dict[str, Any] = {}
    if directory is not None:  # what a run says of itself, where its job cannot be read
        found = {"original": "rerun", "step": directory.name.step, "from_run": directory.id}
    if job is not None:
        try:
            found = _of_job(job)
        except StaprojError:
            if directory is None:
                raise
    return {**found, "run": directory.id if directory is not None else None}


def _has_record(run: RunDir) -> bool:
    """Tell whether a run still says what it was made from; a power cut as it began leaves it empty."""
    try:
        return bool(atomic.read_json(run.spec))
    except StaprojError:
        return False


def _anew(run: RunDir, job: JobDir | None) -> dict[str, Any]:
    """Return the arguments of a job that makes a new run instead of one that cannot be gone on with."""
    with suppress(StaprojError):
        if job is not None:
            return {**_of_job(job), "run": None}
    return {"original": "run", "targets": [run.name.step], "run": None}


def _of_job(job: JobDir) -> dict[str, Any]:
    asked = record.read(job)
    own = {"original": asked["kind"]} if asked["kind"] != "resume" else {}
    told = asked.get("expected")
    done = {event.get("step") for event in atomic.read_lines(job.events) if event.get("kind") == "step-done"}
    left = [step for step in told if isinstance(step, dict)] if isinstance(told, list) else []
    left = [step for step in left if step.get("step") not in done]
    return {**_checked(asked["arguments"]), **own, "expected": left}


_KINDS: dict[str, type | tuple[type, ...]] = {
    "targets": list,
    "items": list,
    "sets": dict,
    "note": str,
    "threads": int,
    "device": str,
    "jobs": int,
    "priority": int,
    "keep_going": bool,
    "step": str,
    "from_run": str,
    "original": str,
}


def _checked(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a job that are of the kind they must be; the project may be from elsewhere."""
    found: dict[str, Any] = {
        name: value for name, value in arguments.items() if isinstance(value, _KINDS.get(name, ()))
    }
    for name in ("targets", "items"):
        if not all(isinstance(value, str) for value in found.get(name) or []):
            raise StorageError(f"a job has {name} that are no names")
    return found


def _newest_interrupted(layout: Layout) -> RunDir | None:
    """Return the newest interrupted run that is still the newest of a step of the manifest.

    One that a person cancelled counts only as long as no newer job was started, one without a job as long as
    there is no newer run: it may have been left for good.
    """
    steps = manifest.load(layout.manifest).steps
    newest_job = next(iter(record.all_jobs(layout)), None)
    newest_run = max((name.number for name in layout.iter_runs()), default=0)
    for name in sorted(runs.latest_by_step(layout).values(), reverse=True):
        directory = layout.run(name)
        if name.step not in steps or runs.state_of(directory).state != "interrupted":
            continue
        job = _job_of(layout, directory.id)
        if job is None and name.number != newest_run:
            continue
        if job is None or job == newest_job or record.state_of(job).state != "cancelled":
            return directory
    return None


def _newest_stopped_job(layout: Layout) -> JobDir | None:
    """Return the newest job if it was stopped (between two runs, or before the first)."""
    for job in record.all_jobs(layout)[:1]:
        if record.state_of(job).state in {"interrupted", "cancelled"}:
            return job
    return None


def _check(run: RunDir) -> None:
    found = runs.state_of(run)
    if found.state in {"running", "queued"}:
        raise LockedError(f"{run.id} is {found.state}", hint=f"`staproj watch {run.id}` follows it")
    if found.state == "unreachable":
        raise LockedError(
            f"{run.id} runs on {found.event.get('host')}, which cannot be asked from here",
            hint="see there; if that machine is gone, `staproj run` makes a new run",
        )
    if found.state != "interrupted":
        words = "is complete" if found.state == "sealed" else f"is {found.state}"
        step = run.name.step
        raise UsageError(
            f"{run.id} {words}: there is nothing to resume",
            hint=f"`staproj run {step}` runs {step} where needed",
        )


def _job_of(layout: Layout, run: str) -> JobDir | None:
    """Return the newest job that worked on a run."""
    for job in record.all_jobs(layout):
        if any(made == run for _, made in record.made_by(job)):
            return job
    return None
