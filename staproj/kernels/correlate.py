"""Cross-correlation of images and the sub-pixel place of its peak."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from staproj.kernels.fourier import radial_frequency
from staproj.kernels.xp import Array, fft_module, namespace, to_host

Float32 = NDArray[np.float32]


class Peak(NamedTuple):
    """Displacement of the content of the second image against the first, and the peak in SDs of the map."""

    shift_yx: tuple[float, float]
    height_sd: float


def band_pass(shape: tuple[int, int], low_sigma: float, high_radius: float, high_sigma: float) -> Float32:
    """Return a filter on the ``rfft2`` grid: ``1 - exp(-k²/2 low²)``, a Gaussian fall beyond ``high_radius``.

    Frequencies are in cycles/px. 0 for ``low_sigma`` leaves low frequencies alone, except the mean.
    """
    k = radial_frequency(shape).astype(np.float64)
    out = np.exp(-0.5 * (np.maximum(k - high_radius, 0.0) / high_sigma) ** 2)
    if low_sigma > 0:
        out *= 1.0 - np.exp(-0.5 * (k / low_sigma) ** 2)
    out[0, 0] = 0.0
    return out.astype(np.float32)


def edge_taper(shape: tuple[int, int], fraction: float = 0.1) -> Float32:
    """Return raised-cosine weights that fall to 0 at the borders over ``fraction`` of each side."""
    sides = []
    for n in shape:
        width = max(1.0, fraction * n)
        distance = np.minimum(np.arange(n) + 0.5, n - 0.5 - np.arange(n))
        sides.append(0.5 - 0.5 * np.cos(np.pi * np.clip(distance / width, 0, 1)))
    return (sides[0][:, None] * sides[1][None, :]).astype(np.float32)


def correlation_map(first: Array, second: Array, weight: Array) -> Array:
    """Correlate ``rfft2`` transforms; returns the real map ``[y, x]``, zero displacement at index 0.

    ``weight`` (real, on the same grid) is applied once. A peak at ``d`` (modulo the size) means that
    ``second(x) = first(x - d)``. All three are arrays of one library; the row length must be even.
    """
    xp = namespace(first)
    fft = fft_module(first)
    product = xp.conj(first) * second * weight
    shape = (product.shape[-2], 2 * (product.shape[-1] - 1))
    return (
        fft.irfft2(product, s=shape)
        if hasattr(fft, "irfft2")
        else fft.irfftn(product, s=shape, axes=(-2, -1))
    )


def find_peak(correlation: Array, max_shift_px: float | None = None) -> Peak:
    """Return the highest peak of a correlation map (zero at index 0), refined by a parabola on each axis.

    ``max_shift_px`` limits the length of the displacement.
    """
    values = np.asarray(to_host(correlation), dtype=np.float64)
    ny, nx = values.shape
    searched = values
    if max_shift_px is not None:
        distance = np.hypot(np.fft.fftfreq(ny, 1 / ny)[:, None], np.fft.fftfreq(nx, 1 / nx)[None, :])
        searched = np.where(distance > max_shift_px, -np.inf, values)
    iy, ix = (int(i) for i in np.unravel_index(int(np.argmax(searched)), values.shape))
    dy = parabola_vertex(values[(iy - 1) % ny, ix], values[iy, ix], values[(iy + 1) % ny, ix])
    dx = parabola_vertex(values[iy, (ix - 1) % nx], values[iy, ix], values[iy, (ix + 1) % nx])
    place_y = iy - ny if iy >= (ny + 1) // 2 else iy
    place_x = ix - nx if ix >= (nx + 1) // 2 else ix
    spread = float(values.std())
    height = float((values[iy, ix] - values.mean()) / spread) if spread > 0 else 0.0
    return Peak((place_y + dy, place_x + dx), height)


def parabola_vertex(before: Any, at: Any, after: Any) -> Any:
    """Return where the parabola through three equidistant values peaks, from the middle, within ±0.5."""
    curvature = 2.0 * at - before - after
    safe = np.where(curvature > 0, curvature, 1.0)
    return np.where(curvature > 0, np.clip(0.5 * (np.asarray(after) - before) / safe, -0.5, 0.5), 0.0)[()]
