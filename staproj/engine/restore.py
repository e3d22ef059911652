"""Take a project, or one run of it, out of an archive.

Everything is written into a new directory beside the wanted one, checked while it is written, and appears by
one rename. Only directories and plain files are made, with names that were checked, in a directory that is
ours: an archive cannot reach anything else.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from staproj.errors import CheckError, FormatError, StorageError, UsageError
from staproj.project import atomic, bag, checks, cleared, reading, schema
from staproj.project.bag_read import BagReader, Damage, is_archive
from staproj.project.fingerprints import sha256_file
from staproj.project.layout import MANIFEST, RUN_ID, RUN_NAME, Layout, RunDir
from staproj.project.lock import project_lock
from staproj.project.tarball import Member

Tell = Callable[[int, int, str], None]
NOT_RESTORED = "not restored from the archive"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CRATE = bag.CRATE.removeprefix(bag.DATA)
_RESERVE = 16 << 20


@dataclass
class Restored:
    """What came out of an archive. ``problems`` are files that were damaged before they were archived."""

    directory: Path
    files: int = 0
    n_bytes: int = 0
    runs: list[str] = field(default_factory=list)
    cleared_files: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)


def restore(
    archive: Path,
    directory: Path,
    *,
    run: str | None = None,
    max_bytes: int | None = None,
    tell: Tell = lambda done, total, what: None,
) -> Restored:
    """Unpack and check an archive into a new directory; ``run`` brings the outputs of one run only.

    With ``run``, ``directory`` may also be a project that has the records of that run: its missing and its
    damaged outputs come back.

    Raises
    ------
    CheckError
        If a bit of the archive has changed; nothing is left behind then.
    FormatError
        If it is no archive of staproj, or one that should not be unpacked.
    UsageError
        If the directory is there already, or the run is not in the archive.
    """
    if run is not None and not (RUN_ID.match(run) or RUN_NAME.match(run)):
        raise UsageError(f"{run!r} is not a run", hint="name it like r0042")
    directory = Path(os.path.abspath(directory))
    if run is not None and (directory / MANIFEST).is_file():
        return _into_project(archive, Layout(directory), run, max_bytes, tell)
    if directory.is_symlink() or (
        directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
    ):
        raise UsageError("the directory is there already", where=str(directory), hint="name a new one")
    with atomic.storage_errors(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".part", dir=directory.parent))
        try:
            restored = _unpack(archive, temporary, run, max_bytes, tell)
            _finish(temporary, restored, run)
            _sync_file_system(temporary)
            temporary.chmod(_as_mkdir_would())
            temporary.rename(directory)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        atomic.fsync_dir(directory.parent)
    restored.directory = directory
    return restored


def _unpack(archive: Path, root: Path, run: str | None, max_bytes: int | None, tell: Tell) -> Restored:
    """Write the files of an archive below ``root``; every one of the archive is checked."""
    restored = Restored(root)
    folders: set[str] = set()
    met = False
    with _damage_as_check(archive):
        reader = BagReader(archive, max_bytes=max_bytes)
        for name, member, pieces in reader:
            total = reader.contents.oxum.n_bytes
            if name == bag.INFO:
                for _ in pieces:
                    pass
                continue
            tell(reader.contents.n_bytes - member.size, total, name)
            if name == bag.STUBS:
                _check_room(root, total)
            stored = name.removeprefix(bag.DATA)
            if stored in (name, _CRATE) or not _wanted(stored, run):
                continue
            _check_private(root, stored)
            met = met or (run is not None and _is_of(stored, run))
            _write_file(root, stored, member, pieces, folders)
            restored.files += 1
            restored.n_bytes += member.size
        _raise_damage(reader.contents.damage, archive)
    if run is not None and not met:
        raise UsageError(f"run {run} is not in the archive", where=str(archive))
    restored.problems = _problems_in(reader.contents.problems)
    tell(total, total, "done")
    return restored


def _check_private(root: Path, stored: str) -> None:
    """Refuse locks, jobs and journals: they are no part of an archive, and would be acted on."""
    layout = Layout(root)
    private = layout.relative(layout.private) + "/"
    if stored.casefold().startswith(private) and stored != layout.relative(layout.counter):
        raise FormatError("a file that no archive of staproj holds", where=stored)


def _problems_in(text: bytes) -> list[dict[str, Any]]:
    """Return what problems.json lists (nothing, if there is none)."""
    if not text:
        return []
    try:
        found = json.loads(text)["problems"]
        return [{str(k): str(v) for k, v in entry.items()} for entry in found]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError("the list of problems cannot be read", where=bag.PROBLEMS) from error


def _wanted(stored: str, run: str | None) -> bool:
    """Tell whether a file is asked for: with one run, all records, but outputs of that run only."""
    if run is None:
        return True
    parts = PurePosixPath(stored).parts
    if parts[0] != "runs" or len(parts) < 3:
        return parts[0] in (MANIFEST, "versions", "annot", ".staproj")
    return parts[2] != "out" or _is_of(stored, run)


def _is_of(stored: str, run: str) -> bool:
    name = PurePosixPath(stored).parts[1] if stored.startswith("runs/") else ""
    return name == run or name.partition("-")[0] == run


def _write_file(root: Path, stored: str, member: Member, pieces: Iterator[bytes], folders: set[str]) -> None:
    folder = stored.rpartition("/")[0]
    path = root / stored
    if folder not in folders:
        path.parent.mkdir(parents=True, exist_ok=True)
        folders.add(folder)
    with os.fdopen(os.open(path, _FLAGS, 0o644), "wb", buffering=0) as handle:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[handle.write(view) :]
    os.utime(path, (member.mtime, member.mtime))


def _check_room(root: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(root).free
    if n_bytes + _RESERVE > free:
        raise StorageError(
            f"the archive holds {n_bytes} bytes, and {free} are free",
            where=str(root.parent),
            hint="free some space, or restore to another disk",
        )


# ------------------------------------------------------------------------------------ afterwards
def _finish(root: Path, restored: Restored, run: str | None) -> None:
    """Set times and permissions as the records say, and note which outputs are not here."""
    layout = Layout(root)
    if not layout.manifest.is_file():
        raise FormatError("there is no project in the archive", hint="`tar xf` unpacks what there is")
    known = {str(problem.get("path", "")).removeprefix(bag.DATA) for problem in restored.problems}
    for name in sorted(layout.iter_runs()):
        directory = layout.run(name)
        restored.runs.append(name.id)
        if not directory.is_sealed():
            continue
        listed = checks.outputs(atomic.read_json(directory.outputs), str(directory.outputs))["files"]
        lacking = []
        for entry in listed:
            path = directory.out / str(entry["path"])
            try:
                facts = path.lstat()
            except OSError:
                lacking.append(entry)
                continue
            if facts.st_size != entry["size"] and layout.relative(path) not in known:
                raise CheckError("an output is not what its record says", where=layout.relative(path))
            path.chmod(0o444)
            with suppress(OSError, OverflowError):
                os.utime(path, ns=(entry["mtime_ns"], entry["mtime_ns"]))
        directory.out.mkdir(exist_ok=True)
        if lacking and run is not None and run not in (name.id, name.directory):
            cleared.add(directory, lacking, why=NOT_RESTORED)
        restored.cleared_files += len(cleared.cleared_paths(directory))


def _into_project(archive: Path, layout: Layout, run: str, max_bytes: int | None, tell: Tell) -> Restored:
    """Bring missing and damaged outputs of a run back into a project that has its records."""
    schema.require_writable(layout)
    directory = layout.find_run(run)
    if not directory.is_sealed():
        raise UsageError(f"run {run} is not complete in this project", where=str(directory.path))
    wanted = checks.outputs(atomic.read_json(directory.outputs), str(directory.outputs))["files"]
    lacking = {str(e["path"]): e for e in wanted if not _is_whole(directory.out / str(e["path"]), e)}
    scratch = Path(tempfile.mkdtemp(prefix=".restore.", suffix=".part", dir=directory.path))
    try:
        unpacked = _unpack(archive, scratch, run, max_bytes, tell)
        source = RunDir(scratch / layout.relative(directory.path))
        if not source.outputs.is_file() or sha256_file(source.outputs) != sha256_file(directory.outputs):
            raise CheckError(
                f"run {run} of the archive is another one than that of this project",
                where=str(archive),
                hint="restore it into a new directory",
            )
        restored = Restored(layout.root, runs=[directory.id], problems=unpacked.problems)
        with project_lock(layout.lock, purpose="putting restored outputs in their place"):
            for stored, entry in lacking.items():
                found = source.out / stored
                if found.is_file() and sha256_file(found) == entry["sha256"]:
                    _put_back(found, directory.out / stored, entry)
                    restored.files += 1
                    restored.n_bytes += int(entry["size"])
            atomic.fsync_dir(directory.out)
            cleared.remove(
                directory, {p for p, entry in lacking.items() if _is_whole(directory.out / p, entry)}
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    restored.cleared_files = len(cleared.cleared_paths(directory))
    if lacking and not restored.files:
        raise UsageError(
            f"the archive does not hold the missing or damaged outputs of {run}", where=str(archive)
        )
    return restored


def _is_whole(path: Path, entry: dict[str, Any]) -> bool:
    """Tell whether an output is there with the bytes that its run sealed."""
    try:
        return reading.stat_regular(path).st_size == entry["size"] and sha256_file(path) == entry["sha256"]
    except OSError:
        return False


def _put_back(found: Path, target: Path, entry: dict[str, Any]) -> None:
    reading.refuse_links(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic.fsync_file(found)
    found.chmod(0o444)
    with suppress(OSError, OverflowError):
        os.utime(found, ns=(entry["mtime_ns"], entry["mtime_ns"]))
    found.rename(target)


def _as_mkdir_would() -> int:
    """Return the permissions of a new directory: what the person's umask leaves."""
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o777 & ~umask


def _sync_file_system(path: Path) -> None:
    """Make everything written so far durable, in one go for all files."""
    fd = os.open(path, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(fd)
    except (AttributeError, OSError):  # no such call on this system
        os.sync()
    finally:
        os.close(fd)


class _damage_as_check:  # noqa: N801 - reads as a word where it is used
    """Turn damage of one of our archives into CheckError; other files stay FormatError."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Look at what was raised."""
        if isinstance(error, FormatError) and is_archive(self._archive) and not error.hint:
            raise CheckError(
                f"the archive is damaged: {error.message}",
                where=error.where,
                hint="`staproj verify` lists what is damaged; take another copy",
            ) from error


def _raise_damage(damage: list[Damage], archive: Path) -> None:
    if damage:
        shown = ", ".join(dict.fromkeys(d.file or archive.name for d in damage[:5]))
        raise CheckError(
            f"the archive is damaged: {damage[0].problem}",
            where=shown,
            hint="nothing was restored; `staproj verify` lists what is damaged; take another copy",
        )
