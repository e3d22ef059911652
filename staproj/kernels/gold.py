"""Find gold beads in a tomogram, and judge and place them by the views themselves.

A coarse tomogram says where beads may be; streaks and noise make false peaks there. How dark a candidate's
disc is in every view, against the ring around it, tells beads from the rest. Images and volumes: protein
dark, beads darkest. Lengths in px.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


def bead_peaks(volume: Float32, diameter: float, threshold_sd: float, max_count: int) -> tuple[Float, Float]:
    """Return positions x, y, z from ``n // 2`` and heights (robust SDs) of dark balls, strongest first.

    The filter is a difference of Gaussians of about the bead's size; peaks are at least 0.9 diameters apart.
    """
    sigma = 0.36 * diameter
    found = scipy.ndimage.gaussian_filter(volume, 1.8 * sigma) - scipy.ndimage.gaussian_filter(volume, sigma)
    middle = np.median(found)
    spread = 1.4826 * float(np.median(np.abs(found - middle)))
    if not spread > 0:
        return np.zeros((0, 3)), np.zeros(0)
    found = (found - middle) / spread
    size = max(3, 2 * int(0.45 * diameter) + 1)
    highest = scipy.ndimage.maximum_filter(found, size=size, mode="nearest")
    index = np.argwhere((found == highest) & (found > threshold_sd))
    height = found[tuple(index.T)]
    order = np.argsort(-height, kind="stable")[:max_count]
    origin = np.array(volume.shape) // 2
    return (index[order] - origin)[:, ::-1].astype(np.float64), height[order].astype(np.float64)


def disc_contrast(image: Float32, centre_xy: Float, diameter: float) -> Float:
    """Return how much darker discs are than the rings around them, in robust SDs; NaN near the rim."""
    windows, distance = _windows(image, centre_xy, 1.1 * diameter)
    disc = distance <= 0.45 * diameter
    ring = (distance > 0.7 * diameter) & (distance <= 1.05 * diameter)
    inner = np.where(disc, windows, 0.0).sum(axis=(1, 2)) / np.maximum(disc.sum(axis=(1, 2)), 1)
    outer = _ring_median(windows, ring)
    spread = 1.4826 * float(np.median(np.abs(image - np.median(image)))) or 1.0  # beads do not count
    return np.asarray((outer - inner) / spread, dtype=np.float64)


def dark_centroid(image: Float32, centre_xy: Float, diameter: float) -> Float:
    """Return centres of darkness within half a diameter of ``centre_xy`` (``[n, 2]``), else NaN."""
    found = np.asarray(centre_xy, dtype=np.float64).copy()
    for _ in range(3):
        windows, distance = _windows(image, found, 1.1 * diameter)
        if not len(windows):
            return found
        ring = (distance > 0.7 * diameter) & (distance <= 1.05 * diameter)
        level = _ring_median(windows, ring)
        dark = np.where(distance <= 0.6 * diameter, np.maximum(level[:, None, None] - windows, 0.0), 0.0)
        half = windows.shape[1] // 2
        steps = np.arange(-half, half + 1)
        base = np.rint(np.nan_to_num(found))
        total = dark.sum(axis=(1, 2))
        with np.errstate(invalid="ignore", divide="ignore"):
            x = base[:, 0] + (dark * steps[None, None, :]).sum(axis=(1, 2)) / total
            y = base[:, 1] + (dark * steps[None, :, None]).sum(axis=(1, 2)) / total
        found = np.stack([x, y], axis=1)
    moved = np.linalg.norm(found - centre_xy, axis=1)
    found[~(moved <= 0.5 * diameter)] = np.nan
    return found


def _ring_median(windows: Float, ring: NDArray[np.bool_]) -> Float:
    """Return the median of each window's ring; NaN for windows that left the image."""
    out = np.full(len(windows), np.nan)
    for i in np.flatnonzero(np.isfinite(windows).all(axis=(1, 2)) & ring.any(axis=(1, 2))):
        out[i] = np.median(windows[i][ring[i]])
    return out


def _windows(image: Float32, centre_xy: Float, reach: float) -> tuple[Float, Float]:
    """Cut square windows about rounded centres (NaN if they leave the image), and distances to them."""
    centre = np.asarray(centre_xy, dtype=np.float64).reshape(-1, 2)
    half = int(np.ceil(reach))
    steps = np.arange(-half, half + 1)
    base = np.rint(np.nan_to_num(centre, nan=-1e6)).astype(np.int64)
    ny, nx = image.shape
    inside = (base >= half).all(axis=1) & (base[:, 0] < nx - half) & (base[:, 1] < ny - half)
    safe = np.where(inside[:, None], base, half)
    if min(ny, nx) <= 2 * half:
        safe, inside = np.zeros_like(safe), np.zeros(len(base), dtype=bool)
    rows = np.clip(safe[:, 1, None, None] + steps[None, :, None], 0, ny - 1)
    columns = np.clip(safe[:, 0, None, None] + steps[None, None, :], 0, nx - 1)
    windows = image[rows, columns].astype(np.float64)
    windows[~inside] = np.nan
    dx = base[:, 0, None, None] + steps[None, None, :] - centre[:, 0, None, None]
    dy = base[:, 1, None, None] + steps[None, :, None] - centre[:, 1, None, None]
    return windows, np.hypot(dx, dy)


def triangulate(projection: Float, offset: Float, position_xy: Float, weight: Float) -> Float:
    """Solve for points seen in several views: ``xy = projection_v P + offset_v`` by weighted least squares.

    ``projection`` is ``[view, 2, 3]``, ``offset`` ``[view, 2]``, ``position_xy`` ``[point, view, 2]``,
    ``weight`` ``[point, view]`` (0 or NaN positions are left out). Points seen in fewer than three views
    are NaN.
    """
    known = (weight > 0) & np.isfinite(position_xy).all(axis=2)
    w = np.where(known, weight, 0.0)
    target = np.where(known[:, :, None], position_xy - offset, 0.0)
    normal = np.einsum("nv,vai,vaj->nij", w, projection, projection)
    right = np.einsum("nv,vai,nva->ni", w, projection, target)
    out = np.full((len(w), 3), np.nan)
    enough = known.sum(axis=1) >= 3
    if enough.any():
        scale = np.trace(normal[enough], axis1=1, axis2=2)[:, None, None] * np.eye(3)
        out[enough] = np.linalg.solve(normal[enough] + 1e-9 * scale, right[enough][..., None])[..., 0]
    return out


def split_by_gap(values: Float, lowest: float, highest: float) -> float:
    """Return a threshold between ``lowest`` and ``highest``: the middle of the widest gap of logarithms."""
    inside = np.sort(values[(values > 0) & np.isfinite(values)])
    edges = np.concatenate([[lowest], inside[(inside > lowest) & (inside < highest)], [highest]])
    ratio = np.diff(np.log(edges))
    i = int(np.argmax(ratio))
    return float(np.sqrt(edges[i] * edges[i + 1]))
