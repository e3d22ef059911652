"""Stage ``coarse_align``: shifts of the views by cross-correlation."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from staproj.errors import EmptyResultError
from staproj.kernels.align_coarse import CoarseResult, CoarseSettings, align_views
from staproj.kernels.fourier import shift_image
from staproj.model.geometry import TiltGeometry
from staproj.model.tilt_series import TiltSeries
from staproj.stages.api import StageContext
from staproj.stages.coarse_align.declare import CoarseAlignParams
from staproj.stages.shared.views import ViewStack, load_views
from staproj.units import Unit

_PIXEL_ANGSTROM = 10.0
_SIDE_PX = (200, 1000)


def coarse_align(inputs: dict[str, Any], params: CoarseAlignParams, ctx: StageContext) -> dict[str, Any]:
    """Return ``{"alignment": TiltGeometry}`` with shifts from correlation."""
    series: TiltSeries = inputs["tilt_series"]
    axis = series.tilt_axis_deg if params.tilt_axis_deg is None else params.tilt_axis_deg
    nominal = TiltGeometry.nominal(
        series.tilt_series_id,
        series.stage_tilt_deg,
        axis,
        pixel_size_angstrom=series.pixel_size_angstrom,
        image_shape_yx=series.image_shape_yx,
        view_used=series.view_used,
    )
    if int(series.view_used.sum()) < 2:
        raise EmptyResultError(
            "fewer than two views are used",
            where=series.tilt_series_id,
            hint="check exclude_views of `clean`",
        )
    views = load_views(
        series,
        nominal,
        pixel_size_angstrom=params.pixel_size_angstrom or auto_pixel_size(series),
        threads=ctx.threads,
        check=ctx.check_cancelled,
    )
    pixel = views.pixel_size_angstrom
    longest = params.max_shift_angstrom or min(views.images.shape[1:]) * pixel / 3
    settings = CoarseSettings(
        low_sigma=params.low_sigma_cycles_per_px,
        high_radius=params.high_radius_cycles_per_px,
        high_sigma=params.high_sigma_cycles_per_px,
        taper=params.taper_fraction,
        max_shift_px=longest / pixel,
        min_peak_sd=params.min_peak_sd,
    )

    def step(done: int, total: int) -> None:
        ctx.check_cancelled()
        ctx.progress(done, total, "correlating neighbouring views")

    tilt = series.stage_tilt_deg[views.view_index]
    result = align_views(views.images, tilt, axis, np.ones(len(tilt), dtype=bool), settings, step)
    shift = result.shift_xy * views.binning_xy * series.pixel_size_angstrom
    index = np.arange(series.n_views)
    every = np.stack([np.interp(index, views.view_index, shift[:, k]) for k in range(2)], axis=-1)
    _record(views, tilt, shift, result, params, ctx)
    return {"alignment": dataclasses.replace(nominal, shift_xy_angstrom=every)}


def auto_pixel_size(series: TiltSeries) -> float:
    """Return about 10 Å, within bounds of the reduced image's sides, and never below the raw pixel."""
    raw = series.pixel_size_angstrom
    coarsest = raw * min(series.image_shape_yx) / _SIDE_PX[0]
    finest = raw * max(series.image_shape_yx) / _SIDE_PX[1]
    return max(raw, finest, min(_PIXEL_ANGSTROM, coarsest))


def _record(
    views: ViewStack,
    tilt: np.ndarray[Any, Any],
    shift: np.ndarray[Any, Any],
    result: CoarseResult,
    params: CoarseAlignParams,
    ctx: StageContext,
) -> None:
    numbers = views.view_index
    neighbour = np.where(result.neighbour >= 0, numbers[result.neighbour], -1)
    ctx.table(
        "views",
        {
            "view": numbers,
            "tilt_deg": tilt,
            "shift_x_angstrom": shift[:, 0],
            "shift_y_angstrom": shift[:, 1],
            "neighbour_view": neighbour,
            "peak_sd": np.nan_to_num(result.peak_sd),
        },
        "Content of a view lies at its centre plus the shift; the middle view has no neighbour and no peak.",
    )
    ctx.curve("shift_x", tilt, shift[:, 0], x_label="tilt_deg", y_label="shift_x_angstrom")
    ctx.curve("shift_y", tilt, shift[:, 1], x_label="tilt_deg", y_label="shift_y_angstrom")
    peaks = result.peak_sd[np.isfinite(result.peak_sd)]
    longest = float(np.linalg.norm(shift, axis=1).max())
    ctx.metric("peak_median_sd", float(np.median(peaks)), Unit.SIGMA)
    ctx.metric("peak_lowest_sd", float(peaks.min()), Unit.SIGMA)
    ctx.metric("shift_largest_angstrom", longest, Unit.ANGSTROM)
    ctx.preview("aligned_middle_views", _middle_sum(views, tilt, result))
    weak = np.flatnonzero(result.peak_sd < params.min_peak_sd)
    text = (
        f"{len(tilt)} views at {views.pixel_size_angstrom:.1f} Å/px; peaks {np.median(peaks):.1f} SD "
        f"(lowest {peaks.min():.1f}); largest shift {longest:.0f} Å"
    )
    if len(weak):
        ctx.fallback(f"views {numbers[weak].tolist()} have no clear peak and took their neighbour's shift")
    ctx.verdict(text, warning=bool(len(weak)))


def _middle_sum(views: ViewStack, tilt: np.ndarray[Any, Any], result: CoarseResult) -> np.ndarray[Any, Any]:
    """Average the five least tilted views after taking off their shifts."""
    middle = np.argsort(np.abs(tilt), kind="stable")[:5]
    moved = [
        shift_image(views.images[v], (-float(result.shift_xy[v, 1]), -float(result.shift_xy[v, 0])))
        for v in middle
    ]
    return np.asarray(np.mean(moved, axis=0), dtype=np.float32)
