"""How runs differ: what two of them were made from and came to, tables of several, curves over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staproj.engine import lineage
from staproj.engine.view import View
from staproj.errors import StaprojError, UsageError

FSC_THRESHOLD = 0.143
_FREQUENCY = "frequency_per_angstrom"
GROUPS = ("stage", "params", "inputs", "data", "items", "software", "metrics", "outputs")


def diff(view: View, runs: Sequence[str], *, curve: str | None = None) -> dict[str, Any]:
    """Return what differs between runs, and nothing that is the same.

    Two runs: ``{"runs", "steps", "stage", "params", …}``, each group a list of ``{"field", "old", "new"}``.
    More: ``{"runs", "steps", "rows": [{"group", "field", "values", "layers"}]}``. ``curves`` holds FSC curves
    that all have under the same name (or those called ``curve``), see :func:`curves_of`.

    Raises
    ------
    UsageError
        If not all runs have a curve of that name.
    """
    names = [view.run(run).id for run in runs]
    if len(names) == 2:
        found = lineage.diff(view, *names)
    else:
        found = {"runs": names, "steps": [str(view.spec(run)["step"]) for run in names]}
        found["rows"] = _rows([_fields(view, run) for run in names])
    shared = curves_of(view, names, name=curve)
    if curve is not None and not shared:
        raise UsageError(
            f"{', '.join(names)} do not all have a curve {curve!r}",
            hint=f"`staproj show {names[0]} --metrics` lists the curves of a run",
        )
    found["curves"] = [one for one in shared if curve is not None or not one["equal"]]
    return found


def curves_of(view: View, runs: Sequence[str], *, name: str | None = None) -> list[dict[str, Any]]:
    """Return the curves that all runs have under the same name: FSC curves, or those called ``name``.

    Each is ``{"curve", "item", "x_label", "y_label", "equal", "lines": [{"run", "x", "y",
    "resolution_angstrom"}]}``; the resolution is where an FSC first falls below 0.143, in Å.
    """
    records = [_curves(view, run) for run in runs]
    if not records or not all(records):
        return []
    shared = [key for key in records[0] if all(key in record for record in records)]
    found = []
    for key in shared:
        item, curve = key
        parts = [record[key] for record in records]
        is_fsc = parts[0].x_label == _FREQUENCY and "fsc" in curve
        if (name is None and not is_fsc) or (name is not None and curve != name):
            continue
        lines = [
            {
                "run": run,
                "x": [float(v) for v in part.x],
                "y": [float(v) for v in part.y],
                "resolution_angstrom": resolution(part.x, part.y) if is_fsc else None,
            }
            for run, part in zip(runs, parts, strict=True)
        ]
        equal = all(line["x"] == lines[0]["x"] and line["y"] == lines[0]["y"] for line in lines)
        labels = {"x_label": parts[0].x_label, "y_label": parts[0].y_label}
        found.append({"curve": curve, "item": item, **labels, "fsc": is_fsc, "equal": equal, "lines": lines})
    return sorted(found, key=lambda entry: (entry["curve"] != "fsc", entry["curve"], entry["item"] or ""))


def resolution(x: Any, y: Any) -> float | None:
    """Return 1/frequency (Å) of the last point before an FSC first falls below 0.143."""
    from staproj.kernels.fsc import first_shell_below

    last = min(first_shell_below(y, FSC_THRESHOLD), len(x)) - 1
    return float(1.0 / x[last]) if last > 0 and x[last] > 0 else None


def agreement(curve: Mapping[str, Any]) -> dict[str, Any]:
    """Return how well the first two lines of a curve agree: correlation and largest difference."""
    import numpy as np

    first, second = curve["lines"][:2]
    x = np.asarray(first["x"])
    inside = (x >= min(second["x"])) & (x <= max(second["x"]))
    one = np.asarray(first["y"])[inside]
    other = np.interp(x[inside], second["x"], second["y"])
    told: dict[str, Any] = {"curve": curve["curve"], "item": curve["item"], "correlation": None}
    if len(one) > 1 and one.std() > 0 and other.std() > 0:
        told["correlation"] = float(np.corrcoef(one, other)[0, 1])
    told["largest_difference"] = float(np.abs(one - other).max()) if len(one) else None
    told["resolution_angstrom"] = [line["resolution_angstrom"] for line in curve["lines"]]
    return told


def metrics_of(view: View, run: str) -> dict[str, float]:
    """Return the numbers of a run; of several tilt series their mean."""
    from staproj.project.record import read_run

    directory = view.run(run)
    if not directory.is_sealed():
        return {}
    values: dict[str, list[float]] = {}
    for part in read_run(directory.record).items.values():
        for name, value in part.metrics.items():
            values.setdefault(name, []).append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def _curves(view: View, run: str) -> dict[tuple[str | None, str], Any]:
    """Return ``{(item, name): curve}`` of a sealed run; none where its record cannot be read."""
    from staproj.project.record import read_run

    directory = view.run(run)
    if not directory.is_sealed():
        return {}
    try:
        record = read_run(directory.record)
    except StaprojError:
        return {}
    return {(item, name): curve for item, part in record.items.items() for name, curve in part.curves.items()}


def _fields(view: View, run: str) -> dict[tuple[str, str], tuple[Any, str | None]]:
    """Return ``{(group, field): (value, layer)}`` of one run."""
    spec, directory = view.spec(run), view.run(run)
    found: dict[tuple[str, str], tuple[Any, str | None]] = {("stage", "stage"): (spec["stage"], None)}
    for name, entry in spec["params"].items():
        found["params", name] = (entry.get("value"), entry["layer"])
    for item, table in spec["item_params"].items():
        for name, entry in table.items():
            found["params", f"{item}.{name}"] = (entry.get("value"), entry.get("layer"))
    for port, use in spec["inputs"].items():
        found["inputs", port] = (use["digest"], f"{use['run']}.{use['port']}")
    for pattern, data in spec["data"].items():
        found["data", pattern] = (data.get("digest"), None)
    for item in spec["items"]:
        found["items", item] = ("made", None)
    for name, value in {**spec["software"], "cache_version": spec["cache_version"]}.items():
        found["software", name] = (value, None)
    for name, value in lineage.metrics(directory).items():
        found["metrics", name] = (value, None)
    for name, value in lineage.output_digests(view, directory).items():
        found["outputs", name] = (value, None)
    return found


def _rows(tables: Sequence[Mapping[tuple[str, str], tuple[Any, str | None]]]) -> list[dict[str, Any]]:
    """Return the fields that are not the same in all tables; inputs are shown as the runs they come from."""
    keys = dict.fromkeys(key for table in tables for key in table)
    rows = []
    for key in sorted(keys, key=lambda k: (GROUPS.index(k[0]), k[1])):
        entries = [table.get(key, (None, None)) for table in tables]
        if all(entry[0] == entries[0][0] for entry in entries):
            continue
        layers = [entry[1] for entry in entries]
        values = layers if key[0] == "inputs" else [entry[0] for entry in entries]
        row = {"group": key[0], "field": key[1], "values": values}
        rows.append(row | ({"layers": layers} if key[0] == "params" else {}))
    return rows
