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

from staproj.errors import FormatError
from staproj.project import atomic
from staproj.project.layout import WHOLE

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from numpy.typing import NDArray

RECORD_FORMAT = 1
PREVIEW_MAX_PX = 256
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


def write_item(path: Path, record: ItemRecord) -> None:
    """Write the record of one item in one step (``item.json`` beside it makes it durable)."""
    _write(path, lambda handle: _put_item(handle.create_group("item"), record))


def write_run(
    path: Path,
    *,
    attributes: Mapping[str, str],
    params: Mapping[str, Mapping[str, Any]],
    items: Mapping[str | None, Path],
) -> None:
    """Join the records of all items (their files) into the record of the run.

    ``params`` is ``{name: {"value": …, "layer": …}}``.
    """
    import h5py

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
            with h5py.File(items[item], "r", locking=False) as part:
                part.copy("item", group, name=item or WHOLE)

    _write(path, fill)


def read_run(path: Path) -> RunRecord:
    """Read ``meta.h5``.

    Raises
    ------
    FormatError
        If it is missing or damaged.
    """
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as handle:
            params = handle["params"]
            return RunRecord(
                run=str(handle.attrs["run"]),
                step=str(handle.attrs["step"]),
                stage=str(handle.attrs["stage"]),
                key=str(handle.attrs["key"]),
                params={name: json.loads(value) for name, value in params.attrs.items()},
                layers={name: str(value) for name, value in params["layers"].attrs.items()},
                items={
                    None if name == WHOLE else name: _get_item(group)
                    for name, group in handle["items"].items()
                },
            )
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise FormatError(
            f"the record of this run cannot be read: {error}", where=str(path), hint="rerun the step"
        ) from error


def read_item(path: Path) -> ItemRecord:
    """Read the record of one item."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as handle:
            return _get_item(handle["item"])
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise FormatError(f"the record of this item cannot be read: {error}", where=str(path)) from error


def _write(path: Path, fill: Callable[[h5py.File], None]) -> None:
    """Put the file together in memory: HDF5 that meets a full disk half-way can take the process down."""
    import h5py

    with h5py.File(path.name, "w", driver="core", backing_store=False, track_order=False) as handle:
        fill(handle)
        handle.flush()
        image = handle.id.get_file_image()
    atomic.write_bytes(path, image, sync_dir=False)


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


def _get_item(group: h5py.Group) -> ItemRecord:
    return ItemRecord(
        metrics={name: float(value) for name, value in group["metrics"].attrs.items()},
        units={name: str(value) for name, value in group["units"].attrs.items()},
        tables={
            name: {column: _get_array(data) for column, data in table.items()}
            for name, table in group["tables"].items()
        },
        table_docs={name: str(table.attrs.get("doc", "")) for name, table in group["tables"].items()},
        curves={
            name: Curve(part["x"][()], part["y"][()], str(part.attrs["x_label"]), str(part.attrs["y_label"]))
            for name, part in group["curves"].items()
        },
        previews={name: data[()] for name, data in group["previews"].items()},
        verdict=str(group.attrs["verdict"]),
        warning=bool(group.attrs["warning"]),
        fallbacks=[str(text) for text in json.loads(group.attrs["fallbacks"])],
        wall_s=float(group.attrs["wall_s"]),
        cpu_s=float(group.attrs["cpu_s"]),
        peak_rss_bytes=int(group.attrs["peak_rss_bytes"]),
    )


def _get_array(data: h5py.Dataset) -> NDArray[Any]:
    import numpy as np

    values: NDArray[Any] = data[()]
    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
