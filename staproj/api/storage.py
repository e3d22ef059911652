"""Space of a project: where it goes, what can be deleted, the trash, and outputs made again. Plain values."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.errors import CheckError, UsageError
from staproj.project.layout import Layout

if TYPE_CHECKING:
    from staproj.engine.collect import Plan, Request, Victim
    from staproj.engine.events import Progress
    from staproj.engine.view import View
    from staproj.project.trash import Trash

CLASSES = ("intermediate", "scratch")
BY = ("run", "class", "step")


class Storage:
    """Clean-up of one project."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)

    def plan(
        self,
        *,
        classes: Sequence[str] = CLASSES,
        runs: Sequence[str] | None = None,
        superseded: bool = False,
        attempts: bool = False,
        tagged: bool = False,
    ) -> dict[str, Any]:
        """Say what can be deleted and why the rest stays; nothing is changed.

        ``{"runs": [{"run", "step", "what", "items", "files", "bytes", "wall_s", "cpu_s",
        "wall_with_inputs_s"}], "blocked": [{"run", "item", "bytes", "reason"}], "kept": [{"run", "step",
        "bytes", "reason"}], "bytes", "files", "wall_s", "cpu_s"}``. ``bytes`` is what becomes free; times are
        those the outputs took.
        """
        view = self._view()
        made = self._plan(view, classes, runs, superseded, attempts, tagged)
        return _plan_dict(made)

    def clean(
        self,
        *,
        classes: Sequence[str] = CLASSES,
        runs: Sequence[str] | None = None,
        superseded: bool = False,
        attempts: bool = False,
        tagged: bool = False,
        why: str = "clean-up",
    ) -> dict[str, Any]:
        """Move what can be deleted to the trash; the plan with ``trash``, the name to restore or purge.

        Raises
        ------
        LockedError
            If a run at work needs some of it.
        """
        from staproj.engine import collect

        self._recover()
        view = self._view()
        made = self._plan(view, classes, runs, superseded, attempts, tagged)
        moved = collect.delete(view, made, why=why)
        return {**_plan_dict(made), "trash": moved.name if moved else None}

    def prove(
        self,
        count: int,
        *,
        classes: Sequence[str] = CLASSES,
        runs: Sequence[str] | None = None,
        superseded: bool = False,
        tagged: bool = False,
        seed: int = 0,
        everything: bool = False,
        quick: bool = False,
        scratch: Path | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Make ``count`` of the outputs that would be deleted again, in scratch, and compare bit for bit.

        ``{"asked", "proven", "equal": bool, "units": [{"run", "item", "step", "equal", "files", "bytes",
        "wall_s", "differing", "error", "asked"}], "seed"}``.
        """
        from staproj.engine import prove
        from staproj.engine.events import ignore
        from staproj.engine.options import Options

        if count < 1:
            raise UsageError("at least one output must be made again", hint="gc --prove 5")
        view = self._view()
        made = self._plan(view, classes, runs, superseded, attempts=False, tagged=tagged)
        found = prove.prove(
            view,
            made,
            count,
            Options(progress=progress or ignore),
            seed=seed,
            everything=everything,
            quick=quick,
            place=scratch,
        )
        return {
            "asked": count,
            "proven": sum(part.asked and part.equal for part in found),
            "equal": all(part.equal for part in found),
            "units": [part.as_dict() for part in found],
            "seed": seed,
        }

    def bring_back(
        self, run: str, *, items: Collection[str] | None = None, progress: Progress | None = None
    ) -> list[str]:
        """Put cleared outputs of a run (or the head of a step) back; return their paths.

        They come from the trash while they lie there, else they are made again and compared.

        Raises
        ------
        CheckError
            If what was made again is not what was sealed.
        """
        from staproj.api import listing
        from staproj.engine import bring_back
        from staproj.engine.events import ignore
        from staproj.engine.options import Options

        self._recover()
        view = self._view()
        return bring_back.bring_back(
            view, listing.head_or_run(view, run), Options(progress=progress or ignore), items=items
        )

    def usage(self, by: str = "run", *, recorded: bool = False) -> dict[str, Any]:
        """Return bytes by run, class or step: ``{"by", "rows", "total", "trash", "other", "exact"}``."""
        from staproj.engine import usage

        if by not in BY:
            raise UsageError(f"there is no such way to count: {by!r}", hint=f"use {', '.join(BY)}")
        found = usage.recorded(self.layout) if recorded else usage.measure(self.layout)
        return {
            "by": by,
            "rows": _rows(found.runs, by),
            "runs": sum(run.total for run in found.runs),
            "trash": found.trash,
            "exports": found.exports,
            "private": found.private,
            "other": found.other,
            "total": found.total,
            "exact": not recorded,
        }

    def trash(self) -> list[dict[str, Any]]:
        """Return what is in the trash, newest first."""
        from staproj.project import trash

        return [_trash_dict(part) for part in reversed(trash.all_trash(self.layout))]

    def trash_restore(self, name: str = "last", *, runs: Sequence[str] | None = None) -> dict[str, Any]:
        """Put back what one clean-up deleted (or only files of some runs), exactly as it was."""
        from staproj.project import trash
        from staproj.project.lock import project_lock

        self._recover()
        chosen = None if runs is None else [self.layout.find_run(run).id for run in runs]
        with project_lock(self.layout.lock, purpose="restoring from the trash"):
            part = trash.find(self.layout, name)
            back = trash.restore(self.layout, part, chosen)
        return {
            "trash": part.name,
            "files": len(back),
            "bytes": sum(entry.size for entry in back),
            "runs": sorted({entry.run for entry in back}),
        }

    def trash_purge(self, name: str = "all", *, dry_run: bool = True, force: bool = False) -> dict[str, Any]:
        """Delete what is in the trash for good; ``{"bytes", "purged": [...], "dry_run"}``.

        Raises
        ------
        CheckError
            If some of it cannot be made again (any more), and this is not forced.
        """
        from staproj.engine import collect
        from staproj.engine.recreate import name_of
        from staproj.project import trash
        from staproj.project.lock import project_lock
        from staproj.project.schema import require_writable

        chosen = trash.all_trash(self.layout) if name == "all" else [trash.find(self.layout, name)]
        size = sum(trash.size_of(part) for part in chosen)
        view = self._view()
        lost = {unit: why for part in chosen for unit, why in collect.not_recreatable(view, part).items()}
        if lost and not force:
            unit, why = next(iter(lost.items()))
            raise CheckError(
                f"{len(lost)} of these outputs cannot be made again any more, {name_of(unit)} first: {why}",
                where=", ".join(part.name for part in chosen),
                hint="`staproj trash restore` puts them back; --force deletes them all the same",
            )
        if not dry_run:
            require_writable(self.layout)
            with project_lock(self.layout.lock, purpose="purging the trash"):
                for part in chosen:
                    trash.purge(part)
        return {"bytes": size, "trash": [part.name for part in chosen], "dry_run": dry_run}

    def _recover(self) -> None:
        """Finish what was left half done before something new is begun."""
        from staproj.engine.recover import recover
        from staproj.project.schema import require_writable

        require_writable(self.layout)
        recover(self.layout)

    def _view(self) -> View:
        from staproj.engine.view import View

        return View.open(self.root)

    def _plan(
        self,
        view: View,
        classes: Sequence[str],
        runs: Sequence[str] | None,
        superseded: bool,
        attempts: bool,
        tagged: bool,
    ) -> Plan:
        from staproj.engine import collect

        for name in classes:
            if name not in CLASSES:
                hint = "final outputs go only with their superseded run: --superseded"
                raise UsageError(f"outputs of class {name!r} are not deleted", hint=hint)
        chosen = None if runs is None else tuple(self._runs(view, runs))
        request: Request = collect.Request(tuple(classes), chosen, superseded, attempts, tagged)
        return collect.plan(view, request)

    def _runs(self, view: View, names: Sequence[str]) -> list[str]:
        """Return runs by name; a step stands for all its runs."""
        found: list[str] = []
        for name in names:
            of_step = [run.id for run in self.layout.iter_runs() if run.step == name]
            known = of_step or name in view.graph.nodes
            found += of_step if known else [view.run(name).id]
        return found


def _plan_dict(made: Plan) -> dict[str, Any]:
    by_run: dict[tuple[str, str], list[Victim]] = {}
    for victim in made.victims:
        by_run.setdefault((victim.unit[0], victim.category), []).append(victim)
    rows = []
    for (run, category), victims in by_run.items():
        wall, cpu = made.time_of(victims)
        rows.append(
            {
                "run": run,
                "step": victims[0].step,
                "what": category,
                "items": [victim.unit[1] for victim in victims if victim.unit[1] is not None],
                "files": sum(len(victim.files) for victim in victims),
                "bytes": sum(victim.size for victim in victims),
                "wall_s": round(wall, 3),
                "cpu_s": round(cpu, 3),
                "wall_with_inputs_s": round(made.time_of(victims, with_inputs=True)[0], 3),
            }
        )
    wall, cpu = made.time_of(made.victims, with_inputs=True)
    return {
        "runs": rows,
        "other_software": made.other_software,
        "blocked": made.blocked,
        "kept": made.kept,
        "files": sum(row["files"] for row in rows),
        "bytes": made.size,
        "wall_s": round(wall, 3),
        "cpu_s": round(cpu, 3),
    }


def _trash_dict(part: Trash) -> dict[str, Any]:
    from staproj.project import trash

    there = part.there()
    return {
        "trash": part.name,
        "op": part.op,
        "time": part.time,
        "who": part.who,
        "why": part.why,
        "files": len(there),
        "bytes": trash.size_of(part),
        "runs": sorted({entry.run for entry in there}),
    }


def _rows(runs: Sequence[Any], by: str) -> list[dict[str, Any]]:
    """Group the use of runs; ``name`` is a run, a class or a step."""
    if by == "class":
        classes = {name: sum(run.bytes[name] for run in runs) for name in runs[0].bytes} if runs else {}
        return [{"name": name, "bytes": size} for name, size in classes.items()]
    groups: dict[str, list[Any]] = {}
    for run in runs:
        groups.setdefault(run.run if by == "run" else run.step, []).append(run)
    rows = []
    for name, members in groups.items():
        row: dict[str, Any] = {"name": name, "step": members[0].step}
        row |= {kind: sum(run.bytes[kind] for run in members) for kind in members[0].bytes}
        row |= {"files": sum(run.files for run in members), "cleared": sum(run.cleared for run in members)}
        rows.append({**row, "runs": len(members), "bytes": sum(run.total for run in members)})
    return sorted(rows, key=lambda row: -int(row["bytes"]))
