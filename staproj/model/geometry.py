"""Where a point of the specimen appears in each view: the one description of a tilt geometry.

For a specimen point P (Å from the tomogram centre) and a view v::

    image_xy = (nx // 2, ny // 2) + shift_xy / px + (magnification / px) * (M_v P)_xy
    M_v      = Rz(tilt_axis) Ry(tilt) Rx(x_tilt)              depth z' = (M_v P)_z

with right-handed active rotations ``Rz = [[c,-s,0],[s,c,0],[0,0,1]]``, ``Ry = [[c,0,s],[0,1,0],[-s,0,c]]``,
``Rx = [[1,0,0],[0,c,-s],[0,s,c]]``. ``image_xy`` counts pixels from 0 at pixel centres. The tilt axis is
counter-clockwise-positive from +y; ``tilt_deg`` is what IMOD writes in ``.tlt``. This is RELION 5's
projection (rlnTomoZRot, YTilt, XTilt, X/YShiftAngst) with its centre at ``n // 2``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def rotation_x(angle_deg: Float | float) -> Float:
    """Return active right-handed rotations about x, shape ``[..., 3, 3]``."""
    return _axis_rotation(angle_deg, 1, 2)


def rotation_y(angle_deg: Float | float) -> Float:
    """Return active right-handed rotations about y, shape ``[..., 3, 3]``."""
    return _axis_rotation(angle_deg, 2, 0)


def rotation_z(angle_deg: Float | float) -> Float:
    """Return active right-handed rotations about z, shape ``[..., 3, 3]``."""
    return _axis_rotation(angle_deg, 0, 1)


def _axis_rotation(angle_deg: Float | float, first: int, second: int) -> Float:
    angle = np.deg2rad(np.asarray(angle_deg, dtype=np.float64))
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., [0, 1, 2], [0, 1, 2]] = 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    matrix[..., first, first] = cos
    matrix[..., second, second] = cos
    matrix[..., first, second] = -sin
    matrix[..., second, first] = sin
    return matrix


@dataclass(frozen=True, eq=False)
class TiltGeometry:
    """Alignment of one tilt series; per-view arrays follow the order of the stack.

    ``shift_xy_angstrom`` (``[view, 2]``) moves the content of the view: a point at the tomogram centre
    appears at ``n // 2 + shift / px``. ``view_used`` is False for views nothing should use.
    """

    tilt_series_id: str
    tilt_deg: Float
    x_tilt_deg: Float
    tilt_axis_deg: Float
    shift_xy_angstrom: Float
    magnification: Float
    view_used: NDArray[np.bool_]
    pixel_size_angstrom: float
    image_shape_yx: tuple[int, int]

    @classmethod
    def nominal(
        cls,
        tilt_series_id: str,
        stage_tilt_deg: Float,
        tilt_axis_deg: float,
        *,
        pixel_size_angstrom: float,
        image_shape_yx: tuple[int, int],
        view_used: NDArray[np.bool_] | None = None,
    ) -> TiltGeometry:
        """Build the geometry the microscope promised: no shifts, one axis, unit magnification."""
        tilt = np.asarray(stage_tilt_deg, dtype=np.float64)
        n = len(tilt)
        used = np.ones(n, dtype=bool) if view_used is None else np.asarray(view_used, dtype=bool)
        return cls(
            tilt_series_id=tilt_series_id,
            tilt_deg=tilt.copy(),
            x_tilt_deg=np.zeros(n),
            tilt_axis_deg=np.full(n, float(tilt_axis_deg)),
            shift_xy_angstrom=np.zeros((n, 2)),
            magnification=np.ones(n),
            view_used=used,
            pixel_size_angstrom=float(pixel_size_angstrom),
            image_shape_yx=(int(image_shape_yx[0]), int(image_shape_yx[1])),
        )

    @property
    def n_views(self) -> int:
        """Number of views, excluded ones counted."""
        return len(self.tilt_deg)

    @property
    def rot_view_from_tomo(self) -> Float:
        """Rotations M_v, ``[view, 3, 3]``: specimen axes to the axes of each raw view."""
        product = rotation_z(self.tilt_axis_deg) @ rotation_y(self.tilt_deg)
        return product @ rotation_x(self.x_tilt_deg)

    @property
    def image_centre_xy_px(self) -> Float:
        """Index of the image centre, (nx // 2, ny // 2)."""
        ny, nx = self.image_shape_yx
        return np.array([nx // 2, ny // 2], dtype=np.float64)

    def project(self, position_xyz_angstrom: Float) -> Float:
        """Project points ``[n, 3]`` (Å) into every view: ``[view, n, 2]`` x, y in raw pixels."""
        points = np.asarray(position_xyz_angstrom, dtype=np.float64).reshape(-1, 3)
        planar = np.einsum("vij,nj->vni", self.rot_view_from_tomo[:, :2], points)
        planar = planar * self.magnification[:, None, None] + self.shift_xy_angstrom[:, None, :]
        return planar / self.pixel_size_angstrom + self.image_centre_xy_px

    def depth(self, position_xyz_angstrom: Float) -> Float:
        """Return depth z' of points ``[n, 3]`` along the beam in every view: ``[view, n]``, Å."""
        points = np.asarray(position_xyz_angstrom, dtype=np.float64).reshape(-1, 3)
        return np.einsum("vj,nj->vn", self.rot_view_from_tomo[:, 2], points)

    def in_new_frame(self, rot_old_from_new: Float, origin_old_xyz_angstrom: Float) -> TiltGeometry:
        """Describe the same views for specimen axes turned and moved: ``P_old = R P_new + origin``.

        Every point keeps its place in every image. Depth changes by a constant of each view, which
        is why CTF stages run on the frame they are going to be used in.
        """
        rotation = np.asarray(rot_old_from_new, dtype=np.float64)
        origin = np.asarray(origin_old_xyz_angstrom, dtype=np.float64)
        old = self.rot_view_from_tomo
        axis, tilt, x_tilt = decompose_view_rotation(old @ rotation)
        moved = np.einsum("vij,j->vi", old[:, :2], origin) * self.magnification[:, None]
        return TiltGeometry(
            tilt_series_id=self.tilt_series_id,
            tilt_deg=tilt,
            x_tilt_deg=x_tilt,
            tilt_axis_deg=axis,
            shift_xy_angstrom=self.shift_xy_angstrom + moved,
            magnification=self.magnification.copy(),
            view_used=self.view_used.copy(),
            pixel_size_angstrom=self.pixel_size_angstrom,
            image_shape_yx=self.image_shape_yx,
        )


def decompose_view_rotation(matrix: Float) -> tuple[Float, Float, Float]:
    """Split ``[view, 3, 3]`` into (tilt_axis_deg, tilt_deg, x_tilt_deg) of ``Rz Ry Rx``.

    ``tilt_deg`` lies in [-90, 90].
    """
    m = np.asarray(matrix, dtype=np.float64)
    tilt = np.arcsin(np.clip(-m[..., 2, 0], -1.0, 1.0))
    axis = np.arctan2(m[..., 1, 0], m[..., 0, 0])
    x_tilt = np.arctan2(m[..., 2, 1], m[..., 2, 2])
    return np.rad2deg(axis), np.rad2deg(tilt), np.rad2deg(x_tilt)
