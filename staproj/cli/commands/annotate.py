"""``note``, ``rate``, ``title``, ``tag`` and ``untag``: what people say about runs."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir
from staproj.errors import UsageError
from staproj.report.runs import said_lines

Run = Annotated[str, Parameter(help="A run such as r0042, or a step (its head).")]


def note(
    run: Run,
    text: Annotated[str, Parameter(help="What you saw, or want to remember.")],
    /,
    *,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Write a note about a run."""
    _tell(Project.open(project or ".").annotations.note(run, text), as_json=json)


def rate(
    run: Run,
    rating: Annotated[str, Parameter(help="0 to 5, or none.")],
    /,
    *,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Rate a run from 0 to 5."""
    if rating.lower() not in {"0", "1", "2", "3", "4", "5", "none"}:
        raise UsageError(f"a rating is a whole number from 0 to 5, or none, not {rating!r}")
    value = None if rating.lower() == "none" else int(rating)
    _tell(Project.open(project or ".").annotations.rate(run, value), as_json=json)


def title(
    run: Run,
    text: Annotated[str, Parameter(help="The title, one line; empty text takes it away.")],
    /,
    *,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Give a run a title."""
    _tell(Project.open(project or ".").annotations.title(run, text), as_json=json)


def tag(
    run: Run,
    *tags: Annotated[str, Parameter(help='Words; "final" protects the run from clean-up.')],
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Tag a run."""
    if not tags:
        raise UsageError("which tag?", hint=f"staproj tag {run} final")
    _tell(Project.open(project or ".").annotations.tag(run, *tags), as_json=json)


def untag(
    run: Run,
    *tags: Annotated[str, Parameter(help="Tags to take away.")],
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Take tags from a run."""
    if not tags:
        raise UsageError("which tag?", hint=f"staproj show {run} lists its tags")
    _tell(Project.open(project or ".").annotations.untag(run, *tags), as_json=json)


def _tell(said: dict[str, object], *, as_json: bool) -> None:
    lines = said_lines(said) or ["  nothing is said about it"]
    output.emit(said, [str(said["run"]), *lines], as_json=as_json)
