"""Everything that is on record of runs, gathered for those who pass it on: sidecars, crates, PROV, methods.

Reads the small files of runs only (``spec.json``, ``env.json``, ``state.jsonl``, ``outputs.json``,
``item.json``); no payload, no raw data. A fact that is not on record is ``None``, never guessed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from staproj.engine import digest
from staproj.engine.view import View
from staproj.errors import StaprojError
from staproj.project import atomic, cleared, runs
from staproj.project.layout import RunDir

FINAL_STATES = ("sealed", "failed", "interrupted")


def ancestry(view: View, wanted: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the runs that ``wanted`` depend on, themselves included, oldest first; and those without record.

    An ancestor whose record is gone (a run restored alone from an archive of another make) ends its branch.
    """
    known: set[str] = set()
    absent: set[str] = set()
    waiting = list(wanted)
    while waiting:
        current = waiting.pop()
        if current in known or current in absent:
            continue
        try:
            spec = view.spec(current)
        except StaprojError:
            absent.add(current)
            continue
        known.add(current)
        waiting += [use["run"] for use in spec["inputs"].values()]
    return sorted(known, key=_number), sorted(absent, key=_number)


def facts(view: View, run: str) -> dict[str, Any]:
    """Return all that is on record of one run, as plain values.

    Keys: run, uuid, step, stage, directory, log, state, note, who, command, created, started, ended (UTC, ISO
    8601), verdict, error, key, cache_version, seed, params, item_params, items, inputs, data, software,
    environment, gpus, execution, wall_s, cpu_s, peak_rss_bytes, reused_from, earlier,
    ports, files.
    """
    spec = view.spec(run)
    directory = view.run(run)
    found = runs.state_of(directory)
    event = found.event
    listed = _outputs(view, directory)
    told: dict[str, Any] = {key: spec.get(key) for key in _FROM_SPEC}
    told |= {
        "directory": view.layout.relative(directory.path),
        "log": view.layout.relative(directory.log) if directory.log.is_file() else None,
        "state": found.state,
        "started": iso(found.started),
        "ended": iso(event.get("time")) if found.state in FINAL_STATES else None,
        "verdict": event.get("verdict"),
        "error": event.get("message") if found.state in ("failed", "interrupted") else None,
        "inputs": {port: dict(use) for port, use in spec["inputs"].items()},
        "data": {pattern: dict(entry) for pattern, entry in spec["data"].items()},
        "environment": (env := environment(directory)),
        "gpus": gpu_texts(env),
        "reused_from": reused_items(view, directory),
        "earlier": earlier_attempts(directory),
        "ports": ports(listed),
        "files": _files(directory, listed),
    }
    told |= {key: event.get(key) for key in ("wall_s", "cpu_s", "peak_rss_bytes")}
    return told


_FROM_SPEC = (
    "run", "uuid", "step", "stage", "note", "who", "command", "created", "key", "cache_version", "seed",
    "params", "item_params", "items", "software", "execution",
)  # fmt: skip


def environment(directory: RunDir) -> dict[str, Any]:
    """Return ``env.json``; an empty table where it is missing or damaged."""
    try:
        return dict(atomic.read_json(directory.env))
    except (StaprojError, TypeError, ValueError):
        return {}


def gpus(env: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the GPUs of an environment: uuid, model, driver, memory, visible."""
    found = env.get("gpus")
    return [gpu for gpu in found if isinstance(gpu, dict)] if isinstance(found, list) else []


def gpu_texts(env: Mapping[str, Any]) -> list[str]:
    """Return a line for each GPU that a run could use."""
    lines = []
    for gpu in gpus(env):
        if gpu.get("visible", True):
            words = [gpu.get("model"), gpu.get("uuid"), gpu.get("driver") and f"driver {gpu['driver']}"]
            lines.append(", ".join(str(word) for word in words if word))
    return lines


def share(known: dict[str, Any], env: Mapping[str, Any]) -> str:
    """Put an environment among those that are known, once, and return its name."""
    name = "env-" + digest.digest_of(env)[7:15]
    known[name] = env
    return name


def iso(seconds: Any) -> str | None:
    """Return seconds since 1970 as UTC text."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return None


def reused_items(view: View, directory: RunDir, item: str | None = None) -> dict[str, dict[str, Any]]:
    """Return ``{item: {"run", "wall_s", "cpu_s"}}`` of items that another run computed ("" = the whole)."""
    found: dict[str, dict[str, Any]] = {}
    for name in [item] if item else [*view.spec(directory.id)["items"]] or [None]:
        with suppress(StaprojError):
            entry = atomic.read_json(directory.item_done(name))
            if entry.get("reused_from"):
                found[name or ""] = {
                    "run": str(entry["reused_from"]),
                    "wall_s": entry.get("wall_s"),
                    "cpu_s": entry.get("cpu_s"),
                }
    return found


def earlier_attempts(directory: RunDir) -> dict[str, Any] | None:
    """Return what attempts before the last one took, as far as it is on record; ``None`` for one attempt.

    An attempt that was stopped said how long it took; of one that was cut off, finished items count.
    """
    attempts: list[list[dict[str, Any]]] = []
    for event in atomic.read_lines(directory.state):
        if event.get("event") == "started":
            attempts.append([])
        elif attempts:
            attempts[-1].append(event)
    if len(attempts) < 2:
        return None
    wall = cpu = 0.0
    for events in attempts[:-1]:
        finished = [event for event in events if event.get("event") == "item-finished"]
        last: dict[str, Any] = next(
            (e for e in reversed(events) if e.get("event") in ("failed", "interrupted")), {}
        )
        walls = [last.get("wall_s")] if last.get("wall_s") else [event.get("wall_s") for event in finished]
        wall += sum(float(value or 0.0) for value in walls)
        for event in finished:
            with suppress(StaprojError):
                cpu += float(atomic.read_json(directory.item_done(event.get("item"))).get("cpu_s") or 0.0)
    return {"attempts": len(attempts) - 1, "wall_s": round(wall, 3), "cpu_s": round(cpu, 3)}


def ports(listed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return ``{port: {"kind", "digest", "files"}}`` of a sealed run; paths are relative to ``out/``.

    An artifact file and the files it refers to belong to its port. Runs that did not record what artifacts
    refer to: all other files of the same directory.
    """
    found: dict[str, dict[str, Any]] = {}
    artifacts = listed.get("artifacts", {})
    listed_ = {file["path"] for file in listed.get("files", ())}
    heads = {part["file"] for entry in artifacts.values() for part in _parts(entry)}
    beside: dict[str, list[str]] = {}
    for file in listed.get("files", ()):
        if file["path"] not in heads:
            beside.setdefault(file["path"].rpartition("/")[0], []).append(file["path"])
    for port, entry in artifacts.items():
        names: list[str] = []
        for part in _parts(entry):
            names.append(part["file"])
            refers = part.get("refers")
            known = [name for name in refers if name in listed_] if isinstance(refers, list) else None
            names += beside.get(part["file"].rpartition("/")[0], []) if known is None else known
        digest: Any = entry.get("digest")
        if "items" in entry:
            digest = {item: part["digest"] for item, part in entry["items"].items()}
        found[port] = {"kind": entry["kind"], "digest": digest, "files": [*dict.fromkeys(names)]}
    return found


def _parts(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*entry["items"].values()] if "items" in entry else [entry]


def _outputs(view: View, directory: RunDir) -> dict[str, Any]:
    if not directory.is_sealed():
        return {}
    try:
        return view.outputs(directory.id)
    except StaprojError:
        return {}


def _files(directory: RunDir, listed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the outputs with digest and size; ``cleared`` marks those deleted on purpose."""
    gone = cleared.cleared_paths(directory)
    keep = ("path", "size", "sha256", "class")
    return [
        {**{key: file.get(key) for key in keep}, "cleared": file["path"] in gone}
        for file in listed.get("files", ())
    ]


def raw_data(told: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the raw data that runs read: ``[{"path", "fingerprint"}]``, each file once, by path."""
    found = {
        str(path): str(fingerprint)
        for facts_ in told
        for entry in facts_["data"].values()
        for path, fingerprint in entry["files"]
    }
    return [{"path": path, "fingerprint": value} for path, value in sorted(found.items())]


def cost(told: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum the work behind runs: ``{"runs": [...], "wall_s", "cpu_s", "peak_rss_bytes", "unknown"}``.

    Items taken over from a run that is not among them count with what they took there (``reused``), so that
    nothing counts twice; attempts of a run before its last count too (``earlier``). ``unknown`` names runs
    without times on record.
    """
    told = list(told)
    among = {facts_["run"] for facts_ in told}
    rows: list[dict[str, Any]] = []
    unknown: list[str] = []
    counted: set[tuple[str, str, str]] = set()
    for facts_ in told:
        row = {key: facts_[key] for key in ("run", "step", "stage", "wall_s", "cpu_s", "peak_rss_bytes")}
        row["earlier"] = facts_.get("earlier")
        row["reused"] = []
        if facts_["wall_s"] is None:
            unknown.append(facts_["run"])
        for item, origin in facts_["reused_from"].items():
            key = (origin["run"], facts_["step"], item)
            if origin["run"] not in among and key not in counted:
                counted.add(key)
                row["reused"].append({"item": item or None, **origin})
        rows.append(row)
    parts = [*rows, *(part for row in rows for part in row["reused"])]
    parts += [row["earlier"] for row in rows if row["earlier"]]
    return {
        "runs": rows,
        "wall_s": _total(parts, "wall_s"),
        "cpu_s": _total(parts, "cpu_s"),
        "peak_rss_bytes": max((row["peak_rss_bytes"] or 0 for row in rows), default=0) or None,
        "unknown": unknown,
    }


def _total(parts: Iterable[Mapping[str, Any]], key: str) -> float:
    return round(sum(float(part[key] or 0.0) for part in parts), 3)


def for_export(view: View, told: dict[str, Any], hide: bool = False) -> dict[str, Any]:
    """Return facts fit to leave the project: no path of this machine but those of raw data outside.

    Words of commands and messages that are paths lose their directories. ``hide`` leaves people and machines
    out too, and the directories of raw data.
    """
    if hide:
        told = anonymous(told)
    roots = sorted(
        {str(view.layout.root), os.path.abspath(view.layout.root), os.path.realpath(view.layout.root)}
    )
    home = os.path.expanduser("~")  # noqa: PTH111 - compared as text
    places = [(root, ".") for root in roots[::-1] if len(root) > 1] + ([(home, "~")] if len(home) > 1 else [])
    raw = {pattern for pattern in told["data"] if pattern.startswith("/")}

    def clean(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        for place, short in places:
            text = re.sub(re.escape(place) + r"(?=/|$|[\s'\":,;)])", short, text)
        return text

    command = [word if word in raw else _name_only(clean(word)) for word in told["command"] or []]
    cleaned = {key: clean(told[key]) for key in ("note", "error", "verdict")}
    return {**told, **cleaned, "command": command}


def anonymous(told: dict[str, Any]) -> dict[str, Any]:
    """Return facts without the person and the machine's name; paths outside the project by file name only."""
    env = {
        k: v for k, v in told["environment"].items() if k not in ("host", "user", "scheduler", "environment")
    }
    env["gpus"] = [{k: v for k, v in gpu.items() if k != "uuid"} for gpu in gpus(env)]
    data = {
        _name_only(pattern): {
            **entry,
            "files": [[_name_only(str(path)), value] for path, value in entry["files"]],
        }
        for pattern, entry in told["data"].items()
    }
    command = [_name_only(word) for word in told["command"] or []]
    params = {name: {**entry, "value": _plain(entry.get("value"))} for name, entry in told["params"].items()}
    left_out: dict[str, Any] = {"who": None, "note": ""}
    left_out["gpus"] = gpu_texts(env)
    return {**told, **left_out, "environment": env, "data": data, "command": command, "params": params}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _name_only(value)
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def _name_only(text: str) -> str:
    """Return the last part of an absolute path (also behind ``name=``); other text as it is."""
    before, equals, path = text.rpartition("=")
    return before + equals + path.rpartition("/")[2] if path.startswith(("/", "~")) else text


def _number(run: str) -> tuple[int, str]:
    digits = run[1:].partition("-")[0]
    return (int(digits) if digits.isdigit() else 0, run)
