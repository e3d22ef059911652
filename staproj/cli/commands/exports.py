"""``export``: files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir


def relion5(
    out: Annotated[Path, Parameter(help="New directory, such as exports/relion.")],
    /,
    *,
    step: Annotated[
        str | None, Parameter(help="Step whose particles are written; the last refinement without.")
    ] = None,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Write tomograms.star, one tilt-series star each, particles.star, half maps and mask for RELION 5."""
    from staproj.api.relion5 import export_relion5

    made = export_relion5(Project.open(project or "."), out, step=step)
    series = len(made["tilt_series"])
    lines = [f"wrote {made['n_particles']} particles of {series} tilt series to {made['directory']}"]
    lines += ["  " + str(name) for name in made["files"]]
    lines += [f"  note: {text}" for text in made["warnings"]]
    output.emit(made, lines, as_json=json)
