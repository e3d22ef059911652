"""``export empiar`` and ``export empiar-template``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir


def empiar(
    out: Annotated[Path, Parameter(help="New file, such as exports/empiar.json.")],
    /,
    *,
    meta: Annotated[Path, Parameter(help="TOML file with title, people and citation.")],
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Write an EMPIAR deposition; beside it, which file goes where, and the workflow as an RO-Crate."""
    from staproj.api.empiar import export_empiar

    made = export_empiar(Project.open(project or "."), out, meta)
    lines = [f"wrote {made['file']}: {len(made['imagesets'])} image sets, {made['n_files']} files"]
    lines += [f"  {entry['name']}: {entry['files']} files" for entry in made["imagesets"]]
    lines += [f"  also {name}" for name in made["files"][1:]]
    lines += [f"  note: {text}" for text in made["notes"]]
    output.emit(made, lines, as_json=json)


def empiar_template(
    out: Annotated[Path, Parameter(help="New file, such as empiar.toml.")], /, *, json: Json = False
) -> None:
    """Write an empty form for title, people and citation, to be filled in by hand."""
    from staproj.api.empiar import template

    made = template(out)
    output.emit(made, f"wrote {made['file']}: fill it in, then `staproj export empiar`", as_json=json)
