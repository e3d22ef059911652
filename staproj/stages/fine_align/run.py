"""Stage ``fine_align``: bundle adjustment of bead tracks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import EmptyResultError, InputError
from staproj.kernels.align_fine import (
    Solution,
    Variables,
    Views,
    centre_tilts,
    fix_gauge,
    solve,
    solve_robust,
)
from staproj.kernels.align_models import ModelScore, choose_variables
from staproj.model.fiducials import FiducialTracks
from staproj.model.geometry import TiltGeometry, rotation_y
from staproj.stages.api import StageContext
from staproj.stages.fine_align.declare import FineAlignParams
from staproj.units import ANGSTROM_PER_NM, Unit

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class _Fit:
    """Everything that was fitted; views are the used ones with at least one track, in ``index``."""

    index: Int
    solution: Solution
    weight: Float
    seen: NDArray[np.bool_]
    variables: Variables
    scores: list[ModelScore]


def fine_align(inputs: dict[str, Any], params: FineAlignParams, ctx: StageContext) -> dict[str, Any]:
    """Return ``{"alignment": TiltGeometry}`` solved from tracks."""
    tracks: FiducialTracks = inputs["fiducials"]
    start: TiltGeometry = inputs["alignment"]
    _check(tracks, start)
    fit = _fit(tracks, start, params, ctx)
    nominal = np.deg2rad(start.tilt_deg[fit.index])
    views, angle = centre_tilts(fit.solution.views, nominal)
    position = fit.solution.position @ rotation_y(np.rad2deg(angle)).T
    views, position = fix_gauge(views, position, fit.weight, fit.variables)
    fit = replace(fit, solution=replace(fit.solution, views=views, position=position))
    geometry = _geometry(fit, start)
    _record(fit, geometry, start, ctx)
    return {"alignment": geometry}


def _check(tracks: FiducialTracks, start: TiltGeometry) -> None:
    where = tracks.tilt_series_id
    if tracks.tilt_series_id != start.tilt_series_id or tracks.position_xy_px.shape[1] != start.n_views:
        raise InputError(
            f"tracks of {where} ({tracks.position_xy_px.shape[1]} views) do not belong to the alignment of "
            f"{start.tilt_series_id} ({start.n_views} views)",
            where=where,
            hint="both must come from the same tilt series; rerun fiducials",
        )
    if not tracks.n_beads or not (tracks.weight > 0).any():
        raise EmptyResultError(
            "there are no bead tracks", where=where, hint="rerun fiducials with other settings"
        )


def _fit(tracks: FiducialTracks, start: TiltGeometry, params: FineAlignParams, ctx: StageContext) -> _Fit:
    measured = np.isfinite(tracks.position_xy_px).all(axis=-1) & (tracks.weight > 0) & start.view_used
    index = np.flatnonzero(measured.any(axis=0)).astype(np.int64)
    xy = np.nan_to_num(tracks.position_xy_px[:, index] - start.image_centre_xy_px)
    seen = measured[:, index]
    weight = seen.astype(np.float64)
    first = Views(
        axis=np.deg2rad(start.tilt_axis_deg[index]),
        tilt=np.deg2rad(start.tilt_deg[index]),
        log_mag=np.log(start.magnification[index]),
        shift=start.shift_xy_angstrom[index] / start.pixel_size_angstrom,
    )
    n_beads = int((seen.sum(axis=1) >= 4).sum())
    base, allowed = _freedom(params, n_beads, ctx)
    rough, robust = solve(xy, weight, first, base), weight
    if params.robust:
        # weights of a stiff model would call real deformation an outlier: weigh by a freer one
        free = base._replace(**dict.fromkeys(allowed, 5)) if n_beads >= 8 else base
        _, robust = solve_robust(xy, weight, rough.views, free, k_factor=params.k_factor)
    ctx.progress(1, 3, "comparing models by leave-out error")
    variables, scores = choose_variables(
        xy, robust, rough.views, base=base, allowed=allowed, check=ctx.check_cancelled
    )
    ctx.progress(2, 3, "solving")
    if params.robust:
        solution, robust = solve_robust(xy, weight, rough.views, variables, k_factor=params.k_factor)
    else:
        solution = solve(xy, weight, rough.views, variables)
    if not solution.converged:
        ctx.fallback("the last step still moved the solution by more than 1e-4 px")
    return _Fit(index, solution, robust, seen, variables, scores)


def _freedom(params: FineAlignParams, n_beads: int, ctx: StageContext) -> tuple[Variables, tuple[str, ...]]:
    """Return the stiffest model and what may be freed, from the settings and the number of beads."""
    if n_beads < 3:
        ctx.fallback(f"only {n_beads} beads: shifts are solved, axis, tilts and magnification are kept")
        return Variables(0, 0, 0), ()
    given = {
        "axis": params.axis_knots,
        "tilt": params.tilt_knots,
        "magnification": params.magnification_knots,
    }
    automatic = tuple(name for name in ("tilt", "axis", "magnification") if given[name] == "auto")
    numbers = {name: int(value) for name, value in given.items() if value != "auto"}
    if n_beads < 5 and automatic:
        ctx.fallback(f"only {n_beads} beads: variables that are not set are not freed beyond one axis angle")
        automatic = ()
    return Variables(**{"axis": 1, "tilt": 0, "magnification": 0, **numbers}), automatic


def _geometry(fit: _Fit, start: TiltGeometry) -> TiltGeometry:
    """Write the solution into a geometry; views without tracks follow their neighbours."""
    views, pixel = fit.solution.views, start.pixel_size_angstrom
    every = np.arange(start.n_views)

    def spread(values: Float) -> Float:
        return np.interp(every, fit.index, values)

    change = views.shift * pixel - start.shift_xy_angstrom[fit.index]
    tilt_change = np.rad2deg(views.tilt) - start.tilt_deg[fit.index]
    return replace(
        start,
        tilt_deg=start.tilt_deg + spread(tilt_change),
        tilt_axis_deg=spread(np.rad2deg(views.axis)),
        x_tilt_deg=np.zeros(start.n_views),
        magnification=spread(np.exp(views.log_mag)),
        shift_xy_angstrom=start.shift_xy_angstrom
        + np.stack([spread(change[:, k]) for k in range(2)], axis=-1),
    )


def _record(fit: _Fit, geometry: TiltGeometry, start: TiltGeometry, ctx: StageContext) -> None:
    length = np.linalg.norm(fit.solution.residual, axis=-1)
    pixel = geometry.pixel_size_angstrom
    kept = fit.seen & (fit.weight > 0)
    mean = float((fit.weight * length).sum() / fit.weight.sum())
    chosen = next(score for score in fit.scores if score.variables == fit.variables)
    _record_tables(fit, geometry, start, length, ctx)
    ctx.metric("residual_mean_px", mean, Unit.PIXEL)
    ctx.metric("residual_mean_nm", mean * pixel / ANGSTROM_PER_NM, Unit.NANOMETRE)
    ctx.metric("residual_unweighted_mean_px", float(length[fit.seen].mean()), Unit.PIXEL)
    known = bool(np.isfinite(chosen.leave_out_px))
    if known:
        ctx.metric("leave_out_error_px", chosen.leave_out_px, Unit.PIXEL)
        ctx.metric("leave_out_error_nm", chosen.leave_out_px * pixel / ANGSTROM_PER_NM, Unit.NANOMETRE)
    ctx.metric("n_beads", len(fit.seen))
    ctx.metric("n_measured", chosen.n_measured)
    ctx.metric("n_variables", chosen.n_variables)
    ctx.metric("rejected_share", 1.0 - float(kept.sum() / fit.seen.sum()))
    ctx.metric("tilt_axis_mean_deg", float(geometry.tilt_axis_deg[fit.index].mean()), Unit.DEGREE)
    per_view = (length * fit.seen).sum(axis=0) / np.maximum(fit.seen.sum(axis=0), 1)
    bad = fit.index[per_view > 4.0 * max(float(np.median(per_view)), 0.05)]
    ctx.metric("residual_worst_view_px", float(per_view.max()), Unit.PIXEL)
    if len(bad):
        ctx.log(
            f"views with residuals far above the others: {bad.tolist()}; look at them, maybe exclude them"
        )
    missing = np.flatnonzero(geometry.view_used & ~np.isin(np.arange(geometry.n_views), fit.index))
    if len(missing):
        ctx.fallback(f"views {missing.tolist()} show no bead: placed between their neighbours")
    v = fit.variables
    left_out = f"{chosen.leave_out_px:.2f} px" if known else "unknown"
    ctx.verdict(
        f"residual {mean:.2f} px ({mean * pixel / ANGSTROM_PER_NM:.2f} nm) for {len(fit.seen)} beads, "
        f"leave-out error {left_out}; knots: axis {v.axis}, tilt {v.tilt}, "
        f"magnification {v.magnification}; "
        f"axis {geometry.tilt_axis_deg[fit.index].mean():.2f}°",
        warning=not chosen.leave_out_px < 3.0 or len(missing) > 0 or len(bad) > 0,
    )


def _record_tables(
    fit: _Fit, geometry: TiltGeometry, start: TiltGeometry, length: Float, ctx: StageContext
) -> None:
    index, pixel = fit.index, geometry.pixel_size_angstrom
    count = np.maximum(fit.seen.sum(axis=0), 1)
    per_view = (length * fit.seen).sum(axis=0) / count
    ctx.table(
        "models",
        {
            "axis_knots": [s.variables.axis for s in fit.scores],
            "tilt_knots": [s.variables.tilt for s in fit.scores],
            "magnification_knots": [s.variables.magnification for s in fit.scores],
            "n_variables": [s.n_variables for s in fit.scores],
            "measured_per_variable": [s.n_measured / s.n_variables for s in fit.scores],
            "residual_mean_px": [s.residual_px for s in fit.scores],
            "leave_bead_error_px": [s.leave_bead_px for s in fit.scores],
            "leave_run_error_px": [s.leave_run_px for s in fit.scores],
            "leave_out_error_px": [s.leave_out_px for s in fit.scores],
            "chosen": [s.variables == fit.variables for s in fit.scores],
        },
        "Models tried, in order; the chosen one has the lowest leave-out error by a clear margin.",
    )
    ctx.table(
        "views",
        {
            "view": index,
            "tilt_deg": geometry.tilt_deg[index],
            "tilt_change_deg": (geometry.tilt_deg - start.tilt_deg)[index],
            "tilt_axis_deg": geometry.tilt_axis_deg[index],
            "magnification": geometry.magnification[index],
            "shift_x_angstrom": geometry.shift_xy_angstrom[index, 0],
            "shift_y_angstrom": geometry.shift_xy_angstrom[index, 1],
            "n_beads": fit.seen.sum(axis=0),
            "residual_mean_px": per_view,
        },
        doc="Geometry of each view kept, how far its tilt moved in the fit, and how well its beads fit.",
    )
    beads = fit.seen.any(axis=1)
    position = fit.solution.position[beads] * pixel
    ctx.table(
        "beads",
        {
            "bead": np.flatnonzero(beads),
            "x_angstrom": position[:, 0],
            "y_angstrom": position[:, 1],
            "z_angstrom": position[:, 2],
            "n_views": fit.seen[beads].sum(axis=1),
            "residual_mean_px": (length * fit.seen).sum(axis=1)[beads] / fit.seen[beads].sum(axis=1),
            "mean_weight": fit.weight[beads].sum(axis=1) / fit.seen[beads].sum(axis=1),
        },
        doc="Beads used: place in the tomogram, views they were seen in, and how well they fit.",
    )
    tilt = geometry.tilt_deg[index]
    ctx.curve("residual", tilt, per_view, x_label="tilt_deg", y_label="residual_mean_px")
    ctx.curve("tilt_axis", tilt, geometry.tilt_axis_deg[index], x_label="tilt_deg", y_label="tilt_axis_deg")
    change = (geometry.tilt_deg - start.tilt_deg)[index]
    ctx.curve("tilt_change", tilt, change, x_label="tilt_deg", y_label="tilt_change_deg")
    ctx.curve(
        "magnification", tilt, geometry.magnification[index], x_label="tilt_deg", y_label="magnification"
    )
    ctx.preview("residuals", _residual_picture(fit.solution.residual, fit.seen))


def _residual_picture(residual: Float, seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return residual lengths as a picture: beads down, views across, ten pixels a cell."""
    length = np.where(seen, np.linalg.norm(residual, axis=-1), 0.0)
    scale = max(1, 240 // max(length.shape))
    return np.kron(length, np.ones((scale, scale))).astype(np.float32)
