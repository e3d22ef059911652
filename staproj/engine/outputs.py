"""From what a stage returned to finished, digested files; and finished items taken from earlier runs."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.engine import digest, sealing
from staproj.engine.plan import is_per_item
from staproj.engine.view import View
from staproj.errors import EmptyResultError, FormatError, StageError, StaprojError, StorageError
from staproj.formats import vetted
from staproj.kinds import ArtifactKind
from staproj.project import atomic, checks, reading, record
from staproj.project.batch import Batch
from staproj.project.fingerprints import sha256_file
from staproj.project.layout import ITEM_NAME, RunDir, artifact_in
from staproj.stages.api import StageSpec

_LOOK_BACK = 200


@dataclass(frozen=True)
class Finished:
    """An item (or a whole project-scope run) that is done, wherever it was made."""

    run: RunDir
    out: Path
    entry: dict[str, Any]


def write_artifacts(
    view: View, spec: StageSpec, out: Path, item: str | None, returned: Any
) -> dict[str, Any]:
    """Write what a stage returned as ``<port>.h5`` and digest every file below ``out``.

    Returns ``{"files": [...], "artifacts": {...}}`` with paths relative to the run's output directory.
    Nothing is fsynced yet: :func:`keep` does that.

    Raises
    ------
    StageError
        If the stage did not return what it declares.
    """
    base = out / item if item else out
    base.mkdir(parents=True, exist_ok=True)
    written: list[tuple[str, str | None, Path]] = []
    for port, name, obj in _objects(spec, item, returned):
        path = artifact_in(out, port, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(view, spec, port, obj, path)
        written.append((port, name, path))
    files = {path: _file_entry(path, out) for path in _files_below(base)}
    artifacts: dict[str, Any] = {}
    for port, name, path in written:
        kind = spec.outputs[port].kind
        value, referred, raw_data = _digest(view, kind, path, files)
        entry = {"file": path.relative_to(out).as_posix(), "digest": value, "raw_data": raw_data}
        entry["refers"] = [files[other]["path"] for other in referred[1:]]
        for other in referred:
            files[other]["class"] = spec.outputs[port].output_class or kind.output_class
        if item is None and name is not None:
            artifacts.setdefault(port, {"kind": kind.value, "items": {}})["items"][name] = entry
        else:
            artifacts[port] = {"kind": kind.value, **entry}
    return {"files": list(files.values()), "artifacts": artifacts}


def candidates(view: View, step: str, exclude: RunDir | None = None) -> list[RunDir]:
    """Return the runs that ``step`` may take finished items from, its own first, newest first."""
    found = [run for run in view.earlier_runs(step) if exclude is None or run.path != exclude.path]
    return found[:_LOOK_BACK]


def find_finished(view: View, among: Sequence[RunDir], key: str, item: str | None) -> Finished | None:
    """Return the newest of some runs whose item has this key and whose files are all there."""
    for run in among:
        done = run.item_done(item)
        try:
            if key.encode() not in reading.read_bytes(done):  # most are not: parse none of those
                continue
            entry = checks.outputs(atomic.read_json(done), str(done))
        except (OSError, StorageError):
            continue
        if entry.get("key") != key or not has_record(run, item, entry):
            continue
        for out in [run.out, *(attempt / "out" for attempt in run.attempts())]:
            if all_there(view, out, entry):
                return Finished(run, out, entry)
    return None


def reuse(found: Finished, run: RunDir, out: Path, item: str | None) -> dict[str, Any]:
    """Link the files of a finished item into another run (copy where links do not work)."""
    for entry in found.entry["files"]:
        source, target = found.out / entry["path"], out / entry["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(source, target)
    run.item(item).mkdir(parents=True, exist_ok=True)
    link_or_copy(found.run.item_record(item), run.item_record(item))
    origin = found.entry.get("reused_from") or found.run.id
    files = [{**e, "mtime_ns": (out / e["path"]).stat().st_mtime_ns} for e in found.entry["files"]]
    entry = {**found.entry, "files": files, "run": run.id, "reused_from": origin}
    keep(run, out, item, entry, None)
    return entry


def keep(run: RunDir, out: Path, item: str | None, entry: Mapping[str, Any], notes: bytes | None) -> None:
    """Make a finished item durable, then let ``item.json`` say so.

    ``notes`` is its record, ``None`` where that is there already. What the run is made from becomes durable
    with it, so that a run can be resumed after a power cut.
    """
    with atomic.storage_errors(run.path):
        run.item(item).mkdir(parents=True, exist_ok=True)
    base = out / item if item else out
    with Batch() as batch:
        if notes is not None:
            vetted.remember([entry["record_sha256"]])
            batch.add(run.item_record(item), notes)
        batch.add_json(run.item_done(item), entry)
        files = [out / file["path"] for file in entry["files"]]
        above = [out, out.parent, run.items, run.path, run.path.parent]
        batch.sync([run.spec, run.env, *files, *sealing.directories_below(base), *above])
        batch.rename_all()


def has_record(run: RunDir, item: str | None, entry: Mapping[str, Any]) -> bool:
    """Tell whether the record of a finished item is there, as it was recorded, and can be read."""
    try:
        record.check_item(run.item_record(item), entry.get("record_sha256"))
    except FormatError:
        return False
    return True


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, or a copy of it on file systems without hard links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOSPC, errno.EDQUOT):
            raise
        shutil.copy2(source, target)


def merge_items(entries: Mapping[str | None, Mapping[str, Any]]) -> dict[str, Any]:
    """Join the outputs of all items into the content of ``outputs.json``."""
    files: list[Any] = []
    artifacts: dict[str, Any] = {}
    for item, entry in entries.items():
        files += entry["files"]
        for port, artifact in entry["artifacts"].items():
            if item is None:
                artifacts[port] = artifact
            else:
                merged = artifacts.setdefault(port, {"kind": artifact["kind"], "items": {}})
                merged["items"][item] = {k: v for k, v in artifact.items() if k != "kind"}
    return {"files": files, "artifacts": artifacts}


def _objects(spec: StageSpec, item: str | None, returned: Any) -> Iterator[tuple[str, str | None, Any]]:
    """Check what a stage returned against its ports; yield (port, item, object)."""
    if not isinstance(returned, dict):
        raise StageError(f"stage {spec.name!r} returned {type(returned).__name__}, not its outputs by port")
    unknown = sorted(set(returned) - set(spec.outputs))
    lacking = sorted(p for p, port in spec.outputs.items() if p not in returned and not port.optional)
    if unknown or lacking:
        raise StageError(
            f"stage {spec.name!r} did not return what it declares",
            where=", ".join([*(f"{p}: not declared" for p in unknown), *(f"{p}: missing" for p in lacking)]),
        )
    for port, value in returned.items():
        if item is not None or not is_per_item(spec, port):
            yield port, item, value
            continue
        if not isinstance(value, Mapping):
            raise StageError(f"output {port!r} of stage {spec.name!r} must be a dict by tilt series")
        if not value:
            raise EmptyResultError(
                f"stage {spec.name!r} made no {port}", hint="see its log for what it looked at"
            )
        for name in sorted(value):
            if not ITEM_NAME.match(name):
                raise StageError(
                    f"{name!r} is not a usable name of a tilt series",
                    hint="use letters, digits, and . _ + - ; rename the files it comes from",
                )
            yield port, name, value[name]


def _write(view: View, spec: StageSpec, port: str, obj: Any, path: Path) -> None:
    from staproj.formats.artifact import model_class, write_artifact

    wanted = model_class(spec.outputs[port].kind)
    if not isinstance(obj, wanted):
        raise StageError(
            f"output {port!r} of stage {spec.name!r} is {type(obj).__name__}, not {wanted.__name__}"
        )
    try:
        write_artifact(path, obj, project_root=view.layout.root, sync=False)
    except StaprojError:
        raise
    except ValueError as error:
        raise StageError(f"output {port!r} of stage {spec.name!r} cannot be kept: {error}") from error


def _digest(
    view: View, kind: ArtifactKind, path: Path, files: dict[Path, dict[str, Any]]
) -> tuple[str, list[Path], bool]:
    """Digest an artifact as it reads back, with the outputs it refers to, and whether to raw data too."""
    from staproj.formats.artifact import model_class, read_artifact

    referred: list[Path] = [path]
    raw_data = False

    def digest_path(other: Path) -> str:
        nonlocal raw_data
        absolute = Path(os.path.abspath(other))
        if absolute in files:
            referred.append(absolute)
            return str(files[absolute]["sha256"])
        if not absolute.is_file():
            raise StageError("an artifact refers to a file that is not there", where=str(other))
        raw_data = True
        return view.prints.quick(absolute)

    obj = read_artifact(path, model_class(kind), project_root=view.layout.root, own=True)
    return digest.digest_object(obj, digest_path), referred, raw_data


def _files_below(base: Path) -> list[Path]:
    found = [p for p in base.rglob("*") if p.is_file() and not p.is_symlink()]
    return sorted(Path(os.path.abspath(p)) for p in found)


def _file_entry(path: Path, out: Path) -> dict[str, Any]:
    value = sha256_file(path)
    stat = path.stat()
    relative = path.relative_to(os.path.abspath(out)).as_posix()
    return {
        "path": relative,
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "sha256": value,
        "class": "final",
    }


def all_there(view: View, out: Path, entry: Mapping[str, Any]) -> bool:
    """Tell whether all files of an item are what was sealed (content is read only where ``stat`` differs)."""
    for file in entry["files"]:
        path = out / file["path"]
        try:
            stat = reading.stat_regular(path)
        except OSError:
            return False
        if stat.st_size != file["size"]:
            return False
        if stat.st_mtime_ns != file["mtime_ns"] and view.prints.full(path) != file["sha256"]:
            return False
    return True
