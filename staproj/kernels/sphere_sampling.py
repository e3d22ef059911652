"""Points spread evenly over a sphere, and frames that stand on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def fibonacci_sphere(n: int) -> Float:
    """Return ``n`` unit vectors (x, y, z) spread evenly over the sphere, from +z to -z.

    Source: Gonzalez, Math. Geosci. 42 (2010) 49 (points at the middle of n bands of equal area).
    """
    if n < 1:
        raise ValueError("a lattice needs at least one point")
    index = np.arange(n, dtype=np.float64)
    z = 1.0 - (2.0 * index + 1.0) / n
    angle = index * np.pi * (3.0 - np.sqrt(5.0))
    ring = np.sqrt(np.clip(1.0 - z * z, 0.0, None))
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


def hexagonal_count(radius: float, spacing: float, oversampling: float = 1.0) -> int:
    """Return how many points a hexagonal lattice of ``spacing`` has on a sphere, times ``oversampling``.

    One point takes an area of ``spacing^2 sqrt(3) / 2``; both lengths in one unit.
    """
    cell = spacing * spacing * np.sqrt(3.0) / 2.0
    return max(1, round(float(4.0 * np.pi * radius * radius / cell * oversampling)))


def frames_on_normals(normal: Float, twist_deg: Float) -> Float:
    """Return rotations ``[n, 3, 3]`` that take z to ``normal`` (unit, ``[n, 3]``), turned about it.

    ``R = Rz(azimuth) Ry(polar) Rz(twist - azimuth)``: without twist the shortest turn from z.
    """
    n = np.asarray(normal, dtype=np.float64)
    azimuth = np.arctan2(n[:, 1], n[:, 0])
    polar = np.arctan2(np.hypot(n[:, 0], n[:, 1]), n[:, 2])
    first = _about_z(azimuth)
    last = _about_z(np.deg2rad(np.asarray(twist_deg, dtype=np.float64)) - azimuth)
    middle = np.zeros((len(n), 3, 3))
    cos, sin = np.cos(polar), np.sin(polar)
    middle[:, 0, 0], middle[:, 0, 2] = cos, sin
    middle[:, 2, 0], middle[:, 2, 2] = -sin, cos
    middle[:, 1, 1] = 1.0
    return first @ middle @ last


def _about_z(angle: Float) -> Float:
    matrix = np.zeros((len(angle), 3, 3))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix[:, 0, 0], matrix[:, 0, 1] = cos, -sin
    matrix[:, 1, 0], matrix[:, 1, 1] = sin, cos
    matrix[:, 2, 2] = 1.0
    return matrix
