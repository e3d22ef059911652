"""Find spherical shells of density in a noisy volume, and refine their centres and radii.

Detection is a matched filter: the volume (protein bright) is correlated with a thin spherical shell
blurred by a Laplacian of Gaussian, for many radii. In Fourier space such a shell is
``sinc(2 k R) (k s)² exp(-2 (pi k s)²)``, so each radius costs one inverse transform. The Laplacian looks for
a layer, whatever the mean density inside and outside. Each radius' map is scaled by its own robust
spread, which takes the missing wedge and coloured noise into account. Lengths in voxels of the volume.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.optimize
from numpy.typing import NDArray

from staproj.kernels.fourier import radial_frequency

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

_POLE = 0.8  # |n_z| above which the missing wedge leaves too little of a layer to fit
_DIRECTIONS = 1200


@dataclass(frozen=True, eq=False)
class SphereCandidates:
    """Peaks of the matched filter: centres x, y, z (from index ``n // 2``), radii, scores in robust SDs."""

    centre_xyz: Float
    radius: Float
    score: Float


def detect_shells(
    volume: Float32,
    radii: Float,
    layer_sigma: float,
    *,
    min_distance: float,
    max_count: int,
    threads: int = 1,
    tick: Callable[[int], None] | None = None,
) -> SphereCandidates:
    """Return the best shells, best first, centres at least ``min_distance`` times the sum of radii apart.

    ``volume`` is ``[z, y, x]``, protein bright. ``tick`` is called with the number of radii done.
    """
    pad = int(np.ceil(0.5 * float(np.max(radii))))
    shape = tuple(scipy.fft.next_fast_len(n + 2 * pad, real=True) for n in volume.shape)
    start = [(m // 2 - n // 2) for m, n in zip(shape, volume.shape, strict=True)]
    inner = tuple(slice(s, s + n) for s, n in zip(start, volume.shape, strict=True))
    padded = np.zeros(shape, dtype=np.float32)
    padded[inner] = volume - np.float32(volume.mean(dtype=np.float64))
    spectrum = scipy.fft.rfftn(padded, workers=threads)
    k = radial_frequency(shape)
    spectrum *= (k * layer_sigma) ** 2 * np.exp(-2.0 * (np.pi * k * layer_sigma) ** 2)
    best = np.full(volume.shape, -np.inf, dtype=np.float32)
    which = np.zeros(volume.shape, dtype=np.int16)
    for i, radius in enumerate(radii):
        found = scipy.fft.irfftn(spectrum * np.sinc(2.0 * k * float(radius)), s=shape, workers=threads)[inner]
        sample = found[::2, ::2, ::2]
        middle = np.median(sample)
        spread = 1.4826 * np.median(np.abs(sample - middle))
        if spread > 0:
            found = (found - middle) / spread
            better = found > best
            best[better] = found[better]
            which[better] = i
        if tick is not None:
            tick(i + 1)
    return _peaks(best, which, np.asarray(radii, dtype=np.float64), min_distance, max_count)


def _peaks(
    best: Float32, which: NDArray[np.int16], radii: Float, min_distance: float, max_count: int
) -> SphereCandidates:
    highest = scipy.ndimage.maximum_filter(best, size=3, mode="nearest")
    index = np.argwhere((best == highest) & np.isfinite(best))
    order = np.argsort(-best[tuple(index.T)], kind="stable")[:5000]
    index = index[order]
    kept: list[int] = []
    for i, position in enumerate(index):
        if len(kept) == max_count:
            break
        apart = np.linalg.norm(index[kept] - position, axis=1)
        limit = min_distance * (radii[which[tuple(index[kept].T)]] + radii[which[tuple(position)]])
        if np.all(apart >= limit):
            kept.append(i)
    chosen = index[kept]
    centre = (chosen - np.array(best.shape) // 2)[:, ::-1].astype(np.float64)
    at = tuple(chosen.T)
    return SphereCandidates(centre, radii[which[at]], best[at].astype(np.float64))


def refine_shell(smooth: Float32, centre_xyz: Float, radius: float, reach: float) -> tuple[Float, float]:
    """Move centre and radius to where the mean density on the shell is highest.

    ``smooth`` is the volume (protein bright) after a band-pass of about the layer's width. The search stays
    within about ``reach`` voxels. Directions near the poles, which the missing wedge removed, do not count.
    """
    directions = equal_directions(_DIRECTIONS)
    directions = directions[np.abs(directions[:, 2]) < _POLE]
    origin = np.array(smooth.shape)[::-1] // 2

    def cost(x: Float) -> float:
        points = (centre_xyz + x[:3] + origin) + (radius + x[3]) * directions
        values = scipy.ndimage.map_coordinates(smooth, points.T[::-1], order=1, mode="constant", cval=0.0)
        beyond = np.maximum(np.abs(x) - reach, 0.0)
        return float(-values.mean()) + float(np.sum(beyond**2))

    simplex = np.vstack([np.zeros(4), 0.5 * reach * np.eye(4)])
    found = scipy.optimize.minimize(
        cost, np.zeros(4), method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 0.02, "fatol": 1e-7, "maxiter": 400},
    )  # fmt: skip
    return centre_xyz + found.x[:3], float(radius + found.x[3])


def radial_profile(volume: Float32, centre_xyz: Float, radii: Float) -> Float:
    """Return the mean density at each radius about a centre, poles left out; NaN outside of the volume."""
    directions = equal_directions(_DIRECTIONS)
    directions = directions[np.abs(directions[:, 2]) < _POLE]
    origin = np.array(volume.shape)[::-1] // 2
    points = (centre_xyz + origin) + np.asarray(radii)[:, None, None] * directions
    values = scipy.ndimage.map_coordinates(
        volume, np.moveaxis(points, -1, 0)[::-1], order=1, mode="constant", cval=np.nan
    )
    inside = np.isfinite(values)
    total = np.where(inside, values, 0.0).sum(axis=1)
    count = inside.sum(axis=1)
    return np.where(count > 0.2 * len(directions), total / np.maximum(count, 1), np.nan)


def peak_position(x: Float, y: Float) -> float:
    """Return where ``y(x)`` (equal steps) is highest, by a parabola through three samples; ignores NaN."""
    filled = np.where(np.isfinite(y), y, -np.inf)
    i = int(np.argmax(filled))
    if 0 < i < len(x) - 1 and np.isfinite(filled[i - 1 : i + 2]).all():
        below, here, above = filled[i - 1 : i + 2]
        bend = below - 2 * here + above
        if bend < 0:
            return float(x[i] + 0.5 * (below - above) / bend * (x[1] - x[0]))
    return float(x[i])


def equal_directions(n: int) -> Float:
    """Return ``n`` unit vectors spread evenly over the sphere (a Fibonacci spiral), ``[n, 3]`` x, y, z."""
    z = 1.0 - (2.0 * np.arange(n) + 1.0) / n
    angle = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(n)
    across = np.sqrt(1.0 - z * z)
    return np.stack([across * np.cos(angle), across * np.sin(angle), z], axis=1)


def band_pass(volume: Float32, sigma: float, *, wide: float = 3.0) -> Float32:
    """Return a difference of Gaussians of ``sigma`` and ``wide`` times it: a band-pass."""
    fine = scipy.ndimage.gaussian_filter(volume, sigma)
    return np.asarray(fine - scipy.ndimage.gaussian_filter(volume, wide * sigma), dtype=np.float32)


def subsample(volume: Float32, step: int) -> Float32:
    """Smooth a volume and keep every ``step``-th voxel about its centre, which becomes the new ``n // 2``."""
    if step == 1:
        return np.asarray(volume, dtype=np.float32)
    smooth = scipy.ndimage.gaussian_filter(volume, 0.5 * step)
    keep = []
    for n in volume.shape:
        half = (n // 2) // step
        keep.append(n // 2 + step * np.arange(-half, max(half, 1)))
    return np.ascontiguousarray(smooth[np.ix_(*keep)], dtype=np.float32)
