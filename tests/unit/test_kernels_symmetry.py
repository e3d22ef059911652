"""Finding a symmetry axis, moving and resampling maps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from staproj.kernels.symmetry import (
    find_axis,
    layer_centre,
    lean_rotation,
    low_pass,
    move_map,
    resample_map,
    symmetrise_map,
)
from tests.blob_particle import BlobParticle


def _lattice(spacing: float) -> BlobParticle:
    """Return a chiral hexagonal lattice: six-fold units of two blobs a sixth."""
    unit = BlobParticle(np.array([[2.4, 0.5, 0.0], [3.2, 1.5, 2.0]]), 0.9, np.array([1.0, 0.8])).symmetrised(
        6
    )
    centres = []
    for i in range(-2, 3):
        for j in range(-2, 3):
            at = np.array([spacing * (i + 0.5 * j), spacing * np.sqrt(0.75) * j, 0.0])
            centres.append(unit.centres + at)
    return BlobParticle(np.concatenate(centres), 0.9, np.tile(unit.weights, 25))


def test_six_fold_centre_of_a_lattice_is_found_off_centre_and_leaning() -> None:
    """Of 6-, 3- and 2-fold centres in reach the 6-fold one is taken, to a part of a voxel and a degree."""
    lean = np.array([4.0, -5.0])
    shift = np.array([2.7, -1.6, 0.0])
    volume = _lattice(8.0).moved(lean_rotation(lean), shift).volume((26, 27, 28))
    fit = find_axis(volume, 6, search_radius=5.0, tilt_range_deg=10.0, radius=5.0, half_height=4.0)
    axis = fit.rot_old_from_new[:, 2]
    truth = lean_rotation(lean)[:, 2]
    assert np.rad2deg(np.arccos(axis @ truth)) < 1.0
    on_axis = shift + truth * (fit.origin_xyz - shift) @ truth
    distance = np.linalg.norm(fit.origin_xyz - on_axis)
    assert distance < 0.3
    assert fit.score > 0.9


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_axis_of_a_single_particle_is_found(order: int) -> None:
    """Other orders work alike, and the map put onto the axis is symmetric."""
    particle = BlobParticle.chiral(6.0, 1.2, seed=4, n=4).symmetrised(order)
    volume = particle.moved(lean_rotation(np.array([3.0, 2.0])), [1.3, -0.8, 0.4]).volume((24, 24, 24))
    fit = find_axis(volume, order, search_radius=3.0, tilt_range_deg=8.0, radius=6.0, half_height=6.0)
    moved = move_map(volume, fit.rot_old_from_new, fit.origin_xyz)
    turned = symmetrise_map(moved, order)
    assert fit.score > 0.9
    assert np.corrcoef(moved.ravel(), turned.ravel())[0, 1] > 0.985


def test_an_empty_map_is_refused() -> None:
    """A map without density has no axis."""
    with pytest.raises(ValueError, match="empty"):
        find_axis(
            np.zeros((8, 8, 8), np.float32), 6, search_radius=2, tilt_range_deg=5, radius=2, half_height=2
        )


@pytest.mark.parametrize("shape", [(21, 22, 23), (24, 24, 24)])
def test_moved_map_is_that_of_the_moved_particle(shape: tuple[int, int, int]) -> None:
    """``new(x) = old(R x + origin)``: blobs at c come to rest at ``R^T (c - origin)``."""
    particle = BlobParticle.chiral(5.0, 1.5)
    rotation = Rotation.from_euler("zyx", [30, -20, 10], degrees=True).as_matrix()
    origin = np.array([0.7, -1.1, 0.4])
    got = move_map(particle.volume(shape), rotation, origin)
    truth = particle.moved(rotation.T, -rotation.T @ origin).volume(shape)
    assert np.abs(got - truth).max() < 0.03 * truth.max()


@pytest.mark.parametrize(("ratio", "n", "box"), [(2.0, 40, 20), (0.5, 21, 40), (1.25, 33, 25)])
def test_resampled_map_is_drawn_again(ratio: float, n: int, box: int) -> None:
    """A smooth particle on other voxels and another box is the same particle in other units."""
    particle = BlobParticle.chiral(5.0, 3.0 * max(ratio, 1.0), n=4)
    got = resample_map(particle.volume((n, n, n)), ratio, box)
    scaled = BlobParticle(particle.centres / ratio, particle.sigma / ratio, particle.weights)
    truth = scaled.volume((box, box, box))
    inner = slice(box // 4, box - box // 4)
    assert np.abs(got - truth)[inner, inner, inner].max() < 0.03 * truth.max()


def test_low_pass_takes_what_is_beyond_and_keeps_what_is_below(rng: np.random.Generator) -> None:
    """Waves on either side of the cut-off are kept and removed."""
    z = np.arange(32)[:, None, None] + np.zeros((32, 32, 32))
    slow, quick = np.cos(2 * np.pi * z * 3 / 32), np.cos(2 * np.pi * z * 10 / 32)
    got = low_pass((slow + quick).astype(np.float32), 0.2, 0.05)
    np.testing.assert_allclose(got, slow, atol=1e-5)


def test_layer_centre_is_where_the_mass_is() -> None:
    """A bright layer off the centre is found along z; bright things away from the axis do not count."""
    inside = BlobParticle(np.array([[0.0, 0.0, 3.0], [1.0, 0.0, 3.0]]), 1.0)
    beside = BlobParticle(np.array([[9.0, 0.0, -5.0]]), 1.0)
    volume = inside.volume((25, 24, 24)) + beside.volume((25, 24, 24))
    assert layer_centre(volume, 4.0) == pytest.approx(3.0, abs=0.1)
    assert layer_centre(np.zeros((9, 9, 9), np.float32), 3.0) == 0.0
