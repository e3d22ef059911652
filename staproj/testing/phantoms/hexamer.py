"""The particle: a chiral hexamer of Gaussian blobs, polar along z, and the noise-free map of it.

Loosely after immature CA-SP1: a narrow six-helix bundle at the inside (z < 0) and rings around the axis
that turn steadily with z, so that the mirror image correlates no better than 0.55 with it. Blob weights are
volumes of protein in Å³, so that the density is a fraction of protein and its projection a length of protein
in Å.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

SYMMETRY = "C6"
_ORDER = 6
HALF_HEIGHT_ANGSTROM = 50.0

# radius Å, azimuth deg, z Å, sigma Å, weight; one subunit
_SUBUNIT = np.array(
    [
        [13.0, 0.0, -38.0, 5.0, 0.8],
        [28.0, 5.0, -28.0, 5.0, 1.5],
        [30.0, 20.0, -14.0, 5.0, 1.8],
        [16.0, 22.0, -6.0, 4.5, 0.6],
        [30.0, 38.0, 2.0, 5.0, 1.4],
        [17.0, 40.0, 12.0, 4.5, 0.5],
        [31.0, 56.0, 16.0, 5.0, 1.6],
        [31.0, 75.0, 30.0, 5.0, 1.6],
        [22.0, 95.0, 40.0, 4.5, 0.7],
    ]
)
_VOLUME_PER_WEIGHT_ANGSTROM3 = 1600.0


def blobs(order: int = _ORDER) -> tuple[Float, Float, Float]:
    """Return positions ``[n, 3]`` (x, y, z in Å), sigmas (Å) and weights (Å³) of a whole hexamer."""
    turns = 360.0 / order * np.arange(order)
    azimuth = np.deg2rad(_SUBUNIT[None, :, 1] + turns[:, None])
    radius = np.broadcast_to(_SUBUNIT[:, 0], azimuth.shape)
    z = np.broadcast_to(_SUBUNIT[:, 2], azimuth.shape)
    position = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=-1).reshape(-1, 3)
    sigma = np.tile(_SUBUNIT[:, 3], order)
    weight = np.tile(_SUBUNIT[:, 4] * _VOLUME_PER_WEIGHT_ANGSTROM3, order)
    return position, sigma, weight


def effective_sigma(sigma: Float, pixel_size_angstrom: float) -> Float:
    """Return sigmas no smaller than 0.7 px: the simulated detector resolves no finer detail."""
    return np.maximum(sigma, 0.7 * pixel_size_angstrom)


def lattice_neighbours(radius_angstrom: float, spacing_angstrom: float) -> tuple[Float, Float]:
    """Return the centre and its 18 nearest sites on a sphere: ``[19, 3]``, rotations ``[19, 3, 3]``.

    The sphere passes through the origin with its outward normal along +z there.
    """
    steps = [(0.0, 0.0)]
    for turn in np.deg2rad(60.0 * np.arange(6)):
        steps.append((spacing_angstrom, float(turn)))
        steps.append((2.0 * spacing_angstrom, float(turn)))
        steps.append((np.sqrt(3.0) * spacing_angstrom, float(turn + np.pi / 6)))
    position, rotation = np.zeros((len(steps), 3)), np.zeros((len(steps), 3, 3))
    for k, (distance, azimuth) in enumerate(steps):
        bend = distance / radius_angstrom
        axis = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
        cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        rotation[k] = np.eye(3) + np.sin(bend) * cross + (1 - np.cos(bend)) * (cross @ cross)
        position[k] = radius_angstrom * (rotation[k][:, 2] - np.array([0.0, 0.0, 1.0]))
    return position, rotation


def reference_map(
    voxel_size_angstrom: float, radius_angstrom: float, spacing_angstrom: float, box_angstrom: float = 260.0
) -> NDArray[np.float32]:
    """Return the noise-free map ``[z, y, x]``: a hexamer at ``n // 2`` and neighbours that reach its box."""
    n = 2 * int(np.ceil(0.5 * box_angstrom / voxel_size_angstrom))
    position, sigma, weight = blobs()
    sigma = effective_sigma(sigma, voxel_size_angstrom)
    volume = np.zeros((n, n, n))
    site, rotation = lattice_neighbours(radius_angstrom, spacing_angstrom)
    axis = (np.arange(n) - n // 2) * voxel_size_angstrom
    for where, turn in zip(site, rotation, strict=True):
        for centre, width, amount in zip(position @ turn.T + where, sigma, weight, strict=True):
            if np.any(np.abs(centre) > 0.5 * box_angstrom + 4 * width):
                continue
            lines = [np.exp(-0.5 * ((axis - c) / width) ** 2) / (np.sqrt(2 * np.pi) * width) for c in centre]
            volume += amount * lines[2][:, None, None] * lines[1][None, :, None] * lines[0][None, None, :]
    return volume.astype(np.float32)
