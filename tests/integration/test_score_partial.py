"""Score a real project that has come as far as its CTF: measured parts are numbers, the rest is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from staproj.api import Project
from staproj.errors import InputError
from staproj.testing.phantoms import simulate
from staproj.testing.score import score_project, write_table

TEMPLATE = """\
schema = 2
[template]
name = "start"
help = "From movies to the CTF."
[project]
name = "start"
[microscope]
exposure_e_per_angstrom2 = 6.0
[step.import_movies]
stage = "import_movies"
[step.import_movies.params]
movies = []
mdoc = []
[step.motion]
stage = "motion"
inputs = { movies = "import_movies" }
[step.clean]
stage = "clean"
inputs = { tilt_series = "motion" }
[step.coarse_align]
stage = "coarse_align"
inputs = { tilt_series = "clean" }
[step.fiducials]
stage = "fiducials"
inputs = { tilt_series = "clean", alignment = "coarse_align" }
[step.fine_align]
stage = "fine_align"
inputs = { fiducials = "fiducials", alignment = "coarse_align" }
[step.ctf]
stage = "ctf"
inputs = { tilt_series = "clean", alignment = "fine_align" }
"""


@pytest.mark.slow
def test_movies_to_ctf_score(tmp_path: Path) -> None:
    """Alignment, drift and defocus of a simulated session come out right; what was not run is None."""
    truth = simulate(tmp_path / "session", "tiny", seed=11, threads=1)
    (tmp_path / "start.toml").write_text(TEMPLATE)
    project = Project.create(
        tmp_path / "project",
        str(tmp_path / "start.toml"),
        movies=str(tmp_path / "session" / "frames" / "*"),
        mdoc=str(tmp_path / "session" / "mdoc" / "*.mdoc"),
        gain=str(tmp_path / "session" / "gain.mrc"),
    )
    empty = score_project(project.root, truth.root)
    assert empty["alignment"] is None
    project.run(threads=1)
    score = score_project(project.root, truth.root)
    assert score["alignment"]["reprojection_rms_px"] <= 1.0
    assert score["alignment"]["scale"] == pytest.approx(1.0, abs=0.01)
    assert score["drift"]["error_rms_px"] < 0.5
    assert score["ctf"]["defocus_error_median_percent"] <= 10.0
    assert score["ctf"]["hand_correct"] is True
    assert [score[part] for part in ("gold", "particles", "map")] == [None, None, None]
    assert score["passed"] is False
    assert "not measured" in write_table(score)
    other = simulate(tmp_path / "other", "tiny", seed=2, threads=1, n_series=1, n_views=3)
    renamed = other.root.parent / "renamed"
    other.root.rename(renamed)
    (renamed / "TS_01").rename(renamed / "TS_77")
    text = (renamed / "truth.json").read_text().replace('"TS_01"', '"TS_77"')
    (renamed / "truth.json").write_text(text)
    with pytest.raises(InputError, match="TS_77"):
        score_project(project.root, renamed)
