"""Which variables a bundle adjustment may have: a ladder of models scored by leave-out error.

A model is kept only if it predicts data better that it has not seen. Two kinds of data are left out in turn:
whole beads (fitted to none of the views; then only their 3-D position is fitted, and the residual is scaled
up for those three numbers) and runs of neighbouring views of every bead (predicted from its other views).
The order of the search, tilt before rotation before magnification and few knots before many, follows the
idea of cross-validation in IMOD's restrictalign (manual); no code of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from staproj.kernels.align_fine import Variables, Views, count_variables, predict, solve, triangulate

Float = NDArray[np.float64]

_STIFFEST = Variables(axis=1, tilt=0, magnification=0)
_MIN_GAIN = 0.005
"""Relative decrease of the leave-out error below which more variables are not worth having."""

_PATIENCE = 2
"""Rungs without gain after which a variable is not freed further."""


@dataclass(frozen=True)
class ModelScore:
    """One rung of the ladder: errors are mean distances in px (NaN where nothing can be left out)."""

    variables: Variables
    n_variables: int
    n_measured: int
    residual_px: float
    leave_bead_px: float
    leave_run_px: float

    @property
    def leave_out_px(self) -> float:
        """Mean of the two leave-out errors."""
        return 0.5 * (self.leave_bead_px + self.leave_run_px)


def choose_variables(
    tracks: Float,
    weight: Float,
    start: Views,
    *,
    base: Variables = _STIFFEST,
    allowed: tuple[str, ...] = ("tilt", "axis", "magnification"),
    group_views: tuple[int, ...] = (12, 7, 4, 2),
    check: Callable[[], None] = lambda: None,
) -> tuple[Variables, list[ModelScore]]:
    """Climb the ladder: keep a change while it lowers the leave-out error by more than 0.5 %.

    Parameters
    ----------
    tracks, weight, start
        As for :func:`staproj.kernels.align_fine.solve`; the weights may be robust ones.
    base
        The stiffest model, where the ladder starts.
    allowed
        Variables that may be freed.
    group_views
        Distances between knots to try, in views, from stiff to free.
    check
        Called between fits; may raise to stop.

    Returns
    -------
    The chosen variables, and every model tried in the order of trying.
    """
    n_views = weight.shape[1]
    folds = _folds(weight)
    scores = [score_variables(tracks, weight, start, base, folds)]
    best = scores[0]
    for _ in range(2):
        before = best.variables
        for name in allowed:
            in_vain = 0
            for knots in _knot_ladder(n_views, group_views):
                check()
                trial = best.variables._replace(**{name: knots})
                known = [score for score in scores if score.variables == trial]
                if in_vain == _PATIENCE or not _overdetermined(weight, trial):
                    break
                if not known:
                    scores.append(score_variables(tracks, weight, start, trial, folds))
                    known = scores[-1:]
                better = known[0].leave_out_px < best.leave_out_px * (1.0 - _MIN_GAIN)
                in_vain = 0 if better else in_vain + 1
                best = known[0] if better else best
        if best.variables == before:
            break
    for name in allowed:  # what was freed early may not be needed any more
        trial = best.variables._replace(**{name: getattr(base, name)})
        known = [score for score in scores if score.variables == trial]
        if not known:
            check()
            scores.append(score_variables(tracks, weight, start, trial, folds))
            known = scores[-1:]
        if known[0].leave_out_px < best.leave_out_px * (1.0 + _MIN_GAIN):
            best = known[0]
    return best.variables, scores


def score_variables(
    tracks: Float, weight: Float, start: Views, variables: Variables, folds: list[tuple[str, Float]]
) -> ModelScore:
    """Fit one model to everything and to every fold, and return its errors."""
    full = solve(tracks, weight, start, variables)
    length = np.linalg.norm(full.residual, axis=-1)
    errors: dict[str, list[float]] = {"bead": [0.0, 0.0], "run": [0.0, 0.0]}
    for kind, keep in folds:
        if not (weight * keep > 0).any():
            continue
        part = solve(tracks, weight * keep, full.views, variables, max_iterations=8, tolerance_px=1e-2)
        left = weight * (1.0 - keep)
        distance = _prediction_error(tracks, left, part.views, part.position, kind)
        errors[kind][0] += float((left * distance).sum())
        errors[kind][1] += float(left.sum())
    total = float(weight.sum())
    return ModelScore(
        variables=variables,
        n_variables=count_variables(weight.shape[1], int((weight > 0).any(axis=1).sum()), variables),
        n_measured=2 * int((weight > 0).sum()),
        residual_px=float((weight * length).sum() / total),
        leave_bead_px=_mean(*errors["bead"]),
        leave_run_px=_mean(*errors["run"]),
    )


def _mean(total: float, weight: float) -> float:
    return total / weight if weight > 0 else float("nan")


def _prediction_error(tracks: Float, left: Float, views: Views, position: Float, kind: str) -> Float:
    seen = left[..., None] > 0
    observed = np.where(seen, tracks, 0.0)
    if kind == "run":
        return np.linalg.norm(np.where(seen, observed - predict(views, position), 0.0), axis=-1)
    placed = triangulate(observed, left, views)
    distance = np.linalg.norm(np.where(seen, observed - predict(views, placed), 0.0), axis=-1)
    count = 2.0 * (left > 0).sum(axis=1)
    return distance * np.sqrt(count / np.maximum(count - 3.0, 1.0))[:, None]


def _folds(weight: Float, *, n_folds: int = 8, run_views: int = 3) -> list[tuple[str, Float]]:
    """Return (kind, keep) masks ``[bead, view]`` that leave each bead and each view of a bead out once."""
    n_beads, n_views = weight.shape
    folds: list[tuple[str, Float]] = []
    n_bead_folds = min(n_folds, n_beads)
    for fold in range(n_bead_folds):
        keep = np.ones_like(weight)
        keep[fold::n_bead_folds] = 0.0
        folds.append(("bead", keep))
    run = np.arange(n_views) // run_views
    for fold in range(n_folds):
        leave = (run[None, :] + 3 * np.arange(n_beads)[:, None]) % n_folds == fold
        folds.append(("run", np.where(leave, 0.0, 1.0)))
    return folds


def _knot_ladder(n_views: int, group_views: tuple[int, ...]) -> list[int]:
    counts = [max(2, int(np.ceil((n_views - 1) / group)) + 1) for group in group_views]
    return sorted(set(counts))


def _overdetermined(weight: Float, variables: Variables, ratio: float = 1.5) -> bool:
    """Say whether there are clearly more measurements than unknowns even with one bead left out."""
    seen = (weight > 0).sum(axis=1)
    measured = 2 * int(seen.sum() - seen.max())
    unknown = 3 * (len(seen) - 2) + 2 * (weight.shape[1] - 1) + sum(variables)
    return measured > ratio * unknown
