"""Selection: duplicates, threshold, lattice, half-sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import EmptyResultError, InputError
from staproj.kernels.neighbours import keep_best_of_duplicates, nearest_neighbour_distance
from staproj.kernels.score_threshold import elevation_factors
from staproj.model.particles import ParticleSet
from staproj.stages.api import StageContext
from staproj.stages.select.choose import choose
from staproj.stages.select.declare import SelectParams
from staproj.stages.select.half_sets import assign_half_sets
from staproj.stages.shared.pictures import picture_of_points
from staproj.units import Unit

Float = NDArray[np.float64]
MIN_TREND = 0.15
"""Elevation is compensated only where it explains more than this fraction of the median score."""


def select(inputs: Mapping[str, Any], params: SelectParams, ctx: StageContext) -> dict[str, Any]:
    """Return the particles worth averaging, with half-sets."""
    given = _joined(inputs["particles"])
    series = sorted(set(given.tilt_series_id.tolist()))
    finite = np.isfinite(given.score) & np.isfinite(given.position_xyz_angstrom).all(axis=1)
    if not finite.all():
        ctx.fallback(f"{int((~finite).sum())} particles without a finite score or position were left out")
    particles = given.take(finite)
    counts = {name: [int((given.tilt_series_id == name).sum())] for name in series}

    particles = _without_duplicates(particles, series, params, ctx)
    _count(counts, particles)
    particles, survived = choose(particles, _compensated_scores(particles, params, ctx), params, ctx)
    for step in survived:
        for name, row in counts.items():
            row.append(step.get(name, 0))
    if len(particles) == 0:
        raise EmptyResultError(
            "no particle is left after selection",
            hint="lower score_threshold or lattice_neighbours_min, or look at the scores of the match step",
        )
    particles = assign_half_sets(particles, params.half_set_split, ctx.rng("half_sets"))
    _record(particles, counts, ctx)
    return {"particles": particles}


def _joined(value: Any) -> ParticleSet:
    """Return one table of all series with ids that are unique across them."""
    parts = list(value.values()) if isinstance(value, Mapping) else [value]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise EmptyResultError("the particle set is empty", hint="look at the step that made the particles")
    if len({part.symmetry for part in parts}) > 1:
        raise InputError("tilt series hold particles of different symmetry")
    joined = ParticleSet.concatenate(parts)
    unique = len(np.unique(joined.particle_id)) == len(joined)
    return joined if unique else ParticleSet.concatenate(parts, renumber=True)


def _count(counts: dict[str, list[int]], particles: ParticleSet) -> None:
    for name, row in counts.items():
        row.append(int((particles.tilt_series_id == name).sum()))


def _without_duplicates(
    particles: ParticleSet, series: list[str], params: SelectParams, ctx: StageContext
) -> ParticleSet:
    distance = params.duplicate_distance_angstrom
    distance = 0.6 * params.particle_spacing_angstrom if distance is None else distance
    keep = np.zeros(len(particles), dtype=bool)
    for name in series:
        ctx.check_cancelled()
        rows = np.flatnonzero(particles.tilt_series_id == name)
        keep[rows] = keep_best_of_duplicates(
            particles.position_xyz_angstrom[rows], particles.score[rows], distance
        )
    ctx.metric("duplicate_distance_angstrom", distance, Unit.ANGSTROM)
    ctx.metric("n_duplicates", float((~keep).sum()))
    return particles.take(keep)


def _compensated_scores(particles: ParticleSet, params: SelectParams, ctx: StageContext) -> Float:
    """Return scores without their dependence on elevation, where there is one; records the trend."""
    if not params.elevation_compensation:
        return particles.score
    sine = np.abs(particles.rot_tomo_from_ref[:, 2, 2])
    elevation = np.rad2deg(np.arcsin(np.clip(sine, 0.0, 1.0)))
    factor, centre, median = elevation_factors(particles.score, elevation)
    if not len(centre):
        return particles.score
    ctx.curve("median_score_by_elevation", centre, median, x_label="elevation_deg", y_label="median_score")
    trend = float(np.ptp(median) / np.median(particles.score))
    ctx.metric("elevation_trend", trend)
    if trend < MIN_TREND:
        return particles.score
    compensated: Float = particles.score * factor
    return compensated


def _record(particles: ParticleSet, counts: dict[str, list[int]], ctx: StageContext) -> None:
    names = list(counts)
    columns: dict[str, Any] = {"tilt_series_id": names}
    for index, stage in enumerate(("n_given", "n_unique", "n_above_threshold", "n_selected")):
        columns[stage] = [counts[name][index] for name in names]
    halves = [particles.of_series(name).half_set for name in names]
    columns["n_half_1"] = [int((half == 1).sum()) for half in halves]
    columns["n_half_2"] = [int((half == 2).sum()) for half in halves]
    ctx.table("counts", columns, doc="Particles left after each rule, and in each half-set.")
    given = sum(row[0] for row in counts.values())
    spacing = np.concatenate(
        [nearest_neighbour_distance(particles.of_series(name).position_xyz_angstrom) for name in names]
    )
    median = float(np.median(spacing[np.isfinite(spacing)])) if np.isfinite(spacing).any() else 0.0
    ctx.metric("n_given", given)
    ctx.metric("n_selected", len(particles))
    ctx.metric("nearest_neighbour_median_angstrom", median, Unit.ANGSTROM)
    biggest = max(names, key=lambda name: int((particles.tilt_series_id == name).sum()))
    shown = particles.of_series(biggest).position_xyz_angstrom
    ctx.preview("selected_xy", picture_of_points(shown[:, :2]))
    n_1, n_2 = int((particles.half_set == 1).sum()), int((particles.half_set == 2).sum())
    few = min(n_1, n_2) < 0.8 * max(n_1, n_2) or len(particles) < 0.02 * given
    ctx.verdict(
        f"{len(particles)} of {given} particles kept ({n_1} + {n_2} in half-sets), "
        f"neighbours {median:.0f} Å apart",
        warning=few,
    )
