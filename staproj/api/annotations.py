"""Notes, ratings, tags and titles of runs: what people say about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from staproj.errors import UsageError
from staproj.project import annotations as said
from staproj.project import schema
from staproj.project.layout import Layout, RunDir
from staproj.project.manifest import suggestion

STATES = ("sealed", "failed", "interrupted", "running", "queued", "unreachable")


class Annotations:
    """Notes on the runs of a project. They are kept beside the runs, which never change."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)

    def of(self, step_or_run: str) -> dict[str, Any]:
        """Return ``{"run", "title", "rating", "tags", "notes"}`` of a run (of a step: of its head)."""
        run = self._run(step_or_run)
        return {"run": run.id, **said.read(self.layout, run.id).as_dict()}

    def all(self) -> dict[str, dict[str, Any]]:
        """Return what is said about each run that something is said about."""
        return {run: found.as_dict() for run, found in said.read_all(self.layout).items()}

    def note(self, step_or_run: str, text: str) -> dict[str, Any]:
        """Add a remark."""
        run = self._writable(step_or_run)
        said.add_note(self.layout, run, text)
        return self.of(run.id)

    def rate(self, step_or_run: str, rating: int | None) -> dict[str, Any]:
        """Rate from 0 to 5 (``None``: take the rating away)."""
        run = self._writable(step_or_run)
        said.set_rating(self.layout, run, rating)
        return self.of(run.id)

    def title(self, step_or_run: str, title: str) -> dict[str, Any]:
        """Give a title of one line (empty: take it away)."""
        run = self._writable(step_or_run)
        said.set_title(self.layout, run, title)
        return self.of(run.id)

    def tag(self, step_or_run: str, *tags: str) -> dict[str, Any]:
        """Add tags; "final" protects a run from clean-up."""
        run = self._writable(step_or_run)
        said.set_tags(self.layout, run, add=tags)
        return self.of(run.id)

    def untag(self, step_or_run: str, *tags: str) -> dict[str, Any]:
        """Remove tags."""
        run = self._writable(step_or_run)
        said.set_tags(self.layout, run, remove=tags)
        return self.of(run.id)

    def problems(self) -> list[str]:
        """Return what is wrong with files of notes."""
        return [found.problem for found in said.read_all(self.layout).values() if found.problem]

    def _writable(self, step_or_run: str) -> RunDir:
        schema.require_writable(self.layout)
        return self._run(step_or_run)

    def _run(self, step_or_run: str) -> RunDir:
        from staproj.api.listing import head_or_run
        from staproj.engine.view import View

        view = View.open(self.layout.root)
        return view.run(head_or_run(view, step_or_run))


def add_to(
    layout: Layout,
    rows: Iterable[dict[str, Any]],
    *,
    tag: str | None = None,
    rating: int | None = None,
    states: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return rows of runs with ``title``, ``rating``, ``tags``, ``n_notes``, filtered.

    ``rating`` is the least that is shown.

    Raises
    ------
    UsageError
        If no run has the tag, or a state is none that runs have.
    """
    for state in states:
        if state not in STATES:
            raise UsageError(f"no run is ever {state!r}", hint=suggestion(state, STATES, "states of runs"))
    known = said.read_all(layout)
    nothing = said.Annotation()
    if tag is not None and all(tag not in found.tags for found in known.values()):
        tags = sorted({name for found in known.values() for name in found.tags})
        raise UsageError(f"no run has the tag {tag!r}", hint=f"there are {', '.join(tags) or 'no tags'}")
    shown = []
    for row in rows:
        found = known.get(row["run"], nothing)
        if tag is not None and tag not in found.tags:
            continue
        if rating is not None and (found.rating is None or found.rating < rating):
            continue
        if states and row["state"] not in states:
            continue
        shown.append({**row, **_short(found)})
    return shown


def _short(found: said.Annotation) -> Mapping[str, Any]:
    return {
        "title": found.title,
        "rating": found.rating,
        "tags": list(found.tags),
        "n_notes": len(found.notes),
    }
