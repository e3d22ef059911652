"""Reading maps for stages that work on them whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from staproj.errors import FormatError, InputError
from staproj.formats.mrc import read_mrc

Float32 = NDArray[np.float32]


def read_map(path: Path, voxel_size_angstrom: float) -> Float32:
    """Read a map ``[z, y, x]`` as float32.

    Raises
    ------
    InputError
        If the voxel size that goes with it is not positive.
    FormatError
        If the file is not a volume.
    """
    if not voxel_size_angstrom > 0:
        raise InputError(f"voxel size {voxel_size_angstrom} Å is not positive", where=str(path))
    volume, _ = read_mrc(path)
    if min(volume.shape) < 4:
        raise FormatError(f"expected a volume, found an array of shape {volume.shape}", where=str(path))
    return volume


def require_same_grid(first: Float32, second: Float32, what: str, where: Path) -> None:
    """Refuse two maps of different shape.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if first.shape != second.shape:
        raise InputError(
            f"{what} differ in size: {first.shape[::-1]} and {second.shape[::-1]} voxels (x, y, z)",
            where=str(where),
            hint="make both from the same step",
        )
