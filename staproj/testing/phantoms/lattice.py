"""Points that repel each other on a sphere: a nearly hexagonal lattice with the defects real ones have."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

_STEPS = 240
_REGULAR_BOND_ORDER = 0.75


@numba.njit(cache=True, nogil=True)
def _repel(points: Float, steps: int, reach: float) -> None:
    """Move unit vectors down the gradient of a soft repulsion that ends at distance ``reach``."""
    n = points.shape[0]
    move = np.zeros((n, 3))
    for step in range(steps):
        size = 0.25 * reach * (1.0 - step / steps) + 0.01 * reach
        largest = 1e-12
        for i in range(n):
            fx = fy = fz = 0.0
            for j in range(n):
                dx = points[i, 0] - points[j, 0]
                dy = points[i, 1] - points[j, 1]
                dz = points[i, 2] - points[j, 2]
                d2 = dx * dx + dy * dy + dz * dz
                if i != j and d2 < reach * reach:
                    d = np.sqrt(d2) + 1e-9
                    push = (1.0 - d / reach) ** 2 / (d * (0.1 + d / reach))
                    fx += push * dx
                    fy += push * dy
                    fz += push * dz
            radial = fx * points[i, 0] + fy * points[i, 1] + fz * points[i, 2]
            move[i, 0] = fx - radial * points[i, 0]
            move[i, 1] = fy - radial * points[i, 1]
            move[i, 2] = fz - radial * points[i, 2]
            length = np.sqrt(move[i, 0] ** 2 + move[i, 1] ** 2 + move[i, 2] ** 2)
            largest = max(largest, length)
        for i in range(n):
            length = 0.0
            for k in range(3):
                points[i, k] += move[i, k] / largest * size
                length += points[i, k] ** 2
            for k in range(3):
                points[i, k] /= np.sqrt(length)


def sphere_sites(rng: np.random.Generator, radius_angstrom: float, spacing_angstrom: float) -> Float:
    """Return unit vectors ``[n, 3]`` of sites about ``spacing_angstrom`` apart on a sphere."""
    n = max(12, round(4 * np.pi * radius_angstrom**2 / (spacing_angstrom**2 * np.sqrt(3) / 2)))
    k = np.arange(n) + 0.5
    z = 1 - 2 * k / n
    azimuth = np.pi * (1 + np.sqrt(5)) * k
    points = np.stack([np.sqrt(1 - z * z) * np.cos(azimuth), np.sqrt(1 - z * z) * np.sin(azimuth), z], axis=1)
    points += rng.normal(0.0, 0.15 * spacing_angstrom / radius_angstrom, points.shape)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    _repel(points, _STEPS, 2.6 * spacing_angstrom / radius_angstrom)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    if np.linalg.det(turn) < 0:
        turn[:, 0] *= -1
    return points @ turn.T


def regular_sites(unit: Float, spacing: float) -> tuple[NDArray[np.bool_], Float]:
    """Find the sites with six regular neighbours and the rotation of each, ``[n, 3, 3]``.

    ``spacing`` is in units of the radius. Column z of a rotation is the outward normal, column x points to
    a neighbour as the sixfold bond order psi6 = <exp(6i a)> has it.
    """
    n = len(unit)
    regular = np.zeros(n, dtype=bool)
    rotation = np.zeros((n, 3, 3))
    distance = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    for i in range(n):
        near = np.flatnonzero((distance[i] > 1e-6) & (distance[i] < 1.36 * spacing))
        normal = unit[i]
        first = np.cross(normal, [0.0, 0.0, 1.0] if abs(normal[2]) < 0.9 else [1.0, 0.0, 0.0])
        first /= np.linalg.norm(first)
        second = np.cross(normal, first)
        bond = unit[near] - normal
        angle = np.arctan2(bond @ second, bond @ first)
        order = np.exp(6j * angle).mean() if len(near) else 0.0
        azimuth = np.angle(order) / 6
        along = np.cos(azimuth) * first + np.sin(azimuth) * second
        rotation[i] = np.stack([along, np.cross(normal, along), normal], axis=1)
        regular[i] = len(near) == 6 and abs(order) > _REGULAR_BOND_ORDER
    return regular, rotation


def incomplete(rng: np.random.Generator, unit: Float, missing_fraction: float) -> NDArray[np.bool_]:
    """Return which sites are left when a random cap that holds ``missing_fraction`` of them is taken away."""
    towards = rng.normal(size=3)
    towards /= np.linalg.norm(towards)
    cap: NDArray[np.bool_] = unit @ towards < 1 - 2 * missing_fraction
    return cap
