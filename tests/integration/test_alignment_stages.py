"""The four alignment stages on drawn beads: from a stack to a positioned geometry, with its records."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from staproj.errors import CancelledError, EmptyResultError, InputError
from staproj.testing.stage_harness import RecordingContext, StageResult, run_stage
from tests.bead_images import Scene, make_series, reprojection_rms_px, specimen_points


def align(scene: Scene, seed: int, folder: Path, **fiducials: object) -> tuple[dict[str, StageResult], float]:
    """Run coarse_align, fiducials and fine_align; return their results and the rms reprojection error, px."""
    series, true, _ = make_series(scene, np.random.default_rng(seed), folder)
    coarse = run_stage("coarse_align", {"tilt_series": series}, {}, folder)
    inputs = {"tilt_series": series, "alignment": coarse["alignment"]}
    beads = run_stage("fiducials", inputs, fiducials, folder)
    inputs = {"fiducials": beads["fiducials"], "alignment": coarse["alignment"]}
    fine = run_stage("fine_align", inputs, {}, folder)
    error = reprojection_rms_px(fine["alignment"], true, specimen_points(true))
    return {"coarse_align": coarse, "fiducials": beads, "fine_align": fine}, error


@pytest.mark.parametrize(
    ("scene", "limit_px"),
    [
        (Scene(), 0.3),
        (Scene(image_shape_yx=(200, 301), tilt_axis_deg=-12.5), 0.3),
        (Scene(axis_error_deg=6.0, tilt_axis_deg=175.0), 0.3),
        (Scene(shift_px=50.0, walk_px=8.0), 0.5),
        (Scene(n_beads=4, axis_swing_deg=0.0), 0.4),
        (Scene(tilts=(-60.0, 60.0, 6.0), tilt_offset_deg=4.0), 0.3),
    ],
    ids=["plain", "axis near y", "axis wrong by 6 deg", "large shifts", "four beads", "coarse steps"],
)
def test_reprojection_error_is_small(scene: Scene, limit_px: float, tmp_path: Path) -> None:
    """From raw views in noise to a geometry good to a fraction of a pixel all over the specimen."""
    results, error = align(scene, 11, tmp_path)
    assert error < limit_px
    verdict = results["fine_align"].ctx.verdicts[0]
    assert "residual" in verdict


def test_records_tell_what_was_done(tmp_path: Path) -> None:
    """Tables of models, views and beads, curves, previews and metrics are there and agree with each other."""
    results, _ = align(Scene(), 12, tmp_path)
    fine, beads, coarse = results["fine_align"].ctx, results["fiducials"].ctx, results["coarse_align"].ctx
    models = fine.tables["models"]
    assert models["chosen"].sum() == 1
    chosen = int(np.argmax(models["chosen"]))
    assert models["leave_out_error_px"][chosen] == pytest.approx(fine.metrics["leave_out_error_px"])
    assert len(models["chosen"]) > 4
    assert {"residual", "tilt_axis", "tilt_change", "magnification"} <= set(fine.curves)
    assert fine.metrics["residual_mean_nm"] == pytest.approx(fine.metrics["residual_mean_px"] * 0.8)
    table = beads.tables["beads"]
    assert (table["n_views"] <= table["n_possible"]).all()
    share = table["n_views"].sum() / table["n_possible"].sum()
    assert beads.metrics["completeness"] == pytest.approx(share)
    assert len(coarse.tables["views"]["view"]) == 40
    for ctx in (fine, beads, coarse):
        assert ctx.previews
        assert ctx.verdicts


def test_diameter_can_be_measured(tmp_path: Path) -> None:
    """Set to automatic, a diameter is found that is good enough for an equally good alignment."""
    results, error = align(Scene(n_beads=8), 13, tmp_path, bead_diameter_angstrom="auto")
    assert results["fiducials"]["fiducials"].bead_diameter_angstrom == pytest.approx(100.0, rel=0.15)
    assert error < 0.3


def test_excluded_views_are_not_used_but_have_a_place(tmp_path: Path) -> None:
    """Views that a person excluded give no measurements; their geometry lies between their neighbours'."""
    series, true, _ = make_series(Scene(), np.random.default_rng(14), tmp_path)
    used = np.ones(series.n_views, dtype=bool)
    used[[0, 7, 8]] = False
    series = dataclasses.replace(series, view_used=used)
    coarse = run_stage("coarse_align", {"tilt_series": series}, {}, tmp_path)["alignment"]
    beads = run_stage("fiducials", {"tilt_series": series, "alignment": coarse}, {}, tmp_path)["fiducials"]
    fine = run_stage("fine_align", {"fiducials": beads, "alignment": coarse}, {}, tmp_path)["alignment"]
    assert (beads.weight[:, ~used] == 0).all()
    assert np.isnan(beads.position_xy_px[:, ~used]).all()
    assert (fine.view_used == used).all()
    assert reprojection_rms_px(fine, true, specimen_points(true)) < 0.3
    assert np.isfinite(fine.shift_xy_angstrom).all()


def test_position_turns_the_frame_to_the_layers(tmp_path: Path) -> None:
    """Beads on both surfaces of ice tilted by 7 deg: the frame turns, every point stays in every image."""
    scene = Scene(n_beads=14, tilt_offset_deg=7.0, image_shape_yx=(300, 320))
    series, true, beads = make_series(scene, np.random.default_rng(15), tmp_path)
    coarse = run_stage("coarse_align", {"tilt_series": series}, {}, tmp_path)["alignment"]
    tracks = run_stage("fiducials", {"tilt_series": series, "alignment": coarse}, {}, tmp_path)["fiducials"]
    fine = run_stage("fine_align", {"fiducials": tracks, "alignment": coarse}, {}, tmp_path)["alignment"]
    inputs = {"tilt_series": series, "alignment": fine, "fiducials": tracks}
    result = run_stage("position", inputs, {}, tmp_path)
    slab, moved = result["slab"], result["alignment"]
    # the stage angles lacked 7 deg; the drawn beads themselves lie on planes of these slopes
    design = np.stack([beads[:, 0], beads[:, 1], beads[:, 2] > 0, beads[:, 2] < 0], axis=-1).astype(float)
    slope = np.rad2deg(np.linalg.lstsq(design, beads[:, 2], rcond=None)[0][:2])
    assert slab.tilt_offset_deg == pytest.approx(7.0 - slope[0], abs=1.0)  # not every bead is followed
    assert slab.x_tilt_deg == pytest.approx(slope[1], abs=1.0)
    assert reprojection_rms_px(moved, true, specimen_points(true)) < 0.3
    height = result.ctx.tables["beads"]["z_angstrom"]
    assert np.abs(height).max() + 50.0 < 0.5 * slab.thickness_angstrom
    upper, lower = height[height > height.mean()], height[height <= height.mean()]
    assert upper.mean() - lower.mean() == pytest.approx(800.0, abs=40.0)
    assert max(upper.std(), lower.std()) < 40.0
    assert slab.thickness_angstrom > np.ptp(beads[:, 2]) + 100.0
    assert slab.size_xyz_angstrom == pytest.approx((300 * 8.0, 320 * 8.0, slab.thickness_angstrom))
    origin = fine.project(np.array([[0.0, 0.0, slab.z_shift_angstrom]]))
    np.testing.assert_allclose(moved.project(np.zeros((1, 3))), origin, atol=1e-6)


def test_position_takes_given_numbers(tmp_path: Path) -> None:
    """What a person gives is taken as it is, without fiducials too."""
    series, true, _ = make_series(Scene(), np.random.default_rng(16), tmp_path)
    given = {
        "thickness_angstrom": 1500.0,
        "tilt_offset_deg": 3.0,
        "x_tilt_deg": -2.0,
        "z_shift_angstrom": 40.0,
        "search_thickness_angstrom": 2000.0,
    }
    slab = run_stage("position", {"tilt_series": series, "alignment": true}, given, tmp_path)["slab"]
    assert (slab.thickness_angstrom, slab.tilt_offset_deg, slab.x_tilt_deg) == (1500.0, 3.0, -2.0)
    assert slab.z_shift_angstrom == 40.0


def test_stages_stop_when_asked(tmp_path: Path) -> None:
    """Cancelling reaches the loops of each stage."""
    series, _, _ = make_series(Scene(), np.random.default_rng(17), tmp_path)
    ctx = RecordingContext(root=tmp_path / "stop", item="TS_9", cancel_after=3)
    with pytest.raises(CancelledError):
        run_stage("coarse_align", {"tilt_series": series}, {}, tmp_path, ctx=ctx)


def test_views_without_gold_are_refused_with_advice(tmp_path: Path) -> None:
    """Noise has no beads: the error names the series and what to try."""
    series, true, _ = make_series(Scene(depth=0.0), np.random.default_rng(18), tmp_path)
    with pytest.raises(EmptyResultError, match="no gold bead") as caught:
        run_stage("fiducials", {"tilt_series": series, "alignment": true}, {}, tmp_path)
    assert caught.value.where == "TS_9"
    assert "bead_diameter_angstrom" in caught.value.hint


def test_tracks_of_another_series_are_refused(tmp_path: Path) -> None:
    """Tracks and alignment must belong together."""
    results, _ = align(Scene(), 19, tmp_path)
    tracks = results["fiducials"]["fiducials"]
    other = dataclasses.replace(results["coarse_align"]["alignment"], tilt_series_id="TS_8")
    with pytest.raises(InputError, match="do not belong"):
        run_stage("fine_align", {"fiducials": tracks, "alignment": other}, {}, tmp_path)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    """Two runs, with one and with two threads, write the same artifacts."""
    series, _, _ = make_series(Scene(), np.random.default_rng(20), tmp_path)
    written = []
    for threads in (1, 2):
        folder = tmp_path / str(threads)
        coarse = run_stage("coarse_align", {"tilt_series": series}, {}, folder, threads=threads)["alignment"]
        inputs = {"tilt_series": series, "alignment": coarse}
        tracks = run_stage("fiducials", inputs, {}, folder, threads=threads)["fiducials"]
        fine = run_stage("fine_align", {"fiducials": tracks, "alignment": coarse}, {}, folder)["alignment"]
        inputs = {"tilt_series": series, "alignment": fine, "fiducials": tracks}
        run_stage("position", inputs, {}, folder, threads=threads)
        found = sorted(folder.rglob("*.h5"))
        assert len(found) == 5
        written.append([path.read_bytes() for path in found])
    assert written[0] == written[1]


def test_the_set_of_another_program(shared_data: Path, tmp_path: Path) -> None:
    """CryoJAX's images through the real geometry of TS_01, six beads: 0.15 px over the whole VLP."""
    from staproj.model.tilt_series import TiltSeries
    from staproj.testing.cryojax_set import write_truth

    source = shared_data / "sim_vlp_cryojax"
    truth = write_truth(source, tmp_path / "truth").series["TS_01"]
    tilt = np.loadtxt(source / "TS_01.rawtlt")
    n = len(tilt)
    series = TiltSeries(
        "TS_01", source / "TS_01.mrc", tilt, np.arange(n), np.full(n, 3.0), np.arange(n) * 3.0,
        np.full(n, 3.9), np.ones(n, dtype=bool), 5.4, (288, 288), 85.3,
    )  # fmt: skip
    coarse = run_stage("coarse_align", {"tilt_series": series}, {}, tmp_path)["alignment"]
    tracks = run_stage("fiducials", {"tilt_series": series, "alignment": coarse}, {}, tmp_path)["fiducials"]
    fine = run_stage("fine_align", {"fiducials": tracks, "alignment": coarse}, {}, tmp_path)["alignment"]
    inputs = {"tilt_series": series, "alignment": fine, "fiducials": tracks}
    result = run_stage("position", inputs, {}, tmp_path)
    points = truth.particles.position_xyz_angstrom
    assert tracks.n_beads == 6
    assert reprojection_rms_px(result["alignment"], truth.alignment, points) < 0.15
    span = np.ptp(points[:, 2])
    assert span + 100.0 < result["slab"].thickness_angstrom < 2.0 * span
