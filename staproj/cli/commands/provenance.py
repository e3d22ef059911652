"""Commands that say how things were made: ``lineage`` and ``methods``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from staproj.api import Project
from staproj.api.provenance import what_made
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir
from staproj.errors import ProjectError, UsageError
from staproj.report import provenance as report

Flag = Annotated[bool, Parameter(negative="")]


def lineage(
    *paths: Annotated[
        str, Parameter(help="Files, inside a project or copies of them; raw data; runs; steps.")
    ],
    cost: Annotated[bool, Parameter(negative="", help="Sum wall and CPU time of the whole chain.")] = False,
    dot: Annotated[bool, Parameter(negative="", help="Print the chain as a graph for Graphviz.")] = False,
    mermaid: Annotated[bool, Parameter(negative="", help="Print the chain as a Mermaid flow chart.")] = False,
    down: Annotated[
        bool, Parameter(negative="", help="Say what was made from it, not what made it.")
    ] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Say what made a file: the chain of runs behind it, down to the raw data.

    A file that left the project is known by the record beside it, or by its content (-C PROJECT).
    """
    if not paths:
        raise UsageError("which file?", hint="staproj lineage FILE ..., or a run or step")
    if down:
        if cost or dot or mermaid:
            raise UsageError("--down goes with --json only", hint="leave out --cost, --dot and --mermaid")
        _emit_what_came_of(paths, project, as_json=json)
        return
    found = [_told(path, project, cost=cost) for path in paths]
    lines: list[str] = []
    for told in found:
        if told.get("raw_data"):
            lines += report.what_made_lines(told)
        elif dot or mermaid:
            lines += report.dot_lines(told) if dot else report.mermaid_lines(told)
        else:
            lines += report.what_made_lines(told)
            lines += report.cost_lines(told["cost"]) if cost and told.get("cost") else []
    output.emit(found if len(found) > 1 else found[0], lines, as_json=json)


def _emit_what_came_of(paths: Sequence[str], project: Path | None, *, as_json: bool) -> None:
    """Print what was made from runs, or from the runs that made files."""
    from staproj.api.graph import graph
    from staproj.report.graph import graph_lines

    found = []
    for path in paths:
        root = _project_of(path, project)
        told = what_made(path, root)
        if told.get("raw_data"):
            readers = [use["run"] for use in told["read_by"]]
            raise UsageError("this is raw data", where=path, hint=f"it was read by {', '.join(readers)}")
        home = _home_of(path, root)
        if told.get("source") == "sidecar" or home is None:
            raise UsageError(
                "this file was exported; what was made from its run stands in its project",
                where=path,
                hint=f"there: staproj lineage {told.get('run') or 'RUN'} --down",
            )
        found.append(graph(home, told["run"]))
    lines = [line for one in found for line in [*graph_lines(one), ""]][:-1]
    output.emit(found if len(found) > 1 else found[0], lines, as_json=as_json, fit=True)


def _home_of(path: str, root: Path | None) -> Path | None:
    """Return the project that a file lies in, else the one that was asked."""
    if Path(path).exists():
        try:
            return Project.open(Path(path).resolve().parent).root
        except ProjectError:
            return root
    return root


def _told(path: str, project: Path | None, *, cost: bool) -> dict[str, Any]:
    root = _project_of(path, project)
    told = what_made(path, root)
    if cost and told.get("run") and told.get("source") != "sidecar":
        home = _home_of(path, root)
        if home is not None:
            told["cost"] = Project(home).provenance.cost(told["run"])
    return told


def _project_of(path: str, project: Path | None) -> Path | None:
    """Return the project asked for, else the one that the file lies in, else the one here, if any."""
    if project is not None:
        return Project.open(project).root
    places = [Path(path).parent, Path()] if Path(path).exists() else [Path()]
    for place in places:
        try:
            return Project.open(place).root
        except ProjectError:
            continue
    if not Path(path).exists():
        Project.open(".")  # says that there is no project, and what to do
    return None


def methods(
    *of: Annotated[str, Parameter(help="A run, a step or a file; without any: the heads of all steps.")],
    markdown: Annotated[bool, Parameter(negative="", help="Markdown instead of plain text.")] = False,
    bibtex: Annotated[Path | None, Parameter(help="Write the references to this BibTeX file.")] = None,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Write the methods paragraphs and references of everything a map depends on, from the record."""
    from staproj.report.methods import markdown_lines, text_lines

    opened = Project.open(project or ".")
    told = opened.provenance.methods(of)
    if bibtex is not None:
        told["bibtex_file"] = str(opened.provenance.write_bibtex(bibtex, told["references"]))
    lines = markdown_lines(told) if markdown else text_lines(told)
    output.emit(told, lines, as_json=json)
