"""The reference as a table of its transform that can be read at any frequency.

The map is masked, divided by the shape that trilinear reading gives it (sinc^2), padded, and transformed;
reading the table at a fractional k then gives the transform of the map to about 2 % (padding 2). Value and
gradient come from the same eight coefficients. Table layout: the band cube of ``slices``, in padded units.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from staproj.kernels.slices import cube_from_volume

Float32 = NDArray[np.float32]
Complex64 = NDArray[np.complex64]

PADDING = 2


def gridding_shape(n: int, padded: int) -> Float32:
    """Return the map ``[n, n, n]`` that trilinear interpolation on a grid of ``padded`` multiplies with."""
    line = np.sinc((np.arange(n) - n // 2) / padded) ** 2
    return (line[:, None, None] * line[None, :, None] * line[None, None, :]).astype(np.float32)


def fit_box(volume: Float32, n: int) -> Float32:
    """Cut or zero-pad a map to ``[n, n, n]``; the centre ``m // 2`` becomes ``n // 2``."""
    out = np.zeros((n, n, n), dtype=np.float32)
    source, target = [], []
    for m in volume.shape:
        start = n // 2 - m // 2
        first, last = max(0, start), min(n, start + m)
        target.append(slice(first, last))
        source.append(slice(first - start, last - start))
    out[tuple(target)] = volume[tuple(source)]
    return out


def reference_table(
    volume: Float32, radius: int, filter_by_shell: NDArray[np.floating] | None = None
) -> Complex64:
    """Transform a (masked) cubic map of even size so that it can be read up to ``|k| <= radius``.

    ``filter_by_shell`` (one factor a shell of the box, interpolated linearly) is multiplied in.
    """
    n = volume.shape[0]
    padded = PADDING * n
    shape = np.maximum(gridding_shape(n, padded), 0.05)
    corrected = (np.asarray(volume, dtype=np.float32) / shape).astype(np.float32)
    wide = min(PADDING * (radius + 1) + 1, padded // 2 - 1)
    cube = cube_from_volume(fit_box(corrected, padded), wide)
    if filter_by_shell is not None:
        m = cube.shape[2] - 1
        k = np.arange(-m, m + 1) / PADDING
        half = np.arange(m + 1) / PADDING
        r = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + half[None, None, :] ** 2)
        shells = np.asarray(filter_by_shell, dtype=np.float64)
        cube = cube * np.interp(r, np.arange(len(shells)), shells, right=0.0).astype(np.float32)
    return cube.astype(np.complex64)


@numba.njit(cache=True, nogil=True, fastmath=True)
def read_table(table: Any, x: float, y: float, z: float) -> Any:
    """Return value and gradient (x, y, z) of the table at a frequency in padded units."""
    m = table.shape[2] - 1
    mate = x < 0.0
    if mate:
        x, y, z = -x, -y, -z
    x0, y0, z0 = int(x), int(np.floor(y)), int(np.floor(z))
    zero = np.complex64(0.0)
    if x0 + 1 > m or y0 < -m or y0 + 1 > m or z0 < -m or z0 + 1 > m:
        return zero, zero, zero, zero
    dx, dy, dz = np.float32(x - x0), np.float32(y - y0), np.float32(z - z0)
    iy, iz = y0 + m, z0 + m
    a00, b00 = table[iz, iy, x0], table[iz, iy, x0 + 1]
    a01, b01 = table[iz, iy + 1, x0], table[iz, iy + 1, x0 + 1]
    a10, b10 = table[iz + 1, iy, x0], table[iz + 1, iy, x0 + 1]
    a11, b11 = table[iz + 1, iy + 1, x0], table[iz + 1, iy + 1, x0 + 1]
    c00, c01 = a00 + dx * (b00 - a00), a01 + dx * (b01 - a01)
    c10, c11 = a10 + dx * (b10 - a10), a11 + dx * (b11 - a11)
    e0, e1 = c00 + dy * (c01 - c00), c10 + dy * (c11 - c10)
    value = e0 + dz * (e1 - e0)
    one = np.float32(1.0)
    g0 = (b00 - a00) + dy * ((b01 - a01) - (b00 - a00))
    g1 = (b10 - a10) + dy * ((b11 - a11) - (b10 - a10))
    gx = g0 + dz * (g1 - g0)
    gy = (one - dz) * (c01 - c00) + dz * (c11 - c10)
    gz = e1 - e0
    if mate:
        return np.conj(value), -np.conj(gx), -np.conj(gy), -np.conj(gz)
    return value, gx, gy, gz


@numba.njit(cache=True, nogil=True, parallel=True)
def sample_reference(table: Complex64, rot_data_from_ref: Float32, k: Float32) -> Complex64:
    """Read the transform of the reference turned by every rotation at ``k`` (x, y, z; cycles per box).

    Returns ``[rotation, n]``: ``G(R^T k)``, for rotations ``[rotation, 3, 3]`` and frequencies ``[n, 3]``.
    """
    out = np.empty((rot_data_from_ref.shape[0], k.shape[0]), dtype=np.complex64)
    for o in numba.prange(rot_data_from_ref.shape[0]):
        r = rot_data_from_ref[o]
        for i in range(k.shape[0]):
            kx, ky, kz = k[i, 0] * PADDING, k[i, 1] * PADDING, k[i, 2] * PADDING
            x = r[0, 0] * kx + r[1, 0] * ky + r[2, 0] * kz
            y = r[0, 1] * kx + r[1, 1] * ky + r[2, 1] * kz
            z = r[0, 2] * kx + r[1, 2] * ky + r[2, 2] * kz
            out[o, i] = read_table(table, x, y, z)[0]
    return out
