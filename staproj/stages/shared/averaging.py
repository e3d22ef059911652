"""Averages of particles: whole and half maps with exact weights, their FSC, and references made of maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from staproj.errors import InputError
from staproj.kernels.average import map_from_sums, symmetrise_about_z
from staproj.kernels.fsc import MaskedFsc, masked_fsc
from staproj.kernels.symmetry import resample_map
from staproj.model.maps import DensityMap
from staproj.model.particles import ParticleSet
from staproj.stages.api import StageContext
from staproj.stages.shared.aligning import reference_mask
from staproj.stages.shared.maps_io import read_map
from staproj.stages.shared.particles import ViewSource

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

PADDING = 2  # fineness of the transform that particles are summed on


@dataclass(frozen=True, eq=False)
class HalfAverages:
    """Maps of both half-sets and of all particles, on the source's voxels."""

    half_1: Float32
    half_2: Float32
    whole: Float32
    n_half_1: int
    n_half_2: int


def cyclic_order(symmetry: str) -> int:
    """Return n of ``Cn``.

    Raises
    ------
    InputError
        For any other symmetry.
    """
    text = symmetry.strip().upper()
    if text[:1] == "C" and text[1:].isdigit() and int(text[1:]) >= 1:
        return int(text[1:])
    raise InputError(
        f"symmetry {symmetry!r} is not supported", hint="cyclic symmetries are: C1, C2, ... C6 ..."
    )


def average_map(
    source: ViewSource, particles: ParticleSet, symmetry: str = "C1", resolution_angstrom: float | None = None
) -> Float32:
    """Return the average of particles ``[box, box, box]``, cut off at a resolution if one is given."""
    box = PADDING * source.box
    radius = box // 2 - 1
    if resolution_angstrom is not None:
        radius = min(radius, int(np.ceil(box * source.voxel_size_angstrom / resolution_angstrom)))
    data, weight = source.sums(particles, box, radius)
    return _finish(data, weight, source.box, cyclic_order(symmetry), radius)


def half_averages(source: ViewSource, particles: ParticleSet, symmetry: str = "C1") -> HalfAverages:
    """Return the averages of half-sets 1 and 2, each from its own particles alone, and of both."""
    order = cyclic_order(symmetry)
    box = PADDING * source.box
    radius = box // 2 - 1
    first, second = (particles.take(particles.half_set == half) for half in (1, 2))
    sums = [source.sums(part, box, radius) for part in (first, second)]
    maps = [_finish(data, weight, source.box, order, radius) for data, weight in sums]
    whole = _finish(sums[0][0] + sums[1][0], sums[0][1] + sums[1][1], source.box, order, radius)
    return HalfAverages(maps[0], maps[1], whole, len(first), len(second))


def _finish(data: NDArray[np.complex64], weight: Float32, box: int, order: int, radius: int) -> Float32:
    data = symmetrise_about_z(data, order)
    weight = np.maximum(symmetrise_about_z(weight, order), 0.0)
    return map_from_sums(data, weight, box, PADDING * box, radius)


def half_map_fsc(
    first: Float32, second: Float32, mask_diameter_voxel: float, rng: np.random.Generator
) -> MaskedFsc:
    """Return the FSC curves of two half maps, with and without a soft sphere; ``corrected`` is in [-1, 1]."""
    mask = reference_mask(first.shape[0], mask_diameter_voxel)
    curves = masked_fsc(first, second, mask, rng)
    return curves._replace(corrected=np.clip(curves.corrected, -1.0, 1.0))


def resolved_shell(fsc: Float, threshold: float = 0.143) -> int:
    """Return the last shell before the FSC, averaged over three shells, first falls below ``threshold``.

    One defocus leaves whole shells without signal (the zeros of the CTF) where the curve dips though the
    next shells hold; averaging looks past them.
    """
    smooth = np.convolve(np.pad(fsc, 1, mode="edge"), np.full(3, 1.0 / 3.0), mode="valid")
    below = np.flatnonzero(smooth[1:] < threshold)
    return max(1, int(below[0]) if len(below) else len(fsc) - 1)


def reference_filter(fsc: Float) -> Float:
    """Return the Wiener factor of a half map a shell: its FSC up to ``resolved_shell``, then 0.

    A half map with signal-to-noise ratio r has FSC = r / (r + 1) with the other, which is the factor that
    makes it the best estimate of the structure.
    """
    end = resolved_shell(fsc) + 1
    out = np.clip(fsc, 0.0, 1.0)
    out[0] = 1.0
    out[end:] = 0.0
    return out


def load_reference(map_: DensityMap, source: ViewSource) -> Float32:
    """Read a map and bring it onto the source's voxels and box."""
    volume = read_map(map_.path, map_.voxel_size_angstrom)
    return resample_map(volume, source.voxel_size_angstrom / map_.voxel_size_angstrom, source.box)


def soft_limit(source: ViewSource, resolution_angstrom: float) -> Float:
    """Return factors a shell that end at a resolution with a soft edge of three shells."""
    shells = np.arange(source.box // 2 + 1, dtype=np.float64)
    end = source.box * source.voxel_size_angstrom / resolution_angstrom
    along = np.clip((shells - (end - 1.5)) / 3.0, 0.0, 1.0)
    return 0.5 + 0.5 * np.cos(np.pi * along)


def with_half_sets(particles: ParticleSet, ctx: StageContext) -> ParticleSet:
    """Return particles that all have a half-set; those without one get one at random."""
    missing = np.flatnonzero((particles.half_set != 1) & (particles.half_set != 2))
    if not len(missing):
        return particles
    ctx.fallback(f"{len(missing)} particles had no half-set and were dealt out at random")
    dealt = particles.half_set.copy()
    dealt[ctx.rng("half_sets").permutation(missing)] = 1 + np.arange(len(missing)) % 2
    return particles.with_columns(half_set=dealt)
