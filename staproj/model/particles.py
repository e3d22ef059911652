"""Particles: poses with scores and half-sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from staproj.errors import EmptyResultError

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ParticleSet:
    """Table of ``n`` particles.

    A point x of the reference (Å from its centre ``n // 2``) lies in the tomogram at
    ``position_xyz_angstrom + rot_tomo_from_ref @ x``. The symmetry axis of the reference is z, which for
    particles on a closed surface points outwards. ``half_set`` is 1 or 2, 0 = not assigned.
    ``object_id`` numbers the VLP (or other surface) inside its tilt series, -1 = none.
    """

    particle_id: NDArray[np.int64]
    tilt_series_id: NDArray[np.str_]
    object_id: NDArray[np.int64]
    position_xyz_angstrom: Float
    rot_tomo_from_ref: Float
    score: Float
    half_set: NDArray[np.int64]
    symmetry: str = "C1"

    def __post_init__(self) -> None:
        """Refuse columns of unequal length."""
        n = len(self.particle_id)
        for name in ("tilt_series_id", "object_id", "score", "half_set"):
            if getattr(self, name).shape != (n,):
                raise ValueError(f"{name} must have shape ({n},), has {getattr(self, name).shape}")
        if self.position_xyz_angstrom.shape != (n, 3):
            raise ValueError("position_xyz_angstrom must have shape (n, 3)")
        if self.rot_tomo_from_ref.shape != (n, 3, 3):
            raise ValueError("rot_tomo_from_ref must have shape (n, 3, 3)")

    @classmethod
    def create(
        cls,
        tilt_series_id: str | Sequence[str],
        position_xyz_angstrom: Float,
        rot_tomo_from_ref: Float,
        *,
        object_id: NDArray[np.int64] | int = -1,
        score: Float | float = 0.0,
        half_set: NDArray[np.int64] | int = 0,
        particle_id: NDArray[np.int64] | None = None,
        symmetry: str = "C1",
    ) -> ParticleSet:
        """Build a table, spreading scalars over all particles; ids count from 0 unless given."""
        position = np.asarray(position_xyz_angstrom, dtype=np.float64).reshape(-1, 3)
        n = len(position)
        names = [tilt_series_id] * n if isinstance(tilt_series_id, str) else list(tilt_series_id)
        ids = np.arange(n, dtype=np.int64) if particle_id is None else particle_id
        return cls(
            particle_id=np.asarray(ids, dtype=np.int64),
            tilt_series_id=np.array(names, dtype=np.str_),
            object_id=np.broadcast_to(np.asarray(object_id, dtype=np.int64), (n,)).copy(),
            position_xyz_angstrom=position,
            rot_tomo_from_ref=np.asarray(rot_tomo_from_ref, dtype=np.float64).reshape(-1, 3, 3),
            score=np.broadcast_to(np.asarray(score, dtype=np.float64), (n,)).copy(),
            half_set=np.broadcast_to(np.asarray(half_set, dtype=np.int64), (n,)).copy(),
            symmetry=symmetry,
        )

    def __len__(self) -> int:
        """Return the number of particles."""
        return len(self.particle_id)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> ParticleSet:
        """Return the particles at ``index`` (integers or a mask), ids kept."""
        return ParticleSet(
            particle_id=self.particle_id[index],
            tilt_series_id=self.tilt_series_id[index],
            object_id=self.object_id[index],
            position_xyz_angstrom=self.position_xyz_angstrom[index],
            rot_tomo_from_ref=self.rot_tomo_from_ref[index],
            score=self.score[index],
            half_set=self.half_set[index],
            symmetry=self.symmetry,
        )

    def of_series(self, tilt_series_id: str) -> ParticleSet:
        """Return the particles of one tilt series."""
        return self.take(self.tilt_series_id == tilt_series_id)

    def with_columns(self, **columns: object) -> ParticleSet:
        """Return a copy with some columns replaced."""
        return replace(self, **columns)  # type: ignore[arg-type]

    def recentred(self, rot_ref_from_new: Float, origin_ref_xyz_angstrom: Float) -> ParticleSet:
        """Describe the same particles for a reference turned and moved: ``x_ref = R x_new + origin``."""
        rotation = np.asarray(rot_ref_from_new, dtype=np.float64)
        moved = np.einsum("nij,j->ni", self.rot_tomo_from_ref, np.asarray(origin_ref_xyz_angstrom))
        return replace(
            self,
            position_xyz_angstrom=self.position_xyz_angstrom + moved,
            rot_tomo_from_ref=self.rot_tomo_from_ref @ rotation,
        )

    @staticmethod
    def concatenate(sets: Sequence[ParticleSet], *, renumber: bool = False) -> ParticleSet:
        """Join tables; ``renumber`` gives ids 0..n-1 where the parts' ids clash."""
        if not sets:
            raise EmptyResultError("there are no particle sets to join")
        ids = np.concatenate([part.particle_id for part in sets])
        return ParticleSet(
            particle_id=np.arange(len(ids), dtype=np.int64) if renumber else ids,
            tilt_series_id=np.concatenate([part.tilt_series_id for part in sets]),
            object_id=np.concatenate([part.object_id for part in sets]),
            position_xyz_angstrom=np.concatenate([part.position_xyz_angstrom for part in sets]),
            rot_tomo_from_ref=np.concatenate([part.rot_tomo_from_ref for part in sets]),
            score=np.concatenate([part.score for part in sets]),
            half_set=np.concatenate([part.half_set for part in sets]),
            symmetry=sets[0].symmetry,
        )
