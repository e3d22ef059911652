"""Toy stages under the names of real ones: they record what those record, numbers from a table, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from staproj.kinds import ArtifactKind as Kind
from staproj.model.tilt_series import TiltSeries
from staproj.stages.api import Params, Port, StageContext, StageSpec, param
from staproj.units import Unit

HERE = "tests.integration.series_stages"
TILTS = {"TS_01": [-40.0, -20.0, 0.5, 20.0], "TS_02": [-3.0, 0.0, 3.0]}
ORDER = {"TS_01": [3, 1, 0, 2], "TS_02": [2, 0, 1]}
PIXEL = {"TS_01": 2.0, "TS_02": 3.5}
RESIDUAL = {"TS_01": 0.25, "TS_02": 0.75}
BEADS = {"TS_01": 12, "TS_02": 3}
DEFOCUS = {"TS_01": 2.5, "TS_02": 3.25}
KEPT = {"TS_01": 40, "TS_02": 0}
SWITCH: dict[str, Any] = {}


class ImportParams(Params):
    """Nothing."""


class CleanParams(Params):
    """What to leave out."""

    exclude_views: list[int] = param([], help="Views to leave out.")


class CtfParams(Params):
    """How to search."""

    defocus_max_um: float = param(8.0, unit=Unit.MICROMETRE, gt=0, le=20, help="Largest underfocus.")


def _series(name: str, folder: Path, used: list[bool] | None = None) -> TiltSeries:
    (folder / "stack.bin").write_bytes(b"views")
    n = len(TILTS[name])
    order = np.array(ORDER[name])
    return TiltSeries(
        tilt_series_id=name,
        stack_path=folder / "stack.bin",
        stage_tilt_deg=np.array(TILTS[name]),
        acquisition_index=order,
        exposure_e_per_angstrom2=np.full(n, 3.0),
        pre_exposure_e_per_angstrom2=3.0 * order,
        nominal_defocus_um=np.full(n, 2.0),
        view_used=np.ones(n, dtype=bool) if used is None else np.array(used),
        pixel_size_angstrom=PIXEL[name],
        image_shape_yx=(4, 3),
        tilt_axis_deg=0.0,
    )


def run_import(inputs: dict[str, Any], params: Params, ctx: StageContext) -> dict[str, Any]:
    """Make two series; like import_stack it records the pixel size of the first one only."""
    series = {name: _series(name, ctx.out_dir(name)) for name in TILTS}
    for name, one in series.items():
        if not SWITCH.get("bare"):
            ctx.table(
                f"views_{name}",
                {
                    "view": np.arange(one.n_views),
                    "stage_tilt_deg": one.stage_tilt_deg,
                    "acquisition_index": one.acquisition_index,
                    "exposure_e_per_angstrom2": one.exposure_e_per_angstrom2,
                    "pre_exposure_e_per_angstrom2": one.pre_exposure_e_per_angstrom2,
                    "nominal_defocus_um": one.nominal_defocus_um,
                },
            )
    ctx.metric("pixel_size_angstrom", 2.0, Unit.ANGSTROM)
    ctx.fallback("TS_02: the order of recording is not known")
    return {"tilt_series": series}


def run_clean(inputs: dict[str, Any], params: CleanParams, ctx: StageContext) -> dict[str, Any]:
    """Leave views out; view 2 of TS_01 is dark."""
    name = str(ctx.item)
    used = [view not in params.exclude_views for view in range(len(TILTS[name]))]
    if name == "TS_01":
        used[2] = False
    ctx.table(
        "views",
        {
            "view": np.arange(len(used)),
            "stage_tilt_deg": TILTS[name],
            "used": used,
            "n_spikes": np.arange(len(used)),
            "n_pixels": 10 * np.arange(len(used)),
        },
    )
    ctx.verdict("cleaned")
    return {"tilt_series": _series(name, ctx.out_dir(), used)}


def run_fine(inputs: dict[str, Any], params: Params, ctx: StageContext) -> dict[str, Any]:
    """Record residuals of the views that are used."""
    name = str(ctx.item)
    index = np.flatnonzero(inputs["tilt_series"].view_used)
    ctx.metric("n_beads", BEADS[name])
    ctx.metric("residual_mean_px", RESIDUAL[name], Unit.PIXEL)
    if name == "TS_01":
        ctx.metric("leave_out_error_px", 0.5, Unit.PIXEL)
    ctx.table(
        "views",
        {
            "view": index,
            "tilt_deg": np.array(TILTS[name])[index] + 0.1,
            "n_beads": np.full(len(index), BEADS[name]),
            "residual_mean_px": RESIDUAL[name] + 0.01 * index,
        },
    )
    ctx.verdict("aligned, barely", warning=name == "TS_02")
    return {"tilt_series": _series(name, ctx.out_dir())}


def run_ctf(inputs: dict[str, Any], params: CtfParams, ctx: StageContext) -> dict[str, Any]:
    """Record defocus; the hand of TS_02 cannot be told."""
    name = str(ctx.item)
    if SWITCH.get("fail") == name:
        raise ValueError("no rings at all")
    if name == "TS_02":
        ctx.fallback("the hand of the defocus gradient cannot be told (difference 1.0): taken as -1")
    n = len(TILTS[name])
    ctx.metric("defocus_median_um", DEFOCUS[name] * params.defocus_max_um / 8.0, Unit.MICROMETRE)
    ctx.metric("astigmatism_median_um", 0.125, Unit.MICROMETRE)
    u = DEFOCUS[name] + 0.1 * np.arange(n)
    ctx.table(
        "views",
        {
            "view": np.arange(n),
            "defocus_u_um": u,
            "defocus_v_um": u - 0.125,
            "astigmatism_deg": np.full(n, 30.0),
            "fit_resolution_angstrom": np.where(np.arange(n) == 1, np.nan, 9.0),
        },
    )
    return {"tilt_series": _series(name, ctx.out_dir())}


def run_position(inputs: dict[str, Any], params: Params, ctx: StageContext) -> dict[str, Any]:
    """Record a thickness."""
    ctx.metric("thickness_angstrom", 1500.0, Unit.ANGSTROM)
    return {"tilt_series": _series(str(ctx.item), ctx.out_dir())}


def run_seed(inputs: dict[str, Any], params: Params, ctx: StageContext) -> dict[str, Any]:
    """Record how many seeds there are."""
    ctx.metric("n_seeds", 100)
    return {"tilt_series": _series(str(ctx.item), ctx.out_dir())}


def run_select(inputs: dict[str, Any], params: Params, ctx: StageContext) -> dict[str, Any]:
    """Record how many particles are left of each series."""
    ctx.table("counts", {"tilt_series_id": list(KEPT), "n_selected": list(KEPT.values())})
    return {"tilt_series": {name: _series(name, ctx.out_dir(name)) for name in inputs["tilt_series"]}}


PORT = Port(Kind.TILT_SERIES, "Tilt series.", per_item=True)


def _stage(name: str, run: str, params: type[Params] = ImportParams, scope: Any = "item") -> StageSpec:
    inputs = {} if run == "run_import" else {"tilt_series": PORT}
    return StageSpec(name, "A toy.", params, inputs, {"tilt_series": PORT}, f"{HERE}:{run}", scope=scope)


ALL = (
    _stage("import_stack", "run_import", scope="project"),
    _stage("clean", "run_clean", CleanParams),
    _stage("fine_align", "run_fine"),
    _stage("ctf", "run_ctf", CtfParams),
    _stage("position", "run_position"),
    _stage("seed", "run_seed"),
    _stage("select", "run_select", scope="project"),
)
TEMPLATE = """# Steps have names of their own.
schema = 2
[template]
name = "series"
help = "Series."
[project]
name = "series"
[step.read]
stage = "import_stack"
[step.tidy]
stage = "clean"
inputs = { tilt_series = "read" }
[step.beads]
stage = "fine_align"
inputs = { tilt_series = "tidy" }
[step.rings]
stage = "ctf"
inputs = { tilt_series = "beads" }
[step.rings_again]
stage = "ctf"
inputs = { tilt_series = "rings" }
[step.rings_again.params]
defocus_max_um = 4.0   # half
[step.slab]
stage = "position"
inputs = { tilt_series = "rings" }
[step.sow]
stage = "seed"
inputs = { tilt_series = "slab" }
[step.reap]
stage = "select"
inputs = { tilt_series = "sow" }
"""
