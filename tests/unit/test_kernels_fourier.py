"""Resampling and shifting keep the origin where the conventions say it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from staproj.kernels.fourier import (
    fast_even_length,
    reduce_images,
    resampled_shape,
    shell_index,
    shift_image,
)


def _blob(shape: tuple[int, int], centre_yx: tuple[float, float], sigma: float = 4.0) -> NDArray[np.float32]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    squared = (y - centre_yx[0]) ** 2 + (x - centre_yx[1]) ** 2
    return np.exp(-squared / (2 * sigma**2)).astype(np.float32)


def _centroid(image: NDArray[np.float32]) -> NDArray[np.float64]:
    weight = image.astype(np.float64)
    grids = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(grid * weight).sum() / weight.sum() for grid in grids])


@pytest.mark.parametrize("shape", [(96, 128), (97, 130), (101, 91)])
@pytest.mark.parametrize("binning", [1.0, 2.0, 3.0, 2.5])
def test_reduced_point_lies_where_the_rule_says(shape: tuple[int, int], binning: float) -> None:
    """A blob at x lands at (x - n // 2) / b + m // 2, b being region / reduced."""
    at = (shape[0] // 2 + 9.0, shape[1] // 2 - 13.0)
    region, reduced = resampled_shape(shape, binning)

    small = reduce_images(_blob(shape, at), binning)

    assert small.shape == reduced
    factor = np.array(region) / np.array(reduced)
    expected = np.array([9.0, -13.0]) / factor + np.array(reduced) // 2
    np.testing.assert_allclose(_centroid(small), expected, atol=2e-3)


def test_reducing_keeps_the_mean_and_the_type() -> None:
    """Grey values keep their scale, so that statistics at any binning can be compared."""
    rng = np.random.default_rng(1)
    images = rng.normal(5.0, 1.0, (3, 64, 48)).astype(np.float32)

    small = reduce_images(images, 2)

    assert small.dtype == np.float32
    np.testing.assert_allclose(small.mean(axis=(1, 2)), images.mean(axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize("shape", [(64, 50), (63, 51)])
def test_shift_moves_content_by_plus_shift(shape: tuple[int, int]) -> None:
    """A whole shift equals ``roll``; a half-pixel shift moves the centroid by a half pixel."""
    image = _blob(shape, (30.0, 22.0), sigma=3.0)

    np.testing.assert_allclose(shift_image(image, (3, -5)), np.roll(image, (3, -5), (0, 1)), atol=1e-5)
    moved = _centroid(shift_image(image, (0.5, 1.25))) - _centroid(image)
    np.testing.assert_allclose(moved, [0.5, 1.25], atol=2e-3)


def test_shells_round_the_radius() -> None:
    """Shell s collects round(|k| n): along an axis it is the index itself."""
    shells = shell_index((8, 10, 12))

    np.testing.assert_array_equal(shells[0, 0], np.arange(7))
    assert shells[4, 5, 6] == round(float(np.sqrt(3) * 6))


@pytest.mark.parametrize(("n", "expected"), [(1, 2), (7, 8), (3838, 3840), (211, 216)])
def test_fast_lengths_are_even_and_no_shorter(n: int, expected: int) -> None:
    """Padded lengths are even, so that the origin stays at ``n // 2`` when reduced."""
    assert fast_even_length(n) == expected


def test_impossible_reduction_is_refused() -> None:
    """An image cannot shrink to nothing."""
    with pytest.raises(ValueError, match="cannot be reduced"):
        resampled_shape((8, 8), 9.0)
