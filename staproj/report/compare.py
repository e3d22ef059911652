"""Runs and variants beside each other as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.plots import overlay
from staproj.report.runs import MARK, clip, value_text
from staproj.report.tables import number, table

GROUPS = ("stage", "params", "inputs", "data", "items", "software", "metrics", "outputs")
THRESHOLD = 0.143
WIDEST = 28
MOST_METRICS = 6


def diff_lines(diff: Mapping[str, Any]) -> list[str]:
    """Return what differs between runs, group by group, and their FSC curves over each other."""
    if "rows" in diff:
        lines = _several(diff)
    else:
        old, new = diff["runs"]
        lines = [f"{old} ({diff['steps'][0]}) -> {new} ({diff['steps'][1]})"]
        for group in GROUPS:
            rows = []
            for entry in diff[group]:
                values = [_with_layer(entry[side], entry.get(f"{side}_layer")) for side in ("old", "new")]
                rows.append([entry["field"], *values])
            lines += ["", group, *table(["", old, new], rows, indent=2)] if rows else []
    curves = diff.get("curves", [])
    for curve in [one for one in curves if not one["fsc"]] or curves[:1]:
        lines += ["", *curve_lines(curve)]
    lines += resolution_rows([one for one in curves if one["fsc"]][1:])
    return lines if len(lines) > 1 else [*lines, "no difference"]


def _several(diff: Mapping[str, Any]) -> list[str]:
    names = [f"{run} ({step})" for run, step in zip(diff["runs"], diff["steps"], strict=True)]
    lines = ["  ".join(names)]
    for group in GROUPS:
        rows = [
            [row["field"], *map(_with_layer, row["values"], row.get("layers") or [None] * len(row["values"]))]
            for row in diff["rows"]
            if row["group"] == group
        ]
        lines += ["", group, *table(["", *diff["runs"]], rows, indent=2)] if rows else []
    return lines


def _with_layer(value: Any, layer: str | None) -> str:
    return clip(value_text(value), WIDEST) + (f" ({layer})" if layer else "")


def curve_lines(curve: Mapping[str, Any], *, width: int = 64) -> list[str]:
    """Return one curve of several runs, drawn over each other, with the resolution of each at 0.143."""
    lines = []
    for line in curve["lines"]:
        name = str(line.get("variant") or line["run"])
        if line.get("variant"):
            name += f" ({line['run']})"
        if line["resolution_angstrom"] is not None:
            name += f"  {number(line['resolution_angstrom'])} Å at {THRESHOLD}"
        lines.append((name, line["x"], line["y"]))
    title = ".".join(str(part) for part in (curve.get("step"), curve["item"], curve["curve"]) if part)
    level = THRESHOLD if curve["fsc"] else None
    labels = {"x_label": curve["x_label"], "y_label": curve["y_label"]}
    return [title, *overlay(lines, **labels, level=level, width=width)]


def resolution_rows(curves: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return further FSC curves in one line each: the resolution of every run."""
    rows = []
    for curve in curves:
        title = ".".join(str(part) for part in (curve.get("step"), curve["item"], curve["curve"]) if part)
        rows.append([title, *(f"{number(line['resolution_angstrom'])} Å" for line in curve["lines"])])
    if not rows:
        return []
    header = [f"at {THRESHOLD}", *(str(line.get("variant") or line["run"]) for line in curves[0]["lines"])]
    return ["", *table(header, [row for row in rows if len(row) == len(header)], indent=2)]


def variant_rows(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the list of variants: how each differs, and its steps with their states."""
    if not variants:
        return ["no variants; `staproj rerun STEP --set PARAM=VALUE,VALUE` makes some"]
    lines: list[str] = []
    for one in variants:
        values = ", ".join(f"{key} = {value_text(value)}" for key, value in one["values"].items())
        lines.append(f"{one['variant']}  of {one['of']}: {values or 'no difference'}")
        rows = [[MARK.get(s["state"], " "), s["step"], s["state"], s["run"] or "-"] for s in one["steps"]]
        lines += table(["", "step", "state", "run"], rows, indent=2)[1:]
    return lines


def made_lines(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return which variants were written."""
    rows = []
    for one in variants:
        values = ", ".join(f"{key} = {value_text(value)}" for key, value in one["values"].items())
        rows.append([one["variant"], values, f"{len(one['steps'])} steps", "" if one["new"] else "was there"])
    return table(["variant", "", "", ""], rows)[1:]


def compare_lines(found: Mapping[str, Any]) -> list[str]:
    """Return variants side by side: values, state, key numbers, verdicts, and the last FSC curve of each."""
    rows = found["rows"]
    keys = list(dict.fromkeys(key for row in rows for key in row["values"]))
    names = key_metrics(rows)
    lines = [f"variants of {found['of']}"]
    body = []
    for row in rows:
        values = [clip(value_text(row["values"].get(key)), WIDEST) for key in keys]
        numbers = [number(row["metrics"].get(name)) for name in names]
        body.append([row["variant"], row["state"], *values, *numbers])
    lines += table(["variant", "state", *_short_names(keys), *_short_names(names)], body)
    lines += ["", *(f"{row['variant']}: {clip(row['verdict'], 100)}" for row in rows if row["verdict"])]
    drawn = [curve for curve in found["curves"] if curve["curve"] == "fsc"] or found["curves"]
    for curve in drawn[-1:]:
        lines += ["", *curve_lines(curve)]
    return lines


def key_metrics(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the numbers worth a column: the last resolution first, then what differs between variants."""
    names = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    resolutions = [name for name in names if name.endswith(".resolution_angstrom")]
    differing = [n for n in names if len({row["metrics"].get(n) for row in rows}) > 1]
    first = [*resolutions[-1:], *(name for name in resolutions[:-1] if name in differing)]
    return [*first, *(name for name in differing if name not in first)][:MOST_METRICS]


def _short_names(names: Sequence[str]) -> list[str]:
    """Return names without their step where they stay different."""
    short = [name.rpartition(".")[2] for name in names]
    return [one if short.count(one) == 1 else name for one, name in zip(short, names, strict=True)]
