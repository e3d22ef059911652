"""The whole way in a real tmux at 80x24, keys only: from movies to an archive, with real stages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.api.archives import restore
from staproj.testing.phantoms import simulate
from tests.integration.jobs_setup import until
from tests.tmux import Tmux

STAPROJ = (sys.executable, "-m", "staproj")
pytestmark = pytest.mark.slow


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Return a small simulated session of movies and mdoc files."""
    place = tmp_path / "session"
    simulate(place, "tiny")
    return place


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    with Tmux(tmp_path / "home") as found:
        yield found


def test_from_movies_to_an_archive(session: Path, tmux: Tmux, tmp_path: Path) -> None:
    """New project, run, watch, rerun with another value, what is stale and why, compare, note, archive."""
    root = tmp_path / "work"
    root.mkdir()
    tmux.start([*STAPROJ, "tui"], cwd=root)

    # a new project from the session
    tmux.wait_for("new project", "demo", "empiar-10164")
    tmux.keys("C-n")
    tmux.wait_for("look in")
    tmux.type(str(session))
    tmux.keys("Enter")
    tmux.wait_for("34 files")
    tmux.keys("C-n")
    tmux.wait_for("tilt axis", "mdoc")
    tmux.keys("C-n")
    tmux.wait_for("directory")
    tmux.type("vlp")
    tmux.keys("C-s")
    tmux.wait_for("staproj new vlp --template demo")
    tmux.keys("C-s")
    tmux.wait_for("pipeline: 22 of 22 to run", timeout_s=20)

    # run up to the alignment by cross-correlation, and watch
    _go_to(tmux, "coarse_align")
    tmux.keys("R")
    tmux.wait_for("run what is to run", "22 steps")
    tmux.keys("t")
    tmux.wait_for("4 of 22 steps")
    tmux.keys("C-s")
    tmux.wait_for("1 running", timeout_s=20)
    tmux.wait_for("pipeline: 18 of 22 to run", timeout_s=60)

    # a step again with another value; the form has the name, the help and the bounds
    _go_to(tmux, "clean")
    tmux.keys("r")
    tmux.wait_for("run clean again", "exclude_views", "Views nothing should use")
    tmux.keys("Enter")
    tmux.wait_for("enter: take it")
    tmux.type("[0]")
    tmux.keys("Enter")
    tmux.wait_for("1 typed")
    tmux.keys("C-s")
    tmux.wait_for("pipeline: 19 of 22 to run", timeout_s=60)

    # what is stale now, and why
    _go_to(tmux, "coarse_align")
    tmux.wait_for("coarse_align", "stale", "clean.exclude_views: [] -> [0]")
    tmux.keys("w")
    tmux.wait_for("why coarse_align", "clean.exclude_views", "esc closes")
    tmux.keys("Escape")
    tmux.wait_for("all keys", gone=["esc closes"])

    # compare both runs of the step, and say something about the new one
    _go_to(tmux, "clean")
    tmux.keys("Right", "j", "Space", "Space", "d")
    tmux.wait_for("exclude_views", "r0003", "r0005", "[0]")
    tmux.keys("Escape")
    tmux.wait_for("pipeline")
    tmux.keys("Escape")  # the marks
    tmux.wait_for("all keys", gone=["•"])
    tmux.keys("k", "n")
    tmux.wait_for("note on")
    tmux.type("view 0 left out")
    tmux.keys("Enter")
    tmux.wait_for("staproj note")
    project = Project.open(root / "vlp")
    notes = [note["text"] for said in project.annotations.all().values() for note in said["notes"]]
    assert notes == ["view 0 left out"]

    # and at the end an archive of it all, whose every bit is checked when it is restored
    tmux.keys("A")
    tmux.wait_for("write an archive", "verify the project")
    tmux.keys("Enter")
    tmux.wait_for("new file", "ctrl+s begins")
    tmux.keys("C-s")
    archive = root / "vlp.tar"
    until(archive.exists, 60)
    tmux.wait_for("done", "staproj archive")
    restored = Project.open(restore(archive, tmp_path / "restored")["directory"])
    assert len(restored.ls()) == 5
    assert [len(said["notes"]) for said in restored.annotations.all().values()] == [1]
    tmux.keys("q")
    until(lambda: tmux.ended() == 0)


def _go_to(tmux: Tmux, step: str) -> None:
    """Put the cursor on a step by a filter, and take the filter away."""
    tmux.keys("g", "/")
    tmux.type(step)
    tmux.keys("Enter")
    tmux.wait_for(f"{step}:", "staproj status")
    tmux.keys("Escape")
    tmux.wait_for("import_movies", f"{step}:")
