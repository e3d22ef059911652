"""Gauss-Newton refinement of six pose parameters (and the scale) of every particle against one reference.

Maximises the score of ``search`` by least squares: residual ``D - s W G'`` with ``G'(k) = G(R^T k) e^{-2 pi i k t}``,
weights W. Steps are damped (Levenberg-Marquardt) and taken only where the score rises; a pose never leaves
the given range about where it started from.
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


@numba.njit(cache=True, nogil=True, fastmath=True)
def _accumulate(table: Any, k: Any, data: Any, weight: Any, rot: Any, shift: Any, sums: Any) -> None:
    """Fill ``sums`` ``[8, 8]``: rows 0-5 pose derivatives, 6 the model, 7 the data; entry = Re <row, column>."""
    sums[:] = 0.0
    r = rot.astype(np.float32)
    d = np.empty(8, dtype=np.complex64)
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
        angle = -two_pi * (kx * np.float32(shift[0]) + ky * np.float32(shift[1]) + kz * np.float32(shift[2]))
        turn = np.complex64(complex(np.cos(angle), np.sin(angle)))
        value, gx, gy, gz = value * turn, gx * turn, gy * turn, gz * turn
        # q = R^T k; a turn by w about the box axes changes q by -R^T (w x k), and R grad is in box axes
        hx = r[0, 0] * gx + r[0, 1] * gy + r[0, 2] * gz
        hy = r[1, 0] * gx + r[1, 1] * gy + r[1, 2] * gz
        hz = r[2, 0] * gx + r[2, 1] * gy + r[2, 2] * gz
        d[0] = hy * pz - hz * py
        d[1] = hz * px - hx * pz
        d[2] = hx * py - hy * px
        factor = np.complex64(complex(0.0, -two_pi)) * value
        d[3], d[4], d[5] = factor * kx, factor * ky, factor * kz
        d[6] = value
        w = weight[i]
        for a in range(7):
            re, im = d[a].real, d[a].imag
            sums[a, 7] += re * data[i].real + im * data[i].imag
            for b in range(a, 7):
                sums[a, b] += w * (re * d[b].real + im * d[b].imag)


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
def _turned(rot: Any, w: Any) -> Any:
    """Return ``exp([w]) R`` for a small rotation vector w (radians, box axes)."""
    angle = np.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2])
    if angle < 1e-12:
        return rot.copy()
    x, y, z = w[0] / angle, w[1] / angle, w[2] / angle
    c, s = np.cos(angle), np.sin(angle)
    v = 1.0 - c
    turn = np.array(
        [
            [c + x * x * v, x * y * v - z * s, x * z * v + y * s],
            [y * x * v + z * s, c + y * y * v, y * z * v - x * s],
            [z * x * v - y * s, z * y * v + x * s, c + z * z * v],
        ]
    )
    return turn @ rot


@numba.njit(cache=True, nogil=True, parallel=True)
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

    ``table`` is a ``reference_table``; ``k`` ``[n, 3]`` in cycles per box of ``limits[2]`` voxels; ``data``/``weight``
    ``[particle, n]``; ``row`` names the particle of every start. ``limits``: largest turn (radians) and shift
    (voxels) away from the start, box size. ``poses`` is changed in place.
    """
    scores = np.zeros(poses.shape[0])
    box = limits[2]
    for p in numba.prange(poses.shape[0]):
        sums, trial_sums, step = np.zeros((8, 8)), np.zeros((8, 8)), np.zeros(6)
        start = poses[p].copy()
        rot, shift = start[:3].copy(), start[3] / box
        d, w = data[row[p]], weight[row[p]]
        _accumulate(table, k, d, w, rot, shift, sums)
        best = sums[6, 7] / np.sqrt(max(sums[6, 6], 1e-30))
        damping = 1e-2
        for _ in range(max_steps):
            if best <= 0.0:
                break
            _solve_step(sums, damping, step)
            new_rot, new_shift = _turned(rot, step[:3]), shift + step[3:]
            moved = 0.0
            trace = 0.0
            for a in range(3):
                moved += (new_shift[a] * box - start[3, a]) ** 2
                for b in range(3):
                    trace += new_rot[a, b] * start[a, b]
            turned = np.arccos(min(1.0, max(-1.0, 0.5 * (trace - 1.0))))
            gain = -1.0
            if turned <= limits[0] and moved <= limits[1] * limits[1]:
                _accumulate(table, k, d, w, new_rot, new_shift, trial_sums)
                gain = trial_sums[6, 7] / np.sqrt(max(trial_sums[6, 6], 1e-30)) - best
            if gain > 0.0:
                rot, shift, best = new_rot, new_shift, best + gain
                sums, trial_sums = trial_sums, sums
                damping = max(damping * 0.2, 1e-4)
                if gain < 1e-4 * best:
                    break
            else:
                damping *= 10.0
                if damping > 1e4:
                    break
        poses[p, :3] = rot
        poses[p, 3] = shift * box
        scores[p] = best
    return scores
