"""Half-sets that share as little as possible."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from staproj.model.particles import ParticleSet

Int = NDArray[np.int64]


def assign_half_sets(
    particles: ParticleSet, split: Literal["patch", "object", "random"], rng: np.random.Generator
) -> ParticleSet:
    """Return the particles with ``half_set`` 1 or 2; see the stage's help for the three ways."""
    series = np.unique(particles.tilt_series_id, return_inverse=True)[1].astype(np.int64)
    groups = np.unique(np.stack([series, particles.object_id], axis=1), axis=0, return_inverse=True)[1]
    groups = np.asarray(groups, dtype=np.int64).ravel()
    loose = particles.object_id < 0
    half = _random_halves(groups, rng)
    if split == "patch":
        patched = _patches(groups, particles.position_xyz_angstrom[:, 1])
        half = np.where(loose, half, patched)
    elif split == "object":
        whole = _whole_objects(groups, loose)
        half = np.where(loose, half, whole)
    return particles.with_columns(half_set=half.astype(np.int64))


def _random_halves(groups: Int, rng: np.random.Generator) -> Int:
    """Split every group evenly; groups with an odd count give their extra particle to either half in turn."""
    half = np.empty(len(groups), dtype=np.int64)
    order = np.lexsort((rng.random(len(groups)), groups))
    half[order] = 1 + np.arange(len(groups)) % 2
    return half


def _patches(groups: Int, along_axis: NDArray[np.float64]) -> Int:
    """Cut every group at the median of y, the direction of the tilt axis, on alternating sides."""
    half = np.empty(len(groups), dtype=np.int64)
    extra = 0
    for number, group in enumerate(np.unique(groups)):
        rows = np.flatnonzero(groups == group)
        order = rows[np.argsort(along_axis[rows], kind="stable")]
        first = (len(rows) + (extra if len(rows) % 2 else 0)) // 2
        extra = 1 - extra if len(rows) % 2 else extra
        side = number % 2
        half[order[:first]] = 1 + side
        half[order[first:]] = 2 - side
    return half


def _whole_objects(groups: Int, loose: NDArray[np.bool_]) -> Int:
    """Give whole groups, biggest first, to the half that has fewer particles."""
    half = np.ones(len(groups), dtype=np.int64)
    names, sizes = np.unique(groups[~loose], return_counts=True)
    filled = np.zeros(2, dtype=np.int64)
    for index in np.lexsort((names, -sizes)):
        side = int(filled[1] < filled[0])
        filled[side] += sizes[index]
        half[groups == names[index]] = 1 + side
    return half
