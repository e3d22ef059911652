"""Make a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import EmptyResultError, InputError
from staproj.formats.mrc import write_mrc
from staproj.kernels.masking import (
    cylinder_mask,
    density_mask,
    inscribed_sphere,
    otsu_threshold,
    sphere_mask,
)
from staproj.kernels.sharpen import low_pass
from staproj.model.maps import DensityMap, Mask
from staproj.stages.api import StageContext
from staproj.stages.mask.declare import MaskParams
from staproj.stages.shared.maps_io import read_map
from staproj.stages.shared.pictures import central_slices

Float32 = NDArray[np.float32]


def make_mask(inputs: Mapping[str, Any], params: MaskParams, ctx: StageContext) -> dict[str, Any]:
    """Write a soft mask on the grid of the map."""
    source: DensityMap = inputs["map"]
    voxel = source.voxel_size_angstrom
    volume = read_map(source.path, voxel)
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    diameter = params.diameter_angstrom or 0.8 * min(shape) * voxel
    radius, edge = 0.5 * diameter / voxel, params.soft_edge_angstrom / voxel
    if params.shape == "sphere":
        mask = sphere_mask(shape, radius, edge)
    elif params.shape == "cylinder":
        height = (params.height_angstrom or diameter) / voxel
        mask = cylinder_mask(shape, radius, height, edge)
    else:
        mask = _from_density(volume, voxel, radius, params, ctx)
    if float(mask.max()) <= 0:
        raise EmptyResultError(
            "the mask is empty", where=str(source.path), hint="lower threshold or raise diameter_angstrom"
        )
    path = write_mrc(ctx.out_dir() / "mask.mrc", mask, voxel)
    fraction = float(mask.mean(dtype=np.float64))
    ctx.metric("mask_fraction", fraction)
    ctx.preview("mask_slices", central_slices(mask))
    ctx.preview("masked_map_slices", central_slices(volume * mask))
    ctx.verdict(
        f"{params.shape} mask covers {100 * fraction:.1f} % of the box, "
        f"soft edge {params.soft_edge_angstrom:g} Å",
        warning=fraction > 0.5 or fraction < 0.002,
    )
    return {"mask": Mask(path, voxel)}


def _from_density(
    volume: Float32, voxel: float, radius_voxel: float, params: MaskParams, ctx: StageContext
) -> Float32:
    """Threshold the low-passed map inside the bounding sphere, grow and soften."""
    filtered = volume
    if params.lowpass_angstrom > 2.5 * voxel:
        filtered = low_pass(volume, params.lowpass_angstrom, voxel)
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    within = inscribed_sphere(shape, radius_voxel)
    inner = filtered[within]
    if inner.size == 0 or float(np.ptp(inner)) <= 0:
        raise InputError("the map is flat inside the bounding sphere", hint="check the map and the diameter")
    threshold = otsu_threshold(inner) if params.threshold is None else params.threshold
    ctx.metric("threshold", threshold)
    extend, edge = params.extend_angstrom / voxel, params.soft_edge_angstrom / voxel
    return density_mask(filtered, threshold, extend, edge, within)
