"""Records read from disk are data of unknown origin: their form is checked before anything relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from staproj.errors import StorageError
from staproj.kinds import ArtifactKind

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
_KINDS = frozenset(kind.value for kind in ArtifactKind)
_USE: Form = {"step": str, "run": str, "port": str, "kind": str, "digest": (str, dict)}
_FILE = {"path": str, "size": int, "mtime_ns": int, "sha256": str}


def spec(data: dict[str, Any], where: str, run: str | None = None) -> dict[str, Any]:
    """Check the form of ``spec.json``, and that it is of the run ``run``.

    Raises
    ------
    StorageError
        If a part is missing or of another type.
    """
    _has(data, _SPEC, where)
    _has(data["preimage"], _PREIMAGE, f"{where}: preimage")
    if run is not None and data["run"] != run:
        raise _damaged(f"it is of run {data['run']!r}", where)
    if not isinstance(data.get("previous"), str | None):
        raise _damaged("'previous' is of a wrong type", where)
    _strings(data["items"], f"{where}: items")
    _strings(data["command"], f"{where}: command")
    _strings(data["preimage"]["items"], f"{where}: preimage.items")
    for port, use in data["inputs"].items():
        _has(use, _USE, f"{where}: inputs.{port}")
        if use["kind"] not in _KINDS:
            raise _damaged(f"{use['kind']!r} is not a kind of artifact", f"{where}: inputs.{port}")
        _digest(use["digest"], f"{where}: inputs.{port}")
    for port, value in data["preimage"]["inputs"].items():
        _digest(value, f"{where}: preimage.inputs.{port}")
    for pattern, found in data["data"].items():
        _has(found, {"files": list}, f"{where}: data.{pattern}")
        for file in found["files"]:
            if not isinstance(file, list) or len(file) != 2:
                raise _damaged("a file of raw data is not path and fingerprint", where)
            _strings(file, f"{where}: data.{pattern}")
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
    if not isinstance(data.get("record_sha256"), str | None):
        raise _damaged("'record_sha256' is of a wrong type", where)
    for entry in data["files"]:
        _has(entry, _FILE, f"{where}: files")
        _inside(entry["path"], where)
    for port, artifact in data["artifacts"].items():
        place = f"{where}: artifacts.{port}"
        _has(artifact, {"kind": str}, place)
        if artifact["kind"] not in _KINDS:
            raise _damaged(f"{artifact['kind']!r} is not a kind of artifact", place)
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


def _strings(values: list[Any], where: str) -> None:
    if not all(isinstance(value, str) for value in values):
        raise _damaged("not a list of text", where)


def _digest(value: Any, where: str) -> None:
    """Check that a digest is text, or text by tilt series."""
    if isinstance(value, dict):
        _strings(list(value.values()), where)
    elif not isinstance(value, str):
        raise _damaged("not a digest", where)


def _inside(path: str, where: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise _damaged(f"a path leads out of its directory: {path!r}", where)


def _damaged(problem: str, where: str) -> StorageError:
    hint = "restore this file from a copy, or rerun the step"
    return StorageError(f"a record is damaged: {problem}", where=where, hint=hint)
