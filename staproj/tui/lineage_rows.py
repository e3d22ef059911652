"""Rows of the lineage of a run, from the plain values of the API: no widgets, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.graph import connections, direct, tree, upwards
from staproj.report.runs import SHORT, value_text, when
from staproj.report.tables import duration, size
from staproj.tui import look as looks
from staproj.tui.gather import short_size
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Cell, Column, Row

RUN, FILE, RAW, PART = "run:", "file:", "raw:", "part:"
COLUMNS = (Column("", 1), Column("", flex=True))


def lineage_rows(graph: Mapping[str, Any], files: Sequence[Mapping[str, Any]], look: Look) -> list[Row]:
    """Return what a run was made from (oldest first), the run, what was made from it, and its files."""
    above = upwards(tree(graph["nodes"], graph["run"], "parents"))
    below = tree(graph["nodes"], graph["run"], "children")
    nodes, middle = graph["nodes"], graph["run"]
    near = direct(graph)
    width = max(
        len(_name(drawn, nodes[run], look)) for drawn, run in [*above, ("", middle), *below]
    )  # all names end in the same column

    def line(drawn: str, run: str) -> Row:
        sign, style = look.state(nodes[run]["state"])
        text = f"{_name(drawn, nodes[run], look).ljust(width)}  {connections(graph, run, near)}".rstrip()
        cell: Cell = text if run in near else (text, looks.DIM)
        return Row(RUN + run, ((sign, style), cell), nodes[run], search=str(nodes[run]["verdict"]))

    rows = [
        _part("up", f"made from: {_count(len(above))}" if above else "made from nothing but raw data", look)
    ]
    for drawn, run in above:
        rows += [_raw(run, look)] if nodes[run]["reads_raw"] else []
        rows.append(line(drawn, run))
    rows += [_raw(middle, look)] if graph["reads_raw"] else []
    sign, style = look.state(graph["state"])
    words = f"{_name('', nodes[middle], look).ljust(width)}  {look.sign('arrow')} {graph['verdict']}"
    rows.append(Row(RUN + middle, ((sign, style), (words.rstrip(), looks.BOLD)), nodes[middle]))
    rows.append(
        _part("down", f"made from it: {_count(len(below))}" if below else "nothing was made from it", look)
    )
    rows += [line(drawn, run) for drawn, run in below]
    told = f"its files: {len(files)}" if files else "it has no files"
    rows.append(_part("files", told, look))
    return rows + [_file(entry) for entry in files]


def _count(number: int) -> str:
    return f"{number} runs" if number != 1 else "1 run"


def _part(name: str, words: str, look: Look) -> Row:
    return Row(PART + name, ("", (f"{look.sign('rule') * 2} {words}", looks.BOLD)), {"part": name})


def _name(drawn: str, node: Mapping[str, Any], look: Look) -> str:
    tree_part = drawn if look.unicode else drawn.translate(_PLAIN)
    star = look.sign("head") if node["head"] else " "
    return f"{tree_part}{node['run']} {star} {node['step']}"


_PLAIN = str.maketrans({"├": "|", "└": "`", "┌": ",", "─": "-", "│": "|"})


def _raw(run: str, look: Look) -> Row:
    return Row(RAW + run, ("", (f"raw data, read by {run}", looks.DIM)), {"run": run})


def _file(entry: Mapping[str, Any]) -> Row:
    n_bytes = entry.get("size")
    told = short_size(n_bytes if isinstance(n_bytes, int | float) else None).rjust(4)
    kind = str(entry.get("class") or "final")
    gone = "  deleted in a clean-up" if entry.get("cleared") else ""
    return Row(FILE + entry["path"], ("", f"{told}  {entry['path']}  {kind}{gone}"), dict(entry))


def run_details(
    node: Mapping[str, Any], graph: Mapping[str, Any], facts: Mapping[str, Any] | None
) -> list[Any]:
    """Return what one wants to know of a run under the cursor."""
    head = ", stands for the step" if node["head"] else ""
    stage = f" (stage {node['stage']})" if node["stage"] and node["stage"] != node["step"] else ""
    lines: list[Any] = [(f"{node['run']} of {node['step'] or '?'}{stage}: {node['state']}{head}", looks.BOLD)]
    lines += [node["verdict"]] if node["verdict"] else []
    how = connections(graph, node["run"])
    how = how.replace("used by", "it is used by").replace("takes it", f"takes {graph['run']}")
    lines += [how] if how else []
    if facts is not None:
        lines += [
            f"{port}: {use['run']}.{use['port']}" + (f" ({use['kind']})" if use.get("kind") else "")
            for port, use in facts["inputs"].items()
        ]
        lines += [
            f"raw data: {pattern} ({count} file{'s' * (count != 1)})"
            for pattern, count in facts["data"].items()
        ]
        own = facts["params"]
        lines += [f"{name} = {value_text(e.get('value'))}  ({e.get('layer')})" for name, e in own.items()]
        lines += [] if own else [("all values are defaults", looks.DIM)]
    if node["created"]:
        took = f" in {duration(node['wall_s'])}" if node["wall_s"] is not None else ""
        lines.append((f"made {when(node['created'])} by {node['who'] or '?'}{took}", looks.DIM))
    return lines


def file_details(entry: Mapping[str, Any], directory: str) -> list[Any]:
    """Return what is on record of one output."""
    n_bytes = entry.get("size")
    exact = f"{n_bytes} bytes ({size(n_bytes)})" if isinstance(n_bytes, int) else "?"
    lines: list[Any] = [
        (f"{directory}/out/{entry['path']}", looks.BOLD),
        f"size    {exact}",
        f"digest  {entry.get('sha256') or '-'}",
        f"class   {entry.get('class') or 'final'}",
    ]
    if entry.get("cleared"):
        lines.append("deleted in a clean-up; `staproj restore` brings it back or makes it again")
    return lines


def file_in_short(entry: Mapping[str, Any], directory: str) -> list[Any]:
    """Return the record of a file in few lines."""
    digest = str(entry.get("sha256") or "").rpartition(":")[2][:SHORT]
    first, *rest = file_details(entry, directory)
    return [first, f"{rest[0]}, {rest[2]}", f"digest  {digest}...", *rest[3:]]


def pasted(text: str) -> str:
    """Return a path as it was meant: without quotes, ``file://`` and spaces around it.

    >>> pasted(" 'runs/r0008-ctf/out/a b.h5' "), pasted("file:///data/a%20b.mrc")
    ('runs/r0008-ctf/out/a b.h5', '/data/a b.mrc')
    """
    from pathlib import Path
    from urllib.parse import unquote

    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if text.startswith("file://"):
        text = unquote(text.removeprefix("file://"))
    return str(Path(text).expanduser()) if text.startswith("~") else text
