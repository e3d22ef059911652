"""The command ``series``: tilt series at a glance."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir
from staproj.report import series as report


def series(
    tilt_series: Annotated[str | None, Parameter(help="Show the views of this tilt series.")] = None,
    /,
    *,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """List the tilt series with their numbers; or the views of one, and which are left out."""
    opened = Project.open(project or ".")
    if tilt_series is None:
        rows = opened.series.overview()
        output.emit(rows, [] if json else report.series_lines(rows), as_json=json, fit=True)
        return
    data = opened.series.views(tilt_series)
    output.emit(data, [] if json else report.view_lines(data), as_json=json, fit=True)
