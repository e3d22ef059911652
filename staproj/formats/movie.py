"""Movies in any format, frame by frame: the one way stages read frames and gain references."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import FormatError
from staproj.formats.mrc import check_finite, map_mrc
from staproj.formats.tiff import FirstRow, TiffMovie

TIFF_SUFFIXES = (".tif", ".tiff")
MRC_SUFFIXES = (".mrc", ".mrcs", ".st", ".ali", ".map", ".rec")
MOVIE_SUFFIXES = (*MRC_SUFFIXES, *TIFF_SUFFIXES)


class Movie:
    """An open movie ``[frame, y, x]``; use as a context manager.

    ``pixel_size_angstrom`` is 0.0 where the file does not know it.
    """

    def __init__(self, path: Path, *, tiff_first_row: FirstRow = "top") -> None:
        self.path = path
        self._tiff: TiffMovie | None = None
        if path.suffix.lower() == ".eer":
            raise FormatError(
                "EER movies cannot be read yet",
                where=str(path),
                hint="convert them to MRC or TIFF frames, for instance with relion_convert_to_tiff",
            )
        if path.suffix.lower() in TIFF_SUFFIXES:
            self._tiff = TiffMovie(path, first_row=tiff_first_row)
            self.shape = (self._tiff.n_frames, *self._tiff.shape_yx)
            self.dtype = self._tiff.dtype
            self.pixel_size_angstrom = self._tiff.pixel_size_angstrom
        else:
            self._data, info = map_mrc(path)
            self.shape = info.shape_zyx
            self.dtype = info.dtype
            self.pixel_size_angstrom = info.pixel_size_angstrom

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.shape[0]

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Size of a frame."""
        return self.shape[1], self.shape[2]

    def frame(self, index: int) -> NDArray[np.float32]:
        """Read one frame ``[y, x]`` as float32, row 0 at the bottom of the picture.

        Raises
        ------
        FormatError
            If it is damaged or holds NaN or infinite values.
        """
        raw: NDArray[Any] = self._tiff.frame(index) if self._tiff is not None else self._data[index]
        check_finite(raw, self.path, index)
        return np.array(raw, dtype=np.float32, order="C")

    def close(self) -> None:
        """Close the file."""
        if self._tiff is not None:
            self._tiff.close()

    def __enter__(self) -> Movie:
        """Return the movie."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def read_gain(
    path: Path, shape_yx: tuple[int, int], *, tiff_first_row: FirstRow = "top"
) -> NDArray[np.float32]:
    """Read a gain reference ``[y, x]`` that is multiplied into frames, and check that it fits them.

    Raises
    ------
    FormatError
        If it is not one image of the frames' size, holds NaN or negative values, or is zero everywhere.
    """
    with Movie(path, tiff_first_row=tiff_first_row) as image:
        if image.n_frames != 1:
            raise FormatError(
                f"a gain reference is one image, this file has {image.n_frames}",
                where=str(path),
                hint="check the parameter `gain`",
            )
        if image.shape_yx != shape_yx:
            turned = image.shape_yx[::-1] == shape_yx
            raise FormatError(
                f"the gain reference is {image.shape_yx[1]} x {image.shape_yx[0]}, "
                f"the frames are {shape_yx[1]} x {shape_yx[0]}",
                where=str(path),
                hint="turn it by 90 degrees first (IMOD `clip`)" if turned else "check the parameter `gain`",
            )
        gain = image.frame(0)
    if float(gain.min()) < 0 or float(gain.max()) <= 0:
        raise FormatError(
            f"a gain reference must be positive ({gain.min():g} to {gain.max():g})",
            where=str(path),
            hint="check the parameter `gain`",
        )
    return gain
