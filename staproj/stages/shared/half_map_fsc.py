"""FSC of half maps with or without a mask, and how it is recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from staproj.kernels.fsc import (
    RANDOMISE_BELOW,
    MaskedFsc,
    first_shell_below,
    fourier_shell_correlation,
    masked_fsc,
    resolution_angstrom,
    shell_frequency,
)
from staproj.model.maps import FscCurve
from staproj.stages.api import StageContext
from staproj.units import Unit

Float32 = NDArray[np.float32]
TIGHT_MASK = 0.15
"""Rms correlation of phase-randomised maps above which a mask counts as too tight (good ones give < 0.1)."""


def measure_fsc(
    half_1: Float32,
    half_2: Float32,
    mask: Float32 | None,
    voxel_size_angstrom: float,
    threshold: float,
    rng: np.random.Generator,
) -> FscCurve:
    """Return the FSC of two half maps; without a mask all four curves are the unmasked one."""
    if mask is None:
        plain = fourier_shell_correlation(half_1, half_2)
        plain[0] = 1.0
        found = MaskedFsc(plain, plain, plain, plain, len(plain))
    else:
        found = masked_fsc(half_1, half_2, mask, rng)
    box = max(half_1.shape)
    return FscCurve(
        frequency_per_angstrom=shell_frequency(len(found.corrected), box, voxel_size_angstrom),
        value=found.corrected,
        unmasked=found.unmasked,
        masked=found.masked,
        randomised=found.randomised,
        voxel_size_angstrom=voxel_size_angstrom,
        threshold=threshold,
        resolution_angstrom=resolution_angstrom(found.corrected, threshold, box, voxel_size_angstrom),
    )


def record_fsc(curve: FscCurve, masked: bool, ctx: StageContext) -> tuple[str, bool]:
    """Record curves and numbers; return the words for the verdict and whether they are a warning."""
    labels = {"x_label": "frequency_per_angstrom", "y_label": "fsc"}
    x = curve.frequency_per_angstrom
    ctx.curve("fsc", x, curve.value, **labels)
    if masked:
        for name in ("unmasked", "masked", "randomised"):
            ctx.curve(f"fsc_{name}", x, getattr(curve, name), **labels)
    ctx.metric("resolution_angstrom", curve.resolution_angstrom, Unit.ANGSTROM)
    box = round(1.0 / (x[1] * curve.voxel_size_angstrom))
    plain = resolution_angstrom(curve.unmasked, curve.threshold, box, curve.voxel_size_angstrom)
    ctx.metric("resolution_unmasked_angstrom", plain, Unit.ANGSTROM)
    half = resolution_angstrom(curve.value, 0.5, box, curve.voxel_size_angstrom)
    ctx.metric("resolution_at_half_angstrom", half, Unit.ANGSTROM)
    drop = first_shell_below(curve.value, curve.threshold)
    at_nyquist = drop >= len(curve.value)
    text = f"{curve.resolution_angstrom:.2f} Å at FSC {curve.threshold:g}"
    if not masked:
        return text + (" (no mask; Nyquist)" if at_nyquist else " (no mask)"), False
    text += f" (unmasked {plain:.2f} Å)"
    noise = curve.randomised[first_shell_below(curve.unmasked, RANDOMISE_BELOW) + 2 :]
    tight = float(np.sqrt(np.mean(noise**2))) if len(noise) else 0.0
    ctx.metric("randomised_fsc_rms", tight)
    if tight > TIGHT_MASK:
        return text + f", mask too tight: phase-randomised maps correlate by {tight:.2f}", True
    return text + (", up to Nyquist" if at_nyquist else ""), False
