"""Found particles and beads against true ones: which were found, and how far off their poses are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from staproj.errors import InputError
from staproj.model.particles import ParticleSet

Float = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs ``(found[i], true[i])``, one-to-one, and how many there were on each side."""

    found: Index
    true: Index
    n_found: int
    n_true: int

    def rates(self) -> dict[str, float]:
        """Return precision, recall and F1."""
        hits = len(self.found)
        precision = hits / self.n_found if self.n_found else 0.0
        recall = hits / self.n_true if self.n_true else 0.0
        f1 = 2 * hits / (self.n_found + self.n_true) if self.n_found + self.n_true else 0.0
        return {"precision": precision, "recall": recall, "f1": f1}


def match_points(found: Float, true: Float, radius: float) -> Matches:
    """Pair points nearest first; each point is in one pair at most, none further apart than ``radius``."""
    pairs: list[tuple[float, int, int]] = []
    if len(found) and len(true):
        near = cKDTree(true).query_ball_point(found, radius)
        for i, others in enumerate(near):
            pairs += [(float(np.linalg.norm(found[i] - true[j])), i, j) for j in others]
    taken_found: set[int] = set()
    taken_true: set[int] = set()
    kept = []
    for _, i, j in sorted(pairs):
        if i not in taken_found and j not in taken_true:
            taken_found.add(i)
            taken_true.add(j)
            kept.append((i, j))
    chosen = np.array(kept, dtype=np.int64).reshape(-1, 2)
    return Matches(chosen[:, 0], chosen[:, 1], len(found), len(true))


def match_particles(found: ParticleSet, true: ParticleSet, radius: float) -> tuple[Matches, float]:
    """Pair particles after taking off the common offset along their own axes, which the reference is free in.

    Returns the pairs and the offset in Å: how far found particles lie outside of true ones.
    """
    # Wider, since the offset is still in the positions.
    first = match_points(found.position_xyz_angstrom, true.position_xyz_angstrom, 1.5 * radius)
    if not len(first.found):
        return first, 0.0
    gap = found.position_xyz_angstrom[first.found] - true.position_xyz_angstrom[first.true]
    outward = true.rot_tomo_from_ref[first.true][:, :, 2]
    offset = float(np.median(np.einsum("ni,ni->n", gap, outward)))
    moved = found.position_xyz_angstrom - offset * found.rot_tomo_from_ref[:, :, 2]
    return match_points(moved, true.position_xyz_angstrom, radius), offset


def rotation_order(symmetry: str) -> int:
    """Return n of Cn.

    Raises
    ------
    InputError
        If the symmetry is not cyclic.
    """
    order = symmetry.strip().upper().removeprefix("C")
    if not order.isdigit() or int(order) < 1:
        raise InputError(f"scores know cyclic symmetries only, not {symmetry!r}")
    return int(order)


@dataclass(frozen=True, eq=False)
class PoseErrors:
    """Errors of paired particles; ``azimuth_deg`` is how the found reference is turned about its axis."""

    angle_deg: Float
    shift_angstrom: Float
    azimuth_deg: float


def pose_errors(found: ParticleSet, true: ParticleSet, symmetry: str, offset_angstrom: float) -> PoseErrors:
    """Return angular and positional errors of particles in pairs (equal rows), modulo the symmetry.

    The free rotation of the reference about its axis (common to all particles) and its free shift
    along it (``offset_angstrom``) are taken off first.
    """
    order = rotation_order(symmetry)
    difference = np.swapaxes(true.rot_tomo_from_ref, 1, 2) @ found.rot_tomo_from_ref
    azimuth = np.arctan2(difference[:, 1, 0] - difference[:, 0, 1], difference[:, 0, 0] + difference[:, 1, 1])
    common = float(np.angle(np.exp(1j * order * azimuth).mean()) / order) if len(azimuth) else 0.0
    best = np.full(len(azimuth), np.pi)
    for k in range(order):
        a = -common - 2 * np.pi * k / order
        turn = np.array([[np.cos(a), -np.sin(a), 0.0], [np.sin(a), np.cos(a), 0.0], [0.0, 0.0, 1.0]])
        trace = np.einsum("nij,ji->n", difference, turn)
        best = np.minimum(best, np.arccos(np.clip((trace - 1) / 2, -1.0, 1.0)))
    moved = found.position_xyz_angstrom - offset_angstrom * found.rot_tomo_from_ref[:, :, 2]
    shift = np.linalg.norm(moved - true.position_xyz_angstrom, axis=1)
    return PoseErrors(np.rad2deg(best), shift, float(np.rad2deg(common)))
