"""Align particles of any source to a reference: grid search, then Gauss-Newton, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from staproj.kernels.masking import sphere_mask
from staproj.kernels.pose_fit import fit_poses
from staproj.kernels.reference import fit_box, reference_table, sample_reference
from staproj.kernels.search import rotation_grid, score_grid, shift_grid
from staproj.kernels.slices import half_space_index, index_frequencies
from staproj.model.particles import ParticleSet
from staproj.stages.shared.particles import ViewSource

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Complex64 = NDArray[np.complex64]
Cubes = list[tuple[NDArray[np.int64], Complex64, Float32]]


@dataclass(frozen=True)
class SearchRange:
    """What is tried about every particle's current pose, and to which resolution.

    ``tilt_deg`` is how far the particle's axis may lean, ``spin_deg`` how far it may turn about it (a full
    period of ``symmetry_order`` at most). ``shift_xy_angstrom`` counts across the axis, ``shift_z_angstrom``
    along it. ``coarse_resolution_angstrom`` rules the grid (its steps follow from it),
    ``fine_resolution_angstrom`` the fit; ``grid=False`` fits from the current pose alone.
    """

    tilt_deg: float
    spin_deg: float
    shift_xy_angstrom: float
    shift_z_angstrom: float
    coarse_resolution_angstrom: float
    fine_resolution_angstrom: float
    symmetry_order: int = 1
    angle_step_deg: float | None = None
    candidates: int = 3
    fit_steps: int = 12
    grid: bool = True


def read_cubes(source: ViewSource, particles: ParticleSet, resolution_angstrom: float) -> Cubes:
    """Read particles once (some kB each), for many calls of ``align`` with that fine resolution."""
    return list(source.cubes(particles, source.radius_of(resolution_angstrom)))


def masked_reference(volume: Float32, box: int, mask_diameter_voxel: float) -> Float32:
    """Fit a map into the box and multiply it by a soft sphere, its mean inside the sphere taken off."""
    mask = reference_mask(box, mask_diameter_voxel)
    fitted = fit_box(volume, box)
    mean = float((fitted * mask).sum() / mask.sum())
    return (fitted - np.float32(mean)) * mask


def reference_mask(box: int, mask_diameter_voxel: float) -> Float32:
    """Return the soft sphere that references are seen through; it always fits the box."""
    edge = max(2.0, 0.08 * box)
    radius = min(0.5 * mask_diameter_voxel, 0.5 * box - edge)
    return sphere_mask((box, box, box), radius, edge)


def align(
    source: ViewSource,
    particles: ParticleSet,
    volume: Float32,
    search: SearchRange,
    *,
    mask_diameter_angstrom: float,
    score_diameter_angstrom: float | None = None,
    filter_by_shell: NDArray[np.floating] | None = None,
    progress: Callable[[float, float, str], None] | None = None,
    cubes: Cubes | None = None,
) -> ParticleSet:
    """Return the particles with the best pose found and its score (in SD of the noise).

    ``volume`` is the reference on the source's voxels, bright, centre ``n // 2``; ``filter_by_shell``
    weights the shells of the source's box. ``score_diameter_angstrom`` narrows the sphere that the final
    score (not the pose) looks at, so that neighbours on a lattice cannot vouch for a particle that is not
    there. ``cubes`` are those of ``read_cubes`` for the same particles, where they are aligned many times.
    """
    if not len(particles):
        return particles
    engine = _Engine(source, volume, search, mask_diameter_angstrom, filter_by_shell)
    if score_diameter_angstrom is not None:
        engine.score_within(volume, score_diameter_angstrom / source.voxel_size_angstrom, filter_by_shell)
    position = particles.position_xyz_angstrom.copy()
    rotation = particles.rot_tomo_from_ref.copy()
    score = np.zeros(len(particles))
    done = 0
    for index, data, weight in cubes or source.cubes(particles, engine.fine_radius):
        turn, shift, score[index] = engine.best_poses(data, weight)
        old = particles.rot_tomo_from_ref[index]
        moved = np.einsum("nij,nj->ni", old, shift * source.voxel_size_angstrom)
        position[index] += moved
        done += len(index)
        if progress is not None:
            progress(done, len(particles), f"{done} of {len(particles)} particles aligned")
        rotation[index] = _orthonormal(old @ turn)
    return replace(particles, position_xyz_angstrom=position, rot_tomo_from_ref=rotation, score=score)


class _Engine:
    """One reference, made ready to be compared with batches of band cubes."""

    def __init__(
        self,
        source: ViewSource,
        volume: Float32,
        search: SearchRange,
        mask_diameter_angstrom: float,
        filter_by_shell: NDArray[np.floating] | None,
    ) -> None:
        voxel = source.voxel_size_angstrom
        self.search, self.box = search, source.box
        self.fine_radius = source.radius_of(search.fine_resolution_angstrom)
        coarse = min(self.fine_radius, source.radius_of(search.coarse_resolution_angstrom))
        masked = masked_reference(volume, source.box, mask_diameter_angstrom / voxel)
        self.table = reference_table(masked, self.fine_radius, filter_by_shell)
        self.score_table: Complex64 | None = None
        self.index = half_space_index(self.fine_radius, 1.01)
        self.k = index_frequencies(self.fine_radius, self.index)
        self.coarse = np.flatnonzero((self.k**2).sum(axis=1) <= coarse * coarse)
        finest = source.box * voxel / coarse  # Å
        step = search.angle_step_deg or float(np.clip(np.rad2deg(finest / mask_diameter_angstrom), 2.0, 15.0))
        period = 360.0 / search.symmetry_order
        self.rotations = rotation_grid(search.tilt_deg, search.spin_deg, step, period)
        self.shifts = shift_grid(
            search.shift_xy_angstrom / voxel, search.shift_z_angstrom / voxel, 0.4 * finest / voxel
        )
        self.limits = np.array(
            [
                np.deg2rad(step * 1.2 if search.grid else search.tilt_deg),
                0.8 * finest / voxel if search.grid else search.shift_xy_angstrom / voxel,
                float(source.box),
            ]
        )
        self.rotated = sample_reference(
            self.table, self.rotations.astype(np.float32), np.ascontiguousarray(self.k[self.coarse])
        )

    def score_within(
        self, volume: Float32, diameter_voxel: float, filter_by_shell: NDArray[np.floating] | None
    ) -> None:
        """Let final scores see only a sphere of the reference."""
        masked = masked_reference(volume, self.box, diameter_voxel)
        self.score_table = reference_table(masked, self.fine_radius, filter_by_shell)

    def best_poses(self, data: Complex64, weight: Float32) -> tuple[Float, Float, Float]:
        """Return turn ``[n, 3, 3]``, shift ``[n, 3]`` (voxels, particle frame) and score of every cube."""
        n = len(data)
        d = np.ascontiguousarray(data.reshape(n, -1)[:, self.index])
        w = np.ascontiguousarray(weight.reshape(n, -1)[:, self.index])
        poses = self._from_grid(d, w) if self.search.grid else _at_rest(n)
        scores = fit_poses(self.table, self.k, d, w, poses, np.arange(n), self.limits, self.search.fit_steps)
        if self.score_table is not None:
            fixed = poses.copy()
            scores = fit_poses(self.score_table, self.k, d, w, fixed, np.arange(n), self.limits, 0)
        return poses[:, :3], poses[:, 3], scores / self.box

    def _from_grid(self, d: Complex64, w: Float32) -> Float:
        """Return the best pose of the grid, after candidates of the grid were fitted at its resolution."""
        n = len(d)
        dc, wc = np.ascontiguousarray(d[:, self.coarse]), np.ascontiguousarray(w[:, self.coarse])
        k = np.ascontiguousarray(self.k[self.coarse])
        found = score_grid(
            dc, wc, self.rotated, k / np.float32(self.box), self.shifts, self.search.candidates
        )
        count = found.score.shape[0]
        poses = np.empty((count * n, 4, 3))
        poses[:, :3] = self.rotations[found.rotation.ravel()]
        poses[:, 3] = self.shifts[found.shift.ravel()]
        row = np.tile(np.arange(n), count)
        scores = fit_poses(self.table, k, dc, wc, poses, row, self.limits, self.search.fit_steps)
        best = scores.reshape(count, n).argmax(axis=0)
        return np.ascontiguousarray(poses.reshape(count, n, 4, 3)[best, np.arange(n)])


def _at_rest(n: int) -> Float:
    poses = np.zeros((n, 4, 3))
    poses[:, :3] = np.eye(3)
    return poses


def _orthonormal(matrices: Float) -> Float:
    """Return the rotations nearest to products that rounding has bent."""
    u, _, v = np.linalg.svd(matrices)
    return u @ v
