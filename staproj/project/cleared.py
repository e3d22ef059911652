"""``CLEARED``: which outputs of a sealed run were deleted on purpose.

::

    {"format": 1, "cleared": [{"path", "size", "sha256"}], "time", "who", "why", "trash"}

Paths are relative to ``out/``. The sealed records of the run never change: ``outputs.json`` still lists every
file, ``CLEARED`` only says which of them nobody should miss. A file that is listed and there all the same
counts as there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from staproj.errors import StorageError
from staproj.project import atomic, versions
from staproj.project.layout import RunDir
from staproj.project.process import user_name

FORMAT = 1


def read(run: RunDir) -> dict[str, Any]:
    """Return the content of ``CLEARED``; an empty table where nothing was cleared or it cannot be read."""
    if not run.cleared.is_file():
        return {}
    try:
        found = atomic.read_json(run.cleared)
    except StorageError:
        return {}
    entries = found.get("cleared")
    if not isinstance(entries, list):
        return {}
    return {**found, "cleared": [entry for entry in entries if _is_entry(entry)]}


def cleared_paths(run: RunDir) -> frozenset[str]:
    """Return the paths (relative to ``out/``) of the outputs that were deleted on purpose."""
    return frozenset(str(entry["path"]) for entry in read(run).get("cleared", ()))


def is_cleared(run: RunDir) -> bool:
    """Tell whether some output of the run was deleted on purpose."""
    return bool(cleared_paths(run))


def add(run: RunDir, entries: Iterable[Mapping[str, Any]], *, why: str, trash: str | None = None) -> None:
    """Note that outputs (entries of ``outputs.json``) were or are about to be deleted."""
    known = {str(e["path"]): e for e in read(run).get("cleared", ())}
    for entry in entries:
        known[str(entry["path"])] = {key: entry[key] for key in ("path", "size", "sha256")}
    _write(run, known, why=why, trash=trash)


def remove(run: RunDir, paths: Collection[str]) -> None:
    """Note that outputs are back; without any left the marker goes."""
    found = read(run)
    left = {str(e["path"]): e for e in found.get("cleared", ()) if e["path"] not in paths}
    if left:
        _write(run, left, why=str(found.get("why", "")), trash=found.get("trash"))
    else:
        run.cleared.unlink(missing_ok=True)
        atomic.fsync_dir(run.path)


def _write(run: RunDir, entries: Mapping[str, Mapping[str, Any]], *, why: str, trash: str | None) -> None:
    content = {
        "format": FORMAT,
        "cleared": [dict(entries[path]) for path in sorted(entries)],
        "time": versions.now(),
        "who": user_name(),
        "why": why,
        "trash": trash,
    }
    atomic.write_json(run.cleared, content)


def _is_entry(entry: Any) -> bool:
    """Tell whether an entry has its form and stays below ``out/``."""
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        return False
    parts = PurePosixPath(entry["path"]).parts
    inside = bool(parts) and not entry["path"].startswith("/") and ".." not in parts
    return inside and isinstance(entry.get("size"), int) and isinstance(entry.get("sha256"), str)
