"""Operations on several files, written down before they begin: ``.staproj/journal/<utc>-<op>-<n>.json``.

An entry that is left behind (its process is gone, or gave up with an error) is carried to its end by
``engine.recover``, with the function registered there for its ``op``. Such functions must be idempotent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.errors import StaprojError
from staproj.project import atomic
from staproj.project.layout import Layout
from staproj.project.process import is_alive, this_process

FORMAT = 1


@dataclass(frozen=True)
class Pending:
    """An operation that was begun and not ended; ``left`` tells that nobody is at it any more."""

    path: Path
    op: str
    facts: dict[str, Any]
    left: bool

    def done(self) -> None:
        """Take the entry away: the operation is complete."""
        with atomic.storage_errors(self.path):
            self.path.unlink(missing_ok=True)


@contextmanager
def entry(layout: Layout, op: str, facts: Mapping[str, Any]) -> Iterator[None]:
    """Write an entry, durably, for the length of a ``with`` block; an error leaves it to be carried on.

    Raises
    ------
    StorageError
        If it cannot be written: nothing must have been changed yet.
    """
    content = {"format": FORMAT, "op": op, "facts": dict(facts), "who": this_process(), "left": False}
    with atomic.storage_errors(layout.journal):
        layout.journal.mkdir(parents=True, exist_ok=True)
    path = _free_name(layout, op)
    atomic.write_json(path, content)
    try:
        yield
    except BaseException:
        with suppress(OSError, StaprojError):
            atomic.write_json(path, {**content, "left": True}, sync=False)
        raise
    with atomic.storage_errors(path):
        path.unlink(missing_ok=True)


def pending(layout: Layout) -> list[Pending]:
    """Return the entries there are, oldest first; one that cannot be read is left out."""
    found = []
    for path in sorted(layout.journal.glob("*.json")):
        with suppress(StaprojError):
            data = atomic.read_json(path)
            op, facts, who = data.get("op"), data.get("facts"), data.get("who")
            if isinstance(op, str) and isinstance(facts, dict) and isinstance(who, dict):
                left = data.get("left") is True or is_alive(who) is False
                found.append(Pending(path, op, facts, left))
    return found


def _free_name(layout: Layout, op: str) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return layout.journal / f"{stamp}-{op}-{os.getpid()}-{time.monotonic_ns()}.json"
