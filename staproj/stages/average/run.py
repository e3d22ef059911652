"""Average particles as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staproj.errors import EmptyResultError
from staproj.formats.mrc import write_mrc
from staproj.model.maps import DensityMap, HalfMaps
from staproj.stages.api import StageContext
from staproj.stages.average.declare import AverageParams
from staproj.stages.shared.averaging import half_averages, with_half_sets
from staproj.stages.shared.particles import open_source
from staproj.stages.shared.pictures import central_slices
from staproj.units import Unit


def average(inputs: Mapping[str, Any], params: AverageParams, ctx: StageContext) -> dict[str, Any]:
    """Return the averages of both half-sets and of all particles."""
    particles = with_half_sets(inputs["particles"], ctx)
    if not len(particles):
        raise EmptyResultError("there are no particles to average", hint="look at the step `select`")
    symmetry = (params.symmetry or particles.symmetry).upper()
    source = open_source(
        inputs,
        ctx,
        binning=params.binning,
        voxel_size_angstrom=None,
        box_angstrom=params.box_size_angstrom,
    )
    source.measure_noise(particles)
    maps = half_averages(source, particles, symmetry)
    if min(maps.n_half_1, maps.n_half_2) < 1:
        raise EmptyResultError("a half-set has no particles", where="half_set", hint="select more particles")
    voxel, out = source.voxel_size_angstrom, ctx.out_dir()
    paths = [out / name for name in ("half_1.mrc", "half_2.mrc", "average.mrc")]
    for path, volume in zip(paths, (maps.half_1, maps.half_2, maps.whole), strict=True):
        write_mrc(path, volume, voxel)
    ctx.preview("slices", central_slices(maps.whole))
    ctx.metric("n_particles", len(particles))
    ctx.metric("voxel_size_angstrom", voxel, Unit.ANGSTROM)
    ctx.verdict(
        f"{len(particles)} particles ({maps.n_half_1} + {maps.n_half_2}), {symmetry}, "
        f"{source.box} voxels of {voxel:.3f} Å"
    )
    return {
        "half_maps": HalfMaps(paths[0], paths[1], voxel, maps.n_half_1, maps.n_half_2, symmetry),
        "map": DensityMap(paths[2], voxel, symmetry, len(particles)),
    }
