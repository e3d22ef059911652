"""Soft masks: from a density, or spheres and cylinders. All values lie in [0, 1].

The rule of density masks (threshold, extend, raised-cosine edge by distance) is the one RELION's
mask_create follows. Distances are in voxels and taken on the CPU.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Volume = NDArray[np.floating]


def soft_edge(inside: NDArray[np.bool_], extend_voxel: float, edge_voxel: float) -> Float32:
    """Grow a binary mask by ``extend_voxel`` (shrink if negative) and give it a raised-cosine edge.

    A voxel belongs to the grown mask if a voxel of the mask is closer than ``extend_voxel``. At
    distance d < ``edge_voxel`` outside of it the value is ``0.5 + 0.5 cos(pi d / edge)``.
    """
    if not inside.any():
        return np.zeros(inside.shape, dtype=np.float32)
    grown = inside
    if extend_voxel > 0:
        grown = inside | (scipy.ndimage.distance_transform_edt(~inside) < extend_voxel)
    elif extend_voxel < 0:
        grown = scipy.ndimage.distance_transform_edt(inside) >= -extend_voxel
    if not grown.any():
        return np.zeros(inside.shape, dtype=np.float32)
    if edge_voxel <= 0 or grown.all():
        return grown.astype(np.float32)
    distance = scipy.ndimage.distance_transform_edt(~grown)
    edge = 0.5 + 0.5 * np.cos(np.pi * np.minimum(distance / edge_voxel, 1.0))
    return np.where(grown, 1.0, edge).astype(np.float32)


def density_mask(
    volume: Volume,
    threshold: float,
    extend_voxel: float,
    edge_voxel: float,
    within: NDArray[np.bool_] | None = None,
) -> Float32:
    """Mask what is at least ``threshold`` dense (and inside ``within``), grown and softened."""
    inside = volume >= threshold
    if within is not None:
        inside = inside & within
    return soft_edge(inside, extend_voxel, edge_voxel)


def sphere_mask(shape: tuple[int, int, int], radius_voxel: float, edge_voxel: float) -> Float32:
    """Return a soft sphere about voxel ``n // 2``: 1 up to ``radius_voxel``, cosine edge outside."""
    z, y, x = _centred_grid(shape)
    return _cosine_step(np.sqrt(z * z + y * y + x * x), radius_voxel, edge_voxel)


def cylinder_mask(
    shape: tuple[int, int, int], radius_voxel: float, height_voxel: float, edge_voxel: float
) -> Float32:
    """Return a soft cylinder along z about voxel ``n // 2`` with the given radius and full height."""
    z, y, x = _centred_grid(shape)
    disc = _cosine_step(np.sqrt(y * y + x * x), radius_voxel, edge_voxel)
    return disc * _cosine_step(np.abs(z), 0.5 * height_voxel, edge_voxel)


def inscribed_sphere(shape: tuple[int, int, int], radius_voxel: float) -> NDArray[np.bool_]:
    """Say which voxels lie within ``radius_voxel`` of voxel ``n // 2``."""
    z, y, x = _centred_grid(shape)
    inside: NDArray[np.bool_] = z * z + y * y + x * x <= radius_voxel**2
    return inside


def otsu_threshold(values: NDArray[np.floating], n_bins: int = 256) -> float:
    """Return the value that splits a histogram into two classes of least spread (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=n_bins)
    centres = 0.5 * (edges[1:] + edges[:-1])
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = counts.sum() - below
    moment = np.cumsum(counts * centres)
    mean_below = moment[:-1] / np.maximum(below, 1)
    mean_above = (moment[-1] - moment[:-1]) / np.maximum(above, 1)
    between = below * above * (mean_above - mean_below) ** 2
    best = np.flatnonzero(between == between.max())
    return float(edges[1:-1][best].mean())


def _centred_grid(shape: tuple[int, int, int]) -> tuple[NDArray[np.float64], ...]:
    axes = [np.arange(n, dtype=np.float64) - n // 2 for n in shape]
    return tuple(np.meshgrid(*axes, indexing="ij", sparse=True))


def _cosine_step(distance: NDArray[np.float64], radius: float, edge: float) -> Float32:
    if edge <= 0:
        return (distance <= radius).astype(np.float32)
    along = np.clip((distance - radius) / edge, 0.0, 1.0)
    return (0.5 + 0.5 * np.cos(np.pi * along)).astype(np.float32)
