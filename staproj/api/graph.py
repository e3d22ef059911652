"""What a run was made from and what was made from it: from the index of runs, so that it is quick.

Only the record of the run itself and of those made directly from it are opened, for the names of the inputs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from staproj.api.run_list import current_heads
from staproj.errors import StaprojError, UsageError
from staproj.project import index, reading
from staproj.project.layout import Layout, RunDir, find_root

MOST_OPENED = 200
"""Of more runs than this that were made from one, the names of the inputs are not looked up."""


def graph(root: Path, step_or_run: str) -> dict[str, Any]:
    """Return a run (of a step: its head, else its newest) with all runs before and after it.

    Returns
    -------
    dict
        ``{"run", "step", "stage", "state", "head", "created", "who", "verdict", "wall_s", "bytes",
        "reads_raw", "parents": [{"run", "port", "step", "state", "head", "verdict"}], "children": [...],
        "nodes": {run: {..., "parents": [run], "children": [run]}}}``. ``nodes`` holds everything that the run
        depends on and everything that depends on it. ``port`` is the input through which the younger run
        takes the older one ("" where it is not looked up); a run that takes several outputs of another
        stands once for each. Runs whose records are gone have the state "gone".

    Raises
    ------
    UsageError
        If there is no such run, or the step was never run.
    """
    layout = Layout(root)
    rows = {row.run: row for row in index.rows(layout)}
    run = _run_of(layout, step_or_run, rows)
    parents = {name: _older(row) for name, row in rows.items()}
    children: dict[str, list[str]] = {}
    for name, own in parents.items():
        for parent in own:
            children.setdefault(parent, []).append(name)
    heads = current_heads(layout, [*rows.values()])
    reached = [run, *_reached(run, parents), *_reached(run, children)]
    nodes = {
        name: {
            **_node(name, rows.get(name), heads),
            "parents": parents.get(name, []),
            "children": children.get(name, []),
        }
        for name in reached
    }
    after = children.get(run, [])
    opened = after if len(after) <= MOST_OPENED else []
    ports = {name: _ports(layout, rows[name]) for name in [run, *opened] if name in rows}
    return {
        **_node(run, rows[run], heads),
        "parents": [
            {**_short(nodes[name]), "port": port}
            for name in parents[run]
            for port in _between(ports.get(run, {}), name)
        ],
        "children": [
            {**_short(nodes[name]), "port": port}
            for name in after
            for port in _between(ports.get(name, {}), run)
        ],
        "nodes": nodes,
    }


def asked(root: Path, path_or_run: str) -> dict[str, Any]:
    """Say how a file (any path), run or step was made, and which run of *this* project that is.

    As :func:`staproj.api.provenance.what_made`, with ``here``: the run in this project to look at (of raw
    data the newest that read it, a head first), or ``None`` where all of it happened in another project.
    """
    from staproj.api.provenance import what_made

    told = what_made(path_or_run, root)
    here = told.get("run")
    if told.get("raw_data"):
        readers = sorted(told["read_by"], key=lambda use: not use["head"])
        here = readers[0]["run"] if readers else None
    elif told.get("source") == "sidecar":
        from staproj.project import manifest

        uuid = manifest.load(Layout(root).manifest).uuid
        here = here if uuid and (told.get("project") or {}).get("uuid") == uuid else None
    elif told.get("source") == "run" and told.get("file"):
        path = Path(path_or_run)
        home = find_root(Path(os.path.realpath(path)).parent) if path.exists() else root
        here = here if os.path.realpath(home) == os.path.realpath(root) else None
    return {**told, "here": here}


def facts(root: Path, run: str) -> dict[str, Any]:
    """Return what its record says of a run: parameters that are no defaults, inputs, raw data, files.

    ``{"run", "directory", "stage", "command", "note", "params": {name: {"value", "layer"}}, "inputs":
    {port: {"run", "port", "kind"}}, "data": {pattern: number of files}, "files": [{"path", "size", "class",
    "sha256", "cleared"}]}``; empty where the record is gone. Neither outputs nor tables are opened.
    """
    from staproj.project.cleared import cleared_paths

    layout = Layout(root)
    directory = layout.find_run(run)
    spec = _object(directory.spec)
    found: dict[str, Any] = {key: spec.get(key) for key in ("stage", "command", "note")}
    own = _tables(spec.get("params"))
    items = spec.get("item_params")
    for item, entries in (items if isinstance(items, dict) else {}).items():
        own |= {f"{item}.{name}": entry for name, entry in _tables(entries).items()}
    listed = _object(directory.outputs).get("files") if directory.is_sealed() else []
    try:
        cleared = set(cleared_paths(directory))
    except StaprojError:
        cleared = set()
    return {
        **found,
        "run": directory.id,
        "directory": layout.relative(directory.path),
        "params": {name: entry for name, entry in own.items() if entry.get("layer") != "default"},
        "inputs": {
            port: {key: use.get(key) for key in ("run", "port", "kind")}
            for port, use in _tables(spec.get("inputs")).items()
        },
        "data": {pattern: len(use.get("files") or ()) for pattern, use in _tables(spec.get("data")).items()},
        "files": [
            {**entry, "cleared": entry.get("path") in cleared and not _is_there(directory, entry)}
            for entry in (listed if isinstance(listed, list) else [])
            if isinstance(entry, dict) and isinstance(entry.get("path"), str)
        ],
    }


def _is_there(run: RunDir, entry: Mapping[str, Any]) -> bool:
    return (run.out / str(entry["path"])).is_file()


def _run_of(layout: Layout, text: str, rows: Mapping[str, index.Row]) -> str:
    """Return the run that a text names: itself, or of a step its head, else its newest run; "": the last."""
    if not text:
        if not rows:
            raise UsageError("nothing was run yet", hint="`staproj run` makes what the manifest says")
        return next((name for name in reversed([*rows]) if rows[name].state == "sealed"), [*rows][-1])
    short = text.partition("-")[0]
    if short in rows and text in (short, rows[short].directory):
        return short
    own = [name for name, row in rows.items() if row.step == text]
    if own:
        heads = current_heads(layout, [*rows.values()])
        return next((name for name in own if name in heads), own[-1])
    from staproj.api.listing import head_or_run
    from staproj.engine.view import View

    found = head_or_run(View.open(layout.root), text)  # says what is wrong with the name
    if found not in rows:
        raise UsageError(f"there is no run {text!r}", hint="`staproj ls` lists all")
    return found


def _older(row: index.Row) -> list[str]:
    """Return what a run was made from; a record that names itself or younger runs is damaged there."""
    own, long = row.run, len(row.run)
    found = [name for name in row.parents if len(name) < long or (len(name) == long and name < own)]
    return list(dict.fromkeys(found)) if len(found) > 1 else found


def _reached(start: str, links: Mapping[str, Sequence[str]]) -> list[str]:
    seen: dict[str, None] = {}
    waiting = list(links.get(start, ()))
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen[name] = None
            waiting += links.get(name, ())
    return list(seen)


def _node(name: str, row: index.Row | None, heads: set[str]) -> dict[str, Any]:
    if row is None:
        return {
            "run": name, "step": "", "stage": None, "state": "gone", "head": False, "created": None,
            "who": None, "verdict": "its record is gone", "wall_s": None, "bytes": 0, "reads_raw": False,
        }  # fmt: skip
    return {
        "run": row.run,
        "step": row.step,
        "stage": row.stage,
        "state": row.state,
        "head": row.run in heads,
        "created": row.created,
        "who": row.who,
        "verdict": row.verdict,
        "wall_s": row.wall_s,
        "bytes": row.total_bytes,
        "reads_raw": row.reads_raw,
    }


def _short(node: Mapping[str, Any]) -> dict[str, Any]:
    return {key: node[key] for key in ("run", "step", "state", "head", "verdict")}


def _ports(layout: Layout, row: index.Row) -> dict[str, list[str]]:
    """Return ``{run: the inputs that come from it}`` of one run."""
    found: dict[str, list[str]] = {}
    for port, use in _tables(_object(RunDir(layout.runs / row.directory).spec).get("inputs")).items():
        found.setdefault(str(use.get("run")), []).append(port)
    return found


def _between(ports: Mapping[str, list[str]], run: str) -> Iterable[str]:
    return ports.get(run) or [""]


def _tables(value: Any) -> dict[str, dict[str, Any]]:
    """Return the tables of a table (what is something else is left out)."""
    if not isinstance(value, dict):
        return {}
    return {str(name): entry for name, entry in value.items() if isinstance(entry, dict)}


def _object(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty where there is none that can be read."""
    try:
        value = reading.parse_json(reading.read_bytes(path))
    except (OSError, ValueError, RecursionError, StaprojError):
        return {}
    return value if isinstance(value, dict) else {}
