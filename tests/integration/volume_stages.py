"""A toy stage that writes volumes and stacks as MRC files, by another writer than ours."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from staproj.stages.api import StageContext
from tests.integration import toy_stages as toy

TEMPLATE = """schema = 2
[project]
name = "volumes"
[step.import]
stage = "toy_import"
[step.import.params]
movies = "raw/*.txt"
[step.volumes]
stage = "toy_volumes"
inputs = { tilt_series = "import" }
"""
SHAPE_ZYX = (6, 15, 10)


def volume_of(item: str) -> np.ndarray:
    """Return what the stage writes for a tilt series."""
    chance = np.random.default_rng(int(item[-1]))
    return chance.normal(size=SHAPE_ZYX).astype(np.float32)


def write(path: Path, data: np.ndarray) -> None:
    """Write an MRC file of 4.25 Å a pixel."""
    with mrcfile.new(path) as mrc:
        mrc.set_data(data)
        mrc.voxel_size = 4.25


def run_volumes(inputs: dict[str, Any], params: Any, ctx: StageContext) -> dict[str, Any]:
    """Write a stack of views that the output refers to, and a volume that nothing refers to."""
    item = str(ctx.item)
    if toy.SWITCH.get(item) == "fail":
        raise ValueError("this one is bad")
    write(ctx.out_dir() / "views.mrc", volume_of(item)[:2] + 5)
    write(ctx.out_dir() / "volume.mrc", volume_of(item))
    ramp = np.arange(12.0).reshape(3, 4)
    ctx.preview("ramp", ramp)
    ctx.preview("seeds_xy", ramp)
    ctx.verdict("written")
    series = toy.tilt_series(ctx, item, np.zeros((2, 3)))
    return {"tilt_series": dataclasses.replace(series, stack_path=ctx.out_dir() / "views.mrc")}


VOLUMES = dataclasses.replace(
    toy.SHIFT, name="toy_volumes", run="tests.integration.volume_stages:run_volumes"
)
