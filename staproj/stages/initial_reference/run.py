"""Make a first reference from seeds whose in-plane turn and lattice position are unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import EmptyResultError, InputError
from staproj.formats.mrc import read_mrc, write_mrc
from staproj.kernels.symmetry import resample_map
from staproj.model.maps import DensityMap
from staproj.model.particles import ParticleSet
from staproj.stages.api import StageContext
from staproj.stages.initial_reference.declare import InitialReferenceParams
from staproj.stages.shared.aligning import Cubes, SearchRange, align, read_cubes
from staproj.stages.shared.averaging import average_map
from staproj.stages.shared.particle_inputs import joined_particles, series_inputs
from staproj.stages.shared.particles import ViewSource
from staproj.stages.shared.pictures import central_slices
from staproj.units import Unit

Float32 = NDArray[np.float32]

_LAYER_RESOLUTION = 1.2  # of the resolution asked for: layers are coarser than what lies in them
_LAYER_ROUNDS = 2
_FIRST_ROUNDS = 3  # of every try; only the best goes on
_KEPT = 0.7  # share of the particles, best scores first, that is averaged


@dataclass(frozen=True, eq=False)
class Try:
    """One start: its map, particles, and mean score in every round."""

    volume: Float32
    particles: ParticleSet
    scores: list[float]


def initial_reference(
    inputs: Mapping[str, Any], params: InitialReferenceParams, ctx: StageContext
) -> dict[str, Any]:
    """Return a first reference, bright, z outwards, without symmetry."""
    seeds = joined_particles(inputs["particles"])
    if not len(seeds):
        raise EmptyResultError("there are no seeds to make a reference from", hint="look at the step `seed`")
    series = series_inputs(inputs)
    raw_pixel = next(iter(series.values())).tilt_series.pixel_size_angstrom
    binning = params.binning or max(1, round(params.resolution_angstrom / (3.0 * raw_pixel)))
    source = ViewSource(
        series,
        binning=binning,
        box_angstrom=params.box_size_angstrom,
        threads=ctx.threads,
        check=ctx.check_cancelled,
    )
    if params.method == "map":
        volume, used = _given_map(params, source, ctx), 0
    else:
        volume, used = _from_seeds(seeds, source, params, ctx)
    path = ctx.out_dir() / "reference.mrc"
    write_mrc(path, volume, source.voxel_size_angstrom)
    ctx.preview("slices", central_slices(volume))
    ctx.metric("voxel_size_angstrom", source.voxel_size_angstrom, Unit.ANGSTROM)
    return {"map": DensityMap(path, source.voxel_size_angstrom, "C1", used)}


def _given_map(params: InitialReferenceParams, source: ViewSource, ctx: StageContext) -> Float32:
    if params.reference_path is None:
        raise InputError(
            "method map needs a map", where="reference_path", hint="set reference_path to an MRC file"
        )
    files = ctx.data_files(params.reference_path)
    if len(files) != 1:
        raise InputError(f"reference_path matches {len(files)} files, not one", where=params.reference_path)
    volume, voxel = read_mrc(files[0])
    if not voxel > 0:
        raise InputError("the map's header has no voxel size", where=str(files[0]))
    ctx.verdict(f"reference from {files[0].name}, {voxel:.2f} -> {source.voxel_size_angstrom:.2f} Å voxels")
    return resample_map(volume, source.voxel_size_angstrom / voxel, source.box)


def _from_seeds(
    seeds: ParticleSet, source: ViewSource, params: InitialReferenceParams, ctx: StageContext
) -> tuple[Float32, int]:
    looked_at = _evenly(seeds, 4 * params.max_particles)
    source.measure_noise(looked_at)
    layered, layers = _find_layers(looked_at, source, params, ctx)
    if params.method == "average":
        ctx.verdict(f"average of {len(layered)} seeds brought to their layer, not turned")
        return layers, len(layered)
    best = np.argsort(-layered.score, kind="stable")[: params.max_particles]
    subset = layered.take(np.sort(best))
    rng = ctx.rng("starts")
    cubes = read_cubes(source, subset, params.resolution_angstrom)
    first = min(_FIRST_ROUNDS, params.n_iterations)
    tries = []
    for number in range(params.n_starts):
        known = _known_try(number, rng, ctx)
        if known is None:
            begun = Try(_start(subset, source, params, rng), subset, [])
            known = _iterate(begun, first, subset, cubes, source, params)
            _keep_try(number, known, rng, ctx)
        tries.append(known)
        ctx.progress(number + 1, params.n_starts + 1, f"try {number + 1}: score {tries[-1].scores[-1]:.2f}")
    final = [one.scores[-1] for one in tries]
    best_try = int(np.argmax(final))
    chosen = _iterate(tries[best_try], params.n_iterations - first, subset, cubes, source, params)
    tries[best_try] = chosen
    for number, one in enumerate(tries):
        rounds = np.arange(1, len(one.scores) + 1)
        ctx.curve(f"score_try_{number + 1}", rounds, one.scores, x_label="round", y_label="mean_score_sd")
    ctx.metric("mean_score_sd", chosen.scores[-1], Unit.SIGMA)
    ctx.metric("spread_of_tries_sd", float(np.ptp(final)), Unit.SIGMA)
    others = ", ".join(f"{x:.2f}" for x in sorted(final)[-2::-1])
    ctx.verdict(
        f"{len(subset)} of {len(seeds)} seeds, score {chosen.scores[-1]:.2f} SD; the best of {len(tries)} "
        f"tries had "
        f"{max(final):.2f} after {first} rounds (others {others or 'none'})"
    )
    return chosen.volume, len(chosen.particles)


def _keep_try(number: int, one: Try, rng: np.random.Generator, ctx: StageContext) -> None:
    """Save a finished try and what the next one draws from, so that a run cut off goes on with the same."""
    drawn = rng.bit_generator.state
    objects = {"volume": one.volume, "particles": one.particles, "scores": one.scores, "rng": drawn}
    ctx.checkpoint.save(f"try-{number}", objects)


def _known_try(number: int, rng: np.random.Generator, ctx: StageContext) -> Try | None:
    """Return a try that an earlier call has finished, and set ``rng`` to where it stood after it."""
    found = ctx.checkpoint.load(f"try-{number}")
    if found is None:
        return None
    rng.bit_generator.state = found["rng"]
    ctx.log(f"try {number + 1} was finished before")
    return Try(found["volume"], found["particles"], [float(score) for score in found["scores"]])


def _evenly(particles: ParticleSet, number: int) -> ParticleSet:
    """Take about ``number`` particles, spread over the table (and so over tilt series and objects)."""
    if len(particles) <= number:
        return particles
    return particles.take(np.unique(np.linspace(0, len(particles) - 1, number).astype(np.int64)))


def _find_layers(
    seeds: ParticleSet, source: ViewSource, params: InitialReferenceParams, ctx: StageContext
) -> tuple[ParticleSet, Float32]:
    """Move seeds along their axis onto the layers that their own average shows."""
    search = SearchRange(
        tilt_deg=0.0,
        spin_deg=0.0,
        shift_xy_angstrom=0.0,
        shift_z_angstrom=params.axial_range_angstrom,
        coarse_resolution_angstrom=params.resolution_angstrom * _LAYER_RESOLUTION,
        fine_resolution_angstrom=params.resolution_angstrom * _LAYER_RESOLUTION,
        candidates=1,
        fit_steps=0,
    )
    moved = seeds
    cubes = read_cubes(source, seeds, search.fine_resolution_angstrom)
    for _ in range(_LAYER_ROUNDS):
        volume = average_map(source, moved, resolution_angstrom=params.resolution_angstrom)
        moved = align(
            source, seeds, volume, search, mask_diameter_angstrom=params.mask_diameter_angstrom, cubes=cubes
        )
    offset = np.einsum(
        "ni,ni->n",
        moved.position_xyz_angstrom - seeds.position_xyz_angstrom,
        seeds.rot_tomo_from_ref[:, :, 2],
    )
    ctx.metric("median_axial_offset_angstrom", float(np.median(offset)), Unit.ANGSTROM)
    return moved, average_map(source, moved, resolution_angstrom=params.resolution_angstrom)


def _search(params: InitialReferenceParams, tilt_deg: float) -> SearchRange:
    return SearchRange(
        tilt_deg=tilt_deg,
        spin_deg=180.0,
        shift_xy_angstrom=params.shift_range_angstrom,
        shift_z_angstrom=0.4 * params.axial_range_angstrom,
        coarse_resolution_angstrom=params.resolution_angstrom,
        fine_resolution_angstrom=params.resolution_angstrom,
        candidates=1,
        fit_steps=6,
    )


def _start(
    subset: ParticleSet, source: ViewSource, params: InitialReferenceParams, rng: np.random.Generator
) -> Float32:
    """Return the map a try starts from: one particle, or 2^k of them merged in pairs."""
    if params.method == "single":
        return average_map(
            source, subset.take(rng.choice(len(subset), 1)), resolution_angstrom=params.resolution_angstrom
        )
    number = min(2**params.hierarchy_levels, 2 ** int(np.log2(len(subset))))
    groups = [subset.take(np.array([i])) for i in rng.choice(len(subset), number, replace=False)]
    while len(groups) > 1:
        merged = []
        for first, second in zip(groups[::2], groups[1::2], strict=True):
            volume = average_map(source, first, resolution_angstrom=params.resolution_angstrom)
            turned = align(
                source,
                second,
                volume,
                _search(params, 0.0),
                mask_diameter_angstrom=params.mask_diameter_angstrom,
            )
            merged.append(ParticleSet.concatenate([first, turned]))
        groups = merged
    return average_map(source, groups[0], resolution_angstrom=params.resolution_angstrom)


def _iterate(
    begun: Try,
    rounds: int,
    subset: ParticleSet,
    cubes: Cubes,
    source: ViewSource,
    params: InitialReferenceParams,
) -> Try:
    """Align all particles to the map from where they stood, average the better ones, and again."""
    volume, kept, scores = begun.volume, begun.particles, list(begun.scores)
    for _ in range(rounds):
        number = len(scores)
        search = _search(params, 0.0 if number < min(2, params.n_iterations - 1) else params.tilt_range_deg)
        if number == params.n_iterations - 1:
            search = replace(search, candidates=2, fit_steps=12)
        found = align(
            source, subset, volume, search, mask_diameter_angstrom=params.mask_diameter_angstrom, cubes=cubes
        )
        scores.append(float(found.score.mean()))
        best = np.argsort(-found.score, kind="stable")[: max(1, int(_KEPT * len(found)))]
        kept = found.take(np.sort(best))
        volume = average_map(source, kept, resolution_angstrom=params.resolution_angstrom)
    return Try(volume, kept, scores)
