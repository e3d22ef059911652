"""From spectra of tiles to the defocus of every view: joint fit of one tilt series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from staproj.kernels import ctf_fit as fit

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

STEP_ANGSTROM = 50.0  # of defocus: 0.12 rad of CTF phase at 5 Å
SMOOTH_DEGREE = 3
ENVELOPES_ANGSTROM = (6.0, 12.0, 20.0)  # first guesses of how rings fade, exp(-(k w)²)
FEW_VIEWS_WINDOW = 3
MIN_EVIDENCE = 10.0  # log-likelihood above the median of all defocus: what noise alone hardly ever gives
MIN_VIEW_EVIDENCE = 4.0
ASTIGMATISM_SPREAD_UM = 0.02
NOMINAL_SPREAD_UM = 0.5


@dataclass(frozen=True, eq=False)
class SeriesSpectra:
    """Whitened spectra minus 1 of all tiles, ``[view][tile, sector, ring]``, and the depth of their centres (Å)."""

    residual: list[Float32]
    depth_angstrom: list[Float]
    bins: fit.SpectrumBins
    optics: fit.Optics


@dataclass(frozen=True, eq=False)
class SeriesFit:
    """Result: mean defocus and astigmatism of each view (Å; ``along`` cos 2a + ``across`` sin 2a), and evidence."""

    defocus: Float
    along: Float
    across: Float
    hand: int
    evidence: Float
    series_evidence: float
    hand_difference: float
    envelope: Float
    used_nominal: bool
    scan_defocus: Float
    scan: Float


class SeriesFitter:
    """Fit one tilt series; limits and spreads in Å."""

    def __init__(
        self, spectra: SeriesSpectra, limits: tuple[float, float], spread: float, nominal: float | None,
        check: Callable[[], None],
    ) -> None:  # fmt: skip
        self.spectra, self.check = spectra, check
        reach = max(float(np.abs(depth).max()) for depth in spectra.depth_angstrom) + STEP_ANGSTROM
        n_pad = int(np.ceil(reach / STEP_ANGSTROM))
        count = max(8, int(round((limits[1] - limits[0]) / STEP_ANGSTROM)) + 1)
        self.table_defocus = limits[0] + STEP_ANGSTROM * np.arange(-n_pad, count + n_pad)
        self.index = np.arange(n_pad, n_pad + count)
        self.grid = self.table_defocus[self.index]
        self.spread = spread / STEP_ANGSTROM
        self.nominal = nominal

    def fit(self, hands: tuple[int, ...], astigmatism_max: float) -> SeriesFit:
        """Choose envelope and hand, then refine defocus and astigmatism of each view."""
        frequency = self.spectra.bins.frequency
        trials = [np.exp(-((frequency * width) ** 2)) for width in ENVELOPES_ANGSTROM]
        hand, envelope, place, views = self._best(trials, hands)
        for _ in range(2):
            envelope = self._envelope(hand, self.grid[place])
            hand, envelope, place, views = self._best([envelope], hands)
        evidence_curve = self._evidence(views)
        strength = float(evidence_curve.max() - np.median(evidence_curve))
        weak = strength < MIN_EVIDENCE and self.nominal is not None
        difference = self._hand_difference(envelope, hand)
        place = self._places(views, self.nominal if weak else None)
        result = SeriesFit(
            defocus=self.grid[place], along=np.zeros(len(place)), across=np.zeros(len(place)), hand=hand,
            evidence=np.array([v.ratio()[i] for v, i in zip(views, place, strict=True)]),
            series_evidence=strength, hand_difference=difference, envelope=envelope, used_nominal=weak,
            scan_defocus=self.grid, scan=evidence_curve,
        )  # fmt: skip
        trusted = result.evidence > MIN_VIEW_EVIDENCE
        if astigmatism_max > 0 and strength >= MIN_EVIDENCE and trusted.any():
            return self._astigmatism(result, views, place, trusted, 0.5 * astigmatism_max / STEP_ANGSTROM)
        return replace(result, defocus=self._polish(views, place))

    def _views(self, envelope: Float, hand: int) -> list[fit.ViewLikelihood]:
        s = self.spectra
        table = fit.thon_table(self.table_defocus, s.bins, envelope, s.optics, SMOOTH_DEGREE)
        out = []
        for residual, depth in zip(s.residual, s.depth_angstrom, strict=True):
            self.check()
            out.append(fit.view_likelihood(residual, hand * depth, s.bins, table, self.index))
        return out

    def _evidence(self, views: list[fit.ViewLikelihood], nominal: float | None = None) -> Float:
        curve = fit.shared_defocus_evidence(np.array([v.ratio() for v in views]), self.spread)
        if nominal is not None:
            curve = curve - 0.5 * ((self.grid - nominal) / (NOMINAL_SPREAD_UM * 1e4)) ** 2
        return curve

    def _best(
        self, envelopes: list[Float], hands: tuple[int, ...]
    ) -> tuple[int, Float, NDArray[np.int64], list[fit.ViewLikelihood]]:
        """Return the (hand, envelope) under which the views' own best fits say most, and where they are."""
        best = None
        for envelope in envelopes:
            for hand in hands:
                views = self._views(envelope, hand)
                place = self._places(views, None)
                total = sum(float(v.ratio()[i]) for v, i in zip(views, place, strict=True))
                if best is None or total > best[0]:
                    best = (total, hand, envelope, place, views)
        assert best is not None
        return best[1], best[2], best[3], best[4]

    def _places(self, views: list[fit.ViewLikelihood], nominal: float | None) -> NDArray[np.int64]:
        """Return the most probable grid index of each view, given its neighbours in tilt."""
        ratios = [v.ratio() for v in views]
        centre = int(np.argmax(self._evidence(views, nominal)))
        place = np.array([fit.most_likely(r, centre, self.spread) for r in ratios])
        for _ in range(2):
            weight = np.array([r[i] for r, i in zip(ratios, place, strict=True)]) + 0.5
            expected = [_local_median(place, weight, i, centre) for i in range(len(place))]
            place = np.array([fit.most_likely(r, e, self.spread) for r, e in zip(ratios, expected, strict=True)])
        return place

    def _hand_difference(self, envelope: Float, hand: int) -> float:
        """Return how much more likely the chosen hand is than the other, each with its own best defocus."""
        totals = []
        for sign in (hand, -hand):
            views = self._views(envelope, sign)
            place = self._places(views, None)
            totals.append(sum(float(v.ratio()[i]) for v, i in zip(views, place, strict=True)))
        return totals[0] - totals[1]

    def _envelope(self, hand: int, defocus: Float) -> Float:
        s = self.spectra
        residual, expected = [], []
        share = s.bins.count / s.bins.count.sum(axis=0)
        for i, own in enumerate(defocus):
            local = own + hand * s.depth_angstrom[i]
            model = fit.thon_table(local, s.bins, np.ones(len(s.bins.frequency)), s.optics, SMOOTH_DEGREE).model
            expected.append(model)
            residual.append(np.einsum("tsk,sk->tk", s.residual[i], share))
        width = 0.08 * float(s.bins.frequency[-1])
        found = fit.regress_envelope(
            np.concatenate(residual), np.concatenate(expected), s.bins.count.sum(axis=0), s.bins.frequency, width
        )
        return np.asarray(np.maximum(found, 0.05 * max(found.max(), 1e-6)))

    def _astigmatism(
        self, result: SeriesFit, views: list[fit.ViewLikelihood], place: NDArray[np.int64],
        trusted: NDArray[np.bool_], largest: float,
    ) -> SeriesFit:  # fmt: skip
        """Find the series' common astigmatism, then each view's own near it; weak views keep the common one."""
        azimuth = self.spectra.bins.azimuth_deg
        chosen = [(views[i], float(place[i])) for i in np.flatnonzero(trusted)]
        common = np.zeros(2)
        step = largest / 4
        while step > 0.2:
            a, b = np.meshgrid(common[0] + step * np.arange(-4, 5), common[1] + step * np.arange(-4, 5))
            moves = np.arange(-3, 4)[:, None, None]
            score = sum(
                fit.astigmatic_ratio(view, at + moves, a, b, azimuth).max(axis=0) for view, at in chosen
            ) + np.where(np.hypot(a, b) > largest, -np.inf, 0.0)
            i = np.unravel_index(int(np.argmax(score)), a.shape)
            common = np.array([a[i], b[i]])
            step /= 3
        spread = 0.5 * ASTIGMATISM_SPREAD_UM * 1e4 / STEP_ANGSTROM
        best = np.array([self._refine_view(v, float(i), common, spread) for v, i in zip(views, place, strict=True)])
        index = np.clip(best[:, 0], 0, len(self.grid) - 1)
        return replace(
            result, defocus=self.grid[0] + STEP_ANGSTROM * index, along=STEP_ANGSTROM * best[:, 1],
            across=STEP_ANGSTROM * best[:, 2], evidence=best[:, 3],
        )  # fmt: skip

    def _refine_view(
        self, view: fit.ViewLikelihood, place: float, common: Float, spread: float
    ) -> tuple[float, float, float, float]:
        """Climb in (defocus, astigmatism) by shrinking grids, with a Gaussian around the common astigmatism."""
        x = np.array([place, *common])
        score = -np.inf
        for step in (2.0, 1.0, 0.5, 0.25):
            for _ in range(3):
                axes = [x[i] + step * np.arange(-2, 3) for i in range(3)]
                d, a, b = np.meshgrid(*axes, indexing="ij")
                prior = -0.5 * ((a - common[0]) ** 2 + (b - common[1]) ** 2) / spread**2
                total = fit.astigmatic_ratio(view, d, a, b, self.spectra.bins.azimuth_deg) + prior
                i = np.unravel_index(int(np.argmax(total)), total.shape)
                moved = np.array([d[i], a[i], b[i]])
                score = float(total[i] - prior[i])
                if np.allclose(moved, x):
                    break
                x = moved
        return float(x[0]), float(x[1]), float(x[2]), score

    def _polish(self, views: list[fit.ViewLikelihood], place: NDArray[np.int64]) -> Float:
        """Return defocus between grid points, where the views' own likelihood has its peak there."""
        out = self.grid[place].astype(np.float64)
        for i, (view, at) in enumerate(zip(views, place, strict=True)):
            ratio = view.ratio()
            if 0 < at < len(ratio) - 1:
                bend = ratio[at - 1] - 2 * ratio[at] + ratio[at + 1]
                if bend < 0 and ratio[at] >= max(ratio[at - 1], ratio[at + 1]):
                    out[i] += 0.5 * (ratio[at - 1] - ratio[at + 1]) / bend * STEP_ANGSTROM
        return out


def _local_median(place: NDArray[np.int64], weight: Float, i: int, fallback: float) -> float:
    """Return the weighted median of the neighbours in tilt, the view itself left out."""
    index = np.arange(len(place))
    near = (np.abs(index - i) <= FEW_VIEWS_WINDOW) & (index != i)
    if not near.any():
        return fallback
    order = np.argsort(place[near], kind="stable")
    values, cumulative = place[near][order], np.cumsum(weight[near][order])
    return float(values[np.searchsorted(cumulative, 0.5 * cumulative[-1])])
