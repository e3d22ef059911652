"""Stage ``position``: the slab, and the frame that lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.kernels.align_fine import Views, triangulate
from staproj.kernels.slab import (
    Density,
    Layers,
    coarse_tomogram,
    extent_along,
    find_density,
    fit_layers,
    fit_plane,
    local_power,
)
from staproj.model.fiducials import FiducialTracks, GoldModel
from staproj.model.geometry import TiltGeometry, rotation_x, rotation_y
from staproj.model.tilt_series import TiltSeries
from staproj.model.tomogram import Slab
from staproj.stages.api import StageContext
from staproj.stages.position.declare import PositionParams
from staproj.stages.shared.views import load_views
from staproj.units import Unit

Float = NDArray[np.float64]

_LAYER_ROUGHNESS_ANGSTROM = 40.0
_SIGNIFICANT = 0.05
_DENSITY_COVERAGE = 0.4
_BLOCK_ANGSTROM = 300.0
_MIN_SIZE_ANGSTROM = 150.0
_UNKNOWN_THICKNESS_ANGSTROM = 3000.0  # thicker than ice that tomograms are made of as a rule
_NEAR_RIGHT_ANGLE_DEG = 15.0


@dataclass(frozen=True)
class _Evidence:
    """What was seen, in the frame before: dense voxels ``[n, 3]`` Å with weights, beads ``[n, 3]`` Å."""

    density: Density
    points: Float
    weight: Float
    voxel: float
    beads: Float
    bead_diameter: float


def position(inputs: dict[str, Any], params: PositionParams, ctx: StageContext) -> dict[str, Any]:
    """Return ``{"alignment": TiltGeometry, "slab": Slab}``."""
    series: TiltSeries = inputs["tilt_series"]
    geometry: TiltGeometry = inputs["alignment"]
    fiducials: FiducialTracks | None = inputs.get("fiducials")
    beads = np.zeros((0, 3)) if fiducials is None else bead_positions(fiducials, geometry)
    diameter = 0.0 if fiducials is None else fiducials.bead_diameter_angstrom
    evidence = _look(series, geometry, beads, diameter, params, ctx)
    tilt, x_tilt, source = _tilts(evidence, params, ctx)
    rotation = rotation_y(tilt) @ rotation_x(x_tilt)
    low, high = _extent(evidence, rotation, params, ctx)
    middle, thickness = 0.5 * (low + high), high - low
    z_shift = middle / float(rotation[2, 2])
    if params.z_shift_angstrom != "auto":
        z_shift = float(params.z_shift_angstrom)
    if params.thickness_angstrom != "auto":
        thickness = float(params.thickness_angstrom)
    elif params.z_shift_angstrom != "auto":
        thickness += 2.0 * abs(z_shift * float(rotation[2, 2]) - middle)
    moved = geometry.in_new_frame(rotation, np.array([0.0, 0.0, z_shift]))
    size_x, size_y = field_size_angstrom(geometry)
    slab = Slab(
        tilt_series_id=series.tilt_series_id,
        thickness_angstrom=float(thickness),
        size_xyz_angstrom=(size_x, size_y, float(thickness)),
        tilt_offset_deg=float(tilt),
        x_tilt_deg=float(x_tilt),
        z_shift_angstrom=float(z_shift),
    )
    _record(evidence, slab, rotation, source, ctx)
    return {"alignment": moved, "slab": slab}


def bead_positions(fiducials: FiducialTracks, geometry: TiltGeometry) -> Float:
    """Place beads seen four times or more, ``[bead, 3]`` Å, for a geometry without x-tilt."""
    measured = (
        np.isfinite(fiducials.position_xy_px).all(axis=-1) & (fiducials.weight > 0) & geometry.view_used
    )
    views = Views(
        axis=np.deg2rad(geometry.tilt_axis_deg),
        tilt=np.deg2rad(geometry.tilt_deg),
        log_mag=np.log(geometry.magnification),
        shift=geometry.shift_xy_angstrom / geometry.pixel_size_angstrom,
    )
    xy = np.nan_to_num(fiducials.position_xy_px - geometry.image_centre_xy_px)
    placed = triangulate(xy, np.where(measured, fiducials.weight, 0.0), views)
    enough: Float = placed[measured.sum(axis=1) >= 4] * geometry.pixel_size_angstrom
    return enough


def field_size_angstrom(geometry: TiltGeometry) -> tuple[float, float]:
    """Return the size of the field along specimen x and y, Å.

    Image sides, exchanged where the axis is nearer x than y; the box around the turned image where the
    axis is more than 15 degrees off both.
    """
    ny, nx = geometry.image_shape_yx
    width, height = nx * geometry.pixel_size_angstrom, ny * geometry.pixel_size_angstrom
    angle = float(np.mean(geometry.tilt_axis_deg[geometry.view_used]))
    cos, sin = abs(np.cos(np.deg2rad(angle))), abs(np.sin(np.deg2rad(angle)))
    near = np.sin(np.deg2rad(_NEAR_RIGHT_ANGLE_DEG))
    if sin < near:
        return width, height
    if cos < near:
        return height, width
    return float(width * cos + height * sin), float(width * sin + height * cos)


def _look(
    series: TiltSeries,
    geometry: TiltGeometry,
    beads: Float,
    diameter: float,
    params: PositionParams,
    ctx: StageContext,
) -> _Evidence:
    """Make the coarse tomogram and find what is dense in it."""
    ctx.progress(0, 3, "reading views")
    gold = None
    if len(beads):
        gold = GoldModel(series.tilt_series_id, beads, np.ones(len(beads)), diameter)
    views = load_views(
        series,
        geometry,
        pixel_size_angstrom=max(params.voxel_size_angstrom, series.pixel_size_angstrom),
        gold=gold,
        threads=ctx.threads,
        check=ctx.check_cancelled,
    )
    ctx.progress(1, 3, "coarse tomogram")
    voxel = views.pixel_size_angstrom
    size_x, size_y = field_size_angstrom(geometry)
    shape = (
        2 * round(params.search_thickness_angstrom / voxel / 2),
        2 * round(size_y / voxel / 2),
        2 * round(size_x / voxel / 2),
    )
    magnification = geometry.magnification[views.view_index, None, None]
    volume = coarse_tomogram(
        views.images,
        views.rot_view_from_tomo[:, :2] * magnification,
        views.project(np.zeros((1, 3)))[:, 0],
        shape,
        threads=ctx.threads,
        check=ctx.check_cancelled,
    )
    ctx.progress(2, 3, "looking for density")
    power = local_power(volume, 25.0 / voxel, 100.0 / voxel, 25.0 / voxel)
    smallest = max(8, int((_MIN_SIZE_ANGSTROM / voxel) ** 3))
    density = find_density(power, params.density_threshold_sd, smallest, max(2, int(100.0 / voxel)))
    z, y, x = np.nonzero(density.mask)
    centre = np.array([shape[2] // 2, shape[1] // 2, shape[0] // 2])
    points = (np.stack([x, y, z], axis=-1) - centre) * voxel
    weight = np.minimum(density.excess[density.mask].astype(np.float64), 3.0 * params.density_threshold_sd)
    ctx.preview("density_from_the_side", np.sqrt(power.mean(axis=1)))
    ctx.preview("middle_section", volume[shape[0] // 2 - 2 : shape[0] // 2 + 3].mean(axis=0))
    return _Evidence(density, points, weight, voxel, beads, diameter)


def _tilts(evidence: _Evidence, params: PositionParams, ctx: StageContext) -> tuple[float, float, str]:
    """Return tilt offset and x-tilt (deg) and the word that says where they are from."""
    tilt, x_tilt, source = 0.0, 0.0, "kept"
    if "auto" in (params.tilt_offset_deg, params.x_tilt_deg):
        slopes = _slopes_of_beads(evidence, params, ctx)
        source = "bead layers"
        if slopes is None:
            slopes, source = _slopes_of_density(evidence, params), "density"
        if slopes is None:
            slopes, source = (0.0, 0.0), "kept"
            ctx.fallback("neither beads nor density show how the slab is tilted: its tilt is left as it is")
        tilt, x_tilt = tilts_of_plane(*slopes)
    if params.tilt_offset_deg != "auto":
        tilt = float(params.tilt_offset_deg)
    if params.x_tilt_deg != "auto":
        x_tilt = float(params.x_tilt_deg)
    if "auto" not in (params.tilt_offset_deg, params.x_tilt_deg):
        source = "given"
    return tilt, x_tilt, source


def tilts_of_plane(slope_x: float, slope_y: float) -> tuple[float, float]:
    """Return (tilt offset, x-tilt) in deg whose ``Ry Rx`` turns +z to the normal of a plane."""
    norm = np.sqrt(1.0 + slope_x**2 + slope_y**2)
    tilt, x_tilt = -np.arctan(slope_x), np.arcsin(slope_y / norm)
    return float(np.rad2deg(tilt)) + 0.0, float(np.rad2deg(x_tilt)) + 0.0


def _slopes_of_beads(
    evidence: _Evidence, params: PositionParams, ctx: StageContext
) -> tuple[float, float] | None:
    if len(evidence.beads) < 6:
        return None
    layers: Layers = fit_layers(
        evidence.beads,
        ctx.rng("layers"),
        spread=_LAYER_ROUGHNESS_ANGSTROM,
        max_slope=max(0.01, float(np.tan(np.deg2rad(params.max_tilt_deg)))),
    )
    ctx.metric("bead_layers_probability", layers.probability)
    ctx.metric("beads_on_layers", layers.n_on_planes)
    ctx.log(f"layers of beads: {layers}")
    if layers.probability >= _SIGNIFICANT:
        return None
    return layers.slope_x, layers.slope_y


def _slopes_of_density(evidence: _Evidence, params: PositionParams) -> tuple[float, float] | None:
    block = max(2, int(_BLOCK_ANGSTROM / evidence.voxel))
    found = fit_plane(evidence.density.mask, evidence.density.excess, block, block)
    if found is None:
        return None
    slopes, errors, coverage = found
    steepest = np.tan(np.deg2rad(params.max_tilt_deg))
    clear = (np.abs(slopes) > 3.0 * errors).any() and (np.abs(slopes) < steepest).all()
    if coverage < _DENSITY_COVERAGE or not clear:
        return None
    return float(slopes[0]), float(slopes[1])


def _extent(
    evidence: _Evidence, rotation: Float, params: PositionParams, ctx: StageContext
) -> tuple[float, float]:
    """Return the lowest and highest height of the slab along its normal (rotation's third column), Å."""
    normal = rotation[:, 2]
    bounds: list[tuple[float, float]] = []
    if len(evidence.points):
        low, high = extent_along(evidence.points @ normal, evidence.weight, evidence.voxel)
        bounds.append((low - params.margin_angstrom, high + params.margin_angstrom))
        ctx.metric("density_low_angstrom", low, Unit.ANGSTROM)
        ctx.metric("density_high_angstrom", high, Unit.ANGSTROM)
    if len(evidence.beads):
        heights = evidence.beads @ normal
        bounds.append(
            (float(heights.min()) - evidence.bead_diameter, float(heights.max()) + evidence.bead_diameter)
        )
    if not len(evidence.points):
        middle = 0.5 * (bounds[0][0] + bounds[0][1]) if bounds else 0.0
        half = 0.5 * (bounds[0][1] - bounds[0][0]) + 3.0 * params.margin_angstrom if bounds else 0.0
        half = max(half, _UNKNOWN_THICKNESS_ANGSTROM / 2)
        ctx.fallback(f"nothing dense was found: {2 * half:.0f} Å about the beads (or the origin) are taken")
        bounds.append((middle - half, middle + half))
    return min(low for low, _ in bounds), max(high for _, high in bounds)


def _record(evidence: _Evidence, slab: Slab, rotation: Float, source: str, ctx: StageContext) -> None:
    ctx.metric("thickness_angstrom", slab.thickness_angstrom, Unit.ANGSTROM)
    ctx.metric("tilt_offset_deg", slab.tilt_offset_deg, Unit.DEGREE)
    ctx.metric("x_tilt_deg", slab.x_tilt_deg, Unit.DEGREE)
    ctx.metric("z_shift_angstrom", slab.z_shift_angstrom, Unit.ANGSTROM)
    ctx.metric("density_peak_sd", evidence.density.peak_sd, Unit.SIGMA)
    normal = rotation[:, 2]
    middle = slab.z_shift_angstrom * float(normal[2])
    if len(evidence.points):
        height = evidence.points @ normal - middle
        edges = np.arange(np.floor(height.min() / 50) * 50, height.max() + 51, 50)
        counts, _ = np.histogram(height, edges, weights=evidence.weight)
        centres = 0.5 * (edges[1:] + edges[:-1])
        ctx.curve("density_along_z", centres, counts, x_label="z_angstrom", y_label="excess_power_sd")
    beads = (evidence.beads - np.array([0.0, 0.0, slab.z_shift_angstrom])) @ rotation
    ctx.table(
        "beads",
        {"x_angstrom": beads[:, 0], "y_angstrom": beads[:, 1], "z_angstrom": beads[:, 2]},
        "Beads in the frame of the slab.",
    )
    size = slab.size_xyz_angstrom
    ctx.verdict(
        f"slab {slab.thickness_angstrom:.0f} Å thick, {size[0]:.0f} x {size[1]:.0f} Å; tilt offset "
        f"{slab.tilt_offset_deg:.2f}°, x-tilt {slab.x_tilt_deg:.2f}° ({source}); "
        f"z shift {slab.z_shift_angstrom:.0f} Å",
        warning=not len(evidence.points),
    )
