"""Fourier grids, resampling and shifts with one rule: the origin of every array is index ``n // 2``.

Transforms are ``rfftn`` with "backward" normalisation and zero frequency at index 0. Frequencies are in
cycles per pixel unless a name says otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from staproj.kernels.xp import Array, fft_module, namespace

Float32 = NDArray[np.float32]


def fast_even_length(n: int) -> int:
    """Return the smallest even length >= n that real FFTs are quick for."""
    m = int(scipy.fft.next_fast_len(n, real=True))
    while m % 2:
        m = int(scipy.fft.next_fast_len(m + 1, real=True))
    return m


def frequency_grid(shape: tuple[int, ...], xp: Any = np) -> tuple[Any, ...]:
    """Return broadcastable frequencies of an ``rfftn`` of ``shape``, one array an axis, cycles/px."""
    axes = []
    for axis, n in enumerate(shape):
        last = axis == len(shape) - 1
        values = np.fft.rfftfreq(n) if last else np.fft.fftfreq(n)
        view = [1] * len(shape)
        view[axis] = len(values)
        axes.append(xp.asarray(values.astype(np.float32).reshape(view)))
    return tuple(axes)


def radial_frequency(shape: tuple[int, ...]) -> Float32:
    """Return ``|k|`` in cycles/px on the ``rfftn`` grid of ``shape``."""
    total: NDArray[np.float64] = np.zeros((1,) * len(shape))
    for grid in frequency_grid(shape):
        total = total + grid.astype(np.float64) ** 2
    return np.sqrt(total).astype(np.float32)


def shell_index(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the shell of every ``rfftn`` coefficient: ``round(|k| n)`` with n the longest axis."""
    n = max(shape)
    return np.rint(radial_frequency(shape).astype(np.float64) * n).astype(np.int64)


def resampled_shape(shape_yx: tuple[int, int], binning: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (region, reduced) even shapes: the centred region of the image that is reduced, and its size.

    The centre ``n // 2`` of the image is the centre of both, so pixel x of the image lies at
    ``(x - n // 2) / binning + m // 2`` of the reduced image, exactly. Where ``binning`` is not a whole
    number the factor really used is ``region / reduced``; callers read it from there.
    """
    region, reduced = [], []
    for n in shape_yx:
        m = 2 * int(n / (2 * binning) + 1e-9)
        if m < 2:
            raise ValueError(f"an image of {n} pixels cannot be reduced {binning} times")
        whole = 2 * round(m * binning / 2)
        while whole > n:
            m -= 2
            whole = 2 * round(m * binning / 2)
        region.append(whole)
        reduced.append(m)
    return (region[0], region[1]), (reduced[0], reduced[1])


def centred_crop(image: Array, shape_yx: tuple[int, int]) -> Array:
    """Cut the region (last two axes) whose centre ``m // 2`` is the image's centre ``n // 2``."""
    start = [n // 2 - m // 2 for n, m in zip(image.shape[-2:], shape_yx, strict=True)]
    return image[..., start[0] : start[0] + shape_yx[0], start[1] : start[1] + shape_yx[1]]


def reduce_images(images: Array, binning: float) -> Array:
    """Shrink images ``[..., y, x]`` by Fourier cropping about their centre; mean grey value is kept.

    ``binning`` 1 only makes the shape even. See :func:`resampled_shape` for the geometry.
    """
    region, reduced = resampled_shape((images.shape[-2], images.shape[-1]), binning)
    cut = centred_crop(images, region)
    if reduced == region:
        return cut
    fft = fft_module(cut)
    transform = fft.rfftn(cut, axes=(-2, -1))
    cropped = crop_rfft2(transform, region, reduced)
    scale = (reduced[0] * reduced[1]) / (region[0] * region[1])
    return fft.irfftn(cropped, s=reduced, axes=(-2, -1)) * scale


def crop_rfft2(transform: Array, shape: tuple[int, int], smaller: tuple[int, int]) -> Array:
    """Keep the low frequencies of an ``rfft2`` of even ``shape`` for even ``smaller``; drops Nyquist."""
    xp = namespace(transform)
    half = smaller[0] // 2
    rows = xp.concat([transform[..., :half, :], transform[..., shape[0] - half :, :]], axis=-2)
    out = rows[..., : smaller[1] // 2 + 1]
    keep_y = np.ones((smaller[0], 1), dtype=np.float32)
    keep_y[half] = 0.0
    keep_x = np.ones((1, smaller[1] // 2 + 1), dtype=np.float32)
    keep_x[0, -1] = 0.0
    return out * xp.asarray(keep_y * keep_x)


def shift_phases(shape: tuple[int, ...], shift_px: tuple[float, ...]) -> NDArray[np.complex64]:
    """Return the ``rfftn`` factors that move content by ``+shift_px`` (in the order of the axes)."""
    phase: Any = 0.0
    for grid, shift in zip(frequency_grid(shape), shift_px, strict=True):
        phase = phase + grid.astype(np.float64) * shift
    factors: NDArray[np.complex64] = np.exp(-2j * np.pi * phase).astype(np.complex64)
    return factors


def shift_image(image: NDArray[Any], shift_yx_px: tuple[float, float]) -> Float32:
    """Move the content of an image ``[y, x]`` by ``+shift`` (periodic)."""
    transform = scipy.fft.rfft2(image)
    shape = (image.shape[0], image.shape[1])
    moved = scipy.fft.irfft2(transform * shift_phases(shape, shift_yx_px), s=shape)
    return np.asarray(moved, dtype=np.float32)
