"""Lock of a project: a directory with a record of who holds it.

It is held for moments only (giving out a run number, replacing the manifest), never while computing. The
directory is made beside the lock, the record is written into it, and it takes the name of the lock by rename,
which fails where a lock is: so no lock is ever without its record, wherever a process is killed.

A lock is broken only with proof that its owner is gone, never because it is old; breakers go one at a time.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from staproj.errors import LockedError, StorageError
from staproj.project import reading
from staproj.project.atomic import storage_errors
from staproj.project.process import is_alive, this_process, user_name

_POLL_S = 0.005
_POLL_MAX_S = 0.02
_UNOWNED_GRACE_S = 5.0
_RECORD = "owner.json"
_RECORD_MAX = 65_536
_NOT_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
WAITING = "lock-wait-"
BROKEN = "lock-broken-"
BREAKING = "lock-breaking"
_BREAKER_MAX_S = 10.0


@contextmanager
def project_lock(path: Path, *, purpose: str, timeout_s: float = 20.0) -> Iterator[None]:
    """Hold the lock directory ``path``.

    Raises
    ------
    LockedError
        If another live process holds it for longer than ``timeout_s``.
    StorageError
        If the project is not writable.
    """
    token = uuid.uuid4().hex
    ready = path.with_name(f"{WAITING}{os.getpid()}-{token[:12]}")
    owner = {**this_process(), "token": token, "user": user_name(), "purpose": purpose, "since": time.time()}
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            ready.mkdir()
            (ready / _RECORD).write_text(json.dumps(owner))
        _take(ready, path, time.monotonic() + timeout_s)
    except BaseException:
        shutil.rmtree(ready, ignore_errors=True)
        raise
    try:
        yield
    finally:
        if owner_of(path).get("token") == token:
            with suppress(OSError):
                path.rename(ready)
            shutil.rmtree(ready, ignore_errors=True)


def owner_of(path: Path) -> dict[str, Any]:
    """Return the record of who holds a lock (empty if there is none that can be read)."""
    with suppress(OSError, ValueError, RecursionError, StorageError):
        value = reading.parse_json(reading.read_bytes(path / _RECORD, _RECORD_MAX))
        if isinstance(value, dict):
            return value
    return {}


def age_s(path: Path) -> float | None:
    """Return for how long a lock has been held, seconds (``None`` if there is no lock)."""
    try:
        changed = path.stat().st_mtime
    except OSError:
        return None
    since = owner_of(path).get("since")
    return max(0.0, time.time() - (since if isinstance(since, int | float) else changed))


def is_proven_dead(path: Path) -> bool | None:
    """Tell whether the owner of a lock is gone; ``None`` where that cannot be known from here.

    A lock without a record (an older staproj was stopped as it took it) counts as gone after some seconds.
    """
    owner = owner_of(path)
    if owner:
        alive = is_alive(owner)
        return None if alive is None else not alive
    age = age_s(path)
    return age is not None and age > _UNOWNED_GRACE_S


def break_lock(path: Path, *, proven: bool = False) -> bool:
    """Take a lock away from an owner who is gone (``proven`` by other means than a look at it).

    Breakers go one at a time and look again: so what one of them takes away is the lock it looked at, for
    nobody else takes away the lock of a process that is gone. Returns whether it was taken.
    """
    only = path.with_name(BREAKING)
    try:
        only.mkdir()
    except FileExistsError:
        age = age_s(only)
        if age is not None and age > _BREAKER_MAX_S:  # a breaker that was stopped in its few microseconds
            with suppress(OSError):
                only.rmdir()
        return False
    except OSError:
        return False
    try:
        if not (proven or is_proven_dead(path)):
            return False
        tomb = path.with_name(f"{BROKEN}{os.getpid()}-{uuid.uuid4().hex[:8]}")
        try:
            path.rename(tomb)
        except OSError:
            return False
        shutil.rmtree(tomb, ignore_errors=True)
        return True
    finally:
        with suppress(OSError):
            only.rmdir()


def leftovers(private: Path) -> list[Path]:
    """Return directories that killed processes left beside the lock: none of them is in use."""
    found = [path for mark in (WAITING, BROKEN) for path in private.glob(f"{mark}*")]
    return sorted(path for path in found if is_proven_dead(path))


def _take(ready: Path, path: Path, deadline: float) -> None:
    """Give the prepared directory the name of the lock, as soon as nobody has it."""
    wait_s = _POLL_S
    if len(list(path.parent.glob(f"{WAITING}*"))) > 1:
        time.sleep(_POLL_MAX_S)  # others were here first: who has just let go would always win
    while True:
        try:
            if not _is_empty(path):
                ready.rename(path)  # onto a lock, which holds a record, no rename works
                return
        except FileNotFoundError:
            raise StorageError(
                "the directory of the project went away", where=str(path.parent), hint="run this again"
            ) from None
        except OSError as error:
            if error.errno == errno.ENOTDIR:
                raise StorageError(
                    "a file stands where the lock should be", where=str(path), hint="delete that file"
                ) from None
            if error.errno not in _NOT_TAKEN:
                with storage_errors(path):
                    raise
        if is_proven_dead(path) and break_lock(path):
            continue
        if time.monotonic() > deadline:
            raise _locked(path) from None
        time.sleep(wait_s)
        wait_s = min(_POLL_MAX_S, wait_s * 1.5)


def _is_empty(path: Path) -> bool:
    """Tell whether there is a lock without a record: one that an older staproj is just taking."""
    try:
        return not any(path.iterdir())
    except OSError:
        return False


def _locked(path: Path) -> LockedError:
    owner = owner_of(path)
    who = f"{owner.get('user', 'somebody')} on {owner.get('host', 'an unknown host')}"
    what = f"process {owner.get('pid', '?')}: {owner.get('purpose', 'unknown')}"
    return LockedError(
        f"the project is locked by {who} ({what})",
        where=str(path),
        hint="try again in a moment; `staproj unlock` tells whether that process is gone, and then breaks it",
    )
