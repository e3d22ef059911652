"""Averages from summed data and weights, and how well two of them agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from staproj.kernels.reference import fit_box, gridding_shape
from staproj.kernels.slices import cube_frequencies, volume_from_cube

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Complex64 = NDArray[np.complex64]

REGULARISATION = 0.05
"""Share of a shell's mean weight that is added to every weight of the shell."""


def cyclic_rotations(order: int) -> Float:
    """Return the rotations ``[order, 3, 3]`` of Cn about z."""
    angle = 2.0 * np.pi * np.arange(order) / order
    out = np.zeros((order, 3, 3))
    out[:, 0, 0], out[:, 0, 1] = np.cos(angle), -np.sin(angle)
    out[:, 1, 0], out[:, 1, 1] = np.sin(angle), np.cos(angle)
    out[:, 2, 2] = 1.0
    return out


def symmetrise_about_z(cube: NDArray[Any], order: int) -> NDArray[Any]:
    """Add the Cn copies about kz of a band cube (complex, or real and even), by cubic convolution.

    Turning about z leaves kz alone, so one sparse matrix serves all planes. Kernel: Keys (1981), a = -1/2.
    """
    if order == 1:
        return cube
    m = cube.shape[2] - 1
    mates = cube[::-1, ::-1, :0:-1]
    full = np.concatenate([np.conj(mates), cube], axis=2).reshape(2 * m + 1, -1)
    matrix = _plane_rotations(m, order)
    turned = (matrix @ full.T).T.reshape(cube.shape)
    return cube + np.ascontiguousarray(turned).astype(cube.dtype)


def _plane_rotations(m: int, order: int) -> scipy.sparse.csr_array:
    """Return the matrix from a full plane of the cube to the sum of its turned copies on the half plane."""
    side = 2 * m + 1
    y, x = np.meshgrid(np.arange(-m, m + 1), np.arange(m + 1), indexing="ij")
    target = np.arange(y.size)
    rows, columns, values = [], [], []
    for rotation in cyclic_rotations(order)[1:]:
        sx = (rotation[0, 0] * x + rotation[0, 1] * y).ravel() + m
        sy = (rotation[1, 0] * x + rotation[1, 1] * y).ravel() + m
        for iy in range(-1, 3):
            for ix in range(-1, 3):
                px, py = np.floor(sx).astype(int) + ix, np.floor(sy).astype(int) + iy
                inside = (px >= 0) & (px < side) & (py >= 0) & (py < side)
                tap = _keys(sx - px) * _keys(sy - py)
                rows.append(target[inside])
                columns.append((py * side + px)[inside])
                values.append(tap[inside])
    joined = [np.concatenate(part) for part in (values, rows, columns)]
    shape = (y.size, side * side)
    return scipy.sparse.csr_array((joined[0].astype(np.float32), (joined[1], joined[2])), shape=shape)


def _keys(distance: Float) -> Float:
    d = np.abs(distance)
    near = (1.5 * d - 2.5) * d * d + 1.0
    far = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def cube_shells(radius: int) -> NDArray[np.int64]:
    """Return ``round(|k|)`` of every coefficient of the band cube."""
    kz, ky, kx = cube_frequencies(radius)
    shell: NDArray[np.int64] = np.rint(np.sqrt(kz * kz + ky * ky + kx * kx)).astype(np.int64)
    return shell


def divide_by_weight(data: Complex64, weight: Float32, radius: int) -> Complex64:
    """Return ``D / (W + regularisation)`` on the band cube, 0 beyond ``radius``.

    The regularisation is a share of the mean weight of the shell (never less than a thousandth of the mean
    of all), so that coefficients no view measured stay 0 instead of blowing up.
    """
    shell = cube_shells(radius)
    inside = shell <= radius
    flat = shell[inside]
    mean = np.bincount(flat, weight[inside], minlength=radius + 1) / np.bincount(flat, minlength=radius + 1)
    floor = REGULARISATION * np.maximum(mean, 1e-3 * mean.mean()) + 1e-20
    out = np.zeros_like(data)
    out[inside] = data[inside] / (weight[inside] + floor[flat])
    return out


def map_from_sums(data: Complex64, weight: Float32, box: int, padded: int, radius: int) -> Float32:
    """Return the map ``[box, box, box]`` of sums on the transform of a box of ``padded`` voxels.

    The mean of the shape that trilinear insertion gave the map (sinc^2 of the padded box) is divided out.
    """
    whole = volume_from_cube(divide_by_weight(data, weight, radius), padded)
    cut = fit_box(whole, box)
    return (cut / np.maximum(gridding_shape(box, padded), 0.05)).astype(np.float32)
