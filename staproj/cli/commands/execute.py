"""``run`` and ``rerun``: commands that compute."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import diagnostics, output
from staproj.cli.options import Json, ProjectDir, Quiet, Sets, parse_sets
from staproj.report import runs as report

Items = Annotated[
    list[str] | None, Parameter(name="--item", negative="", help="Only this tilt series. Repeatable.")
]
Note = Annotated[str, Parameter(help="Why, in your words; kept with the run.")]
Threads = Annotated[int | None, Parameter(help="CPU threads; all there are without.")]
Device = Annotated[str, Parameter(help="auto, cpu or gpu.")]


def run(
    *steps: Annotated[str, Parameter(help="Steps to bring up to date, with what they need; all without.")],
    until: Annotated[str | None, Parameter(help="The last step to run.")] = None,
    items: Items = None,
    sets: Sets = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Say what would run and why; run nothing.")] = False,
    note: Note = "",
    threads: Threads = None,
    device: Device = "auto",
    quiet: Quiet = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Run what is missing or stale, in order. Values given with --set are kept in staproj.toml."""
    opened = Project.open(project or ".")
    with diagnostics.RunProgress(quiet=quiet or json) as progress:
        results = opened.run(
            steps or None,
            until=until,
            items=items,
            sets=parse_sets(sets),
            dry_run=dry_run,
            note=note,
            threads=threads,
            device=device,
            progress=progress,
        )
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
    quiet: Quiet = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Run a step again; the old run is kept, steps downstream become stale."""
    opened = Project.open(project or ".")
    values = parse_sets(sets, default_step="")
    with diagnostics.RunProgress(quiet=quiet or json) as progress:
        result = opened.rerun(
            step,
            sets={name.removeprefix("."): value for name, value in values.items()},
            items=items,
            note=note,
            threads=threads,
            device=device,
            progress=progress,
        )
    stale = [s["step"] for s in opened.status()["steps"] if s["state"] != "fresh"]
    lines = report.result_rows([result])[:-1]
    lines.append(
        f"stale now: {', '.join(stale)}; `staproj run` brings them up to date"
        if stale
        else "nothing is stale"
    )
    output.emit({**result, "stale": stale}, lines, as_json=json)
