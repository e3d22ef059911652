"""Guinier plots, B-factors and the last filters of a map.

Source: Rosenthal & Henderson, J. Mol. Biol. 333 (2003) 721. Amplitudes fall as ``exp(-B/4 s^2)``; the
correction multiplies by ``exp(-b/4 s^2)`` with b < 0 sharpening. Lengths in Å, s in 1/Å.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from staproj.kernels.fourier import radial_frequency
from staproj.kernels.fsc import ShellSum
from staproj.kernels.xp import Array, fft_module, namespace

Float = NDArray[np.float64]


class GuinierFit(NamedTuple):
    """Line of ``ln amplitude`` against ``1/d^2``; ``b_factor_angstrom2`` = 4 slope (negative = decay)."""

    b_factor_angstrom2: float
    intercept: float
    correlation: float
    n_shells: int


def fsc_weight(fsc: Float) -> Float:
    """Return ``sqrt(2 F / (1 + F))``, zero from the first shell whose FSC is below 0.0001."""
    curve = np.asarray(fsc, dtype=np.float64)
    bad = np.flatnonzero(curve < 1e-4)
    weight = np.sqrt(np.clip(2.0 * curve / (1.0 + np.maximum(curve, 0.0)), 0.0, None))
    if len(bad):
        weight[bad[0] :] = 0.0
    return weight


def shell_amplitudes(volume: Array) -> Float:
    """Return the mean ``|F| / n_voxels`` of every shell of a map ``[z, y, x]``."""
    xp = namespace(volume)
    sums = ShellSum(tuple(volume.shape))
    transform = fft_module(volume).rfftn(volume)
    return sums(xp.abs(transform)) / sums.count / float(np.prod(volume.shape))


def guinier_fit(
    amplitude: Float, frequency_per_angstrom: Float, low_angstrom: float, high_angstrom: float = 0.0
) -> GuinierFit:
    """Fit ``ln amplitude`` from ``low_angstrom`` to ``high_angstrom`` (0 = the last shell with signal).

    Raises
    ------
    ValueError
        If fewer than three shells lie in the range.
    """
    spacing = np.full_like(frequency_per_angstrom, np.inf)
    np.divide(1.0, frequency_per_angstrom, out=spacing, where=frequency_per_angstrom > 0)
    tolerance = 1e-9 * low_angstrom
    use = (amplitude > 0) & (spacing <= low_angstrom + tolerance) & (spacing >= high_angstrom - tolerance)
    if use.sum() < 3:
        raise ValueError(f"only {int(use.sum())} shells between {low_angstrom:g} and {high_angstrom:g} Å")
    x = frequency_per_angstrom[use] ** 2
    y = np.log(amplitude[use])
    slope, intercept = np.polyfit(x, y, 1)
    correlation = float(abs(np.corrcoef(x, y)[0, 1]))
    return GuinierFit(4.0 * float(slope), float(intercept), correlation, int(use.sum()))


def filter_by_shell(volume: Array, gain: Float, *, cut_beyond_nyquist: bool = True) -> Array:
    """Multiply the transform of a map by ``gain[shell]``; corners beyond ``|k| = n/2`` are set to 0."""
    shape = tuple(volume.shape)
    radius = radial_frequency(shape).astype(np.float64) * max(shape)
    table = np.concatenate([np.asarray(gain, dtype=np.float64), [0.0]])
    factor = table[np.minimum(np.rint(radius).astype(np.int64), len(gain))]
    if cut_beyond_nyquist:
        factor[radius > max(shape) / 2 + 1e-4] = 0.0
    return _multiply(volume, factor)


def apply_b_factor(volume: Array, b_factor_angstrom2: float, voxel_size_angstrom: float) -> Array:
    """Multiply the transform by ``exp(-b/4 s^2)``; ``|k| > n/2`` is set to 0."""
    shape = tuple(volume.shape)
    cycles = radial_frequency(shape).astype(np.float64)
    factor = np.exp(-0.25 * b_factor_angstrom2 * (cycles / voxel_size_angstrom) ** 2)
    factor[cycles * max(shape) > max(shape) / 2 + 1e-4] = 0.0
    return _multiply(volume, factor)


def low_pass(volume: Array, resolution_angstrom: float, voxel_size_angstrom: float) -> Array:
    """Cut frequencies beyond a resolution with a raised cosine of two shells about ``round(n px / d)``."""
    shape = tuple(volume.shape)
    radius = radial_frequency(shape).astype(np.float64) * max(shape)
    centre = round(max(shape) * voxel_size_angstrom / resolution_angstrom)
    along = np.clip((radius - (centre - 1.0)) / 2.0, 0.0, 1.0)
    return _multiply(volume, 0.5 + 0.5 * np.cos(np.pi * along))


def divide_mtf(volume: Array, frequency_cycles_per_px: Float, mtf: Float, pixel_ratio: float = 1.0) -> Array:
    """Divide the transform by a detector MTF given at cycles per *detector* pixel.

    ``pixel_ratio`` is detector pixel / voxel, both in Å (1 for an unbinned map).
    """
    shape = tuple(volume.shape)
    cycles = radial_frequency(shape).astype(np.float64) * pixel_ratio
    value = np.interp(cycles, frequency_cycles_per_px, mtf)
    return _multiply(volume, 1.0 / np.maximum(value, 1e-3))


def _multiply(volume: Array, factor: Float) -> Array:
    xp = namespace(volume)
    fft = fft_module(volume)
    gain = xp.astype(xp.asarray(factor), volume.dtype)
    return fft.irfftn(fft.rfftn(volume) * gain, s=tuple(volume.shape), axes=(0, 1, 2))
