"""The façade: every front end goes through :class:`Project`, and only plain values come out of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.engine.events import Progress, ignore
from staproj.errors import UsageError
from staproj.project.layout import Layout, find_root


class _Later:
    """A module (or a class in it) that is imported when it is first used: `ls` needs none of the engine."""

    def __init__(self, module: str, name: str = "") -> None:
        self._module, self._name = module, name

    def __getattr__(self, attribute: str) -> Any:
        found = import_module(self._module)
        return getattr(getattr(found, self._name) if self._name else found, attribute)


if TYPE_CHECKING:
    from staproj.api import listing
    from staproj.api.annotations import Annotations
    from staproj.api.archives import Archives
    from staproj.api.care import Care
    from staproj.api.history import History
    from staproj.api.jobs import Jobs
    from staproj.api.provenance import Provenance
    from staproj.api.recipes import Recipes
    from staproj.api.series import Series
    from staproj.api.settings import Settings
    from staproj.api.storage import Storage
    from staproj.api.variants import Variants
    from staproj.engine import lineage as lineages
    from staproj.engine import session, why
    from staproj.engine.execute import Options
    from staproj.engine.view import View
    from staproj.project.record import RunRecord

else:
    listing = _Later("staproj.api.listing")
    lineages = _Later("staproj.engine.lineage")
    session = _Later("staproj.engine.session")
    why = _Later("staproj.engine.why")
    View = _Later("staproj.engine.view", "View")


class Project:
    """A project directory. Holds no state: every call looks at the files as they are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)

    @classmethod
    def open(cls, path: str | Path = ".") -> Project:
        """Open the project that ``path`` lies in.

        Raises
        ------
        ProjectError
            If there is none.
        """
        return cls(find_root(Path(path)))

    @classmethod
    def create(
        cls,
        path: str | Path,
        template: str,
        *,
        movies: str | Sequence[str] | None = None,
        mdoc: str | None = None,
        gain: str | None = None,
        name: str | None = None,
        sets: Mapping[str, Any] | None = None,
    ) -> Project:
        """Make a project from a template (a name, or a ``.toml`` file); its comments are kept.

        ``movies``, ``mdoc``, ``gain`` are paths or patterns from the working directory (``movies`` also
        feeds a template that starts from stacks); ``sets`` are further parameters ``{"step.param": value}``.
        """
        from staproj.api.create import create_project

        create_project(
            Path(path), template, movies=movies, mdoc=mdoc, gain=gain, name=name, sets=dict(sets or {})
        )
        return cls(Path(os.path.abspath(path)))

    @property
    def archives(self) -> Archives:
        """Archives: write one, and check the project against its digests."""
        from staproj.api.archives import Archives

        return Archives(self.root)

    @property
    def provenance(self) -> Provenance:
        """What is on record of runs: facts, cost, methods, records for other programs."""
        from staproj.api.provenance import Provenance

        return Provenance(self.root)

    @property
    def storage(self) -> Storage:
        """Space: where it goes, what can be deleted, the trash."""
        from staproj.api.storage import Storage

        return Storage(self.root)

    @property
    def recipes(self) -> Recipes:
        """How to make a run again."""
        from staproj.api.recipes import Recipes

        return Recipes(self.root)

    @property
    def jobs(self) -> Jobs:
        """Work that goes on without a terminal."""
        from staproj.api.jobs import Jobs

        return Jobs(self.root)

    @property
    def variants(self) -> Variants:
        """Steps with several values side by side."""
        from staproj.api.variants import Variants

        return Variants(self.root)

    @property
    def history(self) -> History:
        """Heads, versions, and runs that may stand for others."""
        from staproj.api.history import History

        return History(self.root)

    @property
    def series(self) -> Series:
        """Tilt series and their views: one row each, from what the heads recorded."""
        from staproj.api.series import Series

        return Series(self.root)

    @property
    def settings(self) -> Settings:
        """Values of the manifest: looked at, checked, written."""
        from staproj.api.settings import Settings

        return Settings(self.root)

    @property
    def care(self) -> Care:
        """Examination, migration, the lock."""
        from staproj.api.care import Care

        return Care(self.root)

    @property
    def annotations(self) -> Annotations:
        """Notes, ratings and tags of runs."""
        from staproj.api.annotations import Annotations

        return Annotations(self.root)

    # ------------------------------------------------------------------------------------------ running
    def run(
        self,
        steps: Sequence[str] | None = None,
        *,
        until: str | None = None,
        items: Sequence[str] | None = None,
        sets: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        note: str = "",
        threads: int | None = None,
        device: str = "auto",
        jobs: int = 1,
        progress: Progress = ignore,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[dict[str, Any]]:
        """Bring ``steps`` (``until`` one step; default all) and what they need up to date.

        Returns one ``{"step", "action", "run", "reused", "wall_s", "verdict", "reasons"}`` a step; ``action``
        is fresh, run or adopt. ``sets`` (``{"step.param": value}``) are written to the manifest as each run
        is sealed. ``jobs`` items are computed at the same time; they share ``threads``.

        Raises
        ------
        StageError
            If a step failed.
        CancelledError
            If the person stopped it (Ctrl-C too).
        """
        if steps and until:
            raise UsageError("steps and until exclude each other", hint="give one of them")
        results = session.run_steps(
            self.root,
            targets=[until] if until else (list(steps) if steps else None),
            items=items,
            sets=sets,
            dry_run=dry_run,
            note=note,
            options=_options(threads, device, progress, cancelled, jobs),
        )
        return [result.as_dict() for result in results]

    def rerun(
        self,
        step_or_run: str,
        *,
        sets: Mapping[str, Any] | None = None,
        items: Sequence[str] | None = None,
        note: str = "",
        threads: int | None = None,
        device: str = "auto",
        jobs: int = 1,
        progress: Progress = ignore,
        cancelled: Callable[[], bool] | None = None,
    ) -> dict[str, Any]:
        """Run one step again with changed parameters; the old run is kept, downstream becomes stale.

        A run (``r0007``) stands for its step with the parameters that run had. Keys of ``sets`` are ``param``
        or ``step.param``.
        """
        from_run = step_or_run if listing.is_run(step_or_run) else None
        name = self.layout.find_run(step_or_run).name.step if from_run else step_or_run
        result = session.rerun_step(
            self.root,
            name,
            from_run=from_run,
            sets=sets,
            items=items,
            note=note,
            options=_options(threads, device, progress, cancelled, jobs),
        )
        return result.as_dict()

    def set_head(self, step: str, run: str, *, note: str = "") -> None:
        """Let an earlier run stand for its step again (the manifest gets its parameters)."""
        self.history.set_head(step, run, note=note)

    # --------------------------------------------------------------------------------------- looking
    def status(self) -> dict[str, Any]:
        """Return ``{"project", "steps": [{"step", "stage", "state", "run", "reasons"}]}``, payload unread."""
        view = View.open(self.root)
        verdicts = why.assess_all(view)
        return {
            "project": view.manifest.name or self.root.name,
            "steps": [verdict.as_dict() for verdict in verdicts.values()],
        }

    def notes(self) -> list[str]:
        """Return what looks wrong but stops nothing, such as patterns that match no file."""
        return listing.notes(View.open(self.root))

    def why(self, step_or_run: str) -> dict[str, Any]:
        """Say why a step is in its state, and (``changes``) how its head differs from the run before it."""
        return listing.why_of(View.open(self.root), step_or_run)

    def diff(self, *runs: str, curve: str | None = None) -> dict[str, Any]:
        """Return what differs between two or more runs: parameters with layer, inputs, FSC curves."""
        from staproj.engine import compare

        view = View.open(self.root)
        return compare.diff(view, [listing.head_or_run(view, run) for run in runs], curve=curve)

    def lineage(self, path_or_run: str | Path) -> dict[str, Any]:
        """Say how a file (any path, from any directory) or a run was made, down to the raw data.

        For raw data: ``{"file", "raw_data": True, "read_by": [{"run", "step", "head", "fingerprint"}]}``.
        """
        from staproj.api.provenance import what_made

        return what_made(path_or_run, self.root)

    def ls(
        self,
        step: str | None = None,
        *,
        tag: str | None = None,
        rating: int | None = None,
        states: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """Return all runs, newest first: run, step, state, created, note, head, verdict, rating, tags.

        ``tag``, ``rating`` (the least) and ``states`` leave out the others.
        """
        from staproj.api.annotations import add_to
        from staproj.api.run_list import run_list

        return add_to(self.layout, run_list(self.layout, step), tag=tag, rating=rating, states=states)

    def show(self, step_or_run: str) -> dict[str, Any]:
        """Return everything known about a run but its arrays."""
        return listing.show(View.open(self.root), self._run_of(step_or_run))

    def log(self, step_or_run: str) -> str:
        """Return the log of a run (of a step: of its newest run, whatever became of it)."""
        from staproj.api.logs import read_log

        return read_log(self.layout.find_run(self.newest_run(step_or_run)))[0]

    def newest_run(self, step_or_run: str) -> str:
        """Return the id of a run (of a step: of its newest run, whatever became of it)."""
        return listing.newest_run(View.open(self.root), step_or_run)

    def record(self, step_or_run: str) -> RunRecord:
        """Return metrics, tables, curves, pictures and verdicts of a sealed run."""
        from staproj.project.record import read_run

        return read_run(self.layout.find_run(self._run_of(step_or_run)).record)

    def artifact(self, step_or_run: str, port: str | None = None) -> Any:
        """Return an output as model object, or ``{tilt series: object}``; one output needs no name."""
        from staproj.engine.inputs import load_port

        view = View.open(self.root)
        run = self._run_of(step_or_run)
        if port is None:
            ports = list(view.outputs(run)["artifacts"])
            if len(ports) != 1:
                raise UsageError(f"run {run} has several outputs", hint=f"name one of {', '.join(ports)}")
            port = ports[0]
        return load_port(view, run, port)

    def run_dir(self, step_or_run: str) -> Path:
        """Return the directory of a run (of a step: of its head)."""
        return self.layout.find_run(self._run_of(step_or_run)).path

    def versions(self) -> list[dict[str, Any]]:
        """Return all versions, newest first."""
        return listing.versions_list(self.layout)

    def version_diff(self, old: int, new: int | None = None) -> dict[str, Any]:
        """Return what differs between two versions (``new=None``: now): manifest lines and heads."""
        return listing.version_diff(View.open(self.root), old, new)

    @staticmethod
    def stages(name: str | None = None) -> list[dict[str, Any]]:
        """Describe all stages (or one) with parameters, units, bounds, ports."""
        return listing.stages(name)

    @staticmethod
    def templates() -> dict[str, str]:
        """Return ``{name: help}`` of all templates."""
        from staproj.api.create import template_names

        return template_names()

    def _run_of(self, step_or_run: str) -> str:
        return listing.head_or_run(View.open(self.root), step_or_run)


def _options(
    threads: int | None,
    device: str,
    progress: Progress,
    cancelled: Callable[[], bool] | None,
    jobs: int = 1,
) -> Options:
    from staproj.engine.execute import Options
    from staproj.engine.resources import check_device

    check_device(device)
    defaults = Options()
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, is {threads}")
    if jobs < 1:
        raise UsageError(f"jobs must be at least 1, is {jobs}", hint="one item at a time: --jobs 1")
    return Options(threads or defaults.threads, device, progress, cancelled or defaults.cancelled, jobs)
