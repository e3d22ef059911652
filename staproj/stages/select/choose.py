"""Which particles are good: by score, and by their neighbours on a lattice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.kernels.neighbours import LatticeRules, lattice_support
from staproj.kernels.score_threshold import MIN_SCORES, classify_with_lattice, propose_threshold
from staproj.model.particles import ParticleSet
from staproj.stages.api import StageContext
from staproj.stages.select.declare import SelectParams
from staproj.stages.shared.pictures import picture_of_histogram

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
Cuts = dict[str, list[Any]]

ROUNDS = 3
"""Neighbours are counted anew among the particles that the round before found good."""


def choose(
    particles: ParticleSet, scores: Float, params: SelectParams, ctx: StageContext
) -> tuple[ParticleSet, list[dict[str, int]]]:
    """Return the good particles and, for the two rules, how many each tilt series has left.

    Particles on surfaces are judged by score and neighbours together, unless a threshold or a number of
    neighbours is asked for; then, and for particles elsewhere, one rule follows the other.
    """
    if len(particles) == 0:
        return particles, [{}, {}]
    cuts: Cuts = {"tilt_series_id": [], "threshold": [], "separation": [], "good_fraction": []}
    together = (
        params.score_threshold is None
        and params.lattice_neighbours_min is None
        and bool((particles.object_id >= 0).all())
        and len(particles) >= MIN_SCORES
    )
    ctx.metric("judged_with_lattice", float(together))
    if together:
        keep = _by_score_and_lattice(particles, scores, params, cuts, ctx)
        chosen = particles.take(keep)
        counts = [_per_series(chosen), _per_series(chosen)]
    else:
        above = particles.take(_above_threshold(particles, scores, params, cuts, ctx))
        chosen = above.take(_with_neighbours(above, params, ctx))
        counts = [_per_series(above), _per_series(chosen)]
    ctx.table("score_cut", cuts, doc="Lowest score kept and Ashman's D of the two populations.")
    shown = particles.score if params.score_threshold is not None else scores
    _record_histogram(shown, float(np.median(cuts["threshold"])), ctx)
    return chosen, counts


def _by_score_and_lattice(
    particles: ParticleSet, scores: Float, params: SelectParams, cuts: Cuts, ctx: StageContext
) -> Mask:
    rules = _rules(particles, params)
    series = sorted(set(particles.tilt_series_id.tolist()))
    good = np.ones(len(particles), dtype=bool)
    support = np.zeros(len(particles), dtype=np.int64)
    decoy = np.zeros(len(particles), dtype=np.int64)
    groups = _groups(particles, series, params)
    for round_ in range(ROUNDS):
        for name in series:
            ctx.check_cancelled()
            rows = np.flatnonzero(particles.tilt_series_id == name)
            support[rows], decoy[rows] = lattice_support(
                particles.position_xyz_angstrom[rows],
                particles.rot_tomo_from_ref[rows],
                rules,
                ctx.rng(f"decoys_{name}"),
                among=good[rows],
            )
        good = np.zeros(len(particles), dtype=bool)
        for name, rows in groups:
            classes = classify_with_lattice(scores[rows], support[rows], decoy[rows])
            good[rows] = classes.good >= 0.5
            if round_ == ROUNDS - 1:
                _row(cuts, name, classes.threshold, classes.separation, classes.good_fraction)
    bins = np.arange(13)
    for label, counts in (("given", support), ("kept", support[good]), ("decoys", decoy)):
        histogram = np.bincount(np.minimum(counts, 12), minlength=13)
        ctx.curve(
            f"lattice_neighbours_{label}", bins, histogram, x_label="n_neighbours", y_label="n_particles"
        )
    return good


def _groups(
    particles: ParticleSet, series: list[str], params: SelectParams
) -> list[tuple[str, NDArray[np.int64]]]:
    """Return which particles are judged together: those of a series, or all where a series has few."""
    rows = [(name, np.flatnonzero(particles.tilt_series_id == name)) for name in series]
    if params.threshold_scope == "pooled" or any(len(index) < MIN_SCORES for _, index in rows):
        return [("all", np.arange(len(particles)))]
    return rows


def _above_threshold(
    particles: ParticleSet, scores: Float, params: SelectParams, cuts: Cuts, ctx: StageContext
) -> Mask:
    if params.score_threshold is not None:
        keep: Mask = particles.score >= params.score_threshold
        _row(cuts, "all", params.score_threshold, 0.0, float(keep.mean()))
        return keep
    keep = np.zeros(len(scores), dtype=bool)
    for name, rows in _groups(particles, sorted(set(particles.tilt_series_id.tolist())), params):
        proposal = propose_threshold(scores[rows])
        if proposal.method == "one population":
            ctx.fallback(f"{name}: the scores show one population, only low outliers were cut")
        keep[rows] = scores[rows] >= proposal.threshold
        _row(cuts, name, proposal.threshold, proposal.separation, proposal.good_fraction)
    return keep


def _with_neighbours(particles: ParticleSet, params: SelectParams, ctx: StageContext) -> Mask:
    wanted = params.lattice_neighbours_min or 0
    keep = np.ones(len(particles), dtype=bool)
    if wanted == 0:
        return keep
    rules = _rules(particles, params)
    for name in sorted(set(particles.tilt_series_id.tolist())):
        ctx.check_cancelled()
        rows = np.flatnonzero(particles.tilt_series_id == name)
        support, _ = lattice_support(
            particles.position_xyz_angstrom[rows],
            particles.rot_tomo_from_ref[rows],
            rules,
            ctx.rng(f"decoys_{name}"),
        )
        keep[rows] = support >= wanted
    return keep


def _rules(particles: ParticleSet, params: SelectParams) -> LatticeRules:
    return LatticeRules(
        params.particle_spacing_angstrom,
        params.lattice_distance_tolerance,
        params.lattice_angle_tolerance_deg,
        _symmetry_order(params.symmetry or particles.symmetry),
    )


def _symmetry_order(symmetry: str) -> int:
    """Return n of a cyclic or dihedral group ``Cn``/``Dn``; 1 for anything else."""
    digits = symmetry[1:]
    return int(digits) if symmetry[:1].upper() in ("C", "D") and digits.isdigit() and int(digits) > 0 else 1


def _per_series(particles: ParticleSet) -> dict[str, int]:
    return dict(Counter(particles.tilt_series_id.tolist()))


def _row(cuts: Cuts, name: str, threshold: float, separation: float, fraction: float) -> None:
    for key, value in zip(cuts, (name, threshold, separation, fraction), strict=True):
        cuts[key].append(value)


def _record_histogram(scores: Float, cut: float, ctx: StageContext) -> None:
    counts, edges = np.histogram(scores, bins=64)
    centres = 0.5 * (edges[1:] + edges[:-1])
    ctx.curve("score_histogram", centres, counts, x_label="score", y_label="n_particles")
    ctx.metric("score_threshold", cut)
    mark = (cut - edges[0]) / max(edges[-1] - edges[0], 1e-30) * len(counts)
    ctx.preview("score_histogram", picture_of_histogram(counts.astype(np.float64), mark))
