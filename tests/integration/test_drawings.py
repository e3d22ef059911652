"""Everything of a run that can be drawn: recorded curves, columns of tables, directions of particles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from staproj.api import Project, drawings
from staproj.cli.main import main
from staproj.errors import UsageError
from staproj.kinds import ArtifactKind as Kind
from staproj.model.particles import ParticleSet
from staproj.stages import registry
from staproj.stages.api import Params, Port, StageContext, StageSpec
from tests.integration import toy_stages as toy

LEAN_DEG, COUNT = 32.5, 700


class NoParams(Params):
    """Nothing to set."""


def run_lean(inputs: dict[str, Any], params: NoParams, ctx: StageContext) -> dict[str, Any]:
    """Make particles that all lean by the same angle towards +y, and one that points down the beam."""
    angle = np.radians(LEAN_DEG)
    lean = np.array([[1, 0, 0], [0, np.cos(angle), np.sin(angle)], [0, -np.sin(angle), np.cos(angle)]])
    rotations = np.concatenate([np.repeat(lean[None], COUNT, axis=0), np.eye(3)[None]])
    scores = np.arange(COUNT + 1.0)
    ctx.table("views", {"view": [0, 1, 2], "tilt_deg": [-3.0, 0.0, 3.0], "defocus_um": [1.0, 2.0, 4.0]})
    ctx.table("words", {"name": np.array(["a", "b"]), "some_id": [1, 2]})
    ctx.curve("fsc", [0.0, 0.1], [1.0, 0.0], x_label="frequency_per_angstrom", y_label="fsc")
    return {"particles": ParticleSet.create("TS_01", np.zeros((COUNT + 1, 3)), rotations, score=scores)}


LEAN = StageSpec(
    "toy_lean",
    "Lean.",
    NoParams,
    {"tilt_series": Port(Kind.TILT_SERIES, "Any.", per_item=True)},
    {"particles": Port(Kind.PARTICLES, "Leaning.")},
    f"{__name__}:run_lean",
    scope="project",
)


@pytest.fixture
def leaning(make_project: Any) -> Any:
    """Return a project with a run of leaning particles."""
    text = toy.TEMPLATE + '[step.lean]\nstage = "toy_lean"\ninputs = { tilt_series = "import" }\n'
    with registry.temporarily(*toy.ALL, LEAN):
        project = make_project(text=text)
        project.run(["lean"])
        yield project


def test_directions_of_particles_are_counted_where_they_are(leaning: Project) -> None:
    """The histogram of lean has all particles in the bin of their angle, that of azimuth at +90 degrees."""
    lean = drawings.curve(leaning.root, "lean", "particles.lean")
    full = {x: y for x, y in zip(lean["x"], lean["y"], strict=True) if y}
    assert full == {32.5: COUNT, 2.5: 1}
    azimuth = drawings.curve(leaning.root, "lean", "particles.azimuth")
    assert max(zip(azimuth["y"], azimuth["x"], strict=True)) == (COUNT, 92.5)
    score = drawings.curve(leaning.root, "lean", "particles.score")
    assert sum(score["y"]) == COUNT + 1


def test_columns_are_drawn_over_tilt(leaning: Project) -> None:
    """A column of a table is drawn over its tilt angles; words and names of things are no curves."""
    found = drawings.curve(leaning.root, "lean", "views.defocus_um")
    assert (found["x"], found["y"], found["x_label"]) == ([-3.0, 0.0, 3.0], [1.0, 2.0, 4.0], "tilt_deg")
    names = [entry["name"] for entry in drawings.listing(leaning.root, "lean")]
    assert names == [
        "fsc",
        "views.view",
        "views.defocus_um",
        "particles.lean",
        "particles.azimuth",
        "particles.score",
    ]
    assert drawings.curve(leaning.root, "lean", "fsc")["level"] == 0.143


def test_what_is_not_there_is_refused_with_what_is(leaning: Project) -> None:
    """A wrong name gives an error that names something near."""
    with pytest.raises(UsageError, match="no curve"):
        drawings.curve(leaning.root, "lean", "views.defocus_nm")
    with pytest.raises(UsageError):
        drawings.curve(leaning.root, "lean", "particles.tilt")


def test_the_command_draws_the_same(leaning: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """`show --curve` takes columns and directions too, as text and as JSON."""
    where = ["-C", str(leaning.root)]
    with pytest.raises(SystemExit) as left:
        main(["show", "lean", "--curve", "particles.lean", "--json", *where])
    assert left.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert max(told["items"][""]["y"]) == COUNT
    with pytest.raises(SystemExit):
        main(["show", "lean", "--curve", "views.defocus_um", *where])
    assert "tilt_deg" in capsys.readouterr().out
    assert Path(leaning.root).is_dir()
