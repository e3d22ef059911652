"""Scores of particles against one reference over a grid of rotations and shifts common to all of them.

Each particle brings ``D`` and ``W`` (see ``slices``) in a frame turned by what is known of its pose, so that
the offsets to try are the same for all particles and the search is a matrix product. The score is the
log-likelihood ratio's root, in units of the noise::

    score(R, t) = Re sum_k conj(D(k)) G(R^T k) e^{-2 pi i k t} / sqrt(sum_k W(k) |G(R^T k)|^2)

(scale of the reference free, whitened noise). Array operations only: ``xp`` decides where they run.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from staproj.kernels.xp import Array, namespace


class GridScores(NamedTuple):
    """Best place of every particle on the grid, ``[candidate, particle]``, best candidate first."""

    score: Array
    rotation: Array
    shift: Array


def score_grid(
    data: Array, weight: Array, rotated: Array, k_xyz: Array, shifts_xyz: Array, candidates: int = 1
) -> GridScores:
    """Score particles over all rotations and shifts; keep the best shift of the best rotations.

    ``data`` ``[particle, k]`` complex, ``weight`` ``[particle, k]``, ``rotated`` ``[rotation, k]`` (G at R^T
    k), ``k_xyz`` ``[k, 3]`` in cycles per voxel, ``shifts_xyz`` ``[shift, 3]`` in voxels: where the
    reference's centre lies in the particle. Candidates of a particle differ in rotation.
    """
    xp = namespace(data, weight, rotated)
    n, n_rot = data.shape[0], rotated.shape[0]
    parts = xp.concat([xp.real(data), xp.imag(data)], axis=1)
    power = xp.real(rotated) ** 2 + xp.imag(rotated) ** 2
    norm = xp.sqrt(xp.maximum(weight @ xp.matrix_transpose(power), xp.asarray(1e-20, dtype=weight.dtype)))
    best = xp.full((n, n_rot), -xp.inf, dtype=parts.dtype)
    best_shift = xp.zeros((n, n_rot), dtype=xp.int32)
    for index in range(shifts_xyz.shape[0]):
        angle = (k_xyz @ shifts_xyz[index, :]) * (-2.0 * float(np.pi))
        cos, sin = xp.cos(angle)[None, :], xp.sin(angle)[None, :]
        real = xp.real(rotated) * cos - xp.imag(rotated) * sin
        imag = xp.real(rotated) * sin + xp.imag(rotated) * cos
        score = parts @ xp.matrix_transpose(xp.concat([real, imag], axis=1))
        better = score > best
        best = xp.where(better, score, best)
        best_shift = xp.where(better, xp.full_like(best_shift, index), best_shift)
    return _take_best(xp, best / norm, best_shift, candidates)


def _take_best(xp: Any, score: Array, shift: Array, candidates: int) -> GridScores:
    order = xp.argsort(-score, axis=1, stable=True)[:, : min(candidates, score.shape[1])]
    rows = xp.arange(score.shape[0])
    picked = [order[:, c] for c in range(order.shape[1])]
    width = score.shape[1]

    def at(values: Array) -> Array:
        flat = xp.reshape(values, (-1,))
        return xp.stack([xp.take(flat, rows * width + column, axis=0) for column in picked])

    return GridScores(at(score), xp.stack(picked), at(shift))


def shift_grid(radius_xy: float, radius_z: float, step: float) -> NDArray[np.float32]:
    """Return shifts ``[n, 3]`` (x, y, z) of a grid of ``step`` inside a cylinder, nearest to 0 first."""
    nxy, nz = int(radius_xy / step + 1e-6), int(radius_z / step + 1e-6)
    xy, z = np.arange(-nxy, nxy + 1) * step, np.arange(-nz, nz + 1) * step
    grid = np.stack(np.meshgrid(xy, xy, z, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid[grid[:, 0] ** 2 + grid[:, 1] ** 2 <= radius_xy**2 + 1e-6]
    order = np.argsort((grid**2).sum(axis=1), kind="stable")
    return np.ascontiguousarray(grid[order], dtype=np.float32)


def rotation_grid(
    tilt_range_deg: float, spin_range_deg: float, step_deg: float, period_deg: float = 360.0
) -> NDArray[np.float64]:
    """Return rotations ``[n, 3, 3]``: a cap of axis directions, times spins about the axis.

    Directions lie within ``tilt_range_deg`` of z about ``step_deg`` apart; spins cover ``+-spin_range_deg``,
    or one ``period_deg`` (360 / n of a Cn reference) without a double end where that is less.
    """
    spins = _even_spins(spin_range_deg, step_deg, period_deg)
    rings = [(0.0, 0.0)]
    n_rings = int(np.ceil(tilt_range_deg / step_deg - 1e-6)) if tilt_range_deg > 0 else 0
    for ring in range(1, n_rings + 1):
        tilt = tilt_range_deg * ring / n_rings
        count = max(3, round(360.0 * np.sin(np.deg2rad(tilt)) / (tilt_range_deg / n_rings)))
        rings += [(tilt, 360.0 * (i + 0.5 * (ring % 2)) / count) for i in range(count)]
    out = []
    for tilt, azimuth in rings:
        cap = _about(2, azimuth) @ _about(1, tilt) @ _about(2, -azimuth)
        out += [cap @ _about(2, spin) for spin in spins]
    return np.array(out)


def _even_spins(spin_range_deg: float, step_deg: float, period_deg: float) -> NDArray[np.float64]:
    if spin_range_deg <= 0:
        return np.zeros(1)
    if 2.0 * spin_range_deg >= period_deg - 1e-6:
        n = max(1, int(np.ceil(period_deg / step_deg - 1e-6)))
        return np.arange(n, dtype=np.float64) * (period_deg / n)
    n = max(1, int(np.ceil(2.0 * spin_range_deg / step_deg - 1e-6)))
    return np.arange(n + 1, dtype=np.float64) * (2.0 * spin_range_deg / n) - spin_range_deg


def _about(axis: int, angle_deg: float) -> NDArray[np.float64]:
    cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    if axis == 2:
        return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
