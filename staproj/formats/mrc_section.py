"""One section of an MRC file, made small while it is read: never more than a band of it is in memory.

Bytes are asked for where they lie, not mapped: a disk that goes away then gives an error, not the end of the
process. A z section takes only its own bytes, a y section one row of each z section. An x section crosses
every row; of a file larger than ``MAX_READ_BYTES`` only every n-th z section is looked at for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import FileIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from staproj.errors import FormatError, InputError
from staproj.formats.mrc import MrcInfo

Axis = Literal["z", "y", "x"]
AXES: tuple[Axis, ...] = ("z", "y", "x")
BAND_VALUES = 1 << 20
MAX_READ_BYTES = 512 << 20
MAX_SIDE_PX = 1 << 16


@dataclass(frozen=True)
class Section:
    """A plane across one axis; the file's lowest row comes first.

    ``values`` are ``[y, x]`` of a z section, ``[z, x]`` of a y section, ``[z, y]`` of an x section. Each is
    the mean of ``reduced`` x ``reduced`` pixels of the file (of fewer at the far ends). Of the rows of an x
    section only every ``row_step``-th was read.
    """

    values: NDArray[np.float32]
    reduced: int
    row_step: int


def read_section(info: MrcInfo, axis: Axis, index: int, *, max_px: int) -> Section:
    """Read section ``index`` (from 0) across ``axis``, averaged down to at most ``max_px`` pixels a side.

    Raises
    ------
    FormatError
        If the file is shorter than its header said, or has a side longer than any picture.
    InputError
        If it cannot be read.
    """
    nz, ny, nx = info.shape_zyx
    if max(info.shape_zyx) > MAX_SIDE_PX:
        raise FormatError(
            f"a side of {max(info.shape_zyx)} pixels is too long to be shown", where=str(info.path)
        )
    rows, columns = {"z": (ny, nx), "y": (nz, nx), "x": (nz, ny)}[axis]
    factor = max(1, -(-max(rows, columns) // max_px))
    n_bytes = nz * ny * nx * info.dtype.itemsize
    step = min(factor, -(-n_bytes // MAX_READ_BYTES)) if axis == "x" else 1
    at_once = factor * max(1, BAND_VALUES // (columns * factor))
    out: list[NDArray[np.float32]] = []
    try:
        with FileIO(info.path, "rb") as handle:
            for start in range(0, rows, at_once):
                band = range(start, min(start + at_once, rows))
                picked = [row for row in band if row % factor % step == 0]
                read = _rows(handle, info, axis, index, picked)
                out.append(_mean(read, np.array(picked) // factor, factor))
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror or error}", where=str(info.path)) from error
    return Section(np.concatenate(out), factor, step)


def averaged(picture: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return a picture of which ``factor`` x ``factor`` pixels became their mean (fewer at the far ends)."""
    return _mean(picture, np.arange(len(picture)) // factor, factor)


def _mean(values: NDArray[np.float32], groups: NDArray[np.int64], factor: int) -> NDArray[np.float32]:
    """Average rows of the same group, and ``factor`` neighbouring columns."""
    firsts = np.flatnonzero(np.diff(groups, prepend=-1))
    edges = np.arange(0, values.shape[1], factor)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite stays so
        sums = np.add.reduceat(values, firsts, axis=0, dtype=np.float64)
        sums = np.add.reduceat(sums, edges, axis=1)
        tall = np.diff(firsts, append=len(groups))
        wide = np.diff(edges, append=values.shape[1])
        found: NDArray[np.float32] = (sums / (tall[:, None] * wide[None, :])).astype(np.float32)
    return found


def _rows(handle: FileIO, info: MrcInfo, axis: Axis, index: int, picked: list[int]) -> NDArray[np.float32]:
    """Return some rows of a section."""
    _, ny, nx = info.shape_zyx
    if axis == "z":  # they lie one behind the other
        flat = _read(handle, info, (index * ny + picked[0]) * nx, len(picked) * nx)
        return flat.reshape(len(picked), nx)
    if axis == "y":
        return np.stack([_read(handle, info, (row * ny + index) * nx, nx) for row in picked])
    return np.stack([_column(handle, info, row, index) for row in picked])


def _column(handle: FileIO, info: MrcInfo, z: int, x: int) -> NDArray[np.float32]:
    """Return the pixels of one z section at one x, read in bands."""
    _, ny, nx = info.shape_zyx
    at_once = max(1, BAND_VALUES // nx)
    parts = []
    for y in range(0, ny, at_once):
        count = min(at_once, ny - y)
        parts.append(_read(handle, info, (z * ny + y) * nx, count * nx).reshape(count, nx)[:, x].copy())
    return np.concatenate(parts)


def _read(handle: FileIO, info: MrcInfo, first: int, count: int) -> NDArray[np.float32]:
    """Return ``count`` values from value number ``first`` of the data."""
    values: NDArray[Any] = np.empty(count, dtype=info.dtype)
    room = values.view(np.uint8).data
    handle.seek(info.data_offset + first * info.dtype.itemsize)
    while room:
        n_bytes = handle.readinto(room)
        if not n_bytes:
            raise FormatError(
                "the file ends before its last section",
                where=str(info.path),
                hint="it was cut off while it was looked at, or copied incompletely",
            )
        room = room[n_bytes:]
    return values.astype(np.float32, copy=False)
