"""Measure the FSC of half maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staproj.model.maps import HalfMaps, Mask
from staproj.stages.api import StageContext
from staproj.stages.fsc.declare import FscParams
from staproj.stages.shared.half_map_fsc import measure_fsc, record_fsc
from staproj.stages.shared.maps_io import read_map, require_same_grid
from staproj.stages.shared.pictures import central_slices


def fsc(inputs: Mapping[str, Any], params: FscParams, ctx: StageContext) -> dict[str, Any]:
    """Return the FSC curve of two half maps."""
    halves: HalfMaps = inputs["half_maps"]
    mask_file: Mask | None = inputs.get("mask")
    voxel = halves.voxel_size_angstrom
    half_1 = read_map(halves.half_1_path, voxel)
    half_2 = read_map(halves.half_2_path, voxel)
    require_same_grid(half_1, half_2, "the half maps", halves.half_2_path)
    mask = None
    if mask_file is not None:
        mask = read_map(mask_file.path, mask_file.voxel_size_angstrom)
        require_same_grid(half_1, mask, "half maps and mask", mask_file.path)
    curve = measure_fsc(half_1, half_2, mask, voxel, params.threshold, ctx.rng("random_phases"))
    text, warning = record_fsc(curve, mask is not None, ctx)
    ctx.preview("half_1_slices", central_slices(half_1))
    ctx.preview("half_2_slices", central_slices(half_2))
    ctx.verdict(text, warning=warning)
    return {"fsc": curve}
