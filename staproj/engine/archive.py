"""Which runs, and which kinds of their files, an archive holds.

Sealed runs enter as they are; of runs that failed or broke off the records do; a run that is going on is left
out, and the archive says so. Where only some runs are asked for, the records of all runs they come from go
with them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staproj.errors import StaprojError, StorageError, UsageError
from staproj.project import atomic, bag, checks, runs, versions
from staproj.project.bag import Entry
from staproj.project.layout import Layout, RunDir
from staproj.project.tarball import Names, name_problem

CLASSES = ("final", "intermediate", "scratch", "raw", "exports", "other")
_NS = 1_000_000_000


@dataclass
class Selection:
    """What was asked for, made definite.

    ``full`` are the runs whose outputs go in, ``records`` all whose records do (both as r0042); ``avoid``
    are files that belong to writing the archive itself. ``absent`` are outputs that are only listed and
    ``listed_files`` counts the outputs of each run, once :func:`archive_files.count` was called.
    """

    layout: Layout
    without: tuple[str, ...]
    partial: bool
    include_raw: bool
    keep_going: bool
    avoid: frozenset[str]
    created: int
    versions: tuple[int, ...]
    dirs: dict[str, RunDir]
    full: frozenset[str] = frozenset()
    records: tuple[str, ...] = ()
    raw: dict[str, str] = field(default_factory=dict)
    raw_folders: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    listed_files: dict[str, int] = field(default_factory=dict)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    names: Names = field(default_factory=Names)

    def entry(self, stored: str, facts: os.stat_result, sha256: str = "") -> Entry | None:
        """Return the entry of a file of the project, or note why it cannot be archived."""
        name = bag.DATA + stored
        if not self.usable(name):
            return None
        source = f"{self.layout.root}/{stored}"
        if not os.access(source, os.R_OK):
            if not self.keep_going:
                raise StorageError(
                    "a file of the project cannot be read",
                    where=stored,
                    hint="ask its owner for permission; --keep-going leaves such files out and says so",
                )
            self.leave_out(stored, "no permission to read it")
            return None
        return Entry(name, facts.st_size, facts.st_mtime_ns, source, sha256=sha256.removeprefix("sha256:"))

    def text(self, stored: str, text: str, mtime_ns: int | None = None) -> Entry:
        """Return the entry of a file that is made for the archive, or copied into its plan."""
        self.names.add(bag.DATA + stored)
        return bag.text_entry(bag.DATA + stored, text, self.created * _NS if mtime_ns is None else mtime_ns)

    def usable(self, name: str) -> bool:
        """Tell whether a name can be in an archive; note the one that cannot."""
        problem = name_problem(name) or self.names.add(name)
        if problem:
            self.leave_out(name.removeprefix(bag.DATA), problem)
        return not problem

    @property
    def created_text(self) -> str:
        """Time of what is made for the archive, as text."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.created))

    def leave_out(self, stored: str, why: str) -> None:
        """Note something that is not archived."""
        self.left_out.append({"path": stored.encode("utf-8", "replace").decode(), "why": why})


def select(
    layout: Layout,
    *,
    without: Sequence[str] = (),
    only: Sequence[str] | None = None,
    include_raw: bool = False,
    keep_going: bool = False,
    avoid: Sequence[Path] = (),
) -> Selection:
    """Work out which runs an archive holds; ``only`` names runs or steps (``None``: everything).

    Raises
    ------
    UsageError
        If a class or run does not exist, or a run asked for is not complete.
    """
    unknown = [name for name in without if name not in CLASSES]
    if unknown:
        raise UsageError(
            f"{unknown[0]!r} is not a class of files",
            where="--without",
            hint=f"it can be {', '.join(CLASSES)}",
        )
    numbers = tuple(versions.numbers(layout))  # before the runs: no version may name a run that is not there
    dirs = {name.id: layout.run(name) for name in sorted(layout.iter_runs())}
    chosen = Selection(
        layout=layout,
        without=tuple(sorted(set(without))),
        partial=only is not None,
        include_raw=include_raw,
        keep_going=keep_going,
        avoid=frozenset(layout.relative(path) for path in avoid),
        created=_newest(layout, numbers, dirs.values()),
        versions=numbers,
        dirs=dirs,
    )
    if only is None:
        chosen.full = frozenset(run for run, directory in dirs.items() if directory.is_sealed())
        chosen.records = tuple(run for run in dirs if _stands_still(chosen, run))
    else:
        chosen.full = frozenset(_run_of(chosen, text) for text in only)
        chosen.records = tuple(sorted(_with_ancestors(chosen), key=lambda run: int(run[1:])))
    chosen.raw = _raw_data(chosen)
    chosen.raw_folders = _raw_folders(chosen)
    return chosen


def _newest(layout: Layout, numbers: Iterable[int], dirs: Iterable[RunDir]) -> int:
    """Return when the project last changed, in seconds since 1970.

    What is made for the archive gets this time: an unchanged project gives the same archive, bit for bit.
    """
    paths = [layout.manifest, *map(layout.version, numbers), *(run.sealed for run in dirs)]
    newest = 0
    for path in paths:
        with suppress(OSError):
            newest = max(newest, int(path.stat().st_mtime))
    return newest


def _run_of(chosen: Selection, text: str) -> str:
    """Return the complete run that a run or step names."""
    run = versions.current_heads(chosen.layout).get(text) or chosen.layout.find_run(text).id
    if not chosen.dirs[run].is_sealed():
        raise UsageError(f"run {run} is not complete", hint="only complete runs can be archived by name")
    return run


def _with_ancestors(chosen: Selection) -> set[str]:
    """Return the chosen runs and all runs they come from."""
    found: set[str] = set()
    waiting = list(chosen.full)
    while waiting:
        run = waiting.pop()
        if run in found or run not in chosen.dirs:
            continue
        found.add(run)
        directory = chosen.dirs[run]
        spec = checks.spec(atomic.read_json(directory.spec), str(directory.spec), run)
        waiting += [str(use["run"]) for use in spec["inputs"].values()]
        for item in spec["items"] or [None]:
            with suppress(StaprojError):
                origin = atomic.read_json(directory.item_done(item)).get("reused_from")
                waiting += [origin] if isinstance(origin, str) else []
    return found


def _stands_still(chosen: Selection, run: str) -> bool:
    """Tell whether nothing writes to a run; note the one that is left out."""
    directory = chosen.dirs[run]
    state = "sealed" if directory.is_sealed() else runs.state_of(directory).state
    if state in ("sealed", "failed", "interrupted"):
        return True
    chosen.leave_out(chosen.layout.relative(directory.path), f"the run was {state}")
    return False


def _raw_data(chosen: Selection) -> dict[str, str]:
    """Return the raw data that the archived runs have read, with fingerprints."""
    found: dict[str, str] = {}
    for run in chosen.records:
        directory = chosen.dirs[run]
        with suppress(StaprojError):
            spec = checks.spec(atomic.read_json(directory.spec), str(directory.spec), run)
            for data in spec["data"].values():
                found.update((str(stored), str(fingerprint)) for stored, fingerprint in data["files"])
    return dict(sorted(found.items()))


def _raw_folders(chosen: Selection) -> dict[str, str]:
    """Return where each directory of raw data outside the project goes in the archive."""
    top = "raw" if not (chosen.layout.root / "raw").exists() else "raw-outside"
    outside = sorted({str(Path(stored).parent) for stored in chosen.raw if not is_inside(stored)})
    return {folder: f"{top}/{number:02d}" for number, folder in enumerate(outside, start=1)}


def is_inside(stored: str) -> bool:
    """Tell whether raw data lies in the project directory."""
    return not Path(stored).is_absolute() and not stored.startswith("..")


def raw_name(chosen: Selection, stored: str) -> str:
    """Return the name raw data has in the archive: its own inside the project, one below raw/ outside."""
    if is_inside(stored):
        return bag.DATA + stored
    outside = Path(stored)
    return f"{bag.DATA}{chosen.raw_folders[str(outside.parent)]}/{outside.name}"


def place_of(chosen: Selection, stored: str) -> str | None:
    """Return where a file of the project lies below ``data/`` (``None``: it is only listed)."""
    if stored in chosen.raw:
        return raw_name(chosen, stored).removeprefix(bag.DATA) if raw_is_in(chosen, stored) else None
    if stored in chosen.absent or not is_inside(stored):
        return None
    return stored if (chosen.layout.root / stored).is_file() else None


def raw_is_in(chosen: Selection, stored: str) -> bool:
    """Tell whether raw data goes into the archive."""
    if not chosen.layout.absolute(stored).is_file():
        return False
    return chosen.include_raw or (raw_is_met(chosen, stored) and "raw" not in chosen.without)


def raw_is_met(chosen: Selection, stored: str) -> bool:
    """Tell whether the walk through the project meets raw data: inside, and not behind a link."""
    if not is_inside(stored) or chosen.partial:
        return False
    root = os.path.realpath(chosen.layout.root)
    return os.path.realpath(chosen.layout.absolute(stored)) == f"{root}/{stored}"
