"""``export``: files for other programs, and records of how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir
from staproj.errors import UsageError

Anonymous = Annotated[bool, Parameter(negative="", help="Leave out people and machines.")]


def relion5(
    out: Annotated[Path, Parameter(help="New directory, such as exports/relion.")],
    /,
    *,
    step: Annotated[
        str | None, Parameter(help="Step whose particles are written; the last refinement without.")
    ] = None,
    anonymous: Anonymous = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Write tomograms.star, one tilt-series star each, particles.star, half maps and mask for RELION 5."""
    from staproj.api.relion5 import export_relion5

    made = export_relion5(Project.open(project or "."), out, step=step, anonymous=anonymous)
    series = len(made["tilt_series"])
    lines = [f"wrote {made['n_particles']} particles of {series} tilt series to {made['directory']}"]
    lines += ["  " + str(name) for name in made["files"]]
    lines += [f"  note: {text}" for text in made["warnings"]]
    output.emit(made, lines, as_json=json)


def map_(
    what: Annotated[str, Parameter(help="A step or run, or one output of it: RUN.PORT.")],
    out: Annotated[str, Parameter(help="New file (one map), or a folder.")],
    /,
    *,
    force: Annotated[bool, Parameter(negative="", help="Replace a file that is there.")] = False,
    anonymous: Anonymous = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Copy maps, half maps or masks of a run; a record of how they were made goes beside them."""
    _copy(what, out, project, json, maps_only=True, force=force, anonymous=anonymous)


def files_(
    what: Annotated[str, Parameter(help="A step or run, or one output of it: RUN.PORT.")],
    out: Annotated[str, Parameter(help="New file (if it is one), or a folder.")],
    /,
    *,
    item: Annotated[str | None, Parameter(help="Only this tilt series.")] = None,
    force: Annotated[bool, Parameter(negative="", help="Replace files that are there.")] = False,
    anonymous: Anonymous = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Copy outputs of a run; a record of how they were made goes beside them."""
    _copy(what, out, project, json, item=item, force=force, anonymous=anonymous)


def _copy(what: str, out: str, project: Path | None, json: bool, **more: Any) -> None:
    from staproj.api.copies import export_files

    made = export_files(Project.open(project or "."), what, out, **more)
    lines = [f"copied from {made['run']}", *("  " + name for name in made["files"])]
    output.emit(made, [*lines, *(f"  {name} says how" for name in made["sidecars"])], as_json=json)


def crate_(
    out: Annotated[Path, Parameter(help="Folder (the project's own: all files belong to it), or file.")],
    /,
    *,
    of: Annotated[
        list[str] | None, Parameter(negative="", help="Only what this run, step or file depends on.")
    ] = None,
    licence: Annotated[str | None, Parameter(help="Address of the licence of the data.")] = None,
    author: Annotated[str | None, Parameter(help="Who is responsible for the data.")] = None,
    affiliation: Annotated[str | None, Parameter(help="Institute of the author.")] = None,
    affiliation_url: Annotated[str | None, Parameter(help="Address of the institute.")] = None,
    orcid: Annotated[str | None, Parameter(help="ORCID of the author, as an address.")] = None,
    anonymous: Anonymous = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Write RO-Crate metadata: one action a run, with inputs, parameters, outputs, software, times."""
    person = {"name": author, "affiliation": affiliation, "affiliation_url": affiliation_url, "orcid": orcid}
    if author is None and any(person.values()):
        raise UsageError("an institute or ORCID needs a name", hint="add --author NAME")
    made = Project.open(project or ".").provenance.crate(
        out,
        of or (),
        anonymous=anonymous,
        license_=licence,
        author={key: value for key, value in person.items() if value} or None,
    )
    output.emit(made, f"wrote {made['file']}: {len(made['runs'])} runs", as_json=json)


def prov_(
    out: Annotated[Path, Parameter(help="New file, such as history.provjson.")],
    /,
    *,
    of: Annotated[
        list[str] | None, Parameter(negative="", help="Only what this run, step or file depends on.")
    ] = None,
    anonymous: Anonymous = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Write runs, files, people and software, and how they hang together, as W3C PROV-JSON."""
    made = Project.open(project or ".").provenance.prov(out, of or (), anonymous=anonymous)
    output.emit(made, f"wrote {made['file']}: {len(made['runs'])} runs", as_json=json)
