"""TIFF movies: one page a frame, uncompressed, LZW or deflate.

TIFF counts rows from the top of the picture, MRC from the bottom. SerialEM and IMOD follow that: a movie
saved as TIFF and as MRC shows the same picture, with the rows stored in opposite order. Frames are
therefore turned upside down on reading (``first_row="top"``), so that a series keeps its hand and its
tilt axis whichever format its movies are in. Programs that copy rows as they come (MotionCor2, RELION)
treat row 0 as y = 0; for files written that way use ``first_row="bottom"``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from staproj.errors import FormatError, InputError, StorageError

FirstRow = Literal["top", "bottom"]
_DAMAGED = "copy it again from the microscope, or leave it out"
_ANGSTROM_PER_CM = 1.0e8
_ANGSTROM_PER_INCH = 2.54e8
_PLAUSIBLE_PIXEL_ANGSTROM = (0.05, 200.0)
# Damage is reported once, by our own errors.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


class TiffMovie:
    """An open TIFF movie: sizes from the header, frames one at a time."""

    def __init__(self, path: Path, *, first_row: FirstRow = "top") -> None:
        self.path = path
        self._flip = first_row == "top"
        try:
            self._file = tifffile.TiffFile(path)
        except FileNotFoundError as error:
            raise InputError("there is no such file", where=str(path)) from error
        except (tifffile.TiffFileError, ValueError, OSError, IndexError, KeyError) as error:
            raise FormatError("this is not a complete TIFF file", where=str(path), hint=_DAMAGED) from error
        try:
            pages = self._file.pages
            self.n_frames = len(pages)
            first = pages.first
        except (tifffile.TiffFileError, ValueError, OSError, IndexError, KeyError) as error:
            self.close()
            raise FormatError("this is not a complete TIFF file", where=str(path), hint=_DAMAGED) from error
        if len(first.shape) != 2:
            self.close()
            raise FormatError(
                f"frames of a movie are grey pictures, this one has the shape {first.shape}",
                where=str(path),
                hint="save the movie with one grey page a frame",
            )
        self.shape_yx = (int(first.shape[0]), int(first.shape[1]))
        self.dtype = np.dtype(first.dtype)
        self.pixel_size_angstrom = _pixel_size(first)

    def frame(self, index: int) -> NDArray[Any]:
        """Read one frame ``[y, x]`` in its own type, row 0 at the bottom of the picture.

        Raises
        ------
        FormatError
            If the frame is cut off, damaged, of another size, or of a compression that needs a package.
        """
        where = f"{self.path}, frame {index} (from 0)"
        try:
            data = np.asarray(self._file.pages[index].asarray())
        except ImportError as error:
            raise FormatError(
                f"cannot decode the compression: {error}", where=where, hint="install the package imagecodecs"
            ) from error
        except ValueError as error:
            if "imagecodecs" in str(error):
                raise FormatError(str(error), where=where, hint="install the package imagecodecs") from error
            raise FormatError(f"the frame is damaged: {error}", where=where, hint=_DAMAGED) from error
        except Exception as error:  # decoders raise errors of their own kinds on cut-off data
            raise FormatError(f"the frame is damaged: {error}", where=where, hint=_DAMAGED) from error
        if data.shape != self.shape_yx:
            raise FormatError(
                f"the frame is {data.shape[::-1]} where the first is {self.shape_yx[::-1]}",
                where=where,
                hint=_DAMAGED,
            )
        return data[::-1] if self._flip else data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> TiffMovie:
        """Return the movie."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def write_tiff(
    path: Path,
    frames: Sequence[NDArray[Any]] | NDArray[Any],
    *,
    first_row: FirstRow = "top",
    compression: str | None = "zlib",
    pixel_size_angstrom: float = 0.0,
) -> Path:
    """Write frames ``[frame, y, x]`` (row 0 at the bottom) as a TIFF movie, by rename; return ``path``."""
    temporary = path.with_name(path.name + ".part")
    options: dict[str, Any] = {"photometric": "minisblack", "compression": compression, "metadata": None}
    if pixel_size_angstrom > 0:
        per_cm = _ANGSTROM_PER_CM / pixel_size_angstrom
        options |= {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    try:
        with tifffile.TiffWriter(temporary) as writer:
            for frame in frames:
                rows = frame[::-1] if first_row == "top" else frame
                writer.write(np.ascontiguousarray(rows), software="staproj", contiguous=False, **options)
        with temporary.open("rb") as raw:
            os.fsync(raw.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"cannot write: {error.strerror or error}", where=str(path)) from error
    return path


def _pixel_size(page: Any) -> float:
    """Pixel size in Å from the resolution tags, 0.0 where they are absent or mean something else."""
    try:
        numerator, denominator = page.tags["XResolution"].value
        unit = int(page.tags["ResolutionUnit"].value)
    except (KeyError, TypeError, ValueError):
        return 0.0
    length = {2: _ANGSTROM_PER_INCH, 3: _ANGSTROM_PER_CM}.get(unit, 0.0)
    if not numerator or not length:
        return 0.0
    size = float(f"{length * denominator / numerator:.6g}")
    smallest, largest = _PLAUSIBLE_PIXEL_ANGSTROM
    return size if smallest <= size <= largest else 0.0
