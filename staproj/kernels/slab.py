"""Where the specimen lies in a coarse tomogram: its slab, tilted or not, and how sure that is.

The tomogram is a quick weighted back-projection at voxels of a few nanometres. What is dense shows as
local power in a band of frequencies above what noise alone gives at the same height. Beads on the surfaces
of the ice lie on one or two parallel planes; whether a tilt of these planes is real is asked of the beads
themselves, by shuffling their heights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from staproj.kernels.backproject import (
    back_project,
    edge_taper,
    filter_rows,
    grid_height,
    grid_width,
    resample_view,
    view_grid,
)

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

_RAY_SHARE = 0.08
"""Voxels below this share of the strongest near their column count as rays of it."""
_MAX_TRIED = 12
"""Beads whose heights are tried as heights of planes: enough to meet both surfaces."""


@dataclass(frozen=True)
class Layers:
    """One or two parallel planes ``z = slope_x x + slope_y y + height`` and the beads on them.

    ``probability`` is how often shuffled heights lie on tilted planes as well as the beads do.
    """

    slope_x: float
    slope_y: float
    heights: tuple[float, float]
    n_on_planes: int
    probability: float


@dataclass(frozen=True)
class Density:
    """Voxels ``[z, y, x]`` with more power than noise, excess and its peak in SDs of noise."""

    mask: NDArray[np.bool_]
    excess: Float32
    peak_sd: float


def coarse_tomogram(
    images: Float32,
    projections: Float,
    centres_xy: Float,
    shape_zyx: tuple[int, int, int],
    *,
    threads: int = 1,
    check: Callable[[], None] = lambda: None,
) -> Float32:
    """Back-project views ``[view, y, x]`` (dark protein) into bright voxels ``[z, y, x]`` of a view's pixel.

    ``projections`` ``[view, 2, 3]`` are pixels per voxel, ``centres_xy`` ``[view, 2]`` where the specimen's
    origin appears. Parts of views outside of the image count as zero.
    """
    image_shape = (int(images.shape[1]), int(images.shape[2]))
    grids = [view_grid(p, c) for p, c in zip(projections, centres_xy, strict=True)]
    n_u = grid_width(grids, image_shape, 1)
    n_v = grid_height(grids, shape_zyx[1], shape_zyx[0])
    taper = edge_taper(image_shape, max(2, min(image_shape) // 16))
    rows = np.empty((len(grids), n_u, n_v), dtype=np.float32)
    for view, grid in enumerate(grids):
        check()
        image = images[view] - np.float32(images[view].mean())
        sampled = resample_view(np.asarray(image * taper, dtype=np.float32), grid, (n_v, n_u), 1)
        rows[view] = np.asarray(filter_rows(sampled, 0.35, 0.05)).T
    block = back_project(rows, grids, shape_zyx, float(-(shape_zyx[0] // 2)), threads=threads)
    return np.asarray(-block, dtype=np.float32)


def local_power(volume: Float32, fine_sigma: float, coarse_sigma: float, average_sigma: float) -> Float32:
    """Return the locally averaged square of a volume band-passed between two Gaussian widths (voxels)."""
    band = scipy.ndimage.gaussian_filter(volume, fine_sigma) - scipy.ndimage.gaussian_filter(
        volume, coarse_sigma
    )
    return np.asarray(scipy.ndimage.gaussian_filter(band * band, average_sigma), dtype=np.float32)


def find_density(power: Float32, threshold_sd: float, min_voxels: int, border: int) -> Density:
    """Find voxels whose power exceeds that of noise at the same height.

    Noise is judged from the weakest fifth of each section (what little of it is specimen does not matter) and
    its spread from the outer quarters of z. Connected sets smaller than ``min_voxels`` and everything within
    ``border`` voxels of the rim in x and y are dropped.
    """
    nz = len(power)
    inner = np.zeros(power.shape[1:], dtype=bool)
    inner[border : power.shape[1] - border, border : power.shape[2] - border] = True
    values = power[:, inner]
    weak = np.percentile(values, 20, axis=1)
    outer = np.r_[0 : nz // 6, nz - nz // 6 : nz]
    ratio = float(np.median(np.median(values[outer], axis=1) / np.maximum(weak[outer], 1e-30)))
    level = scipy.ndimage.gaussian_filter1d(np.maximum(weak * ratio, 1e-30), 3.0, mode="nearest")
    excess = (power / level[:, None, None].astype(np.float32) - 1.0).astype(np.float32)
    noise = excess[outer][:, inner]
    spread = max(1.4826 * float(np.median(np.abs(noise - np.median(noise)))), 1e-6)
    excess /= np.float32(spread)
    # rays run up and down from what is strong, gold above all: they stay far below its own power
    strongest = scipy.ndimage.maximum_filter(excess.max(axis=0), size=2 * border + 1)
    mask = (excess > np.maximum(threshold_sd, _RAY_SHARE * strongest)[None]) & inner[None]
    labels, n = scipy.ndimage.label(mask)
    if n:
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        mask = (sizes >= min_voxels)[labels]
    peak = float(excess[mask].max()) if mask.any() else 0.0
    return Density(mask, excess, peak)


def extent_along(
    height: Float, weight: Float, step: float, *, share: float = 0.1, gap: float = 400.0
) -> tuple[float, float]:
    """Return the ends of the heaviest run of heights whose weight a step exceeds a ``share`` of the peak.

    Runs closer than ``gap`` count as one; what lies farther off (rays at the rim of the tomogram, dirt) is
    left out.
    """
    first = np.floor(height.min() / step) - 1
    index = (np.floor(height / step) - first).astype(np.int64)
    profile = np.bincount(index, weight, int(index.max()) + 2)
    smooth = scipy.ndimage.gaussian_filter1d(profile, 1.0, mode="constant")
    above = smooth > share * float(smooth.max())
    width = 2 * int(0.5 * gap / step) + 1
    joined = scipy.ndimage.binary_closing(np.pad(above, width), np.ones(width))[width:-width]
    labels, n = scipy.ndimage.label(joined)
    mass = [float(smooth[labels == run + 1].sum()) for run in range(n)]
    inside = np.flatnonzero((labels == 1 + int(np.argmax(mass))) & above)
    return float((first + inside[0]) * step), float((first + inside[-1] + 1) * step)


def fit_layers(
    position: Float,
    rng: np.random.Generator,
    *,
    spread: float,
    max_slope: float = 0.2,
    n_shuffles: int = 100,
) -> Layers:
    """Fit one or two parallel tilted planes to beads ``[n, 3]``; ``spread`` is the roughness of a plane.

    The score of a pair of planes is the sum over beads of a Gaussian of the distance to the nearer plane.
    ``probability`` compares the best score with those of beads whose heights were shuffled.
    Raises ``ValueError`` for fewer than four beads.
    """
    if len(position) < 4:
        raise ValueError("planes need at least four beads")
    xy = position[:, :2] - position[:, :2].mean(axis=0)
    z = position[:, 2]
    reach = max(float(np.abs(xy).max()), 1e-9)
    n_steps = int(np.clip(np.ceil(max_slope * reach / (0.8 * spread)), 2, 12))
    slopes = np.linspace(-max_slope, max_slope, 2 * n_steps + 1)
    grid = np.stack(np.meshgrid(slopes, slopes, indexing="ij"), axis=-1).reshape(-1, 2)
    tilt = grid @ xy.T
    tried = rng.permutation(len(z))[:_MAX_TRIED]
    best, score = _best_planes(z[None] - tilt, tried, spread)
    shuffled = [
        float(_best_planes(rng.permutation(z)[None] - tilt, tried, spread)[1].max())
        for _ in range(n_shuffles)
    ]
    top = int(np.argmax(score))
    slope, heights = _refine_planes(xy, z, grid[top], best[top], spread)
    distance = np.abs((z - xy @ slope)[:, None] - heights[None]).min(axis=1)
    centre = slope @ position[:, :2].mean(axis=0)
    return Layers(
        slope_x=float(slope[0]),
        slope_y=float(slope[1]),
        heights=(float(heights.min() - centre), float(heights.max() - centre)),
        n_on_planes=int((distance < 2.5 * spread).sum()),
        probability=float((1 + np.sum(np.array(shuffled) >= score[top])) / (1 + n_shuffles)),
    )


def _best_planes(height: Float, tried: NDArray[np.int64], spread: float) -> tuple[Float, Float]:
    """Return the best two heights ``[tilt, 2]`` (of the beads tried) for every tilt, and their score."""
    distance = ((height[:, tried, None] - height[:, None, :]) / spread).astype(np.float32)
    closeness = np.exp(-0.5 * distance * distance)
    first, second = np.triu_indices(len(tried))
    total = np.maximum(closeness[:, first], closeness[:, second]).sum(axis=-1)
    pick = np.argmax(total, axis=1)
    rows = np.arange(len(height))
    heights = np.stack([height[rows, tried[first[pick]]], height[rows, tried[second[pick]]]], axis=-1)
    return heights, total[rows, pick]


def _refine_planes(xy: Float, z: Float, slope: Float, heights: Float, spread: float) -> tuple[Float, Float]:
    """Refine slopes and heights by weighted least squares from their place on the grid."""
    heights = heights.copy()
    for _ in range(10):
        distance = (z - xy @ slope)[:, None] - heights[None]
        which = np.argmin(np.abs(distance), axis=1)
        weight = np.exp(-0.25 * (distance[np.arange(len(z)), which] / spread) ** 2)
        design = np.concatenate([xy, np.eye(2)[which]], axis=1)
        scale = np.array([1.0 / max(float(np.abs(xy).max()), 1e-9)] * 2 + [1.0, 1.0])
        solved, *_ = np.linalg.lstsq(design * scale * weight[:, None], z * weight, rcond=1e-9)
        solved = solved * scale
        slope = solved[:2]
        for layer in range(2):
            if (which == layer).any():
                heights[layer] = solved[2 + layer]
    return slope, heights


def fit_plane(
    mask: NDArray[np.bool_], excess: Float32, block: int, min_voxels: int
) -> tuple[Float, Float, float] | None:
    """Fit a plane (voxels from ``n // 2``) to the middles of what is dense in blocks of the xy plane.

    Returns (slopes x y, their standard errors, share of the blocks that hold something), or ``None``
    where fewer than eight blocks do.
    """
    nz, ny, nx = mask.shape
    z = np.arange(nz)[:, None, None] - nz // 2
    weight = np.where(mask, excess, 0.0)
    mass, moment = weight.sum(axis=0), (weight * z).sum(axis=0)
    rows, columns = (np.arange(ny) // block)[:, None], (np.arange(nx) // block)[None, :]
    index = (rows * (nx // block + 1) + columns).ravel()
    count = np.bincount(index, mask.sum(axis=0).ravel())
    total = np.bincount(index, mass.ravel())
    x = np.bincount(index, (mass * (np.arange(nx)[None, :] - nx // 2)).ravel())
    y = np.bincount(index, (mass * (np.arange(ny)[:, None] - ny // 2)).ravel())
    full = count >= min_voxels
    if full.sum() < 8:
        return None
    points = np.stack([x, y, np.bincount(index, moment.ravel())], axis=-1)[full] / total[full, None]
    design = np.concatenate([points[:, :2], np.ones((len(points), 1))], axis=1)
    solved, *_ = np.linalg.lstsq(design, points[:, 2], rcond=None)
    residual = points[:, 2] - design @ solved
    variance = float(residual @ residual) / max(len(points) - 3, 1)
    errors = np.sqrt(np.diag(np.linalg.pinv(design.T @ design)) * variance)
    n_blocks = (ny // block) * (nx // block)
    return solved[:2], errors[:2], float(full.sum() / max(n_blocks, 1))
