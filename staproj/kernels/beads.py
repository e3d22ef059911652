"""Gold beads in views: a matched filter, its peaks, and the bead's own profile as a better filter.

Positions are x, y in px from the image centre ``n // 2``. Responses are in robust standard deviations of the
filtered view, positive where a dark bead lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from staproj.kernels.correlate import parabola_vertex

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

_SUPPORT = 0.8
"""Radius of the filter in bead diameters: the bead and a ring of background around it."""


@dataclass(frozen=True)
class Candidates:
    """Peaks of one view, strongest first: ``[n, 2]`` x, y px from the centre, heights in SDs."""

    xy: Float
    height: Float


def flatten(images: NDArray[Any], diameter_px: float) -> Float32:
    """Return views without smooth background, of unit robust SD, dark turned bright, outliers clipped."""
    out = np.empty(images.shape, dtype=np.float32)
    for index, image in enumerate(images):
        values = image.astype(np.float32)
        level, spread = robust_level(values)
        clipped = np.clip(values, level - 30 * spread, level + 8 * spread)
        smooth = scipy.ndimage.uniform_filter(clipped, size=int(4 * diameter_px) | 1, mode="reflect")
        flat = smooth - clipped
        middle, flat_spread = robust_level(flat)
        out[index] = (flat - middle) / flat_spread
    return out


def robust_level(image: Float32) -> tuple[float, float]:
    """Return the median and the SD by the median deviation, from every second pixel of every second row."""
    sample = image[::2, ::2]
    middle = float(np.median(sample))
    return middle, max(1.4826 * float(np.median(np.abs(sample - middle))), 1e-12)


def sphere_profile(radius_px: Float, diameter_px: float) -> Float:
    """Return the projected thickness of a sphere at distances from its centre, 1 in the middle."""
    inside = 1.0 - (2.0 * np.asarray(radius_px) / diameter_px) ** 2
    sharp: Float = np.sqrt(np.maximum(inside, 0.0))
    return sharp


def filter_kernel(profile: Float, step_px: float, diameter_px: float) -> Float32:
    """Return the matched filter ``[y, x]`` (odd size, zero mean, unit power) for a radial ``profile``.

    ``profile`` is sampled every ``step_px`` from 0; beyond :data:`_SUPPORT` diameters the filter is 0.
    """
    half = int(np.ceil(_SUPPORT * diameter_px)) + 1
    grid = np.arange(-half, half + 1)
    radius = np.hypot(grid[:, None], grid[None, :])
    window = np.clip(_SUPPORT * diameter_px + 0.5 - radius, 0.0, 1.0)
    values = np.interp(radius, np.arange(len(profile)) * step_px, profile)
    values = window * (values - (window * values).sum() / window.sum())
    kernel: Float32 = (values / np.sqrt((values**2).sum())).astype(np.float32)
    return kernel


def respond(flat: Float32, kernel: Float32) -> Float32:
    """Filter flattened views ``[view, y, x]``; every view comes out with robust SD 1 and median 0."""
    shape = (flat.shape[-2], flat.shape[-1])
    half = kernel.shape[0] // 2
    padded = tuple(int(scipy.fft.next_fast_len(n + half, real=True)) for n in shape)
    place = np.zeros(padded, dtype=np.float32)
    place[: kernel.shape[0], : kernel.shape[1]] = kernel
    place = np.roll(place, (-half, -half), axis=(0, 1))
    transform = np.conj(scipy.fft.rfft2(place))
    out = np.empty(flat.shape, dtype=np.float32)
    for index, image in enumerate(flat):
        full = scipy.fft.irfft2(scipy.fft.rfft2(image, s=padded) * transform, s=padded)
        response = full[: shape[0], : shape[1]]
        middle, spread = robust_level(response)
        out[index] = (response - middle) / spread
    return out


def find_peaks(
    response: Float32, diameter_px: float, threshold_sd: float, max_peaks: int = 400
) -> Candidates:
    """Return local maxima of one response ``[y, x]`` half a bead or more inside, strongest first."""
    ny, nx = response.shape
    size = max(3, int(0.7 * diameter_px) | 1)
    highest = scipy.ndimage.maximum_filter(response, size=size, mode="nearest")
    margin = max(2, int(np.ceil(0.5 * diameter_px)))
    inner = np.zeros(response.shape, dtype=bool)
    inner[margin : ny - margin, margin : nx - margin] = True
    iy, ix = np.nonzero((response == highest) & (response > threshold_sd) & inner)
    order = np.argsort(-response[iy, ix], kind="stable")[:max_peaks]
    iy, ix = iy[order], ix[order]
    return Candidates(refine_peaks(response, iy, ix), response[iy, ix].astype(np.float64))


def refine_peaks(response: Float32, iy: NDArray[np.int64], ix: NDArray[np.int64]) -> Float:
    """Return sub-pixel places ``[n, 2]`` (x, y from the centre) of maxima that are not at the border."""
    ny, nx = response.shape
    at = response[iy, ix].astype(np.float64)
    dy = parabola_vertex(response[iy - 1, ix], at, response[iy + 1, ix])
    dx = parabola_vertex(response[iy, ix - 1], at, response[iy, ix + 1])
    return np.stack([ix + dx - nx // 2, iy + dy - ny // 2], axis=-1).astype(np.float64)


def peaks_near(response: Float32, xy: Float, radius_px: float) -> tuple[Float, Float]:
    """Return the highest local maximum within ``radius_px`` of predicted points ``[n, 2]`` of one view.

    Returns (x, y ``[n, 2]``, height ``[n]``), NaN where the window leaves the view or peaks at its rim.
    """
    ny, nx = response.shape
    reach = int(np.ceil(radius_px)) + 1
    found, height = np.full(xy.shape, np.nan), np.full(len(xy), np.nan)
    grid = np.arange(-reach, reach + 1)
    for index, (x, y) in enumerate(xy):
        cx, cy = int(np.rint(x)) + nx // 2, int(np.rint(y)) + ny // 2
        if not (reach < cx < nx - reach - 1 and reach < cy < ny - reach - 1):
            continue
        window = response[cy - reach : cy + reach + 1, cx - reach : cx + reach + 1]
        distance = np.hypot(grid[None, :] + cx - nx // 2 - x, grid[:, None] + cy - ny // 2 - y)
        inside = np.where(distance <= radius_px, window, -np.inf)
        py, px = (int(i) for i in np.unravel_index(int(np.argmax(inside)), inside.shape))
        if not (0 < py < 2 * reach and 0 < px < 2 * reach):
            continue
        if window[py - 1 : py + 2, px - 1 : px + 2].max() > window[py, px]:
            continue
        row, column = np.array([cy - reach + py]), np.array([cx - reach + px])
        found[index] = refine_peaks(response, row, column)[0]
        height[index] = window[py, px]
    return found, height


def measure_profile(
    flat: Float32, view: NDArray[np.int64], xy: Float, diameter_px: float, step_px: float = 0.5
) -> Float:
    """Return the median radial profile of beads at ``xy`` ``[n, 2]`` of views ``view`` ``[n]``, background 0.

    Being radial it cannot pull positions to one side.
    """
    ny, nx = flat.shape[-2:]
    reach = int(np.ceil(_SUPPORT * diameter_px)) + 2
    n_bins = int(_SUPPORT * diameter_px / step_px) + 2
    total, count = [], []
    for v, (x, y) in zip(view, xy, strict=True):
        cx, cy = int(np.rint(x)) + nx // 2, int(np.rint(y)) + ny // 2
        if not (reach <= cx < nx - reach and reach <= cy < ny - reach):
            continue
        rows, columns = np.arange(cy - reach, cy + reach + 1), np.arange(cx - reach, cx + reach + 1)
        radius = np.hypot(columns[None, :] - nx // 2 - x, rows[:, None] - ny // 2 - y)
        index = np.minimum(np.rint(radius / step_px).astype(np.int64), n_bins).ravel()
        values = flat[v, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].ravel()
        total.append(np.bincount(index, values, n_bins + 1)[:n_bins])
        count.append(np.bincount(index, minlength=n_bins + 1)[:n_bins])
    if not total:
        return sphere_profile(np.arange(n_bins, dtype=np.float64) * step_px, diameter_px)
    sums, counts = np.array(total), np.array(count, dtype=np.float64)
    mean = sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1.0)
    known = counts.sum(axis=0) > 0
    profile = np.interp(np.arange(n_bins), np.flatnonzero(known), mean[known])
    smooth: Float = scipy.ndimage.gaussian_filter1d(profile - profile[-3:].mean(), 1.0, mode="nearest")
    return smooth


def estimate_diameter(images: NDArray[Any], diameters_px: Float) -> float | None:
    """Return the diameter (px) at which the strongest dark round things of views ``[view, y, x]`` fit best.

    Matched filters of all ``diameters_px`` (rising, evenly spaced in their logarithm) are tried, each
    response in its own noise SDs: a filter of the right size stands out most. Strong peaks vote, refined by a
    parabola over log diameter. ``None`` where nothing stands out by 8 SD.
    """
    flat = flatten(images, float(diameters_px[-1]))
    responses = []
    for diameter in diameters_px:
        radii = np.arange(0.0, 2.0 * diameter, 0.25)
        responses.append(respond(flat, filter_kernel(sphere_profile(radii, diameter), 0.25, diameter)))
    scale_space = np.array(responses)
    best = scale_space.max(axis=0)
    curves = []
    for view, image in enumerate(best):
        ny, nx = image.shape
        peaks = find_peaks(image, float(np.median(diameters_px)), 8.0, max_peaks=20)
        for x, y in np.rint(peaks.xy).astype(int) + np.array([nx // 2, ny // 2]):
            window = scale_space[:, view, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
            curves.append(window.max(axis=(1, 2)))
    if not curves:
        return None
    table = np.array(curves)
    top = table.max(axis=1)
    table = table[top > 0.5 * np.median(np.sort(top)[::-1][:10])]
    index = np.clip(np.argmax(table, axis=1), 1, len(diameters_px) - 2)
    which = np.arange(len(table))
    offset = parabola_vertex(table[which, index - 1], table[which, index], table[which, index + 1])
    votes = np.interp(index + offset, np.arange(len(diameters_px)), np.log(diameters_px))
    return float(np.exp(np.median(votes)))
