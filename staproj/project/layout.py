"""Every path and file name inside a project, and nowhere else.

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
    .staproj/                       lock, journal, jobs, trash; caches that may be deleted (index, fingerprints)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from staproj.errors import ProjectError, UsageError

MANIFEST = "staproj.toml"
WHOLE = "_whole"
RUN_NAME = re.compile(r"^r(\d{4,})-([A-Za-z][A-Za-z0-9_-]*)$")
RUN_ID = re.compile(r"^r(\d{1,9})$")
JOB_ID = re.compile(r"^j(\d{4,9})$")
ITEM_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}$")


@dataclass(frozen=True, order=True)
class RunName:
    """Number and step of a run directory."""

    number: int
    step: str

    @property
    def id(self) -> str:
        """Short name, ``r0042``."""
        return run_id(self.number)

    @property
    def directory(self) -> str:
        """Name of the directory, ``r0042-ctf``."""
        return f"{self.id}-{self.step}"


def run_id(number: int) -> str:
    """Return the short name of run ``number``."""
    return f"r{number:04d}"


@dataclass(frozen=True)
class AttemptDir:
    """Paths inside one try at a run; gone once the run is sealed."""

    path: Path

    @property
    def number(self) -> int:
        """Which try it is, from 1."""
        return int(self.path.name.rpartition("-")[2])

    @property
    def out(self) -> Path:
        """Outputs so far."""
        return self.path / "out"

    @property
    def stop(self) -> Path:
        """Marker that asks the worker processes of this try to stop."""
        return self.path / "STOP"

    @property
    def scratches(self) -> Path:
        """Temporary files of all items."""
        return self.path / "scratch"

    def scratch(self, item: str | None) -> Path:
        """Temporary files of one item."""
        return self.scratches / (item or "whole")

    def progress(self, item: str | None) -> Path:
        """Last word of the process that works on an item."""
        return self.path / "progress" / (item or WHOLE)

    def checkpoints(self, item: str | None) -> Path:
        """Checkpoints of one item."""
        return self.path / "checkpoint" / (item or WHOLE)

    def checkpointed(self) -> list[str | None]:
        """Items that have checkpoints."""
        names = sorted(path.name for path in (self.path / "checkpoint").glob("*"))
        return [None if name == WHOLE else name for name in names]


@dataclass(frozen=True)
class RunDir:
    """Paths inside one run directory."""

    path: Path

    @property
    def name(self) -> RunName:
        """Number and step, from the directory's name."""
        found = RUN_NAME.match(self.path.name)
        if not found:
            raise ProjectError(f"{self.path.name!r} is not a run directory", where=str(self.path))
        return RunName(int(found[1]), found[2])

    @property
    def id(self) -> str:
        """Short name, ``r0042``."""
        return self.name.id

    @property
    def spec(self) -> Path:
        """What was to be made: never changes."""
        return self.path / "spec.json"

    @property
    def env(self) -> Path:
        """Software and hardware."""
        return self.path / "env.json"

    @property
    def state(self) -> Path:
        """Events, one JSON line each."""
        return self.path / "state.jsonl"

    @property
    def log(self) -> Path:
        """Text a stage wrote."""
        return self.path / "log" / "log.txt"

    @property
    def record(self) -> Path:
        """Tables, curves, metrics, pictures (HDF5)."""
        return self.path / "meta.h5"

    @property
    def outputs(self) -> Path:
        """List of output files with digests."""
        return self.path / "outputs.json"

    @property
    def sealed(self) -> Path:
        """Marker written last."""
        return self.path / "SEALED"

    @property
    def cancel(self) -> Path:
        """Marker that asks the run to stop."""
        return self.path / "CANCEL"

    @property
    def heartbeat(self) -> Path:
        """Progress of a run that is going on; its time says when it was last heard of."""
        return self.path / "heartbeat"

    @property
    def cleared(self) -> Path:
        """List of outputs that were deleted on purpose."""
        return self.path / "CLEARED"

    @property
    def out(self) -> Path:
        """Outputs of a complete run."""
        return self.path / "out"

    def is_sealed(self) -> bool:
        """Tell whether the run is complete."""
        return self.sealed.is_file()

    def attempt(self, number: int) -> Path:
        """Directory of one try."""
        return self.path / f"attempt-{number}"

    def attempts(self) -> list[Path]:
        """Directories of tries, newest first."""
        found = [p for p in self.path.glob("attempt-*") if p.name[8:].isdigit()]
        return sorted(found, key=lambda p: int(p.name[8:]), reverse=True)

    def attempt_dir(self, number: int) -> AttemptDir:
        """Paths inside one try."""
        return AttemptDir(self.attempt(number))

    def attempt_dirs(self) -> list[AttemptDir]:
        """Return the tries, newest first."""
        return [AttemptDir(path) for path in self.attempts()]

    def item(self, item: str | None) -> Path:
        """Directory of one item's record."""
        return self.path / "items" / (item or WHOLE)

    def item_done(self, item: str | None) -> Path:
        """Record that exists once an item is finished."""
        return self.item(item) / "item.json"

    def finished_items(self) -> list[Path]:
        """Return the records of all finished items."""
        return sorted(self.path.glob("items/*/item.json"))

    def item_record(self, item: str | None) -> Path:
        """Tables, curves, metrics, pictures of one item."""
        return self.item(item) / "meta.h5"

    def artifact(self, port: str, item: str | None = None) -> Path:
        """File of one artifact of a complete run."""
        return artifact_in(self.out, port, item)


def artifact_in(out: Path, port: str, item: str | None) -> Path:
    """Return the file of one artifact below an output directory."""
    return out / item / f"{port}.h5" if item else out / f"{port}.h5"


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
    """Paths inside one project."""

    root: Path

    @property
    def manifest(self) -> Path:
        """What a person wants."""
        return self.root / MANIFEST

    @property
    def runs(self) -> Path:
        """All run directories."""
        return self.root / "runs"

    @property
    def versions(self) -> Path:
        """All versions."""
        return self.root / "versions"

    @property
    def private(self) -> Path:
        """Lock and caches."""
        return self.root / ".staproj"

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
            names = sorted(os.listdir(self.trash))
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
            names = os.listdir(self.jobs)
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
                    if found:
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
                if RUN_NAME.match(path.name) and text in (short, path.name):
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
