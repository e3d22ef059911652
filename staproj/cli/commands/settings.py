"""The command ``set``: write values into the manifest without running anything."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir, parse_sets
from staproj.errors import StaprojError, UsageError
from staproj.report import settings as report


def set_values(
    *values: Annotated[
        str, Parameter(help="STEP.PARAM=VALUE, the value as in TOML (text without quotes). Several at once.")
    ],
    item: Annotated[
        list[str] | None,
        Parameter(name="--item", negative="", help="For this tilt series only. Repeatable."),
    ] = None,
    reset: Annotated[
        list[str] | None,
        Parameter(negative="", help="STEP.PARAM: take its value out, so that the default holds. Repeatable."),
    ] = None,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Write values into staproj.toml, checked, comments kept; nothing is run.

    Without --item a value holds for every tilt series, whatever was set for single ones.
    """
    if not values and not reset:
        raise UsageError("which values?", hint="staproj set STEP.PARAM=VALUE, or --reset STEP.PARAM")
    opened = Project.open(project or ".")
    try:
        told = opened.settings.set(parse_sets(list(values)), item, reset or ())
    except StaprojError as error:  # said as this command is written
        error.where = (error.where or "").removeprefix("--set").strip() or None
        error.hint = error.hint.replace("write --set ", "write ").replace("--set ", "staproj set ")
        raise
    output.emit(told, report.set_lines(told), as_json=json)
