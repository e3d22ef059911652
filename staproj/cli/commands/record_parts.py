"""Curves, tables and pictures of a run, in the terminal."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from staproj.api import Project, drawings
from staproj.cli import output
from staproj.errors import UsageError
from staproj.report.plots import plot
from staproj.report.runs import families
from staproj.report.tables import table as as_table

MAX_ROWS = 60
FINE_PX = 512
ROWS_OF_WORDS = 4


def show_part(
    project: Project, run: str, *, curve: str | None, table: str | None, item: str | None, as_json: bool
) -> None:
    """Print one curve or table of a run, of one tilt series or of all that have it."""
    record = project.record(run)
    check_item(item, record.items)
    data: dict[str, Any] = {}
    lines: list[str] = []
    if curve is not None:
        found = drawings.every(project.root, record.run, curve, item)
        data, lines = _curves(record.run, record.step, curve, found)
    parts = {name: part for name, part in record.items.items() if item is None or name == item}
    for name, part in parts.items():
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
        more = (
            "; also columns of its tables, as TABLE.COLUMN"
            if curve and any(p.tables for p in parts.values())
            else ""
        )
        raise UsageError(
            f"{record.run} has no {kind} {wanted!r}" + (f" for {item!r}" if item else ""),
            hint=(f"it has {', '.join(families(has))}" if has else f"this run has no {kind}s") + more,
        )
    output.emit({"run": record.run, "curve": curve, "table": table, "items": data}, lines, as_json=as_json)


def _curves(
    run: str, step: str, name: str, found: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Any], list[str]]:
    """Return curves of one name as data and as drawings."""
    data: dict[str, Any] = {}
    lines: list[str] = []
    for one in found:
        data[one["item"] or ""] = {key: one[key] for key in ("x", "y", "x_label", "y_label")}
        lines += [f"{run} {one['item'] or step}: {name}"]
        lines += [*plot(one["x"], one["y"], x_label=one["x_label"], y_label=one["y_label"]), ""]
    return data, lines


def list_pictures(project: Project, run: str, *, item: str | None, as_json: bool) -> None:
    """Print what can be drawn with ``--picture``."""
    from staproj.api import pictures
    from staproj.report.pictures import listing_lines

    rows = pictures.listing(project.root, run)
    check_item(item, dict.fromkeys(row["item"] for row in rows))
    rows = [row for row in rows if item is None or row["item"] in (None, item)]
    output.emit(rows, listing_lines(run, rows), as_json=as_json, fit=True)


def show_picture(
    project: Project, run: str, name: str, which: Mapping[str, Any], *, style: str, as_json: bool
) -> None:
    """Draw a picture; JSON has it as a PNG file in base64 beside all that is known of it."""
    from staproj.api import pictures
    from staproj.report import pictures as report

    if style == "auto":
        style = report.best_style(os.environ, terminal=output.is_terminal(), has_unicode=output.has_unicode())
    columns, rows = shutil.get_terminal_size()
    rows = max(rows - ROWS_OF_WORDS, 1)
    told = pictures.picture(project.root, run, name, max_px=FINE_PX, **which)
    if not as_json and style not in ("sixel", "kitty"):  # greys for what the cells can show
        height, width = told["pixels"].shape
        longest = max(report.shown_px(width, height, columns, rows))
        told = pictures.picture(project.root, run, name, max_px=min(longest, FINE_PX), **which)
    pixels = told.pop("pixels")
    if as_json:
        encoded = base64.standard_b64encode(report.png(pixels)).decode()
        output.emit({**told, "png_base64": encoded}, [], as_json=True)
        return
    output.emit(told, report.caption(told), as_json=False, fit=True)
    output.draw(report.drawn(pixels, style, columns, rows))


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
