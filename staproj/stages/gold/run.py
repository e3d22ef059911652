"""Gold beads of one tilt series in 3-D."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from staproj.kernels import gold as kernel
from staproj.kernels.erase import erase_discs
from staproj.model.fiducials import FiducialTracks, GoldModel
from staproj.model.geometry import TiltGeometry
from staproj.model.tilt_series import TiltSeries
from staproj.stages.api import StageContext
from staproj.stages.gold.declare import GoldParams
from staproj.stages.shared.tomogram import TomogramBuilder, TomogramOptions
from staproj.stages.shared.views import GOLD_RADIUS_FACTOR, ViewStack, load_views
from staproj.units import Unit

Float = NDArray[np.float64]

USUAL_DIAMETER_ANGSTROM = 100.0
PIXELS_PER_BEAD = 6.0
MIN_VIEWS = 3
MIN_CONTRAST_SD = 3.0  # of a disc in a view at PIXELS_PER_BEAD, where no tracked bead says what is typical


def find_gold(inputs: dict[str, Any], params: GoldParams, ctx: StageContext) -> dict[str, GoldModel]:
    """Run the stage: see the declaration."""
    series: TiltSeries = inputs["tilt_series"]
    geometry: TiltGeometry = inputs["alignment"]
    tracks: FiducialTracks | None = inputs.get("fiducials")
    diameter = params.bead_diameter_angstrom
    if diameter is None:
        diameter = USUAL_DIAMETER_ANGSTROM if tracks is None else tracks.bead_diameter_angstrom
    views = load_views(
        series, geometry, pixel_size_angstrom=diameter / PIXELS_PER_BEAD, threads=ctx.threads,
        check=ctx.check_cancelled,
    )  # fmt: skip
    tracked = np.zeros((0, 3)) if tracks is None else _place_tracks(geometry, tracks)
    lost = 0 if tracks is None else tracks.n_beads - len(tracked)
    if lost:
        ctx.log(f"{lost} tracks are seen in fewer than three views and were left out")
    ctx.progress(0.3, 1.0, "tomogram")
    found = np.zeros((0, 3))
    if params.find_more and params.max_count:
        found = _candidates(views, series, inputs, params, diameter, ctx)
    ctx.progress(0.8, 1.0, "views")
    position, contrast, is_new = _judge(views, tracked, found, diameter, params, ctx)
    ctx.check_cancelled()
    _record(views, position, contrast, is_new, diameter, len(found), ctx)
    typical = float(np.median(contrast)) if len(contrast) else 1.0
    return {
        "gold": GoldModel(
            tilt_series_id=series.tilt_series_id,
            position_xyz_angstrom=position,
            strength=contrast / typical if typical > 0 else contrast,
            diameter_angstrom=float(diameter),
        )
    }


def _place_tracks(geometry: TiltGeometry, tracks: FiducialTracks) -> Float:
    """Return 3-D positions (Å) of tracked beads by least squares over the used views."""
    scale = geometry.magnification[:, None, None] / geometry.pixel_size_angstrom
    weight = np.where(geometry.view_used, tracks.weight, 0.0)
    offset = geometry.project(np.zeros((1, 3)))[:, 0]
    position = kernel.triangulate(
        geometry.rot_view_from_tomo[:, :2] * scale, offset, tracks.position_xy_px, weight
    )
    known: Float = position[np.isfinite(position).all(axis=1)]
    return known


def _candidates(
    views: ViewStack,
    series: TiltSeries,
    inputs: dict[str, Any],
    params: GoldParams,
    diameter: float,
    ctx: StageContext,
) -> Float:
    """Return positions (Å) of peaks in a coarse tomogram without CTF correction."""
    px = views.pixel_size_angstrom
    extent = float(np.hypot(*series.image_shape_yx) * series.pixel_size_angstrom)
    size_x = size_y = extent
    depth = params.depth_range_angstrom
    if "slab" in inputs:
        size_x, size_y, size_z = inputs["slab"].size_xyz_angstrom
        depth = max(depth, size_z)
    # Beads are so dark that their streaks would dominate: what is darker than needed is clipped.
    calm = replace(views, images=np.clip(views.images, -12.0, 12.0))
    options = TomogramOptions((size_x + 2 * diameter, size_y + 2 * diameter, depth), oversampling=1)
    volume = TomogramBuilder(calm, series.microscope, options, ctx.threads, ctx.check_cancelled).volume()
    position, _ = kernel.bead_peaks(volume, diameter / px, params.min_peak_sd, params.max_count)
    return position * px


def _judge(
    views: ViewStack, tracked: Float, found: Float, diameter: float, params: GoldParams, ctx: StageContext
) -> tuple[Float, Float, NDArray[np.bool_]]:
    """Keep candidates that are as dark in the views as beads; refine and merge them with the tracked ones."""
    known = _contrast(views, tracked, diameter)
    far = np.array(
        [len(tracked) == 0 or np.linalg.norm(tracked - p, axis=1).min() > 0.75 * diameter for p in found]
    )
    new = found[far] if len(found) else found
    contrast = _contrast(views, new, diameter)
    if len(known) >= 3:
        threshold = params.min_relative_contrast * float(np.median(known))
    else:
        top = float(np.max(np.concatenate([known, contrast]), initial=MIN_CONTRAST_SD))
        threshold = max(MIN_CONTRAST_SD, kernel.split_by_gap(contrast, 0.3 * top, 0.8 * top))
        ctx.fallback(
            f"fewer than three tracked beads: gold is what is darker than {threshold:.1f} SD in the views"
        )
    new = _refine(views, new[contrast > threshold], diameter, ctx)
    position, values, is_new = list(tracked), list(known), [False] * len(tracked)
    each = _contrast_in_views(views, new, diameter)
    at = views.project(new)
    for i in np.argsort(-np.nan_to_num(each).sum(axis=0), kind="stable"):
        # Where another bead covers it, a view says nothing: false peaks are made of other beads' streaks.
        free = np.ones(views.n_views, dtype=bool)
        if position:
            gap = np.linalg.norm(views.project(np.array(position)) - at[:, i : i + 1], axis=2).min(axis=1)
            free = gap > diameter / views.pixel_size_angstrom
        own = _median_contrast(each[free, i : i + 1])[0]
        if own > threshold:
            position.append(new[i])
            values.append(float(own))
            is_new.append(True)
    ctx.metric("contrast_threshold_sd", threshold, Unit.SIGMA)
    return np.array(position).reshape(-1, 3), np.array(values, dtype=np.float64), np.array(is_new, dtype=bool)


def _contrast(views: ViewStack, position: Float, diameter: float) -> Float:
    """Return the median over views of how dark each bead is (SDs of a view); 0 where too few show it."""
    return _median_contrast(_contrast_in_views(views, position, diameter))


def _contrast_in_views(views: ViewStack, position: Float, diameter: float) -> Float:
    px = views.pixel_size_angstrom
    at = views.project(position)
    return np.array(
        [kernel.disc_contrast(views.images[v], at[v], diameter / px) for v in range(views.n_views)]
    )


def _median_contrast(each: Float) -> Float:
    """Return medians of ``[view, bead]`` over views that show the bead, 0 for fewer than three."""
    seen = np.isfinite(each).sum(axis=0) >= MIN_VIEWS
    out = np.zeros(each.shape[1])
    out[seen] = np.nanmedian(each[:, seen], axis=0)
    return out


def _refine(views: ViewStack, position: Float, diameter: float, ctx: StageContext) -> Float:
    """Move beads to where the views show them: centroids of darkness, then least squares."""
    px = views.pixel_size_angstrom
    scale = views.geometry.magnification[views.view_index, None, None] / (
        views.geometry.pixel_size_angstrom * views.binning_xy[:, None]
    )
    projection = views.rot_view_from_tomo[:, :2] * scale
    offset = views.project(np.zeros((1, 3)))[:, 0]
    for _ in range(2):
        if not len(position):
            break
        ctx.check_cancelled()
        at = views.project(position)
        seen = np.array(
            [kernel.dark_centroid(views.images[v], at[v], diameter / px) for v in range(views.n_views)]
        ).transpose(1, 0, 2)
        moved = kernel.triangulate(projection, offset, seen, np.ones(seen.shape[:2]))
        step = np.linalg.norm(moved - position, axis=1)
        position = np.where((step < diameter)[:, None], moved, position)
    return position


def _record(
    views: ViewStack,
    position: Float,
    contrast: Float,
    is_new: NDArray[np.bool_],
    diameter: float,
    n_candidates: int,
    ctx: StageContext,
) -> None:
    ctx.metric("n_beads", float(len(position)))
    ctx.metric("n_beads_not_tracked", float(is_new.sum()))
    ctx.metric("n_candidates", float(n_candidates))
    ctx.table(
        "beads",
        {
            "x_angstrom": position[:, 0],
            "y_angstrom": position[:, 1],
            "z_angstrom": position[:, 2],
            "contrast_sd": contrast,
            "found_in_tomogram": is_new,
        },
        doc="Beads in the order of the gold model; contrast is the median darkness in the views",
    )
    flat = int(np.argmin(np.abs(views.geometry.tilt_deg[views.view_index])))
    image = np.clip(views.images[flat], *np.percentile(views.images[flat], [0.5, 99.5]))
    at = views.project(position)[flat]
    erased = erase_discs(
        views.images[flat], at, GOLD_RADIUS_FACTOR * 0.5 * diameter / views.pixel_size_angstrom
    )
    ctx.preview(
        "before_and_after", np.concatenate([image, np.clip(erased, image.min(), image.max())], axis=1)
    )
    residue = scipy.ndimage.gaussian_filter(erased, diameter / views.pixel_size_angstrom / 3)
    ctx.metric(
        "darkest_left_sd", float((residue.min() - residue.mean()) / (residue.std() or 1.0)), Unit.SIGMA
    )
    if not len(position):
        ctx.verdict("no gold found", warning=True)
        return
    ctx.verdict(
        f"{len(position)} beads of {diameter:.0f} Å: {int((~is_new).sum())} tracked, "
        f"{int(is_new.sum())} found in the tomogram; contrast {contrast.min():.1f}-{contrast.max():.1f} SD"
    )
