"""The list of runs, from the index: loads none of the engine, for people look at it often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from staproj.project import index, versions
from staproj.project.layout import Layout


def run_list(layout: Layout, step: str | None = None) -> list[dict[str, Any]]:
    """Return all runs, newest first; no run that is at its end is opened.

    Raises
    ------
    UsageError
        If there is no such step.
    """
    rows = index.rows(layout)
    heads = current_heads(layout, rows)
    if step is not None:
        rows = [row for row in rows if row.step == step]
        if not rows:
            _check_step(layout, step)
    return [
        {
            "run": row.run,
            "step": row.step,
            "head": row.run in heads,
            "state": row.state,
            "stage": row.stage,
            "created": row.created,
            "who": row.who,
            "note": row.note,
            "items": row.items,
            "wall_s": row.wall_s,
            "bytes": row.total_bytes,
            "verdict": row.verdict,
        }
        for row in reversed(rows)
    ]


def current_heads(layout: Layout, rows: Sequence[index.Row]) -> set[str]:
    """Return the runs that stand for their steps, as :func:`versions.current_heads` does, from rows."""
    version = versions.latest(layout)
    heads = dict(version.heads) if version else {}
    for row in rows:
        if row.state == "sealed" and versions.is_after(version, row.number):
            heads[row.step] = row.run
    return set(heads.values())


def _check_step(layout: Layout, step: str) -> None:
    from staproj.api.listing import head_or_run
    from staproj.engine.view import View

    view = View.open(layout.root)
    if step not in view.graph.nodes:
        head_or_run(view, step)
