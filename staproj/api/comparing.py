"""Runs beside each other for whoever looks at them: what differs, how each went, curves that all have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from staproj.errors import StaprojError

GROUPS = ("stage", "params", "inputs", "data", "items", "software", "metrics", "outputs")
FSC_LEVEL = 0.143


def comparison(root: Path, runs: Sequence[str]) -> dict[str, Any]:
    """Return two or more runs side by side (of a step: its head).

    Returns
    -------
    dict
        ``{"runs": [{"run", "step", "stage", "state", "verdict", "title", "created", "results": {tilt series:
        {"verdict", "warning"}}}], "rows": [{"group", "field", "values", "layers"}], "curves": [{"name",
        "item", "source", "x_label", "y_label", "resolution_angstrom"}]}``. ``rows`` hold what is not the
        same in all, ``layers`` (of parameters) where each value comes from. ``curves`` are those that all
        runs have, FSC first with the resolution of each run at 0.143 in Å (of other curves ``None``).
    """
    from staproj.api import Project

    project = Project(root)
    found = project.diff(*runs)
    names = found["runs"]
    listed = {row["run"]: row for row in project.ls() if row["run"] in names}
    told = []
    for name, step in zip(names, found["steps"], strict=True):
        row = listed.get(name, {})
        results = project.show(name)["results"]
        told.append(
            {
                "run": name,
                "step": step,
                **{key: row.get(key) for key in ("stage", "state", "verdict", "title", "created")},
                "results": {
                    item: {key: result.get(key) for key in ("verdict", "warning")}
                    for item, result in results.items()
                },
            }
        )
    rows = found["rows"] if "rows" in found else _rows_of_two(found)
    return {"runs": told, "rows": rows, "curves": shared_curves(root, names)}


def _rows_of_two(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for group in GROUPS:
        for entry in found[group]:
            row = {"group": group, "field": entry["field"], "values": [entry["old"], entry["new"]]}
            if group == "params":
                row["layers"] = [entry["old_layer"], entry["new_layer"]]
            rows.append(row)
    return rows


def shared_curves(root: Path, runs: Sequence[str]) -> list[dict[str, Any]]:
    """Return the curves that all runs have under the same name (none where one is not complete)."""
    from staproj.api import drawings
    from staproj.engine import compare
    from staproj.engine.view import View

    try:
        lists = [drawings.listing(root, run) for run in runs]
    except StaprojError:
        return []
    others = [{(one["name"], one["item"]) for one in found} for found in lists[1:]]
    resolutions = {
        (curve["curve"], curve["item"]): [line["resolution_angstrom"] for line in curve["lines"]]
        for curve in compare.curves_of(View.open(root), list(runs))
    }
    found = [
        {
            **{key: one[key] for key in ("name", "item", "source", "x_label", "y_label")},
            "resolution_angstrom": resolutions.get((one["name"], one["item"])),
        }
        for one in lists[0]
        if all((one["name"], one["item"]) in there for there in others)
    ]
    return sorted(found, key=lambda one: (one["resolution_angstrom"] is None, one["name"] != "fsc"))


def overlaid(root: Path, runs: Sequence[str], name: str, item: str | None = None) -> dict[str, Any]:
    """Return one of :func:`shared_curves` of each run.

    ``{"name", "item", "x_label", "y_label", "level", "equal", "lines": [{"run", "x", "y",
    "resolution_angstrom"}]}``.
    """
    from staproj.api import drawings
    from staproj.engine.compare import resolution

    parts = [drawings.curve(root, run, name, item) for run in runs]
    is_fsc = parts[0]["level"] == FSC_LEVEL
    lines = [
        {
            "run": run,
            "x": part["x"],
            "y": part["y"],
            "resolution_angstrom": resolution(part["x"], part["y"]) if is_fsc else None,
        }
        for run, part in zip(runs, parts, strict=True)
    ]
    return {
        **{key: parts[0][key] for key in ("name", "item", "x_label", "y_label", "level")},
        "equal": all(_same(line[axis], lines[0][axis]) for line in lines for axis in ("x", "y")),
        "lines": lines,
    }


def _same(a: Sequence[float], b: Sequence[float]) -> bool:
    """Tell whether values are the same; a gap is the same as a gap."""
    return len(a) == len(b) and all(p == q or (p != p and q != q) for p, q in zip(a, b, strict=True))  # noqa: PLR0124
