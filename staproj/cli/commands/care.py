"""``doctor``, ``migrate`` and ``unlock``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import diagnostics, output
from staproj.cli.options import Json, ProjectDir, Quiet
from staproj.errors import CheckError
from staproj.report import care as report


def doctor(
    *,
    deep: Annotated[
        bool, Parameter(negative="", help="Read every byte of every output and compare digests.")
    ] = False,
    probe: Annotated[
        bool, Parameter(negative="", help="Try out the file system in full, and show what it can do.")
    ] = False,
    fix: Annotated[
        bool,
        Parameter(negative="", help="First do what is safe: end what was begun, sweep, remake caches."),
    ] = False,
    project: ProjectDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Find damage and say what to do about each; exit code 4 where something is wrong."""
    with diagnostics.Bars(quiet=quiet or json) as bars:
        found = Project.open(project or ".").care.doctor(
            deep=deep, probe=probe, fix=fix, progress=lambda done, total: bars.update("runs", done, total)
        )
    output.emit(found, [] if json else report.doctor_lines(found, probe=probe), as_json=json)
    return 0 if found["sound"] else CheckError.exit_code


def migrate(
    *,
    dry_run: Annotated[bool, Parameter(negative="", help="Only say what would be done.")] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Bring a project of an older schema up to date; runs are not touched."""
    found = Project.open(project or ".").care.migrate(dry_run=dry_run)
    output.emit(found, report.migrate_lines(found), as_json=json)


def unlock(
    *,
    i_checked: Annotated[
        bool,
        Parameter(
            name="--i-checked",
            negative="",
            help="You have looked on the other machine: that process is gone.",
        ),
    ] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Show who holds the lock of the project, and break it if that process is gone."""
    found = Project.open(project or ".").care.unlock(i_checked=i_checked)
    output.emit(found, report.unlock_lines(found), as_json=json)
