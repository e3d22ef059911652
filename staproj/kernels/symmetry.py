"""Find the axis of a cyclic symmetry in a map, and move maps onto it.

About a true n-fold axis the density on every circle holds only harmonics that are multiples of n. The score
is the share of the (not rotationally constant) power that those harmonics hold: 1 at the axis, about 1/2 at
the 3- and 2-fold centres of a 6-fold lattice, about 1/n anywhere else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.optimize
from numpy.typing import NDArray

from staproj.kernels.fourier import radial_frequency

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


class AxisFit(NamedTuple):
    """Axis found: ``x_old = rot_old_from_new @ x_new + origin`` (voxels from the centre), and its score."""

    rot_old_from_new: Float
    origin_xyz: Float
    score: float


def axis_score(
    volume: Float32, order: int, origin_xyz: Float, tilt_deg: Float, radius: float, half_height: float
) -> Float:
    """Score axes through ``origin_xyz`` ``[n, 3]`` leaning by ``tilt_deg`` ``[n, 2]`` (about x, then y).

    Circles up to ``radius`` and ``half_height`` (voxels) about the axis are read by linear interpolation.
    """
    rings = np.arange(1.0, radius + 1e-6)
    heights = np.arange(-np.floor(half_height), half_height + 1e-6)
    n_angles = order * int(np.ceil(max(16, 2.5 * radius) / order))
    angle = 2.0 * np.pi * np.arange(n_angles) / n_angles
    z, r, a = np.meshgrid(heights, rings, angle, indexing="ij")
    points = np.stack([r * np.cos(a), r * np.sin(a), z])
    keep = np.arange(n_angles // 2 + 1)
    wanted = (keep % order == 0) & (keep > 0)
    out = np.empty(len(origin_xyz))
    for i in range(len(origin_xyz)):
        place = np.tensordot(lean_rotation(tilt_deg[i]), points, axes=1) + origin_xyz[i][:, None, None, None]
        ring = read_points(volume, place, 1)
        power = np.abs(scipy.fft.rfft(ring, axis=-1)) ** 2 * rings[None, :, None]
        total = power[..., 1:].sum()
        out[i] = power[..., wanted].sum() / total if total > 0 else 0.0
    return out


def find_axis(
    volume: Float32,
    order: int,
    *,
    search_radius: float,
    tilt_range_deg: float,
    radius: float,
    half_height: float,
) -> AxisFit:
    """Find the n-fold axis nearest z within ``search_radius`` (voxels, in x and y) of the centre of a map.

    A grid of one voxel and ``tilt_range_deg / 2`` is searched, the five best places are refined.

    Raises
    ------
    ValueError
        If the map holds no density.
    """
    if not float(np.std(volume)) > 0:
        raise ValueError("the map is empty")
    steps = np.arange(-np.ceil(search_radius), np.ceil(search_radius) + 1)
    x, y = (grid.ravel() for grid in np.meshgrid(steps, steps))
    inside = x * x + y * y <= search_radius**2 + 1e-6
    flat = np.stack([x[inside], y[inside], np.zeros(inside.sum())], axis=1)
    coarse = axis_score(volume, order, flat, np.zeros((len(flat), 2)), radius, half_height)
    best: tuple[float, Float] | None = None
    for start in np.argsort(-coarse, kind="stable")[:5]:
        guess = np.array([flat[start, 0], flat[start, 1], 0.0, 0.0])
        fitted = scipy.optimize.minimize(
            _cost,
            guess,
            args=(volume, order, radius, half_height, search_radius + 1.0, tilt_range_deg),
            method="Nelder-Mead",
            options={
                "initial_simplex": _simplex(guess, 0.7, 0.5 * tilt_range_deg),
                "xatol": 0.02,
                "fatol": 1e-5,
            },
        )
        if best is None or -fitted.fun > best[0]:
            best = (-float(fitted.fun), fitted.x)
    assert best is not None
    score, found = best
    return AxisFit(lean_rotation(found[2:]), np.array([found[0], found[1], 0.0]), score)


def _cost(
    p: Float, volume: Float32, order: int, radius: float, height: float, reach: float, lean: float
) -> float:
    if p[0] ** 2 + p[1] ** 2 > reach**2 or np.abs(p[2:]).max(initial=0.0) > max(lean, 1e-9):
        return 1.0
    return -float(axis_score(volume, order, np.array([[p[0], p[1], 0.0]]), p[None, 2:], radius, height)[0])


def _simplex(guess: Float, move: float, lean: float) -> Float:
    corners: Float = guess + np.vstack([np.zeros(4), np.diag([move, move, max(lean, 0.1), max(lean, 0.1)])])
    return corners


def lean_rotation(tilt_deg: Float) -> Float:
    """Return the rotation that leans z by angles about x and y: ``Ry(b) Rx(a)``."""
    a, b = np.deg2rad(np.asarray(tilt_deg, dtype=np.float64))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    both: Float = about_y @ about_x
    return both


def read_points(volume: Float32, place_xyz: Float, order: int) -> Float32:
    """Read a map at points ``[3, ...]`` (x, y, z in voxels from the centre ``n // 2``); 0 outside."""
    centre = [n // 2 for n in volume.shape]
    index = np.stack([place_xyz[2] + centre[0], place_xyz[1] + centre[1], place_xyz[0] + centre[2]])
    return np.asarray(scipy.ndimage.map_coordinates(volume, index, order=order, mode="constant"), np.float32)


def move_map(volume: Float32, rot_old_from_new: Float, origin_xyz: Float) -> Float32:
    """Return the map in new axes: ``new(x) = old(R x + origin)``, cubic splines, shape kept."""
    axes = [np.arange(n, dtype=np.float64) - n // 2 for n in volume.shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    place = (
        np.tensordot(rot_old_from_new, np.stack([x, y, z]), axes=1)
        + np.asarray(origin_xyz)[:, None, None, None]
    )
    return read_points(volume, place, 3)


def symmetrise_map(volume: Float32, order: int) -> Float32:
    """Average a map over its turns by 360/n about z (cubic splines)."""
    total = np.asarray(volume, dtype=np.float64).copy()
    for step in range(1, order):
        angle = 2.0 * np.pi * step / order
        c, s = np.cos(angle), np.sin(angle)
        total += move_map(volume, np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]), np.zeros(3))
    return (total / order).astype(np.float32)


def layer_centre(volume: Float32, radius: float) -> float:
    """Return z (voxels from the centre) of the mass of the dense part of a column of ``radius`` about z.

    Dense: above the mean of the column by one SD; the map is bright.
    """
    nz, ny, nx = volume.shape
    y, x = np.arange(ny)[:, None] - ny // 2, np.arange(nx)[None, :] - nx // 2
    column = volume[:, x * x + y * y <= radius**2]
    excess = np.maximum(column - column.mean() - column.std(), 0.0).sum(axis=1).astype(np.float64)
    total = excess.sum()
    if not total > 0:
        return 0.0
    return float((excess * (np.arange(nz) - nz // 2)).sum() / total)


def resample_map(volume: Float32, ratio: float, box: int) -> Float32:
    """Return a map on voxels ``ratio`` times as large in a box ``[box, box, box]``, centre kept.

    Cubic splines. The map is low-passed first where voxels grow.
    """
    source = np.asarray(volume, dtype=np.float32)
    if ratio > 1.0 + 1e-6:
        source = low_pass(source, 0.5 / ratio, 0.05 / ratio)
    axis = (np.arange(box) - box // 2) * ratio
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return read_points(source, np.stack([x, y, z]), 3)


def low_pass(volume: Float32, cutoff: float, edge: float) -> Float32:
    """Cut a map's spectrum at ``cutoff`` (cycles/voxel) with a raised-cosine edge of width ``edge``."""
    shape = volume.shape
    along = np.clip((radial_frequency(shape) - (cutoff - 0.5 * edge)) / max(edge, 1e-6), 0.0, 1.0)
    spectrum = scipy.fft.rfftn(volume) * (0.5 + 0.5 * np.cos(np.pi * along))
    return np.asarray(scipy.fft.irfftn(spectrum, s=shape), dtype=np.float32)
