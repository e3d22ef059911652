"""Five tiny stages that stand for a pipeline: read, sum, shift, seed, average. Used by tests of the engine.

``SWITCH`` lets a test make a stage fail, stop or fill the disk; ``CALLS`` counts what was really computed.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from staproj.errors import InputError
from staproj.kinds import ArtifactKind as Kind
from staproj.model.maps import DensityMap
from staproj.model.tilt_series import TiltSeries
from staproj.stages.api import Params, Port, StageContext, StageSpec, param
from staproj.units import Unit

CALLS: list[tuple[str, str | None]] = []
SWITCH: dict[str, Any] = {}


class ImportParams(Params):
    """What to read."""

    movies: str | tuple[str, ...] = param(help="Patterns of the raw files.", per_item=False, data_path=True)
    voltage_kv: float = param(300.0, unit=Unit.KILOVOLT, help="High tension.", gt=0, per_item=False)
    pixel_size_angstrom: float | None = param(None, unit=Unit.ANGSTROM, help="Size of a pixel.", gt=0)


class ShiftParams(Params):
    """What to add."""

    offset_px: float = param(1.0, unit=Unit.PIXEL, help="Number added to every pixel.", ge=-100, le=100)
    rounded: bool = param(False, help="Round the result to whole numbers.")
    mode: str = param("plain", help="A word without effect.", per_item=False)


class MeanParams(Params):
    """How to average."""

    weight: float = param(1.0, help="Factor.", gt=0)


def run_import(inputs: dict[str, Any], params: ImportParams, ctx: StageContext) -> dict[str, Any]:
    """Read one number a file; the file's stem is the tilt series."""
    CALLS.append(("toy_import", None))
    series = {}
    patterns = [params.movies] if isinstance(params.movies, str) else params.movies
    for path in [p for pattern in patterns for p in ctx.data_files(pattern)]:
        text = path.read_text().split()[0]
        if not text.lstrip("-").isdigit():
            raise InputError("not a number", where=str(path), hint="write a number")
        series[path.stem] = tilt_series(ctx, path.stem, np.full((2, 3), float(text)))
    ctx.verdict(f"{len(series)} series")
    return {"tilt_series": series}


def tilt_series(ctx: StageContext, name: str, data: np.ndarray) -> TiltSeries:
    """Write a stack as bytes and wrap it."""
    base = ctx.out_dir(name) if ctx.item is None else ctx.out_dir()
    (base / "stack.bin").write_bytes(data.astype("<f8").tobytes())
    n = len(data)
    return TiltSeries(
        tilt_series_id=name,
        stack_path=base / "stack.bin",
        stage_tilt_deg=np.arange(n, dtype=float),
        acquisition_index=np.arange(n),
        exposure_e_per_angstrom2=np.ones(n),
        pre_exposure_e_per_angstrom2=np.zeros(n),
        nominal_defocus_um=np.zeros(n),
        view_used=np.ones(n, dtype=bool),
        pixel_size_angstrom=1.0,
        image_shape_yx=(1, 3),
        tilt_axis_deg=0.0,
    )


def run_shift(inputs: dict[str, Any], params: ShiftParams, ctx: StageContext) -> dict[str, Any]:
    """Add a number to one tilt series."""
    CALLS.append(("toy_shift", ctx.item))
    data = np.fromfile(inputs["tilt_series"].stack_path, dtype="<f8").reshape(2, 3)
    ctx.progress(1, 2, "adding")
    action = SWITCH.get(str(ctx.item))
    if action == "fail":
        raise ValueError("this one is bad")
    if action == "interrupt":
        raise KeyboardInterrupt
    if action == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if callable(action):
        action(ctx)
    _obey_orders(ctx)
    data = data + params.offset_px
    if params.rounded:
        data = np.round(data)
    ctx.metric("mean_px", float(data.mean()), Unit.PIXEL)
    ctx.table("rows", {"view": np.arange(2), "name": np.array(["a", "bc"])}, doc="Two rows.")
    ctx.curve("ramp", [0, 1], [2, 3], x_label="x_px", y_label="y_px")
    ctx.preview("first", np.arange(12.0).reshape(3, 4))
    ctx.verdict(f"mean {data.mean():.1f}")
    ctx.log("added")
    return {"tilt_series": tilt_series(ctx, str(ctx.item), data)}


def _obey_orders(ctx: StageContext) -> None:
    """Do what a file named after the item says: the way to switch what worker processes do."""
    place = os.environ.get("TOY_ORDERS")
    if place is None or not (Path(place) / str(ctx.item)).exists():
        return
    order = (Path(place) / str(ctx.item)).read_text()
    if order == "fail":
        raise ValueError("ordered")
    if order == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if order == "die":
        os.kill(os.getpid(), 9)
    if order == "wait":
        (Path(place) / f"{ctx.item}.waits").touch()
        for _ in range(600):
            time.sleep(0.1)
            ctx.check_cancelled()


def run_mean(inputs: dict[str, Any], params: MeanParams, ctx: StageContext) -> dict[str, Any]:
    """Average all tilt series into one tiny map."""
    CALLS.append(("toy_mean", None))
    if SWITCH.get("mean") == "fail":
        raise InputError("nothing to average", hint="look upstream")
    total = sum(np.fromfile(s.stack_path, dtype="<f8").sum() for s in inputs["tilt_series"].values())
    path = ctx.out_dir() / "map.bin"
    path.write_bytes(np.float64(total * params.weight).tobytes())
    ctx.metric("total", float(total))
    ctx.verdict(f"total {total:.0f}")
    return {"map": DensityMap(path, 1.0, "C1")}


IN = Port(Kind.TILT_SERIES, "Tilt series.", per_item=True)
OUT = Port(Kind.TILT_SERIES, "Tilt series.", per_item=True)
HERE = "tests.integration.toy_stages"

IMPORT = StageSpec(
    "toy_import",
    "Read numbers.",
    ImportParams,
    {},
    {"tilt_series": OUT},
    f"{HERE}:run_import",
    scope="project",
)
SHIFT = StageSpec(
    "toy_shift", "Add.", ShiftParams, {"tilt_series": IN}, {"tilt_series": OUT}, f"{HERE}:run_shift"
)
MEAN = StageSpec(
    "toy_mean",
    "Average.",
    MeanParams,
    {"tilt_series": IN},
    {"map": Port(Kind.MAP, "Mean.")},
    f"{HERE}:run_mean",
    scope="project",
)
COPY = StageSpec(
    "toy_copy",
    "Pass a map on.",
    MeanParams,
    {"map": Port(Kind.MAP, "Map.")},
    {"map": Port(Kind.MAP, "Map.")},
    f"{HERE}:run_copy",
    scope="project",
)
ROUNDS = StageSpec(
    "toy_rounds",
    "Add up in five rounds, each of which is kept.",
    MeanParams,
    {"tilt_series": IN},
    {"map": Port(Kind.MAP, "Sum.")},
    f"{HERE}:run_rounds",
    scope="project",
)
ALL = (IMPORT, SHIFT, MEAN, COPY, ROUNDS)


def run_rounds(inputs: dict[str, Any], params: MeanParams, ctx: StageContext) -> dict[str, Any]:
    """Add random numbers in rounds; ``SWITCH["round 3"]`` is called when round 3 begins."""
    total, first = np.zeros(4), 0
    known = ctx.checkpoint.load("sum")
    if known is not None:
        total, first = known["total"], known["done"]
    for number in range(first, 5):
        CALLS.append(("toy_rounds", str(number + 1)))
        action = SWITCH.get(f"round {number + 1}")
        if callable(action):
            action(ctx)
        total = total + ctx.rng(f"round {number}").normal(size=4) * params.weight
        ctx.checkpoint.save("sum", {"total": total, "done": number + 1})
    path = ctx.out_dir() / "map.bin"
    path.write_bytes(total.tobytes())
    ctx.verdict(f"sum {total.sum():.3f}")
    return {"map": DensityMap(path, 1.0, "C1")}


BY_NAME = {"IMPORT": IMPORT, "SHIFT": SHIFT, "MEAN": MEAN, "COPY": COPY}


def run_copy(inputs: dict[str, Any], params: MeanParams, ctx: StageContext) -> dict[str, Any]:
    """Copy a map."""
    CALLS.append(("toy_copy", None))
    path = ctx.out_dir() / "map.bin"
    path.write_bytes(inputs["map"].path.read_bytes())
    return {"map": DensityMap(path, 1.0, "C1")}


TEMPLATE = """# A pipeline of toys.
schema = 2
[template]
name = "toy"
help = "Numbers."
[project]
name = "toy"      # a comment that stays
[microscope]
voltage_kv = 200.0   # of this microscope

[step.import]
stage = "toy_import"
[step.import.params]
movies = "raw/*.txt"   # numbers

[step.shift]
stage = "toy_shift"
inputs = { tilt_series = "import" }
[step.shift.params]
offset_px = 2.0   # two

[step.again]
stage = "toy_shift"
inputs = { tilt_series = "shift" }

[step.mean]
stage = "toy_mean"
inputs = { tilt_series = "again" }

[step.other]
stage = "toy_mean"
inputs = { tilt_series = "import" }

[step.copy]
stage = "toy_copy"
inputs = { map = "mean" }
"""
