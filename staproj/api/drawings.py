"""Everything of a run that can be drawn as a curve: recorded curves, columns of tables, what particles say.

Names: ``fsc`` (a recorded curve), ``views.defocus_u_um`` (a column of a table, over tilt where the table has
it), ``particles.lean`` (drawn from particles that the run put out). Plain values come out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.errors import StaprojError, UsageError
from staproj.project.manifest import suggestion

if TYPE_CHECKING:
    from staproj.project.record import RunRecord

MOST_POINTS = 20_000
BIN_DEG = 5.0
PARTICLES = "particles"
_OVER = ("tilt_deg", "stage_tilt_deg", "view", "round", "frame")
"""Columns that others are drawn over, the first one a table has."""


def listing(root: Path, run: str) -> list[dict[str, Any]]:
    """Return ``{"name", "item", "source", "x_label", "y_label", "n"}`` of all that can be drawn.

    ``source``: "curve", "table" or "particles"; ``run`` is a run or a step (its head).

    Raises
    ------
    UsageError
        If the run is not complete.
    """
    from staproj.api import Project

    project = Project(root)
    record = project.record(run)
    found = [*_curves(record), *_columns(record)]
    for port in _particle_ports(project, record.run):
        found += [
            {
                "name": f"{port}.{name}",
                "item": None,
                "source": PARTICLES,
                "x_label": x_label,
                "y_label": "count",
                "n": 0,
            }
            for name, x_label in (("lean", "lean_deg"), ("azimuth", "azimuth_deg"), ("score", "score"))
        ]
    return found


def curve(root: Path, run: str, name: str, item: str | None = None) -> dict[str, Any]:
    """Return ``{"name", "item", "x", "y", "x_label", "y_label", "level"}`` of one of :func:`listing`.

    ``level`` is a line to compare with (0.143 for an FSC), or ``None``.

    Raises
    ------
    UsageError
        If the run has nothing of that name.
    """
    from staproj.api import Project

    project = Project(root)
    record = project.record(run)
    part = record.items.get(item) if item in record.items else None
    if part is not None and name in part.curves:
        found = part.curves[name]
        level = 0.143 if name.startswith("fsc") and found.x_label.endswith("per_angstrom") else None
        return _drawn(name, item, found.x, found.y, found.x_label, found.y_label, level)
    table, _, column = name.partition(".")
    if part is not None and column in part.tables.get(table, {}):
        columns = part.tables[table]
        over = _over(columns)
        x = columns[over] if over else range(len(columns[column]))
        return _drawn(name, item, x, columns[column], over or "row", column, None)
    if table in _particle_ports(project, record.run):
        return _of_particles(project.artifact(record.run, table), table, column)
    known = sorted({entry["name"] for entry in listing(root, run)})
    raise UsageError(
        f"{record.run} has no curve {name!r}" + (f" for {item!r}" if item else ""),
        hint=suggestion(name, known, "curves"),
    )


def every(root: Path, run: str, name: str, item: str | None = None) -> list[dict[str, Any]]:
    """Return the curves of one name, of one tilt series or of all that have it (none: an empty list)."""
    found = [entry for entry in listing(root, run) if entry["name"] == name and item in (None, entry["item"])]
    return [curve(root, run, name, entry["item"]) for entry in found]


def _curves(record: RunRecord) -> Iterator[dict[str, Any]]:
    for item, part in record.items.items():
        for name, found in part.curves.items():
            yield {
                "name": name,
                "item": item,
                "source": "curve",
                "x_label": found.x_label,
                "y_label": found.y_label,
                "n": len(found.x),
            }


def _columns(record: RunRecord) -> Iterator[dict[str, Any]]:
    for item, part in record.items.items():
        for table, columns in part.tables.items():
            over = _over(columns)
            for column, values in columns.items():
                drawable = values.dtype.kind in "fiu" and len(values) > 1 and not column.endswith("_id")
                if column == over or not drawable:
                    continue
                yield {
                    "name": f"{table}.{column}",
                    "item": item,
                    "source": "table",
                    "x_label": over or "row",
                    "y_label": column,
                    "n": len(values),
                }


def _over(columns: Any) -> str | None:
    return next((name for name in _OVER if name in columns and columns[name].dtype.kind in "fiu"), None)


def _particle_ports(project: Any, run: str) -> list[str]:
    from staproj.engine.view import View

    try:
        artifacts = View.open(project.root).outputs(run)["artifacts"]
    except StaprojError:
        return []
    return [port for port, entry in artifacts.items() if entry.get("kind") == PARTICLES]


def _of_particles(loaded: Any, port: str, column: str) -> dict[str, Any]:
    """Return a histogram over all particles of an output.

    ``lean`` is the angle between the symmetry axis and the axis z of the tomogram (along the beam at tilt 0),
    ``azimuth`` its direction in the plane from +x towards +y; a gap says that views are missing.
    """
    import numpy as np

    sets = [*loaded.values()] if isinstance(loaded, dict) else [loaded]
    if column == "score":
        scores = np.concatenate([part.score for part in sets])
        scores = scores[np.isfinite(scores)]
        counts, edges = np.histogram(scores, bins=60) if len(scores) else (np.zeros(0), np.zeros(1))
    else:
        axis = np.concatenate([part.rot_tomo_from_ref[:, :, 2] for part in sets])
        if column == "lean":
            values, span = np.degrees(np.arccos(np.clip(axis[:, 2], -1, 1))), (0.0, 180.0)
        elif column == "azimuth":
            values, span = np.degrees(np.arctan2(axis[:, 1], axis[:, 0])), (-180.0, 180.0)
        else:
            raise UsageError(f"particles have no {column!r} to draw", hint="use lean, azimuth or score")
        counts, edges = np.histogram(values, bins=int((span[1] - span[0]) / BIN_DEG), range=span)
    middle = (edges[1:] + edges[:-1]) / 2
    label = column if column == "score" else f"{column}_deg"
    return _drawn(f"{port}.{column}", None, middle, counts, label, "count", None)


def _drawn(
    name: str, item: str | None, x: Any, y: Any, x_label: str, y_label: str, level: float | None
) -> dict[str, Any]:
    step = max(1, -(-len(y) // MOST_POINTS))
    return {
        "name": name,
        "item": item,
        "x": [float(v) for v in x[::step]],
        "y": [float(v) for v in y[::step]],
        "x_label": x_label,
        "y_label": y_label,
        "level": level,
    }
