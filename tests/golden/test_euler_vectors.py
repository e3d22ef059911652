"""Euler angles of PEET and RELION against vectors computed by other programs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from staproj.formats.euler import (
    axis_y_from_axis_z,
    axis_z_from_axis_y,
    matrix_from_peet,
    matrix_from_relion,
    peet_from_matrix,
    relion_from_matrix,
)

PEET = (31.0, 73.0, -52.0)
"""phi, theta, psi."""


def test_peet_to_relion_without_change_of_axis() -> None:
    """Phi 31, theta 73, psi -52 of PEET are rot 59, tilt 73, psi -38 of RELION (TomoNet's PEET2Relion)."""
    angles = relion_from_matrix(matrix_from_peet(*PEET))
    np.testing.assert_allclose(angles, (59.0, 73.0, -38.0), atol=1e-10)


def test_peet_to_relion_with_change_of_axis() -> None:
    """With the symmetry axis taken from y to z the same pose is -30.694, 34.944, 77.947."""
    pose = axis_z_from_axis_y(matrix_from_peet(*PEET))
    np.testing.assert_allclose(relion_from_matrix(pose), (-30.694, 34.944, 77.947), atol=5e-4)
    np.testing.assert_allclose(axis_y_from_axis_z(pose), matrix_from_peet(*PEET), atol=1e-12)


def test_symmetry_axis_points_the_same_way_in_both() -> None:
    """PEET's y axis and RELION's z axis of one particle are one direction of the tomogram."""
    expected = (-0.1196, 0.5601, 0.8197)
    peet = matrix_from_peet(*PEET)
    np.testing.assert_allclose(peet @ [0, 1, 0], expected, atol=5e-5)
    np.testing.assert_allclose(matrix_from_relion(-30.694, 34.944, 77.947) @ [0, 0, 1], expected, atol=5e-5)


def test_relion_matrix_is_the_transpose_of_intrinsic_zyz(rng: np.random.Generator) -> None:
    """RELION's A is scipy's intrinsic ZYZ rotation, inverted; PEET's R is intrinsic ZXZ."""
    angles = rng.uniform(-180, 180, (50, 3))
    expected = Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()
    np.testing.assert_allclose(matrix_from_relion(*angles.T), expected, atol=1e-12)
    phi, theta, psi = angles.T
    expected = Rotation.from_euler("ZXZ", np.stack([psi, theta, phi], axis=1), degrees=True).as_matrix()
    np.testing.assert_allclose(matrix_from_peet(phi, theta, psi), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("to_angles", "to_matrix"),
    [(relion_from_matrix, matrix_from_relion), (peet_from_matrix, matrix_from_peet)],
)
def test_matrices_survive_the_way_through_angles(
    to_angles: object, to_matrix: object, rng: np.random.Generator
) -> None:
    """Any rotation comes back from its angles, also where only a sum of two angles is defined."""
    general = Rotation.random(200, rng=rng).as_matrix()
    flat = Rotation.from_euler("z", [[0.0], [30.0], [-170.0]], degrees=True).as_matrix()
    flipped = flat @ np.diag([1.0, -1.0, -1.0])
    for matrices in (general, flat, flipped):
        np.testing.assert_allclose(to_matrix(*to_angles(matrices)), matrices, atol=1e-7)  # type: ignore[operator]


def test_angles_of_a_real_extreme_pose() -> None:
    """Identity gives three zeros, a half turn about y gives tilt 180."""
    assert [float(a) for a in relion_from_matrix(np.eye(3))] == [0.0, 0.0, 0.0]
    assert float(relion_from_matrix(np.diag([-1.0, 1.0, -1.0]))[1]) == pytest.approx(180.0)
