"""``background``: archives, exports and checks that go on without a terminal."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.api.background import Background
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir
from staproj.errors import UsageError
from staproj.report import background as report


def background(
    task: Annotated[str | None, Parameter(help="One of them (b0003): show all it said.")] = None,
    /,
    *,
    cancel: Annotated[bool, Parameter(negative="", help="Stop it, as Ctrl-C does.")] = False,
    wait: Annotated[float | None, Parameter(help="Wait so many seconds for its end.")] = None,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """List archives, exports, checks and proofs that were begun in `staproj tui` and go on without it."""
    found = Background(Project.open(project or ".").root)
    if task is None:
        if cancel or wait is not None:
            raise UsageError("which one?", hint="staproj background b0003 --cancel")
        tasks = found.all()
        output.emit(tasks, report.task_rows(tasks), as_json=json, fit=True)
        return
    if cancel:
        found.cancel(task)
        wait = 10.0 if wait is None else wait
    if wait is not None:
        found.wait(task, timeout_s=wait)
    told = found.describe(task)
    output.emit(told, report.task_lines(told), as_json=json, fit=True)
