"""How a file was made, and how two runs differ. Reads small text files (and ``meta.h5`` for metrics) only."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from staproj.engine import digest, provenance
from staproj.engine.view import View
from staproj.errors import ProjectError, StaprojError, UsageError
from staproj.project import index, reading, runs
from staproj.project.fingerprints import sha256_file
from staproj.project.layout import RUN_NAME, RunDir, find_root


def locate(path: Path) -> tuple[Path, RunDir, str | None]:
    """Return project, run and (below ``out/``) relative name of a file anywhere in a project.

    A path below a run need not exist: its record may still speak of it.

    Raises
    ------
    UsageError
        If the path does not exist or is not part of a run.
    """
    absolute = Path(os.path.abspath(path))
    if not absolute.exists():
        absolute = Path(os.path.realpath(path))
    run_is_there = any(
        p.parent.name == "runs" and RUN_NAME.match(p.name) and p.is_dir() for p in absolute.parents
    )
    if not absolute.exists() and not run_is_there:
        raise UsageError(
            "there is no such file", where=str(path), hint="give a file below runs/*/out, or a run"
        )
    for candidate in (absolute, Path(os.path.realpath(absolute))):
        for parent in (candidate, *candidate.parents):
            if parent.parent.name == "runs" and RUN_NAME.match(parent.name):
                root = find_root(parent.parent.parent)
                inside = candidate.relative_to(parent).parts
                return root, RunDir(parent), "/".join(inside[1:]) if inside[:1] == ("out",) else None
    try:
        find_root(absolute if absolute.is_dir() else absolute.parent)
    except ProjectError:
        raise UsageError(
            "this file lies in no staproj project, so nothing is known of how it was made",
            where=str(absolute),
            hint="name a project with -C DIR: raw data, and copies of its files, are known by it",
        ) from None
    raise UsageError(
        "no run made this file, and none reads it",
        where=str(path),
        hint="give a file below runs/*/out, raw data that an import has read, or a run like r0007",
    )


def with_content(view: View, path: Path) -> list[dict[str, Any]]:
    """Return the outputs of all runs that have the same bytes as a file, newest first: run, file, head.

    An output of which the file is a hard link comes before all. The file is read only where an output of
    its size is on record.
    """
    try:
        wanted = os.stat(path).st_size  # noqa: PTH116 - twin of the reads below
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", where=str(path)) from None
    mark, digest_, found = f'"size": {wanted},'.encode(), "", []
    for name in sorted(view.layout.iter_runs(), reverse=True):
        run = view.layout.run(name)
        try:
            text = reading.read_bytes(run.outputs)
            if mark not in text or not run.is_sealed():
                continue
            digest_ = digest_ or sha256_file(path)
            if digest_.encode() not in text:
                continue
            listed = view.outputs(name.id)["files"]
        except (OSError, StaprojError):
            continue
        head = view.heads.get(name.step) == name.id
        found += [
            {"run": name.id, "step": name.step, "head": head, "file": entry["path"]}
            for entry in listed
            if entry["size"] == wanted and entry["sha256"] == digest_
        ]
    return sorted(found, key=lambda use: not _is_linked(view.run(use["run"]).out / use["file"], path))


def _is_linked(output: Path, path: Path) -> bool:
    """Tell whether a file is another name of an output (a hard link), not only of the same bytes."""
    try:
        return os.path.samestat(reading.stat_regular(output), path.stat())
    except OSError:
        return False


def changed_since(view: View, run: RunDir, file: str | None) -> bool | None:
    """Tell whether an output is not what its run sealed (``None``: not an output, or gone).

    Its bytes are read only where size and time differ from the record.
    """
    listed = next((e for e in _listed(view, run) if e["path"] == file), None)
    path = run.out / (file or "")
    if listed is None:
        return None
    try:
        stat = reading.stat_regular(path)
    except OSError:
        return None
    if stat.st_size != listed["size"]:
        return True
    return stat.st_mtime_ns != listed["mtime_ns"] and sha256_file(path) != listed["sha256"]


def _listed(view: View, run: RunDir) -> list[dict[str, Any]]:
    return list(view.outputs(run.id)["files"]) if run.is_sealed() else []


def readers_of(view: View, path: Path) -> list[dict[str, Any]]:
    """Return the runs that read a file of raw data, newest first: run, step, head, fingerprint."""
    wanted = {os.path.abspath(path), os.path.realpath(path)}
    names = {json.dumps(os.path.basename(name), ensure_ascii=False)[1:-1].encode() for name in wanted}  # noqa: PTH119
    found = []
    for row in reversed(index.rows(view.layout)):
        if row.stage is not None and not row.reads_raw:
            continue
        name = view.run(row.run).name
        try:
            text = reading.read_bytes(view.layout.run(name).spec)
            if not any(part in text for part in names):
                continue
            spec = view.spec(name.id)
        except (OSError, StaprojError):
            continue
        for entry in spec["data"].values():
            for stored, fingerprint in entry["files"]:
                if str(view.layout.absolute(stored)) in wanted:
                    head = view.heads.get(name.step) == name.id
                    found.append(
                        {"run": name.id, "step": name.step, "head": head, "fingerprint": fingerprint}
                    )
    return found


def lineage(view: View, run: str, file: str | None = None) -> dict[str, Any]:
    """Return the chain of runs behind a run (or one file of it), newest first, down to the raw data.

    ``{"file", "run", "item", "artifact", "chain": [{"run", "step", "stage", "params", "inputs", …}],
    "raw": [{"path", "fingerprint"}], "environments": {name: ...}, "absent": [...]}``. ``absent`` are runs
    whose records are gone; each node names its environment (packages, machine, devices).
    """
    start = view.run(run)
    item = _item_of(view, start, file)
    order: dict[str, dict[str, Any]] = {}
    absent: list[str] = []
    waiting = [start.id]
    while waiting:
        current = waiting.pop(0)
        if current in order or current in absent:
            continue
        try:
            order[current] = node = describe(view, current, item)
        except StaprojError:
            if current == start.id:
                raise
            absent.append(current)
            continue
        waiting += [use["run"] for use in node["inputs"].values()]
    chain = sorted(order.values(), key=lambda node: int(str(node["run"])[1:]), reverse=True)
    raw: dict[str, str] = {}
    environments: dict[str, Any] = {}
    for node in chain:
        for found in node.pop("data_files"):
            raw[found[0]] = found[1]
        directory = view.run(str(node["run"]))
        node["environment"] = provenance.share(environments, provenance.environment(directory))
        event = runs.state_of(directory).event
        node |= {key: event.get(key) for key in ("wall_s", "cpu_s", "peak_rss_bytes")}
    return {
        "file": f"{start.path.name}/out/{file}" if file else None,
        "run": start.id,
        "state": runs.state_of(start).state,
        "item": item,
        "artifact": _artifact_of(view, start, file),
        "changed": changed_since(view, start, file),
        "chain": chain,
        "raw": [{"path": path, "fingerprint": value} for path, value in sorted(raw.items())],
        "environments": environments,
        "absent": absent,
    }


def describe(view: View, run: str, item: str | None = None) -> dict[str, Any]:
    """Return what one run was made from."""
    spec = view.spec(run)
    params = dict(spec["params"])
    if item is not None:
        params.update(spec["item_params"].get(item, {}))
    inputs = {}
    for port, use in spec["inputs"].items():
        one = (
            use["digest"].get(item) if isinstance(use["digest"], Mapping) and item in use["digest"] else None
        )
        inputs[port] = {"run": use["run"], "step": use["step"], "port": use["port"], "kind": use["kind"]}
        inputs[port]["digest"] = one or (
            digest.digest_of(use["digest"]) if isinstance(use["digest"], Mapping) else use["digest"]
        )
    return {
        "run": spec["run"],
        "uuid": spec.get("uuid"),
        "step": spec["step"],
        "stage": spec["stage"],
        "created": spec["created"],
        "who": spec["who"],
        "command": spec["command"],
        "note": spec["note"],
        "key": spec["key"],
        "cache_version": spec["cache_version"],
        "software": spec["software"],
        "items": spec["items"],
        "reused_from": _reused_from(view, run, item),
        "params": params,
        "item_params": spec["item_params"] if item is None else {},
        "inputs": inputs,
        "data": {pattern: found.get("digest") for pattern, found in spec["data"].items()},
        "data_files": [file for found in spec["data"].values() for file in found["files"]],
    }


def diff(view: View, old: str, new: str) -> dict[str, Any]:
    """Return what differs between two runs: parameters (with layer), inputs, data, software, metrics."""
    first, second = view.run(old), view.run(new)
    a, b = view.spec(first.id), view.spec(second.id)
    return {
        "runs": [first.id, second.id],
        "steps": [a["step"], b["step"]],
        "stage": _changed({"stage": a["stage"]}, {"stage": b["stage"]}),
        "params": [*_params_diff("", a["params"], b["params"]), *_item_params_diff(a, b)],
        "inputs": _inputs_diff(a["inputs"], b["inputs"]),
        "data": _changed(_data(a), _data(b)),
        "items": _changed(dict.fromkeys(a["items"], "made"), dict.fromkeys(b["items"], "made")),
        "software": _changed(
            {**a["software"], "cache_version": a["cache_version"]},
            {**b["software"], "cache_version": b["cache_version"]},
        ),
        "metrics": _metrics_diff(first, second),
        "outputs": _changed(output_digests(view, first), output_digests(view, second)),
    }


def _params_diff(prefix: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name in sorted({*a, *b}):
        old, new = a.get(name), b.get(name)
        if (old or {}).get("value") != (new or {}).get("value") or (old is None) != (new is None):
            entry = {"field": prefix + name, "old": (old or {}).get("value"), "new": (new or {}).get("value")}
            entry |= {"old_layer": (old or {}).get("layer"), "new_layer": (new or {}).get("layer")}
            found.append(entry)
    return found


def _item_params_diff(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Compare what holds for each item; what differs for all of them was said already."""
    found = []
    for item in sorted({*a["item_params"], *b["item_params"]}):
        own = {*a["item_params"].get(item, {}), *b["item_params"].get(item, {})}
        first = {**a["params"], **a["item_params"].get(item, {})}
        second = {**b["params"], **b["item_params"].get(item, {})}
        found += _params_diff(
            f"{item}.",
            {k: v for k, v in first.items() if k in own},
            {k: v for k, v in second.items() if k in own},
        )
    return found


def _inputs_diff(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for port in sorted({*a, *b}):
        old, new = a.get(port), b.get(port)
        if (old or {}).get("digest") != (new or {}).get("digest"):
            found.append({"field": port, "old": _source(old), "new": _source(new)})
    return found


def _source(use: Mapping[str, Any] | None) -> str | None:
    return f"{use['run']}.{use['port']}" if use else None


def _data(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {pattern: found.get("digest") for pattern, found in spec["data"].items()}


def _changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = sorted({*a, *b})
    return [{"field": n, "old": a.get(n), "new": b.get(n)} for n in names if a.get(n) != b.get(n)]


def _metrics_diff(first: RunDir, second: RunDir) -> list[dict[str, Any]]:
    return _changed(metrics(first), metrics(second))


def metrics(run: RunDir) -> dict[str, float]:
    """Return the numbers of a sealed run, ``{"TS_01.mean": value}``."""
    if not run.is_sealed():
        return {}
    from staproj.project.record import read_run

    found = {}
    for item, part in read_run(run.record).items.items():
        for name, value in part.metrics.items():
            found[f"{item}.{name}" if item else name] = value
    return found


def output_digests(view: View, run: RunDir) -> dict[str, Any]:
    """Return the digests of the outputs of a sealed run, ``{"TS_01.map": digest}``."""
    if not run.is_sealed():
        return {}
    found: dict[str, Any] = {}
    for port, entry in view.outputs(run.id)["artifacts"].items():
        if "items" in entry:
            found.update({f"{item}.{port}": part["digest"] for item, part in entry["items"].items()})
        else:
            found[port] = entry["digest"]
    return found


def _item_of(view: View, run: RunDir, file: str | None) -> str | None:
    """Return the tilt series a file below ``out/`` belongs to."""
    if not file or not run.is_sealed():
        return None
    first = file.split("/", 1)[0]
    items = {i for entry in view.outputs(run.id)["artifacts"].values() for i in entry.get("items", {})}
    return first if first in items else None


def _artifact_of(view: View, run: RunDir, file: str | None) -> dict[str, Any] | None:
    """Return which output a file is (``None`` for a file beside the artifacts)."""
    if not file or not run.is_sealed():
        return None
    listed = next((e for e in view.outputs(run.id)["files"] if e["path"] == file), None)
    for port, entry in view.outputs(run.id)["artifacts"].items():
        for part in entry["items"].values() if "items" in entry else [entry]:
            refers = part.get("refers")
            if part["file"] == file or (isinstance(refers, list) and file in refers):
                return {"port": port, "kind": entry["kind"], "sha256": (listed or {}).get("sha256")}
    return {"port": None, "kind": None, "sha256": listed["sha256"]} if listed else None


def _reused_from(view: View, run: str, item: str | None) -> Any:
    """Return the run that really computed this item, or ``{item: run}`` for those taken over."""
    from staproj.project.atomic import read_json

    directory = view.run(run)
    names = [item] if item else [*view.spec(run)["items"]] or [None]
    found = {}
    for name in names:
        try:
            origin = read_json(directory.item_done(name)).get("reused_from")
        except StaprojError:
            continue
        if origin:
            found[name or ""] = origin
    return (found.get(item) if item else found) or None
