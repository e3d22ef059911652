"""``reproduce``: how to make a run again, and proof that it works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir, Quiet
from staproj.cli.remaking import Remaking
from staproj.errors import CheckError, UsageError
from staproj.report import recipes as report


def reproduce(
    run: Annotated[str, Parameter(help="A run, or a step (its head).")],
    /,
    *,
    check: Annotated[
        bool, Parameter(negative="", help="Make it again in scratch and compare every file.")
    ] = False,
    from_raw: Annotated[
        bool, Parameter(negative="", help="With --check: make all it was made from again, too.")
    ] = False,
    items: Annotated[
        list[str] | None, Parameter(name="--item", negative="", help="With --check: only this tilt series.")
    ] = None,
    scratch: Annotated[Path | None, Parameter(help="With --check: directory to work in.")] = None,
    script: Annotated[
        bool, Parameter(negative="", help="Print a shell script that makes it again elsewhere.")
    ] = False,
    quiet: Quiet = False,
    project: ProjectDir = None,
    json: Json = False,
) -> int:
    """Print how to make a run again: commands, parameters, inputs, software, raw data. --check does it."""
    opened = Project.open(project or ".")
    if check and script:
        raise UsageError("--check and --script exclude each other", hint="give one of them")
    if check:
        with Remaking(quiet=quiet or json) as progress:
            data = opened.recipes.check(
                run, items=items, from_raw=from_raw, scratch=scratch, progress=progress
            )
        output.emit(data, report.check_lines(data), as_json=json)
        return 0 if data["equal"] else CheckError.exit_code
    data = opened.recipes.recipe(run)
    if script:
        text = report.script(data, str(opened.root))
        output.emit({"run": data["run"], "script": text}, text.rstrip("\n"), as_json=json)
        return 0
    output.emit(data, report.recipe_lines(data), as_json=json)
    return 0
