"""From peaks in single views to tracks of the same bead through all views.

Views are taken from the least tilted one outwards. Beads known so far are predicted from their 3-D positions,
the unknown shift of the view is found by voting (which displacement brings most predictions onto peaks),
predictions and peaks are paired, and everything is solved again. So neither good coarse shifts nor the depth
of a bead need be known beforehand. Once the geometry stands, beads that the first view did not show are
found by trying depths: a bead is where one depth explains peaks in many views.

All coordinates are px from the image centre; ``Views`` are those of :mod:`staproj.kernels.align_fine`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from staproj.kernels.align_fine import Variables, Views, predict, solve, solve_robust, triangulate
from staproj.kernels.beads import Candidates, Float32, peaks_near

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class TrackSettings:
    """Lengths in px of the images searched: bead diameter, how far a view's shift may be off, depth range."""

    diameter: float
    shift_search: float
    depth_range: float
    image_shape_yx: tuple[int, int]
    min_separation: float = 1.4
    """Beads that appear closer together than this many diameters are not measured."""
    min_fraction: float = 0.3
    """Share of the views in which a bead must be found."""


@dataclass(frozen=True)
class BeadModel:
    """Tracks ``[bead, view, 2]`` (NaN = none), their peak heights, and views and beads that explain them."""

    tracks: Float
    height: Float
    views: Views
    position: Float

    @property
    def found(self) -> Bool:
        """Where a bead was measured, ``[bead, view]``."""
        seen: Bool = np.isfinite(self.height)
        return seen


def follow_beads(
    candidates: list[Candidates],
    start: Views,
    used: Bool,
    seed_threshold_sd: float,
    settings: TrackSettings,
    check: Callable[[], None] = lambda: None,
) -> BeadModel:
    """Track the beads that are strong in the least tilted view through all views.

    Raises ``ValueError`` if that view shows no peak above the threshold.
    """
    order = np.flatnonzero(used)[np.argsort(np.abs(start.tilt[used]), kind="stable")]
    first = int(order[0])
    strong = candidates[first].height > seed_threshold_sd
    if not strong.any():
        raise ValueError("no bead in the least tilted view")
    seeds = candidates[first].xy[strong]
    tracks = np.full((len(seeds), len(used), 2), np.nan)
    height = np.full((len(seeds), len(used)), np.nan)
    tracks[:, first], height[:, first] = seeds, candidates[first].height[strong]
    model = BeadModel(
        tracks, height, start, triangulate(seeds[:, None], np.ones((len(seeds), 1)), _view(start, first))
    )
    done = [first]
    for view in order[1:]:
        check()
        nearest = min(done, key=lambda other: abs(start.tilt[other] - start.tilt[view]))
        shift = model.views.shift.copy()
        shift[view] = shift[nearest] + start.shift[view] - start.shift[nearest]
        model = replace(model, views=replace(model.views, shift=shift))
        step = abs(float(start.tilt[view] - start.tilt[nearest]))
        spread = 0.5 * settings.depth_range * np.sin(step) if len(done) < 3 else 0.0
        model = _add_view(model, int(view), candidates[view], max(0.6 * settings.diameter, spread), settings)
        done.append(int(view))
        model = _resolve(model, np.array(done), settings)
    return model


def remeasure(
    response: Float32,
    model: BeadModel,
    used: Bool,
    settings: TrackSettings,
    radius: float,
    min_height_sd: float,
) -> BeadModel:
    """Measure every bead anew around its predicted place in the responses ``[view, y, x]``.

    Beads that should overlap another one or lie outside of a view are not measured there. ``radius`` is in
    bead diameters. A peak must reach ``min_height_sd`` and 0.35 of the bead's own median height.
    """
    places = predict(model.views, model.position)
    allowed = visible(places, settings) & isolated(places, settings) & used[None, :]
    tracks, height = np.full(places.shape, np.nan), np.full(places.shape[:2], np.nan)
    for view in np.flatnonzero(used):
        rows = np.flatnonzero(allowed[:, view])
        xy, sd = peaks_near(response[view], places[rows, view], radius * settings.diameter)
        tracks[rows, view], height[rows, view] = xy, sd
    typical = typical_height(height)[:, None]
    poor = ~(height >= np.maximum(min_height_sd, 0.35 * typical))
    tracks[poor], height[poor] = np.nan, np.nan
    return replace(model, tracks=tracks, height=height)


def solve_model(model: BeadModel, variables: Variables, max_residual: float) -> tuple[BeadModel, Float]:
    """Fit robustly, drop measurements farther off than ``max_residual`` px; return model and weights."""
    weight = model.found.astype(np.float64)
    tracks = np.nan_to_num(model.tracks)
    solution, robust = solve_robust(tracks, weight, model.views, variables, rounds=6)
    off = np.linalg.norm(tracks - predict(solution.views, solution.position), axis=-1)
    drop = model.found & (off > max_residual)
    kept = replace(
        model,
        tracks=np.where(drop[..., None], np.nan, model.tracks),
        height=np.where(drop, np.nan, model.height),
        views=solution.views,
        position=solution.position,
    )
    return kept, np.where(drop, 0.0, robust)


def rescue_views(
    candidates: list[Candidates], model: BeadModel, used: Bool, settings: TrackSettings
) -> tuple[BeadModel, list[int]]:
    """Vote again for views that show less than a third of the beads they should; return them, too.

    Their shifts start from the mean of the two nearest good views, with the whole 3-D model at hand.
    """
    places = predict(model.views, model.position)
    expected = np.maximum((visible(places, settings) & isolated(places, settings)).sum(axis=0), 1)
    share = model.found.sum(axis=0) / expected
    good = np.flatnonzero(used & (share > 1 / 3))
    lost = [int(v) for v in np.flatnonzero(used & (share <= 1 / 3))]
    if not len(good):
        return model, lost
    shift = model.views.shift.copy()
    for view in lost:
        near = good[np.argsort(np.abs(model.views.tilt[good] - model.views.tilt[view]), kind="stable")[:2]]
        shift[view] = shift[near].mean(axis=0)
        if not len(candidates[view].xy):
            continue
        moved = replace(model, views=replace(model.views, shift=shift))
        guess = predict(_view(moved.views, view), model.position)[:, 0]
        shift[view] += vote_shift(guess, candidates[view].xy, 2.0 * settings.shift_search, settings.diameter)
    return replace(model, views=replace(model.views, shift=shift)), lost


def find_more_beads(
    candidates: list[Candidates],
    model: BeadModel,
    used: Bool,
    threshold_sd: float,
    settings: TrackSettings,
    n_base_views: int = 5,
) -> BeadModel:
    """Add beads that a depth search finds among peaks no known bead explains."""
    places = predict(model.views, model.position)
    free = [_unexplained(candidates[v], places[:, v], threshold_sd, settings) for v in range(len(used))]
    index = np.flatnonzero(used)
    trees = {int(v): cKDTree(free[v]) for v in index if len(free[v])}
    base = index[np.argsort(np.abs(model.views.tilt[index]), kind="stable")][: 4 * n_base_views : 4]
    added: list[Float] = []
    depths = _depth_grid(model.views, index, settings)
    for view in base:
        for xy in free[view]:
            trial = _lines_of_sight(model.views, int(view), xy, depths)
            places = predict(model.views, trial)
            votes = np.zeros(len(depths))
            for v, tree in trees.items():
                distance, _ = tree.query(places[:, v])
                votes += np.exp(-0.5 * (distance / (0.25 * settings.diameter)) ** 2)
            expected = visible(places, settings)[:, index].sum(axis=1)
            best = int(np.argmax(votes / np.maximum(expected, 1)))
            enough = max(4.0, settings.min_fraction * expected[best])
            known = [*model.position, *added]
            apart = min((float(np.linalg.norm(trial[best] - p)) for p in known), default=np.inf)
            if votes[best] >= enough and apart > settings.diameter:
                added.append(trial[best])
    if not added:
        return model
    empty = np.full((len(added), *model.height.shape[1:]), np.nan)
    return replace(
        model,
        tracks=np.concatenate([model.tracks, np.repeat(empty[..., None], 2, axis=-1)]),
        height=np.concatenate([model.height, empty]),
        position=np.concatenate([model.position, np.array(added)]),
    )


def drop_poor_beads(model: BeadModel, used: Bool, settings: TrackSettings) -> BeadModel:
    """Remove tracks seen in too few views, much weaker than the others, or double."""
    places = predict(model.views, model.position)
    possible = (visible(places, settings) & used[None, :]).sum(axis=1)
    found = model.found.sum(axis=1)
    good = (found >= 4) & (found >= settings.min_fraction * np.minimum(possible, used.sum()))
    typical = typical_height(model.height)
    if good.any():
        strong = float(np.median(np.sort(typical[good])[::-1][:10]))
        good &= typical > 0.35 * strong
    order = np.argsort(-found * good, kind="stable")
    kept: list[int] = []
    for bead in order:
        if good[bead] and all(
            np.linalg.norm(model.position[bead] - model.position[other]) > 0.8 * settings.diameter
            for other in kept
        ):
            kept.append(int(bead))
    keep = np.array(sorted(kept), dtype=np.int64)
    return replace(model, tracks=model.tracks[keep], height=model.height[keep], position=model.position[keep])


def typical_height(height: Float) -> Float:
    """Return the median peak height of every bead ``[bead]``, 0 for one that was never measured."""
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else 0.0 for row in height])


def visible(places: Float, settings: TrackSettings) -> Bool:
    """Say where predicted beads ``[bead, view, 2]`` lie at least half a diameter inside the view."""
    ny, nx = settings.image_shape_yx
    margin = 0.5 * settings.diameter + 1.0
    low = np.array([margin - nx // 2, margin - ny // 2])
    high = np.array([nx - 1 - margin - nx // 2, ny - 1 - margin - ny // 2])
    return np.all((places >= low) & (places <= high), axis=-1)


def isolated(places: Float, settings: TrackSettings) -> Bool:
    """Say where predicted beads are farther than the minimum separation from every other one."""
    n = len(places)
    apart = np.linalg.norm(places[:, None] - places[None, :], axis=-1)
    apart[np.arange(n), np.arange(n)] = np.inf
    return np.asarray(apart.min(axis=1, initial=np.inf) > settings.min_separation * settings.diameter)


def _view(views: Views, index: int) -> Views:
    pick = slice(index, index + 1)
    return Views(views.axis[pick], views.tilt[pick], views.log_mag[pick], views.shift[pick])


def _add_view(
    model: BeadModel, view: int, found: Candidates, tolerance: float, settings: TrackSettings
) -> BeadModel:
    """Vote for the shift of one view, pair predictions with peaks, and store the pairs."""
    expected = predict(_view(model.views, view), model.position)[:, 0]
    if not len(found.xy):
        return model
    shift = vote_shift(expected, found.xy, settings.shift_search, tolerance)
    distance = np.linalg.norm(expected[:, None] + shift - found.xy[None], axis=-1)
    rows, columns = linear_sum_assignment(np.minimum(distance, 2.0 * tolerance))
    good = distance[rows, columns] < tolerance
    rows, columns = rows[good], columns[good]
    tracks, height = model.tracks.copy(), model.height.copy()
    tracks[rows, view], height[rows, view] = found.xy[columns], found.height[columns]
    shifts = model.views.shift.copy()
    shifts[view] += shift
    return replace(model, tracks=tracks, height=height, views=replace(model.views, shift=shifts))


def vote_shift(expected: Float, peaks: Float, radius: float, tolerance: float) -> Float:
    """Return the displacement (x, y) within ``radius`` that brings most expected points onto peaks.

    Each expected point adds a Gaussian of its distance to the nearest peak (sigma half the tolerance); the
    best displacement is refined to the mean over the points it matches. Zero if nothing can be matched.
    """
    steps = (peaks[None, :] - expected[:, None]).reshape(-1, 2)
    steps = np.concatenate([np.zeros((1, 2)), steps[np.linalg.norm(steps, axis=1) <= radius]])
    tree = cKDTree(peaks)
    distance, _ = tree.query(expected[None] + steps[:, None])
    score = np.exp(-0.5 * (distance / (0.5 * tolerance)) ** 2).sum(axis=1)
    score -= 1e-3 * np.linalg.norm(steps, axis=1) / max(radius, 1e-9)
    best = steps[int(np.argmax(score))]
    for _ in range(3):
        distance, nearest = tree.query(expected + best)
        close = distance < tolerance
        if not close.any():
            return np.zeros(2)
        best = np.median(peaks[nearest[close]] - expected[close], axis=0)
    refined: Float = best
    return refined


def _resolve(model: BeadModel, done: NDArray[np.int64], settings: TrackSettings) -> BeadModel:
    """Fit shifts and beads (and the axis, once the range of tilts allows) to the views done so far."""
    views = model.views
    part = Views(views.axis[done], views.tilt[done], views.log_mag[done], views.shift[done])
    tracks, seen = model.tracks[:, done], model.found[:, done]
    wide = float(np.ptp(part.tilt)) > np.deg2rad(25) and len(seen) >= 4
    variables = Variables(axis=1 if wide else 0)
    solution = solve(np.nan_to_num(tracks), seen.astype(np.float64), part, variables, max_iterations=6)
    off = np.linalg.norm(solution.residual, axis=-1)
    limit = max(0.25 * settings.diameter, 6.0 * float(np.median(off[seen])))
    wrong = seen & (off > limit)
    height, kept = model.height.copy(), model.tracks.copy()
    height[:, done] = np.where(wrong, np.nan, height[:, done])
    kept[:, done] = np.where(wrong[..., None], np.nan, kept[:, done])
    shift, axis = views.shift.copy(), views.axis.copy()
    shift[done], axis[:] = solution.views.shift, solution.views.axis.mean()
    return BeadModel(kept, height, replace(views, shift=shift, axis=axis), solution.position)


def _unexplained(found: Candidates, places: Float, threshold_sd: float, settings: TrackSettings) -> Float:
    strong = found.xy[found.height > threshold_sd]
    if not len(strong) or not len(places):
        return strong
    distance = np.linalg.norm(strong[:, None] - places[None], axis=-1).min(axis=1)
    return strong[distance > 0.7 * settings.diameter]


def _depth_grid(views: Views, index: NDArray[np.int64], settings: TrackSettings) -> Float:
    """Depths to try: no bead lies farther than a quarter diameter from its prediction in any view."""
    steepest = float(np.abs(np.sin(views.tilt[index])).max())
    step = 0.4 * settings.diameter / max(steepest, 0.1)
    n = int(np.ceil(settings.depth_range / step))
    return np.linspace(-0.5 * settings.depth_range, 0.5 * settings.depth_range, max(n, 3))


def _lines_of_sight(views: Views, view: int, xy: Float, depths: Float) -> Float:
    """Return specimen points ``[depth, 3]`` of given z that appear at ``xy`` in one view."""
    mag = np.exp(views.log_mag[view])
    cos, sin = np.cos(views.axis[view]), np.sin(views.axis[view])
    u, y = np.array([[cos, sin], [-sin, cos]]) @ ((xy - views.shift[view]) / mag)
    x = (u - depths * np.sin(views.tilt[view])) / np.cos(views.tilt[view])
    return np.stack([x, np.full(len(depths), y), depths], axis=-1)
