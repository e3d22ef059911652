"""Bringing a project of an older schema up to date, one schema after the other (docs/schema.md).

It happens under the lock of the project and is written into the journal first. Every action looks at what
is there and does what is lacking, so that a migration that was stopped anywhere is carried to its end by
doing it again. The number in the manifest changes after all other actions of a schema: until then the project
is a whole project of the older one. Runs are never touched, and neither are keys and files that staproj does
not know. The small files that are replaced are copied to ``.staproj/backup`` before.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staproj.errors import LockedError, ProjectError, StorageError
from staproj.project import atomic, index, journal, manifest_edit, readme, schema, versions
from staproj.project.layout import Layout
from staproj.project.lock import project_lock
from staproj.project.manifest import SCHEMA, Change

OP = "migrate"


@dataclass(frozen=True)
class Action:
    """One thing to do: ``touches`` are files that it replaces, which are copied before."""

    title: str
    do: Callable[[], None]
    touches: tuple[Path, ...] = ()


@dataclass
class Migrated:
    """What was done, or (``dry_run``) would be."""

    start: int
    end: int
    actions: list[str] = field(default_factory=list)
    backup: str | None = None
    dry_run: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return what ``migrate --json`` shows."""
        return {
            "from": self.start,
            "to": self.end,
            "actions": self.actions,
            "backup": self.backup,
            "dry_run": self.dry_run,
        }


def migrate(layout: Layout, *, dry_run: bool = False) -> Migrated:
    """Bring a project to the schema of this staproj.

    Raises
    ------
    ProjectError
        If the project is of a newer schema.
    StorageError
        If it cannot be written to.
    LockedError
        If a run is going on.
    """
    start = schema.of_project(layout)
    if start > SCHEMA:
        raise ProjectError(
            f"this project has schema {start}, which is newer than this staproj ({SCHEMA})",
            where=str(layout.manifest),
            hint="nothing to migrate: use the newer staproj",
        )
    closed = schema.unwritable(layout)
    left = next((entry for entry in journal.pending(layout) if entry.op == OP and entry.left), None)
    if start == SCHEMA and left is None:
        return Migrated(start, SCHEMA, dry_run=dry_run)
    facts = left.facts if left else _facts(layout, start)
    if dry_run:
        return Migrated(start, SCHEMA, [a.title for _, a in _all_actions(layout, start, facts)], None, True)
    if closed is not None:
        raise StorageError(
            "the project cannot be migrated: its directory cannot be written to",
            where=str(closed),
            hint="ask its owner; reading works as it is",
        )
    _require_quiet(layout)
    done = Migrated(start, SCHEMA, backup=layout.relative(_backup(layout, facts)))
    with project_lock(layout.lock, purpose="migrating the project"):
        if left is not None:
            done.actions = _carry_on(layout, facts)
            left.done()
        else:
            with journal.entry(layout, OP, facts):
                done.actions = _carry_on(layout, facts)
    index.rows(layout)
    return done


def roll_forward(layout: Layout, facts: Mapping[str, Any]) -> str:
    """Do what a migration that was stopped has left to do; say what it was."""
    with project_lock(layout.lock, purpose="migrating the project"):
        return "; ".join(["migration carried on", *_carry_on(layout, facts)])


def _carry_on(layout: Layout, facts: Mapping[str, Any]) -> list[str]:
    """Do what is left of a migration; doing it again does nothing. Returns what was done."""
    told = []
    start = schema.of_project(layout)
    for target, action in _all_actions(layout, start, facts):
        for path in action.touches:
            _keep(layout, facts, path)
        action.do()
        told.append(action.title)
        if target is not None and schema.of_project(layout) != target:
            raise StorageError("the manifest could not be replaced", where=str(layout.manifest))
    return told


def _facts(layout: Layout, start: int) -> dict[str, Any]:
    """Return what must be the same when the migration is carried on later."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return {"from": start, "to": SCHEMA, "uuid": str(uuid.uuid4()), "backup": f"{stamp}-schema-{start}"}


def _all_actions(layout: Layout, start: int, facts: Mapping[str, Any]) -> Iterator[tuple[int | None, Action]]:
    """Yield what is lacking, schema by schema; with the last action of each, the schema it leads to."""
    for source in range(start, SCHEMA):
        yield from ((None, action) for action in STEPS[source](layout, facts))
        yield source + 1, _number(layout, source + 1)
    if facts.get("from") != SCHEMA:
        yield from ((None, action) for action in _version(layout, facts))


def _from_1(layout: Layout, facts: Mapping[str, Any]) -> Iterator[Action]:
    """1 -> 2: an identity, notes on runs, numbers that are never given out twice, a README that says so."""
    if not layout.annotations.is_dir():
        yield Action("make annot/ for notes on runs", lambda: _mkdir(layout.annotations))
    if not _project_uuid(layout):
        change = Change(("project", "uuid"), str(facts["uuid"]))
        yield Action(
            "give the project an identity ([project] uuid)", lambda: _edit(layout, change), (layout.manifest,)
        )
    highest = max((name.number for name in layout.iter_runs()), default=0)
    if not layout.counter.is_file():
        yield Action(
            f"note that {highest} is the highest number of a run",
            lambda: atomic.write_text(layout.counter, str(highest)),
        )
    if _bytes(layout.readme) != readme.TEXT.encode():
        yield Action(
            f"bring {layout.readme.name} up to date",
            lambda: atomic.write_text(layout.readme, readme.TEXT),
            (layout.readme,),
        )


STEPS: dict[int, Callable[[Layout, Mapping[str, Any]], Iterator[Action]]] = {1: _from_1}


def _number(layout: Layout, target: int) -> Action:
    def do() -> None:
        text = _text(layout)
        _replace(layout, text, schema.with_schema(text, target))

    return Action(f"write schema = {target} into {layout.manifest.name}", do, (layout.manifest,))


def _version(layout: Layout, facts: Mapping[str, Any]) -> Iterator[Action]:
    """Record a version, so that the change of the manifest has its place in the history."""
    why = f"migrated from schema {facts.get('from')} to {SCHEMA}"
    last = versions.latest(layout)
    if last is not None and last.why == why and last.manifest == _text(layout):
        return

    def do() -> None:
        versions.write(layout, manifest=_text(layout), heads=versions.current_heads(layout), why=why)

    yield Action("record a version", do)


def _require_quiet(layout: Layout) -> None:
    """Refuse while a run is going on here: the staproj that makes it knows the older schema."""
    for row in index.rows(layout, write=False):
        if row.state == "running":
            raise LockedError(
                f"run {row.run} of step {row.step!r} is going on",
                where=str(layout.root),
                hint="migrate when it is done",
            )


def _edit(layout: Layout, change: Change) -> None:
    text = _text(layout)
    _replace(layout, text, manifest_edit.apply(text, [change]))


def _replace(layout: Layout, old: str, new: str) -> None:
    """Replace the manifest unless a person saved it at the same moment."""
    if _text(layout) != old:
        raise LockedError(
            "the manifest changed while it was being migrated",
            where=str(layout.manifest),
            hint="run this again",
        )
    if new != old:
        atomic.write_bytes(layout.manifest, new.encode())


def _text(layout: Layout) -> str:
    return _bytes(layout.manifest).decode("utf-8")


def _project_uuid(layout: Layout) -> str:
    import tomllib

    project = tomllib.loads(_text(layout)).get("project", {})
    return str(project.get("uuid") or "") if isinstance(project, dict) else ""


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _mkdir(path: Path) -> None:
    with atomic.storage_errors(path):
        path.mkdir(exist_ok=True)
    atomic.fsync_dir(path.parent)


def _backup(layout: Layout, facts: Mapping[str, Any]) -> Path:
    return layout.backups / Path(str(facts.get("backup"))).name


def _keep(layout: Layout, facts: Mapping[str, Any], path: Path) -> None:
    """Copy a file as it was before the migration; the first copy stays."""
    copy = _backup(layout, facts) / path.name
    if path.is_file() and not copy.exists():
        with atomic.storage_errors(copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(copy, path.read_bytes())
