"""Time of kernels that much else waits for; `make bench` prints the table, a test run only calls them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from staproj.kernels import fourier, fsc


@pytest.mark.parametrize("size", [(512, 480), (1023, 1026)])
def test_reduce_images(benchmark: Any, size: tuple[int, int]) -> None:
    """Fourier-crop a stack of five views to half size."""
    images = np.random.default_rng(1).standard_normal((5, *size)).astype(np.float32)
    reduced = benchmark(fourier.reduce_images, images, 2.0)
    assert abs(reduced.shape[-1] - size[1] / 2) <= 1


def test_correlate_half_maps(benchmark: Any) -> None:
    """Correlate two half maps of 96 voxels, shell by shell."""
    rng = np.random.default_rng(2)
    first, second = (rng.standard_normal((96, 96, 96)).astype(np.float32) for _ in range(2))
    curve = benchmark(fsc.fourier_shell_correlation, first, second)
    assert abs(float(curve[20])) < 0.2
