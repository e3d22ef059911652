"""Motion correction against known drift and against RELION's result on the same movie."""

from __future__ import annotations

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from staproj.formats.star import read_star
from staproj.model.tilt_series import MovieSeries
from staproj.testing.stage_harness import StageResult, run_stage

DATA = Path(__file__).parent / "data" / "relion_motioncorr"
# RELION itself is 0.043 px (rms per axis, mean removed) from the truth of this movie; we ask for half
# of that from the truth, and to be no farther from RELION than the two together.
DRIFT_TOLERANCE_PX = 0.02
RELION_TOLERANCE_PX = 0.065


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StageResult:
    """Correct the movie by the stage with RELION's reference (the first frame)."""
    movies = MovieSeries(
        tilt_series_id="TS",
        movie_paths=(DATA / "mov2.mrc",),
        stage_tilt_deg=np.zeros(1),
        acquisition_index=np.zeros(1, dtype=np.int64),
        exposure_e_per_angstrom2=np.full(1, 3.0),
        pre_exposure_e_per_angstrom2=np.zeros(1),
        n_frames=np.array([6]),
        nominal_defocus_um=np.full(1, 3.0),
        pixel_size_angstrom=1.7,
        image_shape_yx=(240, 256),
        tilt_axis_deg=85.3,
        gain_path=DATA / "gain.mrc",
    )
    return run_stage("motion", {"movies": movies}, {"reference": "first"}, tmp_path_factory.mktemp("m"))


def _drift(result: StageResult) -> np.ndarray:
    table = result.ctx.tables["drift"]
    return np.stack([table["drift_x_px"], table["drift_y_px"]], axis=1)


def _view(path: Path) -> np.ndarray:
    """Read a stack of one view, which mrcfile gives two axes."""
    return np.asarray(mrcfile.read(path)).reshape(240, 256)


def test_drift_against_truth(result: StageResult) -> None:
    """Recorded drift is where the content moved, to 0.02 px rms per axis."""
    truth = np.array(json.loads((DATA / "truth.json").read_text())["drift_xy_px"])
    off = (_drift(result) - _drift(result).mean(axis=0)) - (truth - truth.mean(axis=0))
    assert np.sqrt((off**2).mean()) < DRIFT_TOLERANCE_PX
    np.testing.assert_allclose(_drift(result)[0], 0.0, atol=1e-9)


def test_drift_is_minus_relions_shift(result: StageResult) -> None:
    """RELION stores the applied shift, which is minus the drift."""
    table = read_star(DATA / "mov2.star")["global_shift"]
    applied = table[["rlnMicrographShiftX", "rlnMicrographShiftY"]].to_numpy(dtype=float)
    off = (_drift(result) - _drift(result).mean(axis=0)) + (applied - applied.mean(axis=0))
    assert np.sqrt((off**2).mean()) < RELION_TOLERANCE_PX


def test_sum_against_relion(result: StageResult) -> None:
    """The sum has RELION's scale (gain-corrected counts added up) and shows the same picture."""
    ours = _view(result["tilt_series"].stack_path)[10:-10, 10:-10].astype(float)
    theirs = np.squeeze(mrcfile.read(DATA / "mov2_sum.mrc"))[10:-10, 10:-10].astype(float)
    assert ours.mean() / theirs.mean() == pytest.approx(1.0, abs=1e-4)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99


def test_hot_pixels_are_those_relion_found(result: StageResult) -> None:
    """All three hot pixels are found, and nothing else."""
    table = read_star(DATA / "mov2.star")["hot_pixels"]
    theirs = {(int(x), int(y)) for x, y in table[["rlnCoordinateX", "rlnCoordinateY"]].to_numpy()}
    truth = {(x, y) for y, x in json.loads((DATA / "truth.json").read_text())["hot_pixels_yx"]}
    assert theirs == truth
    assert result.ctx.tables["views"]["n_defects"][0] == len(truth)
    frames = mrcfile.read(DATA / "mov2.mrc").sum(axis=0, dtype=float)
    views = _view(result["tilt_series"].stack_path)
    for x, y in truth:
        assert views[y, x] < 0.5 * frames[y, x]


def test_halves_add_up_to_the_view(result: StageResult) -> None:
    """Odd and even stacks are disjoint parts of the sum."""
    series = result["tilt_series"]
    parts = [_view(path) for path in (series.odd_stack_path, series.even_stack_path)]
    np.testing.assert_allclose(parts[0] + parts[1], _view(series.stack_path), rtol=1e-4, atol=1e-3)
    assert parts[0].mean() == pytest.approx(parts[1].mean(), rel=0.02)
