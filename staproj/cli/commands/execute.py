"""``run``, ``rerun`` and ``resume``: commands that compute. The work itself is done by a job."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import diagnostics, following, output
from staproj.cli.options import Json, ProjectDir, Quiet, Sets, parse_sets
from staproj.report import jobs as job_report
from staproj.report import runs as report

Items = Annotated[
    list[str] | None, Parameter(name="--item", negative="", help="Only this tilt series. Repeatable.")
]
Note = Annotated[str, Parameter(help="Why, in your words; kept with the run.")]
Threads = Annotated[int | None, Parameter(help="CPU threads; all there are without.")]
AtOnce = Annotated[int, Parameter(help="Tilt series worked on at the same time; they share the threads.")]
Device = Annotated[str, Parameter(help="auto, cpu or gpu.")]
Detach = Annotated[
    bool, Parameter(negative="", help="Come back at once; `staproj watch` and `staproj jobs` look at it.")
]


def run(
    *steps: Annotated[str, Parameter(help="Steps to bring up to date, with what they need; all without.")],
    until: Annotated[str | None, Parameter(help="The last step to run.")] = None,
    items: Items = None,
    sets: Sets = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Say what would run and why; run nothing.")] = False,
    note: Note = "",
    threads: Threads = None,
    device: Device = "auto",
    jobs: AtOnce = 1,
    detach: Detach = False,
    quiet: Quiet = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Run what is missing or stale, in order. Values given with --set are kept in staproj.toml."""
    opened = Project.open(project or ".")
    values = parse_sets(sets)
    how: dict[str, Any] = {"note": note, "threads": threads, "device": device, "jobs": jobs}
    asked: dict[str, Any] = {"until": until, "items": items, "sets": values}
    results = opened.run(steps or None, **asked, **how, dry_run=True)
    if not dry_run:
        if any(step["action"] in {"run", "adopt"} for step in results):
            arguments = {"targets": [until] if until else list(steps) or None, "items": items, "sets": values}
            if detach:
                _detached(opened, "run", {**arguments, **how}, as_json=json)
                return
            results = following.work(opened, "run", {**arguments, **how}, quiet=quiet or json)
        else:
            results = opened.run(steps or None, **asked, **how)
    data = {"project": str(opened.root), "dry_run": dry_run, "steps": results}
    output.emit(data, report.result_rows(results, dry=dry_run), as_json=json, fit=True)
    diagnostics.warn(opened.notes())


def rerun(
    step: Annotated[str, Parameter(help="A step; or a run, to start from the parameters it had.")],
    /,
    *,
    sets: Sets = None,
    items: Items = None,
    note: Note = "",
    threads: Threads = None,
    device: Device = "auto",
    jobs: AtOnce = 1,
    detach: Detach = False,
    quiet: Quiet = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Run a step again; the old run is kept, steps downstream become stale."""
    opened = Project.open(project or ".")
    values = parse_sets(sets, default_step="")
    asked = {
        "sets": {name.removeprefix("."): value for name, value in values.items()},
        "items": items,
        "note": note,
        "threads": threads,
        "device": device,
        "jobs": jobs,
    }
    arguments = {**opened.jobs.step_of(step, device=device), **asked}
    if detach:
        _detached(opened, "rerun", arguments, as_json=json)
        return
    (result,) = following.work(opened, "rerun", arguments, quiet=quiet or json)
    stale = [s["step"] for s in opened.status()["steps"] if s["state"] != "fresh"]
    lines = report.result_rows([result])[:-1]
    lines.append(
        f"stale now: {', '.join(stale)}; `staproj run` brings them up to date"
        if stale
        else "nothing is stale"
    )
    output.emit({**result, "stale": stale}, lines, as_json=json)


def resume(
    run: Annotated[str | None, Parameter(help="The interrupted run; the newest one without.")] = None,
    /,
    *,
    detach: Detach = False,
    quiet: Quiet = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Go on with a run that was interrupted, and with everything that was to be done after it."""
    opened = Project.open(project or ".")
    plan = opened.jobs.to_resume(run)
    if plan is None:
        data: dict[str, Any] = {"project": str(opened.root), "resumed": None, "steps": []}
        output.emit(data, "nothing was interrupted: there is nothing to resume", as_json=json)
        return
    if detach:
        _detached(opened, "resume", plan, as_json=json)
        return
    results = following.work(opened, "resume", plan, quiet=quiet or json)
    data = {"project": str(opened.root), "resumed": plan["run"], "steps": results}
    output.emit(data, report.result_rows(results), as_json=json, fit=True)


def _detached(opened: Project, kind: str, arguments: dict[str, Any], *, as_json: bool) -> None:
    job = opened.jobs.start(kind, arguments, command=following.command(), expected=[])
    first = opened.jobs.first_run(job)
    told = opened.jobs.describe(job)
    if told["state"] == "failed":
        opened.jobs.outcome(job)  # raises what went wrong
    output.emit({**told, "run": first}, job_report.detached_lines({**told, "run": first}), as_json=as_json)
