"""Stage ``fiducials``: tracks of gold beads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import EmptyResultError
from staproj.kernels.align_fine import Variables, Views, predict
from staproj.kernels.bead_tracks import (
    BeadModel,
    TrackSettings,
    drop_poor_beads,
    find_more_beads,
    follow_beads,
    isolated,
    remeasure,
    rescue_views,
    solve_model,
    visible,
)
from staproj.kernels.beads import (
    Candidates,
    Float32,
    estimate_diameter,
    filter_kernel,
    find_peaks,
    flatten,
    measure_profile,
    respond,
    sphere_profile,
)
from staproj.model.fiducials import FiducialTracks
from staproj.model.geometry import TiltGeometry
from staproj.model.tilt_series import TiltSeries
from staproj.stages.api import StageContext
from staproj.stages.fiducials.declare import FiducialsParams
from staproj.stages.shared.views import ViewStack, load_views
from staproj.units import Unit

Float = NDArray[np.float64]

_BEAD_PX = 12.0  # wide enough for a tenth of a pixel, small enough to be quick
_LOWEST_PEAK_SD = 5.0
_LOWEST_SEED_SD = 6.5
_PROFILE_STEP_PX = 0.5


@dataclass(frozen=True)
class _Result:
    model: BeadModel
    weight: Float
    settings: TrackSettings
    profile: Float


def find_fiducials(inputs: dict[str, Any], params: FiducialsParams, ctx: StageContext) -> dict[str, Any]:
    """Return ``{"fiducials": FiducialTracks}``."""
    series: TiltSeries = inputs["tilt_series"]
    geometry: TiltGeometry = inputs["alignment"]
    diameter = _bead_diameter(series, geometry, params, ctx)
    views = load_views(
        series,
        geometry,
        pixel_size_angstrom=diameter / _BEAD_PX,
        threads=ctx.threads,
        check=ctx.check_cancelled,
    )
    result = _track(views, diameter, params, ctx)
    tracks = _to_raw(result, views, series, diameter)
    _record(result, views, diameter, ctx)
    return {"fiducials": tracks}


def _bead_diameter(
    series: TiltSeries, geometry: TiltGeometry, params: FiducialsParams, ctx: StageContext
) -> float:
    if params.bead_diameter_angstrom != "auto":
        return float(params.bead_diameter_angstrom)
    views = load_views(
        series, geometry, pixel_size_angstrom=8.0, threads=ctx.threads, check=ctx.check_cancelled
    )
    pixel = views.pixel_size_angstrom
    middle = np.argsort(np.abs(geometry.tilt_deg[views.view_index]), kind="stable")[:5]
    scales = np.geomspace(max(40.0, 4.0 * pixel), 400.0, 14)
    found = estimate_diameter(views.images[middle], scales / pixel)
    if found is None:
        raise _no_beads(series.tilt_series_id, 8.0)
    ctx.log(f"bead diameter measured: {found * pixel:.0f} Å")
    return found * pixel


def _track(views: ViewStack, diameter: float, params: FiducialsParams, ctx: StageContext) -> _Result:
    """Find, follow and measure beads in px of the reduced views."""
    pixel = views.pixel_size_angstrom
    settings = TrackSettings(
        diameter=diameter / pixel,
        shift_search=params.shift_search_angstrom / pixel,
        depth_range=params.depth_range_angstrom / pixel,
        image_shape_yx=(views.images.shape[1], views.images.shape[2]),
        min_separation=params.min_separation_diameter,
        min_fraction=params.min_completeness,
    )
    used = np.ones(views.n_views, dtype=bool)
    start = _start_views(views)
    ctx.progress(0, params.rounds + 2, "looking for beads")
    flat = flatten(views.images, settings.diameter)
    radii = np.arange(0, 2 * settings.diameter, _PROFILE_STEP_PX)
    profile = sphere_profile(radii, settings.diameter)
    response, peaks = _search(flat, profile, settings, ctx)
    threshold = params.min_peak_sd or _seed_threshold(peaks, start.tilt)
    ctx.progress(1, params.rounds + 2, "following beads")
    where = views.tilt_series_id
    try:
        model = follow_beads(peaks, start, used, threshold, settings, ctx.check_cancelled)
    except ValueError as error:
        raise _no_beads(where, threshold) from error
    limit = 2.0 * params.max_residual_diameter * settings.diameter
    for number in range(params.rounds):
        ctx.progress(2 + number, params.rounds + 2, "measuring beads anew")
        ctx.check_cancelled()
        model, _ = solve_model(model, _variables(model), limit)
        model, lost = rescue_views(peaks, model, used, settings)
        model = find_more_beads(peaks, model, used, 0.6 * threshold, settings)
        model = remeasure(response, model, used, settings, 0.4, _LOWEST_PEAK_SD)
        model, weight = solve_model(model, _variables(model), limit)
        model = drop_poor_beads(model, used, settings)
        if not len(model.position):
            raise _no_beads(where, threshold)
        if number < params.rounds - 1:
            bead, view = np.nonzero(model.found)
            profile = measure_profile(
                flat, view, model.tracks[bead, view], settings.diameter, _PROFILE_STEP_PX
            )
            response, peaks = _search(flat, profile, settings, ctx)
        limit = params.max_residual_diameter * settings.diameter
    model, weight = solve_model(model, _variables(model), limit)
    if lost:
        ctx.log(f"views that had to be searched for again: {views.view_index[lost].tolist()}")
    return _Result(model, weight, settings, profile)


def _search(
    flat: Float32, profile: Float, settings: TrackSettings, ctx: StageContext
) -> tuple[Float32, list[Candidates]]:
    ctx.check_cancelled()
    response = respond(flat, filter_kernel(profile, _PROFILE_STEP_PX, settings.diameter))
    return response, [find_peaks(view, settings.diameter, _LOWEST_PEAK_SD) for view in response]


def _start_views(views: ViewStack) -> Views:
    geometry, index = views.geometry, views.view_index
    return Views(
        axis=np.deg2rad(geometry.tilt_axis_deg[index]),
        tilt=np.deg2rad(geometry.tilt_deg[index]),
        log_mag=np.log(geometry.magnification[index]),
        shift=geometry.shift_xy_angstrom[index] / geometry.pixel_size_angstrom / views.binning_xy,
    )


def _variables(model: BeadModel) -> Variables:
    """Few beads: the axis only. More: a little freedom in tilt and axis, so that predictions stay near."""
    if len(model.position) >= 8:
        return Variables(axis=4, tilt=4)
    return Variables(axis=1 if len(model.position) >= 3 else 0)


def _seed_threshold(peaks: list[Candidates], tilt: Float) -> float:
    """Return 0.4 of the median strength of the five strongest peaks of the middle views, at least 6.5 SD."""
    middle = np.argsort(np.abs(tilt), kind="stable")[:7]
    strongest = [np.median(peaks[v].height[:5]) for v in middle if len(peaks[v].height)]
    return max(_LOWEST_SEED_SD, 0.4 * float(np.median(strongest))) if strongest else _LOWEST_SEED_SD


def _no_beads(where: str, threshold: float) -> EmptyResultError:
    return EmptyResultError(
        f"no gold bead could be followed (threshold {threshold:.1f} SD)",
        where=where,
        hint="check bead_diameter_angstrom, lower min_peak_sd, or look whether there is gold at all",
    )


def _to_raw(result: _Result, views: ViewStack, series: TiltSeries, diameter: float) -> FiducialTracks:
    model = result.model
    n_beads = len(model.position)
    position = np.full((n_beads, series.n_views, 2), np.nan)
    weight = np.zeros((n_beads, series.n_views))
    position[:, views.view_index] = model.tracks * views.binning_xy + views.geometry.image_centre_xy_px
    weight[:, views.view_index] = np.where(model.found, np.clip(result.weight, 1e-3, 1.0), 0.0)
    return FiducialTracks(
        tilt_series_id=series.tilt_series_id,
        position_xy_px=position,
        weight=weight,
        bead_diameter_angstrom=diameter,
        pixel_size_angstrom=series.pixel_size_angstrom,
        image_shape_yx=series.image_shape_yx,
    )


def _record(result: _Result, views: ViewStack, diameter: float, ctx: StageContext) -> None:
    model, settings, pixel = result.model, result.settings, views.pixel_size_angstrom
    places = predict(model.views, model.position)
    inside = visible(places, settings)
    found = model.found
    clear = (inside & isolated(places, settings)) | found
    residual = np.where(found, np.linalg.norm(np.nan_to_num(model.tracks) - places, axis=-1), np.nan) * pixel
    ctx.table(
        "beads",
        {
            "bead": np.arange(len(found)),
            "n_views": found.sum(axis=1),
            "n_possible": clear.sum(axis=1),
            "n_overlapping": (inside & ~clear).sum(axis=1),
            "n_outside": (~inside).sum(axis=1),
            "completeness": found.sum(axis=1) / np.maximum(clear.sum(axis=1), 1),
            "strength_sd": np.nanmedian(model.height, axis=1),
            "x_angstrom": model.position[:, 0] * pixel,
            "y_angstrom": model.position[:, 1] * pixel,
            "z_angstrom": model.position[:, 2] * pixel,
            "residual_angstrom": np.nanmean(residual, axis=1),
        },
        "Views that could show a bead alone, and those where it was measured; residual of a simple solution.",
    )
    tilt = np.rad2deg(model.views.tilt)
    ctx.curve("beads_per_view", tilt, found.sum(axis=0), x_label="tilt_deg", y_label="n_beads")
    radii = np.arange(len(result.profile)) * _PROFILE_STEP_PX * pixel
    ctx.curve("bead_profile", radii, result.profile, x_label="radius_angstrom", y_label="mean_sd")
    ctx.preview("beads_in_middle_view", _picture(views, result))
    share = float(found.sum() / max(int(clear.sum()), 1))
    of_all = float(found.sum() / found.size)
    mean = float(np.nanmean(residual))
    ctx.metric("n_beads", len(found))
    ctx.metric("completeness", share)
    ctx.metric("found_of_all_views", of_all)
    ctx.metric("bead_diameter_angstrom", diameter, Unit.ANGSTROM)
    ctx.metric("residual_mean_angstrom", mean, Unit.ANGSTROM)
    ctx.metric("beads_per_view_least", int(found.sum(axis=0).min()))
    ctx.verdict(
        f"{len(found)} beads; found in {100 * share:.0f} % of the places where one stands alone in view "
        f"({100 * of_all:.0f} % of all views); residual {mean:.1f} Å",
        warning=len(found) < 4 or share < 0.7,
    )


def _picture(views: ViewStack, result: _Result) -> Float32:
    """Return the least tilted view with bright rings around tracked beads."""
    model = result.model
    view = int(np.argmin(np.abs(model.views.tilt)))
    image = np.clip(views.images[view], -4, 4).astype(np.float32)
    ny, nx = image.shape
    rows, columns = np.arange(ny)[:, None] - ny // 2, np.arange(nx)[None, :] - nx // 2
    for x, y in model.tracks[model.found[:, view], view]:
        radius = np.hypot(columns - x, rows - y)
        image[np.abs(radius - result.settings.diameter) < 0.8] = 4.0
    return image
