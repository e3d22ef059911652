"""Lock of a project: a directory made by mkdir, with a record of who holds it.

It is held for moments only (giving out a run number, replacing the manifest), never while computing.
A lock is broken only with proof that its owner is gone, never because it is old.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from staproj.errors import LockedError
from staproj.project.atomic import storage_errors
from staproj.project.process import is_alive, this_process, user_name

_POLL_S = 0.02
_UNOWNED_GRACE_S = 5.0


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
    deadline = time.monotonic() + timeout_s
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            with storage_errors(path):
                path.mkdir()
            break
        except FileExistsError:
            if _break_if_dead(path):
                continue
            if time.monotonic() > deadline:
                raise _locked(path) from None
            time.sleep(_POLL_S)
    owner = {**this_process(), "token": token, "user": user_name(), "purpose": purpose, "since": time.time()}
    try:
        with storage_errors(path):
            (path / "owner.json").write_text(json.dumps(owner))
        yield
    finally:
        if _owner(path).get("token") in (token, None):
            shutil.rmtree(path, ignore_errors=True)


def _owner(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        value = json.loads((path / "owner.json").read_text())
        if isinstance(value, dict):
            return value
    return {}


def _break_if_dead(path: Path) -> bool:
    """Remove the lock if its owner is proven gone; one breaker wins, by rename."""
    owner = _owner(path)
    if owner:
        dead = is_alive(owner) is False
    else:
        try:
            dead = time.time() - path.stat().st_mtime > _UNOWNED_GRACE_S
        except FileNotFoundError:
            return True
    if not dead:
        return False
    tomb = path.with_name(f"lock-broken-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        path.rename(tomb)
    except OSError:
        return True
    if _owner(tomb).get("token") != owner.get("token"):
        with suppress(OSError):
            tomb.rename(path)
        return False
    shutil.rmtree(tomb, ignore_errors=True)
    return True


def _locked(path: Path) -> LockedError:
    owner = _owner(path)
    who = f"{owner.get('user', 'somebody')} on {owner.get('host', 'an unknown host')}"
    what = f"process {owner.get('pid', '?')}: {owner.get('purpose', 'unknown')}"
    return LockedError(
        f"the project is locked by {who} ({what})",
        where=str(path),
        hint="try again in a moment; if that process is gone for certain, delete this directory",
    )
