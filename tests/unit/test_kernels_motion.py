"""Drift of frames made here by sampling smooth functions at shifted places (no FFT shifts)."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import scipy.fft

from staproj.kernels.fourier import shell_index
from staproj.kernels.motion import (
    DriftOptions,
    block_mean,
    measure_drift,
    padded_shape,
    ring_correlation,
    shifted_transform,
    solve_pairs,
)
from staproj.kernels.xp import to_host

OPTIONS = DriftOptions(max_shift_px=30.0)
# The information bound of these movies (counting noise, all other frames known) is 0.05 px rms for 11 counts
# and contrast 0.3, 0.07 px for contrast 0.2, 0.10 px for one count and contrast 0.5; here 2.5 times that.
BOUND_PX = 0.125
BOUND_LOW_COUNTS_PX = 0.25
BOUND_GAIN_ERRORS_PX = 0.175


def _scene(shape: tuple[int, int], rng: np.random.Generator, n: int = 400) -> np.ndarray:
    """Return Gaussian blobs ``[n, 4]``: y, x, height, width, also outside of the picture."""
    span = np.array(shape) + 40.0
    places = rng.uniform(-20.0, span - 20.0, (n, 2))
    return np.column_stack([places, rng.normal(0, 1.0, n), rng.uniform(1.2, 4.0, n)])


def _frame(shape: tuple[int, int], blobs: np.ndarray, drift: np.ndarray) -> np.ndarray:
    """Sample the blobs after moving them by ``drift`` (y, x): exact at any shift."""
    y, x = np.arange(shape[0], dtype=float), np.arange(shape[1], dtype=float)
    along_y = np.exp(-0.5 * ((y[None] - blobs[:, :1] - drift[0]) / blobs[:, 3:]) ** 2)
    along_x = np.exp(-0.5 * ((x[None] - blobs[:, 1:2] - drift[1]) / blobs[:, 3:]) ** 2)
    return np.einsum("by,bx->yx", along_y * blobs[:, 2:3], along_x)


def _movie(
    shape: tuple[int, int], drift: np.ndarray, mean: float, contrast: float, rng: np.random.Generator
) -> np.ndarray:
    blobs = _scene(shape, rng)
    scene = [_frame(shape, blobs, one) for one in drift]
    expected = [mean * np.clip(1.0 + contrast * one, 0.05, None) for one in scene]
    return np.stack([rng.poisson(one) for one in expected]).astype(np.float32)


def _path(n: int, rng: np.random.Generator, length: float = 6.0) -> np.ndarray:
    drift = np.cumsum(rng.normal(0, length / n, (n, 2)), axis=0)
    return drift - drift.mean(axis=0)


def _rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((a - b) ** 2).mean()))


@pytest.mark.parametrize("shape", [(240, 256), (190, 322)])
@pytest.mark.parametrize("n", [2, 5, 9])
def test_known_drift(shape: tuple[int, int], n: int, rng: np.random.Generator) -> None:
    """Drift at 11 counts a pixel and frame is found, and content moves along +drift."""
    drift = _path(n, rng)
    found = measure_drift(_movie(shape, drift, 11.0, 0.3, rng), OPTIONS)
    assert _rms(found.drift_yx_px, drift) < BOUND_PX
    assert abs(found.drift_yx_px.mean()) < 1e-9


def test_low_counts(rng: np.random.Generator) -> None:
    """At one count a pixel and frame drift is still found."""
    drift = _path(8, rng)
    found = measure_drift(_movie((240, 256), drift, 1.0, 0.5, rng), OPTIONS)
    assert _rms(found.drift_yx_px, drift) < BOUND_LOW_COUNTS_PX


def test_gain_errors_do_not_pull_to_zero(rng: np.random.Generator) -> None:
    """A gain reference wrong by 15 % in every pixel correlates at zero shift; drift must not follow it."""
    shape, drift = (240, 256), _path(6, rng)
    frames = _movie(shape, drift, 11.0, 0.2, rng) * rng.normal(1.0, 0.15, shape).astype(np.float32)
    found = measure_drift(frames, OPTIONS)
    assert found.fixed_pattern == pytest.approx(0.2, abs=0.03)  # 11 * 0.15^2 / (1 + 11 * 0.15^2)
    assert _rms(found.drift_yx_px, drift) < BOUND_GAIN_ERRORS_PX


def test_no_fixed_pattern_is_seen_where_there_is_none(rng: np.random.Generator) -> None:
    """A strong specimen that reaches the outer band is not taken for an error of the gain reference."""
    found = measure_drift(_movie((240, 256), _path(6, rng, 12.0), 11.0, 0.4, rng), OPTIONS)
    assert found.fixed_pattern == 0.0


def test_no_drift_stays_none(rng: np.random.Generator) -> None:
    """Frames that stand still are not moved by more than noise explains."""
    found = measure_drift(_movie((240, 256), np.zeros((6, 2)), 11.0, 0.3, rng), OPTIONS)
    assert _rms(found.drift_yx_px, np.zeros((6, 2))) < BOUND_PX


def test_one_bad_frame_does_not_spoil_the_rest(rng: np.random.Generator) -> None:
    """A frame without the specimen (beam off) leaves the drift of the others where it is."""
    drift = _path(7, rng)
    frames = _movie((240, 256), drift, 11.0, 0.3, rng)
    frames[3] = rng.poisson(0.2, frames[3].shape)
    found = measure_drift(frames, OPTIONS).drift_yx_px
    good = np.arange(7) != 3
    assert _rms(found[good] - found[good].mean(axis=0), drift[good] - drift[good].mean(axis=0)) < BOUND_PX


def test_robust_least_squares() -> None:
    """Two wild pairs of ten are outvoted; the rest solve exactly to shifts with mean 0."""
    truth = np.array([[0.0, 1.0], [0.5, -1.0], [2.0, 0.0], [-1.0, 3.0], [1.0, 1.5]])
    truth -= truth.mean(axis=0)
    pairs = np.array([(i, j) for i in range(5) for j in range(i + 1, 5)])
    measured = truth[pairs[:, 1]] - truth[pairs[:, 0]]
    measured[2] += 15.0
    measured[7] -= 8.0
    shifts, _, weight = solve_pairs(5, pairs, measured)
    np.testing.assert_allclose(shifts, truth, atol=0.02)
    assert weight[2] < 0.01
    assert weight[7] < 0.01


def test_single_frame_and_wrong_sizes() -> None:
    """One frame has no drift; odd sizes are refused."""
    assert measure_drift(np.ones((1, 16, 16), dtype=np.float32), OPTIONS).drift_yx_px.shape == (1, 2)
    with pytest.raises(ValueError, match="even"):
        measure_drift(np.ones((2, 15, 16), dtype=np.float32), OPTIONS)


def test_same_numbers_twice(rng: np.random.Generator) -> None:
    """The same frames give the same bytes."""
    frames = _movie((120, 128), _path(4, rng), 11.0, 0.1, rng)
    first, second = (measure_drift(frames, OPTIONS).drift_yx_px.tobytes() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("shape", [(60, 64), (61, 75)])
def test_shifted_transform_moves_content(
    xp: ModuleType, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    """Content moves by +shift, also in odd sizes (which are padded): compared with blobs drawn there."""
    blobs = np.column_stack([rng.uniform(15, 45, (12, 2)), rng.normal(0, 1, 12), np.full(12, 2.0)])
    drift = np.array([1.7, -2.3])
    padded = padded_shape(shape)
    frame = xp.asarray(_frame(shape, blobs, np.zeros(2)).astype(np.float32))
    transform = to_host(shifted_transform(frame, padded, (drift[0], drift[1])))
    assert transform.dtype == np.complex64
    moved = scipy.fft.irfft2(transform, s=padded)[: shape[0], : shape[1]]
    inner = np.s_[12:48, 12:48]
    np.testing.assert_allclose(moved[inner], _frame(shape, blobs, drift)[inner], atol=2e-3)


def test_ring_correlation(rng: np.random.Generator) -> None:
    """Rings that two pictures share correlate, rings that they do not share do not."""
    shape = (64, 80)
    shells = np.minimum(shell_index(shape), 41)
    common, own = (scipy.fft.rfft2(rng.normal(size=(2, *shape)), axes=(1, 2)) for _ in range(2))
    low = shells < 15
    first, second = (np.where(low, common[0], own[i]).astype(np.complex64) for i in range(2))
    curve = ring_correlation(first, second, shells)
    assert len(curve) == 41
    np.testing.assert_allclose(curve[:15], 1.0, atol=1e-5)
    assert np.abs(curve[16:]).max() < 0.3


def test_block_mean() -> None:
    """Blocks are averaged about the centre and their number is even."""
    image = np.arange(14 * 17, dtype=np.float32).reshape(14, 17)
    small = block_mean(image, 3)
    assert small.shape == (4, 4)
    assert small[0, 0] == pytest.approx(image[1:4, 2:5].mean())
    assert block_mean(image, 1).shape == (14, 16)
