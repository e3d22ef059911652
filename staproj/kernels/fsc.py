"""Fourier shell correlation, and what the shape of a mask adds to it.

Shells are ``round(|k|)`` in Fourier pixels of the longest axis; sums run over the stored half of the
transform with every coefficient counted once, as RELION does. Phase randomisation: Chen et al.,
Ultramicroscopy 135 (2013) 24. Rules of the shells: RELION 3-5 postprocess, as its output shows them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from staproj.kernels.fourier import radial_frequency, shell_index
from staproj.kernels.xp import Array, fft_module, namespace, to_host

Float = NDArray[np.float64]

RANDOMISE_BELOW = 0.8
"""Phases are randomised from the first shell whose unmasked FSC is below this."""


class MaskedFsc(NamedTuple):
    """Curves of two half maps, one entry a shell; ``corrected`` is the one to quote."""

    unmasked: Float
    masked: Float
    randomised: Float
    corrected: Float
    randomised_from_shell: int


class ShellSum:
    """Sums over the shells of an ``rfftn`` grid for arrays of any library; numpy takes the short way."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.n_shells = max(shape) // 2 + 1
        self._shell = np.minimum(shell_index(shape), self.n_shells).ravel()

    def __call__(self, values: Array) -> Float:
        """Return the sum of real ``values`` (on the ``rfftn`` grid) in every shell, ``[shell]``."""
        if isinstance(values, np.ndarray):
            found = np.bincount(self._shell, weights=values.ravel(), minlength=self.n_shells + 1)
            return np.asarray(found[:-1], dtype=np.float64)
        xp = namespace(values)
        order, ends = self._sorted
        picked = xp.take(xp.reshape(values, (-1,)), xp.asarray(order), axis=0)
        running = to_host(xp.cumulative_sum(xp.astype(picked, xp.float64)))
        total: Float = np.concatenate([[0.0], running])[ends]
        return np.diff(total, prepend=0.0)

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Coefficients in the order of their shells, and where each shell ends in it."""
        order = np.argsort(self._shell, kind="stable")
        ends = np.searchsorted(self._shell[order], np.arange(self.n_shells), side="right")
        return order[: ends[-1]], ends

    @property
    def count(self) -> Float:
        """Number of coefficients in every shell."""
        counts = np.bincount(self._shell, minlength=self.n_shells + 1)[:-1]
        return counts.astype(np.float64)


def fsc_of_transforms(transform_1: Array, transform_2: Array, sums: ShellSum) -> Float:
    """Correlate two ``rfftn`` transforms shell by shell; 0 where a shell is empty of signal."""
    xp = namespace(transform_1)
    cross = sums(xp.real(transform_1) * xp.real(transform_2) + xp.imag(transform_1) * xp.imag(transform_2))
    power_1 = sums(xp.real(transform_1) ** 2 + xp.imag(transform_1) ** 2)
    power_2 = sums(xp.real(transform_2) ** 2 + xp.imag(transform_2) ** 2)
    scale = np.sqrt(power_1 * power_2)
    return np.divide(cross, scale, out=np.zeros_like(cross), where=scale > 0)


def fourier_shell_correlation(half_1: Array, half_2: Array) -> Float:
    """Correlate two maps ``[z, y, x]`` (any scale) shell by shell: ``[n // 2 + 1]`` values in [-1, 1].

    Raises
    ------
    ValueError
        If the maps differ in shape.
    """
    _check_shapes(half_1, half_2)
    fft = fft_module(half_1)
    return fsc_of_transforms(fft.rfftn(half_1), fft.rfftn(half_2), ShellSum(tuple(half_1.shape)))


def masked_fsc(half_1: Array, half_2: Array, mask: Array, rng: np.random.Generator) -> MaskedFsc:
    """Correlate masked half maps and take off what the mask alone correlates.

    Phases of both maps are randomised where ``|k| >= R``, the first shell with unmasked FSC < 0.8, and the
    maps are masked. From shell R + 2 on the corrected curve is ``(masked - randomised) / (1 - randomised)``.
    """
    _check_shapes(half_1, half_2)
    _check_shapes(half_1, mask)
    fft = fft_module(half_1)
    shape = tuple(half_1.shape)
    sums = ShellSum(shape)
    transform_1, transform_2 = fft.rfftn(half_1), fft.rfftn(half_2)
    unmasked = fsc_of_transforms(transform_1, transform_2, sums)
    unmasked[0] = 1.0
    start = first_shell_below(unmasked, RANDOMISE_BELOW)
    masked = fsc_of_transforms(fft.rfftn(half_1 * mask), fft.rfftn(half_2 * mask), sums)
    randomised = masked.copy()
    if start < sums.n_shells:
        noise = [
            fft.rfftn(_with_random_phases(t, shape, start, rng) * mask) for t in (transform_1, transform_2)
        ]
        randomised = fsc_of_transforms(noise[0], noise[1], sums)
    return MaskedFsc(unmasked, masked, randomised, corrected_fsc(masked, randomised, start), start)


def corrected_fsc(masked: Float, randomised: Float, randomised_from_shell: int) -> Float:
    """Return the FSC without the mask's own correlation (masked values below shell R + 2)."""
    corrected = np.asarray(masked, dtype=np.float64).copy()
    tail = np.arange(len(corrected)) >= randomised_from_shell + 2
    usable = tail & (randomised < 1.0)
    corrected[usable] = (masked[usable] - randomised[usable]) / (1.0 - randomised[usable])
    return corrected


def first_shell_below(curve: Float, threshold: float) -> int:
    """Return the first shell (not 0) whose value is below ``threshold``; the length if none is."""
    below = np.flatnonzero(np.asarray(curve)[1:] < threshold)
    return int(below[0]) + 1 if len(below) else len(curve)


def resolution_angstrom(curve: Float, threshold: float, box_px: int, voxel_size_angstrom: float) -> float:
    """Return the resolution: the spacing of the last shell before the curve first falls below ``threshold``.

    ``box_px`` is the longest axis. If not even shell 1 holds, the box itself (``n * voxel``) is returned.
    """
    shell = min(first_shell_below(curve, threshold), len(curve)) - 1
    return box_px * voxel_size_angstrom / max(shell, 1)


def shell_frequency(n_shells: int, box_px: int, voxel_size_angstrom: float) -> Float:
    """Return the spatial frequency of every shell, 1/Å."""
    return np.arange(n_shells) / (box_px * voxel_size_angstrom)


def _with_random_phases(transform: Any, shape: tuple[int, ...], start: int, rng: np.random.Generator) -> Any:
    """Return the map whose coefficients at radius ``|k| >= start`` keep their size and lose their phase."""
    xp = namespace(transform)
    fft = fft_module(transform)
    radius = radial_frequency(shape)
    beyond = radius * np.float32(max(shape)) >= start - 1e-4
    factor = np.zeros(tuple(transform.shape), dtype=np.complex64)
    factor[beyond] = np.exp(2j * np.pi * rng.random(int(beyond.sum()), dtype=np.float32))
    amplitude = xp.astype(xp.abs(transform), transform.dtype)
    turned = amplitude * xp.astype(xp.asarray(factor), transform.dtype)
    mixed = xp.where(xp.asarray(beyond), turned, transform)
    return fft.irfftn(mixed, s=shape, axes=(0, 1, 2))


def _check_shapes(first: Array, second: Array) -> None:
    if tuple(first.shape) != tuple(second.shape):
        raise ValueError(f"maps differ in shape: {tuple(first.shape)} and {tuple(second.shape)}")
