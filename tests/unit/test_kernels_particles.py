"""Slices, references, search, pose fits and averages against particles known in closed form."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from staproj.kernels.average import cyclic_rotations, divide_by_weight, map_from_sums, symmetrise_about_z
from staproj.kernels.ctf import ctf_2d, wavelength_angstrom
from staproj.kernels.pose_fit import fit_poses
from staproj.kernels.reference import PADDING, fit_box, reference_table, sample_reference
from staproj.kernels.search import rotation_grid, score_grid, shift_grid
from staproj.kernels.slices import (
    band_cube_shape,
    contrast_transfer,
    crop_patches,
    cube_from_volume,
    half_space_index,
    index_frequencies,
    insert_slices,
    volume_from_cube,
)
from tests.blob_particle import BlobParticle

BOX = 24


def _split(sums: NDArray[np.float32]) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    return (sums[..., 0] + 1j * sums[..., 1]).astype(np.complex64), sums[..., 2]


def _analytic_slices(
    particle: BlobParticle, rot_view_from_box: NDArray[np.float64], size: int
) -> NDArray[np.complex64]:
    """Return rfft2 transforms of projections by the formula of the transform, origin at the centre."""
    fy = np.fft.fftfreq(size)[:, None] + np.zeros((1, size // 2 + 1))
    fx = np.fft.rfftfreq(size)[None, :] + np.zeros((size, 1))
    k_view = np.stack([fx, fy, np.zeros_like(fx)], axis=-1)
    return np.stack([particle.transform(k_view @ rot) for rot in rot_view_from_box]).astype(np.complex64)


def test_slices_of_many_views_rebuild_the_map() -> None:
    """Central-slice theorem: slices inserted from all sides give back the map they are slices of."""
    particle = BlobParticle.chiral(6.0, 1.4)
    padded = 2 * BOX
    rotations = Rotation.random(400, random_state=1).as_matrix()
    slices = _analytic_slices(particle, rotations, padded)
    radius = padded // 2 - 1
    sums = np.zeros((1, *band_cube_shape(radius), 3), dtype=np.float32)
    turn = np.ascontiguousarray(np.swapaxes(rotations, 1, 2)[..., :2]).astype(np.float32)
    ones = np.ones(slices.shape, dtype=np.float32)
    insert_slices(slices, ones, turn, np.array([len(slices)]), radius, sums)
    data, weight = _split(sums[0])
    found = map_from_sums(data, weight, BOX, padded, radius)
    truth = particle.volume((BOX, BOX, BOX))
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.995
    assert np.isclose((found * truth).sum() / (truth * truth).sum(), 1.0, atol=0.06)


def test_insertion_is_the_adjoint_of_reading(rng: np.random.Generator) -> None:
    """<insert(s), G> equals <s, read(G)> for any slice and Hermitian cube, mates of kx = 0 included."""
    radius, size = 5, 16
    volume = rng.normal(size=(size, size, size)).astype(np.float32)
    cube = cube_from_volume(volume, radius)
    rotation = Rotation.from_euler("zyx", [20, 35, -50], degrees=True).as_matrix()
    slices = (
        rng.normal(size=(1, size, size // 2 + 1)) + 1j * rng.normal(size=(1, size, size // 2 + 1))
    ).astype(np.complex64)
    sums = np.zeros((1, *band_cube_shape(radius), 3), dtype=np.float32)
    turn = rotation.T[None, :, :2].astype(np.float32)
    insert_slices(slices, np.ones(slices.shape, np.float32), turn, np.array([1]), radius, sums)
    data, _ = _split(sums[0])
    once = np.ones(cube.shape)
    once[:, :, 0] = 0.5  # the plane kx = 0 holds both members of every pair
    left = float(np.sum(once * (np.conj(data) * cube).real))
    right = 0.0
    for y in range(-radius, radius + 1):
        for x in range(0 if y >= 0 else 1, radius + 1):
            k = rotation.T[:, :2] @ np.array([x, y])
            if k @ k > radius * radius + 1e-6:
                continue
            if x == 0 and y == 0:
                right += float((np.conj(slices[0, 0, 0]) * cube[radius + 1, radius + 1, 0]).real)
                continue
            k32 = (k / PADDING).astype(np.float32)[None]
            read = sample_reference(cube, np.eye(3, dtype=np.float32)[None], k32)[0, 0]
            right += float((np.conj(slices[0, y, x]) * read).real)
    assert left == pytest.approx(right, rel=2e-4)


def test_sums_do_not_depend_on_how_patches_are_shared_out(rng: np.random.Generator) -> None:
    """Any split of patches into slots gives the same totals."""
    radius, size, n = 4, 12, 7
    slices = rng.normal(size=(n, size, size // 2 + 1)).astype(np.complex64)
    weights = rng.uniform(size=slices.shape).astype(np.float32)
    turn = np.ascontiguousarray(Rotation.random(n, random_state=2).as_matrix()[..., :2]).astype(np.float32)
    totals = []
    for ends in ([7], [3, 7], [0, 1, 6, 7]):
        sums = np.zeros((len(ends), *band_cube_shape(radius), 3), dtype=np.float32)
        insert_slices(slices, weights, turn, np.array(ends), radius, sums)
        totals.append(sums.sum(axis=0))
    np.testing.assert_allclose(totals[1], totals[0], atol=2e-5)
    np.testing.assert_allclose(totals[2], totals[0], atol=2e-5)


def test_patches_outside_of_the_view_are_zero(rng: np.random.Generator) -> None:
    """A patch over the edge of a non-square view keeps its pixels in place and is 0 beyond."""
    views = rng.normal(size=(2, 9, 13)).astype(np.float32)
    cut = crop_patches(views, np.array([1, 0]), np.array([[-2, -1], [6, 10]]), 5)
    np.testing.assert_array_equal(cut[0, 2:, 1:], views[1, :3, :4])
    assert not cut[0, :2].any()
    np.testing.assert_array_equal(cut[1, :3, :3], views[0, 6:, 10:])
    assert not cut[1, 3:].any()


@pytest.mark.parametrize("size", [31, 48])
def test_contrast_agrees_with_the_ctf_formula(size: int) -> None:
    """The compiled CTF with its polynomial sine equals the plain formula, astigmatism included."""
    pixel, u, v, angle = 2.7, 25000.0, 23600.0, 28.0
    half, twice = 0.5 * (u - v), 2 * np.deg2rad(angle)
    defocus = np.array([[0.5 * (u + v), half * np.cos(twice), half * np.sin(twice)]], dtype=np.float32)
    wavelength = wavelength_angstrom(300.0)
    phase = np.arcsin(0.07) / (2 * np.pi)
    constants = np.array([[0.5 * wavelength, 0.25 * 2.7e7 * wavelength**3, phase]], dtype=np.float32)
    table = np.ones((1, 40), dtype=np.float32)
    step = 1.0 / (size * pixel)
    got = contrast_transfer(defocus, np.zeros(1, np.int64), constants, table, size, step, 1.0)
    truth = ctf_2d(
        np.fft.rfftfreq(size, pixel)[None, :],
        np.fft.fftfreq(size, pixel)[:, None],
        defocus_u_angstrom=u,
        defocus_v_angstrom=v,
        astigmatism_deg=angle,
        voltage_kv=300.0,
        spherical_aberration_mm=2.7,
        amplitude_contrast=0.07,
    )
    np.testing.assert_allclose(got[0], truth, atol=2e-4)


@pytest.mark.parametrize("size", [15, 16, 21])
def test_cube_and_map_are_inverse(size: int, rng: np.random.Generator) -> None:
    """A band-limited map survives the way to the band cube and back, odd and even boxes."""
    radius = size // 2 - 2
    volume = rng.normal(size=(size, size, size)).astype(np.float32)
    cube = cube_from_volume(volume, radius)
    back = volume_from_cube(cube, size)
    np.testing.assert_allclose(cube_from_volume(back, radius), cube, atol=2e-3)


@pytest.mark.parametrize("shape", [(17, 20, 13), (32, 32, 32)])
def test_fitting_a_box_keeps_the_centre(shape: tuple[int, int, int]) -> None:
    """Index n // 2 stays the centre when a map is cut or padded."""
    particle = BlobParticle(np.array([[1.0, -2.0, 1.5]]), 1.2)
    np.testing.assert_allclose(
        fit_box(particle.volume(shape), 14)[1:13, 1:13, 1:13],
        particle.volume((14, 14, 14))[1:13, 1:13, 1:13],
        atol=1e-6,
    )


def test_reference_reads_as_the_turned_particle() -> None:
    """The table read at R^T k is the transform of the particle turned by R, to 3 % of its power."""
    particle = BlobParticle.chiral(5.0, 1.3)
    radius = 9
    table = reference_table(particle.volume((BOX, BOX, BOX)), radius)
    k = index_frequencies(radius, half_space_index(radius))
    rotations = Rotation.random(3, random_state=5).as_matrix()
    got = sample_reference(table, rotations.astype(np.float32), k)
    for rotation, found in zip(rotations, got, strict=True):
        truth = particle.moved(rotation, np.zeros(3)).transform(k / BOX)
        assert np.linalg.norm(found - truth) < 0.03 * np.linalg.norm(truth)


def test_half_space_holds_every_pair_once() -> None:
    """No coefficient's mate is in the list, and list plus mates are the whole ball."""
    k = index_frequencies(4, half_space_index(4)).astype(int)
    own = {tuple(row) for row in k}
    assert not own & {tuple(-row) for row in k}
    grid = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), axis=-1).reshape(-1, 3)
    ball = (grid**2).sum(axis=1)
    assert 2 * len(own) == int(((ball <= 16) & (ball > 0)).sum())


def test_grid_search_finds_turn_and_shift(xp: ModuleType) -> None:
    """The best place on the grid is where the particle was put; the score there is the norm of the signal."""
    particle = BlobParticle.chiral(6.0, 1.5)
    radius = 7
    index = half_space_index(radius)
    k = index_frequencies(radius, index)
    rotations = rotation_grid(0.0, 180.0, 30.0)
    shifts = shift_grid(4.0, 2.0, 2.0)
    turn, move = 4, int(np.flatnonzero((shifts == [2.0, -2.0, 2.0]).all(axis=1))[0])
    data = particle.moved(rotations[turn], shifts[move]).transform(k / BOX)
    stack = np.stack([data, 3.0 * data]).astype(np.complex64)
    weight = np.ones(stack.shape, dtype=np.float32)
    rotated = np.stack([particle.moved(r, np.zeros(3)).transform(k / BOX) for r in rotations])
    arrays = (stack, weight, rotated.astype(np.complex64), (k / BOX).astype(np.float32), shifts)
    found = score_grid(*[xp.asarray(a) for a in arrays], 2)
    assert [int(r) for r in found.rotation[0, :]] == [turn, turn]
    assert [int(s) for s in found.shift[0, :]] == [move, move]
    assert float(found.score[0, 0]) == pytest.approx(float(np.linalg.norm(data)), rel=1e-4)
    assert float(found.score[0, 1]) == pytest.approx(3 * float(found.score[0, 0]), rel=1e-4)
    assert int(found.rotation[1, 0]) != turn


def test_rotation_grid_covers_its_cap() -> None:
    """Every pose within range has a grid point nearby, and a period has no double end."""
    step = 10.0
    grid = Rotation.from_matrix(rotation_grid(20.0, 180.0, step, 60.0))
    rng = np.random.default_rng(0)
    tilt, azimuth, spin = np.sqrt(rng.uniform(0, 1, 60)) * 19, rng.uniform(0, 360, 60), rng.uniform(0, 60, 60)
    for a, t, s in zip(azimuth, tilt, spin, strict=True):
        pose = Rotation.from_euler("ZYZ", [a, t, s - a], degrees=True)
        copies = [pose * Rotation.from_euler("z", 60.0 * c, degrees=True) for c in range(6)]
        nearest = min((copy.inv() * grid).magnitude().min() for copy in copies)
        assert np.rad2deg(nearest) < 0.95 * step
    assert len(rotation_grid(0.0, 30.0, 10.0, 60.0)) == 6
    assert len(rotation_grid(0.0, 20.0, 10.0, 60.0)) == 5


def _fit(
    turn: Rotation, shift: NDArray[np.float64], noise: float, limits: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    particle = BlobParticle.chiral(6.0, 1.3)
    radius = 9
    k = index_frequencies(radius, half_space_index(radius))
    table = reference_table(particle.volume((BOX, BOX, BOX)), radius)
    data = particle.moved(turn.as_matrix(), shift).transform(k / BOX)
    rng = np.random.default_rng(1)
    scatter = rng.normal(size=data.shape) + 1j * rng.normal(size=data.shape)
    noisy = (data + noise * np.sqrt(np.mean(np.abs(data) ** 2)) * scatter).astype(np.complex64)[None]
    poses = np.zeros((1, 4, 3))
    poses[0, :3] = np.eye(3)
    bounds = np.array([np.deg2rad(limits[0]), limits[1], BOX])
    weight = np.ones(noisy.shape, dtype=np.float32)
    scores = fit_poses(table, k, noisy, weight, poses, np.zeros(1, np.int64), bounds, 25)
    return poses[0], scores


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_pose_fit_recovers_turn_and_shift(noise: float) -> None:
    """From the identity, a turn of 8 degrees and a shift of 1.3 voxels are found to a fraction of either."""
    turn = Rotation.from_rotvec(np.deg2rad([4.0, -5.0, 5.0]))
    shift = np.array([0.9, -0.7, 0.6])
    pose, _ = _fit(turn, shift, noise, (30.0, 5.0))
    off = np.rad2deg((turn.inv() * Rotation.from_matrix(pose[:3])).magnitude())
    assert off < (0.3 if noise == 0 else 1.0)
    assert np.linalg.norm(pose[3] - shift) < (0.03 if noise == 0 else 0.15)


def test_pose_fit_stays_within_its_limits() -> None:
    """A pose never leaves the turn and shift allowed about its start, however much better it is outside."""
    turn = Rotation.from_rotvec(np.deg2rad([0.0, 9.0, 0.0]))
    pose, _ = _fit(turn, np.array([2.0, 0.0, 0.0]), 0.0, (3.0, 0.5))
    assert np.rad2deg(Rotation.from_matrix(pose[:3]).magnitude()) <= 3.0 + 1e-6
    assert np.linalg.norm(pose[3]) <= 0.5 + 1e-9


@pytest.mark.parametrize("order", [2, 3, 5, 6])
def test_symmetrised_sums_are_those_of_all_copies(order: int) -> None:
    """Turning the summed transform about z equals summing the transforms of the turned particles."""
    particle = BlobParticle.chiral(3.0, 1.6)
    radius = 10
    size = 4 * BOX // 2
    cube = cube_from_volume(particle.volume((size, size, size)), radius)
    truth = cube_from_volume(particle.symmetrised(order).volume((size, size, size)), radius)
    got = symmetrise_about_z(cube, order)
    m = radius + 1
    inner = (slice(2, 2 * m - 1), slice(2, 2 * m - 1), slice(0, m - 1))
    assert np.linalg.norm(got[inner] - truth[inner]) < 0.01 * np.linalg.norm(truth[inner])


def test_cyclic_rotations_turn_z_into_itself() -> None:
    """Cn about z: n proper rotations, the n-th power of the first is the identity."""
    turns = cyclic_rotations(6)
    np.testing.assert_allclose(turns @ [0, 0, 1], np.tile([0, 0, 1], (6, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.matrix_power(turns[1], 6), np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turns), 1.0)


def test_coefficients_without_weight_stay_zero() -> None:
    """Where nothing was measured the average is 0; where much was, it is data over weight."""
    radius = 3
    shape = band_cube_shape(radius)
    weight = np.full(shape, 4.0, dtype=np.float32)
    weight[:, :, 2] = 0.0
    data = np.where(weight > 0, 8.0, 0.0).astype(np.complex64)
    out = divide_by_weight(data, weight, radius)
    assert not out[:, :, 2].any()
    assert abs(out[radius + 1, radius + 1, 1] - 2.0) < 0.15
