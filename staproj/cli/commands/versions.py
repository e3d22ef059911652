"""``version list`` and ``version diff``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir
from staproj.errors import UsageError
from staproj.report import runs as report


def list_versions(*, project: ProjectDir = None, json: Json = False) -> None:
    """List all versions, newest first."""
    versions = Project.open(project or ".").versions()
    output.emit(versions, report.version_rows(versions), as_json=json)


def diff_versions(
    old: Annotated[str, Parameter(help="A version, such as 3 or v3.")],
    new: Annotated[str | None, Parameter(help="The version to compare with it; now, without.")] = None,
    /,
    *,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Compare two versions: changed lines of the manifest, changed heads."""
    data = Project.open(project or ".").version_diff(_number(old), None if new is None else _number(new))
    output.emit(data, report.version_diff_lines(data), as_json=json)


def _number(text: str) -> int:
    digits = text.removeprefix("v")
    if not digits.isdigit():
        raise UsageError(f"{text!r} is not a version", hint="`staproj version list` shows them: v1, v2, ...")
    return int(digits)
