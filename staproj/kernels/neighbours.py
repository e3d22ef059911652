"""Particles and their neighbours: duplicates, and agreement with a lattice.

All functions work on one tilt series: positions ``[n, 3]`` in Å, rotations reference -> tomogram.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_ALIGNED = 0.15
"""Neighbour directions count as aligned with the reference's axes if their mean vector is longer than this."""


class LatticeRules(NamedTuple):
    """What makes two particles neighbours on one lattice (distances in Å, angles in degrees)."""

    spacing_angstrom: float
    distance_tolerance: float
    angle_tolerance_deg: float
    symmetry_order: int


def keep_best_of_duplicates(position: Float, score: Float, distance_angstrom: float) -> Mask:
    """Say which particles stay when, best score first, each removes all others within the distance.

    Ties go to the lower index, so the answer does not depend on anything but the input.
    """
    n = len(position)
    keep = np.ones(n, dtype=bool)
    if n == 0 or distance_angstrom <= 0:
        return keep
    pairs = cKDTree(position).query_pairs(distance_angstrom, output_type="ndarray")
    rank = np.empty(n, dtype=np.int64)
    rank[np.lexsort((np.arange(n), -score))] = np.arange(n)
    undecided = np.ones(n, dtype=bool)
    while len(pairs):
        best_near = np.full(n, n, dtype=np.int64)
        np.minimum.at(best_near, pairs[:, 0], rank[pairs[:, 1]])
        np.minimum.at(best_near, pairs[:, 1], rank[pairs[:, 0]])
        winner = undecided & (rank < best_near)
        loser = np.zeros(n, dtype=bool)
        loser[pairs[winner[pairs[:, 0]], 1]] = True
        loser[pairs[winner[pairs[:, 1]], 0]] = True
        keep[loser] = False
        undecided &= ~(winner | loser)
        pairs = pairs[undecided[pairs[:, 0]] & undecided[pairs[:, 1]]]
    return keep


def lattice_support(position: Float, rot_tomo_from_ref: Float, rules: LatticeRules) -> NDArray[np.int64]:
    """Count for every particle the neighbours that agree with it about a common lattice.

    A neighbour lies at the lattice spacing, holds a similar pose (modulo rotations of ``360 / order`` degrees
    about the reference's z, after turning one surface normal onto the other) and, where the data
    show that neighbours stand in fixed directions of the reference, in one of these directions.
    """
    n = len(position)
    counts = np.zeros(n, dtype=np.int64)
    if n < 2:
        return counts
    outer = rules.spacing_angstrom * (1.0 + rules.distance_tolerance)
    pairs = cKDTree(position).query_pairs(outer, output_type="ndarray").astype(np.int64)
    if not len(pairs):
        return counts
    both = np.concatenate([pairs, pairs[:, ::-1]])
    step = position[both[:, 1]] - position[both[:, 0]]
    distance = np.linalg.norm(step, axis=1)
    near = distance >= rules.spacing_angstrom * (1.0 - rules.distance_tolerance)
    both, step, distance = both[near], step[near], distance[near]
    first, second = rot_tomo_from_ref[both[:, 0]], rot_tomo_from_ref[both[:, 1]]
    bend = np.rad2deg(np.arccos(np.clip(np.einsum("ni,ni->n", first[:, :, 2], second[:, :, 2]), -1, 1)))
    good = bend <= 3.0 * rules.angle_tolerance_deg
    good &= np.abs(twist_between(first, second, rules.symmetry_order)) <= rules.angle_tolerance_deg
    if rules.symmetry_order > 1:
        good &= _in_lattice_direction(first, step, good, rules)
    np.add.at(counts, both[good, 0], 1)
    return counts


def twist_between(first: Float, second: Float, symmetry_order: int) -> Float:
    """Return the turn about the normal (deg, modulo ``360 / order``) that is left between two poses.

    It is the angle of ``Rz`` in the decomposition of ``first^T second`` into a turn about z and the
    shortest turn that bends one normal onto the other (swing and twist).
    """
    relative = np.einsum("nji,njk->nik", first, second)
    twist = np.rad2deg(
        np.arctan2(relative[:, 1, 0] - relative[:, 0, 1], relative[:, 0, 0] + relative[:, 1, 1])
    )
    period = 360.0 / symmetry_order
    return (twist + 0.5 * period) % period - 0.5 * period


def _in_lattice_direction(first: Float, step: Float, good: Mask, rules: LatticeRules) -> Mask:
    local = np.einsum("nji,nj->ni", first, step)
    phase = np.arctan2(local[:, 1], local[:, 0]) * rules.symmetry_order
    if good.sum() < 10:
        return np.ones(len(step), dtype=bool)
    mean = np.exp(1j * phase[good]).mean()
    if abs(mean) < max(MIN_ALIGNED, 3.0 / np.sqrt(good.sum())):
        return np.ones(len(step), dtype=bool)
    away = np.rad2deg(np.angle(np.exp(1j * phase) / mean)) / rules.symmetry_order
    aligned: Mask = np.abs(away) <= rules.angle_tolerance_deg
    return aligned


def nearest_neighbour_distance(position: Float) -> Float:
    """Return the distance (Å) from every particle to the closest other one; inf for a lone particle."""
    if len(position) < 2:
        return np.full(len(position), np.inf)
    distance: Float = cKDTree(position).query(position, k=2)[0][:, 1]
    return distance
