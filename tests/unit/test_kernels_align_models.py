"""The ladder of models: free what is there, leave alone what is not."""

from __future__ import annotations

import numpy as np
import pytest

from staproj.kernels.align_fine import Variables, Views, predict, solve
from staproj.kernels.align_models import choose_variables


def tracks_of(rng: np.random.Generator, *, tilt_error_deg: float, axis_swing_deg: float, n_beads: int = 14):
    """Tracks with 0.25 px noise of views whose tilts are wrong at random and whose axis swings."""
    nominal = np.deg2rad(np.linspace(-60, 60, 31))
    true = Views(
        axis=np.deg2rad(85.0 + axis_swing_deg * np.sin(nominal)),
        tilt=nominal + np.deg2rad(tilt_error_deg) * np.sin(3 * nominal),
        log_mag=np.zeros(31),
        shift=rng.normal(0, 5, (31, 2)),
    )
    beads = rng.uniform(-1, 1, (n_beads, 3)) * np.array([200.0, 200.0, 40.0])
    tracks = predict(true, beads) + rng.normal(0, 0.25, (n_beads, 31, 2))
    start = Views(np.full(31, np.deg2rad(85.0)), nominal, np.zeros(31), np.zeros((31, 2)))
    return tracks, np.ones((n_beads, 31)), start, true


def test_a_stiff_world_is_left_stiff(rng: np.random.Generator) -> None:
    """Nothing but noise: hardly anything is freed."""
    tracks, weight, start, _ = tracks_of(rng, tilt_error_deg=0.0, axis_swing_deg=0.0)
    chosen, scores = choose_variables(tracks, weight, start)
    assert sum(chosen) <= 1 + 4
    assert len(scores) >= 6
    assert min(s.leave_out_px for s in scores) > scores[0].residual_px  # prediction is harder than fitting


@pytest.mark.parametrize(
    ("name", "tilt", "swing"), [("tilt", 1.0, 0.0), ("axis", 0.0, 0.5)], ids=["tilt", "axis"]
)
def test_what_moves_is_freed(rng: np.random.Generator, name: str, tilt: float, swing: float) -> None:
    """Wrong tilts, or an axis that swings: that variable gets knots, the error falls, the truth is found."""
    tracks, weight, start, true = tracks_of(rng, tilt_error_deg=tilt, axis_swing_deg=swing)
    chosen, scores = choose_variables(tracks, weight, start)
    assert getattr(chosen, name) >= 4
    best = next(s for s in scores if s.variables == chosen)
    assert best.leave_out_px < 0.85 * scores[0].leave_out_px
    assert chosen.magnification == 0
    views = solve(tracks, weight, start, chosen).views
    error, was = (getattr(v, name) - getattr(true, name) for v in (views, start))
    assert np.std(error) < 0.3 * np.std(was)


def test_only_what_is_allowed_is_freed(rng: np.random.Generator) -> None:
    """A person's settings are kept, whatever would fit better."""
    tracks, weight, start, _ = tracks_of(rng, tilt_error_deg=1.0, axis_swing_deg=0.5)
    base = Variables(axis=3, tilt=0, magnification=0)
    chosen, scores = choose_variables(tracks, weight, start, base=base, allowed=("magnification",))
    assert chosen.axis == 3
    assert chosen.tilt == 0
    assert scores[0].variables == base


def test_few_beads_do_not_get_more_variables_than_they_can_bear(rng: np.random.Generator) -> None:
    """With three beads no model has nearly as many unknowns as measurements."""
    tracks, weight, start, _ = tracks_of(rng, tilt_error_deg=1.0, axis_swing_deg=0.0, n_beads=3)
    _, scores = choose_variables(tracks, weight, start)
    assert all(s.n_measured > 1.3 * s.n_variables for s in scores)


def test_one_bead_has_nothing_to_leave_out(rng: np.random.Generator) -> None:
    """The leave-out error of a single bead is unknown, not zero."""
    tracks, weight, start, _ = tracks_of(rng, tilt_error_deg=0.0, axis_swing_deg=0.0, n_beads=1)
    _, scores = choose_variables(tracks, weight, start, base=Variables(0, 0, 0), allowed=())
    assert np.isnan(scores[0].leave_bead_px)


def test_the_search_can_be_stopped(rng: np.random.Generator) -> None:
    """The callback is called between fits, and what it raises comes through."""
    tracks, weight, start, _ = tracks_of(rng, tilt_error_deg=0.0, axis_swing_deg=0.0)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose_variables(tracks, weight, start, check=stop)
