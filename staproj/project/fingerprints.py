"""Content digests of files, remembered by what ``stat`` says.

Raw data gets a quick fingerprint, ``q:`` + SHA-256 of its size and first and last MiB; outputs get a full
``sha256:``. The cache only saves reading: it may be deleted, and after a copy to another disk (other inodes,
other times) each digest is worked out again from content, so nothing becomes stale by being moved.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from staproj.errors import InputError, StorageError
from staproj.project import atomic, reading, schema
from staproj.project.layout import Layout

_MIB = 1 << 20
_CHUNK = 4 * _MIB


def quick_fingerprint(path: Path) -> str:
    """Return ``q:`` + SHA-256 of the file's size, first MiB and last MiB."""
    with reading.open_regular(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        digest = hashlib.sha256(str(size).encode() + b"\n")
        digest.update(handle.read(_MIB) or b"")
        if size > _MIB:
            handle.seek(max(_MIB, size - _MIB))
            digest.update(handle.read(_MIB) or b"")
    return "q:" + digest.hexdigest()


def sha256_file(path: Path) -> str:
    """Return ``sha256:`` + digest of all bytes."""
    digest = hashlib.sha256()
    with reading.open_regular(path) as handle:
        left = os.fstat(handle.fileno()).st_size  # a file that grows without end is read this far
        while left > 0 and (chunk := handle.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    return "sha256:" + digest.hexdigest()


class Fingerprints:
    """Digests of a project's raw data and inputs, cached in ``.staproj``."""

    def __init__(self, layout: Layout) -> None:
        """Read the cache (a missing or damaged one is an empty one)."""
        self._layout = layout
        self._changed = False
        self._known: dict[str, list[Any]] = {}
        with suppress(OSError, ValueError, RecursionError):
            data = reading.parse_json(reading.read_bytes(layout.fingerprints))
            if isinstance(data, dict):
                self._known = {k: v for k, v in data.items() if isinstance(v, list) and len(v) == 4}

    def quick(self, path: Path) -> str:
        """Return the quick fingerprint of one file of raw data.

        Raises
        ------
        InputError
            If the file is gone or cannot be read.
        """
        try:
            return self._lookup("q", path)
        except StorageError as error:
            raise InputError(f"cannot read: {error.message}", where=str(path)) from error
        except OSError as error:
            raise InputError(
                f"cannot read: {error.strerror}", where=str(path), hint="check the path and its permissions"
            ) from error

    def full(self, path: Path) -> str:
        """Return the SHA-256 of all bytes of one file."""
        return self._lookup("sha256", path)

    def remember(self, path: Path, digest: str) -> None:
        """Note a digest that was worked out elsewhere."""
        self._put(self._layout.relative(path), reading.stat_regular(path), digest)

    def save(self) -> None:
        """Write the cache if something was added; a project that cannot be written to is left as it is."""
        if not self._changed or not schema.may_write(self._layout):
            return
        with suppress(OSError, StorageError):
            self._layout.private.mkdir(exist_ok=True)
            atomic.write_text(self._layout.fingerprints, json.dumps(self._known))
            self._changed = False

    def _lookup(self, kind: str, path: Path) -> str:
        stat = reading.stat_regular(path)
        key = self._layout.relative(path)
        entry = self._known.get(key, [])
        known = entry[:3] == [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        if known and str(entry[3]).startswith(kind + ":"):
            return str(entry[3])
        digest = quick_fingerprint(path) if kind == "q" else sha256_file(path)
        self._put(key, stat, digest)
        return digest

    def _put(self, key: str, stat: os.stat_result, digest: str) -> None:
        self._known[key] = [stat.st_size, stat.st_mtime_ns, stat.st_ino, digest]
        self._changed = True
