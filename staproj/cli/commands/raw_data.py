"""``templates`` and ``inspect``: what to make a project of, and from what."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.cli import output
from staproj.cli.options import Json, ProjectDir
from staproj.errors import CheckError, ProjectError, UsageError
from staproj.report import raw_data as report


def templates(
    name: Annotated[
        str | None, Parameter(help="Template (or TOML file) to show; all are listed without.")
    ] = None,
    /,
    *,
    json: Json = False,
) -> None:
    """List the templates, or show one: what for, the data it takes, its steps, its text."""
    from staproj.api import templates as known

    if name is None:
        found = known.templates()
        output.emit(found, report.template_list(found), as_json=json)
        return
    one = known.template(name)
    output.emit(one, report.template_page(one), as_json=json)


def inspect(
    *patterns: Annotated[
        str,
        Parameter(
            help="Patterns (in quotes) of movies or stacks, mdoc and angle files, or a directory; "
            "what the project here reads without."
        ),
    ],
    mdoc: Annotated[
        list[str] | None, Parameter(negative="", help="Pattern of the mdoc files (in quotes). Repeatable.")
    ] = None,
    gain: Annotated[str | None, Parameter(help="Gain reference.")] = None,
    angles: Annotated[
        list[str] | None, Parameter(negative="", help="Pattern of .rawtlt or .tlt files. Repeatable.")
    ] = None,
    template: Annotated[
        str | None, Parameter(help="Check also against the values that this template sets.")
    ] = None,
    project: ProjectDir = None,
    json: Json = False,
) -> int:
    """Say what movies, stacks and mdoc files hold, and what is wrong with them, before they are imported.

    Headers and mdoc files are read, nothing is written. The exit code is 4 where an import would stop.
    """
    from staproj.api import raw_data

    if patterns or mdoc or gain or angles:
        found = raw_data.inspect_patterns(patterns, template=template, mdoc=mdoc, gain=gain, angles=angles)
    else:
        from staproj.api import Project

        try:
            opened = Project.open(project or ".")
        except ProjectError as error:
            hint = "staproj inspect '/data/frames/*.tif' --mdoc '/data/mdoc/*.mdoc'"
            raise UsageError("no files are named, and there is no project here", hint=hint) from error
        found = raw_data.inspect_project(opened.root)
    output.emit(found, report.inspection(found), as_json=json)
    return 0 if found["ok"] else CheckError.exit_code
