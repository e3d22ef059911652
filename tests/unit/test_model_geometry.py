"""TiltGeometry, ParticleSet and CtfModel: signs and centres worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from staproj.errors import EmptyResultError
from staproj.model.ctf import CtfModel
from staproj.model.geometry import (
    TiltGeometry,
    decompose_view_rotation,
    rotation_x,
    rotation_y,
    rotation_z,
)
from staproj.model.particles import ParticleSet

PIXEL = 2.0


def _geometry(shape: tuple[int, int] = (101, 120), axis: float = 0.0, **changes: object) -> TiltGeometry:
    geometry = TiltGeometry.nominal(
        "TS", np.array([-30.0, 0.0, 60.0]), axis, pixel_size_angstrom=PIXEL, image_shape_yx=shape
    )
    return TiltGeometry(**(vars(geometry) | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(101, 120), (100, 121), (64, 64), (7, 9)])
def test_the_centre_of_the_tomogram_is_the_centre_pixel(shape: tuple[int, int]) -> None:
    """The origin appears at n // 2 in every view, for odd and even sizes."""
    centre = _geometry(shape, 85.3).project(np.zeros((1, 3)))
    np.testing.assert_allclose(centre, np.tile([shape[1] // 2, shape[0] // 2], (3, 1, 1)))


def test_projection_of_a_tilted_point() -> None:
    """Axis along y, tilt t: x' = X cos t + Z sin t, y' = Y, depth = -X sin t + Z cos t."""
    point = np.array([[30.0, -14.0, 50.0]])
    tilt = np.deg2rad([-30.0, 0.0, 60.0])
    geometry = _geometry()
    image = geometry.project(point)[:, 0]
    np.testing.assert_allclose(image[:, 0], 60 + (30 * np.cos(tilt) + 50 * np.sin(tilt)) / PIXEL)
    np.testing.assert_allclose(image[:, 1], 50 - 14 / PIXEL)
    np.testing.assert_allclose(geometry.depth(point)[:, 0], -30 * np.sin(tilt) + 50 * np.cos(tilt))


def test_tilt_axis_turns_counter_clockwise_from_y() -> None:
    """A point on the tilt axis appears along the axis, 30 deg counter-clockwise from +y, in every view."""
    image = _geometry(axis=30.0).project(np.array([[0.0, 40.0, 0.0]]))[:, 0]
    expected = np.array([60, 50]) + 20 * np.array([-np.sin(np.pi / 6), np.cos(np.pi / 6)])
    np.testing.assert_allclose(image, np.tile(expected, (3, 1)))


def test_shift_moves_content_and_magnification_leaves_the_centre() -> None:
    """A shift of (6, -4) Å moves everything by (3, -2) px; magnification acts before it, about the centre."""
    shifted = _geometry(shift_xy_angstrom=np.tile([6.0, -4.0], (3, 1)), magnification=np.full(3, 1.1))
    point = np.array([[0.0, 0.0, 0.0], [0.0, 20.0, 0.0]])
    image = shifted.project(point)
    np.testing.assert_allclose(image[:, 0], np.tile([63.0, 48.0], (3, 1)))
    np.testing.assert_allclose(image[:, 1] - image[:, 0], np.tile([0.0, 11.0], (3, 1)), atol=1e-12)


def test_rotations_are_right_handed_and_active() -> None:
    """Quarter turns: z takes x to y, x takes y to z, y takes z to x; scipy agrees for any angle."""
    np.testing.assert_allclose(rotation_z(90.0) @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(rotation_x(90.0) @ [0, 1, 0], [0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(rotation_y(90.0) @ [0, 0, 1], [1, 0, 0], atol=1e-15)
    for axis, turn in zip("xyz", (rotation_x, rotation_y, rotation_z), strict=True):
        np.testing.assert_allclose(turn(33.0), Rotation.from_euler(axis, 33.0, degrees=True).as_matrix())


def test_view_rotations_split_into_their_angles(rng: np.random.Generator) -> None:
    """Axis, tilt and x tilt come back from their product."""
    angles = rng.uniform(-80, 80, (30, 3))
    product = rotation_z(angles[:, 0]) @ rotation_y(angles[:, 1]) @ rotation_x(angles[:, 2])
    np.testing.assert_allclose(np.transpose(decompose_view_rotation(product)), angles, atol=1e-9)


def test_a_new_frame_leaves_every_image_point(rng: np.random.Generator) -> None:
    """A point described in turned and moved axes appears where it was; depth changes by a constant."""
    geometry = _geometry((101, 120), 85.3, magnification=np.array([1.0, 0.99, 1.02]))
    rotation = Rotation.random(rng=rng).as_matrix()
    origin = np.array([100.0, -40.0, 25.0])
    new_points = rng.uniform(-200, 200, (12, 3))
    old_points = new_points @ rotation.T + origin
    moved = geometry.in_new_frame(rotation, origin)
    np.testing.assert_allclose(moved.project(new_points), geometry.project(old_points), atol=1e-9)
    step = geometry.depth(old_points) - moved.depth(new_points)
    np.testing.assert_allclose(step, np.broadcast_to(step[:, :1], step.shape), atol=1e-9)


def test_defocus_of_a_point() -> None:
    """IMOD's rule: right of the axis at positive tilt is further from focus, higher points nearer."""
    zeros = np.zeros(3)
    ctf = CtfModel("TS", zeros + 3.0, zeros + 2.8, zeros, zeros, zeros, zeros)
    geometry = _geometry()
    points = np.array([[400.0, 0.0, 0.0], [0.0, 0.0, 250.0]])
    offset = ctf.defocus_offset_angstrom(geometry.depth(points))
    tilt = np.deg2rad([-30.0, 0.0, 60.0])
    np.testing.assert_allclose(offset[:, 0], 400.0 * np.sin(tilt))
    np.testing.assert_allclose(offset[:, 1], -250.0 * np.cos(tilt))
    flipped = CtfModel("TS", zeros, zeros, zeros, zeros, zeros, zeros, defocus_hand=1)
    np.testing.assert_allclose(flipped.defocus_offset_angstrom(geometry.depth(points)), -offset)
    np.testing.assert_allclose(ctf.mean_defocus_angstrom, 2.9e4)


def test_a_recentred_reference_leaves_the_particle_in_place(rng: np.random.Generator) -> None:
    """A point of the old and of the new reference lies at one place of the tomogram."""
    poses = Rotation.random(5, rng=rng).as_matrix()
    particles = ParticleSet.create("TS", rng.normal(0, 100, (5, 3)), poses)
    turn, origin = Rotation.random(rng=rng).as_matrix(), np.array([3.0, -8.0, 12.0])
    moved = particles.recentred(turn, origin)
    new_point = np.array([10.0, 4.0, -7.0])
    old_point = turn @ new_point + origin
    np.testing.assert_allclose(
        moved.position_xyz_angstrom + moved.rot_tomo_from_ref @ new_point,
        particles.position_xyz_angstrom + poses @ old_point,
    )


def test_particle_tables_refuse_ragged_columns_and_nothing() -> None:
    """Columns must be equally long, and there must be something to join."""
    with pytest.raises(ValueError, match="score"):
        ParticleSet.create("TS", np.zeros((2, 3)), np.tile(np.eye(3), (2, 1, 1))).with_columns(
            score=np.zeros(3)
        )
    with pytest.raises(EmptyResultError):
        ParticleSet.concatenate([])
