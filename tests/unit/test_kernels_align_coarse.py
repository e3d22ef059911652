"""Correlation and coarse alignment: signs, sub-pixel places, odd and even sizes."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from staproj.kernels.align_coarse import (
    CoarseSettings,
    align_views,
    apply_stretch,
    chain,
    stretch_matrix,
)
from staproj.kernels.correlate import (
    band_pass,
    correlation_map,
    edge_taper,
    find_peak,
    parabola_vertex,
)

Float = NDArray[np.float64]


def blobs(shape: tuple[int, int], places_xy: Float, sigma: float = 3.0) -> NDArray[np.float32]:
    """Draw Gaussians at x, y from the centre ``n // 2``."""
    y = np.arange(shape[0])[:, None] - shape[0] // 2
    x = np.arange(shape[1])[None, :] - shape[1] // 2
    image = np.zeros(shape)
    for px, py in places_xy:
        image -= np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / sigma**2)
    return image.astype(np.float32)


@pytest.mark.parametrize("shape", [(96, 120), (95, 120)])
def test_peak_is_where_the_second_image_went(shape: tuple[int, int], rng: np.random.Generator) -> None:
    """``second(x) = first(x - d)`` gives +d, to 0.1 px (parabolas have a bias), also across the middle."""
    places = rng.uniform(-16, 16, (6, 2))
    for shift in ((3.3, -7.6), (-20.25, 12.5)):
        first, second = blobs(shape, places), blobs(shape, places + np.array(shift[::-1]))
        weight = band_pass(shape, 0.03, 0.25, 0.05)
        found = find_peak(correlation_map(scipy.fft.rfft2(first), scipy.fft.rfft2(second), weight))
        np.testing.assert_allclose(found.shift_yx, shift, atol=0.1)
        assert found.height_sd > 5


def test_correlation_is_the_same_in_every_library(xp: ModuleType, rng: np.random.Generator) -> None:
    """numpy, the strict array API and cupy give the same map."""
    first, second = (rng.normal(size=(24, 30)).astype(np.float32) for _ in range(2))
    weight = band_pass((24, 30), 0.05, 0.3, 0.05)
    wanted = correlation_map(scipy.fft.rfft2(first), scipy.fft.rfft2(second), weight)
    parts = [xp.asarray(scipy.fft.rfft2(image)) for image in (first, second)]
    found = correlation_map(*parts, xp.asarray(weight))
    host = found.get() if hasattr(found, "get") else np.asarray(found)
    np.testing.assert_allclose(host, wanted, atol=1e-4 * np.abs(wanted).max())


def test_far_peaks_can_be_forbidden(rng: np.random.Generator) -> None:
    """The limit is on the length of the displacement, not on each axis."""
    correlation = rng.normal(0, 0.01, (40, 40))
    correlation[9, 9], correlation[2, 37] = 2.0, 1.0
    assert find_peak(correlation).shift_yx == pytest.approx((9, 9), abs=0.1)
    assert find_peak(correlation, 12.0).shift_yx == pytest.approx((2, -3), abs=0.1)


def test_parabola_has_its_vertex_where_it_should() -> None:
    """Three points of a known parabola, a plateau, and an array of them."""
    peak = 0.3
    values = [5.0 - (x - peak) ** 2 for x in (-1, 0, 1)]
    assert parabola_vertex(*values) == pytest.approx(peak)
    assert parabola_vertex(1.0, 1.0, 1.0) == 0.0
    np.testing.assert_allclose(parabola_vertex(*(np.array([v, v]) for v in values)), [peak, peak])


def test_filters_are_what_their_names_say() -> None:
    """No mean, unity in the pass band, half a Gaussian beyond; tapers are 1 inside and fall at the rim."""
    shape = (64, 64)
    weight = band_pass(shape, 0.02, 0.25, 0.05)
    assert weight[0, 0] == 0.0
    assert weight[0, 10] == pytest.approx(1.0, abs=1e-3)
    assert weight[0, int(0.3 * 64)] == pytest.approx(np.exp(-0.5 * ((19 / 64 - 0.25) / 0.05) ** 2), abs=1e-3)
    taper = edge_taper((30, 41))
    assert taper[15, 20] == 1.0
    assert taper[0].max() < 0.3


@pytest.mark.parametrize("shape", [(80, 90), (81, 93)])
def test_stretch_moves_content_away_from_the_axis(shape: tuple[int, int]) -> None:
    """For an axis along y (0 deg) x is stretched about n // 2, for one along x (90 deg) y is."""
    point = np.array([[12.0, 9.0]])
    for axis, wanted in ((0.0, [15.0, 9.0]), (90.0, [12.0, 11.25])):
        moved = apply_stretch(blobs(shape, point), stretch_matrix(axis, 1.25))
        place = scipy.ndimage.center_of_mass(np.where(-moved > 0.3, -moved, 0))
        np.testing.assert_allclose([place[1] - shape[1] // 2, place[0] - shape[0] // 2], wanted, atol=0.1)


def test_views_are_chained_from_the_middle() -> None:
    """Every used view follows the next less tilted one; views that are not used are jumped over."""
    tilt = np.array([-6.0, -3.0, 0.0, 3.0, 6.0])
    used = np.array([True, True, True, False, True])
    assert chain(tilt, used) == [(2, 4), (2, 1), (1, 0)]


@pytest.mark.parametrize("axis", [0.0, 85.3, 170.0])
def test_known_shifts_come_back(axis: float, rng: np.random.Generator) -> None:
    """Flat specimens: shifts of all views are found to half a pixel, an unused view lies between others."""
    tilt = np.arange(-45.0, 46.0, 5.0)
    shift = np.cumsum(rng.normal(0, 3, (len(tilt), 2)), axis=0)
    shift -= shift[9]
    points = rng.uniform(-60, 60, (12, 2))
    angle = np.deg2rad(axis)
    across = np.array([np.cos(angle), np.sin(angle)])
    images = []
    for theta, move in zip(np.deg2rad(tilt), shift, strict=True):
        squeezed = points + (np.cos(theta) - 1.0) * (points @ across)[:, None] * across
        images.append(blobs((160, 180), squeezed + move) + rng.normal(0, 0.1, (160, 180)))
    used = np.ones(len(tilt), dtype=bool)
    used[3] = False
    found = align_views(np.array(images), tilt, axis, used, CoarseSettings())
    assert np.abs(found.shift_xy - shift)[used].max() < 0.7
    np.testing.assert_allclose(found.shift_xy[3], 0.5 * (found.shift_xy[2] + found.shift_xy[4]))
    assert np.isnan(found.peak_sd[9])
    assert found.neighbour[9] == -1


def test_noise_is_not_believed(rng: np.random.Generator) -> None:
    """Views without content take the shift of their neighbour instead of a random one."""
    images = rng.normal(size=(5, 64, 64)).astype(np.float32)
    tilt = np.arange(-6.0, 7.0, 3.0)
    found = align_views(images, tilt, 85.0, np.ones(5, dtype=bool), CoarseSettings())
    np.testing.assert_allclose(found.shift_xy, 0.0, atol=1e-12)
    with pytest.raises(ValueError, match="no view"):
        align_views(images, tilt, 85.0, np.zeros(5, dtype=bool), CoarseSettings())
