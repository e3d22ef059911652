"""Files that are either whole or absent: write new, fsync, rename, fsync the directory."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from staproj.errors import StorageError
from staproj.project import reading

_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL = "the disk is full (or your quota is used up)"
_READ_TRIES = 3
_YOUNG_S = 10.0
MAX_EVENTS = 200_000
_CROWDED_BYTES = 4 << 20


def is_disk_full(error: BaseException) -> bool:
    """Tell whether ``error`` means that no space is left (HDF5 hides the number in its text)."""
    if isinstance(error, StorageError):
        return error.message == DISK_FULL
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return isinstance(error, (OSError, RuntimeError)) and "no space left" in str(error).lower()


def disk_full_error(where: str, *, command: str = "run the same command again") -> StorageError:
    """Return the one error that a full disk gives, with its remedy; :func:`is_disk_full` knows it."""
    return StorageError(
        DISK_FULL,
        where=where,
        hint=f"free some space and {command}: finished tilt series are kept and used again",
    )


@contextmanager
def storage_errors(where: Path | str) -> Iterator[None]:
    """Turn a full or unwritable disk into ``StorageError``."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if is_disk_full(error):
            raise disk_full_error(str(where)) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StorageError(
                f"cannot write: {error.strerror}",
                where=str(where),
                hint="check the permissions of the project directory",
            ) from error
        raise


def fsync_dir(path: Path) -> None:
    """Make renames inside ``path`` durable (file systems that cannot do it are left alone)."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def fsync_file(path: Path) -> None:
    """Make the bytes of a finished file durable."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def temporary_of(path: Path) -> Path:
    """Return the name under which this process writes a file before it takes the place of ``path``."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def write_bytes(path: Path, data: bytes, *, sync_dir: bool = True, sync: bool = True) -> None:
    """Replace ``path`` by ``data`` in one step.

    ``sync_dir=False`` leaves it to a later :func:`fsync_dir` to make the rename durable. ``sync=False`` waits
    for nothing: whole for every other process, but a power cut may leave an empty file (caches, and records
    that are fsynced before anything relies on them).

    Raises
    ------
    StorageError
        If the disk is full or not writable; the old file is then still whole.
    """
    temporary = temporary_of(path)
    with storage_errors(path):
        try:
            reading.refuse_links(path)
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as handle:  # never through a link that lies there
                handle.write(data)
                handle.flush()
                if sync:
                    os.fsync(handle.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    if sync and sync_dir:
        fsync_dir(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by UTF-8 text in one step."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, *, sync_dir: bool = True, sync: bool = True) -> None:
    """Replace ``path`` by indented JSON in one step (no NaN or infinity)."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode(), sync_dir=sync_dir, sync=sync)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    StorageError
        If the file is missing or still damaged after three tries (network disks rename late).
    """
    problem = ""
    for attempt in range(_READ_TRIES):
        try:
            value = reading.parse_json(reading.read_bytes(path))
        except StorageError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            problem = str(error)
            if isinstance(error, FileNotFoundError) or not _is_young(path):
                break
        else:
            if isinstance(value, dict):
                return value
            problem = "not a JSON object"
            break
        time.sleep(0.02 * attempt)
    raise StorageError(
        f"cannot read a record: {problem}", where=str(path), hint="restore this file from a copy"
    )


def _is_young(path: Path) -> bool:
    """Tell whether a file was written just now, so that a network disk may still show parts of it."""
    try:
        return time.time() - os.lstat(path).st_mtime < _YOUNG_S
    except OSError:
        return True


def touch(path: Path) -> None:
    """Set the time of a file to now (made if it is not there), never through a link.

    Raises
    ------
    OSError
        If it is a link, or cannot be written to.
    """
    with open_to_append(path) as handle:
        os.utime(handle.fileno())


def append_line(path: Path, event: Mapping[str, Any], *, durable: bool = False) -> None:
    """Append one JSON line; ``durable`` waits until it is on the disk.

    A line that was torn before (a full disk, a power cut) is ended first, so that this one stands alone.
    """
    line = json.dumps(event, allow_nan=False, ensure_ascii=False) + "\n"
    with storage_errors(path), open_to_append(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        torn = size > 0 and os.pread(handle.fileno(), 1, size - 1) != b"\n"
        handle.write(b"\n" * torn + line.encode())
        handle.flush()
        if durable:
            os.fsync(handle.fileno())


def open_to_append(path: Path) -> BinaryIO:
    """Open a file to add to its end (made if it is not there), never through a link.

    Raises
    ------
    OSError
        If it is a link, or cannot be written to.
    """
    reading.refuse_links(path)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.fdopen(os.open(path, flags, 0o666), "ab")
    if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
        handle.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return handle


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; a torn or damaged line is left out, and of a huge file all but its end.

    Raises
    ------
    StorageError
        If it is not a regular file.
    """
    try:
        raw, skipped = reading.read_end(path, reading.MAX_RECORD_BYTES)
    except StorageError:
        raise
    except OSError:
        return []
    if reading.is_crowded(raw):
        raw, skipped = raw[-_CROWDED_BYTES:], skipped + max(0, len(raw) - _CROWDED_BYTES)
    events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
    for number, line in enumerate(io.BytesIO(raw)):
        if skipped and number == 0:
            continue  # the end of a line that began before
        with suppress(ValueError, RecursionError):
            event = reading.parse_json(line)
            if isinstance(event, dict):
                events.append(event)
    return list(events)
