"""Records read from disk are data of unknown origin: their form is checked before anything relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from staproj.errors import StorageError

Form = dict[str, type | tuple[type, ...]]

_SPEC: Form = {
    "run": str,
    "step": str,
    "stage": str,
    "created": str,
    "who": str,
    "note": str,
    "key": str,
    "cache_version": int,
    "command": list,
    "items": list,
    "params": dict,
    "item_params": dict,
    "inputs": dict,
    "data": dict,
    "software": dict,
    "preimage": dict,
}
_PREIMAGE: Form = {
    "stage": str,
    "cache_version": int,
    "seed": int,
    "items": list,
    "params": dict,
    "item_params": dict,
    "inputs": dict,
}
_USE: Form = {"step": str, "run": str, "port": str, "kind": str, "digest": (str, dict)}
_FILE = {"path": str, "size": int, "mtime_ns": int, "sha256": str}


def spec(data: dict[str, Any], where: str) -> dict[str, Any]:
    """Check the form of ``spec.json``.

    Raises
    ------
    StorageError
        If a part is missing or of another type.
    """
    _has(data, _SPEC, where)
    _has(data["preimage"], _PREIMAGE, f"{where}: preimage")
    for port, use in data["inputs"].items():
        _has(use, _USE, f"{where}: inputs.{port}")
    for pattern, found in data["data"].items():
        _has(found, {"files": list}, f"{where}: data.{pattern}")
    for tables in (data["item_params"], data["preimage"]["item_params"]):
        for item, table in tables.items():
            _has(table, {}, f"{where}: item_params.{item}")
    for name, entry in data["params"].items():
        _has(entry, {"layer": str}, f"{where}: params.{name}")
    return data


def outputs(data: dict[str, Any], where: str) -> dict[str, Any]:
    """Check the form of ``outputs.json`` or ``item.json``; paths must stay below ``out/``.

    Raises
    ------
    StorageError
        If a part is missing, of another type, or a path leads out of its directory.
    """
    _has(data, {"files": list, "artifacts": dict}, where)
    for entry in data["files"]:
        _has(entry, _FILE, f"{where}: files")
        _inside(entry["path"], where)
    for port, artifact in data["artifacts"].items():
        place = f"{where}: artifacts.{port}"
        _has(artifact, {"kind": str}, place)
        items = artifact.get("items")
        if items is not None:
            _has(items, {}, place)
        for part in items.values() if items is not None else [artifact]:
            _has(part, {"file": str, "digest": str}, place)
            _inside(part["file"], where)
    return data


def _has(data: Any, wanted: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    if not isinstance(data, dict):
        raise _damaged("not a table", where)
    for key, kind in wanted.items():
        if not isinstance(data.get(key), kind) or isinstance(data.get(key), bool):
            raise _damaged(f"{key!r} is missing or of a wrong type", where)


def _inside(path: str, where: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise _damaged(f"a path leads out of its directory: {path!r}", where)


def _damaged(problem: str, where: str) -> StorageError:
    hint = "restore this file from a copy, or rerun the step"
    return StorageError(f"a record is damaged: {problem}", where=where, hint=hint)
