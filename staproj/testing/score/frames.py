"""The specimen frame of a project against that of the truth.

An alignment knows the specimen only up to a rotation and a shift. ``fit_frame`` finds the rigid motion
``P_project = R P_truth + o`` that brings the projections of both geometries closest over all used views;
what is left is the alignment error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from staproj.errors import InputError
from staproj.model.ctf import CtfModel
from staproj.model.geometry import TiltGeometry
from staproj.model.particles import ParticleSet

Float = NDArray[np.float64]

_STEPS = 12


@dataclass(frozen=True, eq=False)
class FrameFit:
    """How the project's specimen frame lies to the truth's, and how far projections stay apart.

    ``rms_px`` is the distance (x and y together) in raw pixels with a rigid motion; ``scale`` and
    ``rms_with_scale_px`` are those of a fit that may also stretch the specimen.
    """

    rot_project_from_truth: Float
    origin_project_angstrom: Float
    rms_px: float
    scale: float
    rms_with_scale_px: float

    def to_truth(self, position_xyz_angstrom: Float) -> Float:
        """Move points of the project's frame into the truth's."""
        return (position_xyz_angstrom - self.origin_project_angstrom) @ self.rot_project_from_truth

    def to_project(self, position_xyz_angstrom: Float) -> Float:
        """Move points of the truth's frame into the project's."""
        return position_xyz_angstrom @ self.rot_project_from_truth.T + self.origin_project_angstrom

    def particles_to_truth(self, particles: ParticleSet) -> ParticleSet:
        """Describe particles of the project in the truth's frame."""
        return particles.with_columns(
            position_xyz_angstrom=self.to_truth(particles.position_xyz_angstrom),
            rot_tomo_from_ref=self.rot_project_from_truth.T @ particles.rot_tomo_from_ref,
        )

    def particles_to_project(self, particles: ParticleSet) -> ParticleSet:
        """Describe particles of the truth in the project's frame."""
        return particles.with_columns(
            position_xyz_angstrom=self.to_project(particles.position_xyz_angstrom),
            rot_tomo_from_ref=self.rot_project_from_truth @ particles.rot_tomo_from_ref,
        )


def slab_points(truth: TiltGeometry, thickness_angstrom: float) -> Float:
    """Return a grid of points ``[n, 3]`` over the field of view and the depth of the ice."""
    ny, nx = truth.image_shape_yx
    half = 0.4 * truth.pixel_size_angstrom * min(nx, ny)
    flat = np.linspace(-half, half, 5)
    depth = np.linspace(-0.4, 0.4, 3) * thickness_angstrom
    x, y, z = np.meshgrid(flat, flat, depth, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)


def fit_frame(truth: TiltGeometry, found: TiltGeometry, points: Float) -> FrameFit:
    """Fit the project's frame to the truth's over ``points`` (truth frame, Å) and all views both use.

    Raises
    ------
    InputError
        If the numbers of views differ or fewer than two views are used.
    """
    if truth.n_views != found.n_views:
        raise InputError(
            f"the project has {found.n_views} views of {truth.tilt_series_id}, the truth {truth.n_views}"
        )
    used = truth.view_used & found.view_used
    if np.count_nonzero(used) < 2:
        raise InputError(f"fewer than two views of {truth.tilt_series_id} are used")
    wanted = _centred_angstrom(truth, points)[used]
    camera = found.rot_view_from_tomo[used, :2] * found.magnification[used, None, None]
    shift = found.shift_xy_angstrom[used]
    rotation, origin = _affine_start(camera, shift, wanted, points)
    scale = 1.0
    fits = []
    for with_scale in (False, True):
        for _ in range(_STEPS):
            turned = scale * points @ rotation.T
            residual = wanted - _project(camera, shift, turned + origin)
            columns = [np.cross(np.eye(3)[k], turned) for k in range(3)]
            columns += [np.broadcast_to(np.eye(3)[k], turned.shape) for k in range(3)]
            columns += [turned / scale] if with_scale else []
            design = np.stack([np.einsum("vij,nj->vni", camera, c).ravel() for c in columns], axis=1)
            step = np.linalg.lstsq(design, residual.ravel(), rcond=None)[0]
            rotation = _exponential(step[:3]) @ rotation
            origin = origin + step[3:6]
            scale += float(step[6]) if with_scale else 0.0
        residual = wanted - _project(camera, shift, scale * points @ rotation.T + origin)
        rms = float(np.sqrt((residual**2).sum(axis=-1).mean())) / truth.pixel_size_angstrom
        fits.append((rotation, origin, rms, scale))
    rigid, stretched = fits
    return FrameFit(rigid[0], rigid[1], rigid[2], stretched[3], stretched[2])


def angle_errors(truth: TiltGeometry, found: TiltGeometry, fit: FrameFit) -> dict[str, float]:
    """Return median absolute errors of tilt axis, tilt and x-tilt.

    The axis is that of the rotation between views half the tilt range apart, as it lies in the images: the
    choice of specimen axes does not enter. Tilt and x-tilt are compared in the truth's frame.
    """
    used = truth.view_used & found.view_used
    moved = found.in_new_frame(fit.rot_project_from_truth, fit.origin_project_angstrom)
    axis = _axis_between_views(found, used) - _axis_between_views(truth, used)
    return {
        "tilt_axis_error_deg": _median_angle(axis),
        "tilt_error_deg": _median_angle((moved.tilt_deg - truth.tilt_deg)[used]),
        "x_tilt_error_deg": _median_angle((moved.x_tilt_deg - truth.x_tilt_deg)[used]),
    }


def _axis_between_views(geometry: TiltGeometry, used: NDArray[np.bool_]) -> Float:
    rotation = geometry.rot_view_from_tomo[used]
    half = len(rotation) // 2
    between = rotation[half:] @ np.swapaxes(rotation[: len(rotation) - half], 1, 2)
    along_x, along_y = between[:, 2, 1] - between[:, 1, 2], between[:, 0, 2] - between[:, 2, 0]
    return np.rad2deg(np.arctan2(-along_x, along_y))


def defocus_errors(
    truth: CtfModel, found: CtfModel, alignment: TiltGeometry, fit: FrameFit
) -> dict[str, float | bool]:
    """Compare defocus at the truth's tomogram centre, which has some depth in the project's frame."""
    depth = alignment.rot_view_from_tomo[:, 2] @ fit.origin_project_angstrom
    at_centre = found.mean_defocus_angstrom + found.defocus_hand * depth
    used = alignment.view_used
    wanted = truth.mean_defocus_angstrom
    percent = 100.0 * np.abs(at_centre - wanted) / wanted
    astigmatism = np.abs(truth.defocus_u_um - truth.defocus_v_um)
    turn = np.deg2rad(2 * (found.astigmatism_deg - truth.astigmatism_deg))
    angle = np.rad2deg(np.abs(np.arctan2(np.sin(turn), np.cos(turn)))) / 2
    return {
        "defocus_error_median_percent": float(np.median(percent[used])),
        "defocus_error_p90_percent": float(np.percentile(percent[used], 90)),
        "defocus_error_median_um": float(np.median(np.abs(at_centre - wanted)[used]) * 1e-4),
        "astigmatism_angle_error_median_deg": float(np.median(angle[used & (astigmatism > 0.03)]))
        if np.any(used & (astigmatism > 0.03))
        else 0.0,
        "hand_correct": bool(found.defocus_hand == truth.defocus_hand),
    }


def _median_angle(difference: Float) -> float:
    wrapped = (difference + 180.0) % 360.0 - 180.0
    return float(np.median(np.abs(wrapped)))


def _centred_angstrom(geometry: TiltGeometry, points: Float) -> Float:
    return (geometry.project(points) - geometry.image_centre_xy_px) * geometry.pixel_size_angstrom


def _project(camera: Float, shift: Float, points: Float) -> Float:
    return np.einsum("vij,nj->vni", camera, points) + shift[:, None]


def _affine_start(camera: Float, shift: Float, wanted: Float, points: Float) -> tuple[Float, Float]:
    """Solve for a general affine motion and take the rotation nearest to it."""
    n_points = len(points)
    linear = np.einsum("vij,nk->vnijk", camera, points).reshape(-1, 9)
    constant = np.repeat(camera[:, None], n_points, axis=1).reshape(-1, 3)
    target = (wanted - shift[:, None]).reshape(-1)
    solution = np.linalg.lstsq(np.hstack([linear, constant]), target, rcond=None)[0]
    u, _, vt = np.linalg.svd(solution[:9].reshape(3, 3))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    return u @ flip @ vt, solution[9:]


def _exponential(vector: Float) -> Float:
    angle = float(np.linalg.norm(vector))
    if angle < 1e-14:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
