"""FSC, sharpening and masks: what must hold for any map, on every array library."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import scipy.fft

from staproj.kernels.fsc import (
    ShellSum,
    corrected_fsc,
    first_shell_below,
    fourier_shell_correlation,
    masked_fsc,
    resolution_angstrom,
)
from staproj.kernels.masking import (
    cylinder_mask,
    density_mask,
    inscribed_sphere,
    otsu_threshold,
    soft_edge,
    sphere_mask,
)
from staproj.kernels.sharpen import (
    apply_b_factor,
    divide_mtf,
    filter_by_shell,
    fsc_weight,
    guinier_fit,
    low_pass,
    shell_amplitudes,
)
from staproj.kernels.xp import to_host

SHAPES = [(16, 16, 16), (15, 15, 15), (12, 17, 20)]


def _direct_fsc(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum over the stored half of the transform in a plain loop over shells."""
    fa, fb = scipy.fft.rfftn(a), scipy.fft.rfftn(b)
    n = max(a.shape)
    axes = [np.fft.fftfreq(m) for m in a.shape[:2]] + [np.fft.rfftfreq(a.shape[2])]
    grid = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grid)) * n
    out = []
    for shell in range(n // 2 + 1):
        use = (radius >= shell - 0.5) & (radius < shell + 0.5)
        cross = np.sum(fa[use] * np.conj(fb[use])).real
        out.append(cross / np.sqrt(np.sum(np.abs(fa[use]) ** 2) * np.sum(np.abs(fb[use]) ** 2)))
    return np.array(out)


@pytest.mark.parametrize("shape", SHAPES)
def test_fsc_is_what_its_formula_says(
    xp: ModuleType, shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    """Odd, even, non-cubic maps on every library: equal to a loop over shells, symmetric, free of scale."""
    a = rng.normal(size=shape)
    b = a + 0.7 * rng.normal(size=shape)
    found = fourier_shell_correlation(xp.asarray(a), xp.asarray(b))
    np.testing.assert_allclose(found, _direct_fsc(a, b), atol=1e-10)
    np.testing.assert_allclose(
        fourier_shell_correlation(xp.asarray(b), xp.asarray(3.0 * a)), found, atol=1e-12
    )
    same = fourier_shell_correlation(xp.asarray(a), xp.asarray(a))
    np.testing.assert_allclose(same, 1.0, atol=1e-12)


def test_fsc_refuses_maps_of_different_size() -> None:
    """Two shapes are a mistake, not something to crop."""
    with pytest.raises(ValueError, match="shape"):
        fourier_shell_correlation(np.zeros((4, 4, 4)), np.zeros((4, 4, 5)))


def test_masked_noise_has_no_resolution(xp: ModuleType, rng: np.random.Generator) -> None:
    """Two noise maps under one tight mask correlate; the corrected curve does not, on any library."""
    n = 40
    # Sharing only the lowest frequencies, as noisy halves of one particle do.
    common = low_pass(rng.normal(size=(n, n, n)), 10.0, 1.0) * 3.0
    half = [common + 0.4 * rng.normal(size=(n, n, n)) for _ in range(2)]
    mask = np.asarray(sphere_mask((n, n, n), 4.0, 2.0), dtype=np.float64)
    found = masked_fsc(xp.asarray(half[0]), xp.asarray(half[1]), xp.asarray(mask), np.random.default_rng(1))
    start = found.randomised_from_shell
    assert 2 <= start <= 8
    tail = slice(start + 2, None)
    assert np.abs(found.corrected[tail]).mean() < 0.3
    np.testing.assert_array_equal(found.corrected[: start + 2], found.masked[: start + 2])
    again = masked_fsc(xp.asarray(half[0]), xp.asarray(half[1]), xp.asarray(mask), np.random.default_rng(1))
    np.testing.assert_array_equal(found.corrected, again.corrected)


def test_identical_maps_stay_at_one_under_a_mask(rng: np.random.Generator) -> None:
    """Nothing to randomise, nothing to correct."""
    volume = rng.normal(size=(20, 20, 20))
    found = masked_fsc(volume, volume, np.asarray(sphere_mask((20, 20, 20), 6, 3), dtype=float), rng)
    np.testing.assert_allclose(found.corrected, 1.0, atol=1e-9)
    assert found.randomised_from_shell == 11


def test_resolution_rules() -> None:
    """The shell before the first drop counts, later rises do not; a curve that never drops gives Nyquist."""
    curve = np.array([1.0, 0.9, 0.5, 0.1, 0.4, 0.0])
    assert first_shell_below(curve, 0.143) == 3
    assert resolution_angstrom(curve, 0.143, 10, 2.0) == pytest.approx(10.0)
    assert resolution_angstrom(np.ones(6), 0.143, 10, 2.0) == pytest.approx(4.0)
    assert resolution_angstrom(np.zeros(6), 0.143, 10, 2.0) == pytest.approx(20.0)


def test_correction_of_a_masked_curve() -> None:
    """From two shells after the first randomised one (M - R) / (1 - R), before that M."""
    masked = np.array([1.0, 0.9, 0.8, 0.7, 0.6, 0.5])
    randomised = np.array([1.0, 0.9, 0.8, 0.4, 0.2, 0.1])
    expected = [1.0, 0.9, 0.8, 0.5, 0.5, 0.4 / 0.9]
    np.testing.assert_allclose(corrected_fsc(masked, randomised, 1), expected)


def test_shell_sums_count_every_coefficient(xp: ModuleType) -> None:
    """Counts are those of the stored half transform, up to the last whole shell."""
    sums = ShellSum((6, 6, 6))
    assert sums.count[0] == 1
    assert sums.count[1] == 13  # radius 1 and sqrt(2): all 8 with x = 0, 5 with x = 1; x < 0 is not stored
    np.testing.assert_allclose(sums(xp.ones((6, 6, 4), dtype=xp.float64)), sums.count)


def test_b_factor_comes_back(xp: ModuleType, rng: np.random.Generator) -> None:
    """White noise with an envelope exp(-B/4 s^2), B = 80: the Guinier fit finds it, sharpening removes it."""
    voxel, n = 1.7, 33
    flat = rng.normal(size=(n, n, n))
    decayed = to_host(apply_b_factor(xp.asarray(flat), 80.0, voxel))
    frequency = np.arange(n // 2 + 1) / (n * voxel)
    fit = guinier_fit(shell_amplitudes(xp.asarray(decayed)), frequency, 10.0)
    assert fit.b_factor_angstrom2 == pytest.approx(-80.0, rel=0.05)
    restored = to_host(apply_b_factor(xp.asarray(decayed), fit.b_factor_angstrom2, voxel))
    fit = guinier_fit(shell_amplitudes(restored), frequency, 10.0)
    assert abs(fit.b_factor_angstrom2) < 0.5  # shells have a width


def test_guinier_fit_needs_shells() -> None:
    """Two shells do not make a plot."""
    with pytest.raises(ValueError, match="shells"):
        guinier_fit(np.ones(10), np.arange(10) / 300.0, 10.0)


def test_fsc_weight_stops_at_the_first_zero() -> None:
    """sqrt(2 F / (1 + F)), and nothing after the first shell without correlation."""
    weight = fsc_weight(np.array([1.0, 0.5, 1.0 / 3.0, 0.0, 0.9]))
    np.testing.assert_allclose(weight, [1.0, np.sqrt(2 / 3), np.sqrt(0.5), 0.0, 0.0])


@pytest.mark.parametrize("n", [24, 25])
def test_low_pass_keeps_and_cuts_waves(n: int) -> None:
    """A wave one shell below the edge passes, at the edge half of it, one shell beyond nothing."""
    x = np.arange(n)
    for shell, gain in ((4, 1.0), (5, 1.0), (6, 0.5), (7, 0.0), (8, 0.0)):
        wave = np.broadcast_to(np.cos(2 * np.pi * shell * x / n), (n, n, n))
        passed = low_pass(wave, n * 2.0 / 6.0, 2.0)
        np.testing.assert_allclose(passed, gain * wave, atol=1e-6)


def test_gain_by_shell_and_mtf(xp: ModuleType) -> None:
    """A wave of shell 3 is multiplied by gain[3]; dividing by an MTF of 0.5 there doubles it."""
    n = 16
    wave = np.broadcast_to(np.cos(2 * np.pi * 3 * np.arange(n) / n), (n, n, n)).copy()
    gain = np.arange(n // 2 + 1, dtype=np.float64)
    np.testing.assert_allclose(to_host(filter_by_shell(xp.asarray(wave), gain)), 3.0 * wave, atol=1e-9)
    mtf = np.array([1.0, 0.5, 0.2])
    divided = divide_mtf(xp.asarray(wave), np.array([0.0, 3 / n, 0.5]), mtf)
    np.testing.assert_allclose(to_host(divided), 2.0 * wave, atol=1e-6)


def test_soft_edge_by_distance() -> None:
    """One voxel grown by 2 (r < 2) with an edge of 4: values by distance along an axis."""
    inside = np.zeros((15, 16, 17), dtype=bool)
    inside[7, 8, 8] = True
    mask = soft_edge(inside, 2.0, 4.0)
    distance = np.arange(8) - 1.0
    expected = np.where(
        distance <= 0, 1.0, np.where(distance < 4, 0.5 + 0.5 * np.cos(np.pi * distance / 4), 0)
    )
    np.testing.assert_allclose(mask[7, 8, 8:16], expected, atol=1e-6)
    np.testing.assert_allclose(mask, mask[::-1], atol=0)


def test_shrinking_and_extremes() -> None:
    """A negative extension shrinks; nothing stays nothing, everything stays everything."""
    ball = inscribed_sphere((21, 21, 21), 6.0)
    assert 0 < soft_edge(ball, -2.0, 0.0).sum() < ball.sum()
    assert soft_edge(np.zeros((4, 4, 4), dtype=bool), 2.0, 2.0).sum() == 0
    assert soft_edge(np.ones((4, 4, 4), dtype=bool), 2.0, 2.0).sum() == 64


@pytest.mark.parametrize("shape", SHAPES)
def test_plain_masks_are_centred_on_n_half(shape: tuple[int, int, int]) -> None:
    """Sphere and cylinder stand about voxel n // 2, with the asked size."""
    centre = tuple(n // 2 for n in shape)
    sphere = sphere_mask(shape, 3.0, 2.0)
    cylinder = cylinder_mask(shape, 3.0, 6.0, 2.0)
    for mask in (sphere, cylinder):
        assert mask[centre] == 1.0
        weights = mask.astype(np.float64)
        for axis, n in enumerate(shape):
            others = tuple(a for a in range(3) if a != axis)
            profile = weights.sum(axis=others)
            assert np.average(np.arange(n), weights=profile) == pytest.approx(n // 2, abs=1e-6)
    assert sphere[centre[0], centre[1], centre[2] + 4] == pytest.approx(0.5)
    assert cylinder[centre[0] + 4, centre[1], centre[2]] == pytest.approx(0.5)
    assert cylinder[centre[0] + 3, centre[1], centre[2] + 3] == 1.0


def test_otsu_splits_two_levels(rng: np.random.Generator) -> None:
    """A background at 0 and a body at 5 are split between them, whatever their sizes."""
    values = np.concatenate([rng.normal(0, 0.5, 20000), rng.normal(5, 0.5, 1500)])
    assert 1.5 < otsu_threshold(values) < 4.0


def test_density_mask_stays_inside_its_bound() -> None:
    """Density outside of the bounding sphere does not enter the mask."""
    volume = np.zeros((24, 24, 24), dtype=np.float32)
    volume[12, 12, 12] = volume[12, 12, 22] = 1.0
    mask = density_mask(volume, 0.5, 0.0, 0.0, inscribed_sphere((24, 24, 24), 8.0))
    assert mask[12, 12, 12] == 1.0
    assert mask[12, 12, 22] == 0.0
