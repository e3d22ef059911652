"""``archive``, ``verify``, ``restore``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import diagnostics, output
from staproj.cli.options import Json, ProjectDir, Quiet
from staproj.report import archives as report

DAMAGED = 4


def archive(
    dest: Annotated[Path, Parameter(help="New file, such as ../myproject.tar.")],
    /,
    *,
    zstd: Annotated[bool, Parameter(negative="", help="Compress with zstd.")] = False,
    without: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="Classes of files to leave behind, with commas between: final, intermediate, scratch "
            "(outputs), raw, exports, other.",
        ),
    ] = None,
    runs: Annotated[
        list[str] | None,
        Parameter(negative="", help="Only these runs (or steps), with the records of all they come from."),
    ] = None,
    include_raw: Annotated[
        bool, Parameter(negative="", help="Take raw data from outside the project too.")
    ] = False,
    resume: Annotated[bool, Parameter(negative="", help="Go on with an unfinished archive.")] = False,
    keep_going: Annotated[
        bool, Parameter(negative="", help="Archive damaged files as they are, and list them.")
    ] = False,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Only say how large it would be and what would stay behind.")
    ] = False,
    quiet: Quiet = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Write the project into one file: a BagIt bag in a tar, with SHA-256 of everything."""
    if dry_run:
        told = Project.open(project or ".").archives.expect(
            without=without or (), runs=runs, include_raw=include_raw
        )
        output.emit(told, report.expected_lines(told), as_json=json)
        return
    with diagnostics.Bars(quiet=quiet) as bars:
        made = Project.open(project or ".").archives.write(
            dest,
            zstd=zstd,
            without=without or (),
            runs=runs,
            include_raw=include_raw,
            resume=resume,
            keep_going=keep_going,
            tell=lambda done, total, what: bars.update("archive", done, total, what),
        )
    output.emit(made, report.written_lines(made), as_json=json)


def verify(
    path: Annotated[Path, Parameter(help="An archive, or a project directory.")] = Path(),
    /,
    *,
    runs: Annotated[
        list[str] | None, Parameter(negative="", help="Of a project: only these runs (or steps).")
    ] = None,
    raw: Annotated[
        bool, Parameter(negative="", help="Of a project: compare raw data with its fingerprints too.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Find any changed bit in an archive, or in the sealed runs of a project; exit code 4 if there is one."""
    from staproj.api.archives import verify_path

    with diagnostics.Bars(quiet=quiet) as bars:
        found = verify_path(
            path, runs=runs, raw=raw, tell=lambda done, total, what: bars.update("verify", done, total, what)
        )
    output.emit(found, report.verified_lines(found, str(path)), as_json=json)
    return 0 if found["ok"] else DAMAGED


def restore(
    archive: Annotated[Path, Parameter(help="File that staproj archive wrote.")],
    directory: Annotated[
        Path, Parameter(help="New directory; with --run also a project that lacks outputs.")
    ],
    /,
    *,
    run: Annotated[str | None, Parameter(help="Only the outputs of this run (and all records).")] = None,
    max_bytes: Annotated[
        int | None,
        Parameter(help="Refuse archives that unpack to more; allows more where zstd packed tightly."),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Take a project out of an archive, checking every digest; nothing is left behind if one differs."""
    from staproj.api.archives import restore as restore_archive

    with diagnostics.Bars(quiet=quiet) as bars:
        made = restore_archive(
            archive,
            directory,
            run=run,
            max_bytes=max_bytes,
            tell=lambda done, total, what: bars.update("restore", done, total, what),
        )
    output.emit(made, report.restored_lines(made), as_json=json)
