"""Heads, versions and accepted runs: what stands, what stood, and what may stand for what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from staproj.engine import accept, checkout, compare, heads
from staproj.engine.view import View
from staproj.errors import StorageError
from staproj.project import accepted, schema, version_tags, versions
from staproj.project.layout import Layout


class History:
    """What stood in a project and what stands now. Nothing here changes or deletes a run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)

    # ---------------------------------------------------------------------------------------- versions
    def versions(self) -> list[dict[str, Any]]:
        """Return all versions, newest first, with their names."""
        names: dict[int, list[str]] = {}
        for name, number in version_tags.read(self.layout).items():
            names.setdefault(number, []).append(name)
        found = [self._summary(number) for number in reversed(versions.numbers(self.layout))]
        return [{**one, "tags": names.get(one["version"], [])} for one in found]

    def _summary(self, number: int) -> dict[str, Any]:
        try:
            return versions.read(self.layout, number).summary()
        except StorageError as error:  # one damaged file does not hide the others
            why = f"cannot be read: {error.message}"
            return {"version": number, "created": None, "who": "", "why": why, "heads": {}}

    def show(self, version: str) -> dict[str, Any]:
        """Return one version (``3``, ``v3`` or a name): manifest, heads and what became of their runs."""
        return checkout.describe(View.open(self.root), checkout.find(self.layout, version))

    def number(self, version: str) -> int:
        """Return the number of a version (``3``, ``v3`` or a name)."""
        return checkout.find(self.layout, version)

    def tag(self, name: str, version: str | None = None, *, move: bool = False) -> dict[str, Any]:
        """Give a version a name; without ``version`` what stands now (kept as a version if it is not yet)."""
        schema.require_writable(self.layout)
        if version is None:
            number = checkout.keep_now(self.layout, f"tagged {name}")
        else:
            number = checkout.find(self.layout, version)
        version_tags.put(self.layout, name, number, move=move)
        return {"tag": name, "version": number}

    def untag(self, name: str) -> dict[str, Any]:
        """Take the name of a version away."""
        schema.require_writable(self.layout)
        return {"tag": name, "version": version_tags.drop(self.layout, name)}

    def checkout(self, version: str, *, note: str = "") -> dict[str, Any]:
        """Make manifest and heads as in a version; what stands now is kept as a version first."""
        return checkout.checkout(self.root, checkout.find(self.layout, version), note=note)

    def preview(self, version: str) -> dict[str, Any]:
        """Say what :meth:`checkout` would change and which steps would be to run then; writes nothing."""
        return checkout.preview(self.root, checkout.find(self.layout, version))

    # ------------------------------------------------------------------------------------------- heads
    def set_head(self, step: str, run: str, *, note: str = "") -> dict[str, Any]:
        """Let an earlier run stand for its step again; return ``{"step", "run", "before", "stale"}``."""
        before = View.open(self.root).heads.get(step)
        heads.set_head(self.root, step, run, note=note)
        from staproj.engine import why

        verdicts = why.assess_all(View.open(self.root))
        stale = [name for name, verdict in verdicts.items() if verdict.to_do]
        return {"step": step, "run": self.layout.find_run(run).id, "before": before, "stale": stale}

    # ---------------------------------------------------------------------------------------- accepted
    def accept(
        self,
        new: str,
        old: str,
        *,
        why: str = "",
        ports: Sequence[str] = (),
        items: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Record that the outputs of run ``new`` may stand for those of ``old``; what was made stays fresh.

        Returns the entry, with numbers and FSC curves of both to judge by.
        """
        schema.require_writable(self.layout)
        view = View.open(self.root)
        told = self.compare(new, old)
        entry = accept.add(view, told["new"], told["old"], why=why, ports=ports, items=items)
        return {**entry.as_dict(), **told}

    def compare(self, new: str, old: str) -> dict[str, Any]:
        """Return ``{"new", "old", "metrics", "curves"}`` of two runs (steps: their heads)."""
        from staproj.api.listing import head_or_run

        view = View.open(self.root)
        runs = [head_or_run(view, old), head_or_run(view, new)]
        before, after = (compare.metrics_of(view, run) for run in runs)
        metrics = [
            {"field": name, "old": before.get(name), "new": after.get(name)}
            for name in sorted({*before, *after})
        ]
        curves = [compare.agreement(curve) for curve in compare.curves_of(view, runs)]
        return {"new": runs[1], "old": runs[0], "metrics": metrics, "curves": curves}

    def accepted(self) -> list[dict[str, Any]]:
        """Return everything that was accepted, oldest first."""
        return [entry.as_dict() for entry in accepted.read(self.layout)]

    def unaccept(self, new: str, old: str | None = None) -> list[dict[str, Any]]:
        """Take an acceptance back (all of ``new`` without ``old``); what it kept fresh is stale again."""
        schema.require_writable(self.layout)
        names = [self.layout.find_run(run).id if run else None for run in (new, old)]
        return [entry.as_dict() for entry in accepted.remove(self.layout, str(names[0]), names[1])]
