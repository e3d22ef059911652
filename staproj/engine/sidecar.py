"""The record that travels with exported files: how each was made, readable without the project.

``provenance.json`` in an exported folder, ``<file>.staproj.json`` beside a single file::

    {"record": "staproj provenance", "format": 1, "made_by", "export", "project": {"name", "uuid"},
     "files": {name: {"sha256", "size", "run", "port", "item", "output"}},
     "runs": [...newest first, with parameters and layers, inputs, software, cost...],
     "environments": {name: {...}}, "raw": [{"path", "fingerprint"}], "cost": {...}, ...}

Equal runs and files give equal records: there is no time of writing in them.

A sidecar read back is data from anywhere: its form is checked, and its digests are compared with the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from staproj import __version__
from staproj.engine import provenance
from staproj.engine.view import View
from staproj.errors import StaprojError
from staproj.project import atomic
from staproj.project.fingerprints import sha256_file
from staproj.project.layout import SIDECAR, SIDECAR_SUFFIX

RECORD = "staproj provenance"
FORMAT = 1
PARENTS_LOOKED_AT = 6


def build(
    view: View,
    export: str,
    files: Mapping[str, Mapping[str, Any]],
    runs: Iterable[str],
    *,
    anonymous: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """Return the record of an export.

    Parameters
    ----------
    view
        The project.
    export
        What kind of export this is (``files``, ``relion5``).
    files
        Name below the exported folder -> ``{"sha256", "size"}`` and, where known, run, port, item and output.
    runs
        The runs the files were made from; everything they depend on is added.
    anonymous
        Leave out people and machines.
    more
        Further facts of this kind of export.
    """
    names, absent = provenance.ancestry(view, runs)
    told = [provenance.for_export(view, provenance.facts(view, name), anonymous) for name in names]
    environments: dict[str, Any] = {}
    for facts in told:
        facts["environment"] = provenance.share(environments, facts["environment"])
    raw, cost = provenance.raw_data(told), provenance.cost(told)
    for facts in told:
        facts["data"] = {pattern: entry.get("digest") for pattern, entry in facts["data"].items()}
    return {
        "record": RECORD,
        "format": FORMAT,
        "made_by": f"staproj {__version__}",
        "export": export,
        "project": {"name": view.manifest.name or view.layout.root.name, "uuid": view.manifest.uuid},
        **more,
        "files": {name: dict(entry) for name, entry in files.items()},
        "runs": told[::-1],
        "absent": absent,
        "environments": environments,
        "raw": raw,
        "cost": cost,
    }


def describe_file(path: Path, **known: Any) -> dict[str, Any]:
    """Return the entry of one exported file."""
    return {"sha256": sha256_file(path), "size": path.stat().st_size, **known}


def write(folder: Path, record: Mapping[str, Any]) -> Path:
    """Write the record of an exported folder."""
    atomic.write_json(folder / SIDECAR, record)
    return folder / SIDECAR


def write_beside(file: Path, record: Mapping[str, Any]) -> Path:
    """Write the record of one file beside it."""
    path = file.with_name(file.name + SIDECAR_SUFFIX)
    atomic.write_json(path, record)
    return path


def find(path: Path) -> dict[str, Any] | None:
    """Return what a sidecar says of a file anywhere, or ``None`` where no sidecar speaks of it.

    Looked at, for the path as given and for what it links to: ``<file>.staproj.json``; ``provenance.json`` in
    the file's folder and the folders above; other ``*.staproj.json`` beside it (the file may have been
    renamed). The answer is of the form of :func:`staproj.engine.lineage.lineage` with ``sidecar``,
    ``entry``, ``renamed`` and ``changed`` (not the bytes that were exported).
    """
    if path.is_dir():
        return _folder(path)
    second: dict[str, Any] | None = None
    own = _Hashed(path)
    for place in _places(path):
        record = read(place)
        if record is None:
            continue
        found = _entry(record, place, path, own)
        if found is None:
            continue
        name, renamed = found
        changed = own.differs(record["files"][name])
        told = _told(record, place, name, path)
        told |= {"changed": changed, "renamed": renamed}
        if not changed:
            return told
        second = second or told
    return second


def _folder(path: Path) -> dict[str, Any] | None:
    """Return what the record in a folder says of all its files; ``differing`` are those not as exported."""
    record = read(path / SIDECAR)
    if record is None:
        return None
    differing = [
        name
        for name, entry in record["files"].items()
        if not _stays_below(name) or _is_other(path / name, entry)
    ]
    told = _told(record, path / SIDECAR, None, path)
    return told | {"changed": bool(differing), "differing": differing, "renamed": False}


def _stays_below(name: str) -> bool:
    return not name.startswith("/") and ".." not in name.split("/") and "\0" not in name


def _is_other(file: Path, entry: Mapping[str, Any]) -> bool:
    try:
        return not file.is_file() or _Hashed(file).differs(entry)
    except OSError:  # a name that no file can have, or nobody may read it
        return True


def read(path: Path) -> dict[str, Any] | None:
    """Return a sidecar; ``None`` for anything else (no file, not JSON, another form)."""
    if not path.is_file():
        return None
    try:
        found = atomic.read_json(path)
    except StaprojError:
        return None
    if found.get("record") != RECORD or not isinstance(found.get("format"), int):
        return None
    files, runs = found.get("files"), found.get("runs")
    if not isinstance(files, dict) or not isinstance(runs, list):
        return None
    found["files"] = {name: _entry_of(entry) for name, entry in files.items() if _is_entry(entry)}
    found["runs"] = [_run_of(run) for run in runs if _is_run(run)]
    found["raw"] = [
        {"path": part["path"], "fingerprint": str(part.get("fingerprint"))}
        for part in _list(found.get("raw"))
        if isinstance(part, dict) and isinstance(part.get("path"), str)
    ]
    found["environments"] = {
        name: env for name, env in _table(found.get("environments")).items() if isinstance(env, dict)
    }
    project = _table(found.get("project"))
    found["project"] = {key: project[key] for key in ("name", "uuid") if isinstance(project.get(key), str)}
    found["absent"] = [run for run in _list(found.get("absent")) if isinstance(run, str)]
    return found


def _places(path: Path) -> Iterator[Path]:
    seen: set[Path] = set()
    for file in dict.fromkeys([Path(os.path.abspath(path)), Path(os.path.realpath(path))]):
        folder = file if file.is_dir() else file.parent
        candidates = [file.with_name(file.name + SIDECAR_SUFFIX)]
        candidates += [parent / SIDECAR for parent in (folder, *folder.parents)[:PARENTS_LOOKED_AT]]
        with suppress(OSError):
            candidates += sorted(folder.glob("*" + SIDECAR_SUFFIX))[:1000]
        for candidate in candidates:
            if candidate not in seen:
                seen.add(candidate)
                yield candidate


class _Hashed:
    """The bytes of a file, read once and only if somebody has to know."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size if path.is_file() else -1
        self._digest: str | None = None

    def differs(self, entry: Mapping[str, Any]) -> bool:
        if self.size < 0:
            return False
        if isinstance(entry.get("size"), int) and entry["size"] != self.size:
            return True
        self._digest = self._digest or sha256_file(self.path)
        return self._digest != entry["sha256"]


def _entry(record: Mapping[str, Any], place: Path, path: Path, own: _Hashed) -> tuple[str, bool] | None:
    """Return the name under which a record lists a file, and whether the file has another name now."""
    files: Mapping[str, Any] = record["files"]
    names = []
    for file in (Path(os.path.abspath(path)), Path(os.path.realpath(path))):
        if file.is_relative_to(place.parent):
            names.append(file.relative_to(place.parent).as_posix())
        names.append(file.name if place.name != SIDECAR else "")
    for name in names:
        if name in files:
            return name, False
    return next(((name, True) for name, entry in files.items() if not own.differs(entry)), None)


def _told(record: Mapping[str, Any], place: Path, name: str | None, path: Path) -> dict[str, Any]:
    entry = record["files"][name] if name is not None else {}
    start = entry.get("run")
    runs = record["runs"]
    wanted = _behind(runs, start) if start else {run["run"] for run in runs}
    chain = [run for run in runs if run["run"] in wanted]
    return {
        "file": str(path),
        "run": start,
        "item": entry.get("item"),
        "artifact": {"port": entry.get("port"), "kind": entry.get("kind"), "sha256": entry.get("sha256")},
        "chain": chain,
        "raw": record["raw"],
        "environments": record["environments"],
        "absent": record["absent"],
        "sidecar": str(place),
        "entry": name,
        "export": record.get("export"),
        "project": record["project"],
        "cost": provenance.cost(_costs(run) for run in chain),
    }


def _behind(runs: Iterable[Mapping[str, Any]], start: str) -> set[str]:
    by_name = {run["run"]: run for run in runs}
    found: set[str] = set()
    waiting = [start]
    while waiting:
        current = waiting.pop()
        if current in by_name and current not in found:
            found.add(current)
            waiting += [str(use["run"]) for use in by_name[current]["inputs"].values()]
    return found


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("sha256"), str)


def _is_run(run: Any) -> bool:
    if not isinstance(run, dict) or not isinstance(run.get("inputs"), dict):
        return False
    words = all(isinstance(run.get(key), str) for key in ("run", "step", "stage", "created"))
    uses = all(isinstance(use, dict) and isinstance(use.get("run"), str) for use in run["inputs"].values())
    params = run.get("params")
    return (
        words
        and uses
        and isinstance(params, dict)
        and all(
            isinstance(entry, dict) and "value" in entry and "layer" in entry for entry in params.values()
        )
    )


def _entry_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of a file with what is of the right type; the rest is unknown."""
    words = {key: entry.get(key) for key in ("run", "port", "kind", "item", "output")}
    size = entry.get("size")
    return {
        **{key: value if isinstance(value, str) else None for key, value in words.items()},
        "sha256": entry["sha256"],
        "size": size if isinstance(size, int) and not isinstance(size, bool) else None,
    }


def _run_of(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run with what its readers look at in the right type."""
    environment, who = run.get("environment"), run.get("who")
    return {
        **run,
        "environment": environment if isinstance(environment, str) else None,
        "who": who if isinstance(who, str) else None,
        "software": _table(run.get("software")),
    }


def _costs(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the cost of a chain is summed from."""
    numbers = {key: _number_of(run.get(key)) for key in ("wall_s", "cpu_s", "peak_rss_bytes")}
    earlier = _table(run.get("earlier"))
    taken = {
        item: {"run": part["run"], **{key: _number_of(part.get(key)) for key in ("wall_s", "cpu_s")}}
        for item, part in _table(run.get("reused_from")).items()
        if isinstance(part, dict) and isinstance(part.get("run"), str)
    }
    return {
        **{key: run[key] for key in ("run", "step", "stage")},
        **numbers,
        "earlier": {key: _number_of(earlier.get(key)) for key in ("wall_s", "cpu_s")} if earlier else None,
        "reused_from": taken,
    }


def _number_of(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
