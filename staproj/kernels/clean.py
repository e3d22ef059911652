"""Outlying pixels: defects of the camera in sums of frames, and X-ray spikes in views.

Protein and gold are dark, X-rays and hot pixels bright: only bright spikes are looked for unless asked.
The tests for X-rays follow the idea of IMOD's ccderaser as its manual describes it (a peak above its local
mean, tested against an annulus and against its neighbours, grown, replaced by a polynomial through its
border); criteria are in standard deviations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

_CLIP_SD = 6.0
_DEAD_FRACTION = 0.1
_DEAD_SD = 5.0
_SIDE_WEIGHTS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=np.float32) / 8.0


@dataclass(frozen=True)
class SpikeOptions:
    """Criteria for X-rays, all in SD of what a pixel is compared with; lengths in pixels."""

    scan_sd: float = 5.0
    peak_sd: float = 10.0
    difference_sd: float = 8.0
    grow_sd: float = 4.0
    patch_px: int = 101
    max_radius_px: float = 4.0
    annulus_px: float = 2.0
    large_factor: float = 2.0
    border_px: int = 2
    polynomial_order: int = 2


@dataclass(frozen=True, eq=False)
class Spikes:
    """Pixels of spikes ``[y, x]`` (True = replace), how many spikes, and how many were too large."""

    mask: Bool
    count: int
    too_large: int


def neighbour_mean(image: Float32) -> Float32:
    """Return the mean of the 8 neighbours of every pixel (mirrored at borders)."""
    total = scipy.ndimage.uniform_filter(image, 3, mode="mirror") * np.float32(9.0)
    return np.asarray((total - image) / np.float32(8.0), dtype=np.float32)


def clipped_sd(values: NDArray[np.floating]) -> float:
    """Return the SD without values farther than 6 SD from the mean (two passes)."""
    kept = values
    for _ in range(2):
        centre, sd = float(kept.mean(dtype=np.float64)), float(kept.std(dtype=np.float64))
        kept = kept[np.abs(kept - centre) <= _CLIP_SD * sd] if sd > 0 else kept
    return float(kept.std(dtype=np.float64)) if kept.size else 0.0


def find_defects(total: Float32, threshold_sd: float) -> Bool:
    """Find hot and dead pixels in the sum of all frames of a movie.

    A pixel is hot if it exceeds the mean of its neighbours by ``threshold_sd`` SD of that difference, dead
    if it holds less than a tenth of them and is 5 SD below. Two passes find pixels beside brighter ones.
    """
    image, mask = total, np.zeros(total.shape, dtype=bool)
    for _ in range(2):
        around = neighbour_mean(image)
        difference = image - around
        sd = clipped_sd(difference[::2, ::2])
        found = difference > threshold_sd * sd
        found |= (difference < -_DEAD_SD * sd) & (image < _DEAD_FRACTION * around)
        found &= ~mask
        if sd <= 0 or not found.any():
            break
        mask |= found
        image = fill_from_neighbours(image, mask)
    return mask


def fill_from_neighbours(image: Float32, mask: Bool) -> Float32:
    """Return a copy in which masked pixels hold the mean of good pixels around them (5 x 5, then wider)."""
    out = image.copy()
    rows, columns = np.nonzero(mask)
    ny, nx = image.shape
    for radius in (2, 4, 8):
        if not len(rows):
            break
        offset = np.arange(-radius, radius + 1)
        y = (rows[:, None] + offset)[:, :, None]
        x = (columns[:, None] + offset)[:, None, :]
        inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
        y, x = np.clip(y, 0, ny - 1), np.clip(x, 0, nx - 1)
        good = inside & ~mask[y, x]
        count = good.sum(axis=(1, 2))
        mean = (image[y, x] * good).sum(axis=(1, 2), dtype=np.float64) / np.maximum(count, 1)
        filled = count > 0
        out[rows[filled], columns[filled]] = mean[filled]
        rows, columns = rows[~filled], columns[~filled]
    if len(rows):
        out[rows, columns] = np.float32(image[~mask].mean()) if not mask.all() else np.float32(0.0)
    return out


def find_spikes(view: Float32, options: SpikeOptions) -> Spikes:
    """Find bright spikes in a view ``[y, x]``."""
    peaks = _tested_peaks(view, options)
    mask = np.zeros(view.shape, dtype=bool)
    count, too_large = 0, 0
    for y, x, mean, sd in peaks:
        if mask[int(y), int(x)]:
            continue
        region = _grow(view, (int(y), int(x)), mean + options.grow_sd * sd, options)
        if region is None:
            too_large += 1
            continue
        mask[region] = True
        count += 1
    return Spikes(mask, count, too_large)


def _tested_peaks(view: Float32, options: SpikeOptions) -> Float:
    """Local maxima that pass the tests, brightest first: ``[n, 4]`` y, x, mean and SD of the annulus."""
    centred = view - np.float32(view.mean(dtype=np.float64))
    limit = np.float32(_CLIP_SD * clipped_sd(centred[::2, ::2]))
    tame = np.clip(centred, -limit, limit)
    size = options.patch_px
    mean = scipy.ndimage.uniform_filter(tame, size, mode="mirror")
    square = scipy.ndimage.uniform_filter(tame * tame, size, mode="mirror")
    sd = np.sqrt(np.maximum(square - mean * mean, 1e-12))
    y, x = np.nonzero(centred > mean + options.scan_sd * sd)
    ring = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    around = _gather(view, y, x, np.array(ring))
    top = view[y, x] >= around.max(axis=1) if len(y) else np.zeros(0, dtype=bool)
    y, x, around = y[top], x[top], around[top]
    if not len(y):
        return np.zeros((0, 4))
    value = view[y, x].astype(np.float64)
    difference = value - around.mean(axis=1)
    # SD of (pixel - mean of 8) for the local noise: measured, since pixels of a view correlate.
    whole = tame - neighbour_mean(tame)
    difference_sd = clipped_sd(whole[::2, ::2]) * sd[y, x] / clipped_sd(tame[::2, ::2])
    annulus = _gather(view, y, x, _annulus(options))
    ring_mean, ring_sd = annulus.mean(axis=1), np.maximum(annulus.std(axis=1), sd[y, x])
    passed = (value > ring_mean + options.peak_sd * ring_sd) | (
        difference > options.difference_sd * difference_sd
    )
    passed &= value > ring_mean + options.grow_sd * ring_sd
    found = np.stack([y, x, ring_mean, ring_sd], axis=1)[passed].astype(np.float64)
    by_height = np.argsort(-value[passed], kind="stable")
    return np.asarray(found[by_height], dtype=np.float64)


def _annulus(options: SpikeOptions) -> NDArray[np.int64]:
    outer = options.max_radius_px + options.annulus_px
    reach = int(np.ceil(outer))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    radius = np.hypot(y, x)
    inside = (radius > options.max_radius_px) & (radius <= outer)
    return np.stack([y[inside], x[inside]], axis=1)


def _gather(view: Float32, y: NDArray[np.int64], x: NDArray[np.int64], offsets: NDArray[np.int64]) -> Float:
    """Pixels at offsets from each point ``[n, m]``, mirrored at borders."""
    ny, nx = view.shape
    rows, columns = y[:, None] + offsets[:, 0], x[:, None] + offsets[:, 1]
    rows = np.where(rows < 0, -rows, np.where(rows >= ny, 2 * (ny - 1) - rows, rows))
    columns = np.where(columns < 0, -columns, np.where(columns >= nx, 2 * (nx - 1) - columns, columns))
    return view[rows, columns].astype(np.float64)


def _grow(
    view: Float32, peak: tuple[int, int], level: float, options: SpikeOptions
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Find connected pixels above ``level`` around a peak; ``None`` if they reach too far."""
    for radius in (options.max_radius_px, options.max_radius_px * options.large_factor):
        reach = int(np.ceil(radius)) + 1
        y0, x0 = max(peak[0] - reach, 0), max(peak[1] - reach, 0)
        window = view[y0 : peak[0] + reach + 1, x0 : peak[1] + reach + 1]
        labels, _ = scipy.ndimage.label(window > level, structure=np.ones((3, 3)))
        y, x = np.nonzero(labels == labels[peak[0] - y0, peak[1] - x0])
        y, x = y + y0, x + x0
        if np.hypot(y - peak[0], x - peak[1]).max() <= radius:
            return y, x
    return None


def fill_patches(view: Float32, mask: Bool, options: SpikeOptions) -> Float32:
    """Return a copy in which each masked patch holds a polynomial fitted to the good pixels around it."""
    out = view.copy()
    labels, n = scipy.ndimage.label(mask, structure=np.ones((3, 3)))
    ny, nx = view.shape
    for number, where in enumerate(scipy.ndimage.find_objects(labels, n), start=1):
        reach = options.border_px + 1
        rows = slice(max(where[0].start - reach, 0), min(where[0].stop + reach, ny))
        columns = slice(max(where[1].start - reach, 0), min(where[1].stop + reach, nx))
        patch = labels[rows, columns] == number
        near = scipy.ndimage.binary_dilation(patch, np.ones((3, 3)), iterations=options.border_px)
        border = near & ~mask[rows, columns]
        if border.any():
            block = out[rows, columns]
            block[patch] = _polynomial_fill(view[rows, columns], border, patch, options.polynomial_order)
    return out


def _polynomial_fill(block: Float32, border: Bool, patch: Bool, order: int) -> Float:
    y, x = np.nonzero(border)
    centre = np.array([y.mean(), x.mean()])
    scale = max(float(np.ptp(y)), float(np.ptp(x)), 1.0)
    powers = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]
    if len(y) < 2 * len(powers):
        powers = [(0, 0)]

    def terms(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Float:
        v, u = (rows - centre[0]) / scale, (columns - centre[1]) / scale
        return np.stack([v**i * u**j for i, j in powers], axis=1)

    values = block[border].astype(np.float64)
    solution = np.linalg.lstsq(terms(y, x), values, rcond=None)[0]
    filled = terms(*np.nonzero(patch)) @ solution
    # A polynomial must not leave the range of what it was fitted to.
    return np.clip(filled, values.min(), values.max())


def dark_views(
    mean: Float, exposure: Float, tilt_deg: Float, fraction: float, steps: int = 10
) -> tuple[Bool, Float]:
    """Find views with far less signal than their tilt explains.

    Ice absorbs as ``ln(mean / exposure) = a - b / cos(tilt)``; the line is fitted robustly.

    Returns
    -------
    tuple
        ``[view]`` flags where mean < ``fraction`` of the expected one, and the ratio measured / expected.
    """
    usable = mean > 0
    ratio = np.zeros(len(mean))
    if np.count_nonzero(usable) < 3:
        return ~usable, ratio
    path = 1.0 / np.cos(np.deg2rad(np.clip(tilt_deg, -85.0, 85.0)))
    level = np.log(mean[usable] / np.maximum(exposure[usable], 1e-9))
    design = np.stack([np.ones(len(level)), -path[usable]], axis=1)
    weight = np.ones(len(level))
    for _ in range(steps):
        root = np.sqrt(weight)
        solution = np.linalg.lstsq(design * root[:, None], level * root, rcond=None)[0]
        if solution[1] < 0:  # views do not get brighter with tilt; fall back to one level
            solution = np.array([float(np.median(level)), 0.0])
        residual = level - design @ solution
        scale = max(1.4826 * float(np.median(np.abs(residual))), 0.02)
        weight = np.clip(1.0 - (residual / (6.0 * scale)) ** 2, 0.0, None) ** 2 + 1e-6
    ratio[usable] = np.exp(residual)
    return ratio < fraction, ratio
