"""Weight and sharpen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import InputError
from staproj.formats.mrc import write_mrc
from staproj.formats.star import read_star, require_columns
from staproj.kernels.sharpen import (
    GuinierFit,
    apply_b_factor,
    divide_mtf,
    filter_by_shell,
    fsc_weight,
    guinier_fit,
    low_pass,
    shell_amplitudes,
)
from staproj.model.maps import DensityMap, FscCurve, HalfMaps, Mask
from staproj.stages.api import StageContext
from staproj.stages.postprocess.declare import PostprocessParams
from staproj.stages.shared.half_map_fsc import measure_fsc, record_fsc
from staproj.stages.shared.maps_io import read_map, require_same_grid
from staproj.stages.shared.pictures import central_slices
from staproj.units import Unit

Float = NDArray[np.float64]


def postprocess(inputs: Mapping[str, Any], params: PostprocessParams, ctx: StageContext) -> dict[str, Any]:
    """Return the sharpened map and the FSC behind its weights."""
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
    ctx.check_cancelled()

    mean = _without_mtf(0.5 * (half_1.astype(np.float64) + half_2), params, voxel, ctx)
    weight = fsc_weight(curve.value) if params.fsc_weighting else np.ones(len(curve.value))
    b_factor = _b_factor(mean if mask is None else mean * mask, weight, curve, params, ctx)
    sharpened = apply_b_factor(filter_by_shell(mean, weight), b_factor, voxel)
    if params.lowpass_angstrom is not None:
        sharpened = low_pass(sharpened, params.lowpass_angstrom, voxel)
    path = write_mrc(ctx.out_dir() / "sharpened.mrc", sharpened.astype(np.float32), voxel)
    shown = sharpened if mask is None else sharpened * mask
    if mask is not None:
        write_mrc(ctx.out_dir() / "sharpened_masked.mrc", shown.astype(np.float32), voxel)
    _record_guinier(mean, shown, curve, ctx)
    ctx.preview("sharpened_slices", central_slices(shown))
    ctx.verdict(f"{text}, B = {b_factor:.0f} Å²", warning=warning)
    number = halves.n_particles_half_1 + halves.n_particles_half_2
    return {"map": DensityMap(path, voxel, halves.symmetry, number), "fsc": curve}


def _b_factor(
    volume: Float, weight: Float, curve: FscCurve, params: PostprocessParams, ctx: StageContext
) -> float:
    """Return the B-factor to apply, given or fitted; 0 where there is too little to fit."""
    if params.b_factor_angstrom2 is not None:
        ctx.metric("b_factor_angstrom2", params.b_factor_angstrom2, Unit.ANGSTROM2)
        return params.b_factor_angstrom2
    high = params.fit_high_angstrom or curve.resolution_angstrom
    try:
        fit: GuinierFit = guinier_fit(
            shell_amplitudes(volume) * weight, curve.frequency_per_angstrom, params.fit_low_angstrom, high
        )
    except ValueError as error:
        ctx.fallback(f"no B-factor was fitted ({error}): the map is weighted but not sharpened")
        ctx.metric("b_factor_angstrom2", 0.0, Unit.ANGSTROM2)
        return 0.0
    ctx.metric("guinier_correlation", fit.correlation)
    ctx.metric("guinier_shells", fit.n_shells)
    if fit.b_factor_angstrom2 > 0:
        ctx.fallback(f"the Guinier plot rises (B = {fit.b_factor_angstrom2:.0f} Å²): no B-factor was applied")
        ctx.metric("b_factor_angstrom2", 0.0, Unit.ANGSTROM2)
        return 0.0
    ctx.metric("b_factor_angstrom2", fit.b_factor_angstrom2, Unit.ANGSTROM2)
    return fit.b_factor_angstrom2


def _without_mtf(volume: Float, params: PostprocessParams, voxel: float, ctx: StageContext) -> Float:
    if params.mtf_star is None:
        return volume
    files = ctx.data_files(params.mtf_star)
    if len(files) != 1:
        raise InputError(
            f"mtf_star matches {len(files)} files, expected one", where=params.mtf_star, hint="give one file"
        )
    block = next(iter(read_star(files[0]).values()))
    table = require_columns(block, ("rlnResolutionInversePixel", "rlnMtfValue"), files[0], "")
    frequency = table["rlnResolutionInversePixel"].to_numpy(dtype=np.float64)
    value = table["rlnMtfValue"].to_numpy(dtype=np.float64)
    if len(frequency) < 2 or (np.diff(frequency) <= 0).any() or (value <= 0).any():
        raise InputError("the MTF must be positive, at rising frequencies", where=str(files[0]))
    detector = params.detector_pixel_angstrom or voxel
    divided: Float = divide_mtf(volume, frequency, value, detector / voxel)
    return divided


def _record_guinier(mean: Float, sharpened: Float, curve: FscCurve, ctx: StageContext) -> None:
    x = curve.frequency_per_angstrom**2
    for name, volume in (("guinier", mean), ("guinier_sharpened", sharpened)):
        amplitude = shell_amplitudes(volume)
        use = amplitude > 0
        ctx.curve(
            name,
            x[use],
            np.log(amplitude[use]),
            x_label="inverse_resolution_squared_per_angstrom2",
            y_label="log_amplitude",
        )
