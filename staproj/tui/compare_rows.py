"""Rows of runs side by side, from the plain values of the API: no widgets, no files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.runs import value_text, when
from staproj.report.tables import number, unit_of
from staproj.tui import look as looks
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Cell, Column, Row

TABS = ("parameters", "metrics", "curves", "inputs", "verdicts")
GROUPS = {
    "parameters": ("params",),
    "metrics": ("metrics",),
    "inputs": ("stage", "inputs", "data", "items", "outputs", "software"),
}
EMPTY = {
    "parameters": "no parameter differs",
    "metrics": "no number differs",
    "inputs": "inputs, raw data, outputs and software are the same",
}
CURVE_COLUMNS = (Column("curve that all have", flex=True),)


def columns(tab: str, runs: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Return the columns of a tab: what it is, the value of each run, and for numbers how they differ."""
    named = [Column(f"{run['run']} {run['step']}", flex=True) for run in runs]
    first = {"parameters": "parameter", "metrics": "number", "inputs": "what"}[tab]
    found = [Column(first, most=34 if len(runs) == 2 else 30), *named]
    if tab == "metrics" and len(runs) == 2:
        found += [Column("difference", most=12, right=True), Column("relative", most=10, right=True)]
    return found


def value_rows(tab: str, found: Mapping[str, Any]) -> list[Row]:
    """Return what differs of one kind, a line each."""
    rows = []
    for row in found["rows"]:
        if row["group"] not in GROUPS[tab]:
            continue
        field = row["field"] if tab != "inputs" else f"{row['group']}: {row['field']}".removeprefix("stage: ")
        layers = row.get("layers") or [None] * len(row["values"])
        if tab == "metrics":
            cells = [field, *_numbers(row["field"], row["values"])]
        else:
            cells = [field, *map(_value, row["values"], layers)]
        rows.append(Row(f"{row['group']}:{row['field']}", tuple(cells), row))
    return rows


def _value(value: Any, layer: str | None) -> Cell:
    if value is None and layer is None:
        return ("-", looks.DIM)
    return value_text(value) + (f" ({layer})" if layer else "")


def _numbers(name: str, values: Sequence[Any]) -> list[Cell]:
    """Return numbers side by side; of two what the second has more, of several in percent of the first."""
    unit = unit_of(name)
    unit = f" {unit}" if unit else ""
    shown: list[Cell] = [f"{number(v)}{unit}" if v is not None else ("-", looks.DIM) for v in values]
    first = values[0]
    if len(values) == 2:
        return [*shown, *difference(first, values[1])]
    parts: list[Cell] = [shown[0]]
    for value, cell in zip(values[1:], shown[1:], strict=True):
        more = difference(first, value)[1]
        parts.append(f"{cell} ({more})" if isinstance(cell, str) and more else cell)
    return parts


def difference(old: Any, new: Any) -> tuple[str, str]:
    """Return how much more ``new`` is, and in percent of ``old``; empty where that is no number.

    >>> difference(12.5, 13.0), difference(0.0, 1.0), difference(None, 3.0), difference(2, 1)
    (('+0.5', '+4 %'), ('+1', ''), ('', ''), ('-1', '-50 %'))
    """
    if not (_is_number(old) and _is_number(new)):
        return "", ""
    by = float(new) - float(old)
    sign = "+" if by > 0 else ""
    share = ""
    if old != 0 and math.isfinite(by / abs(old)):
        share = f"{by / abs(old) * 100:+.3g} %"
    return f"{sign}{number(by)}", share


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def curve_rows(found: Mapping[str, Any]) -> list[Row]:
    """Return the curves that all runs have; of an FSC the resolution of each run."""
    rows = []
    for one in found["curves"]:
        name = f"{one['item']} {one['name']}" if one["item"] else one["name"]
        values = one["resolution_angstrom"]
        told = "  " + " | ".join(number(value) for value in values) + " Å" if values else ""
        rows.append(Row(f"{one['item'] or ''}:{one['name']}", (name + told,), one))
    return rows


def plot_lines(curve: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return curves for a plot, each named after its run, with its resolution."""
    lines = []
    for line in curve["lines"]:
        name = line["run"]
        if line["resolution_angstrom"] is not None:
            name += f"  {number(line['resolution_angstrom'])} Å at {curve['level']}"
        lines.append({"name": name, "x": line["x"], "y": line["y"]})
    return lines


def plot_title(curve: Mapping[str, Any]) -> str:
    """Return what a plot shows."""
    name = f"{curve['item']} {curve['name']}" if curve["item"] else curve["name"]
    return f"{name}: the same in all" if curve["equal"] else name


def verdict_lines(found: Mapping[str, Any], look: Look) -> list[Any]:
    """Return how each run went."""
    lines: list[Any] = []
    for run in found["runs"]:
        sign, style = look.state(run["state"] or "")
        lines += [""] if lines else []
        lines.append(
            (f"{sign} {run['run']} {run['step']}: {run['state']}, made {when(run['created'])}", style)
        )
        lines += [f"  title: {run['title']}"] if run["title"] else []
        lines += [f"  {run['verdict']}"] if run["verdict"] else []
        results = run["results"]
        if len(results) > 1 or any(results):
            for item, result in results.items():
                words = f"  {item + ': ' if item else ''}{result['verdict'] or 'no verdict'}"
                if result["warning"]:
                    lines.append((f"{look.sign('warning')}{words[1:]}", looks.WARN))
                else:
                    lines.append(words)
    return lines


def value_lines(row: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], about: str = "") -> list[Any]:
    """Return one line of a comparison in full: whole values, one below the other."""
    layers = row.get("layers") or [None] * len(row["values"])
    lines: list[Any] = [(f"{row['group']}: {row['field']}", looks.BOLD)]
    lines += [about] if about else []
    for run, value, layer in zip(runs, row["values"], layers, strict=True):
        text = value if isinstance(value, str) else number(value)
        lines += ["", f"{run['run']} {run['step']}" + (f", from {layer}" if layer else ""), f"  {text}"]
    return lines


def in_short(found: Mapping[str, Any]) -> str:
    """Return how much differs, in a few words."""
    groups = [row["group"] for row in found["rows"]]
    if not groups:
        return "nothing differs"
    parts = []
    for words, group in (("parameter", "params"), ("input", "inputs"), ("number", "metrics")):
        count = groups.count(group)
        parts += [f"{count} {words}{'s' * (count != 1)}"] if count else []
    if not parts:
        return "only " + ", ".join(dict.fromkeys(group for group in groups)) + " differ"
    is_one = len(parts) == 1 and parts[0].startswith("1 ")
    return ", ".join(parts) + (" differs" if is_one else " differ")
