"""Weighted back-projection of views onto a block of voxels.

A view is first brought onto a grid (u, v) in which the back-projection is one-dimensional. With the
view's 2 x 3 projection ``A`` (specimen to image), ``xy = B (u, v) + centre``, ``B = [A_x / |A_x|, A_y]``::

    u = |A_x| X + alpha Z        v = Y + beta Z        A_z = alpha B_u + beta B_v

which holds for any tilt axis, x-tilt, magnification and shift. Rows of equal v are therefore neighbours
in memory and share their interpolation weights, which is what makes the inner loop quick. Lengths here
are in pixels (= voxels). Radial filter: ramp with a Gaussian fall-off, as weighted back-projection of
Radermacher (1992, in Electron Tomography, Plenum) and IMOD's manual describe it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from staproj.kernels.xp import Array, fft_module, namespace

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

_ROWS = 32  # rows of v summed together: two AVX-512 registers
_TILE_Z, _TILE_X = 64, 32


@dataclass(frozen=True, eq=False)
class ViewGrid:
    """How one view lies on its (u, v) grid: ``u = along_x X + along_z Z``, ``v = Y + row_z Z`` (pixels).

    ``basis`` is B (columns: image step of u and of v); ``shape_vu`` the grid, whose origin is ``n // 2``.
    """

    basis: Float
    centre_xy: Float
    along_x: float
    along_z: float
    row_z: float


def view_grid(projection: Float, centre_xy: Float) -> ViewGrid:
    """Split a projection ``A`` (``[2, 3]``, image pixels per voxel) and the image position of the origin.

    Raises
    ------
    ValueError
        If the view is tilted by 90 degrees, where (u, v) does not exist.
    """
    a_x, a_y, a_z = projection[:, 0], projection[:, 1], projection[:, 2]
    along_x = float(np.hypot(*a_x))
    if along_x < 1e-3:
        raise ValueError("a view tilted by 90 degrees cannot be back-projected")
    basis = np.stack([a_x / along_x, a_y], axis=1)
    along_z, row_z = np.linalg.solve(basis, a_z)
    return ViewGrid(basis, np.asarray(centre_xy, dtype=np.float64), along_x, float(along_z), float(row_z))


def grid_width(grids: list[ViewGrid], shape_yx: tuple[int, int], oversampling: int) -> int:
    """Return the even number of u samples that holds every view of ``shape_yx`` whole."""
    ny, nx = shape_yx
    corners = np.array([[0, 0], [nx - 1, 0], [0, ny - 1], [nx - 1, ny - 1]], dtype=np.float64)
    reach = 0.0
    for grid in grids:
        u = np.linalg.solve(grid.basis, (corners - grid.centre_xy).T)[0]
        reach = max(reach, float(np.abs(u).max()))
    return 2 * int(np.ceil(reach * oversampling) + 2)


def resample_view(image: Float32, grid: ViewGrid, shape_vu: tuple[int, int], oversampling: int) -> Float32:
    """Interpolate a view (cubic spline; zero outside) on its grid ``[v, u]``, u in steps of 1 / oversampling.

    The mean should be zero already, and the rim of the image tapered.
    """
    nv, nu = shape_vu
    step = grid.basis / np.array([oversampling, 1.0])
    matrix = step[::-1, ::-1]  # rows y, x; columns v, u
    offset = grid.centre_xy[::-1] - matrix @ np.array([nv // 2, nu // 2], dtype=np.float64)
    out = np.empty(shape_vu, dtype=np.float32)
    scipy.ndimage.affine_transform(image, matrix, offset, output=out, order=3, mode="constant", cval=0.0)
    return out


def edge_taper(shape_yx: tuple[int, int], width_px: int) -> Float32:
    """Return a window that falls to 0 by a cosine over ``width_px`` at the rim of an image."""
    axes = []
    for n in shape_yx:
        distance = np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5
        axes.append(0.5 - 0.5 * np.cos(np.pi * np.clip(distance / max(width_px, 1), 0.0, 1.0)))
    return np.outer(axes[0], axes[1]).astype(np.float32)


def radial_filter(
    frequency: Array, cutoff_cycles_per_px: float = 0.35, falloff_cycles_per_px: float = 0.05
) -> Array:
    """Return the filter ``|f|``, with a Gaussian of the fall-off's SD beyond the cut-off; 0 at f = 0."""
    xp = namespace(frequency)
    f = xp.abs(frequency)
    beyond = xp.where(f > cutoff_cycles_per_px, f - cutoff_cycles_per_px, xp.zeros_like(f))
    if falloff_cycles_per_px <= 0:
        return xp.where(beyond > 0, xp.zeros_like(f), f)
    return f * xp.exp(-0.5 * (beyond / falloff_cycles_per_px) ** 2)


def filter_rows(rows: Array, cutoff: float, falloff: float, oversampling: int = 1) -> Array:
    """Filter ``[..., u]`` along u with :func:`radial_filter`, zero-padded to twice its length.

    Cut-off and fall-off are in cycles per voxel, whatever the oversampling of u.
    """
    xp = namespace(rows)
    fft = fft_module(rows)
    n = rows.shape[-1]
    padded = int(scipy.fft.next_fast_len(2 * n, real=True))
    frequency = xp.asarray((np.arange(padded // 2 + 1) * (oversampling / padded)).astype(np.float32))
    spectrum = fft.rfft(rows, n=padded, axis=-1) * radial_filter(frequency, cutoff, falloff)
    return fft.irfft(spectrum, n=padded, axis=-1)[..., :n]


def grid_height(grids: list[ViewGrid], n_y: int, z_reach: float) -> int:
    """Return how many samples of v ``back_project`` needs for ``n_y`` rows up to height ``z_reach``."""
    shift = max(abs(grid.row_z) for grid in grids) * z_reach
    return 2 * int(np.ceil((_ROWS * -(-n_y // _ROWS) + 1) / 2 + shift + 2 + _ROWS / 2))


def back_project(
    rows: Float32, grids: list[ViewGrid], shape_zyx: tuple[int, int, int], first_z: float,
    *, oversampling: int = 1, threads: int = 1,
) -> Float32:  # fmt: skip
    """Sum filtered views over a block of voxels, with linear interpolation.

    Parameters
    ----------
    rows
        ``[view, u, v]`` (v last), each view on its grid with origin ``n // 2`` on both axes; v must have
        :func:`grid_height` samples.
    shape_zyx
        Voxels of the block. Its y and x origins are ``n // 2``.
    first_z
        Z of the block's first section, in voxels from the specimen's origin.

    Returns
    -------
    Block ``[z, y, x]``. Views contribute nothing outside their grid. The sum of every voxel runs over
    views in order, so that the result does not depend on ``threads``.

    Raises
    ------
    ValueError
        If v has too few samples.
    """
    nz, ny, nx = shape_zyx
    if rows.shape[2] < grid_height(grids, ny, max(abs(first_z), abs(first_z + nz))):
        raise ValueError("the grid of the views is too small along v for this block")
    table = np.array([[g.along_x * oversampling, g.along_z * oversampling, g.row_z] for g in grids])
    source = np.ascontiguousarray(rows, dtype=np.float32)
    bounds = np.linspace(0, nz, min(max(1, threads), nz) + 1).astype(int)
    parts: list[Float32] = [np.empty(0, dtype=np.float32)] * (len(bounds) - 1)

    def part(i: int) -> None:
        n_z = int(bounds[i + 1] - bounds[i])
        block = np.zeros((-(-ny // _ROWS), n_z, nx, _ROWS), dtype=np.float32)
        offset = rows.shape[2] // 2 - ny // 2
        _back_project(
            block.reshape(-1), source.reshape(-1), table, block.shape, source.shape,
            float(first_z + bounds[i]), float(offset),
        )  # fmt: skip
        parts[i] = block.transpose(1, 0, 3, 2).reshape(n_z, -1, nx)[:, :ny]

    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        list(pool.map(part, range(len(parts))))
    return np.concatenate(parts)


@numba.njit(cache=True, fastmath=True, nogil=True)
def _back_project(
    block: Any, rows: Any, table: Any, block_shape: Any, rows_shape: Any, first_z: float, offset: float
) -> None:
    """Add all views to ``block`` [y // 32, z, x, 32]; ``table`` is [view, (u per X, u per Z, v per Z)].

    Flat arrays and unsigned indices: with signed ones numba guards against negative indices, and the inner
    loop is five times slower.
    """
    n_blocks, nz, nx, _ = block_shape
    n_views, nu, nv = rows_shape
    one = np.float32(1.0)
    for y_block in range(n_blocks):
        for z0 in range(0, nz, _TILE_Z):
            for x0 in range(0, nx, _TILE_X):
                for view in range(n_views):
                    for z in range(z0, min(z0 + _TILE_Z, nz)):
                        height = first_z + z
                        row = table[view, 2] * height + offset + y_block * _ROWS
                        j = int(np.floor(row + 1e-6))
                        high = np.float32(max(row - j, 0.0))
                        low = one - high
                        base = table[view, 1] * height + nu // 2
                        for x in range(x0, min(x0 + _TILE_X, nx)):
                            u = table[view, 0] * (x - nx // 2) + base
                            if u < 0.0 or u >= nu - 1:
                                continue
                            i = int(u)
                            right = np.float32(u - i)
                            left = one - right
                            o = np.uint64(((y_block * nz + z) * nx + x) * _ROWS)
                            a = np.uint64((view * nu + i) * nv + j)
                            b = np.uint64((view * nu + i + 1) * nv + j)
                            if high <= 1e-5:
                                for k in range(_ROWS):
                                    m = np.uint64(k)
                                    block[o + m] += left * rows[a + m] + right * rows[b + m]
                            else:
                                ll, rl, lh, rh = left * low, right * low, left * high, right * high
                                for k in range(_ROWS):
                                    m = np.uint64(k)
                                    h = m + np.uint64(1)
                                    block[o + m] += (
                                        ll * rows[a + m]
                                        + rl * rows[b + m]
                                        + lh * rows[a + h]
                                        + rh * rows[b + h]
                                    )
