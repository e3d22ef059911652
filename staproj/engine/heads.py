"""Which run stands for a step: set by hand, or taken again because it was made from the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from staproj.engine import digest, intent, why
from staproj.engine.recover import recover
from staproj.engine.view import Expected, View
from staproj.errors import StaprojError, UsageError
from staproj.project import index, runs, schema, versions
from staproj.project.layout import Layout, RunDir
from staproj.project.lock import project_lock
from staproj.project.manifest import Change

_FEW = 50
"""Up to so many runs of a step are looked at one by one; of more the index is asked."""


def set_head(root: Path, name: str, run: str, *, note: str = "") -> None:
    """Let an earlier sealed run stand for its step again; the manifest gets the parameters it was made with.

    Files that were cleared are no obstacle: they are made again when something needs them.

    Raises
    ------
    UsageError
        If the run is of another step, not complete, or its files are gone.
    """
    schema.require_writable(Layout(root))
    recover(Layout(root))
    view = View.open(root)
    view.graph.node(name)
    directory = view.run(run)
    if directory.name.step != name:
        raise UsageError(
            f"run {run} is of step {directory.name.step!r}, not {name!r}",
            hint=f"`staproj ls {name}` lists the runs of {name}",
        )
    if not directory.is_sealed():
        raise UsageError(f"run {run} is not complete", hint=f"`staproj log {run}` says why")
    if why.missing_outputs(view, directory.id):
        raise UsageError(f"files of run {run} are gone", hint=f"`staproj rerun {run}` makes them again")
    changes = intent.changes_to_match(view, directory.id)
    _stand(view, name, directory, changes, note or f"head of {name} set to {directory.id}")


def adopt(view: View, name: str, run: RunDir, changes: Sequence[Change]) -> None:
    """Let an earlier run stand for its step because it was made from just what is asked for now."""
    _stand(view, name, run, changes, f"{name} is as in {run.id} again")


def find_adoptable(view: View, name: str, expected: Expected) -> RunDir | None:
    """Return the newest sealed run of a step made from exactly the same, with all its files (or cleared)."""
    if expected.image is None:
        return None
    found = runs.runs_of(view.layout, name)
    if len(found) > _FEW:
        key = digest.digest_of(expected.image)
        known = {row.run for row in index.rows(view.layout, write=False) if row.key == key}
        found = [run for run in found if run.id in known]
    for run in found:
        if not run.is_sealed() or not is_made_from(view, run.id, expected):
            continue
        try:
            if not why.missing_outputs(view, run.id):
                return run
        except StaprojError:
            continue
    return None


def is_made_from(view: View, run: str | None, expected: Expected) -> bool:
    """Tell whether a run was made from just what is asked for now (not so where its record is damaged)."""
    if run is None:
        return False
    try:
        return bool(view.spec(run)["preimage"] == expected.image)
    except StaprojError:
        return False


def write_changes(view: View, changes: Sequence[Change]) -> None:
    """Write values into the manifest (the caller holds the project lock)."""
    if changes:
        from staproj.project import manifest_edit

        manifest_edit.edit(view.layout.manifest, changes)


def _stand(view: View, name: str, run: RunDir, changes: Sequence[Change], reason: str) -> None:
    with project_lock(view.layout.lock, purpose="setting a head"):
        write_changes(view, changes)
        stands = {**versions.current_heads(view.layout), name: run.id}
        text = view.layout.manifest.read_text(encoding="utf-8")
        versions.write(view.layout, manifest=text, heads=stands, why=reason)
