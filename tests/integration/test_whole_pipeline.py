"""The whole pipeline on data that is not the demo, by the commands that a person would type."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from staproj.api import Project
from tests import relion5_reader

pytestmark = pytest.mark.slow


def command(*arguments: str) -> Any:
    """Return the JSON answer of a command that must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "staproj", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout)


def test_another_session_from_movies_to_scored_map(tmp_path: Path) -> None:
    """Another seed, pixel size, image shape, view count and VLP radius reach the marks of the demo."""
    session, project = tmp_path / "session", tmp_path / "project"
    made = command(
        "simulate", str(session), "--seed", "12", "--pixel-size-angstrom", "6.6",
        "--image-shape-yx", "300", "342", "--n-views", "35", "--vlp-radius-angstrom", "330",
        "--n-series", "1", "--n-vlps", "2",
    )  # fmt: skip
    exposures = ", ".join(f"{name} = {value}" for name, value in made["exposure_e_per_angstrom2"].items())
    command(
        "new", str(project), "--template", "demo", "--movies", f"{session}/frames/*",
        "--mdoc", f"{session}/mdoc/*.mdoc", "--gain", f"{session}/gain.mrc",
        "--set", f"import_movies.exposure_e_per_angstrom2={{ {exposures} }}",
    )  # fmt: skip
    command("run", "-C", str(project))
    scores = command("score", str(project), "--truth", made["truth"])
    judged = {mark["name"]: (mark["value"], mark["passed"]) for mark in scores["pass_marks"]}
    assert len(judged) == 6
    assert all(passed for _, passed in judged.values()), judged
    assert scores["ctf"]["hand_correct"] is True
    check_export(project, tmp_path / "relion")
    check_lineage(project)
    check_rerun(project)


def check_export(root: Path, folder: Path) -> None:
    """Hold what an independent reader finds to 0.01 px in every view, and to 1 Å in defocus."""
    told = command("export", "relion5", str(folder), "-C", str(root))
    project = Project.open(root)
    particles, ctf = project.artifact("refine_bin1", "particles"), project.artifact("ctf", "ctf")
    geometry = project.artifact("position", "alignment")
    theirs = relion5_reader.predict(folder, {name: one.image_shape_yx for name, one in geometry.items()})
    assert told["n_particles"] == len(particles) > 50
    for name, one in geometry.items():
        mine = particles.of_series(name)
        use = theirs[name]["sections"]
        assert use.tolist() == np.flatnonzero(one.view_used).tolist()
        ours = one.project(mine.position_xyz_angstrom)[use]
        np.testing.assert_allclose(theirs[name]["points_px"], ours, atol=0.01)
        offset = ctf[name].defocus_offset_angstrom(one.depth(mine.position_xyz_angstrom))[use]
        expected = 1e4 * ctf[name].defocus_u_um[use, None] + offset
        np.testing.assert_allclose(theirs[name]["defocus_u"], expected, atol=1.0)
        assert theirs[name]["half_set"].tolist() == mine.half_set.tolist()
    assert {path.name for path in folder.glob("*.mrc")} == {"half1.mrc", "half2.mrc", "mask.mrc"}


def check_lineage(root: Path) -> None:
    """Follow files of the last run back through the runs to the movies."""
    files = sorted((root / "runs").glob("*-postprocess/out/*.mrc"))
    assert files
    for file in files:
        told = command("lineage", str(file))
        stages = {node["stage"] for node in told["chain"]}
        assert {"postprocess", "average", "refine", "fine_align", "motion", "import_movies"} <= stages
        assert any("frames" in str(raw) for raw in told["raw"])


def check_rerun(root: Path) -> None:
    """Another defocus range makes exactly the steps below ``ctf`` stale, and ``why`` names what changed."""
    assert {step["state"] for step in command("status", "-C", str(root))["steps"]} == {"fresh"}
    command("rerun", "ctf", "--set", "defocus_max_um=6", "-C", str(root))
    status = command("status", "-C", str(root))
    stale = [step["step"] for step in status["steps"] if step["state"] == "stale"]
    assert stale == [
        "reconstruct", "geometry", "seed", "initial_reference", "reorient", "match", "select",
        "refine_bin2", "refine_bin1", "average", "mask", "fsc", "postprocess",
    ]  # fmt: skip
    for step in stale:
        reasons = command("why", step, "-C", str(root))["reasons"]
        change = {"kind": "param", "field": "ctf.defocus_max_um", "old": 8.0, "new": 6.0}
        assert change in reasons, (step, reasons)


def test_images_of_another_program(shared_data: Path, tmp_path: Path, repository: Path) -> None:
    """The example on images that cryoJAX simulated ends in a map no worse than 1.5 times its bound."""
    done = subprocess.run(
        [
            sys.executable, str(repository / "examples" / "another_program.py"),
            str(shared_data / "sim_vlp_cryojax"), "--project", str(tmp_path / "project"),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "the bound" in done.stdout
