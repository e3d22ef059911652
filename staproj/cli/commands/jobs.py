"""``jobs``, ``watch`` and ``cancel``: work that goes on without a terminal."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import following, output
from staproj.cli.options import Json, ProjectDir, Quiet
from staproj.errors import UsageError
from staproj.report import jobs as report
from staproj.report import runs as run_report

JobName = Annotated[
    str | None, Parameter(help="A job (j0003), or a run or step it works on; the newest without.")
]
NEWEST = 100


def jobs(
    *,
    all: Annotated[bool, Parameter(negative="", help="Also those that ended long ago.")] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """List the jobs: what is running, waiting, interrupted or done."""
    opened = Project.open(project or ".")
    found = opened.jobs.all(None if all or json else NEWEST)
    shown = found if all else report.recent(found)
    output.emit(found, report.job_rows(shown, hidden=len(found) - len(shown)), as_json=json, fit=True)


def watch(
    job: JobName = None, /, *, quiet: Quiet = False, project: ProjectDir = None, json: Json = False
) -> None:
    """Follow a job to its end. Ctrl-C ends the looking only, not the job."""
    opened = Project.open(project or ".")
    name = opened.jobs.describe(job)["job"] if job else opened.jobs.newest()
    over = opened.jobs.describe(name)
    results = following.to_the_end(opened, name, quiet=quiet or json or bool(over["ended"]), ours=False)
    lines = [*report.ended_lines(over), *run_report.result_rows(results)]
    output.emit({"job": name, "steps": results}, lines, as_json=json, fit=True)


def cancel(
    *jobs: Annotated[str, Parameter(help="Jobs, or runs or steps they work on.")],
    all: Annotated[bool, Parameter(negative="", help="All that are running or waiting.")] = False,
    grace: Annotated[
        float | None,
        Parameter(help="Seconds until it is ended by force; 30 without."),
    ] = None,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Stop jobs; what is finished is kept, and `staproj resume` goes on."""
    opened = Project.open(project or ".")
    if bool(jobs) == all:
        raise UsageError("which job?", hint="staproj cancel JOB, or staproj cancel --all")
    names = opened.jobs.active() if all else list(jobs)
    stopped = [opened.jobs.stop(name, grace_s=grace) for name in names]
    output.emit(stopped, report.cancel_lines(stopped), as_json=json)
