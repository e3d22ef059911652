"""Copy one file into an archive: read once, hashed in a thread beside the writing."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO

from staproj.errors import InputError
from staproj.project import bag
from staproj.project.bag import Entry
from staproj.project.bag_stream import Sink

CHUNK = 4 << 20
_BUFFERS = 3


def copy_file(
    entry: Entry, sink: Sink, pool: ThreadPoolExecutor, *, keep_going: bool, tell: Callable[[int], None]
) -> tuple[str, str]:
    """Copy ``entry.size`` bytes; return their SHA-256 and what is wrong with the file (empty: nothing).

    Raises
    ------
    InputError
        If the file is gone, or not what it was when the archive was begun.
    """
    try:
        fd = os.open(entry.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputError(
            f"a file to be archived cannot be read: {error.strerror}", where=entry.source
        ) from error
    with FileIO(fd, "rb") as handle:
        facts = os.fstat(fd)
        same_size = facts.st_size == entry.size
        if not stat.S_ISREG(facts.st_mode) or facts.st_size < entry.size or not (same_size or keep_going):
            raise _changed(entry)
        problem = ""
        if entry.name.startswith(bag.DATA) and not entry.sha256:  # else its digest tells more
            same = same_size and facts.st_mtime_ns == entry.mtime_ns
            problem = "" if same else "it changed while it was archived"
        if entry.size > CHUNK:
            return _copy_large(handle, entry, sink, pool, tell), problem
        data = handle.read(entry.size)
        if len(data) != entry.size:
            raise _changed(entry)
        sink.write(data)
        return hashlib.sha256(data).hexdigest(), problem


def _copy_large(
    handle: FileIO, entry: Entry, sink: Sink, pool: ThreadPoolExecutor, tell: Callable[[int], None]
) -> str:
    """Let the thread hash what is being written; a few buffers go round."""
    digest = hashlib.sha256()
    buffers = [memoryview(bytearray(CHUNK)) for _ in range(_BUFFERS)]
    busy: list[Future[None] | None] = [None] * _BUFFERS
    left, turn = entry.size, 0
    while left:
        _wait(busy[turn])
        n = handle.readinto(buffers[turn][: min(CHUNK, left)])
        if not n:
            raise _changed(entry)
        busy[turn] = pool.submit(digest.update, buffers[turn][:n])
        sink.write(buffers[turn][:n])
        left -= n
        turn = (turn + 1) % _BUFFERS
        tell(entry.size - left)
    for work in busy:
        _wait(work)
    return digest.hexdigest()


def _wait(work: Future[None] | None) -> None:
    if work is not None:
        work.result()


def _changed(entry: Entry) -> InputError:
    return InputError(
        "a file changed or went away while it was archived",
        where=entry.source,
        hint="delete the unfinished archive and begin again when nothing writes to this file",
    )
