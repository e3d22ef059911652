"""The record of a run: ``meta.h5``, written once, read by report, UI and people.

::

    /                attributes: record_format, run, step, stage, key
    /params          one attribute a parameter (JSON text) and /params/layers (where it came from)
    /items/<item>/   "_whole" where the stage ran once
        attributes   verdict, warning, fallbacks (JSON), wall_s, cpu_s, peak_rss_bytes, reused_from
        metrics/     one attribute a number; units in /items/<item>/units
        tables/<name>/<column_with_unit>    equally long arrays
        curves/<name>/{x,y}                 attributes x_label, y_label
        previews/<name>                     uint8 [y, x]

Units are the ending of each name. No times are in the file except durations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.errors import FormatError, StorageError
from staproj.project import atomic, reading
from staproj.project.fingerprints import sha256_file
from staproj.project.layout import ITEM_NAME, WHOLE, RunDir

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from numpy.typing import NDArray

    from staproj.formats import hdf5

RECORD_FORMAT = 1
PREVIEW_MAX_PX = 256
MAX_BYTES = 256 << 20
_COMPRESS_FROM = 4096


@dataclass
class Curve:
    """``y(x)`` with labels that end in their units."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_label: str
    y_label: str


@dataclass
class ItemRecord:
    """What a stage recorded about one item (or about the whole run)."""

    metrics: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    tables: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    table_docs: dict[str, str] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    previews: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    verdict: str = ""
    warning: bool = False
    fallbacks: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0


@dataclass
class RunRecord:
    """Everything in ``meta.h5``. ``items`` has the key ``None`` where the stage ran once."""

    run: str
    step: str
    stage: str
    key: str
    params: dict[str, Any]
    layers: dict[str, str]
    items: dict[str | None, ItemRecord]

    def item(self, item: str | None = None) -> ItemRecord:
        """Return the record of one item; the only one if none is named."""
        if item is None and len(self.items) == 1:
            return next(iter(self.items.values()))
        return self.items[item]


def item_bytes(record: ItemRecord) -> bytes:
    """Return the file of the record of one item."""
    return _image(lambda handle: _put_item(handle.create_group("item"), record))


def write_item(path: Path, record: ItemRecord) -> None:
    """Write the record of one item in one step."""
    atomic.write_bytes(path, item_bytes(record), sync_dir=False)


def run_bytes(
    *,
    attributes: Mapping[str, str],
    params: Mapping[str, Mapping[str, Any]],
    items: Mapping[str | None, Path],
    digests: Mapping[str | None, str | None] | None = None,
) -> bytes:
    """Join the records of all items (their files) into the record of the run; return its file.

    ``params`` is ``{name: {"value": …, "layer": …}}``, ``digests`` are those of the items' files.

    Raises
    ------
    FormatError
        If the file of an item is damaged or not what was recorded.
    """
    import h5py

    from staproj.formats import hdf5

    for item, path in items.items():
        check_item(path, (digests or {}).get(item))

    def fill(handle: h5py.File) -> None:
        handle.attrs["record_format"] = RECORD_FORMAT
        for key, value in attributes.items():
            handle.attrs[key] = value
        table = handle.create_group("params")
        layers = table.create_group("layers")
        for name, entry in params.items():
            table.attrs[name] = json.dumps(entry["value"], ensure_ascii=False)
            layers.attrs[name] = str(entry["layer"])
        group = handle.create_group("items")
        for item in sorted(items, key=lambda name: name or ""):
            try:
                with h5py.File(items[item], "r", locking=False) as part:
                    part.copy("item", group, name=item or WHOLE)
            except hdf5.DAMAGE as error:
                raise _unreadable_item(items[item], error) from error

    return _image(fill)


def write_run(
    path: Path,
    *,
    attributes: Mapping[str, str],
    params: Mapping[str, Mapping[str, Any]],
    items: Mapping[str | None, Path],
) -> None:
    """Write the record of a run in one step; arguments as of :func:`run_bytes`."""
    atomic.write_bytes(path, run_bytes(attributes=attributes, params=params, items=items), sync_dir=False)


def read_run(path: Path) -> RunRecord:
    """Read ``meta.h5``. Its bytes are compared with the seal, and vetted, before HDF5 sees them.

    Raises
    ------
    FormatError
        If it is missing, damaged, not what was sealed, or holds anything but numbers and text.
    """
    from staproj.formats import hdf5, vetted

    try:
        _check_seal(path)
        vetted.vet([path], max_bytes=MAX_BYTES)
        with hdf5.open_file(path, max_bytes=MAX_BYTES) as handle:
            params, items = handle.group("params"), handle.group("items")
            return RunRecord(
                run=str(handle.attribute("run")),
                step=str(handle.attribute("step")),
                stage=str(handle.attribute("stage")),
                key=str(handle.attribute("key")),
                params={k: reading.parse_json(v.encode()) for k, v in params.attributes().items()},
                layers={k: str(v) for k, v in params.group("layers").attributes().items()},
                items={
                    None if name == WHOLE else name: _get_item(items.group(name))
                    for name in _item_names(items)
                },
            )
    except StorageError as error:
        raise FormatError(error.message, where=error.where, hint=error.hint) from error
    except (*hdf5.DAMAGE, RecursionError) as error:
        raise FormatError(
            f"the record of this run cannot be read: {error}", where=str(path), hint="rerun the step"
        ) from error


def check_item(path: Path, digest: str | None = None) -> None:
    """Check the record of one item before HDF5 opens it: that it is what was recorded, and can be read.

    Raises
    ------
    FormatError
        If it is missing, damaged, or not what was recorded.
    """
    from staproj.formats import hdf5, vetted

    try:
        reading.stat_regular(path)
        if digest is not None and vetted.digest(path) != digest:
            raise ValueError("it is not what was recorded")
        vetted.vet([path], max_bytes=MAX_BYTES)
    except hdf5.DAMAGE as error:
        raise _unreadable_item(path, error) from error
    except StorageError as error:
        raise FormatError(error.message, where=error.where, hint=error.hint) from error


def read_item(path: Path, digest: str | None = None) -> ItemRecord:
    """Read the record of one item; ``digest`` as in its ``item.json``.

    Raises
    ------
    FormatError
        If it is missing, damaged, or not what was recorded.
    """
    from staproj.formats import hdf5

    check_item(path, digest)
    try:
        with hdf5.open_file(path, max_bytes=MAX_BYTES) as handle:
            return _get_item(handle.group("item"))
    except (*hdf5.DAMAGE, RecursionError) as error:
        raise _unreadable_item(path, error) from error


def _unreadable_item(path: Path, error: BaseException) -> FormatError:
    return FormatError(
        f"the record of this item cannot be read: {error}",
        where=str(path),
        hint="remove this directory, so that the item is made again",
    )


def _check_seal(path: Path) -> None:
    """Compare the record with its digest in the seal: the HDF5 library may crash on damaged files."""
    reading.stat_regular(path)
    sealed = RunDir(path.parent).sealed
    if not sealed.is_file():
        return
    proof = atomic.read_json(sealed).get("sha256")
    wanted = proof.get(path.name) if isinstance(proof, dict) else None
    if not isinstance(wanted, str) or sha256_file(path) != wanted:
        raise StorageError(
            "the record of this run is not what was sealed",
            where=str(path),
            hint="restore this file from a copy, or rerun the step",
        )


def _image(fill: Callable[[h5py.File], None]) -> bytes:
    """Put a file together in memory: HDF5 that meets a full disk half-way can take the process down."""
    import h5py

    with h5py.File(
        f"record-{id(fill)}", "w", driver="core", backing_store=False, track_order=False
    ) as handle:
        fill(handle)
        handle.flush()
        return bytes(handle.id.get_file_image())


def _put_item(group: h5py.Group, record: ItemRecord) -> None:
    group.attrs["verdict"] = record.verdict
    group.attrs["warning"] = record.warning
    group.attrs["fallbacks"] = json.dumps(record.fallbacks, ensure_ascii=False)
    group.attrs["wall_s"] = record.wall_s
    group.attrs["cpu_s"] = record.cpu_s
    group.attrs["peak_rss_bytes"] = record.peak_rss_bytes
    metrics, units = group.create_group("metrics"), group.create_group("units")
    for name, value in record.metrics.items():
        metrics.attrs[name] = value
        units.attrs[name] = record.units.get(name, "")
    tables = group.create_group("tables")
    for name, columns in record.tables.items():
        table = tables.create_group(name, track_order=True)
        table.attrs["doc"] = record.table_docs.get(name, "")
        for column, values in columns.items():
            _put_array(table, column, values)
    curves = group.create_group("curves")
    for name, curve in record.curves.items():
        part = curves.create_group(name)
        part.attrs["x_label"], part.attrs["y_label"] = curve.x_label, curve.y_label
        _put_array(part, "x", curve.x)
        _put_array(part, "y", curve.y)
    previews = group.create_group("previews")
    for name, image in record.previews.items():
        _put_array(previews, name, image)


def _put_array(group: h5py.Group, name: str, values: NDArray[Any]) -> None:
    import numpy as np

    data = np.asarray(values)
    if data.dtype.kind == "U":
        data = np.char.encode(data, "utf-8")
    if data.dtype.kind == "S" and data.dtype.itemsize == 0:
        data = data.astype("S1")
    compress = "gzip" if data.nbytes >= _COMPRESS_FROM else None
    group.create_dataset(name, data=data, compression=compress)


def _get_item(group: hdf5.Group) -> ItemRecord:
    metrics, units = group.group("metrics"), group.group("units")
    tables, curves, previews = group.group("tables"), group.group("curves"), group.group("previews")
    found = ItemRecord(
        metrics={name: float(value) for name, value in metrics.attributes().items()},
        units={name: str(value) for name, value in units.attributes().items()},
        previews={name: previews.array(name) for name in previews.names()},
        verdict=str(group.attribute("verdict")),
        warning=bool(group.attribute("warning")),
        fallbacks=[str(text) for text in reading.parse_json(group.attribute("fallbacks").encode())],
        wall_s=float(group.attribute("wall_s")),
        cpu_s=float(group.attribute("cpu_s")),
        peak_rss_bytes=int(group.attribute("peak_rss_bytes")),
    )
    for name in tables.names():
        table = tables.group(name)
        found.tables[name] = {column: _text(table.array(column)) for column in table.names()}
        found.table_docs[name] = str(table.attribute("doc")) if table.has_attribute("doc") else ""
        if len({len(values) for values in found.tables[name].values()}) > 1:
            raise ValueError(f"the columns of table {name!r} are not equally long")
    for name in curves.names():
        curve = curves.group(name)
        x, y = curve.array("x"), curve.array("y")
        if x.ndim != 1 or x.shape != y.shape or x.dtype.kind not in "fiu" or y.dtype.kind not in "fiu":
            raise ValueError(f"curve {name!r} has x {x.dtype} {x.shape} and y {y.dtype} {y.shape}")
        found.curves[name] = Curve(x, y, str(curve.attribute("x_label")), str(curve.attribute("y_label")))
    for name, picture in found.previews.items():
        if picture.ndim != 2 or picture.dtype.kind != "u":
            raise ValueError(f"preview {name!r} is not a picture")
    return found


def _item_names(items: hdf5.Group) -> list[str]:
    names = items.names()
    for name in names:
        if name != WHOLE and not ITEM_NAME.match(name):
            raise ValueError(f"{name!r} is not a usable name of a tilt series")
    return names


def _text(values: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
