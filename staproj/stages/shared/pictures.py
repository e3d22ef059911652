"""Small grey pictures for the records of stages."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

Float = NDArray[np.float64]
Picture = NDArray[np.float32]


def picture_of_points(position_xy: Float, weight: Float | None = None, size_px: int = 192) -> Picture:
    """Draw points ``[n, 2]`` (x, y in any unit, finite) as soft dots on a square ``[y, x]``, y upwards."""
    if len(position_xy) == 0:
        return np.zeros((size_px, size_px), dtype=np.float32)
    low, high = position_xy.min(axis=0), position_xy.max(axis=0)
    span = max(float((high - low).max()), 1e-6)
    index = (position_xy - 0.5 * (low + high)) / span * (size_px - 17) + size_px / 2
    cells = np.clip(np.rint(index).astype(np.int64), 0, size_px - 1)
    picture = np.zeros((size_px, size_px), dtype=np.float32)
    np.add.at(picture, (size_px - 1 - cells[:, 1], cells[:, 0]), 1.0 if weight is None else weight)
    blurred: Picture = scipy.ndimage.gaussian_filter(picture, 1.2)
    return blurred


def picture_of_histogram(counts: Float, mark: float | None = None, height_px: int = 96) -> Picture:
    """Draw a histogram as bars; ``mark`` (in bins) is a bright line at that place."""
    counts = np.asarray(counts, dtype=np.float64)
    width = max(1, 192 // max(len(counts), 1))
    level = np.repeat(counts / max(counts.max(initial=0.0), 1e-12), width) * (height_px - 4)
    rows = np.arange(height_px)[::-1, None]
    picture = np.where(rows < level[None, :], 0.6, 0.0).astype(np.float32)
    if mark is not None and 0 <= mark <= len(counts):
        picture[:, min(int(mark * width), picture.shape[1] - 1)] = 1.0
    return picture


def central_slices(volume: NDArray[np.floating]) -> Picture:
    """Lay the three central slices (xy, xz, yz) of a volume ``[z, y, x]`` side by side."""
    nz, ny, nx = volume.shape
    slices = [volume[nz // 2], volume[:, ny // 2], volume[:, :, nx // 2]]
    height = max(part.shape[0] for part in slices)
    padded = [
        np.pad(part, ((0, height - part.shape[0]), (0, 2)), constant_values=float(volume.min()))
        for part in slices
    ]
    return np.concatenate(padded, axis=1).astype(np.float32)
