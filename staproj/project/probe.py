"""What the file system of a project can do, tried out and told in plain words.

Every answer comes from an attempt in a directory of its own below ``.staproj``, never from the name of the
file system. The answers are kept in ``.staproj/cap.json`` by host: the same disk can behave differently on
another machine.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from staproj.errors import StaprojError
from staproj.project import atomic
from staproj.project.layout import Layout
from staproj.project.process import this_process

FORMAT = 1
HOSTS_KEPT = 64
SKEW_S = 5.0
SLOW_FSYNC_MS = 100.0
LOW_BYTES = 2 << 30
LOW_INODES = 10_000
_STAMP_NS = 1_500_000_000_123_456_789

MEANING = {
    "mkdir_exclusive": "two processes could both make one directory: run numbers are not safe here",
    "rename_replaces": "a file cannot replace another in one step: a crash could leave half a record",
    "rename_exclusive": "a directory can take the place of one that is in use: the lock of the project fails",
    "hard_links": "no hard links: finished tilt series that are used again are copied and take space twice",
    "flock": "no file locks: staproj does without, but other programs may not",
    "symlinks": "no symbolic links: staproj does without",
    "case_sensitive": "names that differ only in upper and lower case are one file: name steps differently",
    "long_names": "long file names are cut or refused: keep names of steps and tilt series short",
}
ESSENTIAL = ("mkdir_exclusive", "rename_replaces", "rename_exclusive")


def probe(layout: Layout, *, quick: bool = False) -> dict[str, Any]:
    """Try the file system out; ``quick`` leaves out what waits for the disk.

    Returns booleans by the names of :data:`MEANING`, ``fsync_ms``, ``mtime_ns`` (steps in which times are
    kept), ``clock_skew_s`` (file server minus this machine), ``free_bytes``, ``free_inodes``, ``name_max``.

    Raises
    ------
    StorageError
        If the project cannot be written to.
    """
    began = time.perf_counter()
    place = layout.private / f"probe-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    with atomic.storage_errors(place):
        layout.private.mkdir(exist_ok=True)
        place.mkdir()
    try:
        found: dict[str, Any] = {name: _try(test, place) for name, test in _TESTS.items()}
        found["mtime_ns"] = _mtime_step(place)
        found["clock_skew_s"] = _skew(place)
        found["fsync_ms"] = None if quick else _fsync_ms(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    space = os.statvfs(layout.private)
    found["free_bytes"] = space.f_bavail * space.f_frsize
    found["free_inodes"] = space.f_favail if space.f_files else None
    found["name_max"] = space.f_namemax
    found["time"] = round(time.time(), 3)
    found["took_ms"] = round(1000 * (time.perf_counter() - began), 1)
    return found


def known(layout: Layout) -> dict[str, Any]:
    """Return what was found before, by host (empty if nothing can be read)."""
    with suppress(StaprojError):
        hosts = atomic.read_json(layout.capabilities).get("hosts")
        if isinstance(hosts, dict):
            return {str(host): found for host, found in hosts.items() if isinstance(found, dict)}
    return {}


def remember(layout: Layout, found: dict[str, Any]) -> None:
    """Keep the answers of this host; the oldest hosts are forgotten."""
    hosts = {**known(layout), str(this_process()["host"]): found}
    order = sorted(hosts, key=lambda host: _when(hosts[host]), reverse=True)[:HOSTS_KEPT]
    content = {"format": FORMAT, "hosts": {host: hosts[host] for host in sorted(order)}}
    atomic.write_json(layout.capabilities, content, sync_dir=False)


def first_from_here(layout: Layout) -> None:
    """Try the file system out quickly when this host writes to the project for the first time."""
    with suppress(OSError, StaprojError):
        if str(this_process()["host"]) not in known(layout):
            remember(layout, probe(layout, quick=True))


def complaints(found: dict[str, Any]) -> list[tuple[bool, str, str]]:
    """Return (serious, name, plain words) of what is not as it should be."""
    told = [(name in ESSENTIAL, name, text) for name, text in MEANING.items() if found.get(name) is False]
    skew = found.get("clock_skew_s")
    if isinstance(skew, int | float) and abs(skew) > SKEW_S:
        way = "ahead of" if skew > 0 else "behind"
        words = (
            f"the clock of the file server is {abs(skew):.0f} s {way} this machine's: ages of files mislead"
        )
        told.append((False, "clock_skew_s", words))
    slow = found.get("fsync_ms")
    if isinstance(slow, int | float) and slow > SLOW_FSYNC_MS:
        told.append(
            (False, "fsync_ms", f"making one file safe takes {slow:.0f} ms: sealing runs will be slow")
        )
    step = found.get("mtime_ns")
    if isinstance(step, int) and step >= 1_000_000_000:
        words = "times of files are kept to the second: a change within it may be seen only by its size"
        told.append((False, "mtime_ns", words))
    free, nodes = found.get("free_bytes"), found.get("free_inodes")
    if isinstance(free, int) and free < LOW_BYTES:
        told.append(
            (True, "free_bytes", f"only {free / 1e9:.1f} GB are free: `staproj du` shows where they are")
        )
    if isinstance(nodes, int) and nodes < LOW_INODES:
        told.append((True, "free_inodes", f"only {nodes} more files can be made on this disk"))
    return told


def _when(found: dict[str, Any]) -> float:
    value = found.get("time")
    return float(value) if isinstance(value, int | float) else 0.0


def _try(test: Callable[[Path], bool], place: Path) -> bool:
    try:
        return test(place)
    except OSError:
        return False


def _mkdir_exclusive(place: Path) -> bool:
    (place / "d").mkdir()
    try:
        (place / "d").mkdir()
    except FileExistsError:
        return True
    return False


def _rename_replaces(place: Path) -> bool:
    (place / "old").write_bytes(b"old")
    (place / "new").write_bytes(b"new")
    (place / "new").replace(place / "old")
    return (place / "old").read_bytes() == b"new" and not (place / "new").exists()


def _rename_exclusive(place: Path) -> bool:
    for name in ("held", "wanted"):
        (place / name).mkdir()
        (place / name / "record").write_bytes(b"x")
    try:
        (place / "wanted").rename(place / "held")
    except OSError as error:
        return error.errno in (errno.EEXIST, errno.ENOTEMPTY)
    return False


def _hard_links(place: Path) -> bool:
    (place / "one").write_bytes(b"x")
    (place / "two").hardlink_to(place / "one")
    return (place / "one").stat().st_ino == (place / "two").stat().st_ino


def _flock(place: Path) -> bool:
    (place / "lock").write_bytes(b"")
    with (place / "lock").open("rb") as first, (place / "lock").open("rb") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _symlinks(place: Path) -> bool:
    (place / "link").symlink_to("nowhere")
    return (place / "link").is_symlink()


def _case_sensitive(place: Path) -> bool:
    (place / "case").write_bytes(b"")
    return not (place / "CASE").exists()


def _long_names(place: Path) -> bool:
    name = "n" * 250
    (place / name).write_bytes(b"")
    return name in {path.name for path in place.iterdir()}


def _mtime_step(place: Path) -> int:
    """Return the steps in which times are kept, ns: 1 where every nanosecond is."""
    path = place / "time"
    path.write_bytes(b"")
    os.utime(path, ns=(_STAMP_NS, _STAMP_NS))
    lost = abs(path.stat().st_mtime_ns - _STAMP_NS)
    return next((step for step in (1, 100, 1_000, 1_000_000) if lost < step), 1_000_000_000)


def _skew(place: Path) -> float:
    """Return by how much the clock that stamps files is ahead of ours, seconds."""
    path = place / "clock"
    before = time.time()
    path.write_bytes(b"x")
    after = time.time()
    stamp = path.stat().st_mtime
    if before - 0.05 <= stamp <= after + 0.05:  # kernels stamp files by a clock that ticks more slowly
        return 0.0
    return round(stamp - (before + after) / 2, 3)


def _fsync_ms(place: Path) -> float:
    times = []
    for turn in range(5):
        began = time.perf_counter()
        atomic.write_bytes(place / f"sync{turn}", b"x" * 4096)
        times.append(1000 * (time.perf_counter() - began))
    return round(sorted(times)[len(times) // 2], 2)


_TESTS: dict[str, Callable[[Path], bool]] = {
    "mkdir_exclusive": _mkdir_exclusive,
    "rename_replaces": _rename_replaces,
    "rename_exclusive": _rename_exclusive,
    "hard_links": _hard_links,
    "flock": _flock,
    "symlinks": _symlinks,
    "case_sensitive": _case_sensitive,
    "long_names": _long_names,
}
