"""The whole pipeline on data that is not the demo, by the commands that a person would type."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
