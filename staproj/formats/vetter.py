"""The process that reads HDF5 files of unknown origin first: ``python -P -m staproj.formats.vetter``.

The HDF5 library crashes on some damaged files and never returns from others. Here that costs a process of no
worth: :mod:`staproj.formats.vetted` asks, one line of JSON a file, and ends a process that does not answer.
A file is good if everything in it is plain data in this file and can be read to the end.
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
from pathlib import Path

import h5py

from staproj.formats import hdf5, vetted

CPU_S = 5.0
_LARGE_BYTES = 256 << 20
_CPU_BYTES_PER_S = 50e6
_MEMORY_BYTES = 1 << 30
_COPIED_BYTES = 64 << 20
_IDLE_S = 60.0
_MOST_DEPTH = 32
_ABSENT = ("\x01", "a", "m_", "zzzz", "~")


def cpu_limit_s(max_bytes: int) -> float:
    """Return the CPU time that one file may take."""
    return CPU_S + max(0, max_bytes - _LARGE_BYTES) / _CPU_BYTES_PER_S


def walk(path: Path, max_bytes: int) -> None:
    """Read everything in a file.

    Raises
    ------
    Exception
        One of ``hdf5.DAMAGE``: it is damaged, or holds anything but numbers and text.
    """
    with hdf5.open_file(path, max_bytes=max_bytes) as handle:
        _walk(handle, 0)
    if path.stat().st_size <= _COPIED_BYTES:
        _copy(path)


def _walk(group: hdf5.Group, depth: int) -> None:
    if depth > _MOST_DEPTH:
        raise ValueError(f"groups more than {_MOST_DEPTH} levels deep")
    for name in _ABSENT:  # readers also ask for what is not there
        _ = name in group, group.has_attribute(name)
    group.attributes()
    for name in group.names():
        if group.is_group(name):
            _walk(group.group(name), depth + 1)
        else:
            group.array(name)


def _copy(path: Path) -> None:
    """Copy everything in memory, as the records of items are: that reads more than any reader does."""
    with (
        h5py.File(path, "r", locking=False) as source,
        h5py.File("copy", "w", driver="core", backing_store=False) as target,
    ):
        for name in source:
            source.copy(name, target)


def _limit(max_bytes: int) -> None:
    """Let the next file take so much CPU time and memory; more ends the process, or fails to be had."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + cpu_limit_s(max_bytes)) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = _MEMORY_BYTES + 2 * max_bytes
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))


def main() -> None:
    """Answer each line ``{"path", "max_bytes"}`` with ``{"problem"}``, ``null`` for a good file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    waiting = b""
    while select.select([0], [], [], _IDLE_S)[0]:
        part = os.read(0, 1 << 16)
        if not part:
            break
        waiting += part
        while b"\n" in waiting:
            line, _, waiting = waiting.partition(b"\n")
            asked = json.loads(line)
            problem = None
            try:
                _limit(asked["max_bytes"])
                walk(Path(asked["path"]), asked["max_bytes"])
            except MemoryError:
                problem = vetted.NO_MEMORY
            except (*hdf5.DAMAGE, RecursionError) as error:
                problem = str(error) or type(error).__name__
            os.write(1, json.dumps({"problem": problem}).encode() + b"\n")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # whatever a damaged file left behind is not tidied up
