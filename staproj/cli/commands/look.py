"""Commands that look at a project and change nothing."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from cyclopts import Parameter

from staproj.api import Project
from staproj.api.logs import read_log
from staproj.cli import diagnostics, output
from staproj.cli.options import Json, ProjectDir
from staproj.errors import UsageError
from staproj.report import compare as compare_report
from staproj.report import runs as report

FOLLOW_EVERY_S = 1.0


def status(*, project: ProjectDir = None, json: Json = False) -> None:
    """Show each step: fresh; stale, failed or missing and why; never run."""
    opened = Project.open(project or ".")
    data = opened.status()
    output.emit(data, [] if json else report.status_lines(data), as_json=json, fit=True)
    diagnostics.warn(opened.notes())


def ls(
    step: Annotated[str | None, Parameter(help="Only runs of this step.")] = None,
    /,
    *,
    only_step: Annotated[str | None, Parameter(name="--step", help="Only runs of this step.")] = None,
    tag: Annotated[str | None, Parameter(help="Only runs with this tag.")] = None,
    rating: Annotated[int | None, Parameter(help="Only runs rated so, or better.")] = None,
    state: Annotated[
        list[str] | None, Parameter(negative="", help="Only runs in this state, such as failed. Repeatable.")
    ] = None,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """List all runs, newest first."""
    opened = Project.open(project or ".")
    runs = opened.ls(step or only_step, tag=tag, rating=rating, states=state or ())
    output.emit(runs, [] if json else report.run_rows(runs), as_json=json, fit=True)
    diagnostics.warn(opened.annotations.problems())


def show(
    run: Annotated[str, Parameter(help="A run such as r0042, or a step (its head).")],
    /,
    *,
    params: Annotated[bool, Parameter(negative="", help="Only the parameters.")] = False,
    metrics: Annotated[bool, Parameter(negative="", help="Only verdicts and numbers.")] = False,
    curve: Annotated[str | None, Parameter(help="Draw a curve.")] = None,
    table: Annotated[str | None, Parameter(help="Print a table.")] = None,
    pictures: Annotated[bool, Parameter(negative="", help="List its previews, volumes and stacks.")] = False,
    picture: Annotated[str | None, Parameter(help="Draw a picture, or a section of a volume.")] = None,
    section: Annotated[
        int | None, Parameter(help="With --picture: which section, from 0; the middle one without.")
    ] = None,
    axis: Annotated[Literal["x", "y", "z"], Parameter(help="With --picture: across which axis.")] = "z",
    style: Annotated[
        Literal["auto", "blocks", "characters", "sixel", "kitty"],
        Parameter(help="With --picture: how to draw; auto takes what the terminal is known to show."),
    ] = "auto",
    item: Annotated[str | None, Parameter(help="Only this tilt series; all of them without.")] = None,
    provenance: Annotated[bool, Parameter(negative="", help="All that is on record of its making.")] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Show a run: verdict, metrics, parameters with the layer each came from, inputs, files."""
    opened = Project.open(project or ".")
    if curve or table:
        from staproj.cli.commands.record_parts import show_part

        show_part(opened, run, curve=curve, table=table, item=item, as_json=json)
        return
    if pictures or picture or section is not None:
        from staproj.cli.commands.record_parts import list_pictures, show_picture

        if picture is None:
            if section is not None:
                raise UsageError("which picture?", hint=f"--picture NAME; `staproj show {run} --pictures`")
            list_pictures(opened, run, item=item, as_json=json)
            return
        which = {"item": item, "axis": axis, "section": section}
        show_picture(opened, run, picture, which, style=style, as_json=json)
        return
    if provenance:
        from staproj.report.provenance import record_lines

        facts = opened.provenance.facts(run)
        output.emit(facts, record_lines(facts), as_json=json)
        return
    data = opened.show(run)
    if item is not None:
        from staproj.cli.commands.record_parts import check_item

        check_item(item, data["results"])
        data["results"] = {item: data["results"][item]}
    if json or not (params or metrics):
        output.emit(data, report.show_lines(data), as_json=json)
        return
    only = {**data, "inputs": {}, "data": {}, "files": []}
    output.emit(data, report.show_lines(only, params=params, metrics=metrics), as_json=False)


def why(
    step: Annotated[str, Parameter(help="A step, or a run.")],
    /,
    *,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Say why a step is stale, with old and new values, and why its head was made."""
    data = Project.open(project or ".").why(step)
    output.emit(data, report.why_lines(data), as_json=json)


def diff(
    *runs: Annotated[str, Parameter(help="Two or more: a run, or a step (its head); the old one first.")],
    curve: Annotated[str | None, Parameter(help="Draw this curve of all of them; FSC without.")] = None,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Compare runs: parameters, inputs, raw data, software, metrics, outputs, FSC curves."""
    if len(runs) < 2:
        raise UsageError("which runs?", hint="staproj diff OLD NEW, or more than two")
    data = Project.open(project or ".").diff(*runs, curve=curve)
    output.emit(data, [] if json else compare_report.diff_lines(data), as_json=json)


def log(
    run: Annotated[str, Parameter(help="A run, or a step (its newest run).")],
    /,
    *,
    follow: Annotated[
        bool, Parameter(name=["--follow", "-f"], negative="", help="Go on until it ends.")
    ] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Print the log of a run."""
    opened = Project.open(project or ".")
    run = opened.newest_run(run)
    directory = opened.layout.find_run(run)
    text, end = read_log(directory)
    if json:
        output.emit({"run": run, "log": text}, "", as_json=True)
        return
    output.stream(text)
    if not text and not follow:
        diagnostics.note(f"{run} wrote nothing to its log")
    while follow and _is_running(opened, run):
        time.sleep(FOLLOW_EVERY_S)
        text, end = read_log(directory, end)
        output.stream(text)


def _is_running(opened: Project, run: str) -> bool:
    return any(row["state"] == "running" for row in opened.ls() if run in {row["run"], row["step"]})
