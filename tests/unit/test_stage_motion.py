"""motion and clean on movies with known drift, and what they do with bad movies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from staproj.errors import CancelledError, EmptyResultError, FormatError, InputError
from staproj.formats.mrc import read_info, read_mrc, write_mrc
from staproj.formats.tiff import write_tiff
from staproj.model.tilt_series import MovieSeries, TiltSeries
from staproj.testing.stage_harness import RecordingContext, StageResult, run_stage

SHAPE = (129, 150)  # odd and not square: frames are padded for the sum
N_FRAMES = 5
TILT = np.array([-3.0, 0.0, 3.0])


def _movie(rng: np.random.Generator, drift: np.ndarray, gain: np.ndarray, hot: tuple[int, int]) -> np.ndarray:
    """Count frames of Gaussian blobs that lie at ``+drift`` (x, y), with a hot pixel and one X-ray."""
    places = rng.uniform(-10, 160, (150, 2))
    height, width = rng.normal(0, 0.35, 150), rng.uniform(1.5, 4.0, 150)
    y, x = np.arange(SHAPE[0]), np.arange(SHAPE[1])
    frames = []
    for dx, dy in drift:
        along_y = np.exp(-0.5 * ((y[None] - places[:, :1] - dy) / width[:, None]) ** 2)
        along_x = np.exp(-0.5 * ((x[None] - places[:, 1:] - dx) / width[:, None]) ** 2)
        scene = np.einsum("by,bx->yx", along_y * height[:, None], along_x)
        frames.append(rng.poisson(20.0 * np.clip(1 + scene, 0.1, None) / gain))
    movie = np.stack(frames).astype(np.float32)
    movie[:, hot[0], hot[1]] += 60
    movie[2, 30, 40] += 900
    return movie


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[MovieSeries, np.ndarray]:
    """Return three movies (MRC and TIFF) with a gain reference, and their drift ``[view, frame, 2]``."""
    folder = tmp_path_factory.mktemp("movies")
    rng = np.random.default_rng(11)
    gain = rng.normal(1.0, 0.05, SHAPE).clip(0.8, 1.2).astype(np.float32)
    drift = np.cumsum(rng.normal(0, 1.2, (3, N_FRAMES, 2)), axis=1)
    drift -= drift.mean(axis=1, keepdims=True)
    paths = []
    for view in range(3):
        movie = _movie(rng, drift[view], gain, (70, 21))
        if view == 1:
            paths.append(write_tiff(folder / "v1.tif", movie.astype(np.uint16)))
        else:
            paths.append(write_mrc(folder / f"v{view}.mrc", movie, 2.7))
    movies = MovieSeries(
        tilt_series_id="TS_01",
        movie_paths=tuple(paths),
        stage_tilt_deg=TILT,
        acquisition_index=np.array([2, 0, 1]),
        exposure_e_per_angstrom2=np.full(3, 3.0),
        pre_exposure_e_per_angstrom2=np.array([6.0, 0.0, 3.0]),
        n_frames=np.full(3, N_FRAMES),
        nominal_defocus_um=np.full(3, 2.5),
        pixel_size_angstrom=2.7,
        image_shape_yx=SHAPE,
        tilt_axis_deg=85.3,
        gain_path=write_mrc(folder / "gain.mrc", gain, 2.7),
    )
    return movies, drift


@pytest.fixture(scope="module")
def corrected(
    session: tuple[MovieSeries, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> StageResult:
    """Return the corrected series."""
    return run_stage("motion", {"movies": session[0]}, {}, tmp_path_factory.mktemp("run"))


def _drift(result: StageResult) -> np.ndarray:
    table = result.ctx.tables["drift"]
    return np.stack([table["drift_x_px"], table["drift_y_px"]], axis=1).reshape(3, -1, 2)


def test_drift_of_mrc_and_tiff(session: tuple[MovieSeries, np.ndarray], corrected: StageResult) -> None:
    """Drift is found to 0.15 px rms in movies of both formats, counted from the mean of all frames."""
    off = _drift(corrected) - session[1]
    assert np.sqrt((off**2).mean(axis=(1, 2))).max() < 0.15
    np.testing.assert_allclose(_drift(corrected).mean(axis=1), 0.0, atol=1e-6)


def test_views_are_sums_in_counts(session: tuple[MovieSeries, np.ndarray], corrected: StageResult) -> None:
    """Views keep order, pixel size and counts; metadata goes along; halves add up."""
    series: TiltSeries = corrected["tilt_series"]
    views, pixel = read_mrc(series.stack_path)
    assert views.shape == (3, *SHAPE)
    assert pixel == pytest.approx(2.7)
    assert views.mean() == pytest.approx(20.0 * N_FRAMES, rel=0.03)
    np.testing.assert_array_equal(series.stage_tilt_deg, TILT)
    np.testing.assert_array_equal(series.acquisition_index, [2, 0, 1])
    assert series.view_used.all()
    assert series.odd_stack_path is not None
    assert series.even_stack_path is not None
    halves = read_mrc(series.odd_stack_path)[0] + read_mrc(series.even_stack_path)[0]
    np.testing.assert_allclose(halves, views, rtol=1e-4, atol=1e-2)


def test_defects_and_xrays_are_gone(corrected: StageResult) -> None:
    """Neither the hot pixel nor the X-ray shows in the views."""
    views, _ = read_mrc(corrected["tilt_series"].stack_path)
    # 900 counts in one pixel and 60 in each of 5 frames would be 90 and 30 SD.
    assert np.abs(views[:, 28:33, 38:43] - 100).max() < 100
    assert np.abs(views[:, 68:73, 19:24] - 100).max() < 100


def test_alignment_sharpens(
    session: tuple[MovieSeries, np.ndarray], tmp_path: Path, corrected: StageResult
) -> None:
    """FRC of odd against even frames rises when drift is removed."""
    plain = run_stage("motion", {"movies": session[0]}, {"align": False, "write_halves": False}, tmp_path)
    assert corrected.ctx.metrics["frc_low"] > plain.ctx.metrics["frc_low"] + 0.02
    assert "align = false" in plain.ctx.fallbacks[0]
    assert plain["tilt_series"].odd_stack_path is None


def test_records(corrected: StageResult) -> None:
    """Tables, curves, preview and a verdict with numbers are recorded."""
    assert set(corrected.ctx.curves) == {"frc_odd_even", "travel"}
    assert len(corrected.ctx.tables["views"]["view"]) == 3
    assert corrected.ctx.previews["view_nearest_0_deg"].ndim == 2
    assert "3 views of 5 frames" in corrected.ctx.verdicts[0]


def test_same_bytes_twice(
    session: tuple[MovieSeries, np.ndarray], tmp_path: Path, corrected: StageResult
) -> None:
    """A second run on two threads gives the same bytes."""
    again = run_stage("motion", {"movies": session[0]}, {}, tmp_path, threads=2)["tilt_series"]
    assert again.stack_path.read_bytes() == corrected["tilt_series"].stack_path.read_bytes()


def test_groups_reference_and_float16(session: tuple[MovieSeries, np.ndarray], tmp_path: Path) -> None:
    """Grouped frames share a path; the first frame can be the reference; 16-bit stacks read back."""
    params = {"group_frames": 2, "reference": "first", "float16": True}
    result = run_stage("motion", {"movies": session[0]}, params, tmp_path)
    np.testing.assert_allclose(_drift(result)[:, 0], 0.0, atol=1e-6)
    assert read_info(result["tilt_series"].stack_path).dtype == np.float16
    expected = session[1] - session[1][:, :1]
    assert np.sqrt(((_drift(result) - expected) ** 2).mean()) < 1.0  # half the step between frames


def test_rows_of_tiff_movies(session: tuple[MovieSeries, np.ndarray], tmp_path: Path) -> None:
    """Reading TIFF rows from the other end mirrors that view in y and no other."""
    movies = replace(session[0], gain_path=None)
    views = []
    for row in ("top", "bottom"):
        params = {"tiff_first_row": row, "align": False, "truncate_above_sd": 1000.0}
        series = run_stage("motion", {"movies": movies}, params, tmp_path / row)["tilt_series"]
        views.append(read_mrc(series.stack_path)[0])
    np.testing.assert_allclose(views[0][1], views[1][1][::-1], atol=0.01)
    np.testing.assert_array_equal(views[0][0], views[1][0])


def _with_movie(session: tuple[MovieSeries, np.ndarray], path: Path) -> MovieSeries:
    return replace(session[0], movie_paths=(path, *session[0].movie_paths[1:]))


def _fails(movies: MovieSeries, tmp_path: Path, says: str) -> None:
    with pytest.raises((FormatError, InputError), match=says) as caught:
        run_stage("motion", {"movies": movies}, {}, tmp_path / "run")
    assert "bad.mrc" in str(caught.value.where)
    assert caught.value.hint
    assert not list((tmp_path / "run").rglob("*.mrc*"))


def test_bad_movies(session: tuple[MovieSeries, np.ndarray], tmp_path: Path) -> None:
    """NaN, truncated and replaced movies are named; nothing half-written is left."""
    frames, _ = read_mrc(session[0].movie_paths[0])
    path = write_mrc(tmp_path / "bad.mrc", frames, 2.7)
    raw = path.read_bytes()
    spoiled = frames.copy()
    spoiled[4, 3, 2] = np.nan
    path.write_bytes(raw[:1024] + spoiled.tobytes())
    _fails(_with_movie(session, path), tmp_path, "NaN")
    path.write_bytes(raw[:-1000])
    _fails(_with_movie(session, path), tmp_path, "truncated")
    write_mrc(path, frames[:3], 2.7)
    _fails(_with_movie(session, path), tmp_path, "changed since it was imported")


def test_cancelling(session: tuple[MovieSeries, np.ndarray], tmp_path: Path) -> None:
    """A stage that is stopped leaves no half-written stack."""
    ctx = RecordingContext(root=tmp_path, item="TS_01", cancel_after=1)
    with pytest.raises(CancelledError):
        run_stage("motion", {"movies": session[0]}, {}, tmp_path, ctx=ctx)
    assert not list(tmp_path.rglob("*.mrc*"))


def _series(folder: Path, **changes: Any) -> tuple[TiltSeries, np.ndarray]:
    rng = np.random.default_rng(5)
    tilt = np.linspace(-40, 40, 9)
    views = rng.poisson(80 * np.exp(-0.3 / np.cos(np.deg2rad(tilt)))[:, None, None], (9, 70, 81)).astype(
        np.float32
    )
    views[2, 40, 50] = 3000.0
    views[7] *= 0.01
    halves = {f"{n}_stack_path": write_mrc(folder / f"{n}.mrc", views / 2, 5.4) for n in ("odd", "even")}
    series = TiltSeries(
        tilt_series_id="TS_01",
        stack_path=write_mrc(folder / "v.mrc", views, 5.4),
        stage_tilt_deg=tilt,
        acquisition_index=np.arange(9),
        exposure_e_per_angstrom2=np.full(9, 3.0),
        pre_exposure_e_per_angstrom2=3.0 * np.arange(9),
        nominal_defocus_um=np.full(9, 2.5),
        view_used=np.ones(9, dtype=bool),
        pixel_size_angstrom=5.4,
        image_shape_yx=(70, 81),
        tilt_axis_deg=85.3,
        **halves,
    )
    return replace(series, **changes), views


def test_clean_replaces_spikes_in_all_stacks(tmp_path: Path) -> None:
    """One spike goes from sum and halves; every other pixel is untouched; the blank view is left out."""
    series, views = _series(tmp_path)
    result = run_stage("clean", {"tilt_series": series}, {"exclude_views": [0]}, tmp_path)
    cleaned: TiltSeries = result["tilt_series"]
    stacks = [cleaned.stack_path, cleaned.odd_stack_path, cleaned.even_stack_path]
    for path, before in zip(stacks, (views, views / 2, views / 2), strict=True):
        assert path is not None
        after, _ = read_mrc(path)
        assert np.argwhere(after != before).tolist() == [[2, 40, 50]]
        assert after[2, 40, 50] < before[2].mean() + 5 * before[2, :30].std()
    assert np.flatnonzero(~cleaned.view_used).tolist() == [0, 7]
    assert result.ctx.metrics["n_spikes"] == 1
    assert "views 7" in result.ctx.fallbacks[0]


def test_clean_can_be_turned_off(tmp_path: Path) -> None:
    """Without removal and dark-view test the stack comes through unchanged."""
    series, views = _series(tmp_path)
    params = {"remove_xrays": False, "dark_view_fraction": 0.0}
    cleaned = run_stage("clean", {"tilt_series": series}, params, tmp_path)["tilt_series"]
    np.testing.assert_array_equal(read_mrc(cleaned.stack_path)[0], views)
    assert cleaned.view_used.all()


def test_clean_on_normalised_stacks(tmp_path: Path) -> None:
    """Stacks with mean 0 say nothing about dark views, which is logged and not guessed."""
    series, views = _series(tmp_path)
    write_mrc(series.stack_path, views - views.mean(axis=(1, 2), keepdims=True), 5.4)
    result = run_stage("clean", {"tilt_series": series}, {}, tmp_path)
    assert result["tilt_series"].view_used.all()
    assert "not counts" in result.ctx.messages[0]


def test_clean_refuses_what_cannot_be(tmp_path: Path) -> None:
    """Views that are not there and series without views are named."""
    series, _ = _series(tmp_path)
    with pytest.raises(InputError, match="names view 9, but views are 0 to 8"):
        run_stage("clean", {"tilt_series": series}, {"exclude_views": [9]}, tmp_path)
    with pytest.raises(EmptyResultError, match="2 of 9 views are left"):
        run_stage("clean", {"tilt_series": series}, {"exclude_views": [0, 1, 2, 3, 4, 5]}, tmp_path)
