"""Gauss-Newton refinement of six pose parameters (and the scale) of every particle against one reference.

Maximises the score of ``search`` by least squares: residual ``D - s W G'`` with ``G'(k) = G(R^T k) e^{-2 pi
i k t}``, weights W. Steps are damped (Levenberg-Marquardt) and taken only where the score rises; a pose
never leaves the given range about where it started from.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from staproj.kernels.reference import PADDING, read_table

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Complex64 = NDArray[np.complex64]

CONVERGED = 2e-4
"""A step that raises the score by less than this share is the last."""


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _accumulate(table: Any, k: Any, data: Any, weight: Any, pose: Any, box: float, sums: Any) -> None:
    """Fill ``sums`` ``[8, 8]`` with Re <row, column>: 0-5 pose derivatives, 6 the model, 7 the data."""
    sums[:] = 0.0
    r = np.empty((3, 3), dtype=np.float32)
    for a in range(3):
        for b in range(3):
            r[a, b] = pose[a, b]
    sx, sy, sz = np.float32(pose[3, 0] / box), np.float32(pose[3, 1] / box), np.float32(pose[3, 2] / box)
    re, im = np.empty(7, dtype=np.float32), np.empty(7, dtype=np.float32)
    two_pi = np.float32(2.0 * np.pi)
    for i in range(k.shape[0]):
        kx, ky, kz = k[i, 0], k[i, 1], k[i, 2]
        px, py, pz = kx * PADDING, ky * PADDING, kz * PADDING
        value, gx, gy, gz = read_table(
            table,
            r[0, 0] * px + r[1, 0] * py + r[2, 0] * pz,
            r[0, 1] * px + r[1, 1] * py + r[2, 1] * pz,
            r[0, 2] * px + r[1, 2] * py + r[2, 2] * pz,
        )
        angle = -two_pi * (kx * sx + ky * sy + kz * sz)
        turn = np.complex64(complex(np.cos(angle), np.sin(angle)))
        value, gx, gy, gz = value * turn, gx * turn, gy * turn, gz * turn
        # q = R^T k: a turn by w about the box axes changes q by -R^T (w x k), and R grad is in box axes
        hx = r[0, 0] * gx + r[0, 1] * gy + r[0, 2] * gz
        hy = r[1, 0] * gx + r[1, 1] * gy + r[1, 2] * gz
        hz = r[2, 0] * gx + r[2, 1] * gy + r[2, 2] * gz
        d0, d1, d2 = hy * pz - hz * py, hz * px - hx * pz, hx * py - hy * px
        re[0], im[0] = d0.real, d0.imag
        re[1], im[1] = d1.real, d1.imag
        re[2], im[2] = d2.real, d2.imag
        slope_re, slope_im = two_pi * value.imag, -two_pi * value.real
        re[3], im[3] = slope_re * kx, slope_im * kx
        re[4], im[4] = slope_re * ky, slope_im * ky
        re[5], im[5] = slope_re * kz, slope_im * kz
        re[6], im[6] = value.real, value.imag
        w, data_re, data_im = weight[i], data[i].real, data[i].imag
        for a in range(7):
            sums[a, 7] += re[a] * data_re + im[a] * data_im
            for b in range(a, 7):
                sums[a, b] += w * (re[a] * re[b] + im[a] * im[b])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _solve_step(sums: Any, damping: float, step: Any) -> None:
    """Solve the damped normal equations with the scale taken out; writes six parameters to ``step``."""
    model = max(sums[6, 6], 1e-30)
    scale = sums[6, 7] / model
    matrix = np.empty((6, 7))
    for a in range(6):
        for b in range(6):
            raw = sums[a, b] if a <= b else sums[b, a]
            matrix[a, b] = scale * scale * (raw - sums[a, 6] * sums[b, 6] / model)
        matrix[a, 6] = scale * (sums[a, 7] - scale * sums[a, 6])
    for a in range(6):
        matrix[a, a] = matrix[a, a] * (1.0 + damping) + 1e-20
    for a in range(6):
        pivot = matrix[a, a]
        for c in range(a, 7):
            matrix[a, c] /= pivot
        for b in range(6):
            if b != a:
                factor = matrix[b, a]
                for c in range(a, 7):
                    matrix[b, c] -= factor * matrix[a, c]
    for a in range(6):
        step[a] = matrix[a, 6]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _moved(pose: Any, step: Any, box: float, out: Any) -> None:
    """Write ``exp([w]) R`` and ``t + step`` to ``out`` ``[4, 3]``; w in radians about the box axes."""
    angle = np.sqrt(step[0] * step[0] + step[1] * step[1] + step[2] * step[2])
    c, s = np.cos(angle), np.sin(angle)
    scale = 1.0 / max(angle, 1e-12)
    x, y, z = step[0] * scale, step[1] * scale, step[2] * scale
    for j in range(3):
        a, b, d = pose[0, j], pose[1, j], pose[2, j]
        along = (x * a + y * b + z * d) * (1.0 - c)
        out[0, j] = c * a + s * (y * d - z * b) + x * along
        out[1, j] = c * b + s * (z * a - x * d) + y * along
        out[2, j] = c * d + s * (x * b - y * a) + z * along
        out[3, j] = pose[3, j] + step[3 + j] * box


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _copy(source: Any, target: Any) -> None:
    for a in range(source.shape[0]):
        for b in range(source.shape[1]):
            target[a, b] = source[a, b]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _within(pose: Any, start: Any, limits: Any) -> bool:
    """Say whether a pose is within the allowed turn and shift of where it started."""
    trace, moved = 0.0, 0.0
    for a in range(3):
        moved += (pose[3, a] - start[3, a]) ** 2
        for b in range(3):
            trace += pose[a, b] * start[a, b]
    turned_less: bool = 0.5 * (trace - 1.0) >= np.cos(limits[0])
    moved_less: bool = moved <= limits[1] * limits[1]
    return turned_less and moved_less


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fit_one(table: Any, k: Any, data: Any, weight: Any, pose: Any, limits: Any, max_steps: int) -> float:
    """Refine one pose in place and return its score."""
    start, trial = np.empty((4, 3)), np.empty((4, 3))
    _copy(pose, start)
    sums, trial_sums, step = np.zeros((8, 8)), np.zeros((8, 8)), np.zeros(6)
    _accumulate(table, k, data, weight, pose, limits[2], sums)
    best: float = sums[6, 7] / np.sqrt(max(sums[6, 6], 1e-30))
    damping = 1e-2
    for _ in range(max_steps):
        if best <= 0.0 or damping > 20.0:
            break
        _solve_step(sums, damping, step)
        _moved(pose, step, limits[2], trial)
        gain = -1.0
        if _within(trial, start, limits):
            _accumulate(table, k, data, weight, trial, limits[2], trial_sums)
            gain = trial_sums[6, 7] / np.sqrt(max(trial_sums[6, 6], 1e-30)) - best
        if gain > 0.0:
            _copy(trial, pose)
            _copy(trial_sums, sums)
            best += gain
            damping = max(damping * 0.2, 1e-4)
            if gain < CONVERGED * best:
                break
        else:
            damping *= 10.0
    return best


@numba.njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def fit_poses(
    table: Complex64,
    k: Float32,
    data: Complex64,
    weight: Float32,
    poses: Float64,
    row: NDArray[np.int64],
    limits: Float64,
    max_steps: int,
) -> Float64:
    """Refine ``poses`` ``[start, 4, 3]`` (rotation rows, then shift in voxels); returns scores ``[start]``.

    ``table`` is a ``reference_table``; ``k`` ``[n, 3]`` in cycles per box of ``limits[2]`` voxels;
    ``data``/``weight`` ``[particle, n]``; ``row`` names the particle of every start. ``limits``: largest
    turn (radians) and shift (voxels) away from the start, box size. ``poses`` is changed in place.
    """
    scores = np.zeros(poses.shape[0])
    for p in numba.prange(poses.shape[0]):
        scores[p] = _fit_one(table, k, data[row[p]], weight[row[p]], poses[p], limits, max_steps)
    return scores
