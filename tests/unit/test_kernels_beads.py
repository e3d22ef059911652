"""Finding beads in views: places, sizes, profiles; at the rim and next to each other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from staproj.kernels.beads import (
    estimate_diameter,
    filter_kernel,
    find_peaks,
    flatten,
    measure_profile,
    peaks_near,
    respond,
    sphere_profile,
)

Float = NDArray[np.float64]

DIAMETER_PX = 12.0
PLACE_ERROR_PX = 0.12  # 1 SD of noise, beads of 4 SD; a tenth of a pixel is what fine alignment counts on


def draw(shape: tuple[int, int], places_xy: Float, rng: np.random.Generator, depth: float = 4.0) -> Float:
    """Make one view ``[1, y, x]``: dark spheres at x, y from ``n // 2`` on a slope in noise."""
    y = np.arange(shape[0])[:, None] - shape[0] // 2
    x = np.arange(shape[1])[None, :] - shape[1] // 2
    image = rng.normal(100.0, 1.0, shape) + 0.02 * x + 0.01 * y
    for px, py in places_xy:
        inside = 1.0 - ((x - px) ** 2 + (y - py) ** 2) / (0.5 * DIAMETER_PX) ** 2
        image -= depth * np.sqrt(np.maximum(inside, 0.0))
    return image[None]


def sphere_filter() -> NDArray[np.float32]:
    """Return the matched filter of the beads drawn."""
    return filter_kernel(sphere_profile(np.arange(0, 24, 0.5), DIAMETER_PX), 0.5, DIAMETER_PX)


def nearest(found: Float, wanted: Float) -> tuple[Float, NDArray[np.int64]]:
    """Distance of each wanted place to the nearest found one, and which that is."""
    distance = np.linalg.norm(found[:, None] - wanted[None], axis=-1)
    return distance.min(axis=0), distance.argmin(axis=0)


@pytest.mark.parametrize("shape", [(160, 200), (161, 201), (160, 201)])
def test_beads_are_found_where_they_are(shape: tuple[int, int], rng: np.random.Generator) -> None:
    """All beads and nothing else above 8 SD, for odd and even sides, to a tenth of a pixel."""
    grid = np.stack(np.meshgrid([-75, -25, 25, 75], [-55, -5, 45]), axis=-1).reshape(-1, 2)
    places = grid + rng.uniform(-5, 5, grid.shape)
    response = respond(flatten(draw(shape, places, rng), DIAMETER_PX), sphere_filter())
    found = find_peaks(response[0], DIAMETER_PX, 8.0)
    distance, index = nearest(found.xy, places)
    assert len(found.xy) == len(places)
    assert sorted(index) == list(range(len(places)))
    assert np.sqrt(np.mean(distance**2) / 2) < PLACE_ERROR_PX
    assert (np.diff(found.height) <= 0).all()


def test_bright_blobs_and_noise_are_no_beads(rng: np.random.Generator) -> None:
    """Bright things and plain noise give no peak above 6 SD."""
    bright = draw((160, 200), np.array([[0.0, 0.0], [40.0, 20.0]]), rng, depth=-4.0)
    response = respond(flatten(bright, DIAMETER_PX), sphere_filter())
    assert len(find_peaks(response[0], DIAMETER_PX, 6.0).xy) == 0


def test_beads_at_the_rim_are_left_out(rng: np.random.Generator) -> None:
    """A bead that is not whole has no reliable centre."""
    places = np.array([[-99.0, 0.0], [0.0, 78.0], [10.0, 10.0]])
    response = respond(flatten(draw((160, 200), places, rng), DIAMETER_PX), sphere_filter())
    found = find_peaks(response[0], DIAMETER_PX, 8.0)
    assert len(found.xy) == 1
    xy, height = peaks_near(response[0], places, 4.0)
    assert np.isnan(height[:2]).all()
    np.testing.assert_allclose(xy[2], places[2], atol=0.4)


def test_peaks_are_looked_for_within_the_radius_only(rng: np.random.Generator) -> None:
    """A wrong prediction finds nothing instead of the slope of a bead farther off."""
    places = np.array([[20.0, -10.0]])
    response = respond(flatten(draw((160, 200), places, rng), DIAMETER_PX), sphere_filter())
    guesses = places + np.array([[2.0, 1.0], [9.0, 0.0]])
    xy, height = peaks_near(response[0], guesses, 4.0)
    np.testing.assert_allclose(xy[0], places[0], atol=0.4)
    assert np.isfinite(height[0])
    assert not height[1] > 0.7 * height[0]


def test_profile_is_that_of_a_sphere(rng: np.random.Generator) -> None:
    """The mean radial profile of drawn beads is the projected sphere, in units of the noise."""
    places = np.stack(np.meshgrid([-60, -20, 20, 60], [-40, 0, 40]), axis=-1).reshape(-1, 2) + 0.3
    flat = flatten(draw((161, 200), places, rng), DIAMETER_PX)
    profile = measure_profile(flat, np.zeros(len(places), dtype=np.int64), places, DIAMETER_PX)
    radius = np.arange(len(profile)) * 0.5
    wanted = 4.0 * sphere_profile(radius, DIAMETER_PX)
    inner = radius < 0.35 * DIAMETER_PX
    assert np.abs(profile - wanted)[inner].max() < 0.4
    assert np.abs(profile[radius > 0.7 * DIAMETER_PX]).max() < 0.3


@pytest.mark.parametrize("depth", [2.0, 6.0])
def test_diameter_is_measured(depth: float, rng: np.random.Generator) -> None:
    """The size of drawn spheres comes out within a tenth; where nothing is, nothing is claimed."""
    places = np.stack(np.meshgrid([-60, -10, 40], [-60, 0, 50]), axis=-1).reshape(-1, 2) + 0.3
    scales = np.geomspace(5.0, 50.0, 14)
    found = estimate_diameter(draw((200, 220), places, rng, depth), scales)
    assert found == pytest.approx(DIAMETER_PX, rel=0.1)
    assert estimate_diameter(draw((200, 220), places[:0], rng), scales) is None


def test_filter_ignores_a_constant() -> None:
    """The matched filter has no mean and unit power."""
    kernel = sphere_filter().astype(np.float64)
    assert kernel.sum() == pytest.approx(0.0, abs=1e-5)
    assert (kernel**2).sum() == pytest.approx(1.0, abs=1e-5)
    assert kernel.shape[0] % 2 == 1
