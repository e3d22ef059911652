"""``new``: make a project directory."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import diagnostics, output
from staproj.cli.options import Json, Sets, parse_sets
from staproj.errors import UsageError
from staproj.report.raw_data import plan_lines


def new(
    directory: Annotated[Path | None, Parameter(help="Directory to make.")] = None,
    /,
    *,
    template: Annotated[
        str | None, Parameter(help="Name of a template, or a TOML file; listed without.")
    ] = None,
    movies: Annotated[
        list[str] | None,
        Parameter(negative="", help="Pattern of the movies, or of the stacks (in quotes). Repeatable."),
    ] = None,
    mdoc: Annotated[str | None, Parameter(help="Pattern of the SerialEM mdoc files (in quotes).")] = None,
    gain: Annotated[str | None, Parameter(help="Gain reference.")] = None,
    name: Annotated[str | None, Parameter(help="Name of the project; that of the directory without.")] = None,
    sets: Sets = None,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Check everything and say what would be made; write nothing.")
    ] = False,
    json: Json = False,
) -> int:
    """Make a project directory from a template and your data. Nothing is copied or computed."""
    if directory is None or template is None:
        templates = Project.templates()
        listed = "; ".join(f"{key}: {text}" for key, text in templates.items())
        raise UsageError("a directory and --template are needed", hint=f"templates: {listed}")
    if dry_run:
        from staproj.api.create import plan_new

        plan = plan_new(directory, template, movies, mdoc, gain, name, parse_sets(sets))
        output.emit(plan, plan_lines(plan), as_json=json)
        return 0 if plan["ok"] else UsageError.exit_code
    made = Project.create(
        directory,
        template,
        movies=movies,
        mdoc=mdoc,
        gain=gain,
        name=name,
        sets=parse_sets(sets),
    )
    steps = [step["step"] for step in made.status()["steps"]]
    data = {"project": str(made.root), "template": template, "steps": steps}
    lines = [
        f"made {made.root} with {len(steps)} steps: {', '.join(steps)}",
        f"next: look at {made.layout.manifest}, then `staproj run -C {shlex.quote(str(directory))}`",
    ]
    output.emit(data, lines, as_json=json)
    diagnostics.warn(made.notes())
    return 0
