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
"""Neighbours stand in a common direction of the reference if their mean vector is longer than this."""


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


class Agreement(NamedTuple):
    """Pairs (first of one table, second of another) that fit one lattice but for direction.

    ``phase`` is ``order`` times the azimuth (rad) of the step to the second, in the axes of the first.
    """

    first: NDArray[np.int64]
    phase: Float


def lattice_support(
    position: Float,
    rot_tomo_from_ref: Float,
    rules: LatticeRules,
    rng: np.random.Generator,
    *,
    among: Mask | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count for every particle the neighbours that agree with it about a common lattice.

    A neighbour lies at the lattice spacing, holds a similar pose (modulo rotations of ``360 / order`` degrees
    about the reference's z, after turning one surface normal onto the other) and, where the data
    show that neighbours stand in fixed directions of the reference, in one of these directions. Only
    particles ``among`` count as neighbours.

    Returns the counts, and the counts of one decoy a particle: moved half a spacing along the surface
    and turned at random, which is what wrong poses get by chance.
    """
    n = len(position)
    near = np.ones(n, dtype=bool) if among is None else among
    if n < 2 or not near.any():
        return np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    others = position[near], rot_tomo_from_ref[near]
    real = _agreeing(position, rot_tomo_from_ref, *others, rules)
    direction = _common_direction(real.phase, rules.symmetry_order)
    moved, turned = _decoys(position, rot_tomo_from_ref, rules.spacing_angstrom, rng)
    decoy = _agreeing(moved, turned, *others, rules)
    return _count(real, direction, rules, n), _count(decoy, direction, rules, n)


def _agreeing(
    position: Float, rotation: Float, other_position: Float, other_rotation: Float, rules: LatticeRules
) -> Agreement:
    outer = rules.spacing_angstrom * (1.0 + rules.distance_tolerance)
    table = cKDTree(position).sparse_distance_matrix(cKDTree(other_position), outer, output_type="ndarray")
    table = table[table["v"] >= rules.spacing_angstrom * (1.0 - rules.distance_tolerance)]
    table = table[np.lexsort((table["j"], table["i"]))]
    i, j = table["i"].astype(np.int64), table["j"].astype(np.int64)
    first, second = rotation[i], other_rotation[j]
    bend = np.rad2deg(np.arccos(np.clip(np.einsum("ni,ni->n", first[:, :, 2], second[:, :, 2]), -1, 1)))
    good = bend <= 3.0 * rules.angle_tolerance_deg
    good &= np.abs(twist_between(first, second, rules.symmetry_order)) <= rules.angle_tolerance_deg
    local = np.einsum("nji,nj->ni", first[good], other_position[j[good]] - position[i[good]])
    return Agreement(i[good], np.arctan2(local[:, 1], local[:, 0]) * rules.symmetry_order)


def _common_direction(phase: Float, symmetry_order: int) -> complex | None:
    """Return the mean vector of neighbour directions, or None where there is no common direction."""
    if symmetry_order < 2 or len(phase) < 10:
        return None
    mean = complex(np.exp(1j * phase).mean())
    return mean if abs(mean) >= max(MIN_ALIGNED, 3.0 / np.sqrt(len(phase))) else None


def _count(pairs: Agreement, direction: complex | None, rules: LatticeRules, n: int) -> NDArray[np.int64]:
    first = pairs.first
    if direction is not None:
        away = np.rad2deg(np.angle(np.exp(1j * pairs.phase) / direction)) / rules.symmetry_order
        first = first[np.abs(away) <= rules.angle_tolerance_deg]
    return np.bincount(first, minlength=n).astype(np.int64)


def _decoys(
    position: Float, rotation: Float, spacing: float, rng: np.random.Generator
) -> tuple[Float, Float]:
    azimuth, twist = rng.uniform(0.0, 2.0 * np.pi, (2, len(position)))
    step = np.cos(azimuth)[:, None] * rotation[:, :, 0] + np.sin(azimuth)[:, None] * rotation[:, :, 1]
    spin = np.zeros((len(position), 3, 3))
    spin[:, 0, 0], spin[:, 0, 1] = np.cos(twist), -np.sin(twist)
    spin[:, 1, 0], spin[:, 1, 1] = np.sin(twist), np.cos(twist)
    spin[:, 2, 2] = 1.0
    return position + 0.5 * spacing * step, rotation @ spin


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
    wrapped: Float = (twist + 0.5 * period) % period - 0.5 * period
    return wrapped


def nearest_neighbour_distance(position: Float) -> Float:
    """Return the distance (Å) from every particle to the closest other one; inf for a lone particle."""
    if len(position) < 2:
        return np.full(len(position), np.inf)
    distance: Float = cKDTree(position).query(position, k=2)[0][:, 1]
    return distance
