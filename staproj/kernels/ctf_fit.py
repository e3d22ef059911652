"""Fit defocus, astigmatism and the sign of the defocus gradient to the Thon rings of a tilt series.

Every tile of every view has its own defocus, ``view + hand * depth + astigmatism(azimuth)``. Spectra of tiles
are whitened, averaged in bins of depth and azimuth, and compared with the model

    S(k) - 1 = smooth(k) + E(k) CTF²(k; defocus)

whose log-likelihood ``sum n (S x - x²/2)``, x = E CTF² freed of the smooth part, is tabulated once over a
grid of defocus. The likelihood of a view for any defocus, astigmatism and hand is then a sum of table
look-ups, and those of views can be added. The scheme is ours; tile-wise spectra of tilted specimens go
back to CTFFIND's tilt option (Rohou & Grigorieff 2015), the whitening by a smooth fit to CTFFIND too.
Frequencies in 1/Å, lengths and defocus in Å.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import scipy.sparse
from numpy.typing import NDArray

from staproj.kernels.ctf import ctf_1d

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

# Overlapping tapered tiles share pixels and a taper correlates neighbouring coefficients; both make the
# count of spectral values larger than what is independent. Measured on white noise.
INDEPENDENT_FRACTION = 0.3


@dataclass(frozen=True, eq=False)
class SpectrumBins:
    """Rings and sectors of a tile's half-plane spectrum.

    ``average`` is a sparse ``[sector * ring, pixel]`` matrix of means, ``count`` how many coefficients each
    holds; ``frequency`` the root-mean-square frequency of every ring (1/Å); ``azimuth_deg`` the middle of
    every sector, from +x to +y.
    """

    average: Any
    count: Float
    frequency: Float
    azimuth_deg: Float

    def without_sectors(self) -> SpectrumBins:
        """Return the same rings as one sector (``average`` is kept as it is)."""
        return SpectrumBins(self.average, self.count.sum(axis=0)[None], self.frequency, np.zeros(1))


def tile_positions(shape_yx: tuple[int, int], tile: int) -> NDArray[np.int64]:
    """Return first pixels x, y of tiles that cover an image with at least half overlap, ``[tile, 2]``."""
    axes = []
    for n in (shape_yx[1], shape_yx[0]):
        steps = max(1, int(np.ceil((n - tile) / (tile / 2)))) if n > tile else 0
        axes.append(np.rint(np.linspace(0, n - tile, steps + 1)).astype(np.int64))
    x, y = np.meshgrid(axes[0], axes[1])
    return np.stack([x.ravel(), y.ravel()], axis=1)


def spectrum_bins(
    tile: int, pixel_size_angstrom: float, lowest: float, highest: float, n_sectors: int
) -> SpectrumBins:
    """Lay rings of one Fourier pixel and sectors of 180 / n degrees over a tile's half-plane."""
    fy = np.fft.fftfreq(tile)[:, None]
    fx = np.fft.rfftfreq(tile)[None, :]
    k = np.hypot(fy, fx) / pixel_size_angstrom
    step = 1.0 / (tile * pixel_size_angstrom)
    first = int(np.ceil(lowest / step))
    n_rings = int(highest / step) - first + 1
    ring = np.rint(k / step).astype(np.int64) - first
    width = 180.0 / n_sectors
    sector = np.floor(np.rad2deg(np.arctan2(fy, fx)) % 180.0 / width).astype(np.int64) % n_sectors
    doubled = (fx == 0) & (fy < 0)  # both halves of the column x = 0 are in the half-plane
    inside = (ring >= 0) & (ring < n_rings) & ~doubled
    label = (sector * n_rings + ring)[inside]
    pixel = np.flatnonzero(inside.ravel())
    count = np.bincount(label, minlength=n_sectors * n_rings).astype(np.float64)
    matrix = scipy.sparse.csr_matrix(
        ((1.0 / count[label]).astype(np.float32), (label, pixel)), shape=(n_sectors * n_rings, k.size)
    )
    power = np.bincount(ring[inside], weights=k[inside] ** 2, minlength=n_rings)
    frequency: Float = np.sqrt(power / np.maximum(np.bincount(ring[inside], minlength=n_rings), 1))
    return SpectrumBins(
        matrix,
        count.reshape(n_sectors, n_rings),
        frequency,
        (np.arange(n_sectors, dtype=np.float64) + 0.5) * width,
    )


def tile_spectra(image: Float32, positions: NDArray[np.int64], tile: int, bins: SpectrumBins) -> Float:
    """Return power of tapered tiles in rings and sectors, ``[tile, sector, ring]``, each tile's mean 1."""
    axis = np.hanning(tile + 2)[1:-1]
    window = np.outer(axis, axis).astype(np.float32)
    out = np.empty((len(positions), *bins.count.shape))
    for i, (x, y) in enumerate(positions):
        patch = image[y : y + tile, x : x + tile]
        patch = (patch - patch.mean()) * window
        power = np.abs(scipy.fft.rfft2(patch)).astype(np.float32) ** 2
        total = (bins.average @ power.ravel()).reshape(bins.count.shape)
        middle = np.average(total, weights=bins.count)
        out[i] = total / middle if middle > 0 else 1.0
    return out


def smooth_spectrum(frequency: Float, spectrum: Float, weight: Float, degree: int) -> Float:
    """Fit a polynomial of ``log k`` to ``log S`` by weighted least squares; return its exponential."""
    x = np.log(frequency)
    x = 2 * (x - x.min()) / (x.max() - x.min()) - 1
    basis = np.polynomial.legendre.legvander(x, degree)
    root = np.sqrt(weight / weight.sum())
    coefficients = np.linalg.lstsq(
        basis * root[:, None], np.log(np.maximum(spectrum, 1e-12)) * root, rcond=None
    )[0]
    fitted: Float = np.exp(basis @ coefficients)
    return fitted


@dataclass(frozen=True, eq=False)
class Optics:
    """What a CTF needs beside the defocus; ``phase_shift_deg`` 0 without a phase plate."""

    voltage_kv: float
    spherical_aberration_mm: float
    amplitude_contrast: float
    phase_shift_deg: float = 0.0


@dataclass(frozen=True, eq=False)
class ThonTable:
    """Model spectra on a grid of defocus (equal steps, Å).

    ``model`` is ``[defocus, ring]``, E CTF² freed of its smooth part; ``power`` is ``sum n model²`` a sector,
    ``[defocus]``, n the mean count of a sector's ring.
    """

    defocus: Float
    model: Float32
    power: Float

    @property
    def step(self) -> float:
        """Spacing of the defocus grid, Å."""
        return float(self.defocus[1] - self.defocus[0])


def thon_table(defocus: Float, bins: SpectrumBins, envelope: Float, optics: Optics, degree: int) -> ThonTable:
    """Tabulate ``envelope(k) CTF²(k)`` without what a polynomial of ``degree`` in k explains."""
    squared = _squared_ctf(bins.frequency[None, :], defocus[:, None], optics) * envelope
    count = bins.count.mean(axis=0)
    basis = smooth_basis(bins.frequency, count, degree)
    model = squared - ((squared * count) @ basis) @ basis.T
    return ThonTable(defocus, model.astype(np.float32), np.sum(count * model**2, axis=1))


def smooth_basis(frequency: Float, weight: Float, degree: int) -> Float:
    """Return polynomials of k, orthonormal under ``weight``: ``[ring, degree + 1]``."""
    x = 2 * (frequency - frequency.min()) / (frequency.max() - frequency.min()) - 1
    root = np.sqrt(weight)[:, None]
    q, _ = np.linalg.qr(np.polynomial.legendre.legvander(x, degree) * root)
    return q / root


def _squared_ctf(frequency: Float, defocus: Float, optics: Optics) -> Float:
    value: Float = ctf_1d(
        frequency, defocus, voltage_kv=optics.voltage_kv,
        spherical_aberration_mm=optics.spherical_aberration_mm,
        amplitude_contrast=optics.amplitude_contrast, phase_shift_deg=optics.phase_shift_deg,
    ) ** 2  # fmt: skip
    return value


@dataclass(frozen=True, eq=False)
class ViewLikelihood:
    """Overlap of one view's spectra with the model, and the model's power, both ``[sector, defocus]``.

    The log-likelihood ratio against "no rings", with the amplitude of rings free but positive, is
    ``max(overlap, 0)² / (2 power)``, each summed over sectors at their own defocus.
    """

    overlap: Float
    power: Float

    def ratio(self) -> Float:
        """Return the log-likelihood ratio on the grid, for one defocus in all sectors (no astigmatism)."""
        return likelihood_ratio(self.overlap.sum(axis=0), self.power.sum(axis=0))


def likelihood_ratio(overlap: Float, power: Float) -> Float:
    """Return ``max(overlap, 0)² / (2 power)``, counting only what is independent of the spectral values."""
    ratio: Float = INDEPENDENT_FRACTION * np.maximum(overlap, 0.0) ** 2 / (2 * np.maximum(power, 1e-12))
    return ratio


def view_likelihood(
    residual: Float32, offset: Float, bins: SpectrumBins, table: ThonTable, grid: slice
) -> ViewLikelihood:
    """Look up a view's spectra in the table.

    Parameters
    ----------
    residual
        ``[tile, sector, ring]``, whitened spectra minus 1.
    offset
        ``[tile]``, what tiles add to the view's defocus (Å; hand included).
    grid
        The part of the table's defocus that stands for the view's own defocus; with any tile's offset it
        must stay inside of the table.

    Raises
    ------
    ValueError
        If an offset leads out of the table.
    """
    shift = np.rint(offset / table.step).astype(np.int64)
    if grid.start + shift.min() < 0 or grid.stop + shift.max() > len(table.defocus):
        raise ValueError("the table of defocus is too short for these offsets")
    weighted = (residual * bins.count.astype(np.float32)).reshape(-1, residual.shape[2])
    products = (weighted @ table.model.T).reshape(*residual.shape[:2], -1)
    overlap = np.zeros((residual.shape[1], grid.stop - grid.start))
    power = np.zeros(grid.stop - grid.start)
    for tile, moved in enumerate(shift):
        overlap += products[tile, :, grid.start + moved : grid.stop + moved]
        power += table.power[grid.start + moved : grid.stop + moved]
    share = bins.count.sum(axis=1) / bins.count.mean(axis=0).sum()
    return ViewLikelihood(overlap, share[:, None] * power)


def regress_envelope(
    residual: Float, expected: Float, weight: Float, frequency: Float, width: float
) -> Float:
    """Return how strong rings are at each frequency: the slope of ``residual`` on ``expected``, at least 0.

    All are ``[..., ring]``; ``width`` is the SD of the Gaussian neighbourhood, 1/Å.
    """
    cross = (weight * residual * expected).reshape(-1, len(frequency)).sum(axis=0)
    square = (weight * expected**2).reshape(-1, len(frequency)).sum(axis=0)
    near = np.exp(-0.5 * ((frequency[:, None] - frequency[None, :]) / width) ** 2)
    slope: Float = (near @ cross) / np.maximum(near @ square, 1e-12)
    return np.maximum(slope, 0.0)


def shared_defocus_evidence(ratios: Float, spread: float, outliers: float = 0.05) -> Float:
    """Return the log-evidence of each grid defocus being the centre of all views'.

    ``ratios`` is ``[view, defocus]``; views scatter around the centre by a Gaussian of ``spread`` grid
    steps, a fraction of ``outliers`` anywhere.
    """
    reach = int(np.ceil(4 * spread))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / spread) ** 2)
    kernel /= kernel.sum()
    total = np.zeros(ratios.shape[1])
    for ratio in ratios:
        top = ratio.max()
        likelihood = np.exp(ratio - top)
        near = np.convolve(np.pad(likelihood, reach, mode="edge"), kernel, mode="valid")
        total += np.log((1 - outliers) * near + outliers * likelihood.mean()) + top
    return total


def most_likely(ratio: Float, expected_index: float, spread: float, outliers: float = 0.05) -> int:
    """Return the grid index of a view's most probable defocus, given where its neighbours put it."""
    index = np.arange(len(ratio))
    prior = np.exp(-0.5 * ((index - expected_index) / spread) ** 2) / (np.sqrt(2 * np.pi) * spread)
    return int(np.argmax(ratio + np.log((1 - outliers) * prior + outliers / len(ratio))))


def astigmatic_ratio(
    view: ViewLikelihood, index: Float, along: Float, across: Float, azimuth_deg: Float
) -> Float:
    """Return the likelihood ratio for defocus ``index + along cos 2a + across sin 2a`` (grid steps)."""
    angle = 2 * np.deg2rad(azimuth_deg)
    last = view.overlap.shape[1] - 1
    overlap: Any = 0.0
    power: Any = 0.0
    for sector, (c, s) in enumerate(zip(np.cos(angle), np.sin(angle), strict=True)):
        place = np.clip(index + along * c + across * s, 0, last - 1e-6)
        low = place.astype(np.int64)
        part = place - low
        overlap = overlap + view.overlap[sector, low] * (1 - part) + view.overlap[sector, low + 1] * part
        power = power + view.power[sector, low] * (1 - part) + view.power[sector, low + 1] * part
    return likelihood_ratio(overlap, power)


def equiphase_average(
    residual: Float32, defocus: Float, bins: SpectrumBins, view_defocus: float
) -> tuple[Float, Float]:
    """Average spectra after moving each to the view's defocus: (mean residual, weight), one a ring.

    ``defocus`` is ``[tile, sector]``. A ring at k of a tile lies at ``k sqrt(defocus / view_defocus)``, which
    neglects the spherical aberration's share of the small difference.
    """
    step = float(np.mean(np.diff(bins.frequency)))
    scale = np.sqrt(np.maximum(defocus, 1.0) / view_defocus)
    place = (bins.frequency * scale[..., None] - bins.frequency[0]) / step
    weight = np.broadcast_to(bins.count, residual.shape)
    total, norm = np.zeros(len(bins.frequency)), np.zeros(len(bins.frequency))
    low = np.floor(place).astype(np.int64)
    for ring, share in ((low, 1 - (place - low)), (low + 1, place - low)):
        inside = (ring >= 0) & (ring < len(norm))
        at, w = ring[inside], (weight * share)[inside]
        total += np.bincount(at, weights=w * residual[inside], minlength=len(norm))
        norm += np.bincount(at, weights=w, minlength=len(norm))
    return total / np.maximum(norm, 1e-12), norm


def fit_quality(
    mean: Float, model: Float, weight: Float, frequency: Float, window: int, degree: int
) -> tuple[float, float]:
    """Return the correlation of a view's rings with its fit, and the resolution (Å) up to which it holds.

    What a polynomial of ``degree`` explains does not count, as in the model. Resolution ends where the
    correlation in a sliding window of rings falls below 0.3; it is the coarsest where nothing agrees.
    """
    basis = smooth_basis(frequency, np.maximum(weight, 1e-9), degree)
    observed = mean - ((mean * weight) @ basis) @ basis.T
    score = _correlation(observed, model, weight)
    half = window // 2
    end = 0
    for i in range(half, len(frequency) - half):
        part = slice(i - half, i + half + 1)
        if _correlation(observed[part], model[part], weight[part]) < 0.3:
            break
        end = i + half
    return score, float(1.0 / frequency[end])


def _correlation(a: Float, b: Float, weight: Float) -> float:
    total = max(float(weight.sum()), 1e-12)
    a, b = a - (weight @ a) / total, b - (weight @ b) / total
    norm = float(np.sqrt((weight @ (a * a)) * (weight @ (b * b))))
    return float(weight @ (a * b)) / norm if norm > 0 else 0.0


def mean_power(image: Float32, positions: NDArray[np.int64], tile: int) -> Float:
    """Return the mean power of tapered tiles ``[y, x]`` with zero frequency at ``tile // 2``."""
    axis = np.hanning(tile + 2)[1:-1]
    window = np.outer(axis, axis).astype(np.float32)
    total = np.zeros((tile, tile))
    for x, y in positions:
        patch = image[y : y + tile, x : x + tile]
        total += np.abs(scipy.fft.fft2((patch - patch.mean()) * window)) ** 2
    shifted: Float = scipy.fft.fftshift(total / len(positions))
    return shifted
