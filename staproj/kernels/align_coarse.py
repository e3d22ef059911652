"""Coarse alignment of a tilt series by cross-correlation of neighbouring views.

From the view nearest 0° outwards, each view is stretched perpendicular to the tilt axis to look like its
less tilted neighbour and correlated with it (Guckenberger 1982, Ultramicroscopy 9:167). Shifts follow
``staproj.model.geometry``: the content of a view lies at ``n // 2 + shift``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from staproj.kernels.correlate import band_pass, correlation_map, edge_taper, find_peak

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class CoarseSettings:
    """Filter (cycles/px of the images given), taper (fraction of a side), longest step of a pair (px)."""

    low_sigma: float = 0.03
    high_radius: float = 0.25
    high_sigma: float = 0.05
    taper: float = 0.1
    max_shift_px: float | None = None
    min_peak_sd: float = 6.0
    """A pair whose peak is lower than this is not believed: its second view takes the shift of the first."""


@dataclass(frozen=True)
class CoarseResult:
    """Shifts ``[view, 2]`` x, y px; correlation peaks in SDs and the neighbour used (-1 none), ``[view]``."""

    shift_xy: Float
    peak_sd: Float
    neighbour: NDArray[np.int64]


def align_views(
    images: NDArray[Any],
    tilt_deg: Float,
    tilt_axis_deg: float,
    used: NDArray[np.bool_],
    settings: CoarseSettings,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> CoarseResult:
    """Find the shift of every view of ``images`` ``[view, y, x]`` (sorted by tilt, even sizes).

    Views that are not used take the shifts of their neighbours (interpolated). ``step(done, total)`` is
    called before each pair. Raises ``ValueError`` if no view is used.
    """
    if not used.any():
        raise ValueError("no view is used")
    n_views = len(images)
    shape = (int(images.shape[1]), int(images.shape[2]))
    taper = edge_taper(shape, settings.taper)
    weight = band_pass(shape, settings.low_sigma, settings.high_radius, settings.high_sigma)
    shift, peak = np.zeros((n_views, 2)), np.full(n_views, np.nan)
    neighbour = np.full(n_views, -1, dtype=np.int64)
    pairs = chain(tilt_deg, used)
    for done, (low, high) in enumerate(pairs):
        step(done, len(pairs))
        stretch = np.cos(np.deg2rad(tilt_deg[low])) / np.cos(np.deg2rad(tilt_deg[high]))
        matrix = stretch_matrix(tilt_axis_deg, float(np.clip(stretch, 0.5, 2.0)))
        first = _transform(images[low], taper)
        second = _transform(apply_stretch(images[high], matrix), taper)
        found = find_peak(correlation_map(first, second, weight), settings.max_shift_px)
        believed = found.height_sd >= settings.min_peak_sd
        moved = np.array(found.shift_yx[::-1]) if believed else np.zeros(2)
        shift[high] = np.linalg.solve(matrix, shift[low] + moved)
        peak[high], neighbour[high] = found.height_sd, low
    index = np.arange(n_views)
    for axis in range(2):
        shift[:, axis] = np.interp(index, index[used], shift[used, axis])
    return CoarseResult(shift, peak, neighbour)


def chain(tilt_deg: Float, used: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (less tilted, more tilted) neighbours among the used views, from the middle outwards."""
    index = np.flatnonzero(used)
    order = index[np.argsort(tilt_deg[index], kind="stable")]
    middle = int(np.argmin(np.abs(tilt_deg[order])))
    pairs = [(int(order[i - 1]), int(order[i])) for i in range(middle + 1, len(order))]
    pairs += [(int(order[i + 1]), int(order[i])) for i in range(middle - 1, -1, -1)]
    return pairs


def stretch_matrix(tilt_axis_deg: float, factor: float) -> Float:
    """Return the matrix (x, y) that stretches perpendicular to the axis, which lies at ``axis`` from +y."""
    angle = np.deg2rad(tilt_axis_deg)
    across = np.array([np.cos(angle), np.sin(angle)])
    matrix: Float = np.eye(2) + (factor - 1.0) * np.outer(across, across)
    return matrix


def apply_stretch(image: NDArray[Any], matrix_xy: Float) -> Float32:
    """Return the image whose content at p (from ``n // 2``) moved to ``matrix p``; the border is the mean."""
    inverse = np.linalg.inv(matrix_xy)[::-1, ::-1]
    centre = np.array([image.shape[0] // 2, image.shape[1] // 2], dtype=np.float64)
    offset = centre - inverse @ centre
    fill = float(image.mean())
    moved = scipy.ndimage.affine_transform(
        image.astype(np.float32), inverse, offset=offset, order=1, mode="constant", cval=fill
    )
    return np.asarray(moved, dtype=np.float32)


def _transform(image: NDArray[Any], taper: Float32) -> NDArray[np.complex64]:
    values = image.astype(np.float32)
    out: NDArray[np.complex64] = scipy.fft.rfft2((values - values.mean()) * taper)
    return out
