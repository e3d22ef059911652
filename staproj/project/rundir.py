"""Names inside one run directory; :mod:`staproj.project.layout` has those of the project around it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from staproj.errors import ProjectError

WHOLE = "_whole"
RUN_NAME = re.compile(r"^r([0-9]{4,9})-([A-Za-z][A-Za-z0-9_-]{0,99})\Z")


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
        found = [p for p in self.path.glob("attempt-*") if re.fullmatch("[0-9]{1,6}", p.name[8:])]
        return sorted(found, key=lambda p: int(p.name[8:]), reverse=True)

    def attempt_dir(self, number: int) -> AttemptDir:
        """Paths inside one try."""
        return AttemptDir(self.attempt(number))

    def attempt_dirs(self) -> list[AttemptDir]:
        """Return the tries, newest first."""
        return [AttemptDir(path) for path in self.attempts()]

    def item(self, item: str | None) -> Path:
        """Directory of one item's record."""
        return self.items / (item or WHOLE)

    def item_done(self, item: str | None) -> Path:
        """Record that exists once an item is finished."""
        return self.item(item) / "item.json"

    @property
    def items(self) -> Path:
        """Records of all items."""
        return self.path / "items"

    def finished_items(self) -> list[Path]:
        """Return the records of all finished items."""
        return sorted(self.items.glob("*/item.json"))

    def item_record(self, item: str | None) -> Path:
        """Tables, curves, metrics, pictures of one item."""
        return self.item(item) / "meta.h5"

    def artifact(self, port: str, item: str | None = None) -> Path:
        """File of one artifact of a complete run."""
        return artifact_in(self.out, port, item)


def artifact_in(out: Path, port: str, item: str | None) -> Path:
    """Return the file of one artifact below an output directory."""
    return out / item / f"{port}.h5" if item else out / f"{port}.h5"
