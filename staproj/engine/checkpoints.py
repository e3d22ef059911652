"""How far a stage has come, kept so that a resumed run goes on from there with the same bytes.

One file a name: a line with the SHA-256 of the rest and the key of the item, then an npz archive (never
pickle). It is written whole, fsynced and renamed, the one before stays until then. A checkpoint that is
damaged, or of another key, does not count.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from staproj.engine import digest
from staproj.kinds import ArtifactKind
from staproj.project import atomic, runs
from staproj.project.batch import fsync_all
from staproj.project.layout import AttemptDir, RunDir

_MAGIC = "staproj-checkpoint-1"
_PLAIN = "plain"
_LOOK_BACK = 20


class Checkpoints:
    """Checkpoints of one item of one run."""

    def __init__(self, directory: Path, key: str, needs: Sequence[Path] = ()) -> None:
        """Keep files in ``directory`` (made on first use), good only for this ``key``.

        ``needs``: files and directories without which a checkpoint is worth nothing after a power cut; they
        are made durable before the first one.
        """
        self._directory = directory
        self._key = key
        self._needs = needs

    def save(self, name: str, objects: Mapping[str, Any]) -> None:
        """Replace the checkpoint ``name``.

        ``objects`` are arrays, model objects without paths, and whatever JSON can hold (numbers, text,
        lists, dicts). Raises ``TypeError`` for anything else, ``StorageError`` if the disk is full.
        """
        import numpy as np

        plain: dict[str, Any] = {}
        arrays: dict[str, Any] = {}
        for key, value in objects.items():
            if isinstance(value, (np.ndarray, np.generic)):
                arrays[f"array/{key}"] = np.asarray(value)
                if arrays[f"array/{key}"].dtype.hasobject:
                    raise TypeError(f"checkpoint {name!r}: {key!r} holds Python objects")
            elif (kind := _kind_of(value)) is not None:
                arrays[f"{kind.value}/{key}"] = self._pack(value)
            else:
                plain[key] = value
        arrays[_PLAIN] = np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)
        body = io.BytesIO()
        np.savez(body, **arrays)
        data = body.getvalue()
        head = f"{_MAGIC} {hashlib.sha256(data).hexdigest()} {self._key}\n"
        with atomic.storage_errors(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
        fsync_all(self._needs)
        self._needs = ()
        atomic.write_bytes(self._path(name), head.encode() + data)

    def load(self, name: str) -> dict[str, Any] | None:
        """Return what was saved as ``name`` for the same key, or ``None``."""
        try:
            head, _, data = self._path(name).read_bytes().partition(b"\n")
            if head.decode() != f"{_MAGIC} {hashlib.sha256(data).hexdigest()} {self._key}":
                return None
            return self._unpack(data)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def clear(self) -> None:
        """Forget everything: the item is finished."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.npz"

    def _pack(self, value: Any) -> Any:
        """Return a model object as the bytes of its artifact file."""
        import numpy as np

        from staproj.formats.artifact import write_artifact

        if any(True for _ in digest.paths_in(value)):
            raise TypeError(f"a {type(value).__name__} refers to files: keep its arrays instead")
        self._directory.mkdir(parents=True, exist_ok=True)
        place = self._directory / ".object.h5"
        try:
            write_artifact(place, value, project_root=self._directory, sync=False)
            return np.frombuffer(place.read_bytes(), dtype=np.uint8)
        finally:
            place.unlink(missing_ok=True)

    def _unpack(self, data: bytes) -> dict[str, Any]:
        import numpy as np

        from staproj.formats.artifact import model_class, read_artifact

        found: dict[str, Any] = {}
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            for full in archive.files:
                kind, _, key = full.partition("/")
                if full == _PLAIN:
                    found.update(json.loads(archive[full].tobytes()))
                elif kind == "array":
                    found[key] = archive[full]
                else:
                    place = self._directory / ".object.h5"
                    place.write_bytes(archive[full].tobytes())
                    try:
                        wanted = model_class(ArtifactKind(kind))
                        found[key] = read_artifact(place, wanted, project_root=self._directory)
                    finally:
                        place.unlink(missing_ok=True)
        return found


def adopt(among: Sequence[RunDir], attempt: AttemptDir, item: str | None, key: str) -> RunDir | None:
    """Take the checkpoints that an unfinished run left for the same item and key; return that run."""
    for run in among[:_LOOK_BACK]:
        if run.is_sealed() or runs.state_of(run).state in ("running", "unreachable"):
            continue
        for earlier in run.attempt_dirs():
            source = earlier.checkpoints(item)
            if _is_for(source, key):
                with atomic.storage_errors(attempt.path), suppress(FileNotFoundError):
                    shutil.copytree(source, attempt.checkpoints(item), dirs_exist_ok=True)
                    return run
    return None


def _is_for(directory: Path, key: str) -> bool:
    """Tell whether checkpoints in a directory are for ``key`` (their contents are checked when loaded)."""
    for path in directory.glob("*.npz"):
        with suppress(OSError), path.open("rb") as handle:
            words = handle.readline(400).split()
            if len(words) == 3 and words[2] == key.encode():
                return True
    return False


def _kind_of(value: Any) -> ArtifactKind | None:
    from staproj.formats.artifact import model_class

    for kind in ArtifactKind:
        if isinstance(value, model_class(kind)):
            return kind
    return None
