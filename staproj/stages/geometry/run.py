"""Spheres of one tilt series, found in its coarsest tomogram."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import InputError
from staproj.formats.mrc import read_mrc
from staproj.kernels import spheres as kernel
from staproj.model.surfaces import Spheres
from staproj.model.tomogram import Tomograms
from staproj.stages.api import StageContext
from staproj.stages.geometry.declare import GeometryParams
from staproj.units import Unit

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

SEARCH_VOXEL_FRACTION = 0.8  # of the layer's SD: coarse enough to be quick, fine enough to show the layer
_FINE_SIGMA_ANGSTROM = 20.0
_FINE_VOXEL_FRACTION = 0.75  # of that SD
_REACH_ANGSTROM = 45.0


def find_spheres(inputs: dict[str, Any], params: GeometryParams, ctx: StageContext) -> dict[str, Spheres]:
    """Run the stage: see the declaration."""
    tomograms: Tomograms = inputs["tomograms"]
    coarsest = int(np.argmax(tomograms.voxel_size_angstrom))
    bright, voxel = _read_bright(tomograms, coarsest)
    ctx.check_cancelled()
    found = _detect(bright, voxel, params, ctx)
    threshold = max(params.min_score_sd, params.min_relative_score * float(found.score.max(initial=0.0)))
    good = found.score >= threshold
    centre, radius = _refine(bright, voxel, found.centre_xyz[good], found.radius[good], ctx)
    score = found.score[good]
    kept = _drop_overlaps(centre, radius, params.min_separation)
    centre, radius, score = centre[kept], radius[kept], score[kept]
    _record(bright, voxel, centre, radius, score, found.score, threshold, ctx)
    return {
        "geometry": Spheres(
            tilt_series_id=tomograms.tilt_series_id,
            object_id=np.arange(len(radius), dtype=np.int64),
            centre_xyz_angstrom=centre,
            radius_angstrom=radius,
            score=score,
        )
    }


def _read_bright(tomograms: Tomograms, index: int) -> tuple[Float32, float]:
    path = tomograms.paths[index]
    volume, _ = read_mrc(path)
    if min(volume.shape) < 8:
        raise InputError(f"the tomogram is only {volume.shape} voxels", where=str(path))
    sign = -1.0 if tomograms.contrast == "dark" else 1.0
    clipped = np.clip(
        volume, *np.percentile(volume[::2, ::2, ::2], [0.01, 99.99])
    )  # what is left of gold must not dominate
    spread = float(clipped.std(dtype=np.float64)) or 1.0
    return np.asarray(sign / spread * (clipped - clipped.mean()), dtype=np.float32), float(
        tomograms.voxel_size_angstrom[index]
    )


def _detect(
    bright: Float32, voxel: float, params: GeometryParams, ctx: StageContext
) -> kernel.SphereCandidates:
    """Search on a coarse grid; centres and radii come back in Å."""
    step = max(1, int(SEARCH_VOXEL_FRACTION * params.layer_sigma_angstrom / voxel + 1e-6))
    coarse = voxel * step
    spacing = min(coarse, 0.7 * params.layer_sigma_angstrom)
    radii = np.arange(params.radius_min_angstrom, params.radius_max_angstrom + 0.5 * spacing, spacing)

    def tick(done: int) -> None:
        ctx.progress(done, len(radii), "radii")
        ctx.check_cancelled()

    found = kernel.detect_shells(
        kernel.subsample(bright, step), radii / coarse, params.layer_sigma_angstrom / coarse,
        min_distance=params.min_separation, max_count=params.max_count, threads=ctx.threads, tick=tick,
    )  # fmt: skip
    return kernel.SphereCandidates(found.centre_xyz * coarse, found.radius * coarse, found.score)


def _refine(
    bright: Float32, voxel: float, centres: Float, radii: Float, ctx: StageContext
) -> tuple[Float, Float]:
    """Refine centres and radii (Å) on the smoothed tomogram."""
    step = max(1, int(_FINE_VOXEL_FRACTION * _FINE_SIGMA_ANGSTROM / voxel + 1e-6))
    voxel *= step
    smooth = kernel.band_pass(kernel.subsample(bright, step), max(0.5, _FINE_SIGMA_ANGSTROM / voxel))
    smooth /= float(smooth.std(dtype=np.float64)) or 1.0
    centre, radius = centres.copy(), radii.copy()
    for i in range(len(radii)):
        ctx.check_cancelled()
        moved, refined = kernel.refine_shell(
            smooth, centres[i] / voxel, radii[i] / voxel, _REACH_ANGSTROM / voxel
        )
        centre[i], radius[i] = moved * voxel, refined * voxel
    return centre, radius


def _drop_overlaps(centre: Float, radius: Float, separation: float) -> NDArray[np.int64]:
    """Return indices to keep: two candidates may have moved onto one sphere; the better one comes first."""
    kept: list[int] = []
    for i in range(len(radius)):
        apart = np.linalg.norm(centre[kept] - centre[i], axis=1)
        if np.all(apart >= separation * (radius[kept] + radius[i])):
            kept.append(i)
    return np.array(kept, dtype=np.int64)


def _record(
    bright: Float32,
    voxel: float,
    centre: Float,
    radius: Float,
    score: Float,
    all_scores: Float,
    threshold: float,
    ctx: StageContext,
) -> None:
    ctx.metric("n_spheres", float(len(radius)))
    ctx.metric("score_threshold_sd", threshold, Unit.SIGMA)
    ctx.table(
        "spheres",
        {
            "object_id": np.arange(len(radius)),
            "x_angstrom": centre[:, 0],
            "y_angstrom": centre[:, 1],
            "z_angstrom": centre[:, 2],
            "radius_angstrom": radius,
            "score_sd": score,
        },
        doc="VLPs, best score first",
    )
    ctx.curve("scores", np.arange(len(all_scores)), all_scores, x_label="candidate", y_label="score_sd")
    for i, (middle, extent) in enumerate(zip(centre, radius, strict=True)):
        distance = np.arange(max(0.0, extent - 150.0), extent + 150.0, 0.5 * voxel)
        profile = kernel.radial_profile(bright, middle / voxel, distance / voxel)
        known = np.isfinite(profile)
        ctx.curve(
            f"radial_profile_{i}",
            distance[known],
            profile[known],
            x_label="radius_angstrom",
            y_label="density",
        )
    ctx.preview("spheres_xy", _picture(bright, voxel, centre, radius))
    rejected = all_scores[all_scores < threshold]
    if not len(radius):
        best = f"{all_scores.max():.1f}" if len(all_scores) else "none"
        ctx.verdict(f"no VLP found: best score {best} SD, threshold {threshold:.1f} SD", warning=True)
        return
    next_best = f", best rejected {rejected.max():.1f}" if len(rejected) else ""
    ctx.verdict(
        f"{len(radius)} VLPs, radius {radius.min():.0f}-{radius.max():.0f} Å, "
        f"scores {score.min():.1f}-{score.max():.1f} SD (threshold {threshold:.1f}{next_best})"
    )


def _picture(bright: Float32, voxel: float, centre: Float, radius: Float) -> Float32:
    """Return the sections around the middle, averaged, with every sphere's outline drawn in."""
    height = float(np.mean(centre[:, 2])) if len(centre) else 0.0
    middle = int(np.clip(round(height / voxel) + bright.shape[0] // 2, 0, bright.shape[0] - 1))
    depth = max(1, round(60.0 / voxel))
    image = bright[max(0, middle - depth) : middle + depth + 1].mean(axis=0)
    mark = float(np.percentile(image, 99.9))
    ny, nx = image.shape
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    for (x, y, _), extent in zip(centre, radius, strict=True):
        column = np.rint((x + extent * np.cos(angle)) / voxel + nx // 2).astype(int)
        row = np.rint((y + extent * np.sin(angle)) / voxel + ny // 2).astype(int)
        inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
        image[row[inside], column[inside]] = mark
    return image
