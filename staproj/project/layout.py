"""Every path and file name inside a project, and nowhere else (those inside a run directory: rundir.py).

::

    staproj.toml                    intent, edited by people
    runs/r0042-<step>/              one execution of one step
      spec.json env.json            what was to be made, where and with what software
      state.jsonl log/              what happened
      items/<item>/{item.json,meta.h5}   one finished tilt series ("_whole" where a stage runs once)
      attempt-1/out/                outputs while the run is going (or has failed)
      attempt-1/checkpoint/<item>/  how far an item has come, so that a resumed run goes on from there
      attempt-1/{scratch,progress}/ temporary files of stages; last word of each worker process
      out/                          outputs, there only when all of them are
      meta.h5 outputs.json SEALED   written last: the run is complete and never changes again
      heartbeat                     progress of a run that is going on
      CLEARED                       which outputs were deleted on purpose, and can be made again
    versions/0007.toml              manifest + heads + who, when, why
    versions/tags.toml              names of versions
    annot/r0042.toml                title, rating, notes, tags of a run: what people may change at any time
    annot/accepted.toml             runs whose outputs may stand for those of other runs
    exports/                        files for other programs
    .staproj/                       lock, journal, jobs, background, trash; caches that may be deleted
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from staproj.errors import ProjectError, UsageError
from staproj.project.rundir import RUN_NAME, WHOLE, AttemptDir, RunDir, RunName, artifact_in, run_id

__all__ = [
    "ITEM_NAME",
    "JOB_ID",
    "MANIFEST",
    "PRIVATE",
    "RUNS",
    "RUN_ID",
    "RUN_NAME",
    "WHOLE",
    "AttemptDir",
    "JobDir",
    "Layout",
    "RunDir",
    "RunName",
    "TrashDir",
    "artifact_in",
    "find_root",
    "run_id",
    "templates_dir",
]

MANIFEST = "staproj.toml"
SIDECAR = "provenance.json"
SIDECAR_SUFFIX = ".staproj.json"
RUNS = "runs"
PRIVATE = ".staproj"
RUN_ID = re.compile(r"^r([0-9]{1,9})\Z")
JOB_ID = re.compile(r"^j([0-9]{4,9})\Z")
ITEM_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}\Z")


@dataclass(frozen=True)
class JobDir:
    """Paths of one job: work that goes on without a terminal, of one or several steps."""

    path: Path

    @property
    def id(self) -> str:
        """Short name, ``j0001``."""
        return self.path.name

    @property
    def request(self) -> Path:
        """What was asked for: never changes."""
        return self.path / "job.json"

    @property
    def state(self) -> Path:
        """Which processes work on it, one JSON line each time."""
        return self.path / "state.jsonl"

    @property
    def events(self) -> Path:
        """What the engine told while it worked, one JSON line each."""
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        """Whatever the processes wrote."""
        return self.path / "log.txt"

    @property
    def cancel(self) -> Path:
        """Marker that asks the job to stop."""
        return self.path / "CANCEL"

    @property
    def place(self) -> Path:
        """Its place in the queue, where a person has changed that."""
        return self.path / "place.json"

    @property
    def heartbeat(self) -> Path:
        """Touched while the job is watched over."""
        return self.path / "heartbeat"

    @property
    def result(self) -> Path:
        """How it ended."""
        return self.path / "result.json"


@dataclass(frozen=True)
class TrashDir:
    """Paths of what one operation deleted."""

    path: Path

    @property
    def record(self) -> Path:
        """What lies here and where it came from."""
        return self.path / "trash.json"

    def file(self, stored: str) -> Path:
        """Place of what was at ``stored``, a path relative to the project."""
        return self.path / "files" / stored


@dataclass(frozen=True)
class Layout:
    """Paths inside one project.

    Raises
    ------
    ProjectError
        If a directory that staproj writes to is a link: nothing leads out of a project.
    """

    root: Path

    def __post_init__(self) -> None:
        for path in (
            self.runs,
            self.versions,
            self.annotations,
            self.private,
            self.jobs,
            self.journal,
            self.trash,
        ):
            if path.is_symlink():
                raise ProjectError(
                    "a directory of this project is a link, which is not followed",
                    where=str(path),
                    hint="put the directory itself there, or move the whole project to the other disk",
                )

    @property
    def manifest(self) -> Path:
        """What a person wants."""
        return self.root / MANIFEST

    @property
    def readme(self) -> Path:
        """How to read the project without staproj."""
        return self.root / "README.staproj.txt"

    @property
    def backups(self) -> Path:
        """Small files as they were before a migration: one directory a migration."""
        return self.private / "backup"

    @property
    def runs(self) -> Path:
        """All run directories."""
        return self.root / RUNS

    @property
    def versions(self) -> Path:
        """All versions."""
        return self.root / "versions"

    @property
    def private(self) -> Path:
        """Lock and caches."""
        return self.root / PRIVATE

    @property
    def lock(self) -> Path:
        """Lock directory."""
        return self.private / "lock"

    @property
    def fingerprints(self) -> Path:
        """Cache of content digests by stat; may be deleted."""
        return self.private / "fingerprints.json"

    @property
    def counter(self) -> Path:
        """Highest run number ever given out."""
        return self.private / "last-run"

    @property
    def index(self) -> Path:
        """Cache: one line a run; may be deleted."""
        return self.private / "index.jsonl"

    @property
    def jobs(self) -> Path:
        """Work that goes on without a terminal: one directory a job."""
        return self.private / "jobs"

    @property
    def background(self) -> Path:
        """Commands that go on without a terminal: one directory a command (taskdir.py)."""
        return self.private / "background"

    @property
    def journal(self) -> Path:
        """Operations on several files that are not finished yet."""
        return self.private / "journal"

    @property
    def trash(self) -> Path:
        """What was deleted, until it is purged: one directory an operation."""
        return self.private / "trash"

    @property
    def remakes(self) -> Path:
        """Scratch copies of the project in which outputs are made again."""
        return self.private / "remake"

    def trash_dirs(self) -> list[TrashDir]:
        """Return what was deleted, oldest first."""
        try:
            names = sorted(path.name for path in self.trash.iterdir() if not path.is_symlink())
        except OSError:
            return []
        return [TrashDir(self.trash / name) for name in names]

    @property
    def capabilities(self) -> Path:
        """What the file system can do, by host."""
        return self.private / "cap.json"

    @property
    def annotations(self) -> Path:
        """Notes of people, one file a run."""
        return self.root / "annot"

    @property
    def accepted(self) -> Path:
        """Runs whose outputs may stand for those of other runs."""
        return self.annotations / "accepted.toml"

    @property
    def version_tags(self) -> Path:
        """Names of versions."""
        return self.versions / "tags.toml"

    @property
    def exports(self) -> Path:
        """Files for other programs."""
        return self.root / "exports"

    def job(self, number: int) -> JobDir:
        """Return the paths of a job."""
        return JobDir(self.jobs / f"j{number:04d}")

    def iter_jobs(self) -> list[int]:
        """Return the numbers of all jobs, sorted (one directory listing)."""
        try:
            names = [path.name for path in self.jobs.iterdir() if not path.is_symlink()]
        except OSError:
            return []
        return sorted(int(found[1]) for name in names if (found := JOB_ID.match(name)))

    def annotation(self, run: str) -> Path:
        """File of the notes on one run."""
        return self.annotations / f"{run}.toml"

    def version(self, number: int) -> Path:
        """File of one version."""
        return self.versions / f"{number:04d}.toml"

    def iter_runs(self) -> Iterator[RunName]:
        """Yield the names of all runs (unsorted, one directory listing)."""
        try:
            with os.scandir(self.runs) as entries:
                for entry in entries:
                    found = RUN_NAME.match(entry.name)
                    if found and entry.is_dir(follow_symlinks=False):
                        yield RunName(int(found[1]), found[2])
        except FileNotFoundError:
            return

    def run(self, name: RunName) -> RunDir:
        """Return the paths of a run."""
        return RunDir(self.runs / name.directory)

    def find_run(self, text: str) -> RunDir:
        """Return the run called ``r0042`` or ``r0042-ctf``.

        Raises
        ------
        UsageError
            If there is no such run.
        """
        short = text.split("-", 1)[0]
        found = RUN_ID.match(short)
        if found:
            for path in sorted(self.runs.glob(f"{run_id(int(found[1]))}-*")):
                if RUN_NAME.match(path.name) and text in (short, path.name) and not path.is_symlink():
                    return RunDir(path)
        raise UsageError(f"there is no run {text!r}", hint="`staproj ls` lists all runs")

    def relative(self, path: Path) -> str:
        """Return a path as it is stored: relative inside the project, absolute outside."""
        absolute = Path(os.path.abspath(path))
        root = Path(os.path.abspath(self.root))
        return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(absolute)

    def absolute(self, stored: str) -> Path:
        """Undo :meth:`relative`."""
        return Path(os.path.abspath(self.root / stored))


def find_root(start: Path) -> Path:
    """Return the project that ``start`` lies in.

    Raises
    ------
    ProjectError
        If neither ``start`` nor a directory above it holds a manifest.
    """
    here = Path(os.path.abspath(start))
    for candidate in (here, *here.parents):
        if (candidate / MANIFEST).is_file():
            return candidate
    raise ProjectError(
        "this is not a staproj project",
        where=str(here),
        hint=f"go to a directory with a {MANIFEST}, or make one with `staproj new DIR --template NAME`",
    )


def templates_dir() -> Path:
    """Return the directory of templates: in the package, else beside it (editable checkout)."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "_templates", package.parent / "templates"):
        if candidate.is_dir():
            return candidate
    raise ProjectError("the templates are missing from this installation", where=str(package))
