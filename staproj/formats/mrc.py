"""MRC files: checked reading, memory mapping, and writing by rename.

Modes read: 0 (signed bytes; unsigned where IMOD's flag says so), 1 (int16), 2 (float32), 6 (uint16) and
12 (float16), either byte order. Written: mode 2, or 12 on request. Arrays are ``[z, y, x]`` or
``[view, y, x]``; row 0 is the bottom line of the picture, as every program that reads MRC has it.
A pixel size of 0 in a header means "unknown" and comes back as 0.0.

Files are written under a temporary name, flushed and renamed, and hold no time, so that equal content
gives equal bytes and a killed run leaves nothing half-written under the final name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import mrcfile
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from staproj.errors import FormatError, InputError, StorageError

HEADER_BYTES = 1024
_DTYPES = {0: np.int8, 1: np.int16, 2: np.float32, 6: np.uint16, 12: np.float16}
_LARGEST_MODE = 200
_IMOD_STAMP = 1146047817
_IMOD_SIGNED_BYTES = 1
_LABEL = b"Written by staproj"
_CONVERT = "convert it to int16 or float32 (for instance with IMOD `newstack -mode 2 IN OUT`)"


@dataclass(frozen=True)
class MrcInfo:
    """What the header of a checked MRC file says; ``dtype`` includes the byte order."""

    path: Path
    shape_zyx: tuple[int, int, int]
    dtype: np.dtype[Any]
    pixel_size_angstrom: float
    data_offset: int


def read_info(path: Path) -> MrcInfo:
    """Read and check a header, and that the file holds as many bytes as it promises.

    Raises
    ------
    FormatError
        If the file is not MRC, truncated, longer than its header says, or of a mode nobody should meet.
    InputError
        If the file is missing or not readable.
    """
    size, start = _size_and_start(path)
    header = _header(path, size, start)
    mode = int(header.mode)
    if mode not in _DTYPES:
        raise FormatError(f"MRC mode {mode} is not supported", where=str(path), hint=_CONVERT)
    shape = (int(header.nz), int(header.ny), int(header.nx))
    if min(shape) < 1:
        raise FormatError(
            f"the header gives the impossible size {shape[::-1]}",
            where=str(path),
            hint="the file is damaged or not MRC; copy it again from the microscope",
        )
    dtype = np.dtype(_DTYPES[mode]).newbyteorder(header.mode.dtype.byteorder)
    if mode == 0 and _bytes_are_unsigned(header):
        dtype = np.dtype(np.uint8)
    offset = HEADER_BYTES + int(header.nsymbt)
    _check_size(path, size, offset, shape, dtype)
    return MrcInfo(path, shape, dtype, _pixel_size(header), offset)


def map_mrc(path: Path) -> tuple[NDArray[Any], MrcInfo]:
    """Memory-map the data ``[z, y, x]`` read-only, in the type of the file; nothing is read yet."""
    info = read_info(path)
    data = np.memmap(path, dtype=info.dtype, mode="r", offset=info.data_offset, shape=info.shape_zyx)
    return data, info


def read_mrc(path: Path) -> tuple[NDArray[np.float32], float]:
    """Read a whole file as float32 ``[z, y, x]``, with its pixel size in Å (0.0 = unknown).

    Raises
    ------
    FormatError
        As :func:`read_info`, and if there are NaN or infinite values.
    """
    data, info = map_mrc(path)
    volume = np.array(data, dtype=np.float32)
    check_finite(volume, path)
    return volume, info.pixel_size_angstrom


def check_finite(data: NDArray[Any], path: Path, section: int | None = None) -> None:
    """Refuse NaN and infinite values, naming the file and the section.

    Raises
    ------
    FormatError
        If there is any.
    """
    if data.dtype.kind != "f":
        return
    # A sum is quick and is not finite if any pixel is not; only then count. float64 cannot overflow here.
    if np.isfinite(data.sum(dtype=np.float64)):
        return
    bad = int(np.size(data) - np.count_nonzero(np.isfinite(data)))
    where = str(path) if section is None else f"{path}, section {section} (from 0)"
    raise FormatError(
        f"{bad} of {data.size} pixels are NaN or infinite",
        where=where,
        hint="the file was written by a failed program; make it again, or leave this image out",
    )


def write_mrc(
    path: Path, data: ArrayLike, pixel_size_angstrom: float, *, dtype: DTypeLike = np.float32
) -> Path:
    """Write a volume ``[z, y, x]`` or an image ``[y, x]``; return ``path``."""
    array = np.asarray(data)
    volume = array[None] if array.ndim == 2 else array
    if volume.ndim != 3:
        raise ValueError(f"expected 2 or 3 axes, got {array.ndim}")
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    with MrcWriter(path, shape, pixel_size_angstrom, dtype=dtype, volume=array.ndim == 3) as writer:
        for section in volume:
            writer.append(section)
    return path


class MrcWriter:
    """Write a stack section by section: only one section is in memory, the name appears at the end.

    Use as a context manager; leaving it with all sections written flushes, renames and closes. Leaving it
    by an exception removes the temporary file.
    """

    def __init__(
        self,
        path: Path,
        shape_zyx: tuple[int, int, int],
        pixel_size_angstrom: float,
        *,
        dtype: DTypeLike = np.float32,
        volume: bool = False,
    ) -> None:
        self.path = path
        self.shape_zyx = shape_zyx
        self._dtype = np.dtype(dtype).newbyteorder("<")
        if self._dtype.kind != "f" or self._dtype.itemsize not in (2, 4):
            raise ValueError(f"MRC files are written as float32 or float16, not {self._dtype}")
        self._pixel_size = float(pixel_size_angstrom)
        self._volume = volume
        self._temporary = path.with_name(path.name + ".part")
        self._written = 0
        self._minimum, self._maximum, self._sum, self._sum2 = np.inf, -np.inf, 0.0, 0.0
        try:
            self._handle = self._temporary.open("wb")
            self._handle.write(b"\0" * HEADER_BYTES)
        except OSError as error:
            raise _storage(error, path) from error

    def append(self, section: NDArray[Any]) -> None:
        """Write the next section ``[y, x]``.

        Raises
        ------
        StorageError
            If the disk is full.
        """
        if section.shape != self.shape_zyx[1:]:
            raise ValueError(f"section {section.shape} does not fit a stack of {self.shape_zyx[1:]}")
        values = np.ascontiguousarray(section, dtype=np.float32)
        if self._dtype.itemsize == 2:
            limit = float(np.finfo(np.float16).max)
            values = np.clip(values, -limit, limit).astype(np.float16)
        self._minimum = min(self._minimum, float(values.min()))
        self._maximum = max(self._maximum, float(values.max()))
        self._sum += float(values.sum(dtype=np.float64))
        self._sum2 += float(np.square(values, dtype=np.float64).sum())
        try:
            self._handle.write(values.astype(self._dtype, copy=False).data)
        except OSError as error:
            raise _storage(error, self.path) from error
        self._written += 1

    def close(self) -> None:
        """Write the header, flush to disk and rename."""
        if self._written != self.shape_zyx[0]:
            raise ValueError(f"{self._written} of {self.shape_zyx[0]} sections were written")
        try:
            self._handle.seek(0)
            self._handle.write(self._header().tobytes())
            self._handle.flush()
            os.fsync(self._handle.fileno())
            self._handle.close()
            self._temporary.replace(self.path)
        except OSError as error:
            raise _storage(error, self.path) from error

    def discard(self) -> None:
        """Remove what was written."""
        self._handle.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> MrcWriter:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, or remove it if something went wrong."""
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise

    def _header(self) -> np.ndarray[Any, Any]:
        header = np.zeros((), dtype=mrcfile.dtypes.HEADER_DTYPE).view(np.recarray)
        nz, ny, nx = self.shape_zyx
        header.nx, header.ny, header.nz = nx, ny, nz
        header.mx, header.my, header.mz = nx, ny, nz
        header.mode = 2 if self._dtype.itemsize == 4 else 12
        header.cella.x, header.cella.y, header.cella.z = (n * self._pixel_size for n in (nx, ny, nz))
        header.cellb.alpha = header.cellb.beta = header.cellb.gamma = 90.0
        header.mapc, header.mapr, header.maps = 1, 2, 3
        header.map = b"MAP "
        header.machst = (0x44, 0x44, 0, 0)
        header.nversion = 20141
        header.ispg = 1 if self._volume else 0
        count = nx * ny * nz
        mean = self._sum / count
        header.dmin, header.dmax, header.dmean = self._minimum, self._maximum, mean
        header.rms = max(self._sum2 / count - mean * mean, 0.0) ** 0.5
        header.nlabl = 1
        header.label[0] = _LABEL
        return header


def _storage(error: OSError, path: Path) -> StorageError:
    return StorageError(
        f"cannot write: {error.strerror or error}",
        where=str(path),
        hint="free some space on that disk or check its permissions, then run the step again",
    )


def _size_and_start(path: Path) -> tuple[int, bytes]:
    try:
        with path.open("rb") as handle:
            start = handle.read(HEADER_BYTES)
            return handle.seek(0, os.SEEK_END), start
    except FileNotFoundError as error:
        raise InputError(
            "there is no such file",
            where=str(path),
            hint="check the path, and that the disk it is on is mounted",
        ) from error
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror or error}", where=str(path)) from error


def _header(path: Path, size: int, start: bytes) -> Any:
    if start[:2] == b"\x1f\x8b" or start[:3] == b"BZh":
        raise FormatError("the file is compressed", where=str(path), hint="unpack it with gunzip or bunzip2")
    if size < HEADER_BYTES:
        raise FormatError(
            f"the file is truncated: {size} bytes are fewer than an MRC header's {HEADER_BYTES}",
            where=str(path),
            hint="copy it again from the microscope, or leave it out",
        )
    not_mrc = FormatError(
        "this is not an MRC file",
        where=str(path),
        hint="check the pattern; TIFF movies must end in .tif or .tiff",
    )
    header = _in_byte_order(start)
    if header is None or not 0 <= int(header.nsymbt) <= size:
        raise not_mrc
    # IMOD before 2.6 wrote no "MAP " word; such files still have sane axes, garbage has not.
    axes = sorted((int(header.mapc), int(header.mapr), int(header.maps)))
    if bytes(header.map)[:3] != b"MAP" and axes != [1, 2, 3]:
        raise not_mrc
    if axes == [1, 2, 3] and (int(header.mapc), int(header.mapr)) != (1, 2):
        raise FormatError(
            "the axes of this MRC file are not stored in the order x, y, z",
            where=str(path),
            hint="rewrite it with IMOD `newstack` or `clip`",
        )
    return header


def _in_byte_order(raw: bytes) -> Any:
    """Read a header in the byte order in which mode and axes make sense; ``None`` if neither does.

    The machine stamp is not asked: programs that swap bytes have left wrong ones behind.
    """
    for order in ("<", ">"):
        header = np.frombuffer(raw, dtype=mrcfile.dtypes.HEADER_DTYPE.newbyteorder(order))[0]
        header = np.rec.array(header)
        axes = (int(header.mapc), int(header.mapr), int(header.maps))
        if 0 <= int(header.mode) <= _LARGEST_MODE and all(0 <= axis <= 3 for axis in axes):
            return header
    return None


def _bytes_are_unsigned(header: Any) -> bool:
    """IMOD stores unsigned bytes in mode 0 unless its flag says "signed"."""
    extra = header.extra2.tobytes()
    # extra2 begins at byte 112; the stamp is at 152 and the flags at 156.
    order = ">" if header.mode.dtype.byteorder == ">" else "<"
    stamp, flags = np.frombuffer(extra[40:48], dtype=order + "i4")
    return int(stamp) == _IMOD_STAMP and not int(flags) & _IMOD_SIGNED_BYTES


def _check_size(
    path: Path, size: int, offset: int, shape: tuple[int, int, int], dtype: np.dtype[Any]
) -> None:
    section = shape[1] * shape[2] * dtype.itemsize
    expected = offset + shape[0] * section
    if size < expected:
        whole = max(0, size - offset) // section
        raise FormatError(
            f"the file is truncated: the header promises {shape[0]} sections of {shape[2]} x {shape[1]}, "
            f"{whole} are complete",
            where=str(path),
            hint="copy it again from the microscope, or leave it out",
        )
    if size - expected >= section:  # less than one section is padding, which some cameras write
        raise FormatError(
            f"the file has the wrong size: {size} bytes where the header promises {expected}",
            where=str(path),
            hint="its header was not finished; repair it with IMOD `alterheader`, or leave it out",
        )


def _pixel_size(header: Any) -> float:
    cell, samples = float(header.cella.x), int(header.mx)
    if samples <= 0 or not np.isfinite(cell) or cell <= 0:
        return 0.0
    # The header is float32: rounding to 7 digits gives back the number that was written.
    return float(f"{cell / samples:.6g}")
