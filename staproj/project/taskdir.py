"""File names inside the directory of one command that goes on in the background."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from staproj.project.layout import Layout

TASK_ID = re.compile(r"^b([0-9]{4,9})\Z")


@dataclass(frozen=True)
class TaskDir:
    """Paths of one command that goes on without a terminal: an archive, an export, a check."""

    path: Path

    @property
    def id(self) -> str:
        """Short name, ``b0001``."""
        return self.path.name

    @property
    def request(self) -> Path:
        """The command: never changes."""
        return self.path / "task.json"

    @property
    def process(self) -> Path:
        """Which process does it."""
        return self.path / "process.json"

    @property
    def heartbeat(self) -> Path:
        """Touched while it goes on."""
        return self.path / "heartbeat"

    @property
    def out(self) -> Path:
        """What the command prints."""
        return self.path / "out.txt"

    @property
    def log(self) -> Path:
        """How far it is, one JSON line each time, and what went wrong."""
        return self.path / "log.txt"

    @property
    def cancel(self) -> Path:
        """Marker that asks it to stop."""
        return self.path / "CANCEL"

    @property
    def result(self) -> Path:
        """How it ended."""
        return self.path / "result.json"


def task(layout: Layout, number: int) -> TaskDir:
    """Return the paths of a command in the background."""
    return TaskDir(layout.background / f"b{number:04d}")


def task_numbers(layout: Layout) -> list[int]:
    """Return the numbers of all commands in the background, sorted (one directory listing)."""
    try:
        names = [path.name for path in layout.background.iterdir() if not path.is_symlink()]
    except OSError:
        return []
    return sorted(int(found[1]) for name in names if (found := TASK_ID.match(name)))
