"""Bundle adjustment: signs, frames, precision with noise and outliers, and what may not change."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from staproj.kernels.align_fine import (
    Variables,
    Views,
    bisquare_weights,
    centre_tilts,
    count_variables,
    fix_gauge,
    hat_basis,
    predict,
    solve,
    solve_robust,
    triangulate,
    variable_basis,
)
from staproj.model.geometry import TiltGeometry, rotation_y

Float = NDArray[np.float64]

NOISE_PX = 0.3


def make_views(rng: np.random.Generator, n: int = 31) -> Views:
    """Make views from -60 to 60 deg with shifts, a turning axis and slight magnifications."""
    tilt = np.deg2rad(np.linspace(-60, 60, n))
    return Views(
        axis=np.deg2rad(85.3) + 0.004 * np.sin(tilt),
        tilt=tilt,
        log_mag=0.002 * np.sin(2 * tilt),
        shift=rng.normal(0, 8, (n, 2)),
    )


def make_beads(rng: np.random.Generator, n: int = 20) -> Float:
    """Make beads in a slab, px."""
    return rng.uniform(-1, 1, (n, 3)) * np.array([220.0, 220.0, 40.0])


def test_prediction_is_that_of_the_model(rng: np.random.Generator) -> None:
    """The kernel's projection and ``TiltGeometry.project`` agree, for an odd and an even side."""
    views, beads = make_views(rng, 7), make_beads(rng, 5)
    geometry = TiltGeometry(
        tilt_series_id="TS",
        tilt_deg=np.rad2deg(views.tilt),
        x_tilt_deg=np.zeros(7),
        tilt_axis_deg=np.rad2deg(views.axis),
        shift_xy_angstrom=views.shift * 2.0,
        magnification=np.exp(views.log_mag),
        view_used=np.ones(7, dtype=bool),
        pixel_size_angstrom=2.0,
        image_shape_yx=(301, 420),
    )
    ours = predict(views, beads) + geometry.image_centre_xy_px
    np.testing.assert_allclose(np.swapaxes(ours, 0, 1), geometry.project(beads * 2.0), atol=1e-9)


def test_noise_free_tracks_are_explained_exactly(rng: np.random.Generator) -> None:
    """Without noise everything comes back, though a third of the measurements is missing."""
    views, beads = make_views(rng), make_beads(rng)
    tracks = predict(views, beads)
    weight = (rng.random(tracks.shape[:2]) > 0.33).astype(float)
    start = Views(np.full(31, np.deg2rad(83.0)), views.tilt, np.zeros(31), np.zeros((31, 2)))
    found = solve(np.where(weight[..., None] > 0, tracks, np.nan), weight, start, Variables(31, 0, 31))
    assert found.converged
    np.testing.assert_allclose(found.residual, 0.0, atol=1e-3)
    np.testing.assert_allclose(found.views.axis, views.axis, atol=1e-5)
    scale = np.exp(views.log_mag - views.log_mag.mean())
    np.testing.assert_allclose(np.exp(found.views.log_mag), scale, atol=1e-5)


def test_wrong_tilts_are_found_up_to_a_common_offset(rng: np.random.Generator) -> None:
    """Free tilts come back but for their mean, which is a turn of the specimen about y."""
    views, beads = make_views(rng), make_beads(rng)
    nominal = views.tilt + np.deg2rad(rng.normal(0, 0.5, 31))
    start = Views(views.axis, nominal, views.log_mag, np.zeros((31, 2)))
    found = solve(predict(views, beads), np.ones((20, 31)), start, Variables(0, 31, 0))
    centred, angle = centre_tilts(found.views, nominal)
    wanted = views.tilt - (views.tilt - nominal).mean()
    np.testing.assert_allclose(centred.tilt, wanted, atol=1e-5)
    turned = found.position @ rotation_y(np.rad2deg(angle)).T
    np.testing.assert_allclose(predict(centred, turned), predict(found.views, found.position), atol=1e-6)


def test_noise_gives_the_residual_it_should(rng: np.random.Generator) -> None:
    """0.3 px an axis: mean residual and axis error as IMOD's for such data (.35 +- .02 px, .03 deg)."""
    views, beads = make_views(rng), make_beads(rng)
    tracks = predict(views, beads) + rng.normal(0, NOISE_PX, (20, 31, 2))
    start = Views(np.full(31, np.deg2rad(85.0)), views.tilt, np.zeros(31), np.zeros((31, 2)))
    found = solve(tracks, np.ones((20, 31)), start, Variables(5, 0, 5))
    assert np.linalg.norm(found.residual, axis=-1).mean() == pytest.approx(0.355, abs=0.02)
    assert np.rad2deg(np.abs(found.views.axis - views.axis)).mean() < 0.03


def test_outliers_are_given_no_weight(rng: np.random.Generator) -> None:
    """4 % of measurements off by up to 8 px: tilts stay as good as without; plain least squares do not."""
    views, beads = make_views(rng), make_beads(rng)
    clean = predict(views, beads) + rng.normal(0, NOISE_PX, (20, 31, 2))
    wrong = rng.random((20, 31)) < 0.04
    tracks = clean + wrong[..., None] * rng.uniform(-8, 8, (20, 31, 2))
    variables, weight = Variables(5, 31, 5), np.ones((20, 31))

    def tilt_error(found: Views) -> float:
        error = found.tilt - views.tilt
        return float(np.rad2deg(np.abs(error - error.mean()).mean()))

    best = tilt_error(solve(clean, weight, views, variables).views)
    plain = tilt_error(solve(tracks, weight, views, variables).views)
    robust, used = solve_robust(tracks, weight, views, variables)
    assert tilt_error(robust.views) < 1.25 * best + 0.01 < plain
    size = np.linalg.norm(tracks - clean, axis=-1)
    assert used[size > 2.5].max() < 0.1
    assert np.median(used[~wrong]) > 0.6


def test_frame_of_the_solution_is_the_documented_one(rng: np.random.Generator) -> None:
    """Mean z of the beads 0, mean log magnification 0, shifts smallest; predictions untouched."""
    views, beads = make_views(rng), make_beads(rng) + np.array([50.0, -20.0, 70.0])
    moved, position = fix_gauge(views, beads, np.ones((20, 31)), Variables(1, 0, 1))
    np.testing.assert_allclose(predict(moved, position), predict(views, beads), atol=1e-9)
    assert abs(position[:, 2].mean()) < 1e-9
    assert abs(moved.log_mag.mean()) < 1e-12
    design = np.stack([np.cos(moved.tilt), np.zeros(31)], -1)  # x of the specimen in the turned image
    turned = moved.shift[:, 0] * np.cos(moved.axis) + moved.shift[:, 1] * np.sin(moved.axis)
    assert abs((np.exp(moved.log_mag) * design[:, 0] * turned).sum()) < 1e-6


def test_unseen_views_keep_their_shift_and_do_no_harm(rng: np.random.Generator) -> None:
    """A view without measurements and a bead seen once must not spoil the rest."""
    views, beads = make_views(rng), make_beads(rng, 8)
    weight = np.ones((8, 31))
    weight[:, 4] = 0
    weight[7] = 0
    weight[7, 10] = 1
    found = solve(predict(views, beads), weight, views, Variables(1, 0, 0))
    assert np.isfinite(found.position).all()
    assert np.abs(found.residual).max() < 0.5


def test_weights_of_equal_residuals_are_one() -> None:
    """Bisquare factors: no residual, no penalty; a single large one gets none."""
    residual = np.full((6, 9, 2), 0.2)
    residual[2, 3] = 5.0
    weight = bisquare_weights(residual, np.ones((6, 9)))
    assert weight[2, 3] == 0.0
    assert np.delete(weight.ravel(), 2 * 9 + 3).min() > 0.9


@pytest.mark.parametrize("knots", [0, 1, 2, 5, 31, 40])
def test_hat_functions_sum_to_one(knots: int) -> None:
    """Linear interpolation weights add up in every view, so that a common change is always possible."""
    basis = hat_basis(31, knots)
    assert basis.shape == (31, min(knots, 31))
    if knots:
        np.testing.assert_allclose(basis.sum(axis=1), 1.0)


def test_number_of_variables_is_counted() -> None:
    """Two shifts a view, three coordinates a bead and the knots, never more of these than views."""
    assert variable_basis(11, Variables(4, 3, 2)).shape == (33, 9)
    assert count_variables(11, 6, Variables(4, 3, 2)) == 18 + 22 + 9
    assert count_variables(11, 6, Variables(40, 0, 0)) == 18 + 22 + 11


def test_beads_are_placed_by_least_squares(rng: np.random.Generator) -> None:
    """Triangulation inverts prediction."""
    views, beads = make_views(rng), make_beads(rng)
    np.testing.assert_allclose(triangulate(predict(views, beads), np.ones((20, 31)), views), beads, atol=1e-3)


def test_bad_tracks_are_refused(rng: np.random.Generator) -> None:
    """Shapes that do not fit, no weights at all and NaN with a weight each raise."""
    views, beads = make_views(rng), make_beads(rng)
    tracks = predict(views, beads)
    with pytest.raises(ValueError, match="do not agree"):
        solve(tracks[:, :5], np.ones((20, 31)), views, Variables())
    with pytest.raises(ValueError, match="no bead"):
        solve(tracks, np.zeros((20, 31)), views, Variables())
    tracks[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        solve(tracks, np.ones((20, 31)), views, Variables())
