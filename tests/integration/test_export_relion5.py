"""The RELION 5 folder, read by a reader that shares no code with staproj."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from staproj.api.relion5 import export_relion5
from staproj.errors import InputError, StorageError, UsageError
from staproj.model.ctf import CtfModel
from staproj.model.geometry import TiltGeometry
from staproj.model.maps import HalfMaps, Mask
from staproj.model.microscope import Microscope
from staproj.model.particles import ParticleSet
from staproj.model.tilt_series import TiltSeries
from staproj.model.tomogram import Slab
from tests import relion5_reader

SHAPES = {"TS_01": (231, 254), "TS_02": (240, 257)}
PIXEL = 5.4


class FakeProject:
    """What the export asks of a project: heads, the runs behind them, and artifacts."""

    def __init__(self, root: Path, magnification: float = 1.0, chosen: str = "r0004") -> None:
        self.root = root
        rng = np.random.default_rng(7)
        self.artifacts = _artifacts(root, rng, magnification)
        self.chosen = chosen

    def status(self) -> dict[str, Any]:
        """Return heads in pipeline order."""
        names = [("position", "r0001"), ("select", "r0003"), ("refine", "r0004"), ("average", "r0005")]
        names.append(("mask", "r0006"))
        steps = [{"step": f"{n}_x", "stage": n, "state": "fresh", "run": r, "reasons": []} for n, r in names]
        return {"project": "fake", "steps": steps}

    def lineage(self, run: str) -> dict[str, Any]:
        """Return the chain of runs, newest first."""
        run = next((s["run"] for s in self.status()["steps"] if s["step"] == run), run)
        views = {"tilt_series": ("r0000", "tilt_series"), "alignment": ("r0001", "alignment")}
        views["ctf"] = ("r0002", "ctf")
        graph = {
            "r0006": ("mask", {"map": ("r0005", "map")}),
            "r0005": ("average", {"particles": ("r0004", "particles"), **views}),
            "r0004": ("refine", {"particles": ("r0003", "particles"), **views}),
            "r0003": ("select", {"particles": ("r0002", "particles")}),
            "r0001": ("position", {}),
        }
        order = [name for name in graph if name <= run]
        chain = []
        for name in order:
            stage, inputs = graph[name]
            uses = {port: {"run": r, "step": "", "port": p, "kind": ""} for port, (r, p) in inputs.items()}
            chain.append({"run": name, "step": f"{stage}_x", "stage": stage, "inputs": uses, "key": "k"})
        return {"run": run, "chain": chain}

    @property
    def provenance(self) -> FakeProject:
        """Return what makes records."""
        return self

    def sidecar(self, export: str, files: Any, runs: Any, **more: Any) -> dict[str, Any]:
        """Return a record of what was asked for."""
        return {"export": export, "files": files, "runs": sorted(runs), **more}

    def show(self, run: str) -> dict[str, Any]:
        """Return what a run put out."""
        return {"outputs": {port: {} for name, port in self.artifacts if name == run}}

    def artifact(self, run: str, port: str) -> Any:
        """Return an output."""
        return self.artifacts[run, port]


def test_maps_outside_of_the_project_are_not_copied(tmp_path: Path):
    """A record from elsewhere may name any file of this machine: the export does not hand it on."""
    (tmp_path / "p").mkdir()
    project = FakeProject(tmp_path / "p")
    secret = tmp_path / "secret.mrc"
    secret.write_bytes(b"not of this project")
    halves = project.artifacts["r0005", "half_maps"]
    project.artifacts["r0005", "half_maps"] = dataclasses.replace(halves, half_1_path=secret)
    with pytest.raises(StorageError, match="outside of the project") as caught:
        export_relion5(project, tmp_path / "relion")  # type: ignore[arg-type]
    assert caught.value.where == str(secret)
    assert not (tmp_path / "relion").exists()


def _artifacts(root: Path, rng: np.random.Generator, magnification: float) -> dict[tuple[str, str], Any]:
    out: dict[tuple[str, str], Any] = {("r0000", "tilt_series"): {}, ("r0001", "alignment"): {}}
    out |= {("r0001", "slab"): {}, ("r0002", "ctf"): {}}
    parts = []
    scope = Microscope(200.0, 1.4, 0.1)
    for name, shape in SHAPES.items():
        n = 13
        tilt = np.linspace(-60, 58, n)
        used = np.ones(n, dtype=bool)
        used[[1, 8]] = False
        order = np.argsort(np.argsort(np.abs(tilt)))
        exposure = np.full(n, 3.0)
        out["r0000", "tilt_series"][name] = TiltSeries(
            name, root / "runs" / "r0000" / f"{name}.mrc", tilt, order, exposure, 3.0 * order,
            np.full(n, 3.0), used, PIXEL, shape, 85.3, scope,
        )  # fmt: skip
        seen = used.copy()
        seen[12] = False
        out["r0001", "alignment"][name] = TiltGeometry(
            name, tilt + 9.02, rng.normal(0, 1, n), 85.3 + rng.normal(0, 0.2, n), rng.normal(0, 60, (n, 2)),
            np.full(n, 1.0) * (1 if name == "TS_01" else magnification), seen, PIXEL, shape,
        )  # fmt: skip
        out["r0001", "slab"][name] = Slab(name, 1000.0, (1385.1, 1250.0, 1000.0))
        u = rng.uniform(2.0, 5.0, n)
        phase = 12.0 if name == "TS_02" else 0.0
        out["r0002", "ctf"][name] = CtfModel(
            name, u, u - rng.uniform(0, 0.4, n), rng.uniform(-90, 90, n), np.full(n, phase),
            np.ones(n), np.full(n, 9.0), 1 if name == "TS_02" else -1, scope,
        )  # fmt: skip
        parts.append(
            ParticleSet.create(
                name,
                rng.uniform(-600, 600, (40, 3)),
                Rotation.random(40, rng=rng).as_matrix(),
                score=rng.random(40),
                half_set=1 + np.arange(40) % 2,
                symmetry="C6",
            )
        )
    out["r0004", "particles"] = ParticleSet.concatenate(parts, renumber=True)
    out["r0003", "particles"] = out["r0004", "particles"]
    paths = [root / f"{name}.mrc" for name in ("half_1", "half_2", "mask")]
    for path in paths:
        mrcfile.write(path, rng.normal(size=(8, 8, 8)).astype(np.float32), voxel_size=PIXEL)
    out["r0005", "half_maps"] = HalfMaps(paths[0], paths[1], PIXEL, 40, 40, "C6")
    out["r0006", "mask"] = Mask(paths[2], PIXEL)
    return out


@pytest.fixture
def project(tmp_path: Path) -> FakeProject:
    """Return a project of two tilt series: odd and even sizes, unused views, astigmatism, both hands."""
    (tmp_path / "project").mkdir()
    return FakeProject(tmp_path / "project")


def test_an_independent_reader_gets_our_projections(project: FakeProject, tmp_path: Path) -> None:
    """Every particle in every used view: 0.01 px in place, 1 Å in defocus, pose, half-set, exposure."""
    result = export_relion5(project, tmp_path / "relion")  # type: ignore[arg-type]
    assert result["warnings"] == []
    assert result["n_particles"] == 80
    theirs = relion5_reader.predict(tmp_path / "relion", SHAPES)
    for name in SHAPES:
        geometry = project.artifact("r0001", "alignment")[name]
        views = project.artifact("r0000", "tilt_series")[name]
        ctf = project.artifact("r0002", "ctf")[name]
        mine = project.artifact("r0004", "particles").of_series(name)
        use = np.flatnonzero(geometry.view_used)
        read = theirs[name]
        assert read["sections"].tolist() == use.tolist()
        ours = geometry.project(mine.position_xyz_angstrom)[use]
        np.testing.assert_allclose(read["points_px"], ours, atol=0.01)
        offset = ctf.defocus_offset_angstrom(geometry.depth(mine.position_xyz_angstrom))[use]
        np.testing.assert_allclose(read["defocus_u"], 1e4 * ctf.defocus_u_um[use, None] + offset, atol=1.0)
        np.testing.assert_allclose(read["defocus_v"], 1e4 * ctf.defocus_v_um[use, None] + offset, atol=1.0)
        np.testing.assert_allclose(read["pose"], mine.rot_tomo_from_ref, atol=1e-6)
        np.testing.assert_array_equal(read["half_set"], mine.half_set)
        np.testing.assert_allclose(read["pre_exposure"], views.pre_exposure_e_per_angstrom2[use])


def test_the_folder_names_files_that_exist(project: FakeProject, tmp_path: Path) -> None:
    """Half maps and mask are copied, images are named relative to the folder, sums are right."""
    export_relion5(project, tmp_path / "relion")  # type: ignore[arg-type]
    folder = tmp_path / "relion"
    told = json.loads((folder / "provenance.json").read_text())
    assert told["roles"]["particles"] == "r0004.particles"
    assert told["roles"]["half_maps"] == "r0005"
    assert told["runs"] == ["r0000", "r0001", "r0002", "r0004", "r0005", "r0006"]
    assert (told["files"]["half1.mrc"]["run"], told["files"]["mask.mrc"]["run"]) == ("r0005", "r0006")
    for name, entry in told["files"].items():
        content = (folder / name).read_bytes()
        assert entry["sha256"] == "sha256:" + hashlib.sha256(content).hexdigest()
        assert entry["size"] == len(content)
    assert (folder / "half1.mrc").read_bytes() == (project.root / "half_1.mrc").read_bytes()
    assert (folder / "mask.mrc").read_bytes() == (project.root / "mask.mrc").read_bytes()
    optimisation = relion5_reader.read_blocks(folder / "optimisation_set.star")[""][0]
    for file in optimisation.values():
        assert (folder / file).is_file()
    view = relion5_reader.read_blocks(folder / "tilt_series" / "TS_02.star")["TS_02"][0]
    stack = view["rlnMicrographName"].split("@")[1].removesuffix(":mrcs")
    assert (folder / stack).resolve() == (project.root / "runs" / "r0000" / "TS_02.mrc").resolve()
    assert float(view["rlnPhaseShift"]) == 12.0
    optics = relion5_reader.read_blocks(folder / "particles.star")["optics"]
    assert len(optics) == 1
    assert float(optics[0]["rlnVoltage"]) == 200.0


def test_equal_projects_give_equal_bytes(project: FakeProject, tmp_path: Path) -> None:
    """Two exports of the same runs are the same, file by file."""
    for name in ("a", "b"):
        export_relion5(project, tmp_path / name)  # type: ignore[arg-type]
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 9
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_magnification_is_not_silently_dropped(tmp_path: Path) -> None:
    """RELION 5 has no magnification of views: the export says how far off particles come out."""
    fake = FakeProject(tmp_path, magnification=1.01)
    result = export_relion5(fake, tmp_path / "relion")  # type: ignore[arg-type]
    assert len(result["warnings"]) == 1
    assert "TS_02" in result["warnings"][0]
    assert "magnification" in result["warnings"][0]


def test_targets_that_must_not_be_written(project: FakeProject, tmp_path: Path) -> None:
    """A folder with content and a place among the runs are refused, and nothing is left behind."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    for target in (tmp_path / "full", project.root / "runs" / "new"):
        with pytest.raises(UsageError):
            export_relion5(project, target)  # type: ignore[arg-type]
    assert (tmp_path / "full" / "x").read_text() == "mine"
    assert not (project.root / "runs" / "new").exists()


def test_a_failed_export_leaves_nothing(project: FakeProject, tmp_path: Path) -> None:
    """Particles of a series without alignment: one clear error, no folder."""
    del project.artifacts["r0001", "alignment"]["TS_02"]
    with pytest.raises(InputError, match="TS_02"):
        export_relion5(project, tmp_path / "relion")  # type: ignore[arg-type]
    assert not list(tmp_path.glob("relion*"))


def test_nothing_to_export_is_said(project: FakeProject, tmp_path: Path) -> None:
    """Before any selection there is nothing to export."""
    empty = SimpleNamespace(root=tmp_path, status=lambda: {"project": "p", "steps": []})
    with pytest.raises(UsageError, match="no step"):
        export_relion5(empty, tmp_path / "relion")  # type: ignore[arg-type]
