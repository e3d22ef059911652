"""The harness that runs one stage outside of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from staproj.errors import CancelledError, InputError, StageError
from staproj.kinds import ArtifactKind
from staproj.model.surfaces import Spheres
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.testing import stage_harness
from staproj.testing.stage_harness import RecordingContext, run_stage
from staproj.units import Unit


class _Params(Params):
    radius_angstrom: float = param(10.0, unit=Unit.ANGSTROM, help="Radius to set.", gt=0)


def _spheres(name: str, radius: float) -> Spheres:
    return Spheres(name, np.arange(2), np.zeros((2, 3)), np.full(2, radius), np.ones(2))


def grow(inputs: dict[str, Any], params: _Params, ctx: RecordingContext) -> dict[str, Any]:
    """Return the spheres with another radius and record it."""
    ctx.check_cancelled()
    ctx.metric("radius_angstrom", params.radius_angstrom, Unit.ANGSTROM)
    ctx.verdict(f"radius {params.radius_angstrom:g} Å")
    return {"geometry": _spheres(inputs["geometry"].tilt_series_id, params.radius_angstrom)}


def wrong(inputs: dict[str, Any], params: _Params, ctx: RecordingContext) -> dict[str, Any]:
    """Return something that is no geometry."""
    return {"geometry": "nothing"}


def _spec(function: str) -> StageSpec:
    port = Port(ArtifactKind.GEOMETRY, "Spheres.", per_item=True)
    return StageSpec(
        "grow", "Grow.", _Params, {"geometry": port}, {"geometry": port}, f"{__name__}:{function}"
    )


def test_outputs_and_records_come_back(tmp_path: Path) -> None:
    """A stage's output is read back from its file, and its records are kept."""
    result = run_stage(_spec("grow"), {"geometry": _spheres("TS_1", 5.0)}, {"radius_angstrom": 7}, tmp_path)
    assert isinstance(result["geometry"], Spheres)
    assert np.all(result["geometry"].radius_angstrom == 7.0)
    assert result.ctx.item == "TS_1"
    assert result.ctx.metrics == {"radius_angstrom": 7.0}
    assert (tmp_path / "grow" / "out" / "TS_1" / "geometry.h5").exists()


def test_missing_input_is_refused(tmp_path: Path) -> None:
    """An input that is not there gives the named error."""
    with pytest.raises(InputError, match="geometry"):
        run_stage(_spec("grow"), {}, {}, tmp_path, item="TS_1")


def test_wrong_output_is_refused(tmp_path: Path) -> None:
    """A stage that returns another type than its port promises fails."""
    with pytest.raises(StageError, match="Spheres"):
        run_stage(_spec("wrong"), {"geometry": _spheres("TS_1", 5.0)}, {}, tmp_path)


def test_cancelling_stops_the_stage(tmp_path: Path) -> None:
    """A context that is told to cancel raises out of the stage."""
    ctx = RecordingContext(root=tmp_path, item="TS_1", cancel_after=0)
    with pytest.raises(CancelledError):
        run_stage(_spec("grow"), {"geometry": _spheres("TS_1", 5.0)}, {}, tmp_path, ctx=ctx)


def test_metric_suffix_must_match(tmp_path: Path) -> None:
    """A metric whose name lacks the suffix of its unit is refused."""
    with pytest.raises(ValueError, match="_angstrom"):
        RecordingContext(root=tmp_path).metric("radius", 1.0, Unit.ANGSTROM)


def test_random_numbers_depend_on_the_item(tmp_path: Path) -> None:
    """Two items draw differently, the same item draws the same."""
    draws = [RecordingContext(root=tmp_path, item=name).rng("x").random() for name in ("A", "B", "A")]
    assert draws[0] == draws[2] != draws[1]
    assert stage_harness.RecordingContext(root=tmp_path, item="A", seed=1).rng("x").random() != draws[0]
