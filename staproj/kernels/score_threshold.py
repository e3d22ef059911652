"""Where to cut a histogram of scores, and what elevation does to scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

MIN_SEPARATION = 2.0
"""Two populations show if their means differ by this many common standard deviations (Ashman's D)."""
MIN_FRACTION = 0.03
"""The smaller population must hold at least this fraction."""
DECOY_WEIGHT = 0.1
"""Decoys count as this fraction of all particles among the bad: they say where to start, scores decide."""
MIN_SCORES = 30
"""Fewer scores than this are not modelled."""


class ThresholdProposal(NamedTuple):
    """A cut between bad (below) and good (at or above) scores.

    ``method`` is ``"two populations"`` or ``"one population"``; ``separation`` is Ashman's D and
    ``good_fraction`` the fraction at or above the threshold.
    """

    threshold: float
    method: str
    separation: float
    good_fraction: float


def propose_threshold(scores: Float, outlier_sd: float = 3.0) -> ThresholdProposal:
    """Propose a cut from two Gaussian populations fitted by EM; else cut only low outliers.

    Where two populations are separate the cut is where both are equally likely. Where the histogram
    shows one population (all good, or too few scores) only scores more than ``outlier_sd`` robust standard
    deviations below the median fall.
    """
    x = np.asarray(scores, dtype=np.float64)
    x = x[np.isfinite(x)]
    if len(x) == 0:
        raise ValueError("no finite score")
    median = float(np.median(x))
    spread = 1.4826 * float(np.median(np.abs(x - median)))
    alone = median - outlier_sd * max(spread, 1e-12)
    if len(x) < MIN_SCORES or np.ptp(x) <= 0:
        return _proposal(x, alone, "one population", 0.0)
    weight, mean, sd = fit_two_gaussians(x)
    separation = float((mean[1] - mean[0]) / np.sqrt(0.5 * (sd[0] ** 2 + sd[1] ** 2)))
    if separation < MIN_SEPARATION or weight.min() < MIN_FRACTION:
        return _proposal(x, alone, "one population", separation)
    grid = np.linspace(mean[0], mean[1], 2001)
    density = [w * np.exp(-0.5 * ((grid - m) / s) ** 2) / s for w, m, s in zip(weight, mean, sd, strict=True)]
    above = np.flatnonzero(density[1] >= density[0])
    cut = float(grid[above[0]]) if len(above) else float(grid[-1])
    return _proposal(x, cut, "two populations", separation)


def fit_two_gaussians(x: Float, n_iter: int = 200) -> tuple[Float, Float, Float]:
    """Fit two Gaussians by expectation-maximisation from several starts; means rise.

    Returns weights, means and standard deviations, two each. A standard deviation is never let below
    a twentieth of that of all values, so that no population shrinks onto one value.
    """
    floor = max(0.05 * float(x.std()), 1e-12)
    best: tuple[float, Float, Float, Float] | None = None
    for quantile in (0.1, 0.3, 0.5, 0.7, 0.9):
        cut = np.quantile(x, quantile)
        low, high = x[x <= cut], x[x > cut]
        if len(low) < 2 or len(high) < 2:
            continue
        start = (
            np.array([len(low), len(high)]) / len(x),
            np.array([low.mean(), high.mean()]),
            np.maximum([low.std(), high.std()], floor),
        )
        fitted = _em(x, *start, floor=floor, n_iter=n_iter)
        if best is None or fitted[0] > best[0]:
            best = fitted
    if best is None:
        return np.array([0.5, 0.5]), np.array([x.mean(), x.mean()]), np.array([floor, floor])
    order = np.argsort(best[2])
    return best[1][order], best[2][order], best[3][order]


class LatticeClasses(NamedTuple):
    """Good and bad particles told apart by score and by lattice neighbours.

    ``good`` is the probability of every particle to be good. Means and spreads are of the score.
    """

    good: Float
    threshold: float
    separation: float
    mean_bad: float
    mean_good: float
    good_fraction: float


def classify_with_lattice(
    scores: Float, support: NDArray[np.int64], decoy_support: NDArray[np.int64], n_iter: int = 200
) -> LatticeClasses:
    """Tell good from bad particles by score and number of agreeing lattice neighbours together.

    Two classes, each with Gaussian scores and free neighbour counts, fitted by expectation-maximisation; the
    bad class starts from the counts of decoys (what chance gives). Where the data hold no lattice the counts
    of both classes come out alike and the scores decide alone. So they do for holes of a lattice, where
    neighbours pull the pose of nothing into place.
    """
    n_kinds = int(max(support.max(initial=0), decoy_support.max(initial=0))) + 1
    chance = (np.bincount(decoy_support, minlength=n_kinds) + 0.5) / (len(decoy_support) + 0.5 * n_kinds)
    prior = DECOY_WEIGHT * len(scores) * chance
    floor = max(0.05 * float(scores.std()), 1e-12)
    many = support >= max(2.0, float(np.quantile(decoy_support, 0.95)))
    good = np.where(many, 0.9, 0.3)
    for _ in range(n_iter):
        weight = np.array([np.sum(1.0 - good), np.sum(good)]) + 1e-6
        mean = np.array([np.sum(scores * (1.0 - good)), np.sum(scores * good)]) / weight
        mean[0] = min(mean[0], mean[1])
        spread = np.array(
            [np.sum((scores - mean[0]) ** 2 * (1.0 - good)), np.sum((scores - mean[1]) ** 2 * good)]
        )
        sd = np.maximum(np.sqrt(spread / weight), floor)
        kinds = np.bincount(support, weights=good, minlength=n_kinds) + 0.5
        kinds /= kinds.sum()
        bad_kinds = np.bincount(support, weights=1.0 - good, minlength=n_kinds) + prior
        bad_kinds /= bad_kinds.sum()
        log_odds = np.log(weight[1] / weight[0]) + np.log(kinds[support] / bad_kinds[support])
        log_odds += _score_log_odds(scores, mean, sd)
        previous, good = good, 1.0 / (1.0 + np.exp(-np.clip(log_odds, -50.0, 50.0)))
        if np.abs(good - previous).max() < 1e-4:
            break
    kept = scores[good >= 0.5]
    separation = float((mean[1] - mean[0]) / np.sqrt(0.5 * (sd[0] ** 2 + sd[1] ** 2)))
    threshold = float(kept.min()) if len(kept) else float(scores.max(initial=0.0))
    return LatticeClasses(
        good, threshold, separation, float(mean[0]), float(mean[1]), float((good >= 0.5).mean())
    )


def _score_log_odds(scores: Float, mean: Float, sd: Float) -> Float:
    """Return the log of good over bad density, made to never fall with rising score.

    Two Gaussians of different width cross twice; beyond the outer crossing the wider one would win, so that
    the very best scores counted as bad, or the very worst as good.
    """
    precision = 1.0 / sd**2
    x = scores
    if precision[0] != precision[1]:
        turning = float((mean[1] * precision[1] - mean[0] * precision[0]) / (precision[1] - precision[0]))
        x = np.minimum(x, turning) if sd[0] > sd[1] else np.maximum(x, turning)
    odds: Float = 0.5 * precision[0] * (x - mean[0]) ** 2 - 0.5 * precision[1] * (x - mean[1]) ** 2
    return odds + float(np.log(sd[0] / sd[1]))


def elevation_factors(
    scores: Float, elevation_deg: Float, *, bins: int = 8, min_per_bin: int = 25
) -> tuple[Float, Float, Float]:
    """Return factors that take out how the median score changes with elevation, and the curve behind them.

    Elevation is the angle between a particle's axis and the plane of the specimen (0 to 90 deg). Bins
    hold equally many particles; factors are ``median of all / median at the elevation``, interpolated, within
    [0.5, 2]. Returns (factor of every particle, elevation of the bins in deg, median of the bins).
    Idea: PEET's flgElevationCompensation.
    """
    n_bins = min(bins, len(scores) // min_per_bin)
    middle = float(np.median(scores)) if len(scores) else 0.0
    if n_bins < 3 or middle <= 0:
        return np.ones(len(scores)), np.empty(0), np.empty(0)
    edges = np.quantile(elevation_deg, np.linspace(0, 1, n_bins + 1))
    index = np.clip(np.searchsorted(edges, elevation_deg, side="right") - 1, 0, n_bins - 1)
    filled = [b for b in range(n_bins) if (index == b).any()]
    centre = np.array([np.median(elevation_deg[index == b]) for b in filled])
    median = np.array([np.median(scores[index == b]) for b in filled])
    smooth = np.interp(elevation_deg, centre, np.maximum(median, 0.25 * middle))
    return np.clip(middle / smooth, 0.5, 2.0), centre, median


def _em(
    x: Float, weight: Float, mean: Float, sd: Float, *, floor: float, n_iter: int
) -> tuple[float, Float, Float, Float]:
    likelihood = -np.inf
    for _ in range(n_iter):
        density = weight * np.exp(-0.5 * ((x[:, None] - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))
        total = np.maximum(density.sum(axis=1), 1e-300)
        new = float(np.log(total).sum())
        share = density / total[:, None]
        size = np.maximum(share.sum(axis=0), 1e-9)
        weight = size / len(x)
        mean = (share * x[:, None]).sum(axis=0) / size
        sd = np.maximum(np.sqrt((share * (x[:, None] - mean) ** 2).sum(axis=0) / size), floor)
        if new - likelihood < 1e-7 * len(x):
            break
        likelihood = new
    return new, weight, mean, sd


def _proposal(x: Float, cut: float, method: str, separation: float) -> ThresholdProposal:
    return ThresholdProposal(cut, method, separation, float((x >= cut).mean()))
