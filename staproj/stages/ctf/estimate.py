"""From spectra of tiles to the defocus of every view: joint fit of one tilt series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import staproj.kernels.ctf_fit as fit

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

STEP_ANGSTROM = 50.0  # of defocus: 0.12 rad of CTF phase at 5 Å
ENVELOPES_ANGSTROM = (6.0, 12.0, 20.0)  # first guesses of how rings fade, exp(-(k w)²)
FEW_VIEWS_WINDOW = 3
MIN_EVIDENCE = (
    30.0  # log-likelihood above the median of all defocus; the structure of a VLP alone can give 20
)
PLAIN_EVIDENCE = 5.0  # a view: so much is no accident even where the hand cannot be told
MIN_VIEW_EVIDENCE = 4.0
MIN_HAND_DIFFERENCE = 6.0
ASTIGMATISM_SPREAD_UM = 0.02
NOMINAL_SPREAD_UM = 0.5
NOMINAL_LIMIT = 20.0  # rings that are plainly there outweigh any nominal defocus


@dataclass(frozen=True, eq=False)
class SeriesSpectra:
    """Whitened spectra minus 1, ``[view][tile, sector, ring]``, and the depth of tile centres (Å)."""

    residual: list[Float32]
    depth_angstrom: list[Float]
    bins: fit.SpectrumBins
    optics: fit.Optics
    smooth_degree: int

    def without_sectors(self) -> SeriesSpectra:
        """Return the spectra averaged over azimuth, which is all that is needed where astigmatism is not."""
        total = self.bins.count.sum(axis=0)
        share = (self.bins.count / total).astype(np.float32)
        merged = [np.einsum("tsk,sk->tk", residual, share)[:, None] for residual in self.residual]
        return SeriesSpectra(
            merged, self.depth_angstrom, self.bins.without_sectors(), self.optics, self.smooth_degree
        )


@dataclass(frozen=True, eq=False)
class SeriesFit:
    """Mean defocus and astigmatism of each view (Å; ``along`` cos 2a + ``across`` sin 2a), and evidence.

    Where rings were too weak (``measured`` False), the defocus is the nominal one if that is known.
    """

    defocus: Float
    along: Float
    across: Float
    hand: int
    evidence: Float
    series_evidence: float
    hand_difference: float
    envelope: Float
    measured: bool
    scan_defocus: Float
    scan: Float


class SeriesFitter:
    """Fit one tilt series; limits and spreads in Å."""

    def __init__(
        self, spectra: SeriesSpectra, limits: tuple[float, float], spread: float, nominal: float | None,
        check: Callable[[], None],
    ) -> None:  # fmt: skip
        self.spectra, self.check = spectra, check
        self.flat = spectra.without_sectors()
        reach = max(float(np.abs(depth).max()) for depth in spectra.depth_angstrom) + STEP_ANGSTROM
        n_pad = int(np.ceil(reach / STEP_ANGSTROM))
        count = max(8, round((limits[1] - limits[0]) / STEP_ANGSTROM) + 1)
        self.table_defocus: Float = limits[0] + STEP_ANGSTROM * np.arange(
            -n_pad, count + n_pad, dtype=np.float64
        )
        self.part = slice(n_pad, n_pad + count)
        self.grid: Float = self.table_defocus[self.part]
        self.spread = spread / STEP_ANGSTROM
        self.nominal = nominal

    def solve(self, hands: tuple[int, ...], astigmatism_max: float) -> SeriesFit:
        """Choose envelope and hand, then refine defocus and astigmatism of each view."""
        frequency = self.spectra.bins.frequency
        trials = [np.exp(-((frequency * width) ** 2)) for width in ENVELOPES_ANGSTROM]
        _, hand, envelope = self._ranking(trials, hands)[0]
        for _ in range(2):
            places = self._places(self._views(self.flat, envelope, hand))
            envelope = self._envelope(hand, self.grid[places].astype(np.float64))
            ranking = self._ranking([envelope], hands)
            hand = ranking[0][1]
        other = ranking[1][0] if len(ranking) > 1 else self._ranking([envelope], (-hand,))[0][0]
        flat = self._views(self.flat, envelope, hand)
        ratios = np.array([view.ratio() for view in flat])
        plain = fit.shared_defocus_evidence(ratios, self.spread, outliers=1e-30)
        strength = float(plain.max() - np.median(plain))
        place = self._places(flat)
        defocus = self.grid[place].astype(np.float64)
        evidence = ratios[np.arange(len(place)), place]
        difference = ranking[0][0] - other
        sure = difference >= MIN_HAND_DIFFERENCE or strength >= PLAIN_EVIDENCE * len(place)
        measured = strength >= MIN_EVIDENCE and sure
        if not measured and self.nominal is not None:
            defocus[:], evidence[:], hand = self.nominal, 0.0, -1
        result = SeriesFit(
            defocus=defocus, along=np.zeros(len(place)), across=np.zeros(len(place)), hand=hand,
            evidence=evidence, series_evidence=strength, hand_difference=difference,
            envelope=envelope, measured=measured,
            scan_defocus=self.grid, scan=plain,
        )  # fmt: skip
        if not measured:
            return result
        trusted = evidence > MIN_VIEW_EVIDENCE
        views = self._views(self.spectra, envelope, hand)
        return self._astigmatism(result, views, place, trusted, 0.5 * astigmatism_max / STEP_ANGSTROM)

    def _views(self, spectra: SeriesSpectra, envelope: Float, hand: int) -> list[fit.ViewLikelihood]:
        table = fit.thon_table(
            self.table_defocus, spectra.bins, envelope, spectra.optics, spectra.smooth_degree
        )
        out = []
        for residual, depth in zip(spectra.residual, spectra.depth_angstrom, strict=True):
            self.check()
            out.append(fit.view_likelihood(residual, hand * depth, spectra.bins, table, self.part))
        return out

    def _evidence(self, ratios: Float) -> Float:
        """Return the log-evidence of every defocus for the whole series; a nominal one is a prior."""
        curve = fit.shared_defocus_evidence(ratios, self.spread)
        if self.nominal is None:
            return curve
        distance = (self.grid - self.nominal) / (NOMINAL_SPREAD_UM * 1e4)
        return curve - np.minimum(0.5 * distance**2, NOMINAL_LIMIT)

    def _ranking(self, envelopes: list[Float], hands: tuple[int, ...]) -> list[tuple[float, int, Float]]:
        """Return (log-likelihood at the views' best defocus, hand, envelope) of all choices, best first."""
        found = []
        for envelope in envelopes:
            for hand in hands:
                views = self._views(self.flat, envelope, hand)
                place = self._places(views)
                total = sum(float(v.ratio()[i]) for v, i in zip(views, place, strict=True))
                found.append((total, hand, envelope))
        return sorted(found, key=lambda entry: -entry[0])

    def _places(self, views: list[fit.ViewLikelihood]) -> NDArray[np.int64]:
        """Return the grid index of each view's defocus, given its neighbours in tilt."""
        ratios = np.array([v.ratio() for v in views])
        centre = int(np.argmax(self._evidence(ratios)))
        place = np.array([fit.most_likely(r, centre, self.spread) for r in ratios])
        for _ in range(2):
            weight = np.array([r[i] for r, i in zip(ratios, place, strict=True)]) + 0.5
            expected = [_local_median(place, weight, i, centre) for i in range(len(place))]
            place = np.array(
                [fit.most_likely(r, e, self.spread) for r, e in zip(ratios, expected, strict=True)]
            )
        return place

    def _envelope(self, hand: int, defocus: Float) -> Float:
        s = self.flat
        expected = [
            fit.thon_table(
                own + hand * depth, s.bins, np.ones(len(s.bins.frequency)), s.optics, s.smooth_degree
            ).model
            for own, depth in zip(defocus, s.depth_angstrom, strict=True)
        ]
        residual = [part[:, 0] for part in s.residual]
        width = 0.08 * float(s.bins.frequency[-1])
        found = fit.regress_envelope(
            np.concatenate(residual),
            np.concatenate(expected),
            s.bins.count.sum(axis=0),
            s.bins.frequency,
            width,
        )
        return np.asarray(np.maximum(found, 0.05 * max(found.max(), 1e-6)))

    def _astigmatism(
        self, result: SeriesFit, views: list[fit.ViewLikelihood], place: NDArray[np.int64],
        trusted: NDArray[np.bool_], largest: float,
    ) -> SeriesFit:  # fmt: skip
        """Find the series' common astigmatism, then each view's own near it."""
        azimuth = self.spectra.bins.azimuth_deg
        chosen = [(views[i], float(place[i])) for i in np.flatnonzero(trusted)]
        common = np.zeros(2)
        step = largest / 4
        while step > 0.2 and chosen:
            a, b = np.meshgrid(common[0] + step * np.arange(-4, 5), common[1] + step * np.arange(-4, 5))
            moves = np.arange(-12.0, 13.0, 2.0)[
                :, None, None
            ]  # rings blurred by astigmatism mislead a first fit
            score = sum(
                fit.astigmatic_ratio(view, at + moves, a, b, azimuth).max(axis=0) for view, at in chosen
            ) + np.where(np.hypot(a, b) > largest, -np.inf, 0.0)
            i = np.unravel_index(int(np.argmax(score)), a.shape)
            common = np.array([a[i], b[i]])
            step /= 3
        spread = min(0.5 * ASTIGMATISM_SPREAD_UM * 1e4 / STEP_ANGSTROM, largest + 1e-3)
        best = np.array(
            [self._refine_view(v, float(i), common, spread) for v, i in zip(views, place, strict=True)]
        )
        index = np.clip(best[:, 0], 0, len(self.grid) - 1)
        return replace(
            result, defocus=self.grid[0] + STEP_ANGSTROM * index, along=STEP_ANGSTROM * best[:, 1],
            across=STEP_ANGSTROM * best[:, 2], evidence=best[:, 3],
        )  # fmt: skip

    def _refine_view(
        self, view: fit.ViewLikelihood, place: float, common: Float, spread: float
    ) -> tuple[float, float, float, float]:
        """Climb in (defocus, astigmatism) by shrinking grids, held near the common astigmatism."""
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


def _local_median(place: NDArray[np.int64], weight: Float, i: int, fallback: float) -> float:
    """Return the weighted median of the neighbours in tilt, the view itself left out."""
    index = np.arange(len(place))
    near = (np.abs(index - i) <= FEW_VIEWS_WINDOW) & (index != i)
    if not near.any():
        return fallback
    order = np.argsort(place[near], kind="stable")
    values, cumulative = place[near][order], np.cumsum(weight[near][order])
    return float(values[np.searchsorted(cumulative, 0.5 * cumulative[-1])])
