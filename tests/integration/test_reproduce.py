"""Recipes of runs: what they say, that they can be followed, and that a check sees what differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest

from staproj.api import Project
from staproj.engine import differences
from staproj.errors import StaprojError, UsageError
from staproj.report import recipes as report
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit
from tests.integration.test_gc import tree

REPO = Path(__file__).resolve().parents[2]


def test_recipe_holds_all_that_is_needed(project: Project):
    """Parameters with layers, inputs with digests, raw data of the whole chain, software, outputs."""
    edit(project, "[step.again]", "[step.shift.item.TS_02]\noffset_px = 9.0\n\n[step.again]")
    project.run()
    data = project.recipes.recipe("r0002")
    assert "offset_px = 2.0" in data["manifest"]
    assert "# step" in data["manifest"]
    assert "# default" in data["manifest"]
    assert "[step.shift.item.TS_02]" in data["manifest"]
    use = data["inputs"][0]
    assert (use["port"], use["run"], use["step"]) == ("tilt_series", "r0001", "import")
    assert sorted(use["digest"]) == ["TS_01", "TS_02", "TS_03"]
    assert [part["path"] for part in data["raw"]] == [f"raw/TS_0{n}.txt" for n in (1, 2, 3)]
    assert data["links"] == ["raw"]
    assert data["software"]["packages"]["numpy"] == np.__version__
    assert f"numpy=={np.__version__}" in data["software"]["install"]
    assert len(data["outputs"]) == 6
    text = "\n".join(report.recipe_lines(data))
    for word in ("staproj rerun r0002", "r0001.tilt_series", "raw/TS_03.txt", "offset_px"):
        assert word in text


def test_whole_manifest_gives_the_same_keys_elsewhere(project: Project, tmp_path: Path):
    """A new project with the manifest of the recipe and the raw data gives equal keys and equal files."""
    edit(project, "[step.again]", "[step.shift.item.TS_02]\noffset_px = 9.0\n\n[step.again]")
    project.run()
    data = project.recipes.recipe("copy")
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "raw").symlink_to(project.root / "raw")
    (other / "staproj.toml").write_text(data["manifest_all"])
    fresh = Project.open(other)
    fresh.run()
    sealed = {row["step"]: row["run"] for row in project.ls()}
    for row in fresh.ls():
        old, new = (json.loads((p.run_dir(r) / "spec.json").read_text()) for p, r in
                    ((project, sealed[row["step"]]), (fresh, row["run"])))  # fmt: skip
        assert old["key"] == new["key"]
    made = (fresh.run_dir("copy") / "out" / "map.bin").read_bytes()
    assert made == (project.run_dir("copy") / "out" / "map.bin").read_bytes()


def test_two_runs_of_one_step_get_names_of_their_own(project: Project):
    """A run made from an older and a newer run of the same step gives a manifest that can be read."""
    project.run()
    edit(project, 'inputs = { tilt_series = "shift" }', 'inputs = { tilt_series = "run:r0002" }')
    edit(project, "offset_px = 2.0", "offset_px = 3.0")
    text = project.root / "staproj.toml"
    text.write_text(
        text.read_text() + '\n[step.shift2]\nstage = "toy_shift"\ninputs = { tilt_series = "again" }\n'
    )
    project.run()
    data = project.recipes.recipe("shift2")
    parsed = tomllib.loads(data["manifest_all"])
    assert set(parsed["step"]) == {step["step"] for step in data["chain"]}
    assert parsed["step"]["shift"]["params"]["offset_px"] == 2.0


def test_check_makes_it_again_and_touches_nothing(project: Project):
    """All files come out the same, also from raw data; the project is as before; one item can be checked."""
    project.run()
    before = tree(project.root)
    toy.CALLS.clear()
    found = project.recipes.check("r0003", items=["TS_02"])
    assert found["equal"]
    assert toy.CALLS == [("toy_shift", "TS_02")]
    found = project.recipes.check("r0006", from_raw=True)
    assert found["equal"]
    assert len(found["units"]) == 1 + 3 + 3 + 1 + 1
    assert tree(project.root) == before


def test_check_says_what_differs_and_by_how_much(project: Project, monkeypatch: pytest.MonkeyPatch):
    """A stage that gives other numbers is found out, with the largest difference."""
    project.run()
    original = toy.tilt_series

    def changed(ctx, name, data):
        made = original(ctx, name, data)
        return type(made)(**{**vars(made), "stage_tilt_deg": made.stage_tilt_deg + 0.25})

    monkeypatch.setattr(toy, "tilt_series", changed)
    found = project.recipes.check("r0002")
    assert not found["equal"]
    part = found["units"][0]["differing"][0]
    assert part["path"] == "TS_01/tilt_series.h5"
    assert not part["same_content"]
    assert part["max_abs_difference"] == 0.25
    assert "stage_tilt_deg" in part["told"]
    assert "does not come out the same" in report.check_lines(found)[-1]


def test_what_cannot_be_made_again_says_why(project: Project):
    """Raw data that changed, or a run that never got to its end, is an error with the reason."""
    project.run()
    (project.root / "raw" / "TS_01.txt").write_text("999\n")
    with pytest.raises(StaprojError, match=r"raw data was changed: raw/TS_01\.txt"):
        project.recipes.check("r0001")
    toy.SWITCH["TS_02"] = "fail"
    with pytest.raises(StaprojError):
        project.rerun("shift")
    with pytest.raises(UsageError, match="not complete"):
        project.recipes.recipe("r0007")


def test_script_runs_elsewhere_and_compares(project: Project, tmp_path: Path, plug_in: Path):
    """The shell script makes the chain again in a new directory from the raw data, and all files agree."""
    project.run()
    text = report.script(project.recipes.recipe("copy"), str(project.root))
    place = tmp_path / "again.sh"
    place.write_text(text)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join([str(plug_in), str(REPO)])}
    done = subprocess.run(
        ["bash", str(place), str(tmp_path / "new")],
        env=env,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same map.bin" in done.stdout
    (project.root / "raw" / "TS_01.txt").write_text("999\n")
    done = subprocess.run(
        ["bash", str(place), str(tmp_path / "newer")],
        env=env,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 4
    assert "raw data is not what it was: raw/TS_01.txt" in done.stdout


def test_script_cannot_be_given_commands_by_a_record(project: Project, tmp_path: Path):
    """Text from a record that looks like shell stays text."""
    project.run()
    data = project.recipes.recipe("mean")
    evil = "x'; touch OWNED; '$(touch OWNED)\nEND_OF_STAPROJ_DATA\ntouch OWNED\n"
    data["raw"][0]["path"] = evil
    data["links"] = [evil]
    data["outputs"][0]["path"] = evil
    data["software"]["staproj"] = evil
    data["step"] = data["chain"][-1]["step"] = evil
    place = tmp_path / "evil.sh"
    place.write_text(report.script(data, evil))
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "staproj"
    fake.write_text("#!/bin/sh\nexit 0\n")
    fake.chmod(0o755)
    env = {**os.environ, "PATH": os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])}
    subprocess.run(["bash", str(place), "new"], cwd=tmp_path, env=env, check=False, timeout=60)
    assert not list(tmp_path.rglob("OWNED"))


def test_differences_of_numbers(tmp_path: Path):
    """MRC and HDF5 files are compared value by value, others by bytes."""
    volume = np.zeros((3, 4, 5), dtype=np.float32)
    for name, shift in (("a.mrc", 0.0), ("b.mrc", 0.5)):
        with mrcfile.new(tmp_path / name) as handle:
            handle.set_data(volume + np.float32(shift))
    assert differences.amount(tmp_path / "a.mrc", tmp_path / "b.mrc")["max_abs_difference"] == 0.5
    for name, value in (("a.h5", 1.0), ("b.h5", 1.25)):
        with h5py.File(tmp_path / name, "w") as handle:
            handle["x"] = np.array([0.0, value])
            handle.attrs["same"] = "text"
    found = differences.amount(tmp_path / "a.h5", tmp_path / "b.h5")
    assert found == {"told": "x differ", "max_abs_difference": 0.25}
    (tmp_path / "a.bin").write_bytes(b"abcd")
    (tmp_path / "b.bin").write_bytes(b"abxd")
    found = differences.amount(tmp_path / "a.bin", tmp_path / "b.bin")
    assert found == {"told": "1 bytes differ, the first at 2", "max_abs_difference": None}
