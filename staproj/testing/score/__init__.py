"""Score a project of simulated data against the truth.

``score_project(PROJECT, TRUTH)`` measures every part that the project has made; a part whose step has not
run is ``None`` and named under ``notes``. ``write_table`` makes the table that people read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from staproj.errors import InputError, StaprojError
from staproj.model.particles import ParticleSet
from staproj.testing.score import frames, maps, oracle, poses
from staproj.testing.score.project import Results
from staproj.testing.score.table import judge, write_table
from staproj.testing.truth import Truth, load_truth

__all__ = ["score_project", "write_table"]

_DRIFT_OUTLIERS_PERCENT = 95.0
# A third of the spacing: at a half, points strewn at random on the surface but as far apart as a lattice's
# would reach an F1 of 0.7, here less than 0.5.
MATCH_RADIUS_OVER_SPACING = 1.0 / 3.0


def score_project(
    project_dir: Path | str, truth_dir: Path | str, *, threads: int | None = None, with_oracle: bool = True
) -> dict[str, Any]:
    """Compare what a project has made with the truth.

    Returns
    -------
    dict
        Plain values for JSON: ``alignment``, ``drift``, ``ctf``, ``gold``, ``particles``, ``map`` (each
        ``None`` where nothing was made), ``series`` (alignment and ctf of every tilt series), ``notes``,
        ``pass_marks`` and ``passed`` (every pass mark was measured and holds).

    Raises
    ------
    InputError
        If there is no truth, or it is of other tilt series than the project.
    """
    truth = load_truth(truth_dir)
    results = Results(project_dir)
    fits, series = _alignments(truth, results)
    score: dict[str, Any] = {
        "project": str(project_dir),
        "truth": str(truth_dir),
        "alignment": _summary(series, "alignment", worst=("reprojection_rms_px",)),
        "drift": _drift(truth, results),
        "ctf": _ctf(truth, results, fits, series),
        "gold": _gold(truth, results, fits),
        "particles": _particles(truth, results, fits),
        "map": _map(truth, results, fits, threads or os.cpu_count() or 1, with_oracle),
        "series": series,
    }
    score["notes"] = list(dict.fromkeys(results.notes))
    score["pass_marks"] = judge(score)
    score["passed"] = all(mark["passed"] is True for mark in score["pass_marks"])
    return score


def _alignments(
    truth: Truth, results: Results
) -> tuple[dict[str, frames.FrameFit], dict[str, dict[str, Any]]]:
    found = results.per_item("alignment", "position", "fine_align", "coarse_align")
    if found and not set(found) & set(truth.series):
        raise InputError(
            f"the project has the tilt series {', '.join(found)}, the truth {', '.join(truth.series)}",
            hint="give the truth that belongs to the project's data",
        )
    fits: dict[str, frames.FrameFit] = {}
    series: dict[str, dict[str, Any]] = {}
    for name in sorted(set(found) & set(truth.series)):
        true = truth.series[name].alignment
        points = frames.slab_points(true, float(truth.info["slab_thickness_angstrom"]))
        try:
            fits[name] = frames.fit_frame(true, found[name], points)
        except InputError as error:
            results.notes.append(error.message)
            continue
        series[name] = {
            "alignment": {
                "reprojection_rms_px": fits[name].rms_px,
                "scale": fits[name].scale,
                "reprojection_rms_with_scale_px": fits[name].rms_with_scale_px,
                **frames.angle_errors(true, found[name], fits[name]),
            }
        }
    return fits, series


def _summary(series: dict[str, dict[str, Any]], part: str, worst: tuple[str, ...]) -> dict[str, Any] | None:
    """Average a part over the tilt series, but keep the worst of the numbers named in ``worst``."""
    rows = [one[part] for one in series.values() if part in one]
    if not rows:
        return None
    summary: dict[str, Any] = {}
    for key, first in rows[0].items():
        values = [row[key] for row in rows]
        if isinstance(first, bool):
            summary[key] = all(values)
        else:
            summary[key] = float(max(values) if key in worst else np.mean(values))
    return summary


def _drift(truth: Truth, results: Results) -> dict[str, float] | None:
    errors = []
    found = results.drift()
    for name, one in truth.series.items():
        if one.drift is None or name not in found or found[name].shape != one.drift.drift_xy_px.shape:
            continue
        measured = found[name] - found[name].mean(axis=1, keepdims=True)
        true = one.drift.drift_xy_px - one.drift.drift_xy_px.mean(axis=1, keepdims=True)
        errors.append(np.sqrt(((measured - true) ** 2).sum(axis=2)).ravel())
    if not errors:
        return None
    joined = np.concatenate(errors)
    return {
        "error_rms_px": float(np.sqrt((joined**2).mean())),
        "error_median_px": float(np.median(joined)),
        "error_p95_px": float(np.percentile(joined, _DRIFT_OUTLIERS_PERCENT)),
    }


def _ctf(
    truth: Truth, results: Results, fits: dict[str, frames.FrameFit], series: dict[str, dict[str, Any]]
) -> dict[str, Any] | None:
    found = results.per_item("ctf", "ctf")
    alignments = results.per_item("alignment", "position", "fine_align", "coarse_align") if found else {}
    for name, fit in fits.items():
        if name in found and name in alignments:
            series[name]["ctf"] = frames.defocus_errors(
                truth.series[name].ctf, found[name], alignments[name], fit
            )
    return _summary(series, "ctf", worst=("defocus_error_median_percent",))


def _gold(truth: Truth, results: Results, fits: dict[str, frames.FrameFit]) -> dict[str, Any] | None:
    found = results.per_item("gold", "gold")
    pairs = hits_found = hits_true = 0
    measured = False
    for name, fit in fits.items():
        if name not in found:
            continue
        measured = True
        true = truth.series[name].gold
        beads = fit.to_truth(found[name].position_xyz_angstrom)
        match = poses.match_points(beads, true.position_xyz_angstrom, 0.5 * true.diameter_angstrom)
        pairs, hits_found, hits_true = (
            pairs + len(match.found),
            hits_found + match.n_found,
            hits_true + match.n_true,
        )
    if not measured:
        return None
    none = np.zeros(pairs, dtype=np.int64)
    rates = poses.Matches(none, none, hits_found, hits_true).rates()
    return {**rates, "n_found": hits_found, "n_true": hits_true}


def _particles(truth: Truth, results: Results, fits: dict[str, frames.FrameFit]) -> dict[str, Any] | None:
    particles = results.particles("refine", "select", "match")
    if particles is None or not fits:
        return None
    found_parts, true_parts = [], []
    far = 0.0
    for name, fit in fits.items():
        # series lie far apart on one line, so that all are matched at once and share one reference
        far += 1e6
        away = np.array([far, 0.0, 0.0])
        found = fit.particles_to_truth(particles.of_series(name))
        true = truth.series[name].particles
        found_parts.append(found.with_columns(position_xyz_angstrom=found.position_xyz_angstrom + away))
        true_parts.append(true.with_columns(position_xyz_angstrom=true.position_xyz_angstrom + away))
    found, true = ParticleSet.concatenate(found_parts), ParticleSet.concatenate(true_parts)
    radius = MATCH_RADIUS_OVER_SPACING * truth.spacing_angstrom
    match, offset = poses.match_particles(found, true, radius)
    score: dict[str, Any] = {**match.rates(), "n_found": match.n_found, "n_true": match.n_true}
    score["match_radius_angstrom"] = radius
    if len(match.found):
        errors = poses.pose_errors(found.take(match.found), true.take(match.true), truth.symmetry, offset)
        score |= {
            "angular_error_median_deg": float(np.median(errors.angle_deg)),
            "angular_error_p90_deg": float(np.percentile(errors.angle_deg, 90)),
            "shift_error_median_angstrom": float(np.median(errors.shift_angstrom)),
            "shift_error_p90_angstrom": float(np.percentile(errors.shift_angstrom, 90)),
            "reference_azimuth_deg": errors.azimuth_deg,
            "reference_offset_angstrom": offset,
        }
    return score


def _map(
    truth: Truth, results: Results, fits: dict[str, frames.FrameFit], threads: int, with_oracle: bool
) -> dict[str, Any] | None:
    density = results.get("map", "average", "refine")
    if density is None:
        return None
    reference, reference_voxel = truth.reference()
    order = poses.rotation_order(truth.symmetry)
    volume, voxel = oracle.read_map(density)
    ours = maps.against_truth(volume, voxel, reference, reference_voxel, truth.info, order)
    score: dict[str, Any] = {
        "fsc05_angstrom": ours.fsc05_angstrom,
        "correlation": ours.correlation,
        "mirror_fsc05_angstrom": ours.mirror_fsc05_angstrom,
        "mirror_correlation": ours.mirror_correlation,
        "n_particles": density.n_particles,
        "voxel_size_angstrom": voxel,
        "frequency_per_angstrom": ours.frequency_per_angstrom.tolist(),
        "fsc": ours.fsc.tolist(),
        "oracle_fsc05_angstrom": None,
        "ratio_to_oracle": None,
        "half_map_fsc0143_angstrom": _half_maps(results, ours.mask),
    }
    curve = results.get("fsc", "postprocess", "fsc", "refine")
    score["quoted_resolution_angstrom"] = None if curve is None else float(curve.resolution_angstrom)
    if with_oracle and fits:
        _add_oracle(score, truth, results, fits, threads)
    return score


def _half_maps(results: Results, mask: maps.Float) -> float | None:
    halves = results.get("half_maps", "average", "refine")
    if halves is None:
        return None
    voxel = halves.voxel_size_angstrom
    first, second = (maps.read(path) for path in (halves.half_1_path, halves.half_2_path))
    return maps.half_maps(first, second, mask, voxel)


def _add_oracle(
    score: dict[str, Any], truth: Truth, results: Results, fits: dict[str, frames.FrameFit], threads: int
) -> None:
    """Average at the true poses with the project's alignment and CTF, and compare with that."""
    inputs = {
        "tilt_series": results.per_item("tilt_series", "clean", "motion", "import_stack"),
        "alignment": results.per_item("alignment", "position", "fine_align", "coarse_align"),
        "ctf": results.per_item("ctf", "ctf"),
        "gold": results.per_item("gold", "gold"),
        "tomograms": results.per_item("tomograms", "reconstruct"),
    }
    given = {name: value for name, value in inputs.items() if value}
    try:
        particles = oracle.true_particles(truth, fits)
        volume, voxel = oracle.oracle_average(particles, given, results.parameters("average"), threads)
    except StaprojError as error:
        results.notes.append(f"oracle average: {error.message}")
        return
    reference, reference_voxel = truth.reference()
    order = poses.rotation_order(truth.symmetry)
    bound = maps.against_truth(volume, voxel, reference, reference_voxel, truth.info, order)
    score["oracle_fsc05_angstrom"] = bound.fsc05_angstrom
    score["oracle_fsc"] = bound.fsc.tolist()
    score["ratio_to_oracle"] = score["fsc05_angstrom"] / bound.fsc05_angstrom
