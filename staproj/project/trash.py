"""``.staproj/trash/<utc>-<op>/``: what was deleted, until it is purged.

Deleting is a rename, so it takes no time and no space, and :func:`restore` puts every file back as it was,
with its times. ``trash.json`` is written before the first file is moved: a stop in between leaves every file
either in its place or in the trash, never nowhere, and :func:`finish` goes on from there.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from staproj.errors import StaprojError, StorageError, UsageError
from staproj.project import atomic, cleared, reading, versions
from staproj.project.layout import Layout, RunDir, TrashDir
from staproj.project.process import user_name

FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One file (or directory of a try) that is in the trash: path relative to the project, and of which run.

    ``output`` is its path below ``out/`` where it is an output, ``size`` and ``sha256`` are what was sealed.
    """

    path: str
    run: str
    size: int
    sha256: str = ""
    output: str = ""


@dataclass(frozen=True)
class Trash:
    """What one operation deleted."""

    directory: TrashDir
    op: str
    time: str
    who: str
    why: str
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """Name of the directory, which also names it on the command line."""
        return self.directory.path.name

    def there(self) -> list[Entry]:
        """Return what still lies in the trash."""
        return [entry for entry in self.entries if os.path.lexists(self.directory.file(entry.path))]


def begin(layout: Layout, op: str, entries: Iterable[Entry], *, why: str) -> Trash:
    """Make a directory of the trash and write down what will be moved there; nothing is moved yet.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    with atomic.storage_errors(layout.trash):
        layout.trash.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            directory = TrashDir(layout.trash / (f"{stamp}-{op}" + (f"-{number}" if number > 1 else "")))
            with suppress(FileExistsError):
                directory.path.mkdir()
                break
    made = Trash(directory, op, versions.now(), user_name(), why, tuple(entries))
    content = {"format": FORMAT, "op": op, "time": made.time, "who": made.who, "why": why}
    atomic.write_json(directory.record, {**content, "entries": [asdict(entry) for entry in made.entries]})
    return made


def finish(layout: Layout, trash: Trash) -> int:
    """Mark the outputs as cleared and move everything that is not in the trash yet; return how many moved.

    Doing it twice is doing it once.

    Raises
    ------
    StorageError
        If the disk does not let it; what was not moved stays where it was.
    """
    for run, entries in _by_run(layout, trash.entries).items():
        outputs = [{"path": e.output, "size": e.size, "sha256": e.sha256} for e in entries if e.output]
        if outputs:
            cleared.add(run, outputs, why=trash.why, trash=trash.name)
    moved = 0
    made: set[Path] = set()
    with atomic.storage_errors(trash.directory.path):
        for entry in trash.entries:
            source, target = layout.root / entry.path, trash.directory.file(entry.path)
            if os.path.lexists(target) or not os.path.lexists(source):
                continue
            if not _is_below(source, layout.runs):
                continue
            reading.refuse_links(target)
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            _rename(source, target)
            moved += 1
    return moved


def all_trash(layout: Layout) -> list[Trash]:
    """Return what is in the trash, oldest first; directories without a readable record are left out."""
    found = []
    for directory in layout.trash_dirs():
        with suppress(StaprojError):
            part = read(directory)
            if part.there():  # nothing was moved there, or all of it is back
                found.append(part)
    return found


def find(layout: Layout, name: str) -> Trash:
    """Return one directory of the trash by name (or the newest, called "last").

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    everything = all_trash(layout)
    for trash in everything:
        if trash.name == name or (name == "last" and trash is everything[-1]):
            return trash
    if not everything:
        raise UsageError("the trash is empty")
    raise UsageError(f"there is nothing called {name!r} in the trash", hint="`staproj trash list` shows it")


def read(directory: TrashDir) -> Trash:
    """Read the record of one directory of the trash.

    Raises
    ------
    StorageError
        If it is damaged, or a path in it leads out of ``runs/``.
    """
    data = atomic.read_json(directory.record)
    try:
        entries = tuple(
            Entry(str(e["path"]), str(e["run"]), int(e["size"]), str(e["sha256"]), str(e["output"]))
            for e in data["entries"]
        )
        trash = Trash(
            directory, str(data["op"]), str(data["time"]), str(data["who"]), str(data["why"]), entries
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError("a record of the trash is damaged", where=str(directory.record)) from error
    for entry in entries:
        parts = PurePosixPath(entry.path).parts
        if entry.path.startswith("/") or ".." in parts or len(parts) < 3 or parts[0] != "runs":
            raise StorageError(
                f"a path in the trash leads astray: {entry.path!r}", where=str(directory.record)
            )
    return trash


def restore(layout: Layout, trash: Trash, runs: Collection[str] | None = None) -> list[Entry]:
    """Put files back where they were, exactly (all, or those of some runs); return what was put back.

    A file that has come back in another way stays as it is.

    Raises
    ------
    StorageError
        If the disk does not let it.
    """
    back = []
    with atomic.storage_errors(trash.directory.path):
        for entry in trash.there():
            if runs is not None and entry.run not in runs:
                continue
            source, target = trash.directory.file(entry.path), layout.root / entry.path
            if os.path.lexists(target) or not _is_below(target, layout.runs):
                continue
            if not is_safe(trash, source):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            _rename(source, target)
            back.append(entry)
    for run, entries in _by_run(layout, trash.entries).items():
        if run.cleared.exists():
            cleared.remove(run, [e.output for e in entries if e.output and (run.out / e.output).is_file()])
    if not trash.there():
        purge(trash)
    return back


def purge(trash: Trash) -> None:
    """Delete for good; the record goes last, so that a stop in between leaves no nameless rest."""
    with atomic.storage_errors(trash.directory.path):
        shutil.rmtree(trash.directory.file("."), ignore_errors=True)
        shutil.rmtree(trash.directory.path)


def size_of(trash: Trash) -> int:
    """Return the bytes on the disk that purging gives back: files whose last names are all in this trash."""
    seen: dict[tuple[int, int], list[int]] = {}
    for directory, _, names in os.walk(trash.directory.path):
        for name in names:
            with suppress(OSError):
                stat = (Path(directory) / name).lstat()
                known = seen.setdefault((stat.st_dev, stat.st_ino), [stat.st_nlink, 0, stat.st_blocks * 512])
                known[1] += 1
    return sum(size for links, found, size in seen.values() if found >= links)


def _by_run(layout: Layout, entries: Iterable[Entry]) -> dict[RunDir, list[Entry]]:
    """Sort entries by run; of runs that do not exist any more there is nothing to say."""
    found: dict[RunDir, list[Entry]] = {}
    for entry in entries:
        run = RunDir(layout.root / Path(*PurePosixPath(entry.path).parts[:2]))
        if run.path.is_dir():
            found.setdefault(run, []).append(entry)
    return found


def is_safe(trash: Trash, source: Path) -> bool:
    """Tell whether a file lies in a directory of the trash itself and is no link."""
    return _is_below(source, trash.directory.path) and not source.is_symlink()


def _is_below(path: Path, base: Path) -> bool:
    """Tell whether no link on the way leads out of ``base``."""
    top = os.path.realpath(base)
    return os.path.commonpath([top, os.path.realpath(path.parent)]) == top


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise StorageError(
                "the trash lies on another disk than the runs, so nothing can be moved there",
                where=str(source),
                hint="let runs/ and .staproj/ be on one disk",
            ) from error
        raise
