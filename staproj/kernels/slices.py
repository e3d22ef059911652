"""Tilt-view patches of particles, and their insertion as central slices of a 3-D transform.

The transform of a particle is kept on a *band cube* ``[kz + m, ky + m, kx]`` with ``m = radius + 1`` and
``kx = 0 .. m``: all coefficients of one half-space up to ``radius``, in cycles per box, origin of the box
at its centre. A slice sample at a fractional k adds to the eight coefficients around it (trilinear weights),
and its Friedel mate to the plane kx = 0, so that the cube is what the whole slice would have given.

``D = sum c F`` and ``W = sum c^2`` (c = CTF times exposure filter over noise amplitude, F = whitened image)
are the sums RELION 4 calls pseudo-subtomogram (Zivanov et al., eLife 11:e83724, 2022).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Complex64 = NDArray[np.complex64]


def band_margin(radius: int) -> int:
    """Return m of the band cube of ``radius``."""
    return radius + 1


def band_cube_shape(radius: int) -> tuple[int, int, int]:
    """Return the shape ``[kz, ky, kx]`` of the band cube of ``radius``."""
    m = band_margin(radius)
    return (2 * m + 1, 2 * m + 1, m + 1)


@numba.njit(cache=True, nogil=True, parallel=True)
def crop_patches(views: Float32, view: NDArray[np.int64], corner_yx: NDArray[np.int64], size: int) -> Float32:
    """Cut ``[patch, size, size]`` out of ``views`` ``[view, y, x]``; pixels outside of the view are 0."""
    n, ny, nx = view.shape[0], views.shape[1], views.shape[2]
    out = np.zeros((n, size, size), dtype=np.float32)
    for p in numba.prange(n):
        y0, x0 = corner_yx[p, 0], corner_yx[p, 1]
        for y in range(max(0, -y0), min(size, ny - y0)):
            for x in range(max(0, -x0), min(size, nx - x0)):
                out[p, y, x] = views[view[p], y0 + y, x0 + x]
    return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def _sine_of_turns(turns: Any) -> Any:
    """Return sin(2 pi turns) to 3e-6: a polynomial vectorises where the library's sine does not."""
    whole = turns - np.floor(turns)
    half = whole - np.float32(0.5) if whole > np.float32(0.5) else whole
    z = np.float32(4.0) * min(half, np.float32(0.5) - half)
    z2 = z * z
    s = np.float32(1.57079632) + z2 * (
        np.float32(-0.64596409)
        + z2 * (np.float32(0.07969260) + z2 * (np.float32(-0.00468160) + z2 * np.float32(0.00015950)))
    )
    return -z * s if whole > np.float32(0.5) else z * s


@numba.njit(cache=True, nogil=True, parallel=True, fastmath=True)
def contrast_transfer(
    defocus: Float32,
    view: NDArray[np.int64],
    constants: Float32,
    amplitude: Float32,
    size: int,
    step_per_angstrom: float,
    limit_per_angstrom: float,
) -> Float32:
    """Return c on the ``rfft2`` grid of every patch, ``[patch, size, size // 2 + 1]``: amplitude times CTF.

    ``defocus`` ``[patch, 3]`` in Å: mean of U and V, then half their difference times cos and sin of twice
    the direction of U. ``view`` picks rows of ``constants`` ``[view, 3]`` (lambda / 2, Cs lambda^3 / 4,
    phase / 2 pi: the phase chi in turns) and ``amplitude`` ``[view, bin]``, a table over ``|f|`` from 0 to
    ``limit_per_angstrom``, beyond which c is 0. ``step_per_angstrom`` is the distance of the grid's
    frequencies.
    """
    out = np.zeros((view.shape[0], size, size // 2 + 1), dtype=np.float32)
    step, limit = np.float32(step_per_angstrom), np.float32(limit_per_angstrom**2)
    n_bins = amplitude.shape[1]
    scale = np.float32((n_bins - 1) / limit_per_angstrom)
    for p in numba.prange(view.shape[0]):
        table, constant = amplitude[view[p]], constants[view[p]]
        mean, cos2, sin2 = defocus[p, 0], defocus[p, 1], defocus[p, 2]
        for y in range(size):
            fy = np.float32(y if y < (size + 1) // 2 else y - size) * step
            for x in range(size // 2 + 1):
                fx = np.float32(x) * step
                f2 = fx * fx + fy * fy
                if f2 < limit:
                    astigmatic = cos2 * (fx * fx - fy * fy) + sin2 * (np.float32(2.0) * fx * fy)
                    turns = constant[0] * (mean * f2 + astigmatic) - constant[1] * f2 * f2 + constant[2]
                    place = np.sqrt(f2) * scale
                    low = min(int(place), n_bins - 2)
                    part = place - np.float32(low)
                    value = table[low] + part * (table[low + 1] - table[low])
                    out[p, y, x] = value * _sine_of_turns(turns)
    return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def _add(sums: Any, z: int, y: int, x: int, m: int, tap: Any, sample: Any) -> None:
    """Add ``tap`` times a sample (re, im, weight) at kx = x >= 0, and its mate where x = 0."""
    place = sums[z + m, y + m, x]
    place[0] += tap * sample[0]
    place[1] += tap * sample[1]
    place[2] += tap * sample[2]
    if x == 0:
        mate = sums[m - z, m - y, 0]
        mate[0] += tap * sample[0]
        mate[1] -= tap * sample[1]
        mate[2] += tap * sample[2]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _add_around(sums: Any, kx: Any, ky: Any, kz: Any, m: int, sample: Any) -> None:
    """Add a sample at k (kx >= 0) to the eight coefficients around it."""
    x, y, z = int(kx), int(np.floor(ky)), int(np.floor(kz))
    one = np.float32(1.0)
    dx, dy, dz = np.float32(kx - x), np.float32(ky - y), np.float32(kz - z)
    ex = one - dx
    t00, t01 = (one - dz) * (one - dy), (one - dz) * dy
    t10, t11 = dz * (one - dy), dz * dy
    _add(sums, z, y, x, m, t00 * ex, sample)
    _add(sums, z, y, x + 1, m, t00 * dx, sample)
    _add(sums, z, y + 1, x, m, t01 * ex, sample)
    _add(sums, z, y + 1, x + 1, m, t01 * dx, sample)
    _add(sums, z + 1, y, x, m, t10 * ex, sample)
    _add(sums, z + 1, y, x + 1, m, t10 * dx, sample)
    _add(sums, z + 1, y + 1, x, m, t11 * ex, sample)
    _add(sums, z + 1, y + 1, x + 1, m, t11 * dx, sample)


@numba.njit(cache=True, nogil=True, parallel=True, fastmath=True)
def insert_slices(
    slices: Complex64,
    weights: Float32,
    rot_box_from_view: Float32,
    slot_ends: NDArray[np.int64],
    radius: int,
    sums: Float32,
) -> None:
    """Add slices ``[patch, y, rfft x]`` to band cubes ``sums`` ``[slot, kz, ky, kx, 3]`` (re D, im D, W).

    ``rot_box_from_view`` is ``[patch, 3, 2]``: a view frequency (fx, fy) lies at ``R @ f`` of the box (a
    magnification scales R). Slot s takes the patches from ``slot_ends[s - 1]`` to ``slot_ends[s]``, each
    slot by one thread in order, which makes the sums independent of the number of threads.
    """
    n_slots, size = slot_ends.shape[0], slices.shape[1]
    m = sums.shape[3] - 1
    limit = np.float32(radius * radius * (1.0 + 1e-5))  # rounding must not drop samples on the rim
    reach = int(min(radius * 1.1 + 1, size // 2 - 1))
    for s in numba.prange(n_slots):
        for p in range(slot_ends[s - 1] if s > 0 else 0, slot_ends[s]):
            r = rot_box_from_view[p]
            for y in range(-reach, reach + 1):
                row = y if y >= 0 else y + size
                fy = np.float32(y)
                for x in range(0 if y >= 0 else 1, reach + 1):
                    fx = np.float32(x)
                    kx, ky = r[0, 0] * fx + r[0, 1] * fy, r[1, 0] * fx + r[1, 1] * fy
                    kz = r[2, 0] * fx + r[2, 1] * fy
                    if kx * kx + ky * ky + kz * kz > limit:
                        continue
                    value = slices[p, row, x]
                    if kx < 0.0:
                        sample = (value.real, -value.imag, weights[p, row, x])
                        _add_around(sums[s], -kx, -ky, -kz, m, sample)
                    else:
                        sample = (value.real, value.imag, weights[p, row, x])
                        _add_around(sums[s], kx, ky, kz, m, sample)


def cube_frequencies(radius: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return broadcastable integer kz, ky, kx of the band cube."""
    m = band_margin(radius)
    full = np.arange(-m, m + 1)
    return full[:, None, None], full[None, :, None], np.arange(m + 1)[None, None, :]


def half_space_index(radius: int, low: float = 0.5) -> NDArray[np.int64]:
    """Return flat indices of the band cube that cover each ``low < |k| <= radius`` pair k, -k once."""
    kz, ky, kx = cube_frequencies(radius)
    r2 = kz * kz + ky * ky + kx * kx
    once = (kx > 0) | ((kx == 0) & ((ky > 0) | ((ky == 0) & (kz > 0))))
    return np.flatnonzero(once & (r2 <= radius * radius) & (r2 > low * low))


def index_frequencies(radius: int, index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return k (x, y, z) of flat indices of the band cube, ``[n, 3]``, cycles per box."""
    shape = band_cube_shape(radius)
    z, y, x = np.unravel_index(index, shape)
    m = band_margin(radius)
    return np.stack([x, y - m, z - m], axis=1).astype(np.float32)


def volume_from_cube(cube: Complex64, size: int) -> Float32:
    """Transform a band cube into a map ``[size, size, size]``, origin at index ``size // 2``."""
    m = cube.shape[2] - 1
    if size // 2 < m:
        raise ValueError(f"a box of {size} voxels cannot hold a band of radius {m - 1}")
    full = np.zeros((size, size, size // 2 + 1), dtype=np.complex64)
    rows = np.arange(-m, m + 1)
    keep = slice(1, -1) if size == 2 * m else slice(None)
    wrapped = rows[keep] % size
    width = min(m + 1, size // 2 + 1)
    full[np.ix_(wrapped, wrapped, np.arange(width))] = cube[keep, keep, :width]
    phase = np.exp(-2j * np.pi * np.fft.fftfreq(size) * (size // 2)).astype(np.complex64)
    half = np.exp(-2j * np.pi * np.fft.rfftfreq(size) * (size // 2)).astype(np.complex64)
    full *= phase[:, None, None] * phase[None, :, None] * half[None, None, :]
    return np.asarray(scipy.fft.irfftn(full, s=(size, size, size)), dtype=np.float32)


def cube_from_volume(volume: Float32, radius: int) -> Complex64:
    """Transform a cubic map into the band cube of ``radius``, origin at index ``n // 2``."""
    size = volume.shape[0]
    m = band_margin(radius)
    if size // 2 < m:
        raise ValueError(f"a box of {size} voxels cannot hold a band of radius {radius}")
    full = scipy.fft.rfftn(np.asarray(volume, dtype=np.float32))
    rows = np.arange(-m, m + 1)
    wrapped = rows % size
    cube = full[np.ix_(wrapped, wrapped, np.arange(m + 1))]
    centre = size // 2
    phase = np.exp(2j * np.pi * rows * centre / size)
    half = np.exp(2j * np.pi * np.arange(m + 1) * centre / size)
    result: Complex64 = (cube * phase[:, None, None] * phase[None, :, None] * half).astype(np.complex64)
    return result
