"""What import stages make of a tilt series' metadata: order, exposures, axis, microscope, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from staproj.errors import FormatError, InputError
from staproj.formats.angles import duplicate_angles
from staproj.formats.mdoc import Mdoc, acquisition_order, read_mdoc
from staproj.model.microscope import Microscope
from staproj.stages.api import StageContext
from staproj.stages.shared.microscope_params import MicroscopeParams

Float = NDArray[np.float64]
Int = NDArray[np.int64]

DEFAULT_VOLTAGE_KV = 300.0
_PIXEL_SIZE_TOLERANCE = 0.01
_SIZE_RATIOS = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
_SIZE_RATIO_TOLERANCE = 0.03
_EXAMPLES = {
    "movies": "/data/frames/*.mrc",
    "mdoc": "/data/mdoc/*.mdoc",
    "stacks": "/data/*.st",
    "angles": "/data/*.rawtlt",
}
_UNSET_PIXEL_ANGSTROM = 1.0  # what many programs write when they know nothing


@dataclass(frozen=True, eq=False)
class SeriesFacts:
    """Numbers of one series; arrays have one entry a section, in the order of the mdoc."""

    tilt_deg: Float
    acquisition_index: Int
    exposure_e_per_angstrom2: Float
    pre_exposure_e_per_angstrom2: Float
    nominal_defocus_um: Float
    tilt_axis_deg: float
    microscope: Microscope


def read_mdocs(patterns: list[str], ctx: StageContext) -> dict[str, Mdoc]:
    """Read the mdoc files that patterns match, by tilt series.

    Raises
    ------
    InputError
        If nothing matches, or two files name the same series.
    """
    found: dict[str, Mdoc] = {}
    for path in matching_files(patterns, "mdoc", ctx):
        mdoc = read_mdoc(path)
        if mdoc.tilt_series_id in found:
            raise InputError(
                f"two mdoc files stand for tilt series {mdoc.tilt_series_id}",
                where=f"{found[mdoc.tilt_series_id].path} and {path}",
                hint="narrow the pattern `mdoc` so that each series has one file",
            )
        found[mdoc.tilt_series_id] = mdoc
    return found


def matching_files(patterns: list[str], key: str, ctx: StageContext) -> list[Path]:
    """Return the files of several patterns, sorted, each once.

    Raises
    ------
    InputError
        If there are no patterns, or one matches nothing.
    """
    if not patterns:
        raise InputError(
            f"no files were named for {key!r}",
            where=f"parameter {key!r} of the import step",
            hint=f'set it in the manifest, for instance {key} = ["{_EXAMPLES.get(key, "/data/*")}"]',
        )
    paths: dict[Path, None] = {}
    for pattern in patterns:
        matched = ctx.data_files(pattern)
        if not matched:
            raise InputError(
                f"no file matches {pattern!r}",
                where=f"parameter {key!r} of the import step",
                hint="check the path, and that the disk it is on is mounted",
            )
        paths.update(dict.fromkeys(matched))
    return sorted(paths)


def facts_from_mdoc(mdoc: Mdoc, params: MicroscopeParams, ctx: StageContext) -> SeriesFacts:
    """Take order, exposures, defocus, axis and microscope from an mdoc file and the overrides.

    Raises
    ------
    FormatError
        If two sections have the same tilt angle.
    InputError
        If exposure or tilt axis are neither in the file nor given.
    """
    series = mdoc.tilt_series_id
    tilt = np.array([section.tilt_deg for section in mdoc.sections], dtype=np.float64)
    check_angles(tilt, str(mdoc.path), [f"[ZValue = {section.number}]" for section in mdoc.sections])
    order = acquisition_order(mdoc)
    if order.source == "file":
        ctx.fallback(
            f"{series}: the mdoc has neither PriorRecordDose nor DateTime for every view, "
            "so views count as recorded in the order of the file"
        )
    written = [section.exposure_e_per_angstrom2 for section in mdoc.sections]
    known = np.array([np.nan if value is None else value for value in written])
    override = exposure_override(series, params)
    exposure = exposures(series, override, known, str(mdoc.path))
    if override is None and order.prior_e_per_angstrom2 is not None:
        pre = order.prior_e_per_angstrom2
    else:
        pre = accumulated(exposure, order.acquisition_index)
    axis = params.tilt_axis_deg if params.tilt_axis_deg is not None else mdoc.tilt_axis_deg
    return SeriesFacts(
        tilt_deg=tilt,
        acquisition_index=order.acquisition_index,
        exposure_e_per_angstrom2=exposure,
        pre_exposure_e_per_angstrom2=pre,
        nominal_defocus_um=np.array([section.nominal_defocus_um for section in mdoc.sections]),
        tilt_axis_deg=required_axis(axis, series, str(mdoc.path)),
        microscope=microscope(params, mdoc.voltage_kv, series, ctx),
    )


def check_angles(tilt_deg: Float, where: str, names: list[str]) -> None:
    """Refuse series in which two views have the same angle.

    Raises
    ------
    FormatError
        Naming the first pair.
    """
    pairs = duplicate_angles(tilt_deg)
    if pairs:
        first, second = sorted(pairs[0])
        raise FormatError(
            f"{names[first]} and {names[second]} have the same tilt angle {tilt_deg[first]:.2f} deg",
            where=where,
            hint="remove the view that was recorded again (or the failed one) from the file",
        )


def exposure_override(series: str, params: MicroscopeParams) -> float | None:
    """Return the exposure a person gave for a series, ``None`` where they gave none."""
    given = params.exposure_e_per_angstrom2
    if isinstance(given, dict):
        return given.get(series)
    return given


def exposures(series: str, override: float | None, known: Float, where: str) -> Float:
    """Return the exposure of every view: the override, else what the file says.

    Raises
    ------
    InputError
        If there is no override and a view has no exposure.
    """
    if override is not None:
        return np.full(len(known), override)
    missing = int(np.count_nonzero(~np.isfinite(known)))
    if missing:
        raise InputError(
            f"tilt series {series}: the exposure of {missing} of {len(known)} views is zero or not written",
            where=where,
            hint=f"set it in the manifest: [microscope] exposure_e_per_angstrom2 = {{ {series} = 3.0 }}, "
            "with the electrons/Å² that one view received",
        )
    return known


def accumulated(exposure: Float, acquisition_index: Int) -> Float:
    """Return what was received before each view: the sum over views recorded earlier."""
    order = np.argsort(acquisition_index, kind="stable")
    before = np.zeros(len(exposure))
    before[order] = np.concatenate([[0.0], np.cumsum(exposure[order])[:-1]])
    return before


def required_axis(axis: float | None, series: str, where: str) -> float:
    """Return the tilt axis, or say how to give it.

    Raises
    ------
    InputError
        If it is ``None``.
    """
    if axis is None:
        raise InputError(
            f"tilt series {series}: the direction of the tilt axis is not known",
            where=where,
            hint="set it in the manifest: [microscope] tilt_axis_deg = 85.3 (counter-clockwise from +y)",
        )
    return float(axis)


def microscope(params: MicroscopeParams, mdoc_kv: float | None, series: str, ctx: StageContext) -> Microscope:
    """Return the constants of the microscope; an unknown voltage is taken as 300 kV and recorded."""
    voltage = params.voltage_kv or mdoc_kv
    if voltage is None:
        ctx.fallback(f"{series}: the voltage is not written anywhere; {DEFAULT_VOLTAGE_KV:g} kV is assumed")
        voltage = DEFAULT_VOLTAGE_KV
    return Microscope(voltage, params.spherical_aberration_mm, params.amplitude_contrast)


def pixel_size(
    override: float | None, header: float, mdoc: Mdoc | None, shape_yx: tuple[int, int], path: Path
) -> float:
    """Return the pixel size of images: the override, else header and mdoc where they do not contradict.

    The mdoc may belong to images of another binning; its pixel size is scaled by the ratio of image sizes.
    A header that says exactly 1 Å is taken as "not set" where the mdoc knows better.

    Raises
    ------
    InputError
        If nothing is known, or header and mdoc contradict each other.
    """
    if override is not None:
        return override
    from_mdoc = None if mdoc is None else _scaled_pixel_size(mdoc, shape_yx)
    remedy = "set it in the manifest: [microscope] pixel_size_angstrom = 1.35"
    if header <= 0 or (header == _UNSET_PIXEL_ANGSTROM and from_mdoc is not None):
        if from_mdoc is None:
            raise InputError("the pixel size is 0 (unknown) in the header", where=str(path), hint=remedy)
        return from_mdoc
    if from_mdoc is not None and abs(header / from_mdoc - 1.0) > _PIXEL_SIZE_TOLERANCE:
        raise InputError(
            f"the pixel size is {header:g} Å in the header, {from_mdoc:g} Å by the mdoc",
            where=str(path),
            hint=remedy,
        )
    return header


def _scaled_pixel_size(mdoc: Mdoc, shape_yx: tuple[int, int]) -> float | None:
    written = mdoc.pixel_size_angstrom
    if written is None:
        return None
    size = mdoc.image_size_xy
    if size is None:
        return written
    # Cameras are turned by 90 degrees between frames and images on some microscopes: compare sorted sides.
    ratio = 0.5 * (max(shape_yx) / max(size) + min(shape_yx) / min(size))
    nearest = min(_SIZE_RATIOS, key=lambda value: abs(ratio / value - 1.0))
    if abs(ratio / nearest - 1.0) > _SIZE_RATIO_TOLERANCE:
        return None
    return float(f"{written / nearest:.7g}")
