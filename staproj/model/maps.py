"""Averages, half maps, masks and FSC curves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DensityMap:
    """A map ``[z, y, x]`` on disk, bright (protein positive), centre ``n // 2``, symmetry axis z."""

    path: Path
    voxel_size_angstrom: float
    symmetry: str = "C1"
    n_particles: int = 0


@dataclass(frozen=True, eq=False)
class HalfMaps:
    """Averages of the two half-sets on the same grid, and how many particles each holds."""

    half_1_path: Path
    half_2_path: Path
    voxel_size_angstrom: float
    n_particles_half_1: int
    n_particles_half_2: int
    symmetry: str = "C1"


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask in [0, 1] on the grid of a map."""

    path: Path
    voxel_size_angstrom: float


@dataclass(frozen=True, eq=False)
class FscCurve:
    """Fourier shell correlations of two half maps, one entry a shell, from shell 0.

    ``value`` is the curve to quote: corrected for the mask where one was used, else unmasked.
    ``resolution_angstrom`` is where it first falls below ``threshold``.
    """

    frequency_per_angstrom: Float
    value: Float
    unmasked: Float
    masked: Float
    randomised: Float
    voxel_size_angstrom: float
    threshold: float
    resolution_angstrom: float
