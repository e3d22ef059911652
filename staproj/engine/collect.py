"""Clean-up: what could be deleted, what it frees, what it costs to make again, and what stands in the way.

Three kinds of victims:

* ``class``: outputs declared intermediate or scratch, of any run;
* ``superseded``: all outputs of runs that nothing that counts needs any more;
* ``attempts``: what failed or interrupted runs left behind.

Outputs are deleted only if every one of them can be made again from what stays after *all* of them are gone.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staproj.engine import environment, keep
from staproj.engine.recreate import Memo, Recreation, Unit, files_of, units_of
from staproj.engine.view import View
from staproj.errors import LockedError, StaprojError
from staproj.project import atomic, index, journal, runs, schema, trash
from staproj.project.layout import Layout, RunDir
from staproj.project.lock import project_lock

CLASSES = ("intermediate", "scratch")
OP = "gc"
_BLOCK = 512


@dataclass(frozen=True)
class Request:
    """What to look for. ``runs`` confines it to some runs; then attempts of those that can resume go too."""

    classes: tuple[str, ...] = CLASSES
    runs: tuple[str, ...] | None = None
    superseded: bool = False
    attempts: bool = False
    tagged: bool = False


@dataclass
class Victim:
    """Files of one unit (or one try) that can go.

    ``size`` is what that frees on the disk. ``behind`` are units that would have to be made first.
    """

    unit: Unit
    step: str
    category: str
    files: list[trash.Entry]
    size: int = 0
    behind: frozenset[Unit] = frozenset()


@dataclass
class Plan:
    """What can go (``victims``), what cannot (``blocked``), what is kept on purpose: run, bytes, reason.

    ``times``: wall and CPU seconds that each unit took which goes, or is behind one that goes.
    ``other_software``: runs that go and were made with another staproj or Python than this one.
    """

    victims: list[Victim] = field(default_factory=list)
    blocked: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    times: dict[Unit, tuple[float, float]] = field(default_factory=dict)
    other_software: list[str] = field(default_factory=list)

    @property
    def units(self) -> list[Unit]:
        """Units whose outputs go."""
        return [victim.unit for victim in self.victims if victim.category != "attempts"]

    @property
    def size(self) -> int:
        """Bytes on the disk that it frees."""
        return sum(victim.size for victim in self.victims)

    def time_of(self, victims: Iterable[Victim], *, with_inputs: bool = False) -> tuple[float, float]:
        """Return wall and CPU seconds that it took to make victims (and what they need that goes too)."""
        units: set[Unit] = set()
        for victim in victims:
            if victim.category != "attempts":
                units |= {victim.unit, *(victim.behind if with_inputs else ())}
        found = [self.times.get(unit, (0.0, 0.0)) for unit in units]
        return sum(wall for wall, _ in found), sum(cpu for _, cpu in found)


def plan(view: View, request: Request) -> Plan:
    """Work out what can be deleted; nothing is changed."""
    made = Plan()
    stay = keep.kept(view, with_tagged=request.tagged)
    candidates: list[Victim] = []
    for row in index.rows(view.layout):
        run = view.run(row.run)
        if request.runs is not None and run.id not in request.runs:
            continue
        if not run.is_sealed():
            if request.attempts:
                _look_at_attempts(view, run, request, made)
            continue
        whole = request.superseded and stay.superseded(run.id)
        if not whole and not any(row.bytes.get(name) for name in request.classes):
            continue
        try:
            candidates += _look_at_outputs(view, run, request, stay, made)
        except StaprojError as error:
            made.blocked.append({"run": run.id, "item": None, "bytes": 0, "reason": error.message})
    memo: Memo = {}
    chosen, refused = joint(view, [victim.unit for victim in candidates], memo)
    sizes = _Sizes(view)
    for victim in candidates:
        if victim.unit in refused:
            entry = {"run": victim.unit[0], "item": victim.unit[1], "bytes": sizes.apparent(victim.files)}
            made.blocked.append({**entry, "reason": refused[victim.unit]})
    going = [victim for victim in candidates if victim.unit in chosen]
    asked = Recreation(view, without=chosen, memo=memo)
    for victim in going:
        victim.behind = frozenset(_behind(asked, victim.unit))
    made.times = {u: time_of(view, u) for u in chosen.union(*(victim.behind for victim in going))}
    now = environment.software()
    made.other_software = [
        run for run in sorted({victim.unit[0] for victim in going}) if view.spec(run)["software"] != now
    ]
    made.victims = [*going, *made.victims]
    sizes.share_out(made.victims)
    return made


def joint(
    view: View, units: Collection[Unit], memo: Memo | None = None
) -> tuple[frozenset[Unit], dict[Unit, str]]:
    """Return which units can go *together*, and why the others cannot.

    Units that cannot be made again stay; then what was only waiting for those can be made again.
    """
    memo = {} if memo is None else memo
    left = frozenset(units)
    refused: dict[Unit, str] = {}
    while True:
        asked = Recreation(view, without=left, memo=memo)
        problems = {unit: asked.blocks(unit) for unit in left}
        bad = {unit: problem for unit, problem in problems.items() if problem}
        if not bad:
            return left, refused
        roots = [unit for unit in bad if _behind(asked, unit).isdisjoint(bad)]
        refused |= {unit: bad[unit] for unit in roots}
        left -= frozenset(roots)


def delete(view: View, made: Plan, *, why: str) -> trash.Trash | None:
    """Move everything in a plan to the trash; ``None`` if there is nothing.

    Raises
    ------
    LockedError
        If a run at work may be reading some of it.
    StorageError
        If the project cannot be written to.
    """
    schema.require_writable(view.layout)
    entries = [entry for victim in made.victims for entry in victim.files]
    if not entries:
        return None
    with project_lock(view.layout.lock, purpose="cleaning up"):
        busy = keep.in_use(View.open(view.layout.root))
        for victim in made.victims:
            if victim.unit[0] in busy:
                raise LockedError(
                    f"{victim.unit[0]} is in use: {busy[victim.unit[0]]}",
                    hint="wait until it is done, or leave this run out",
                )
        moved = trash.begin(view.layout, OP, entries, why=why)
        with journal.entry(view.layout, OP, {"trash": moved.name}):
            trash.finish(view.layout, moved)
    view.memo.clear()
    return moved


def roll_forward(layout: Layout, facts: Mapping[str, Any]) -> str:
    """Finish a clean-up that was broken off; return what was done, in words."""
    for directory in layout.trash_dirs():
        if directory.path.name == facts.get("trash"):
            moved = trash.finish(layout, trash.read(directory))
            return f"finished a clean-up: {moved} files moved to the trash ({directory.path.name})"
    return "a clean-up that was broken off had moved nothing"


def not_recreatable(view: View, part: trash.Trash) -> dict[Unit, str]:
    """Return units with files in the trash that are nowhere else and cannot be made again (any more)."""
    asked = Recreation(view)
    found: dict[Unit, str] = {}
    for run in sorted({entry.run for entry in part.there() if entry.output}):
        try:
            for unit in asked.units_with_missing(run):
                problem = asked.blocks(unit)
                if problem:
                    found[unit] = problem
        except StaprojError as error:
            found[run, None] = error.message
    return found


# ---------------------------------------------------------------------------------------- candidates
def _look_at_outputs(view: View, run: RunDir, request: Request, stay: keep.Kept, made: Plan) -> list[Victim]:
    """Return what of a sealed run may go as far as its own class says."""
    gone = request.superseded and stay.superseded(run.id)
    found = []
    for unit in units_of(view, run.id):
        files = [
            _entry(view, run, entry)
            for entry in files_of(view, unit)
            if (gone or entry.get("class") in request.classes) and (run.out / entry["path"]).is_file()
        ]
        if files:
            found.append(Victim(unit, run.name.step, "superseded" if gone else "class", files))
    reason = stay.whole.get(run.id) or stay.busy.get(run.id)
    if found and reason:
        size = sum(entry.size for victim in found for entry in victim.files)
        made.kept.append({"run": run.id, "step": run.name.step, "bytes": size, "reason": reason})
        return []
    return found


def _look_at_attempts(view: View, run: RunDir, request: Request, made: Plan) -> None:
    """Add what a run that never got to its end left behind."""
    found = runs.state_of(run)
    attempts = [path for path in run.attempts() if path.is_dir() and not path.is_symlink()]
    if not attempts:
        return
    reason = ""
    if found.state not in ("failed", "interrupted"):
        reason = f"{run.id} is {found.state}"
    elif request.runs is None and not _overtaken(view, run):
        verb = "resumed" if found.state == "interrupted" else "used by the next run"
        reason = f"what it finished can still be {verb}; name it with --runs to delete it all the same"
    entries = [trash.Entry(view.layout.relative(path), run.id, _tree_size(path)) for path in attempts]
    if reason:
        size = sum(entry.size for entry in entries)
        made.blocked.append({"run": run.id, "item": None, "bytes": size, "reason": reason})
    else:
        made.victims.append(Victim((run.id, None), run.name.step, "attempts", entries))


def _overtaken(view: View, run: RunDir) -> bool:
    """Tell whether a later run of the same step is complete, so that nobody goes on with this one."""
    name = run.name
    return any(
        other.step == name.step and other.number > name.number and view.layout.run(other).is_sealed()
        for other in view.layout.iter_runs()
    )


def _entry(view: View, run: RunDir, entry: dict[str, Any]) -> trash.Entry:
    path = str(entry["path"])
    stored = view.layout.relative(run.out / path)
    return trash.Entry(stored, run.id, int(entry["size"]), str(entry["sha256"]), path)


def _behind(asked: Recreation, unit: Unit) -> set[Unit]:
    """Return all units upstream of one that would have to be made first."""
    found: set[Unit] = set()
    waiting = [unit]
    while waiting:
        new = set(asked.needs(waiting.pop())) - found
        found |= new
        waiting += new
    return found


# ------------------------------------------------------------------------------------ what it frees
class _Sizes:
    """Space on the disk, hard links counted once and only where the last name goes."""

    def __init__(self, view: View) -> None:
        self._root = view.layout.root

    def apparent(self, entries: Iterable[trash.Entry]) -> int:
        """Return the sum of file sizes."""
        return sum(entry.size for entry in entries)

    def share_out(self, victims: Iterable[Victim]) -> None:
        """Set what each victim frees; a file with several names counts for the first."""
        seen: dict[tuple[int, int], list[Any]] = {}
        for victim in victims:
            for path in self._paths(victim):
                with suppress(OSError):
                    stat = path.lstat()
                    known = seen.setdefault(
                        (stat.st_dev, stat.st_ino), [victim, stat.st_nlink, 0, stat.st_blocks * _BLOCK]
                    )
                    known[2] += 1
        for victim, links, found, size in seen.values():
            if found >= links:
                victim.size += size

    def _paths(self, victim: Victim) -> Iterable[Path]:
        for entry in victim.files:
            path = self._root / entry.path
            yield from _walk(path) if victim.category == "attempts" else [path]


def _walk(top: Path) -> Iterable[Path]:
    for directory, _, names in os.walk(top):
        yield from (Path(directory) / name for name in names)


def _tree_size(top: Path) -> int:
    total = 0
    for path in _walk(top):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def time_of(view: View, unit: Unit) -> tuple[float, float]:
    """Return wall and CPU seconds that a unit took when it was made (0 where its record is gone)."""
    with suppress(StaprojError):
        found = atomic.read_json(view.run(unit[0]).item_done(unit[1]))
        return float(found.get("wall_s") or 0.0), float(found.get("cpu_s") or 0.0)
    return 0.0, 0.0


def all_units(view: View) -> list[Unit]:
    """Return every unit of every sealed run whose record can be read."""
    found: list[Unit] = []
    for name in sorted(view.layout.iter_runs()):
        if view.layout.run(name).is_sealed():
            with suppress(StaprojError):
                found += units_of(view, name.id)
    return found
