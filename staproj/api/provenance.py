"""What made a file, what it cost, and records of it for others: the front door of provenance."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from staproj.api import listing
from staproj.engine import lineage as lineages
from staproj.engine import provenance, sidecar
from staproj.engine.view import View
from staproj.errors import ProjectError, UsageError
from staproj.project import atomic, cleared
from staproj.project.layout import find_root
from staproj.project.manifest import suggestion


def what_made(path_or_run: str | Path, root: Path | None) -> dict[str, Any]:
    """Say how a file (any path) or a run was made, down to the raw data.

    Looked at in this order: runs and steps of the project; the run a file lies in; sidecars beside exported
    files; raw data and outputs of the same content in the project.

    Parameters
    ----------
    path_or_run
        A file, a folder that was exported, a run or a step.
    root
        The project to ask, if any; a file below ``runs/`` is always asked of its own project.

    Returns
    -------
    dict
        As :func:`staproj.engine.lineage.lineage`; ``source`` is "run", "sidecar" or "content". Of raw data:
        ``{"file", "raw_data": True, "read_by": [...]}``.

    Raises
    ------
    UsageError
        If nothing is known of it.
    """
    text = str(path_or_run)
    path = Path(text)
    if root is not None and not path.exists() and ((root / text).exists() or text.startswith("runs/")):
        path = root / text
    if root is not None and (not path.exists() or (path.is_dir() and "/" not in text)):
        view = View.open(root)
        if listing.is_run(text) or text in view.graph.nodes:  # a step may be called as a folder is
            return lineages.lineage(view, listing.head_or_run(view, text)) | {"source": "run"}
    try:
        home, run, file = lineages.locate(path)
    except UsageError as unknown:
        found = _elsewhere(path, root) if path.exists() else None
        if found is None:
            raise unknown from None
        return found
    told = lineages.lineage(View.open(home), run.id, file)
    if not path.exists():
        if told["artifact"] is None:
            raise UsageError(
                "there is no such file, and its run made none of this name",
                where=str(path),
                hint=f"`staproj show {run.id}` lists its files",
            )
        told["gone"] = "cleared" if file in cleared.cleared_paths(run) else "missing"
    if file and told["artifact"] is None and path.is_file():  # put among the outputs later: perhaps a copy
        told = _elsewhere(path, home) or told
    return {"source": "run"} | told


def _elsewhere(path: Path, root: Path | None) -> dict[str, Any] | None:
    """Ask sidecars, then the project whether this is raw data or a copy of an output."""
    said = sidecar.find(path)
    if said is not None and not said["changed"]:
        return said | {"source": "sidecar"}
    view = View.open(root or _around(path) or Path()) if root or _around(path) else None
    if view is not None and path.is_file():
        readers = lineages.readers_of(view, path)
        if readers:
            return {"file": str(path), "raw_data": True, "read_by": readers, "source": "run"}
        same = lineages.with_content(view, path)
        if same:
            told = lineages.lineage(view, same[0]["run"], same[0]["file"])
            return told | {"file": str(path), "same_as": same, "changed": False, "source": "content"}
    return said and said | {"source": "sidecar"}


def _around(path: Path) -> Path | None:
    try:
        return find_root(path.parent)
    except ProjectError:
        return None


class Provenance:
    """What is on record of the runs of a project, for people and for other programs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def facts(self, step_or_run: str) -> dict[str, Any]:
        """Return all that is on record of one run (of a step: of its head, else of its newest run)."""
        view = View.open(self.root)
        return provenance.facts(view, _run(view, step_or_run))

    def cost(self, path_or_run: str | Path) -> dict[str, Any]:
        """Return the wall and CPU time of everything a file, run or step was made by, run by run."""
        view, names = self._behind([path_or_run])
        return provenance.cost([provenance.facts(view, name) for name in reversed(names)])

    def crate(
        self,
        out: str | Path,
        of: Iterable[str | Path] = (),
        *,
        anonymous: bool = False,
        license_: str | None = None,
        author: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Write RO-Crate metadata of everything behind ``of`` (default: all runs).

        ``out`` is the file, or a folder to write it in: the project's own, where all files are at their
        places; in any other folder files are described, but not part of the crate.
        """
        from staproj.api.crate import METADATA_FILE, crate, write_text

        view, names = self._behind(of)
        path = Path(out)
        target = path / METADATA_FILE if path.is_dir() or not path.suffix else path
        at_home = target.resolve().parent == self.root.resolve()
        content = crate(
            view,
            names,
            where=None if at_home else lambda stored: None,
            extra_files=[view.layout.relative(view.layout.manifest)] if at_home else (),
            anonymous=anonymous,
            license_=license_,
            author=author,
        )
        _write(target, write_text(content))
        return {"file": str(target), "runs": names, "entities": len(content["@graph"])}

    def prov(
        self, out: str | Path, of: Iterable[str | Path] = (), *, anonymous: bool = False
    ) -> dict[str, Any]:
        """Write everything behind ``of`` (default: all runs) as W3C PROV-JSON."""
        from staproj.api.prov import document, write_text

        view, names = self._behind(of)
        content = document(view, names, anonymous=anonymous)
        _write(Path(out), write_text(content))
        return {"file": str(out), "runs": names, "entities": len(content.get("entity", {}))}

    def sidecar(
        self,
        export: str,
        files: Mapping[str, Mapping[str, Any]],
        runs: Iterable[str],
        *,
        anonymous: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        """Return the record that goes with exported files (see :func:`staproj.engine.sidecar.build`)."""
        return sidecar.build(View.open(self.root), export, files, runs, anonymous=anonymous, **more)

    def methods(self, of: Iterable[str | Path] = ()) -> dict[str, Any]:
        """Return paragraphs and citations of everything behind ``of`` (default: the heads of all steps)."""
        from staproj.api.methods import methods

        view = View.open(self.root)
        wanted = [_run_behind(view, self.root, one) for one in of] or [*view.heads.values()]
        for run in wanted:
            if not view.run(run).is_sealed():  # no sentence may tell of what was not finished
                raise UsageError(f"run {run} is not complete", hint=f"`staproj log {run}` says why")
        names, _ = provenance.ancestry(view, wanted)
        return methods(view, names)

    def write_bibtex(self, out: str | Path, entries: Iterable[Mapping[str, Any]]) -> Path:
        """Write references (of :meth:`methods`) as BibTeX."""
        from staproj.api.methods import bibtex

        _write(Path(out), bibtex(entries))
        return Path(out)

    def _behind(self, of: Iterable[str | Path]) -> tuple[View, list[str]]:
        view = View.open(self.root)
        wanted = [_run_behind(view, self.root, one) for one in of]
        if not wanted:
            wanted = [name.id for name in sorted(view.layout.iter_runs())]
        return view, provenance.ancestry(view, wanted)[0]


def _run(view: View, text: str) -> str:
    return view.heads[text] if text in view.heads else listing.newest_run(view, text)


def _run_behind(view: View, root: Path, of: str | Path) -> str:
    """Return the run of a run name, a step, or a file."""
    text = str(of)
    if listing.is_run(text) or text in view.graph.nodes:
        return _run(view, text)
    if not os.path.lexists(of) and os.path.basename(text) == text:  # noqa: PTH119 - a word, not a path
        raise UsageError(
            f"there is no step, run or file {text!r}", hint=suggestion(text, view.graph.nodes, "steps")
        )
    told = what_made(of, root)
    run = told.get("run")
    if told.get("raw_data") or not isinstance(run, str):
        raise UsageError(
            "no run made this", where=text, hint="name a run, a step, or a file below runs/*/out"
        )
    return run


def _write(path: Path, text: str) -> None:
    if not path.parent.is_dir():
        with atomic.storage_errors(path):
            path.parent.mkdir(parents=True)
    with atomic.storage_errors(path):
        atomic.write_text(path, text)
