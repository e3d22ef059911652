"""Where the space goes: by run, by class, by step. Allocated blocks, hard links counted once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staproj.errors import StaprojError
from staproj.project import atomic, cleared, index
from staproj.project.layout import Layout, RunDir

_BLOCK = 512
CLASSES = ("final", "intermediate", "scratch", "records")


@dataclass
class RunUse:
    """Bytes of one run by class ("attempts" count as scratch), and what was cleared of it."""

    run: str
    step: str
    bytes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    files: int = 0
    cleared: int = 0

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(self.bytes.values())


@dataclass
class Usage:
    """Bytes of a project. ``other`` is what lies in its directory besides runs (raw data, exports ...)."""

    runs: list[RunUse]
    trash: int = 0
    private: int = 0
    exports: int = 0
    other: int = 0

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(run.total for run in self.runs) + self.trash + self.private + self.exports + self.other


def measure(layout: Layout) -> Usage:
    """Measure with one look at every file (nothing is opened but the lists of outputs)."""
    seen: set[tuple[int, int]] = set()
    rows = index.rows(layout)
    one_class = {row.run: next(iter(row.bytes)) for row in rows if len(row.bytes) == 1}
    runs = [RunDir(layout.runs / row.directory) for row in rows]
    found = Usage([_run(run, seen, one_class.get(run.id)) for run in runs])
    found.trash = sum(size for _, size in _sizes(layout.trash, seen))
    found.exports = sum(size for _, size in _sizes(layout.exports, seen))
    found.private = sum(size for _, size in _sizes(layout.private, seen, skip=(layout.trash,)))
    found.private += layout.runs.lstat().st_blocks * _BLOCK if layout.runs.exists() else 0
    known = (layout.runs, layout.private, layout.exports)
    found.other = sum(size for _, size in _sizes(layout.root, seen, skip=known))
    return found


def recorded(layout: Layout) -> Usage:
    """Add up sizes from the index, without looking at outputs: quick also on a slow disk, but not exact.

    Hard links count each time, and records, tries and the trash are left out.
    """
    found = []
    for row in index.rows(layout):
        use = RunUse(row.run, row.step, files=row.files)
        use.bytes.update({name: size for name, size in row.bytes.items() if name in CLASSES})
        run = RunDir(layout.runs / row.directory)
        for entry in _cleared_entries(run):
            kind = str(entry.get("class", "intermediate"))
            use.bytes[kind] = max(0, use.bytes.get(kind, 0) - int(entry["size"]))
            use.cleared += int(entry["size"])
        found.append(use)
    return Usage(found)


def _run(run: RunDir, seen: set[tuple[int, int]], one_class: str | None) -> RunUse:
    """Measure one run; ``one_class`` is the class of all its outputs, where the index knows that."""
    use = RunUse(run.id, run.name.step)
    other = one_class if one_class in CLASSES else "final"
    classes = {} if one_class in CLASSES else _classes(run)
    prefix = f"{run.out.name}/"
    for path, size in _sizes(run.path, seen):
        use.files += bool(path)
        if path.startswith(prefix):
            use.bytes[classes.get(path.removeprefix(prefix), other)] += size
        elif path.startswith("attempt-"):
            use.bytes["scratch"] += size
        else:
            use.bytes["records"] += size
    use.cleared = sum(int(entry["size"]) for entry in _cleared_entries(run))
    return use


def _classes(run: RunDir) -> dict[str, str]:
    """Return the class of each output."""
    with suppress(StaprojError, KeyError, TypeError, AttributeError):
        if run.outputs.is_file():
            files = atomic.read_json(run.outputs)["files"]
            return {str(e["path"]): str(e["class"]) for e in files if e.get("class") in CLASSES}
    return {}


def _cleared_entries(run: RunDir) -> list[dict[str, Any]]:
    """Return what was cleared and is not back, with its class."""
    if not run.cleared.exists():
        return []
    classes = _classes(run)
    entries = cleared.read(run).get("cleared", [])
    gone = [entry for entry in entries if not (run.out / entry["path"]).is_file()]
    return [{**entry, "class": classes.get(entry["path"], "intermediate")} for entry in gone]


def _sizes(top: Path, seen: set[tuple[int, int]], skip: tuple[Path, ...] = ()) -> Iterator[tuple[str, int]]:
    """Yield (path relative to ``top``, allocated bytes) of files and directories; links are not followed."""
    try:
        yield "", top.lstat().st_blocks * _BLOCK
    except OSError:
        return
    left = {str(path) for path in skip}
    base = len(str(top)) + 1
    waiting = [str(top)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.path in left:
                        continue
                    with suppress(OSError):
                        stat = entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        elif stat.st_nlink > 1:
                            if (stat.st_dev, stat.st_ino) in seen:
                                continue
                            seen.add((stat.st_dev, stat.st_ino))
                        yield entry.path[base:], stat.st_blocks * _BLOCK
        except OSError:
            continue
