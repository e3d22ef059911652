"""Following beads from lists of peaks: wrong shifts, missing and false peaks, beads that come late."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from staproj.kernels.align_fine import Variables, Views, predict
from staproj.kernels.bead_tracks import (
    BeadModel,
    TrackSettings,
    drop_poor_beads,
    find_more_beads,
    follow_beads,
    isolated,
    rescue_views,
    solve_model,
    visible,
    vote_shift,
)
from staproj.kernels.beads import Candidates

Float = NDArray[np.float64]

SETTINGS = TrackSettings(diameter=12.0, shift_search=48.0, depth_range=300.0, image_shape_yx=(400, 380))


def make_views(rng: np.random.Generator) -> Views:
    """Make 41 views with shifts of tens of pixels."""
    tilt = np.deg2rad(np.linspace(-60, 60, 41))
    return Views(np.full(41, np.deg2rad(85.3)), tilt, np.zeros(41), rng.normal(0, 12, (41, 2)))


def make_peaks(
    views: Views, beads: Float, rng: np.random.Generator, *, missing: float = 0.1, false: int = 4
) -> list[Candidates]:
    """Project beads into lists of peaks with 0.1 px noise, some missing, some false and weak."""
    out = []
    for places in np.swapaxes(predict(views, beads), 0, 1):
        inside = visible(places[:, None], SETTINGS)[:, 0] & (rng.random(len(places)) > missing)
        xy = places[inside] + rng.normal(0, 0.1, (int(inside.sum()), 2))
        noise = rng.uniform(-180, 180, (false, 2))
        height = np.concatenate([rng.uniform(30, 50, len(xy)), rng.uniform(5, 8, false)])
        out.append(Candidates(np.concatenate([xy, noise]), height))
    return out


def spread_beads(rng: np.random.Generator, n: int = 12) -> Float:
    """Beads on a loose grid, so that they rarely overlap, at heights of +-100 px."""
    grid = np.stack(np.meshgrid(np.linspace(-120, 120, 4), np.linspace(-120, 120, 3)), -1).reshape(-1, 2)[:n]
    return np.concatenate(
        [grid + rng.uniform(-15, 15, grid.shape), rng.uniform(-100, 100, (len(grid), 1))], axis=1
    )


def track_errors(model: BeadModel, views: Views, beads: Float) -> tuple[Float, list[int]]:
    """Distances of all measurements from the truth, and which true bead each track follows."""
    truth = predict(views, beads)
    which, errors = [], []
    for track in model.tracks:
        distance = np.linalg.norm(track[None] - truth, axis=-1)
        bead = int(np.nanargmin(np.nanmedian(distance, axis=1)))
        which.append(bead)
        errors.append(distance[bead][np.isfinite(distance[bead])])
    return np.concatenate(errors), which


def test_beads_are_followed_through_wrong_shifts(rng: np.random.Generator) -> None:
    """Coarse steps off by up to 35 px, 10 % of peaks missing, false peaks: tracks stay on their beads."""
    views, beads = make_views(rng), spread_beads(rng)
    start = Views(views.axis, views.tilt, views.log_mag, views.shift + rng.uniform(-12, 12, (41, 2)))
    used = np.ones(41, dtype=bool)
    model = follow_beads(make_peaks(views, beads, rng), start, used, 15.0, SETTINGS)
    model, _ = solve_model(model, Variables(1), 3.0)
    errors, which = track_errors(model, views, beads)
    assert len(set(which)) == len(which) >= 9
    assert np.quantile(errors, 0.99) < 1.0
    assert model.found.mean() > 0.75


def test_beads_the_first_view_missed_are_found(rng: np.random.Generator) -> None:
    """A depth search adds beads that were not seeds, each once."""
    views, beads = make_views(rng), spread_beads(rng)
    peaks = make_peaks(views, beads, rng)
    known = predict(views, beads[:6])
    model = BeadModel(known, np.full(known.shape[:2], 40.0), views, beads[:6])
    more = find_more_beads(peaks, model, np.ones(41, dtype=bool), 15.0, SETTINGS)
    distance = np.linalg.norm(more.position[6:, None] - beads[None, 6:], axis=-1)
    assert len(more.position) == 12
    assert distance.min(axis=0).max() < SETTINGS.diameter


def test_nothing_is_found_among_false_peaks(rng: np.random.Generator) -> None:
    """Random strong peaks do not make a bead."""
    views, beads = make_views(rng), spread_beads(rng, 4)
    noise = [Candidates(rng.uniform(-180, 180, (6, 2)), np.full(6, 40.0)) for _ in range(41)]
    known = predict(views, beads)
    model = BeadModel(known, np.full(known.shape[:2], 40.0), views, beads)
    assert len(find_more_beads(noise, model, np.ones(41, dtype=bool), 15.0, SETTINGS).position) == 4


def test_lost_views_are_found_again(rng: np.random.Generator) -> None:
    """A view that was given a wrong shift, and shows no bead, gets its shift back."""
    views, beads = make_views(rng), spread_beads(rng)
    views.shift[:] = np.cumsum(rng.normal(0, 2, (41, 2)), axis=0)
    peaks = make_peaks(views, beads, rng)
    tracks, height = predict(views, beads), np.full((12, 41), 40.0)
    wrong = views.shift.copy()
    wrong[5] += 300.0
    tracks[:, 5], height[:, 5] = np.nan, np.nan
    model = BeadModel(tracks, height, Views(views.axis, views.tilt, views.log_mag, wrong), beads)
    found, lost = rescue_views(peaks, model, np.ones(41, dtype=bool), SETTINGS)
    assert lost == [5]
    np.testing.assert_allclose(found.views.shift[5], views.shift[5], atol=0.5)


def test_poor_and_double_tracks_are_dropped(rng: np.random.Generator) -> None:
    """Tracks seen rarely, weak ones and second copies go; good ones stay."""
    views, beads = make_views(rng), spread_beads(rng, 6)
    position = np.concatenate([beads, beads[:1] + 2.0])
    tracks = predict(views, position)
    height = np.full((7, 41), 40.0)
    height[1, 5:] = np.nan
    height[2] = 8.0
    height[6, :20] = np.nan
    tracks[~np.isfinite(height)] = np.nan
    kept = drop_poor_beads(BeadModel(tracks, height, views, position), np.ones(41, dtype=bool), SETTINGS)
    np.testing.assert_allclose(kept.position, beads[[0, 3, 4, 5]])


def test_votes_find_the_displacement(rng: np.random.Generator) -> None:
    """Half of the points have a partner, the rest is noise: the displacement comes out, within the radius."""
    expected = rng.uniform(-150, 150, (10, 2))
    shift = np.array([21.0, -13.0])
    peaks = np.concatenate([expected[:5] + shift, rng.uniform(-150, 150, (6, 2))])
    np.testing.assert_allclose(vote_shift(expected, peaks, 40.0, 6.0), shift, atol=0.5)
    np.testing.assert_allclose(vote_shift(expected[:1], peaks[:1] + 500.0, 10.0, 6.0), 0.0)


def test_places_outside_and_overlapping_are_known() -> None:
    """Half a diameter inside the view counts as visible; nearer than 1.4 diameters as overlapping."""
    places = np.array([[[0.0, 0.0]], [[10.0, 0.0]], [[100.0, 0.0]], [[188.0, 0.0]]])
    assert visible(places, SETTINGS)[:, 0].tolist() == [True, True, True, False]
    assert isolated(places, SETTINGS)[:, 0].tolist() == [False, False, True, True]


def test_no_seed_is_an_error(rng: np.random.Generator) -> None:
    """Without a strong peak in the middle view there is nothing to follow."""
    views = make_views(rng)
    weak = [Candidates(np.zeros((1, 2)), np.array([5.0])) for _ in range(41)]
    with pytest.raises(ValueError, match="no bead"):
        follow_beads(weak, views, np.ones(41, dtype=bool), 15.0, SETTINGS)
