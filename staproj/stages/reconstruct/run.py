"""Tomograms of one tilt series at the wanted binnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from staproj.errors import InputError
from staproj.formats.mrc import MrcWriter
from staproj.model.tilt_series import TiltSeries
from staproj.model.tomogram import Slab, Tomograms
from staproj.stages.api import StageContext
from staproj.stages.reconstruct.declare import ReconstructParams
from staproj.stages.shared.tomogram import TomogramBuilder, TomogramOptions
from staproj.stages.shared.views import load_views
from staproj.units import ANGSTROM_PER_NM, Unit

AUTOMATIC_VOXEL_ANGSTROM = 12.0
_IN_MEMORY_BYTES = 2**30


def reconstruct(inputs: dict[str, Any], params: ReconstructParams, ctx: StageContext) -> dict[str, Tomograms]:
    """Run the stage: see the declaration."""
    series: TiltSeries = inputs["tilt_series"]
    correction = params.ctf_correction
    if correction != "none" and "ctf" not in inputs:
        correction = "none"
        ctx.fallback("no CTF is connected: the tomograms are not corrected for it")
    binnings = params.binning or (automatic_binning(series.pixel_size_angstrom),)
    if len(set(binnings)) != len(binnings):
        raise InputError(f"a binning is given twice: {list(binnings)}", where="binning")
    stacks: list[Literal["full", "odd", "even"]] = ["full", "odd", "even"] if params.halves else ["full"]
    paths: dict[str, list[Path]] = {name: [] for name in ("full", "odd", "even")}
    voxels: list[float] = []
    lines: list[str] = []
    for number, binning in enumerate(binnings):
        for stack in stacks:
            ctx.progress(number, len(binnings), f"bin {binning}")
            builder = _builder(inputs, params, ctx, binning, correction, stack)
            name = f"tomogram_bin{binning}" + ("" if stack == "full" else f"_{stack}") + ".mrc"
            preview = f"xy_bin{binning}" if stack == "full" else None
            paths[stack].append(_write(builder, ctx.out_dir() / name, ctx, preview))
        voxels.append(builder.views.pixel_size_angstrom)
        nz, ny, nx = builder.shape_zyx
        lines.append(f"{nx} x {ny} x {nz} voxels of {voxels[-1]:.2f} Å")
        ctx.metric(f"voxel_size_bin{binning}_angstrom", voxels[-1], Unit.ANGSTROM)
        ctx.metric(f"slab_thickness_bin{binning}_nm", builder.slab_voxels * voxels[-1] / 10, Unit.NANOMETRE)
    ctx.metric("n_views", float(builder.views.n_views))
    erased = len(inputs["gold"].position_xyz_angstrom) if "gold" in inputs else 0
    ctx.progress(len(binnings), len(binnings))
    ctx.verdict(
        f"{'; '.join(lines)} from {builder.views.n_views} views, CTF: {correction}, "
        f"exposure weights: {'on' if params.exposure_weighting else 'off'}, {erased} beads erased"
    )
    return {
        "tomograms": Tomograms(
            tilt_series_id=series.tilt_series_id,
            paths=tuple(paths["full"]),
            voxel_size_angstrom=tuple(voxels),
            binning=tuple(int(b) for b in binnings),
            contrast="dark",
            ctf_correction=correction,
            exposure_weighted=params.exposure_weighting,
            odd_paths=tuple(paths["odd"]),
            even_paths=tuple(paths["even"]),
        )
    }


def automatic_binning(pixel_size_angstrom: float) -> int:
    """Return the largest binning that keeps voxels at or below 12 Å, but 1 at least."""
    return max(1, int(AUTOMATIC_VOXEL_ANGSTROM / pixel_size_angstrom + 1e-6))


def _builder(
    inputs: dict[str, Any],
    params: ReconstructParams,
    ctx: StageContext,
    binning: int,
    correction: str,
    stack: Literal["full", "odd", "even"],
) -> TomogramBuilder:
    slab: Slab = inputs["slab"]
    series: TiltSeries = inputs["tilt_series"]
    views = load_views(
        series,
        inputs["alignment"],
        binning=binning,
        ctf=inputs.get("ctf"),
        gold=inputs.get("gold"),
        stack=stack,
        threads=ctx.threads,
        check=ctx.check_cancelled,
    )
    thickness = params.slab_thickness_nm
    options = TomogramOptions(
        size_xyz_angstrom=slab.size_xyz_angstrom,
        cutoff_cycles_per_px=params.cutoff_cycles_per_px,
        falloff_cycles_per_px=params.falloff_cycles_per_px,
        oversampling=params.oversampling,
        ctf_correction=correction,
        slab_thickness_angstrom=None if thickness is None else thickness * ANGSTROM_PER_NM,
        exposure_weighted=params.exposure_weighting,
        count_own_exposure=params.count_own_exposure,
    )
    return TomogramBuilder(views, series.microscope, options, ctx.threads, ctx.check_cancelled)


def _write(builder: TomogramBuilder, path: Path, ctx: StageContext, preview: str | None) -> Path:
    """Build, normalise to mean 0 and SD 1, write; big volumes wait on disk, not in memory."""
    volume = _storage(builder.shape_zyx, ctx.scratch / (path.stem + ".raw"))
    total = total2 = 0.0
    for first, block in builder.blocks():
        ctx.check_cancelled()
        volume[first : first + len(block)] = block
        total += float(block.sum(dtype=np.float64))
        total2 += float(np.square(block, dtype=np.float64).sum())
    mean = total / volume.size
    sd = float(np.sqrt(max(total2 / volume.size - mean**2, 0.0))) or 1.0
    with MrcWriter(path, builder.shape_zyx, builder.views.pixel_size_angstrom, volume=True) as writer:
        for section in volume:
            writer.append((section - np.float32(mean)) / np.float32(sd))
    if preview is not None:
        middle, depth = builder.shape_zyx[0] // 2, max(1, round(50.0 / builder.views.pixel_size_angstrom))
        ctx.preview(preview, volume[max(0, middle - depth) : middle + depth + 1].mean(axis=0))
        ctx.preview(preview.replace("xy", "xz"), volume[:, builder.shape_zyx[1] // 2, :])
    return path


def _storage(shape: tuple[int, int, int], path: Path) -> NDArray[np.float32]:
    if 4 * int(np.prod(shape)) <= _IN_MEMORY_BYTES:
        return np.empty(shape, dtype=np.float32)
    return np.memmap(path, dtype=np.float32, mode="w+", shape=shape)
