"""Files of a project are read as data from anywhere: regular files only, inside the project, with bounds.

Opening never waits (a FIFO would), never follows a link below a run directory or ``.staproj``, and what is
read at once is limited, so that no file can hang staproj or fill the memory.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, BinaryIO

from staproj.errors import StorageError
from staproj.project.layout import PRIVATE, RUN_NAME, RUNS

MAX_RECORD_BYTES = 32 << 20
MAX_CONTAINERS = 400_000
MAX_VALUES = 2_000_000
MAX_INT_DIGITS = 20
MAX_DEPTH = 64
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_LONG_KEY = re.compile(rf"(?m)(?:^|[\[{{,])[ \t]*+(?:{_PART}\.[ \t]*+){{60}}")
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def open_regular(path: Path, *, link: bool = True) -> BinaryIO:
    """Open a regular file for reading, without waiting for anything; with ``link=False`` it may be no link.

    Raises
    ------
    OSError
        If there is no such file.
    StorageError
        If it is not a regular file, or reached through a link that a project's own directories never hold.
    """
    if not link and path.is_symlink():
        raise _is_link(str(path))
    stat_regular(path)
    descriptor = os.open(path, _FLAGS | (os.O_NOFOLLOW if own_part(path) or not link else 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_regular(path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def stat_regular(path: Path) -> os.stat_result:
    """Return ``stat`` of a regular file; links are refused where a project's own files lie.

    Raises
    ------
    OSError
        If there is no such file.
    StorageError
        If it is not a regular file, or reached through a link.
    """
    own = own_part(path)
    if own is None:
        found = os.stat(path)  # noqa: PTH116 - the twin of lstat below
    else:
        where, parts = own
        found = os.lstat(where)
        for part in parts:
            where = os.path.join(where, part)  # noqa: PTH118 - called for every file of a project
            found = os.lstat(where)
            if stat.S_ISLNK(found.st_mode):
                raise _is_link(where)
    if not stat.S_ISREG(found.st_mode):
        raise _not_regular(path)
    return found


def own_part(path: Path) -> tuple[str, list[str]] | None:
    """Split a path at a directory of a project that holds no links: ``(runs, [r0042-ctf, spec.json])``.

    ``None`` for any other path. The first such directory counts, so that nothing below it leads elsewhere.
    """
    parts = os.path.abspath(path).split(os.sep)  # noqa: PTH206 - Path is five times slower, and this is asked for every file
    for index, part in enumerate(parts[:-1]):
        if part == PRIVATE or (part == RUNS and RUN_NAME.match(parts[index + 1])):
            return os.sep.join(parts[: index + 1]), parts[index + 1 :]  # noqa: PTH118
    return None


def refuse_links(path: Path) -> None:
    """Check that no directory on the way to a project's own file is a link (it need not be there yet).

    Raises
    ------
    StorageError
        If one is: what is written there would lie elsewhere.
    """
    own = own_part(path)
    if own is None:
        return
    where, parts = own
    for part in parts[:-1]:
        where = os.path.join(where, part)  # noqa: PTH118 - as above
        try:
            if stat.S_ISLNK(os.lstat(where).st_mode):
                raise _is_link(where)
        except FileNotFoundError:
            return


def refuse_linked_directories(directory: Path, depth: int = 4) -> None:
    """Check that no directory below ``directory`` is a link, before anything is written or moved there.

    Raises
    ------
    StorageError
        If one is.
    """
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_symlink():
                if entry.is_dir():
                    raise _is_link(entry.path)
            elif depth > 1 and entry.is_dir():
                refuse_linked_directories(Path(entry.path), depth - 1)


def read_bytes(path: Path, limit: int = MAX_RECORD_BYTES, *, link: bool = True) -> bytes:
    """Return the content of a file that may hold at most ``limit`` bytes.

    Raises
    ------
    OSError
        If there is no such file.
    StorageError
        If it is larger, or not a regular file.
    """
    with open_regular(path, link=link) as handle:
        raw = handle.read(limit + 1) or b""
    if len(raw) > limit:
        raise StorageError(
            f"this file is larger than {limit / 1e6:.0f} MB, which no record of staproj is",
            where=str(path),
            hint="restore it from a copy",
        )
    return raw


def read_end(path: Path, limit: int) -> tuple[bytes, int]:
    """Return the last ``limit`` bytes of a file, and how many there are before them."""
    with open_regular(path) as handle:
        skipped = max(0, os.fstat(handle.fileno()).st_size - limit)
        handle.seek(skipped)
        return handle.read(limit) or b"", skipped


def parse_json(raw: bytes) -> Any:
    """Read JSON: UTF-8, finite numbers, whole numbers that fit 64 bits, no half characters, bounded.

    Raises
    ------
    ValueError
        If it is anything else.
    RecursionError
        If it is nested too deep.
    """
    if is_crowded(raw):
        raise ValueError("it holds more values than any record of staproj")
    value = _DECODER.decode(raw.decode("utf-8"))
    if b"\\u" in raw:
        json.dumps(value, ensure_ascii=False).encode()  # half characters cannot be written to any text file
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """Read TOML: whole numbers that fit 64 bits, keys and tables nested a few levels.

    Raises
    ------
    ValueError
        If it is anything else (``tomllib.TOMLDecodeError`` is one).
    RecursionError
        If it is nested too deep.
    """
    if _LONG_KEY.search(text):  # the time to read a key grows with the square of its parts
        raise ValueError("a key of more than 60 parts")
    data = tomllib.loads(text)
    waiting: list[tuple[Any, int]] = [(data, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
            inner = value.values() if isinstance(value, dict) else value
            waiting += [(part, depth + 1) for part in inner if isinstance(part, dict | list | int)]
        elif value.bit_length() > 64:
            raise ValueError("a whole number that does not fit 64 bits")
    return data


def is_crowded(raw: bytes) -> bool:
    """Tell whether text holds more values than would fit into a few hundred megabytes of memory."""
    return raw.count(b"{") + raw.count(b"[") > MAX_CONTAINERS or raw.count(b",") > MAX_VALUES


def _whole(text: str) -> int:
    if len(text) > MAX_INT_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a number beyond all bounds: {text[:20]}")
    return value


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not a number")


def _is_link(where: str) -> StorageError:
    return StorageError(
        "a link stands where staproj keeps files of its own; it is not followed",
        where=where,
        hint="put the file itself there, or move the whole project to the other disk",
    )


def _not_regular(path: Path) -> StorageError:
    return StorageError(
        "not a regular file", where=str(path), hint="a project holds regular files and directories only"
    )


_DECODER = json.JSONDecoder(parse_float=_finite, parse_int=_whole, parse_constant=_refuse)
