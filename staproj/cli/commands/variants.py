"""``variant list``, ``variant compare`` and ``variant remove``; ``rerun`` makes variants."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir
from staproj.errors import UsageError
from staproj.report import compare as report

Names = Annotated[str, Parameter(help="Names of variants, as `variant list` shows them.")]


def list_variants(*, project: ProjectDir = None, json: Json = False) -> None:
    """List all variants: how each differs, and its steps with their states."""
    found = Project.open(project or ".").variants.overview()
    output.emit(found, report.variant_rows(found), as_json=json, fit=True)


def compare_variants(
    step: Annotated[
        str | None, Parameter(help="The step that was varied; not needed if there is one.")
    ] = None,
    /,
    *names: Names,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Compare the variants of a step: values, states, key numbers, verdicts, FSC curves."""
    found = Project.open(project or ".").variants.compare(step, names)
    output.emit(found, [] if json else report.compare_lines(found), as_json=json, fit=True)


def remove_variants(
    *names: Names,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="All variants.")] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Take variants out of staproj.toml; their runs stay."""
    variants = Project.open(project or ".").variants
    if all_ and names:
        raise UsageError("--all and names exclude each other", hint="give one of them")
    chosen = [one["variant"] for one in variants.overview()] if all_ else list(names)
    if all_ and not chosen:
        output.emit({"removed": [], "steps": []}, "there are no variants", as_json=json)
        return
    gone = variants.remove(*chosen)
    text = f"removed {', '.join(chosen)} ({len(gone)} steps); their runs stay"
    output.emit({"removed": chosen, "steps": gone}, text, as_json=json)
