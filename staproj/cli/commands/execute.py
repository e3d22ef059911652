"""``run``, ``rerun`` and ``resume``: commands that compute. The work itself is done by a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from staproj.api import Project
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
WORKS = ("run", "adopt")


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
    how: dict[str, Any] = {"note": note, "threads": threads, "device": device, "jobs": jobs}
    asked: dict[str, Any] = {"until": until, "items": items, "sets": values}
    results = opened.run(steps or None, **asked, **how, dry_run=True)
    work = [step["step"] for step in results if step["action"] in WORKS]
    if dry_run:
        expected = opened.jobs.expect(work, items=items, sets=values, jobs=jobs)
        data = {"project": str(opened.root), "dry_run": True, "steps": results, "expected": expected}
        output.emit(data, job_report.plan_lines(results, expected), as_json=json, fit=True)
    elif work:
        opened.jobs.check_free(results)
        arguments: dict[str, Any] = {"targets": [until] if until else list(steps) or None}
        arguments |= {"items": items, "sets": values, "priority": priority, "keep_going": keep_going, **how}
        expected = opened.jobs.expect(work, items=items, sets=values, jobs=jobs)
        start = _Start(opened, "run", arguments, expected, quiet=quiet, json=json)
        if detach:
            start.detached(force=force)
            return
        _tell_results(opened, start.followed(force=force), json=json)
    else:
        _tell_results(opened, opened.run(steps or None, **asked, **how), json=json)
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
    if name is not None or opened.variants.asked_for(step, values):
        made = opened.variants.create(step, values, until=until, name=name)
        targets = [s for one in made for s in one["steps"]]
        arguments: dict[str, Any] = {"targets": targets, "items": items, "keep_going": True}
        arguments |= {"note": note, "threads": threads, "device": device, "jobs": jobs, "priority": priority}
        _run_variants(opened, made, arguments, quiet=quiet, json=json, force=force, detach=detach)
        return
    if until is not None:
        raise UsageError(
            "--until is for variants, which several values (or --name) make",
            where="--until",
            hint=f"`staproj rerun {step}` first, then `staproj run --until {until}`",
        )
    which = opened.jobs.step_of(step, device=device)
    arguments = {**which, "sets": values, "items": items, "note": note, "priority": priority}
    arguments |= {"threads": threads, "device": device, "jobs": jobs}
    full = {key if "." in key else f"{which['step']}.{key}": value for key, value in values.items()}
    same = {"items": items, "sets": full, "from_run": which["from_run"]}
    expected = opened.jobs.expect([which["step"]], jobs=jobs, rerun=True, **same)
    start = _Start(opened, "rerun", arguments, expected, quiet=quiet, json=json)
    if detach:
        start.detached(force=force)
        return
    (result,) = start.followed(force=force)
    stale = [s["step"] for s in opened.status()["steps"] if s["to_do"]]
    if not json:  # the table is cut at the width of the terminal, what to do next is not
        output.emit(None, report.result_rows([result])[:-1], as_json=False, fit=True)
    told = (
        f"stale now: {', '.join(stale)}; `staproj run` brings them up to date"
        if stale
        else "nothing is stale"
    )
    output.emit({**result, "stale": stale}, told, as_json=json)


def _run_variants(
    opened: Project,
    made: list[dict[str, Any]],
    arguments: dict[str, Any],
    *,
    quiet: bool,
    json: bool,
    force: bool,
    detach: bool,
) -> None:
    """Compute variants that were just written, those chains only."""
    if not json:
        output.emit(made, compare_report.made_lines(made), as_json=False, fit=True)
    planned = opened.run(arguments["targets"], items=arguments["items"], dry_run=True)
    work = [step["step"] for step in planned if step["action"] in WORKS]
    expected = opened.jobs.expect(work, items=arguments["items"], jobs=arguments["jobs"])
    results = planned
    if work:
        start = _Start(opened, "run", arguments, expected, quiet=quiet, json=json)
        if detach:
            start.detached(force=force)
            return
        results = start.followed(force=force)
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
    plan = opened.jobs.to_resume(run)
    if plan is None:
        data: dict[str, Any] = {"project": str(opened.root), "resumed": None, "steps": []}
        output.emit(data, NOTHING, as_json=json)
        return
    plan |= {name: value for name, value in (("threads", threads), ("jobs", jobs)) if value is not None}
    expected = {"steps": plan.pop("expected", [])}
    start = _Start(opened, "resume", plan, expected, quiet=quiet, json=json)
    if detach:
        start.detached(force=force)
        return
    results = start.followed(force=force)
    data = {"project": str(opened.root), "resumed": plan["run"], "steps": results}
    output.emit(data, report.result_rows(results), as_json=json, fit=True)


@dataclass(frozen=True)
class _Start:
    """A job that is about to be started, checked against the machine and its disk."""

    opened: Project
    kind: str
    arguments: dict[str, Any]
    expected: dict[str, Any]
    quiet: bool
    json: bool

    def followed(self, *, force: bool = False) -> list[dict[str, Any]]:
        """Start it, follow it to its end, and return what it did."""
        self._check(force)
        silent = self.quiet or self.json
        steps = self.expected["steps"]
        return following.work(self.opened, self.kind, self.arguments, quiet=silent, expected=steps)

    def detached(self, *, force: bool = False) -> None:
        """Start it and say how to come back to it."""
        self._check(force)
        opened, steps = self.opened, self.expected["steps"]
        job = opened.jobs.start(self.kind, self.arguments, command=following.command(), expected=steps)
        first = opened.jobs.first_run(job)
        told = {**opened.jobs.describe(job), "run": first}
        if told["state"] == "failed":
            opened.jobs.outcome(job)  # raises what went wrong
        output.emit(told, job_report.detached_lines(told), as_json=self.json)

    def _check(self, force: bool) -> None:
        asked = self.arguments
        forced = self.opened.jobs.check(
            self.expected,
            threads=asked.get("threads"),
            jobs=asked.get("jobs") or 1,
            device=asked.get("device") or "auto",
            force=force,
        )
        if not self.json and (elsewhere := self.opened.jobs.queue_note()):
            diagnostics.warn([elsewhere])
        if forced:
            asked["note"] = f"{asked.get('note') or ''} ({forced})".strip()
            if not self.json:
                diagnostics.warn([forced])
