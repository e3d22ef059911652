"""``version …``, ``head`` and ``accept``: what stood, what stands, and what may stand for what."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir
from staproj.errors import UsageError
from staproj.report import history as report

Which = Annotated[str, Parameter(help="A version: its number (3 or v3) or a name it was given.")]
Note = Annotated[str, Parameter(help="Why, in your words; kept with the version.")]


def list_versions(*, project: ProjectDir = None, json: Json = False) -> None:
    """List all versions, newest first."""
    versions = Project.open(project or ".").history.versions()
    output.emit(versions, report.version_rows(versions), as_json=json, fit=True)


def diff_versions(
    old: Which,
    new: Annotated[str | None, Parameter(help="The version to compare with it; now, without.")] = None,
    /,
    *,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Compare two versions: changed lines of the manifest, changed heads."""
    opened = Project.open(project or ".")
    history = opened.history
    data = opened.version_diff(history.number(old), None if new is None else history.number(new))
    output.emit(data, report.version_diff_lines(data), as_json=json)


def show_version(
    version: Which,
    /,
    *,
    manifest: Annotated[bool, Parameter(negative="", help="Print its staproj.toml too.")] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Show a version: which run stood for each step, and what became of it."""
    data = Project.open(project or ".").history.show(version)
    output.emit(data, report.version_lines(data, manifest=manifest), as_json=json)


def tag_version(
    name: Annotated[str, Parameter(help="The name to give.")],
    version: Annotated[str | None, Parameter(help="The version; what stands now, without.")] = None,
    /,
    *,
    move: Annotated[bool, Parameter(negative="", help="Take the name from another version.")] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Give a version a name; what it needs is protected from clean-up."""
    data = Project.open(project or ".").history.tag(name, version, move=move)
    output.emit(data, f"version {data['version']} is called {name} now", as_json=json)


def untag_version(
    name: Annotated[str, Parameter(help="The name to take away.")],
    /,
    *,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Take the name of a version away; the version stays."""
    data = Project.open(project or ".").history.untag(name)
    output.emit(data, f"version {data['version']} is no longer called {name}", as_json=json)


def checkout_version(
    version: Which,
    /,
    *,
    note: Note = "",
    dry_run: Annotated[bool, Parameter(negative="", help="Say what would change, change nothing.")] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Make staproj.toml and heads as in a version; what stands now is kept, no run is touched."""
    history = Project.open(project or ".").history
    if dry_run:
        told = history.preview(version)
        output.emit(told, report.preview_lines(told), as_json=json)
        return
    data = history.checkout(version, note=note)
    output.emit(data, report.checkout_lines(data), as_json=json)


def head(
    step: Annotated[str, Parameter(help="A step.")],
    run: Annotated[str, Parameter(help="The earlier run that stands for it from now on.")],
    /,
    *,
    note: Note = "",
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Let an earlier run stand for its step again; staproj.toml gets the parameters it was made with."""
    data = Project.open(project or ".").history.set_head(step, run, note=note)
    output.emit(data, report.head_lines(data), as_json=json)


def accept(
    new: Annotated[str | None, Parameter(help="The run that may stand for another.")] = None,
    /,
    *,
    old: Annotated[str | None, Parameter(name="--for", help="The run it may stand for.")] = None,
    why: Annotated[str, Parameter(name=["--why", "--note"], help="Why, in your words.")] = "",
    ports: Annotated[
        list[str] | None, Parameter(name="--output", negative="", help="Only this output. Repeatable.")
    ] = None,
    items: Annotated[
        list[str] | None, Parameter(name="--item", negative="", help="Only this tilt series. Repeatable.")
    ] = None,
    undo: Annotated[bool, Parameter(negative="", help="Take it back.")] = False,
    list_: Annotated[bool, Parameter(name="--list", negative="", help="List what was accepted.")] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Let a run stand for another, judged equivalent: what was made from that one stays fresh."""
    history = Project.open(project or ".").history
    if list_ or new is None:
        if new or old or undo:
            raise UsageError("which run?", hint="staproj accept NEW --for OLD, or --list alone")
        entries = history.accepted()
        output.emit(entries, report.accepted_rows(entries), as_json=json, fit=True)
        return
    if undo:
        gone = history.unaccept(new, old)
        told = [f"{entry['new']} does not stand for {entry['old']} any more" for entry in gone]
        output.emit(gone, told, as_json=json)
        return
    if old is None:
        raise UsageError(f"for which run may {new} stand?", hint=f"staproj accept {new} --for OLD")
    done = history.accept(new, old, why=why, ports=ports or (), items=items or ())
    output.emit(done, report.accept_lines(done), as_json=json)
