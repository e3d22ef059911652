"""Thon rings: tables, likelihoods, and what they leave out."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from staproj.kernels import ctf_fit as fit
from tests.tilt_images import ctf_image

OPTICS = fit.Optics(300.0, 2.7, 0.07)


def _bins(tile=128, px=3.0):
    return fit.spectrum_bins(tile, px, 1 / 40, 1 / 6.5, 12)


def _residual(image, tile, bins):
    positions = fit.tile_positions(image.shape, tile)
    spectra = fit.tile_spectra(image.astype(np.float32), positions, tile, bins)
    mean = np.einsum("tsk,sk->k", spectra, bins.count) / (bins.count.sum(axis=0) * len(positions))
    smooth = fit.smooth_spectrum(bins.frequency, mean, bins.count.sum(axis=0), 3)
    return (spectra / smooth - 1.0).astype(np.float32)


def test_tiles_cover_the_image_and_overlap_by_half():
    """Tiles start at 0, end at the rim, and step by at most half a tile, on odd and non-square images."""
    positions = fit.tile_positions((301, 415), 96)
    for axis, n in ((0, 415), (1, 301)):
        starts = np.unique(positions[:, axis])
        assert starts[0] == 0
        assert starts[-1] == n - 96
        assert np.diff(starts).max() <= 48
    np.testing.assert_array_equal(fit.tile_positions((96, 96), 96), [[0, 0]])


def test_rings_count_every_coefficient_once():
    """Together the bins hold each independent coefficient between the limits exactly once."""
    bins = _bins()
    fy, fx = np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)[None, :]
    ring = np.rint(np.hypot(fy, fx) * 128)
    step = 1 / (128 * 3.0)
    first, last = np.ceil(1 / 40 / step), int(1 / 6.5 / step)
    independent = (ring >= first) & (ring <= last) & ~((fx == 0) & (fy < 0))
    assert bins.count.sum() == independent.sum()
    middle = bins.frequency[len(bins.frequency) // 2]
    assert (
        abs(middle - np.sqrt(np.mean(np.hypot(fy, fx)[ring == np.rint(middle / step)] ** 2)) / 3.0)
        < 1e-3 * middle
    )


@pytest.mark.parametrize(("defocus", "astigmatism", "angle"), [(21000.0, 0.0, 0.0), (34000.0, 1600.0, 35.0)])
def test_defocus_and_astigmatism_of_one_image(rng, defocus, astigmatism, angle):
    """The likelihood's peak lies at the defocus, and the astigmatism, that an image was made with."""
    shape = (500, 460)
    ctf = ctf_image(shape, 3.0, defocus + astigmatism / 2, defocus - astigmatism / 2, angle)
    image = 0.7 * scipy.fft.ifft2(
        scipy.fft.fft2(rng.standard_normal(shape)) * ctf
    ).real + rng.standard_normal(shape)
    bins = _bins(tile=240)  # rings of 3.4 µm are finer than a smaller tile resolves
    residual = _residual(image, 240, bins)
    grid = np.arange(8000.0, 60000.0, 50.0)
    table = fit.thon_table(grid, bins, np.ones(len(bins.frequency)), OPTICS, 3)
    view = fit.view_likelihood(residual, np.zeros(len(residual)), bins, table, slice(0, len(grid)))
    best = int(np.argmax(view.ratio()))
    assert abs(grid[best] - defocus) < 150 + 0.1 * astigmatism
    if astigmatism:
        a, b = np.meshgrid(np.arange(-24, 25, 2.0), np.arange(-24, 25, 2.0))
        score = fit.astigmatic_ratio(
            view, float(best) + np.arange(-12.0, 13.0)[:, None, None], a, b, bins.azimuth_deg
        )
        i = np.unravel_index(np.argmax(score.max(axis=0)), a.shape)
        along, across = 50 * a[i], 50 * b[i]
        assert abs(2 * np.hypot(along, across) - astigmatism) < 300
        assert abs(0.5 * np.rad2deg(np.arctan2(across, along)) - angle) < 8


def test_white_noise_has_the_likelihood_that_chance_gives():
    """On noise, twice the ratio at a fixed defocus has the mean of half a chi square (0.5), not tens."""
    rng = np.random.default_rng(3)
    bins = _bins()
    grid = np.arange(10000.0, 50000.0, 100.0)
    table = fit.thon_table(grid, bins, np.ones(len(bins.frequency)), OPTICS, 3)
    values = []
    for _ in range(12):
        residual = _residual(rng.standard_normal((300, 331)), 128, bins)
        view = fit.view_likelihood(residual, np.zeros(len(residual)), bins, table, slice(0, len(grid)))
        values.append(2 * view.ratio())
    assert 0.15 < np.mean(values) < 1.2


def test_offsets_move_the_look_up_and_must_stay_in_the_table(rng):
    """A tile 1000 Å deeper is compared with rings of 1000 Å more defocus; beyond the table is an error."""
    bins = _bins()
    grid = np.arange(10000.0, 30000.0, 50.0)
    table = fit.thon_table(grid, bins, np.ones(len(bins.frequency)), OPTICS, 3)
    residual = rng.standard_normal((1, *bins.count.shape)).astype(np.float32)
    plain = fit.view_likelihood(residual, np.zeros(1), bins, table, slice(0, len(grid)))
    moved = fit.view_likelihood(residual, np.array([1000.0]), bins, table, slice(40, 300))
    np.testing.assert_allclose(moved.overlap, plain.overlap[:, 60:320], rtol=1e-5)
    with pytest.raises(ValueError, match="too short"):
        fit.view_likelihood(residual, np.array([1000.0]), bins, table, slice(40, len(grid)))


def test_models_hold_nothing_smooth():
    """Tabulated spectra are orthogonal to polynomials of the given degree under the rings' weights."""
    bins = _bins()
    table = fit.thon_table(np.array([15000.0, 40000.0]), bins, np.exp(-bins.frequency * 9), OPTICS, 3)
    count = bins.count.mean(axis=0)
    for degree in range(4):
        overlap = (table.model * count) @ bins.frequency**degree
        scale = (np.abs(table.model) * count) @ bins.frequency**degree
        assert np.all(np.abs(overlap) < 1e-4 * scale)


def test_shared_evidence_adds_up_over_views():
    """Views that each say little agree on a defocus; a single outlier does not move it."""
    index = np.arange(400)
    weak = [1.5 * np.exp(-0.5 * ((index - 200 - d) / 20) ** 2) for d in range(-10, 11)]
    outlier = 30 * np.exp(-0.5 * ((index - 50) / 5) ** 2)
    curve = fit.shared_defocus_evidence(np.array([*weak, outlier]), spread=20.0)
    assert abs(int(np.argmax(curve)) - 200) < 12


def test_equiphase_average_sharpens_rings(rng):
    """Tiles of different defocus blur a plain mean; moved to one defocus their rings have full contrast."""
    bins = _bins()
    defocus = np.linspace(24000.0, 36000.0, 25)[:, None] + np.zeros((1, 12))
    k = bins.frequency
    lam = 0.0196875
    residual = np.stack([np.cos(2 * np.pi * lam * d * k**2) for d in defocus[:, 0]])[:, None, :]
    residual = np.broadcast_to(residual, (25, 12, len(k))).astype(np.float32)
    mean, weight = fit.equiphase_average(residual, defocus, bins, 30000.0)
    expected = np.cos(2 * np.pi * lam * 30000.0 * k**2)
    inner = slice(3, 30)
    assert np.corrcoef(mean[inner], expected[inner])[0, 1] > 0.97
    assert np.std(mean[inner]) > 2 * np.std(residual.mean(axis=(0, 1))[inner])
    assert weight.min() >= 0
