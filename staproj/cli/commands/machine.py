"""``machine`` and ``queue``: how busy this machine is, who waits for it, and in which order."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.api.machine import Machine
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir
from staproj.errors import UsageError
from staproj.report import machine as report


def machine(*, project: ProjectDir = None, json: Json = False) -> None:
    """Show how busy this machine is, what runs may use of it, and who holds or waits for it.

    The free space is that of the disk of the project, or of this directory. Limits: docs/running.md.
    """
    told = Machine(project or ".").overview()
    lines = report.machine_lines(told, plain=not output.has_unicode())
    output.emit(told, lines, as_json=json, fit=True)


def queue(
    job: Annotated[
        str | None, Parameter(help="A job (j0003), or a run or step it works on, to move.")
    ] = None,
    /,
    *,
    priority: Annotated[
        int | None, Parameter(help="Give it this priority: higher goes first, 0 is usual.")
    ] = None,
    first: Annotated[bool, Parameter(negative="", help="Put it before all others that wait.")] = False,
    up: Annotated[bool, Parameter(negative="", help="Put it before the one ahead of it.")] = False,
    down: Annotated[bool, Parameter(negative="", help="Put it behind the next one.")] = False,
    last: Annotated[bool, Parameter(negative="", help="Put it behind all others that wait.")] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Show who holds or waits for slots of this machine, or move a job that waits.

    What runs already is not interrupted; later runs of a job stay where it was put.
    """
    moves = {"first": first, "up": up, "down": down, "last": last}
    asked = [name for name, given in moves.items() if given]
    if job is None:
        if asked or priority is not None:
            raise UsageError("which job?", hint="staproj queue JOB --first; `staproj queue` shows them")
        rows = Machine(project or ".").queue()
        output.emit(rows, report.queue_rows(rows), as_json=json, fit=True)
        return
    if len(asked) + (priority is not None) != 1:
        raise UsageError(
            f"where is {job} to go?", hint="give one of --priority N, --first, --up, --down, --last"
        )
    moved = Project.open(project or ".").jobs.reorder(
        job, priority=priority, move=asked[0] if asked else None
    )
    rows = Machine(project or ".").queue()
    lines = [*report.moved_lines(moved), "", *report.queue_rows(rows)]
    output.emit({**moved, "queue": rows}, lines, as_json=json, fit=True)
