"""Bundle adjustment of bead tracks: views and 3-D positions that explain where the beads were seen.

A bead at ``X`` (px, specimen axes) appears in view v, relative to the image centre, at::

    p = shift_v + m_v Rz(axis_v)[:2] Ry(tilt_v) X

which is the projection of ``staproj.model.geometry`` without an x-tilt (a constant x-tilt is a rotation of
the specimen about x, which tracks cannot see). Shifts and bead positions are always free; axis, tilt and
magnification follow piecewise linear curves over the views with a chosen number of knots.

Solver: Gauss-Newton with Levenberg damping on the normal equations from which the bead positions are
eliminated (Schur complement), so that every step solves a system in the variables of the views only
(Triggs et al. 2000, "Bundle adjustment: a modern synthesis"). The model is that of Mastronarde (2008,
J. Microsc. 230:212) with the distortions left out. Degenerate directions are fixed at the end:

* magnification: 1 on average over the views; tilt: the mean correction over the views is 0 (a rotation of
  the specimen about y and a common tilt offset cannot be told apart);
* specimen origin: mean z of the beads is 0; x and y such that the shifts of the views are smallest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Float = NDArray[np.float64]

_PER_VIEW = 5  # dx, dy, axis (rad), tilt (rad), log magnification
_BISQUARE = 4.685  # 95 % efficiency for Gaussian errors
_SMALLEST_RESIDUAL_PX = 1e-3  # nobody measures beads better: below, every residual is as good as none


class Variables(NamedTuple):
    """How many knots the curves over the views have: 0 = kept, 1 = one value for all views."""

    axis: int = 1
    tilt: int = 0
    magnification: int = 0


@dataclass(frozen=True)
class Views:
    """Variables of the views: axis and tilt in rad, log magnification ``[view]``, shifts ``[view, 2]`` px."""

    axis: Float
    tilt: Float
    log_mag: Float
    shift: Float


@dataclass(frozen=True)
class Solution:
    """Views, bead positions ``[bead, 3]`` px, residuals observed - predicted ``[bead, view, 2]`` px.

    ``converged`` is False if the last step still changed the solution by more than the tolerance.
    """

    views: Views
    position: Float
    residual: Float
    converged: bool


def solve(
    tracks: Float,
    weight: Float,
    start: Views,
    variables: Variables,
    *,
    max_iterations: int = 40,
    tolerance_px: float = 1e-4,
) -> Solution:
    """Fit views and beads to tracks.

    Parameters
    ----------
    tracks
        ``[bead, view, 2]`` x, y in px from the image centre; anything where ``weight`` is 0.
    weight
        ``[bead, view]``, 0 = not seen. A bead with weight in fewer than two views is placed at the origin.
    start
        First guess; what is not variable keeps its value.
    max_iterations, tolerance_px
        Stop after so many steps, or when a step moves no predicted point by more than this.

    Raises
    ------
    ValueError
        If the shapes do not agree or nothing has a weight.
    """
    _check(tracks, weight, start)
    observed = np.where(weight[..., None] > 0, tracks, 0.0)
    basis = variable_basis(len(start.tilt), variables)
    views = start
    position = triangulate(observed, weight, views)
    residual = observed - predict(views, position)
    cost = _cost(residual, weight)
    damping, converged = 1e-9, False
    for _ in range(max_iterations):
        step_views, step_position, moved = _step(residual, weight, views, position, basis, damping)
        new_residual = observed - predict(step_views, step_position)
        new_cost = _cost(new_residual, weight)
        if new_cost <= cost * (1 + 1e-12):
            views, position, residual, cost = step_views, step_position, new_residual, new_cost
            damping = max(damping * 0.1, 1e-10)
            if moved < tolerance_px:
                converged = True
                break
        else:
            damping = max(damping * 10.0, 1e-6)
            if damping > 1e6:
                break
    views, position = fix_gauge(views, position, weight, variables)
    residual = np.where(weight[..., None] > 0, observed - predict(views, position), 0.0)
    return Solution(views, position, residual, converged)


def solve_robust(
    tracks: Float,
    weight: Float,
    start: Views,
    variables: Variables,
    *,
    rounds: int = 12,
    k_factor: float = 1.0,
) -> tuple[Solution, Float]:
    """Fit with bisquare weights until they are stable; return the solution and the weights used last."""
    current = weight
    solution = solve(tracks, current, start, variables)
    for _ in range(rounds):
        updated = weight * bisquare_weights(_all_residuals(tracks, weight, solution), weight, k_factor)
        change = float(np.abs(updated - current).max(initial=0.0))
        current = updated
        solution = solve(tracks, current, solution.views, variables)
        if change < 0.02:
            break
    return solution, current


def bisquare_weights(residual: Float, weight: Float, k_factor: float = 1.0) -> Float:
    """Return robust factors in [0, 1] from residual lengths, view by view on a common scale.

    Lengths are divided by a smoothed median of their view, so that one bad view is not thrown out whole;
    then ``x = (r - median) / (4.685 k MADN)`` and the factor is ``(1 - x²)²``, 1 below the median.
    """
    length = np.linalg.norm(residual, axis=-1)
    seen = weight > 0
    scaled = length / view_scale(length, seen)[None, :]
    values = scaled[seen]
    median = float(np.median(values))
    madn = max(float(np.median(np.abs(values - median))) * 1.4826, 0.05 * median, 0.05)
    x = np.clip((scaled - median) / (_BISQUARE * k_factor * madn), 0.0, 1.0)
    return np.where(seen, (1.0 - x * x) ** 2, 0.0)


def view_scale(length: Float, seen: NDArray[np.bool_]) -> Float:
    """Return the median residual of every view, smoothed over neighbours and kept near the overall one."""
    overall = max(float(np.median(length[seen])), _SMALLEST_RESIDUAL_PX)
    medians = np.array(
        [np.median(length[seen[:, v], v]) if seen[:, v].any() else overall for v in range(length.shape[1])]
    )
    padded = np.pad(medians, 2, mode="edge")
    smooth = np.array([np.median(padded[v : v + 5]) for v in range(len(medians))])
    return np.clip(0.5 * (smooth + medians), 0.5 * overall, 3.0 * overall)


def predict(views: Views, position: Float) -> Float:
    """Return where beads appear, ``[bead, view, 2]`` px from the image centre."""
    u = position[:, 0, None] * np.cos(views.tilt) + position[:, 2, None] * np.sin(views.tilt)
    y = np.broadcast_to(position[:, 1, None], u.shape)
    mag = np.exp(views.log_mag)
    cos, sin = mag * np.cos(views.axis), mag * np.sin(views.axis)
    planar = np.stack([cos * u - sin * y, sin * u + cos * y], axis=-1)
    return planar + views.shift[None]


def triangulate(tracks: Float, weight: Float, views: Views) -> Float:
    """Place beads ``[bead, 3]`` for given views by weighted least squares (origin if undetermined)."""
    design = _bead_jacobian(views)
    normal = np.einsum("bv,vki,vkj->bij", weight, design, design)
    right = np.einsum("bv,vki,bvk->bi", weight, design, tracks - views.shift[None])
    scale = np.maximum(np.einsum("bii->b", normal), 1e-12)
    normal = normal + (1e-7 * scale)[:, None, None] * np.eye(3)
    solved: Float = np.linalg.solve(normal, right[..., None])[..., 0]
    return solved


def variable_basis(n_views: int, variables: Variables) -> Float:
    """Return ``[3 n_views, knots]``: how axis, tilt and log magnification of the views move with knots."""
    blocks = [hat_basis(n_views, knots) for knots in variables]
    basis = np.zeros((n_views, 3, sum(block.shape[1] for block in blocks)))
    first = 0
    for row, block in enumerate(blocks):
        basis[:, row, first : first + block.shape[1]] = block
        first += block.shape[1]
    return basis.reshape(3 * n_views, -1)


def count_variables(n_views: int, n_beads: int, variables: Variables) -> int:
    """Return the number of unknowns: positions of beads, shifts of views, knots."""
    return 3 * n_beads + 2 * n_views + sum(min(knots, n_views) for knots in variables)


def hat_basis(n_views: int, knots: int) -> Float:
    """Return linear interpolation weights ``[view, knot]`` between evenly spaced knots (1 knot: constant)."""
    if knots <= 0:
        return np.zeros((n_views, 0))
    if knots == 1:
        return np.ones((n_views, 1))
    place = np.linspace(0, min(knots, n_views) - 1, n_views)
    return np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(min(knots, n_views))[None, :]))


def fix_gauge(views: Views, position: Float, weight: Float, variables: Variables) -> tuple[Views, Float]:
    """Move along the degenerate directions to the frame of the module's docstring; predictions stay equal."""
    tilt, log_mag, points = views.tilt, views.log_mag, position.copy()
    if variables.magnification > 0:
        mean = float(log_mag.mean())
        log_mag = log_mag - mean
        points = points * np.exp(mean)
    seen = (weight > 0).sum(axis=1) >= 2
    origin = np.zeros(3)
    origin[2] = points[seen, 2].mean() if seen.any() else 0.0
    moved = Views(views.axis, tilt, log_mag, np.zeros_like(views.shift))
    design = _bead_jacobian(moved)
    # shift + D (origin) stays small: choose origin x, y by least squares
    target = views.shift + design[:, :, 2] * origin[2]
    solved, *_ = np.linalg.lstsq(design[:, :, :2].reshape(-1, 2), -target.reshape(-1), rcond=None)
    origin[:2] = solved
    shift = views.shift + design @ origin
    return Views(views.axis, tilt, log_mag, shift), points - origin


def centre_tilts(views: Views, nominal_tilt: Float) -> tuple[Views, float]:
    """Return views whose mean tilt correction is 0, and the angle (rad) the specimen was turned about y.

    ``X_new = Ry(angle) X_old`` keeps every prediction.
    """
    angle = float((views.tilt - nominal_tilt).mean())
    return Views(views.axis, views.tilt - angle, views.log_mag, views.shift), angle


def _check(tracks: Float, weight: Float, start: Views) -> None:
    n_beads, n_views = weight.shape
    if tracks.shape != (n_beads, n_views, 2) or len(start.tilt) != n_views:
        raise ValueError(
            f"{len(start.tilt)} views, tracks {tracks.shape} and weights {weight.shape} do not agree"
        )
    if not (weight > 0).any():
        raise ValueError("no bead has a weight in any view")
    if not np.isfinite(tracks[weight > 0]).all():
        raise ValueError("a track with a weight is not finite")


def _cost(residual: Float, weight: Float) -> float:
    return float(np.einsum("bv,bvk,bvk->", weight, residual, residual))


def _all_residuals(tracks: Float, weight: Float, solution: Solution) -> Float:
    seen = weight[..., None] > 0
    return np.where(seen, np.where(seen, tracks, 0.0) - predict(solution.views, solution.position), 0.0)


def _bead_jacobian(views: Views) -> Float:
    """Return d p / d X, ``[view, 2, 3]``."""
    mag = np.exp(views.log_mag)
    cos, sin = mag * np.cos(views.axis), mag * np.sin(views.axis)
    c, s = np.cos(views.tilt), np.sin(views.tilt)
    rows = [np.stack([cos * c, -sin, cos * s], axis=-1), np.stack([sin * c, cos, sin * s], axis=-1)]
    return np.stack(rows, axis=1)


def _view_jacobian(views: Views, position: Float) -> Float:
    """Return d p / d (dx, dy, axis, tilt, log mag), ``[bead, view, 2, 5]``."""
    c, s = np.cos(views.tilt), np.sin(views.tilt)
    u = position[:, 0, None] * c + position[:, 2, None] * s
    depth = -position[:, 0, None] * s + position[:, 2, None] * c
    y = np.broadcast_to(position[:, 1, None], u.shape)
    mag = np.exp(views.log_mag)
    cos, sin = mag * np.cos(views.axis), mag * np.sin(views.axis)
    out = np.zeros((*u.shape, 2, _PER_VIEW))
    out[..., 0, 0] = out[..., 1, 1] = 1.0
    out[..., 0, 2] = -sin * u - cos * y
    out[..., 1, 2] = cos * u - sin * y
    out[..., 0, 3] = cos * depth
    out[..., 1, 3] = sin * depth
    out[..., 0, 4] = cos * u - sin * y
    out[..., 1, 4] = sin * u + cos * y
    return out


def _step(
    residual: Float, weight: Float, views: Views, position: Float, basis: Float, damping: float
) -> tuple[Views, Float, float]:
    """Return views and beads after one damped step, and the largest move of a predicted point (px)."""
    n_beads, n_views = weight.shape
    jv, jb = _view_jacobian(views, position), _bead_jacobian(views)
    weighted = jv * weight[..., None, None]
    by_view = weighted.transpose(1, 3, 0, 2).reshape(n_views, _PER_VIEW, 2 * n_beads)
    block = by_view @ jv.transpose(1, 0, 2, 3).reshape(n_views, 2 * n_beads, _PER_VIEW)
    gradient_v = (by_view @ residual.transpose(1, 0, 2).reshape(n_views, 2 * n_beads, 1))[..., 0]
    # cross terms [bead, view x 5, 3], bead blocks [bead, 3, 3] and their inverses
    cross = weighted.transpose(0, 1, 3, 2) @ jb
    cross = cross.reshape(n_beads, n_views * _PER_VIEW, 3)
    squares = (jb.transpose(0, 2, 1) @ jb).reshape(n_views, 9)
    bead = (weight @ squares).reshape(n_beads, 3, 3)
    pulled = (weight[..., None] * residual).reshape(n_beads, 2 * n_views)
    gradient_b = pulled @ jb.reshape(2 * n_views, 3)
    trace = np.maximum(np.einsum("bii->b", bead), 1e-12)
    inverse = np.linalg.inv(bead + (1e-7 * trace)[:, None, None] * np.eye(3))
    solved = cross @ inverse
    flat = cross.transpose(1, 0, 2).reshape(n_views * _PER_VIEW, -1)
    full = -solved.transpose(1, 0, 2).reshape(n_views * _PER_VIEW, -1) @ flat.T
    index = np.arange(n_views)
    full.reshape(n_views, _PER_VIEW, n_views, _PER_VIEW)[index, :, index, :] += block
    right = gradient_v.reshape(-1) - np.einsum("bvj,bj->v", solved, gradient_b)
    step = _solve_views(full, right, np.einsum("vii->vi", block), basis, damping)
    step_b = np.einsum("bij,bj->bi", inverse, gradient_b - np.einsum("bvj,v->bj", cross, step.reshape(-1)))
    new_views = Views(
        axis=views.axis + step[:, 2],
        tilt=views.tilt + step[:, 3],
        log_mag=views.log_mag + step[:, 4],
        shift=views.shift + step[:, :2],
    )
    change = (jv @ step[None, :, :, None])[..., 0] + (jb[None] @ step_b[:, None, :, None])[..., 0]
    moved = float(np.abs(change[weight > 0]).max(initial=0.0))
    return new_views, position + step_b, moved


def _solve_views(full: Float, right: Float, diagonal: Float, basis: Float, damping: float) -> Float:
    """Solve the reduced normal equations ``[5 views, 5 views]`` for shifts and knots: ``[view, 5]``."""
    n_views = len(diagonal)
    rows = np.arange(n_views * _PER_VIEW).reshape(n_views, _PER_VIEW)
    shift, other = rows[:, :2].ravel(), rows[:, 2:].ravel()
    mixed = full[np.ix_(shift, other)] @ basis
    reduced = np.block(
        [[full[np.ix_(shift, shift)], mixed], [mixed.T, basis.T @ full[np.ix_(other, other)] @ basis]]
    )
    reduced_right = np.concatenate([right[shift], basis.T @ right[other]])
    scale = np.concatenate([diagonal[:, :2].ravel(), (basis * basis).T @ diagonal[:, 2:].ravel()])
    floor = 1e-12 * max(float(scale.max()), 1e-12)
    reduced[np.diag_indices(len(scale))] += (damping + 1e-9) * np.maximum(scale, floor) + floor
    free = scipy.linalg.solve(reduced, reduced_right, assume_a="sym", check_finite=False)
    step = np.empty((n_views, _PER_VIEW))
    step[:, :2] = free[: 2 * n_views].reshape(n_views, 2)
    step[:, 2:] = (basis @ free[2 * n_views :]).reshape(n_views, 3)
    return step
