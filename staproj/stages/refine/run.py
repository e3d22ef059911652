"""Gold-standard refinement: each half-set against its own average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import EmptyResultError, StageError
from staproj.formats.mrc import write_mrc
from staproj.kernels.fsc import MaskedFsc, resolution_angstrom, shell_frequency
from staproj.model.maps import DensityMap, FscCurve, HalfMaps
from staproj.model.particles import ParticleSet
from staproj.stages.api import StageContext
from staproj.stages.refine.declare import RefineParams
from staproj.stages.shared.aligning import SearchRange, align
from staproj.stages.shared.averaging import (
    HalfAverages,
    cyclic_order,
    half_averages,
    half_map_fsc,
    load_reference,
    reference_filter,
    resolved_shell,
    soft_limit,
    with_half_sets,
)
from staproj.stages.shared.particles import ViewSource, open_source
from staproj.stages.shared.pictures import central_slices
from staproj.units import Unit

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

THRESHOLD = 0.143
_CHECKPOINT = "round"
_CURVES = ("unmasked", "masked", "randomised", "corrected")
_SETTLED = 0.03  # of the resolution: particles that move less will not change the average


def refine(inputs: Mapping[str, Any], params: RefineParams, ctx: StageContext) -> dict[str, Any]:
    """Return refined particles, the averages of both half-sets and of all, and their FSC."""
    start: DensityMap = inputs["map"]
    particles = with_half_sets(inputs["particles"], ctx)
    if min((particles.half_set == half).sum() for half in (1, 2)) < 1:
        raise EmptyResultError(
            "a half-set has no particles",
            where="half_set",
            hint="select more particles, or split them at random",
        )
    symmetry = (params.symmetry or start.symmetry).upper()
    source = open_source(
        inputs,
        ctx,
        binning=params.binning,
        voxel_size_angstrom=None,
        box_angstrom=params.box_size_angstrom,
    )
    source.measure_noise(particles)
    state = _resumed(ctx) or _begin(source, particles, start, symmetry, params, ctx)
    while len(state.rows) < params.n_iterations and not state.settled:
        state = _round(source, state, symmetry, params, ctx)
        _keep(state, ctx)
        done = len(state.rows)
        ctx.progress(
            done, params.n_iterations, f"round {done}: {state.rows[-1]['fsc_holds_to_angstrom']:.1f} Å"
        )
    assert state.averages is not None
    assert state.curves is not None
    _prove_halves(state.particles, params, ctx)
    return _outputs(source, state.particles, state.averages, state.curves, symmetry, state.rows, ctx)


@dataclass(frozen=True)
class _State:
    """What one round hands to the next: poses, reference of each half, weights of shells, limit in Å."""

    particles: ParticleSet
    references: tuple[Float32, Float32]
    weights: Float
    limit: float
    rows: list[dict[str, float]]
    settled: bool = False
    averages: HalfAverages | None = None
    curves: MaskedFsc | None = None


def _round(
    source: ViewSource, state: _State, symmetry: str, params: RefineParams, ctx: StageContext
) -> _State:
    number, limit = len(state.rows), state.limit
    search = _search(params, number, limit, cyclic_order(symmetry))
    particles = _align_halves(source, state.particles, state.references, search, state.weights, params, ctx)
    averages = half_averages(source, particles, symmetry)
    curves, found = _agreement(source, averages, params, ctx)
    row = _row(number, state.particles, particles, limit, found)
    ctx.log(f"round {number + 1}: aligned to {limit:.1f} Å, FSC {THRESHOLD} at {found:.1f} Å")
    settled = number > 0 and found > 0.98 * limit and row["median_moved_angstrom"] < _SETTLED * limit
    if settled:
        ctx.log(f"poses have settled after {number + 1} of {params.n_iterations} rounds")
    return _State(
        particles,
        (averages.half_1, averages.half_2),
        reference_filter(curves.corrected),
        max(found, params.max_resolution_angstrom or 0.0),
        [*state.rows, row],
        settled,
        averages,
        curves,
    )


def _keep(state: _State, ctx: StageContext) -> None:
    """Save a finished round, so that a run that is cut off goes on from there with the same bytes."""
    averages, curves = state.averages, state.curves
    if averages is None or curves is None:
        return
    objects = {
        "particles": state.particles,
        "limit": float(state.limit),
        "rows": state.rows,
        "settled": bool(state.settled),
        "n_halves": [averages.n_half_1, averages.n_half_2],
        "half_1": averages.half_1,
        "half_2": averages.half_2,
        "whole": averages.whole,
        "randomised_from_shell": int(curves.randomised_from_shell),
    }
    shells = {name: getattr(curves, name) for name in _CURVES}
    ctx.checkpoint.save(_CHECKPOINT, {**objects, **shells})


def _resumed(ctx: StageContext) -> _State | None:
    """Return the last finished round of an earlier call that was cut off."""
    found = ctx.checkpoint.load(_CHECKPOINT)
    if found is None:
        return None
    first, second = found["n_halves"]
    averages = HalfAverages(found["half_1"], found["half_2"], found["whole"], first, second)
    shells = {name: found[name] for name in _CURVES}
    curves = MaskedFsc(**shells, randomised_from_shell=found["randomised_from_shell"])
    rows = [{name: float(value) for name, value in row.items()} for row in found["rows"]]
    ctx.log(f"goes on after round {len(rows)}")
    return _State(
        found["particles"],
        (averages.half_1, averages.half_2),
        reference_filter(curves.corrected),
        float(found["limit"]),
        rows,
        bool(found["settled"]),
        averages,
        curves,
    )


def _agreement(
    source: ViewSource, averages: HalfAverages, params: RefineParams, ctx: StageContext
) -> tuple[MaskedFsc, float]:
    """Return the FSC curves of the halves and how far (Å) they hold, looking past single bad shells."""
    diameter = params.mask_diameter_angstrom / source.voxel_size_angstrom
    curves = half_map_fsc(averages.half_1, averages.half_2, diameter, ctx.rng("phases"))
    return curves, source.box * source.voxel_size_angstrom / resolved_shell(curves.corrected, THRESHOLD)


def _begin(
    source: ViewSource,
    particles: ParticleSet,
    start: DensityMap,
    symmetry: str,
    params: RefineParams,
    ctx: StageContext,
) -> _State:
    """Return what the first round starts from."""
    if params.start == "particles":
        averages = half_averages(source, particles, symmetry)
        curves, found = _agreement(source, averages, params, ctx)
        limit = max(found, params.max_resolution_angstrom or 0.0)
        weights = reference_filter(curves.corrected)
        return _State(particles, (averages.half_1, averages.half_2), weights, limit, [])
    reference = load_reference(start, source)
    weights = soft_limit(source, params.start_resolution_angstrom)
    return _State(particles, (reference, reference), weights, params.start_resolution_angstrom, [])


def _search(params: RefineParams, number: int, limit: float, order: int) -> SearchRange:
    shrink = 0.5**number
    return SearchRange(
        tilt_deg=params.tilt_range_deg * shrink,
        spin_deg=params.spin_range_deg * shrink,
        shift_xy_angstrom=params.shift_range_angstrom * shrink,
        shift_z_angstrom=params.shift_range_angstrom * shrink,
        coarse_resolution_angstrom=max(limit, params.coarse_resolution_angstrom),
        fine_resolution_angstrom=limit,
        symmetry_order=order,
        grid=number == 0,
    )


def _align_halves(
    source: ViewSource,
    particles: ParticleSet,
    references: tuple[Float32, Float32],
    search: SearchRange,
    weights: Float,
    params: RefineParams,
    ctx: StageContext,
) -> ParticleSet:
    position = particles.position_xyz_angstrom.copy()
    rotation = particles.rot_tomo_from_ref.copy()
    score = particles.score.copy()
    for half, volume in zip((1, 2), references, strict=True):
        ctx.check_cancelled()
        index = np.flatnonzero(particles.half_set == half)
        found = align(
            source,
            particles.take(index),
            volume,
            search,
            mask_diameter_angstrom=params.mask_diameter_angstrom,
            filter_by_shell=weights,
        )
        position[index], rotation[index] = found.position_xyz_angstrom, found.rot_tomo_from_ref
        score[index] = found.score
    return replace(particles, position_xyz_angstrom=position, rot_tomo_from_ref=rotation, score=score)


def _row(
    number: int, before: ParticleSet, after: ParticleSet, limit: float, found: float
) -> dict[str, float]:
    moved = np.linalg.norm(after.position_xyz_angstrom - before.position_xyz_angstrom, axis=1)
    trace = np.einsum("nij,nij->n", before.rot_tomo_from_ref, after.rot_tomo_from_ref)
    turned = np.rad2deg(np.arccos(np.clip(0.5 * (trace - 1.0), -1.0, 1.0)))
    return {
        "round": float(number + 1),
        "aligned_to_angstrom": limit,
        "fsc_holds_to_angstrom": found,
        "median_moved_angstrom": float(np.median(moved)),
        "median_turned_deg": float(np.median(turned)),
        "mean_score_sd": float(after.score.mean()),
    }


def _prove_halves(particles: ParticleSet, params: RefineParams, ctx: StageContext) -> None:
    """Record who is in which half, that nobody is in both, and what both started from."""
    first, second = (particles.particle_id[particles.half_set == half] for half in (1, 2))
    shared = len(np.intersect1d(first, second))
    ctx.table(
        "half_sets",
        {"particle_id": particles.particle_id, "half_set": particles.half_set},
        doc="half-set of every particle; after the start each half was aligned to its own average only",
    )
    if params.start == "map":
        ctx.metric("shared_start_resolution_angstrom", params.start_resolution_angstrom, Unit.ANGSTROM)
    ctx.metric("n_half_1", len(first))
    ctx.metric("n_half_2", len(second))
    ctx.metric("n_shared_by_halves", shared)
    if shared:
        raise StageError(
            f"{shared} particles are in both half-sets",
            where="half_set",
            hint="rerun `select`: ids must be unique",
        )


def _outputs(
    source: ViewSource,
    particles: ParticleSet,
    averages: HalfAverages,
    curves: MaskedFsc,
    symmetry: str,
    rows: list[dict[str, float]],
    ctx: StageContext,
) -> dict[str, Any]:
    voxel, out = source.voxel_size_angstrom, ctx.out_dir()
    paths = [out / name for name in ("half_1.mrc", "half_2.mrc", "average.mrc")]
    for path, volume in zip(paths, (averages.half_1, averages.half_2, averages.whole), strict=True):
        write_mrc(path, volume, voxel)
    fsc = curves.corrected
    frequency = shell_frequency(len(fsc), source.box, voxel)
    resolution = resolution_angstrom(fsc, THRESHOLD, source.box, voxel)
    ctx.table(
        "rounds",
        {name: [row[name] for row in rows] for name in rows[0]},
        doc="a row each round; fsc_holds_to_angstrom looks past single bad shells",
    )
    ctx.curve("fsc", frequency, fsc, x_label="frequency_per_angstrom", y_label="fsc")
    ctx.preview("slices", central_slices(averages.whole))
    ctx.metric("resolution_angstrom", resolution, Unit.ANGSTROM)
    worse = len(rows) > 1 and rows[-1]["fsc_holds_to_angstrom"] > 1.15 * rows[0]["fsc_holds_to_angstrom"]
    ctx.verdict(
        f"{len(particles)} particles ({averages.n_half_1} + {averages.n_half_2}) to {resolution:.1f} Å "
        f"(FSC {THRESHOLD}) in {len(rows)} round{'s' * (len(rows) > 1)}; last moved them "
        f"{rows[-1]['median_moved_angstrom']:.1f} Å, "
        f"{rows[-1]['median_turned_deg']:.1f} deg",
        warning=worse,
    )
    n = len(particles)
    return {
        "particles": replace(particles, symmetry=symmetry),
        "half_maps": HalfMaps(paths[0], paths[1], voxel, averages.n_half_1, averages.n_half_2, symmetry),
        "map": DensityMap(paths[2], voxel, symmetry, n),
        "fsc": FscCurve(
            frequency, fsc, curves.unmasked, curves.masked, curves.randomised, voxel, THRESHOLD, resolution
        ),
    }
