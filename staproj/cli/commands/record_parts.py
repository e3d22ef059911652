"""Curves and tables of a run, in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from staproj.api import Project
from staproj.cli import output
from staproj.errors import UsageError
from staproj.report.plots import plot
from staproj.report.runs import families
from staproj.report.tables import table as as_table

MAX_ROWS = 60


def show_part(
    project: Project, run: str, *, curve: str | None, table: str | None, item: str | None, as_json: bool
) -> None:
    """Print one curve or table of a run, of one tilt series or of all that have it."""
    record = project.record(run)
    data: dict[str, Any] = {}
    lines: list[str] = []
    check_item(item, record.items)
    parts = {name: part for name, part in record.items.items() if item is None or name == item}
    for name, part in parts.items():
        if curve is not None and curve in part.curves:
            found = part.curves[curve]
            data[name or ""] = {
                "x": found.x,
                "y": found.y,
                "x_label": found.x_label,
                "y_label": found.y_label,
            }
            lines += [f"{record.run} {name or record.step}: {curve}"]
            lines += [*plot(list(found.x), list(found.y), x_label=found.x_label, y_label=found.y_label), ""]
        if table is not None and table in part.tables:
            columns = {key: values.tolist() for key, values in part.tables[table].items()}
            data[name or ""] = columns
            lines += [
                f"{record.run} {name or record.step}: {table}. {part.table_docs.get(table, '')}".rstrip()
            ]
            lines += _rows(columns)
    if not data:
        kind, wanted = ("curve", curve) if curve else ("table", table)
        has = sorted({n for p in parts.values() for n in (p.curves if curve else p.tables)})
        raise UsageError(
            f"{record.run} has no {kind} {wanted!r}" + (f" for {item!r}" if item else ""),
            hint=f"it has {', '.join(families(has))}" if has else f"this run has no {kind}s",
        )
    output.emit({"run": record.run, "curve": curve, "table": table, "items": data}, lines, as_json=as_json)


def check_item(item: str | None, known: Iterable[str | None]) -> None:
    """Refuse a tilt series that a run does not have, naming those it has."""
    names = [name for name in known if name]
    if item is not None and item not in names:
        hint = f"it has {', '.join(names)}" if names else "it was made once for all tilt series"
        raise UsageError(f"this run has no tilt series {item!r}", where="--item", hint=hint)


def _rows(columns: dict[str, list[Any]]) -> list[str]:
    rows = list(zip(*columns.values(), strict=True))
    lines = as_table(list(columns), rows[:MAX_ROWS])
    if len(rows) > MAX_ROWS:
        lines.append(f"... {len(rows) - MAX_ROWS} more rows; --json prints all")
    return [*lines, ""]
