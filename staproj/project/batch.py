"""Several files that become durable together: one wait for the disk instead of one a file.

All temporaries are written, then all of them (with files and directories that others wrote) are fsynced at
the same time, then the temporaries are renamed in the order they were added. So a name never stands for bytes
that are not on the disk. The renames themselves are durable after the next fsync of their directory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from staproj.project import atomic, reading

_AT_ONCE = 8


@cache
def _pool() -> ThreadPoolExecutor:
    """Return the threads that wait for the disk; a forked process makes its own."""
    return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fsync")


os.register_at_fork(after_in_child=_pool.cache_clear)


def fsync_all(paths: Iterable[Path]) -> None:
    """Make files and directories durable, many at the same time.

    Raises
    ------
    StorageError
        If the disk is full or not writable. Directories on file systems that cannot do it are left alone.
    """
    wanted = list(dict.fromkeys(paths))
    if len(wanted) < 3:
        for path in wanted:
            _fsync(path)
        return
    begun = [_pool().submit(_fsync, path) for path in wanted]
    wait(begun)
    for done in begun:
        done.result()


class Batch:
    """Files to be replaced together; used once, as a context manager that takes unused temporaries away."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Path, Path]] = []

    def __enter__(self) -> Batch:
        """Return the batch itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Take away temporaries that were not renamed."""
        for temporary, _ in self._waiting:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._waiting.clear()

    def add(self, path: Path, data: bytes) -> None:
        """Write the temporary of a file that is to have these bytes."""
        temporary = atomic.temporary_of(path)
        self._waiting.append((temporary, path))
        with atomic.storage_errors(path):
            reading.refuse_links(path)
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as handle:
                handle.write(data)

    def add_json(self, path: Path, value: Any) -> bytes:
        """Write the temporary of a JSON file; return its bytes."""
        data = json_bytes(value)
        self.add(path, data)
        return data

    def sync(self, others: Sequence[Path] = ()) -> None:
        """Make the temporaries and ``others`` durable."""
        fsync_all([*(temporary for temporary, _ in self._waiting), *others])

    def rename(self, path: Path) -> None:
        """Let one of the files take its place (after :meth:`sync`)."""
        for entry in self._waiting:
            if entry[1] == path:
                with atomic.storage_errors(path):
                    entry[0].replace(path)
                self._waiting.remove(entry)
                return
        raise KeyError(str(path))

    def rename_all(self) -> None:
        """Let all that are left take their places, in the order they were added."""
        for _, path in list(self._waiting):
            self.rename(path)


def json_bytes(value: Any) -> bytes:
    """Return the bytes of a record: indented JSON, no NaN or infinity."""
    return (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _fsync(path: Path) -> None:
    if path.is_dir():
        atomic.fsync_dir(path)
        return
    with atomic.storage_errors(path):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
