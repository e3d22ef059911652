"""Stacks, angles and metadata of other programs to tilt series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import FormatError, InputError
from staproj.formats.angles import (
    acquisition_index_from_order,
    dose_symmetric_index,
    read_angles,
    read_order,
)
from staproj.formats.mdoc import Mdoc, acquisition_order, series_id
from staproj.formats.mrc import MrcInfo, MrcWriter, check_finite, map_mrc
from staproj.kernels.fourier import reduce_images
from staproj.model.tilt_series import TiltSeries
from staproj.stages.api import StageContext
from staproj.stages.import_stack.declare import ImportStackParams
from staproj.stages.shared.series import (
    check_angles,
    exposure_override,
    exposures,
    matching_files,
    microscope,
    pixel_size,
    read_mdocs,
    required_axis,
)
from staproj.units import Unit

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_PREVIEW_PX = 256


@dataclass(frozen=True, eq=False)
class _Sources:
    """Files of one series; ``section_of_view`` numbers the mdoc section of each view of the stack."""

    name: str
    info: MrcInfo
    tilt_deg: Float
    mdoc: Mdoc | None
    section_of_view: Int | None
    order_path: Path | None


def import_stack(
    inputs: Mapping[str, Any], params: ImportStackParams, ctx: StageContext
) -> dict[str, dict[str, TiltSeries]]:
    """Return ``{"tilt_series": {name: TiltSeries}}``; see the declaration for the rules.

    Raises
    ------
    InputError, FormatError
        If files are missing, damaged, or do not fit each other.
    """
    stacks = _by_series(params.stacks, "stacks", ctx)
    angles = _by_series(params.angles, "angles", ctx) if params.angles else {}
    orders = _by_series(params.order_list, "order_list", ctx) if params.order_list else {}
    mdocs = read_mdocs(params.mdoc, ctx) if params.mdoc else {}
    result: dict[str, TiltSeries] = {}
    for done, (name, path) in enumerate(sorted(stacks.items())):
        ctx.progress(done, len(stacks), name)
        _, info = map_mrc(path)
        tilt, mdoc, section = _angles(name, info, angles.get(name), mdocs.get(name))
        sources = _Sources(name, info, tilt, mdoc, section, orders.get(name))
        result[name] = _one_series(sources, params, ctx)
        _record(result[name], ctx)
    _summarise(result, ctx)
    return {"tilt_series": result}


def _by_series(patterns: list[str], key: str, ctx: StageContext) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in matching_files(patterns, key, ctx):
        name = series_id(path)
        if name in found:
            raise InputError(
                f"two files stand for tilt series {name}",
                where=f"{found[name]} and {path}",
                hint=f"narrow the pattern {key!r} so that each series has one file",
            )
        found[name] = path
    return found


def _angles(
    name: str, info: MrcInfo, path: Path | None, mdoc: Mdoc | None
) -> tuple[Float, Mdoc | None, Int | None]:
    """Return the angle of every view of the stack, and the mdoc section it belongs to."""
    n = info.shape_zyx[0]
    if path is None and mdoc is None:
        raise InputError(
            f"tilt series {name} has neither an angle file nor an mdoc",
            where=str(info.path),
            hint=f"name files {name}.rawtlt or {name}.mdoc with the parameters `angles` or `mdoc`",
        )
    if path is not None:
        tilt = read_angles(path)
        _check_count(n, len(tilt), "angles", path, info.path)
        check_angles(tilt, str(path), [f"line {i + 1}" for i in range(n)])
        return tilt, mdoc, None if mdoc is None else _sections_by_angle(tilt, mdoc)
    assert mdoc is not None
    _check_count(n, len(mdoc.sections), "sections", mdoc.path, info.path)
    numbers = np.array([section.number for section in mdoc.sections])
    if not np.array_equal(np.sort(numbers), np.arange(n)):
        numbers = np.arange(n)
    section_of_view = np.argsort(numbers).astype(np.int64)
    tilt = np.array([mdoc.sections[i].tilt_deg for i in section_of_view], dtype=np.float64)
    check_angles(tilt, str(mdoc.path), [f"view {i}" for i in range(n)])
    return tilt, mdoc, section_of_view


def _check_count(n_views: int, n_angles: int, what: str, path: Path, stack: Path) -> None:
    if n_views != n_angles:
        raise FormatError(
            f"there are {n_angles} {what} for a stack of {n_views} views",
            where=f"{path} and {stack}",
            hint="give one line a view of this stack; remove the lines of views that were taken out",
        )


def _sections_by_angle(tilt: Float, mdoc: Mdoc) -> Int:
    recorded = np.array([section.tilt_deg for section in mdoc.sections], dtype=np.float64)
    return acquisition_index_from_order(tilt, recorded, mdoc.path)


def _one_series(sources: _Sources, params: ImportStackParams, ctx: StageContext) -> TiltSeries:
    name, info, mdoc = sources.name, sources.info, sources.mdoc
    place = _recording_places(sources, params, ctx)
    exposure = _exposure(sources, params)
    prior = _mdoc_pre_exposure(sources, params)
    before = _accumulate_with_gaps(exposure, place) if prior is None else prior
    order = np.argsort(sources.tilt_deg, kind="stable")
    shape = (info.shape_zyx[1], info.shape_zyx[2])
    pixel = pixel_size(params.pixel_size_angstrom, info.pixel_size_angstrom, mdoc, shape, info.path)
    axis = params.tilt_axis_deg
    if axis is None and mdoc is not None:
        axis = mdoc.tilt_axis_deg
    defocus = np.full(len(order), np.nan)
    if mdoc is not None and sources.section_of_view is not None:
        defocus = np.array([mdoc.sections[i].nominal_defocus_um for i in sources.section_of_view])
    tilt_axis = required_axis(axis, name, str(info.path))
    constants = microscope(params, None if mdoc is None else mdoc.voltage_kv, name, ctx)
    stack = _copy_stack(info, order, pixel, params, ctx.out_dir(name) / "views.mrc", ctx)
    return TiltSeries(
        tilt_series_id=name,
        stack_path=stack,
        stage_tilt_deg=sources.tilt_deg[order],
        acquisition_index=np.argsort(np.argsort(place[order])).astype(np.int64),
        exposure_e_per_angstrom2=exposure[order],
        pre_exposure_e_per_angstrom2=before[order],
        nominal_defocus_um=defocus[order],
        view_used=np.ones(len(order), dtype=bool),
        pixel_size_angstrom=pixel,
        image_shape_yx=shape,
        tilt_axis_deg=tilt_axis,
        microscope=constants,
    )


def _recording_places(sources: _Sources, params: ImportStackParams, ctx: StageContext) -> Int:
    """Return the place of each view in the order of recording; places of missing views stay free."""
    name, tilt = sources.name, sources.tilt_deg
    how = params.order
    if how == "auto":
        how = "mdoc" if sources.mdoc else "list" if sources.order_path else "dose_symmetric"
        if how == "dose_symmetric":
            ctx.fallback(f"{name}: the order of recording is not known; a dose-symmetric scheme is assumed")
    if how == "mdoc":
        if sources.mdoc is None or sources.section_of_view is None:
            raise InputError(
                f"there is no mdoc for tilt series {name}",
                where="parameter `order`",
                hint="give the parameter `mdoc`, or another order",
            )
        order = acquisition_order(sources.mdoc)
        if order.source == "file":
            ctx.fallback(f"{name}: the mdoc tells no order; views count as recorded in its own")
        return order.acquisition_index[sources.section_of_view]
    if how == "list":
        if sources.order_path is None:
            raise InputError(
                f"there is no order list for tilt series {name}",
                where="parameter `order`",
                hint="give the parameter `order_list`, or another order",
            )
        return acquisition_index_from_order(tilt, read_order(sources.order_path), sources.order_path)
    if how == "file":
        return np.arange(len(tilt), dtype=np.int64)
    places = dose_symmetric_index(tilt)
    free = int(places.max()) + 1 - len(places)
    if free:
        ctx.log(f"{name}: {free} places of the scheme have no view; their exposure is counted")
    return places


def _exposure(sources: _Sources, params: ImportStackParams) -> Float:
    known = np.full(len(sources.tilt_deg), np.nan)
    where = str(sources.info.path)
    if sources.mdoc is not None and sources.section_of_view is not None:
        where = str(sources.mdoc.path)
        values = [sources.mdoc.sections[i].exposure_e_per_angstrom2 for i in sources.section_of_view]
        known = np.array([np.nan if value is None else value for value in values])
    return exposures(sources.name, exposure_override(sources.name, params), known, where)


def _mdoc_pre_exposure(sources: _Sources, params: ImportStackParams) -> Float | None:
    """Return SerialEM's own sums where the exposures are its own too."""
    if params.order not in ("auto", "mdoc") or exposure_override(sources.name, params) is not None:
        return None
    if sources.mdoc is None or sources.section_of_view is None:
        return None
    prior = acquisition_order(sources.mdoc).prior_e_per_angstrom2
    return None if prior is None else prior[sources.section_of_view]


def _accumulate_with_gaps(exposure: Float, place: Int) -> Float:
    """Return what each view had received; a place without a view counts as the median exposure."""
    every = np.full(int(place.max()) + 1, float(np.median(exposure)))
    every[place] = exposure
    before: Float = np.concatenate([[0.0], np.cumsum(every)[:-1]])[place]
    return before


def _copy_stack(
    info: MrcInfo, order: Int, pixel: float, params: ImportStackParams, target: Path, ctx: StageContext
) -> Path:
    data, _ = map_mrc(info.path)
    sign = np.float32(-1.0 if params.contrast == "bright" else 1.0)
    with MrcWriter(target, info.shape_zyx, pixel) as writer:
        for done, view in enumerate(order):
            ctx.check_cancelled()
            check_finite(data[view], info.path, int(view))
            image = sign * np.asarray(data[view], dtype=np.float32)
            writer.append(image)
            if done == len(order) // 2:
                factor = max(1.0, max(image.shape) / _PREVIEW_PX)
                ctx.preview(f"middle_view_{series_id(info.path)}", reduce_images(image, factor))
    return target


def _record(series: TiltSeries, ctx: StageContext) -> None:
    ctx.table(
        f"views_{series.tilt_series_id}",
        {
            "view": np.arange(series.n_views),
            "stage_tilt_deg": series.stage_tilt_deg,
            "acquisition_index": series.acquisition_index,
            "exposure_e_per_angstrom2": series.exposure_e_per_angstrom2,
            "pre_exposure_e_per_angstrom2": series.pre_exposure_e_per_angstrom2,
            "nominal_defocus_um": series.nominal_defocus_um,
        },
        doc="Views by rising stage tilt.",
    )


def _summarise(series: dict[str, TiltSeries], ctx: StageContext) -> None:
    total = sum(one.n_views for one in series.values())
    one = next(iter(series.values()))
    ctx.metric("n_series", len(series))
    ctx.metric("n_views", total)
    ctx.metric("pixel_size_angstrom", one.pixel_size_angstrom, Unit.ANGSTROM)
    lowest = min(float(s.stage_tilt_deg.min()) for s in series.values())
    highest = max(float(s.stage_tilt_deg.max()) for s in series.values())
    ctx.verdict(
        f"{len(series)} tilt series, {total} views of {one.image_shape_yx[1]} x {one.image_shape_yx[0]} "
        f"at {one.pixel_size_angstrom:g} Å, {lowest:.1f} to {highest:.1f} deg, "
        f"{float(np.median(one.exposure_e_per_angstrom2)):.3g} e/Å² a view"
    )
