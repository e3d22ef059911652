"""``run``, ``rerun`` and ``resume``: commands that compute. The work itself is done by a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from staproj.api import Project
from staproj.api.starting import How, Plan, Starting
from staproj.cli import diagnostics, following, output
from staproj.cli.options import Json, ProjectDir, Quiet, Sets, parse_sets
from staproj.errors import UsageError
from staproj.report import compare as compare_report
from staproj.report import jobs as job_report
from staproj.report import runs as report

Items = Annotated[
    list[str] | None, Parameter(name="--item", negative="", help="Only this tilt series. Repeatable.")
]
Note = Annotated[str, Parameter(help="Why, in your words; kept with the run.")]
Threads = Annotated[int | None, Parameter(help="CPU threads; all there are without.")]
AtOnce = Annotated[int, Parameter(help="Tilt series worked on at the same time; they share the threads.")]
Device = Annotated[str, Parameter(help="auto, cpu or gpu.")]
Priority = Annotated[int, Parameter(help="In the queue of this machine: higher goes first.")]
Force = Annotated[bool, Parameter(negative="", help="Begin although the disk may not hold it.")]
Detach = Annotated[
    bool, Parameter(negative="", help="Come back at once; `staproj watch` and `staproj jobs` look at it.")
]

NOTHING = (
    "nothing was interrupted: there is nothing to resume; `staproj resume RUN` takes one cancelled earlier"
)


def run(
    *steps: Annotated[str, Parameter(help="Steps to bring up to date, with what they need; all without.")],
    until: Annotated[str | None, Parameter(help="The last step to run.")] = None,
    items: Items = None,
    sets: Sets = None,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Say what would run, why, and what it will take; run nothing.")
    ] = False,
    keep_going: Annotated[
        bool, Parameter(negative="", help="After a step has failed, go on with those that do not need it.")
    ] = False,
    note: Note = "",
    threads: Threads = None,
    device: Device = "auto",
    jobs: AtOnce = 1,
    priority: Priority = 0,
    force: Force = False,
    detach: Detach = False,
    quiet: Quiet = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Run what is missing or stale, in order. Values given with --set are kept in staproj.toml."""
    opened = Project.open(project or ".")
    values = parse_sets(sets)
    how = How(threads, device, jobs, priority, note, keep_going, force)
    plan = Starting(opened.root).run(steps, until=until, items=items, sets=values, how=how)
    if dry_run:
        data = {"project": str(opened.root), "dry_run": True, "steps": plan.steps, "expected": plan.expected}
        output.emit(data, job_report.plan_lines(plan.steps, plan.expected), as_json=json, fit=True)
    elif plan.work:
        start = _Start(opened, plan, quiet=quiet, json=json)
        if detach:
            start.detached()
            return
        _tell_results(opened, start.followed(), json=json)
    else:  # values are kept, and what would be adopted is; nothing is computed
        same: dict[str, Any] = {"until": until, "items": items, "sets": values, "note": note}
        results = opened.run(steps or None, **same, threads=threads, device=device, jobs=jobs)
        _tell_results(opened, results, json=json)
    diagnostics.warn(opened.notes())


def _tell_results(opened: Project, results: list[dict[str, Any]], *, json: bool) -> None:
    data = {"project": str(opened.root), "dry_run": False, "steps": results}
    output.emit(data, report.result_rows(results), as_json=json, fit=True)


def rerun(
    step: Annotated[str, Parameter(help="A step; or a run, to start from the parameters it had.")],
    /,
    *,
    sets: Sets = None,
    until: Annotated[str | None, Parameter(help="Variants: the last step to copy.")] = None,
    name: Annotated[str | None, Parameter(help="Variants: how their names begin.")] = None,
    items: Items = None,
    note: Note = "",
    threads: Threads = None,
    device: Device = "auto",
    jobs: AtOnce = 1,
    priority: Priority = 0,
    force: Force = False,
    detach: Detach = False,
    quiet: Quiet = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Run a step again; the old run is kept, steps downstream become stale.

    Several values (--set lowpass_angstrom=20,15,12) make variants: copies of the step and of all that depends
    on it, one for each value (or combination), side by side. `staproj variant compare` compares them.
    """
    opened = Project.open(project or ".")
    values = {key.removeprefix("."): value for key, value in parse_sets(sets, default_step="").items()}
    how = How(threads, device, jobs, priority, note, force=force)
    starting = Starting(opened.root)
    if name is not None or opened.variants.asked_for(step, values):
        plan = starting.variants(step, values, until=until, name=name, items=items, how=how)
        _run_variants(opened, plan, quiet=quiet, json=json, detach=detach)
        return
    if until is not None:
        raise UsageError(
            "--until is for variants, which several values (or --name) make",
            where="--until",
            hint=f"`staproj rerun {step}` first, then `staproj run --until {until}`",
        )
    plan = starting.rerun(step, values, items=items, how=how)
    start = _Start(opened, plan, quiet=quiet, json=json)
    if detach:
        start.detached()
        return
    (result,) = start.followed()
    stale = [s["step"] for s in opened.status()["steps"] if s["to_do"]]
    if not json:  # the table is cut at the width of the terminal, what to do next is not
        output.emit(None, report.result_rows([result])[:-1], as_json=False, fit=True)
    told = (
        f"stale now: {', '.join(stale)}; `staproj run` brings them up to date"
        if stale
        else "nothing is stale"
    )
    output.emit({**result, "stale": stale}, told, as_json=json)


def _run_variants(opened: Project, plan: Plan, *, quiet: bool, json: bool, detach: bool) -> None:
    """Compute variants that were just written, those chains only."""
    made = plan.made
    if not json:
        output.emit(made, compare_report.made_lines(made), as_json=False, fit=True)
    results = plan.steps
    if plan.work:
        start = _Start(opened, plan, quiet=quiet, json=json)
        if detach:
            start.detached()
            return
        results = start.followed()
    lines = [*report.result_rows(results), f"`staproj variant compare {made[0]['of']}` compares them"]
    output.emit({"variants": made, "steps": results}, lines, as_json=json, fit=True)


def resume(
    run: Annotated[str | None, Parameter(help="The interrupted run; the newest one without.")] = None,
    /,
    *,
    threads: Threads = None,
    jobs: Annotated[int | None, Parameter(help="Tilt series at the same time; as before without.")] = None,
    force: Force = False,
    detach: Detach = False,
    quiet: Quiet = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Go on with a run that was interrupted, and with everything that was to be done after it."""
    opened = Project.open(project or ".")
    plan = Starting(opened.root).resume(run, how=How(threads=threads, force=force), jobs=jobs)
    if plan is None:
        data: dict[str, Any] = {"project": str(opened.root), "resumed": None, "steps": []}
        output.emit(data, NOTHING, as_json=json)
        return
    start = _Start(opened, plan, quiet=quiet, json=json)
    if detach:
        start.detached()
        return
    results = start.followed()
    data = {"project": str(opened.root), "resumed": plan.arguments["run"], "steps": results}
    output.emit(data, report.result_rows(results), as_json=json, fit=True)


@dataclass(frozen=True)
class _Start:
    """A plan whose job is about to be started, checked against the machine and its disk."""

    opened: Project
    plan: Plan
    quiet: bool
    json: bool

    def followed(self) -> list[dict[str, Any]]:
        """Start it, follow it to its end, and return what it did."""
        self._check()
        plan, silent = self.plan, self.quiet or self.json
        expected = plan.expected["steps"]
        return following.work(self.opened, plan.kind, plan.arguments, quiet=silent, expected=expected)

    def detached(self) -> None:
        """Start it and say how to come back to it."""
        self._check()
        opened = self.opened
        job = Starting(opened.root).start(self.plan, command=following.command())
        first = opened.jobs.first_run(job)
        told = {**opened.jobs.describe(job), "run": first}
        if told["state"] == "failed":
            opened.jobs.outcome(job)  # raises what went wrong
        output.emit(told, job_report.detached_lines(told), as_json=self.json)

    def _check(self) -> None:
        notes = Starting(self.opened.root).check(self.plan)
        if not self.json:
            diagnostics.warn(notes)
