"""Rows and lines of the screen of one run, from the plain values of the API."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from staproj.report.runs import SHORT, families, said_lines, value_text, when
from staproj.report.tables import duration, number, size
from staproj.tui import look as looks
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Cell, Column, Row

VALUE_COLUMNS = (
    Column(" ", 1),
    Column("parameter", most=26),
    Column("value", most=18),
    Column("unit", most=6),
    Column("default", most=12),
    Column("from", most=12),
    Column("before", flex=True),
)
FILE_COLUMNS = (
    Column("what", most=22),
    Column("size", 8, right=True, sort=lambda data: data.get("size")),
    Column("class", most=12),
    Column("digest", SHORT),
    Column("file, or where it comes from", flex=True),
)
ITEM_COLUMNS = (
    Column(" ", 1),
    Column("tilt series", most=20),
    Column("state", most=9),
    Column("took", most=12, right=True, sort=lambda data: data.get("wall_s")),
    Column("memory", 8, right=True, sort=lambda data: data.get("peak_rss_bytes")),
    Column("how it went", flex=True),
)
CURVE_COLUMNS = (Column("curve", flex=True),)
PICTURE_COLUMNS = (Column("picture", flex=True),)


def summary_lines(told: Mapping[str, Any], look: Look) -> list[Any]:
    """Return what a person wants to know first: how it went, numbers, warnings, what people said."""
    sign, style = look.state(told["state"])
    lines: list[Any] = [
        (f"{sign} {told['run']} of step {told['step']} (stage {told['stage']}): {told['state']}", style),
        f"made {when(told['created'])} by {told['who']} in {duration(told['wall_s'])}",
    ]
    if told["note"]:
        lines.append(f"note: {told['note']}")
    lines += [line.strip() for line in said_lines(told.get("said") or {})]
    if told.get("error"):
        lines += ["", (f"failed: {told['error']['message']}", looks.BAD)]
        lines += [(f"  {item}: {text}", looks.BAD) for item, text in (told["error"]["items"] or {}).items()]
    for item, result in told["results"].items():
        lines += ["", *_result_lines(item, result, look)]
    return lines


def _result_lines(item: str, result: Mapping[str, Any], look: Look) -> list[Any]:
    head = f"{item}: " if item else ""
    words = head + (result.get("verdict") or "no verdict")
    lines: list[Any] = [(words, looks.BOLD)]
    if result.get("warning"):
        lines = [(f"{look.sign('warning')} {words}", looks.WARN)]
    lines += [(f"  instead of what was asked: {text}", looks.WARN) for text in result.get("fallbacks") or []]
    units = result.get("units", {})
    metrics = result.get("metrics", {})
    width = max((len(name) for name in metrics), default=0)
    lines += [f"  {n.ljust(width)}  {number(v)} {units.get(n, '')}".rstrip() for n, v in metrics.items()]
    for kind in ("curves", "tables", "previews"):
        if result.get(kind):
            lines.append((f"  {kind}: {', '.join(families(result[kind]))}", looks.DIM))
    return lines


def value_rows(
    told: Mapping[str, Any], stage: Mapping[str, Any], before: Mapping[str, Any] | None, look: Look
) -> list[Row]:
    """Return a row a parameter; ``before`` is what is known of the previous run (``None``: there is none)."""
    old = (before or {}).get("params", {})
    rows = []
    for name, entry in told["params"].items():
        schema = stage.get("params", {}).get(name, {})
        rows.append(_value_row(name, name, entry, old.get(name), schema, before is not None, look))
    for item, entries in (told.get("item_params") or {}).items():
        earlier = ((before or {}).get("item_params") or {}).get(item, {})
        for name, entry in entries.items():
            schema = stage.get("params", {}).get(name, {})
            label = f"{item}.{name}"
            was = earlier.get(name) or old.get(name)
            rows.append(_value_row(label, name, entry, was, schema, before is not None, look))
    return rows


def _value_row(
    label: str,
    name: str,
    entry: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    schema: Mapping[str, Any],
    has_before: bool,
    look: Look,
) -> Row:
    value, default = entry.get("value"), schema.get("default")
    differs = has_before and (old is None or old.get("value") != value)
    unit = unit_shown(schema)
    style = looks.WARN if differs else looks.PLAIN
    before = "" if not differs else "(not there)" if old is None else value_text(old.get("value"))
    cells: tuple[Cell, ...] = (
        (look.sign("differs") if differs else " ", looks.WARN),
        (label, style),
        (value_text(value), looks.BOLD if entry.get("layer") != "default" else looks.PLAIN),
        unit,
        (value_text(default), looks.DIM),
        entry.get("layer") or "",
        (before, looks.WARN),
    )
    return Row(
        label, cells, {"name": name, "help": schema.get("description", ""), "value": value, "unit": unit}
    )


def unit_shown(schema: Mapping[str, Any]) -> str:
    """Return the unit of a parameter as it is shown."""
    from staproj.units import Unit

    name = schema.get("unit")
    return Unit[name].value if isinstance(name, str) and name in Unit.__members__ else ""


def file_rows(told: Mapping[str, Any]) -> list[Row]:
    """Return inputs, raw data and outputs with digests and sizes."""
    rows = []
    for port, use in told["inputs"].items():
        digests = use["digest"] if isinstance(use["digest"], dict) else {"": use["digest"]}
        for item, value in digests.items():
            name = f"in: {port}" + (f" {item}" if item else "")
            source = f"{use['run']} ({use['step']}.{use['port']})"
            cells: tuple[Cell, ...] = (name, "", use["kind"], _short(value), source)
            rows.append(Row(f"in:{port}:{item}", cells, {"run": use["run"], "digest": value}))
    for pattern, digest in (told["data"] or {}).items():
        cells = ("in: raw data", "", "raw", _short(digest), pattern)
        rows.append(Row(f"raw:{pattern}", cells, {"digest": digest, "pattern": pattern}))
    for entry in told.get("files") or ():
        gone = " (deleted in a clean-up)" if entry.get("cleared") else ""
        cells = (
            "out",
            size(entry["size"]),
            entry.get("class") or "final",
            _short(entry["sha256"]),
            entry["path"] + gone,
        )
        rows.append(Row(f"out:{entry['path']}", cells, dict(entry)))
    return rows


def _short(digest: Any) -> str:
    return str(digest or "").rpartition(":")[2][:SHORT]


def file_lines(row: Row, directory: str) -> list[str]:
    """Return everything about one line of the list of files."""
    data = row.data
    if row.key.startswith("out:"):
        return [
            f"file    {directory}/out/{data['path']}",
            f"size    {data['size']} bytes ({size(data['size'])})",
            f"class   {data.get('class') or 'final'}",
            f"sha256  {data['sha256']}",
            *(["deleted in a clean-up; it is made again when it is needed"] if data.get("cleared") else []),
        ]
    lines = [f"digest  {data.get('digest')}"]
    if data.get("run"):
        lines.append(f"made by {data['run']}")
    if data.get("pattern"):
        lines += [
            f"pattern {data['pattern']}",
            "the tab record lists what each step read (staproj show --provenance)",
        ]
    return lines


def item_rows(
    told: Mapping[str, Any], items: Sequence[str], beat: Mapping[str, Any] | None, look: Look
) -> list[Row]:
    """Return a row a tilt series (or one for all): done, failed, at work or to do."""
    failed = ((told.get("error") or {}).get("items")) or {}
    rows = []
    for item in items or [""]:
        result = told["results"].get(item)
        if result is not None:
            state, words = "done", result.get("verdict") or ""
            if result.get("reused_from"):
                words = f"taken over from {result['reused_from']}: {words}"
        elif item in failed:
            state, words = "failed", str(failed[item])
        elif beat and beat.get("item") == (item or None) and told["state"] == "running":
            state = "running"
            share = beat["done"] / beat["total"] if beat.get("total") else 0.0
            words = f"{look.bar(share, 10)} {share:.0%} {beat.get('message') or ''}"
        else:
            state, words = "to do" if told["state"] in ("running", "queued") else "not made", ""
        sign, style = look.state(state)
        result = result or {}
        memory = result.get("peak_rss_bytes")
        cells: tuple[Cell, ...] = (
            (look.sign("warning") if result.get("warning") else sign, style),
            item or "(all together)",
            (state, style),
            duration(result["wall_s"]) if result.get("wall_s") is not None else "",
            size(memory) if memory else "",
            words,
        )
        rows.append(Row(item, cells, {"item": item, **result}))
    return rows


def curve_rows(found: Iterable[Mapping[str, Any]], look: Look) -> list[Row]:
    """Return a row a curve; those of several tilt series carry its name."""
    rows = []
    for entry in found:
        item = f"{entry['item']} " if entry["item"] else ""
        style = looks.PLAIN if entry["source"] == "curve" else looks.DIM
        cells: tuple[Cell, ...] = ((f"{item}{entry['name']}", style),)
        rows.append(Row(json.dumps([entry["item"], entry["name"]]), cells, dict(entry)))
    return rows


def picture_rows(found: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return a row a picture or volume."""
    rows = []
    for entry in found:
        item = f"{entry['item']} " if entry.get("item") else ""
        rows.append(
            Row(json.dumps([entry.get("item"), entry["name"]]), (f"{item}{entry['name']}",), dict(entry))
        )
    return rows


def log_of(lines: Iterable[str], item: str | None) -> list[str]:
    """Return the lines of a log that speak of one tilt series (``None``: all).

    >>> log_of(["02:04:25  r0008 ctf begins", "02:04:25 TS_01  begins", "02:04:27 TS_02  begins"], "TS_02")
    ['02:04:27 TS_02  begins']
    """
    if not item:
        return list(lines)
    return [line for line in lines if line[9:].split("  ", 1)[0] == item]
