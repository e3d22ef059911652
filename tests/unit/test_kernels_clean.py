"""Outlying pixels: every planted spike is found, beads and noise are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from staproj.kernels.clean import (
    SpikeOptions,
    dark_views,
    fill_from_neighbours,
    fill_patches,
    find_defects,
    find_spikes,
)

OPTIONS = SpikeOptions()


def _view(rng: np.random.Generator, shape: tuple[int, int] = (261, 300), mean: float = 60.0) -> np.ndarray:
    """Return counts with ten dark beads, bright Fresnel fringes around them, and a gradient."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    expected = mean * (1.0 + 0.3 * x / shape[1])
    for by, bx in rng.uniform(20, min(shape) - 20, (10, 2)):
        radius = np.hypot(y - by, x - bx)
        expected = expected * np.where(radius < 9, 0.3, 1.0) * np.where(np.abs(radius - 11) < 1.5, 1.25, 1.0)
    return rng.poisson(expected).astype(np.float32)


def _plant(view: np.ndarray, rng: np.random.Generator, n: int = 15) -> tuple[np.ndarray, np.ndarray]:
    spoiled, mask = view.copy(), np.zeros(view.shape, dtype=bool)
    while mask.sum() < n:
        y, x = rng.integers(2, view.shape[0] - 2), rng.integers(2, view.shape[1] - 2)
        if mask[y - 2 : y + 3, x - 2 : x + 3].any():
            continue
        spoiled[y, x] += rng.uniform(150, 3000)
        mask[y, x] = True
    return spoiled, mask


def test_spikes_are_found_and_beads_are_not(rng: np.random.Generator) -> None:
    """All planted spikes and nothing else, in a view with beads, fringes and a gradient."""
    spoiled, mask = _plant(_view(rng), rng)
    found = find_spikes(spoiled, OPTIONS)
    np.testing.assert_array_equal(found.mask, mask)
    assert found.count == 15


def test_clean_view_is_left_alone(rng: np.random.Generator) -> None:
    """Nothing is found in counting noise, at low counts either."""
    for mean in (60.0, 1.0):
        assert find_spikes(_view(rng, mean=mean), OPTIONS).count == 0


def test_spikes_of_several_pixels(rng: np.random.Generator) -> None:
    """A hit that spread over three pixels is one spike of three pixels."""
    view = rng.normal(100, 5, (120, 131)).astype(np.float32)
    for y, x, value in ((50, 60, 900), (50, 61, 450), (51, 60, 300)):
        view[y, x] += value
    found = find_spikes(view, OPTIONS)
    assert found.count == 1
    assert set(zip(*np.nonzero(found.mask), strict=True)) == {(50, 60), (50, 61), (51, 60)}


def test_large_bright_things_are_not_spikes(rng: np.random.Generator) -> None:
    """A bright disc of 30 px (a hole, a crystal) is kept and counted as too large or not seen at all."""
    y, x = np.mgrid[:150, :150]
    view = rng.normal(100, 5, (150, 150)) + 80.0 * (np.hypot(y - 70, x - 75) < 15)
    assert not find_spikes(view.astype(np.float32), OPTIONS).mask.any()


@pytest.mark.parametrize("corner", [(0, 0), (0, 99), (79, 0), (79, 50)])
def test_spikes_at_borders(rng: np.random.Generator, corner: tuple[int, int]) -> None:
    """Spikes at the border of a view are found and filled."""
    view = rng.normal(100, 5, (80, 100)).astype(np.float32)
    view[corner] = 5000.0
    found = find_spikes(view, OPTIONS)
    assert found.mask[corner]
    assert abs(fill_patches(view, found.mask, OPTIONS)[corner] - 100) < 20


def test_fill_follows_a_slope() -> None:
    """A patch in a quadratic surface is filled with that surface; other pixels stay as they are."""
    y, x = np.mgrid[:40, :50].astype(float)
    surface = (100 + 0.5 * x - 0.8 * y + 0.01 * x * y + 0.02 * x * x).astype(np.float32)
    mask = np.zeros(surface.shape, dtype=bool)
    mask[20:23, 30:32] = True
    spoiled = np.where(mask, 9999, surface).astype(np.float32)
    np.testing.assert_allclose(fill_patches(spoiled, mask, OPTIONS), surface, rtol=1e-4)


def test_defects_of_a_camera(rng: np.random.Generator) -> None:
    """Hot, dead and adjacent hot pixels of a sum of frames are found, and nothing else."""
    total = rng.poisson(66.0, (101, 120)).astype(np.float32)
    planted = np.zeros(total.shape, dtype=bool)
    for y, x, value in ((10, 20, 300), (50, 60, 400), (50, 61, 380), (0, 0, 500), (80, 90, 0)):
        total[y, x] = value
        planted[y, x] = True
    np.testing.assert_array_equal(find_defects(total, 8.0), planted)
    assert not find_defects(np.zeros((20, 30), dtype=np.float32), 8.0).any()


def test_defects_are_filled_from_good_neighbours() -> None:
    """Filled pixels hold the mean of good neighbours, in blocks larger than the window as well."""
    image = np.full((30, 40), 7.0, dtype=np.float32)
    mask = np.zeros(image.shape, dtype=bool)
    mask[5, 6], mask[10:19, 10:19], mask[0, 0] = True, True, True
    image[mask] = 1e6
    np.testing.assert_allclose(fill_from_neighbours(image, mask), 7.0)


def test_dark_views() -> None:
    """A blank view is told from high tilts, which are dark because the ice is thick there."""
    tilt = np.arange(-60.0, 61.0, 5.0)
    mean = 90.0 * np.exp(-0.4 / np.cos(np.deg2rad(tilt)))
    exposure = np.full(len(tilt), 3.0)
    mean[3] *= 0.02
    mean[20], exposure[20] = 0.5 * mean[20], 1.5
    dark, ratio = dark_views(mean, exposure, tilt, 0.3)
    assert np.flatnonzero(dark).tolist() == [3]
    np.testing.assert_allclose(np.delete(ratio, 3), 1.0, atol=0.01)
    assert ratio[3] == pytest.approx(0.02, abs=0.002)


# Mean counts of the 41 views of EMPIAR-10164 TS_01, -60 to 60 deg, from its mdoc (MinMaxMean).
TS_01_MEAN = (
    2.75034, 353.779, 387.337, 418.049, 446.194, 470.977, 493.692, 513.339, 531.864, 547.214,
    561.654, 572.728, 585.032, 592.983, 601.734, 608.334, 613.459, 617.828, 620.849, 622.672,
    623.699, 624.079, 623.973, 620.293, 617.219, 612.604, 606.825, 599.619, 590.564, 580.398,
    568.368, 554.103, 539.629, 522.271, 503.221, 479.977, 456.427, 429.238, 399.15, 364.717, 329.46,
)  # fmt: skip


def test_dark_view_of_a_real_series() -> None:
    """Of the real TS_01 only the view at -60 deg is blank, and everybody leaves it out."""
    dark, ratio = dark_views(np.array(TS_01_MEAN), np.full(41, 2.4), np.linspace(-60.0, 60.0, 41), 0.3)
    assert np.flatnonzero(dark).tolist() == [0]
    assert np.abs(ratio[1:] - 1.0).max() < 0.1
