"""Beads in volumes and views."""

from __future__ import annotations

import numpy as np

from staproj.kernels import gold


def _disc(shape, x0, y0, radius):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.where(np.hypot(x - x0, y - y0) <= radius, -10.0, 0.0)


def test_dark_balls_are_the_highest_peaks(rng):
    """Three dark balls in noise give three peaks at their places, far above the rest."""
    shape = (31, 60, 55)
    z, y, x = np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij")
    places = np.array([[10.0, -12.0, 3.0], [-15.0, 8.0, -6.0], [0.0, 20.0, 0.0]])
    volume = rng.standard_normal(shape)
    for cx, cy, cz in places:
        volume[(x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 <= 9] -= 6.0
    position, height = gold.bead_peaks(volume.astype(np.float32), 6.0, 5.0, 50)
    for place in places:
        assert np.linalg.norm(position[:3] - place, axis=1).min() <= 1.5
    assert len(height) == 3 or height[2] > 2 * height[3]


def test_contrast_tells_a_bead_from_background(rng):
    """A disc 10 SD dark has that contrast; background has none; a place at the rim has no value."""
    image = (_disc((80, 90), 30.4, 41.2, 4.0) + rng.standard_normal((80, 90))).astype(np.float32)
    contrast = gold.disc_contrast(image, np.array([[30.4, 41.2], [65.0, 20.0], [1.0, 40.0]]), 8.0)
    assert abs(contrast[0] - 10.0) < 1.0
    assert abs(contrast[1]) < 0.5
    assert np.isnan(contrast[2])


def test_the_centroid_finds_a_displaced_bead(rng):
    """Started two pixels off, the centroid comes within 0.2 px; far from any bead there is none."""
    image = (_disc((80, 90), 30.4, 41.2, 5.0) + 0.5 * rng.standard_normal((80, 90))).astype(np.float32)
    found = gold.dark_centroid(image, np.array([[32.0, 40.0], [30.4, 200.0]]), 10.0)
    np.testing.assert_allclose(found[0], [30.4, 41.2], atol=0.2)
    assert np.isnan(found[1]).all()


def test_triangulation_is_exact_and_ignores_what_is_missing(rng):
    """Points come back from their projections; NaN and zero weights do not count; two views are too few."""
    projection = rng.standard_normal((7, 2, 3))
    offset = rng.standard_normal((7, 2))
    points = rng.standard_normal((3, 3)) * 50
    seen = np.einsum("vai,ni->nva", projection, points) + offset
    weight = np.ones((3, 7))
    seen[0, 2] = np.nan
    seen[1, 3] += 100.0
    weight[1, 3] = 0.0
    weight[2, 2:] = 0.0
    found = gold.triangulate(projection, offset, seen, weight)
    np.testing.assert_allclose(found[:2], points[:2], atol=1e-5)
    assert np.isnan(found[2]).all()


def test_the_gap_lies_between_two_groups():
    """The threshold falls between noise and beads, wherever between the limits the beads are."""
    noise, beads = np.linspace(0.1, 1.4, 40), np.linspace(5.0, 6.0, 9)
    assert 1.4 < gold.split_by_gap(np.concatenate([noise, beads]), 1.0, 8.0) < 5.0
    assert 1.4 < gold.split_by_gap(noise, 1.0, 8.0) < 8.0
