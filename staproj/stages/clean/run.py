"""Views of one tilt series without X-rays, with blank and chosen views marked."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import EmptyResultError, InputError
from staproj.formats.mrc import MrcWriter, check_finite, map_mrc
from staproj.kernels.clean import SpikeOptions, Spikes, dark_views, fill_patches, find_spikes
from staproj.kernels.fourier import reduce_images
from staproj.model.tilt_series import TiltSeries
from staproj.stages.api import StageContext
from staproj.stages.clean.declare import CleanParams

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

_PREVIEW_PX = 256
_FEWEST_VIEWS = 3
_MANY_PIXELS = 0.005
_MANY_SPIKES_PER_MEGAPIXEL = 200.0


@dataclass
class _Tally:
    """What was found in each view."""

    spikes: list[int]
    pixels: list[int]
    too_large: list[int]
    mean: list[float]
    sd: list[float]


def clean_views(inputs: Mapping[str, Any], params: CleanParams, ctx: StageContext) -> dict[str, TiltSeries]:
    """Return ``{"tilt_series": TiltSeries}``; see the declaration.

    Raises
    ------
    InputError
        If ``exclude_views`` names a view that is not there.
    FormatError
        If a view holds NaN.
    EmptyResultError
        If fewer than three views are left.
    """
    series: TiltSeries = inputs["tilt_series"]
    _check_excluded(series, params)
    sources = {"views.mrc": series.stack_path}
    if series.odd_stack_path is not None and series.even_stack_path is not None:
        sources |= {"odd.mrc": series.odd_stack_path, "even.mrc": series.even_stack_path}
    tally = _Tally([], [], [], [], [])
    everywhere = np.zeros(series.image_shape_yx, dtype=np.float32)
    _write_stacks(series, sources, params, tally, everywhere, ctx)
    used, ratio = _views_to_use(series, tally, params, ctx)
    kept = int(used.sum())
    if kept < _FEWEST_VIEWS:
        raise EmptyResultError(
            f"{kept} of {series.n_views} views are left",
            where=f"tilt series {series.tilt_series_id}",
            hint="shorten exclude_views, or lower dark_view_fraction",
        )
    factor = max(1.0, max(series.image_shape_yx) / _PREVIEW_PX)
    ctx.preview("replaced_pixels", reduce_images(everywhere, factor))
    _record(series, tally, used, ratio, ctx)
    out = ctx.out_dir()
    cleaned = replace(
        series,
        stack_path=out / "views.mrc",
        view_used=used,
        odd_stack_path=out / "odd.mrc" if "odd.mrc" in sources else None,
        even_stack_path=out / "even.mrc" if "even.mrc" in sources else None,
    )
    return {"tilt_series": cleaned}


def _check_excluded(series: TiltSeries, params: CleanParams) -> None:
    wrong = [view for view in params.exclude_views if not 0 <= view < series.n_views]
    if wrong:
        raise InputError(
            f"exclude_views names view {wrong[0]}, but views are 0 to {series.n_views - 1}",
            where=f"tilt series {series.tilt_series_id}, parameter exclude_views",
            hint="views count from 0 in order of rising tilt",
        )


def _write_stacks(
    series: TiltSeries,
    sources: dict[str, Path],
    params: CleanParams,
    tally: _Tally,
    everywhere: Float32,
    ctx: StageContext,
) -> None:
    """Clean view by view; pixels found in the sum are replaced in odd and even sums as well."""
    options = SpikeOptions(
        scan_sd=params.scan_sd,
        peak_sd=params.peak_sd,
        difference_sd=params.difference_sd,
        grow_sd=params.grow_sd,
        max_radius_px=params.max_radius_px,
    )
    shape = (series.n_views, *series.image_shape_yx)
    out = ctx.out_dir()
    with ExitStack() as stack:
        data = {}
        writers = {}
        for name, path in sources.items():
            data[name], info = map_mrc(path)
            if info.shape_zyx != shape:
                raise InputError(
                    f"the stack holds {info.shape_zyx}, not {shape}",
                    where=str(path),
                    hint="run the step that made it again",
                )
            dtype = np.float16 if info.dtype.itemsize == 2 and info.dtype.kind == "f" else np.float32
            writer = MrcWriter(out / name, shape, series.pixel_size_angstrom, dtype=dtype)
            writers[name] = stack.enter_context(writer)
        for view in range(series.n_views):
            ctx.check_cancelled()
            ctx.progress(view, series.n_views)
            mask = np.zeros(series.image_shape_yx, dtype=bool)
            for name, path in sources.items():
                check_finite(data[name][view], path, view)
                image = np.array(data[name][view], dtype=np.float32)
                if name == "views.mrc":
                    mask = _find(image, view, params, options, tally)
                    everywhere += mask
                writers[name].append(fill_patches(image, mask, options) if mask.any() else image)


def _find(image: Float32, view: int, params: CleanParams, options: SpikeOptions, tally: _Tally) -> Bool:
    """Find what to replace in a view and note its numbers."""
    tally.mean.append(float(image.mean(dtype=np.float64)))
    tally.sd.append(float(image.std(dtype=np.float64)))
    found = Spikes(np.zeros(image.shape, dtype=bool), 0, 0)
    if params.remove_xrays and tally.sd[view] > 0:
        found = find_spikes(image, options)
        if params.dark_spikes_too:
            dark = find_spikes(-image, options)
            found = Spikes(found.mask | dark.mask, found.count + dark.count, found.too_large + dark.too_large)
    tally.spikes.append(found.count)
    tally.pixels.append(int(found.mask.sum()))
    tally.too_large.append(found.too_large)
    return found.mask


def _views_to_use(
    series: TiltSeries, tally: _Tally, params: CleanParams, ctx: StageContext
) -> tuple[Bool, Float]:
    """Return which views to use, and each view's signal relative to the expected one (NaN if unknown)."""
    mean, sd = np.array(tally.mean), np.array(tally.sd)
    used = series.view_used.copy()
    used[params.exclude_views] = False
    blank = sd <= 0
    ratio = np.full(series.n_views, np.nan)
    if params.dark_view_fraction > 0:
        # Stacks that were normalised to mean 0 say nothing about the signal.
        if np.median(mean) > 0.5 * np.median(sd):
            dark, ratio = dark_views(
                mean, series.exposure_e_per_angstrom2, series.stage_tilt_deg, params.dark_view_fraction
            )
            blank |= dark
        else:
            ctx.log("grey values are not counts (mean near 0), so dark views cannot be told")
    newly = blank & used
    if newly.any():
        names = ", ".join(f"{v} ({series.stage_tilt_deg[v]:.1f} deg)" for v in np.flatnonzero(newly))
        ctx.fallback(f"{series.tilt_series_id}: views {names} are blank or dark and are left out")
    return used & ~blank, ratio


def _record(series: TiltSeries, tally: _Tally, used: Bool, ratio: Float, ctx: StageContext) -> None:
    ctx.table(
        "views",
        {
            "view": np.arange(series.n_views),
            "stage_tilt_deg": series.stage_tilt_deg,
            "used": used,
            "n_spikes": tally.spikes,
            "n_pixels": tally.pixels,
            "n_too_large": tally.too_large,
            "mean_count": tally.mean,
            "sd_count": tally.sd,
            "signal_ratio": ratio,
        },
        doc="One row a view; signal_ratio is the mean relative to what tilt and exposure explain.",
    )
    ctx.curve("mean_count", series.stage_tilt_deg, tally.mean, x_label="stage_tilt_deg", y_label="mean_count")
    spikes, pixels = sum(tally.spikes), sum(tally.pixels)
    total = series.n_views * series.image_shape_yx[0] * series.image_shape_yx[1]
    ctx.metric("n_spikes", spikes)
    ctx.metric("n_pixels_replaced", pixels)
    ctx.metric("n_views_used", int(used.sum()))
    many = pixels > _MANY_PIXELS * total or spikes > _MANY_SPIKES_PER_MEGAPIXEL * total / 1e6
    text = (
        f"{spikes} X-rays ({pixels} pixels) replaced in {series.n_views} views; {int(used.sum())} views used"
    )
    left_out = np.flatnonzero(~used)
    if len(left_out):
        text += f", left out: {', '.join(str(v) for v in left_out)}"
    if many:
        text += "; that is many: look at the picture of replaced pixels"
    ctx.verdict(text, warning=many)
