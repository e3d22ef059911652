"""Model objects as small HDF5 files: one writer and one reader for every artifact.

A file holds the fields of one frozen dataclass: arrays as datasets, scalars and text as attributes,
nested dataclasses as groups. Paths are stored so that a project can be moved:

* ``./name``: beside the artifact file itself (everything a run wrote);
* ``project:sub/name``: elsewhere inside the project (raw data kept in it);
* an absolute path: outside of the project.

Written files have no times in them: equal content gives equal bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import os
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from staproj.errors import FormatError
from staproj.formats import hdf5, vetted
from staproj.kinds import ArtifactKind

FORMAT_VERSION = 1
_MIB = 1 << 20


def model_class(kind: ArtifactKind) -> type[Any]:
    """Return the dataclass that holds artifacts of ``kind``."""
    module, _, name = kind.model.partition(":")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def write_artifact(path: Path, obj: Any, *, project_root: Path, sync: bool = True) -> None:
    """Write ``obj`` to ``path`` (write-new, fsync, rename); ``sync=False`` leaves the fsync to the caller.

    The file is put together in memory: HDF5 that meets a full disk half-way can take the process down.
    """
    temporary = path.with_name(path.name + ".part")
    with h5py.File(path.name, "w", driver="core", backing_store=False, track_order=False) as handle:
        handle.attrs["staproj_artifact"] = type(obj).__name__
        handle.attrs["format_version"] = FORMAT_VERSION
        _write_fields(handle, obj, path.parent, project_root)
        handle.flush()
        image = handle.id.get_file_image()
    vetted.remember(["sha256:" + hashlib.sha256(image).hexdigest()])
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as raw:  # never through a link that lies there
            raw.write(image)
            raw.flush()
            if sync:
                os.fsync(raw.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_artifact(path: Path, cls: type[Any], *, project_root: Path, own: bool = False) -> Any:
    """Read an object of class ``cls``; stored paths come back absolute.

    Artifacts are stored as they are, so that reading one never takes more memory than the file has bytes
    (four times that for text). A file that was not written here is read by another process first, unless
    the caller says that it is its ``own``, written this moment.

    Raises
    ------
    FormatError
        If the file is not HDF5, holds another class, or lacks a field.
    """
    try:
        if not own:
            vetted.vet([path])
        with hdf5.open_file(path, max_bytes=2 * path.stat().st_size + _MIB) as handle:
            found = handle.attribute("staproj_artifact") if handle.has_attribute("staproj_artifact") else None
            if found != cls.__name__:
                raise FormatError(f"expected {cls.__name__}, found {found}", where=str(path))
            return _read_fields(handle, cls, path.parent, project_root)
    except FormatError:
        raise
    except hdf5.DAMAGE as error:
        raise FormatError(
            f"cannot read the artifact: {error}",
            where=str(path),
            hint="run `staproj verify`, or rerun the step that made it",
        ) from error


def _write_fields(group: h5py.Group, obj: Any, base: Path, root: Path) -> None:
    for field in dataclasses.fields(obj):
        value = getattr(obj, field.name)
        if value is None:
            continue
        if dataclasses.is_dataclass(value):
            _write_fields(group.create_group(field.name), value, base, root)
        elif isinstance(value, Path):
            group.attrs[field.name] = _store_path(value, base, root)
        elif isinstance(value, np.ndarray):
            data = np.char.encode(value, "utf-8") if value.dtype.kind == "U" else value
            if data.dtype.kind == "S" and data.dtype.itemsize == 0:
                data = data.astype("S1")
            group.create_dataset(field.name, data=data)
        elif isinstance(value, tuple):
            items = [_store_path(v, base, root) if isinstance(v, Path) else v for v in value]
            if items and isinstance(items[0], str):
                group.create_dataset(field.name, data=np.array([s.encode() for s in items]))
            else:
                group.create_dataset(field.name, data=np.array(items))
        else:
            group.attrs[field.name] = value


def _read_fields(group: hdf5.Group, cls: type[Any], base: Path, root: Path) -> Any:
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if group.has_attribute(field.name):
            values[field.name] = _read_scalar(group.attribute(field.name), hints[field.name], base, root)
        elif field.name in group:
            if group.is_group(field.name):
                nested = _nested_class(hints[field.name])
                values[field.name] = _read_fields(group.group(field.name), nested, base, root)
            else:
                values[field.name] = _read_dataset(group.array(field.name), hints[field.name], base, root)
        elif _is_optional(hints[field.name]):
            values[field.name] = None
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise KeyError(f"field {field.name!r} is missing")
    return cls(**values)


def _nested_class(hint: Any) -> type[Any]:
    for kind in _flat_types(hint):
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            return kind
    raise ValueError("a group stands where a value should")


def _read_scalar(value: Any, hint: Any, base: Path, root: Path) -> Any:
    wanted = set(_flat_types(hint))
    if typing.get_origin(hint) is not tuple:
        if Path in wanted:
            return _load_path(str(value), base, root)
        for kind in (bool, int, float, str):
            if kind in wanted:
                return kind(value)
    raise ValueError("a single value stands where an array should")


def _read_dataset(data: np.ndarray, hint: Any, base: Path, root: Path) -> Any:
    if data.dtype.kind == "S":
        data = np.char.decode(data, "utf-8")
    if typing.get_origin(hint) is not tuple:
        if typing.get_origin(hint) is not np.ndarray or (data.dtype.kind == "U") != (
            np.str_ in _parts_of(hint)
        ):
            raise ValueError("an array of another type than it should be")
        return data
    if data.ndim != 1:
        raise ValueError("an array stands where a list should")
    wanted = set(_flat_types(hint))
    if Path in wanted:
        return tuple(_load_path(str(value), base, root) for value in data)
    for kind in (int, float, str):
        if kind in wanted:
            return tuple(kind(value) for value in data)
    return tuple(data.tolist())


def _flat_types(hint: Any) -> Iterator[Any]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        for part in typing.get_args(hint):
            yield from _flat_types(part)
    else:
        yield hint


def _parts_of(hint: Any) -> set[Any]:
    """Return all types an array's hint is made of."""
    parts = typing.get_args(hint)
    return {hint, *(inner for part in parts for inner in _parts_of(part))} if parts else {hint}


def _is_optional(hint: Any) -> bool:
    return type(None) in set(_flat_types(hint))


def _store_path(path: Path, base: Path, root: Path) -> str:
    absolute = Path(os.path.abspath(path))
    if absolute.is_relative_to(os.path.abspath(base)):
        return "./" + absolute.relative_to(os.path.abspath(base)).as_posix()
    if absolute.is_relative_to(os.path.abspath(root)):
        inside = absolute.relative_to(os.path.abspath(root)).as_posix()
        if inside.startswith(("runs/", ".staproj/")):
            raise ValueError(f"an artifact must not refer to a file of another run: {inside}")
        return "project:" + inside
    return str(absolute)


def _load_path(text: str, base: Path, root: Path) -> Path:
    if text.startswith("./"):
        return _no_link(_inside(base, text[2:]))
    if text.startswith("project:"):
        return _inside(root, text.removeprefix("project:"))
    return Path(text)


def _inside(base: Path, relative: str) -> Path:
    if ".." in Path(relative).parts:
        raise FormatError(f"stored path leaves its directory: {relative}", where=str(base))
    return base / relative


def _no_link(path: Path) -> Path:
    """Refuse a file of a run that is a link: what a run wrote lies in the run."""
    if path.is_symlink():
        raise FormatError("a file of a run is a link to another place", where=str(path))
    return path
