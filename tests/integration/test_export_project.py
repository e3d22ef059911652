"""Export from a real project: its stages are stood in for, but for the selection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from staproj.api import Project
from staproj.api.relion5 import export_relion5
from staproj.errors import UsageError
from staproj.kinds import ArtifactKind as Kind
from staproj.model.ctf import CtfModel
from staproj.model.geometry import TiltGeometry
from staproj.model.particles import ParticleSet
from staproj.model.tilt_series import TiltSeries
from staproj.model.tomogram import Slab
from staproj.stages import registry
from staproj.stages.api import Params, Port, StageContext, StageSpec, param
from tests import relion5_reader

SHAPE, PIXEL, VIEWS = (61, 70), 6.5, 9
NAMES = ("TS_01", "TS_02")


class ViewParams(Params):
    """What to read."""

    raw: str = param(help="A file.", per_item=False, data_path=True)


class NoParams(Params):
    """Nothing."""


def _views(inputs: dict[str, Any], params: ViewParams, ctx: StageContext) -> dict[str, Any]:
    """Make stacks of two tilt series; the second view of each is not to be used."""
    assert len(ctx.data_files(params.raw)) == 1
    series = {}
    used = np.arange(VIEWS) != 1
    for name in NAMES:
        path = ctx.out_dir(name) / "views.mrc"
        path.write_bytes(b"not looked at")
        tilt = np.linspace(-48, 48, VIEWS)
        order = np.argsort(np.argsort(np.abs(tilt), kind="stable"))
        series[name] = TiltSeries(
            name,
            path,
            tilt,
            order,
            np.full(VIEWS, 3.1),
            3.1 * order,
            np.zeros(VIEWS),
            used,
            PIXEL,
            SHAPE,
            84.0,
        )
    return {"tilt_series": series}


def _alignment(inputs: dict[str, Any], params: NoParams, ctx: StageContext) -> dict[str, Any]:
    """Align at random."""
    rng, views = ctx.rng(), inputs["tilt_series"]
    geometry = TiltGeometry(
        views.tilt_series_id,
        views.stage_tilt_deg + 3.0,
        rng.normal(size=VIEWS),
        84 + rng.normal(size=VIEWS),
        rng.normal(0, 50, (VIEWS, 2)),
        np.ones(VIEWS),
        np.ones(VIEWS, dtype=bool),
        PIXEL,
        SHAPE,
    )
    return {"alignment": geometry, "slab": Slab(views.tilt_series_id, 700.0, (450.0, 398.0, 700.0))}


def _ctf(inputs: dict[str, Any], params: NoParams, ctx: StageContext) -> dict[str, Any]:
    """Give every view some defocus."""
    u, zeros = ctx.rng().uniform(2, 4, VIEWS), np.zeros(VIEWS)
    return {"ctf": CtfModel(str(ctx.item), u, u - 0.2, u * 10, zeros, zeros, zeros, -1)}


def _match(inputs: dict[str, Any], params: NoParams, ctx: StageContext) -> dict[str, Any]:
    """Place scored particles at random."""
    rng = ctx.rng()
    pose = Rotation.random(50, rng=rng).as_matrix()
    position, score = rng.uniform(-600, 600, (50, 3)), rng.normal(5, 1, 50)
    return {"particles": ParticleSet.create(str(ctx.item), position, pose, score=score)}


def _spec(name: str, run: Any, inputs: dict[str, Kind], outputs: dict[str, Kind], **more: Any) -> StageSpec:
    return StageSpec(
        name=name,
        summary=name,
        params=more.pop("params", NoParams),
        inputs={port: Port(kind, port, per_item=True) for port, kind in inputs.items()},
        outputs={port: Port(kind, port, per_item=True) for port, kind in outputs.items()},
        run=f"{__name__}:{run.__name__}",
        **more,
    )


VIEWED = {"tilt_series": Kind.TILT_SERIES}
ALIGNED = VIEWED | {"alignment": Kind.ALIGNMENT}
STAND_INS = (
    _spec("given_views", _views, {}, VIEWED, params=ViewParams, scope="project"),
    _spec("given_alignment", _alignment, VIEWED, {"alignment": Kind.ALIGNMENT, "slab": Kind.SLAB}),
    _spec("given_ctf", _ctf, ALIGNED, {"ctf": Kind.CTF}),
    _spec("given_match", _match, ALIGNED | {"ctf": Kind.CTF}, {"particles": Kind.PARTICLES}),
)
TEMPLATE = """
schema = 2
[template]
name = "stand-ins"
help = "stand-ins"
[project]
name = "stand-ins"
[step.views]
stage = "given_views"
[step.views.params]
raw = "raw.txt"
[step.align]
stage = "given_alignment"
inputs = { tilt_series = "views" }
[step.defocus]
stage = "given_ctf"
inputs = { tilt_series = "views", alignment = "align" }
[step.look]
stage = "given_match"
inputs = { tilt_series = "views", alignment = "align", ctf = "defocus" }
[step.choose]
stage = "select"
inputs = { particles = "look" }
[step.choose.params]
score_threshold = 4.0
"""


def test_export_of_a_run_project(tmp_path: Path) -> None:
    """What the runs hold, an independent reader finds to 0.01 px and 1 Å; the sidecar names these runs."""
    (tmp_path / "template.toml").write_text(TEMPLATE)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "raw.txt").write_text("raw")
    with registry.temporarily(*STAND_INS):
        project = Project.create(tmp_path / "p", str(tmp_path / "template.toml"))
        with pytest.raises(UsageError, match="no step"):
            export_relion5(project, tmp_path / "early")
        project.run()
        result = export_relion5(project, project.root / "exports" / "relion")
        particles, geometry = project.artifact("choose"), project.artifact("align", "alignment")
        ctf = project.artifact("defocus")
        run_of = {step["step"]: step["run"] for step in project.status()["steps"]}
    assert 0 < result["n_particles"] == len(particles) < 100
    assert result["warnings"] == ["there are no half maps of these particles yet"]
    theirs = relion5_reader.predict(project.root / "exports" / "relion", dict.fromkeys(NAMES, SHAPE))
    for name in NAMES:
        mine = particles.of_series(name)
        use = np.flatnonzero(np.arange(VIEWS) != 1)
        assert theirs[name]["sections"].tolist() == use.tolist()
        ours = geometry[name].project(mine.position_xyz_angstrom)[use]
        np.testing.assert_allclose(theirs[name]["points_px"], ours, atol=0.01)
        offset = ctf[name].defocus_offset_angstrom(geometry[name].depth(mine.position_xyz_angstrom))[use]
        expected = 1e4 * ctf[name].defocus_u_um[use, None] + offset
        np.testing.assert_allclose(theirs[name]["defocus_u"], expected, atol=1.0)
        assert set(theirs[name]["half_set"].tolist()) == {1, 2}
    told = json.loads((project.root / "exports" / "relion" / "provenance.json").read_text())
    assert told["roles"]["alignment"] == f"{run_of['align']}.alignment"
    assert told["roles"]["slab"] == f"{run_of['align']}.slab"
    assert told["roles"]["particles"] == f"{run_of['choose']}.particles"
    assert {node["run"] for node in told["runs"]} == set(run_of.values())
    text = (project.root / "exports" / "relion" / "tilt_series" / "TS_01.star").read_text()
    assert str(tmp_path) not in text
