"""Drift between the frames of a movie: band-limited cross-correlation of pairs, robust least squares, sums.

Sign: ``drift_yx[f]`` is where the content of frame f lies relative to the reference (+y, +x in pixels);
frames are moved by ``-drift`` before they are added. Shifts are solved from pairs, ``d_ij = s_j - s_i``,
minimising ``sum w_ij |s_j - s_i - d_ij|^2`` with ``sum s = 0`` and Tukey's bisquare weights
``w = (1 - (r / (4.685 MADN))^2)^2`` (Holland & Welsch, Commun. Stat. A6 (1977) 813; the pairwise scheme is
that of Li et al., Nat. Methods 10 (2013) 584), then refined against the sum of the other frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from staproj.kernels.fourier import crop_rfft2, fast_even_length
from staproj.kernels.xp import Array, fft_module, namespace

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Complex64 = NDArray[np.complex64]

BISQUARE_TUNING = 4.685
MAD_TO_SD = 1.4826
_NEWTON_STEPS = 6
_IRLS_STEPS = 12
_SPECTRUM_RINGS = 32
_NOISE_BAND = 0.8  # fraction of Nyquist beyond which frames share nothing but fixed pattern
_FIXED_PATTERN_SIGMAS = 5.0
_SAME_PLACE = 0.9  # without drift, pattern and specimen cannot be told apart (and need not be)


@dataclass(frozen=True)
class DriftOptions:
    """How drift is measured; frequencies in cycles per pixel of the frames handed over.

    ``bfactor_px2`` sets the first weight ``exp(-B k^2 / 4)``; ``highpass`` the width of the Gaussian that
    removes slow gradients, which do not move with the specimen; ``band`` the highest frequency used.
    """

    max_shift_px: float
    bfactor_px2: float = 150.0
    highpass: float = 0.01
    band: float = 0.25
    max_pair_distance: int = 12
    refine_passes: int = 4


@dataclass(frozen=True, eq=False)
class Drift:
    """Measured drift ``[frame, 2]`` (y, x), zero on average, and how well the pairs agree.

    ``pair_residual_px`` is the weighted rms of pairs against the solution, ``pair_weight_mean`` the mean
    bisquare weight, ``fixed_pattern`` the power that frames share whatever their shift, relative to noise.
    """

    drift_yx_px: Float
    pair_residual_px: float
    pair_weight_mean: float
    fixed_pattern: float


@dataclass(frozen=True, eq=False)
class _Band:
    """Frequencies and weights of a cropped half transform."""

    ky: Float
    kx: Float
    weight: Float32
    highpass: Float
    ring: NDArray[np.int64]
    shape: tuple[int, int]


def measure_drift(frames: Float32, options: DriftOptions) -> Drift:
    """Measure the drift of frames ``[frame, y, x]`` (even sizes; reduced to about 1000 pixels by the caller).

    Raises
    ------
    ValueError
        If there are no frames or a size is odd.
    """
    n = frames.shape[0]
    if n < 1 or frames.shape[1] % 2 or frames.shape[2] % 2:
        raise ValueError(f"frames must have even sizes, got {frames.shape}")
    if n == 1:
        return Drift(np.zeros((1, 2)), 0.0, 1.0, 0.0)
    full, band = _transforms(frames, options)
    pattern, _ = _fixed_pattern(full)
    coefficients = crop_rfft2(full, (frames.shape[1], frames.shape[2]), band.shape)
    reach = n - 1 if n <= options.max_pair_distance + 1 else options.max_pair_distance
    pairs = np.array([(i, j) for i, j in combinations(range(n), 2) if j - i <= reach])
    drift, residual, weights = _solve_from_pairs(coefficients, band, pairs, pattern, options)
    pattern, ratio = _fixed_pattern(full, drift)
    # The first weight is a guess; what the aligned frames share shows the right one.
    better = _measured_weight(coefficients, drift, band, pattern)
    if better is not None:
        band = replace(band, weight=better)
    if better is not None or pattern:
        drift, residual, weights = _solve_from_pairs(coefficients, band, pairs, pattern, options)
    for _ in range(options.refine_passes):
        drift = _refine(coefficients, band, drift, pattern)
    return Drift(drift, residual, float(weights.mean()), ratio)


def _transforms(frames: Float32, options: DriftOptions) -> tuple[Complex64, _Band]:
    """Half transforms of tapered frames with mean 0, and the band that is used of them."""
    ny, nx = frames.shape[1:]
    window = np.outer(_taper(ny), _taper(nx)).astype(np.float32)
    mean = (frames * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    full = scipy.fft.rfft2((frames - mean) * window, axes=(1, 2)).astype(np.complex64)
    shape = (_band_length(ny, options.band), _band_length(nx, options.band))
    ky = np.fft.fftfreq(shape[0]) * shape[0] / ny
    kx = np.fft.rfftfreq(shape[1]) * shape[1] / nx
    k2 = ky[:, None] ** 2 + kx[None, :] ** 2
    highpass = -np.expm1(-0.5 * k2 / options.highpass**2)
    weight = np.exp(-0.25 * options.bfactor_px2 * k2) * highpass
    weight[k2 > options.band**2] = 0.0
    ring = np.minimum(np.sqrt(k2) / options.band * _SPECTRUM_RINGS, _SPECTRUM_RINGS).astype(np.int64)
    return full, _Band(ky, kx, weight.astype(np.float32), highpass, ring, shape)


def _taper(n: int) -> Float:
    """Cosine edge over an eighth of each side, so that borders do not correlate at zero shift."""
    edge = max(n // 8, 1)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
    window = np.ones(n)
    window[:edge], window[n - edge :] = ramp, ramp[::-1]
    return window


def _band_length(n: int, band: float) -> int:
    return min(n, fast_even_length(max(8, int(np.ceil(2 * band * n)) + 2)))


def _fixed_pattern(full: Complex64, drift: Float | None = None) -> tuple[float, float]:
    """Power per coefficient that all frames share at zero shift: errors of the gain reference.

    They are white, so the outer band shows them. What frames share there at zero shift is
    ``Z = P + a S``, and what they share when aligned ``A = S + a P``, with S the specimen's own power and
    ``a`` the mean of ``cos(2 pi k.(s_i - s_j))``; without ``drift`` S is taken as 0.
    Returns (P, its ratio to the noise power), zeros where P is not significant or cannot be told.
    """
    n = len(full)
    ky = np.fft.fftfreq(full.shape[1])[:, None]
    kx = np.fft.rfftfreq(2 * (full.shape[2] - 1))[None, :]
    outer = np.hypot(ky, kx) > 0.5 * _NOISE_BAND
    values = full[:, outer]
    power = float((np.abs(values) ** 2).mean())
    own = (np.abs(values) ** 2).sum(axis=0)
    shared = (np.abs(values.sum(axis=0)) ** 2 - own) / (n * (n - 1))
    pattern, error = float(shared.mean()), float(shared.std()) / np.sqrt(shared.size)
    if drift is not None:
        y, x = np.broadcast_to(ky, outer.shape)[outer], np.broadcast_to(kx, outer.shape)[outer]
        phase = np.exp(2j * np.pi * (y * drift[:, :1] + x * drift[:, 1:])).astype(np.complex64)
        aligned = float(((np.abs((values * phase).sum(axis=0)) ** 2 - own) / (n * (n - 1))).mean())
        like = float(((np.abs(phase.sum(axis=0)) ** 2 - n) / (n * (n - 1))).mean())
        if abs(like) > _SAME_PLACE:
            return 0.0, 0.0
        pattern = (pattern - like * aligned) / (1.0 - like**2)
        error /= 1.0 - like**2
    if power <= 0 or pattern < _FIXED_PATTERN_SIGMAS * error:
        return 0.0, 0.0
    return pattern, pattern / power


def _solve_from_pairs(
    coefficients: Complex64,
    band: _Band,
    pairs: NDArray[np.int64],
    pattern: float,
    options: DriftOptions,
) -> tuple[Float, float, Float]:
    measured = np.zeros((len(pairs), 2))
    for row, (i, j) in enumerate(pairs):
        cross = (coefficients[j] * np.conj(coefficients[i]) - np.float32(pattern)) * band.weight
        measured[row] = _newton_peak(cross, band, _coarse_peak(cross, band, options.max_shift_px))
    return solve_pairs(len(coefficients), pairs, measured)


def _coarse_peak(cross: Complex64, band: _Band, max_shift_px: float) -> Float:
    """Highest pixel of the correlation within the allowed shift, in frame pixels (y, x)."""
    correlation = scipy.fft.irfft2(cross, s=band.shape)
    # One sample of the cropped transform is this many frame pixels.
    step = np.array([1.0 / (2 * np.abs(band.ky).max()), 1.0 / (2 * band.kx[-1])])
    offset = [np.fft.fftfreq(m) * m * s for m, s in zip(band.shape, step, strict=True)]
    allowed = np.hypot(offset[0][:, None], offset[1][None, :]) <= max_shift_px
    best = np.unravel_index(np.where(allowed, correlation, -np.inf).argmax(), band.shape)
    return np.array([offset[0][best[0]], offset[1][best[1]]])


def _newton_peak(cross: Complex64, band: _Band, start: Float) -> Float:
    """Climb to the maximum of ``Re sum C exp(2 pi i k.s)``, exact at any shift."""
    shift = start.copy()
    limit = 0.5 / np.abs(band.ky).max()
    for _ in range(_NEWTON_STEPS):
        gradient, hessian = _derivatives(cross, band, shift)
        if not (hessian[0, 0] < 0 and np.linalg.det(hessian) > 0):
            break
        step = -np.linalg.solve(hessian, gradient)
        step *= min(1.0, limit / max(float(np.abs(step).max()), 1e-12))
        shift = shift + step
        if np.abs(step).max() < 1e-4:
            break
    # Far from where the climb began there is another peak, not this one.
    return shift if np.abs(shift - start).max() <= 3 * limit else start


def _derivatives(cross: Complex64, band: _Band, shift: Float) -> tuple[Float, Float]:
    """Gradient and Hessian of ``Re sum C exp(2 pi i k.s)`` over the full plane."""
    half = np.where(band.kx == 0, 1.0, 2.0)  # the other half of a real image's transform
    py = np.exp(2j * np.pi * band.ky * shift[0])
    px = half * np.exp(2j * np.pi * band.kx * shift[1])
    sums = _phase_sums(cross, py, px, band.ky, band.kx)
    gradient = -2.0 * np.pi * sums[:2]
    hessian = -((2.0 * np.pi) ** 2) * np.array([[sums[2], sums[3]], [sums[3], sums[4]]])
    return gradient, hessian


@njit(cache=True, nogil=True)
def _phase_sums(
    cross: Complex64, py: NDArray[np.complex128], px: NDArray[np.complex128], ky: Float, kx: Float
) -> Float:
    """Add up C e^{..} times ky (imaginary), kx (imaginary), ky^2, ky kx, kx^2 (real)."""
    out = np.zeros(5)
    for y in range(cross.shape[0]):
        plain, once, twice = 0.0j, 0.0j, 0.0j
        for x in range(cross.shape[1]):
            term = cross[y, x] * px[x]
            plain += term
            once += kx[x] * term
            twice += kx[x] * kx[x] * term
        plain, once, twice = plain * py[y], once * py[y], twice * py[y]
        out[0] += ky[y] * plain.imag
        out[1] += once.imag
        out[2] += ky[y] * ky[y] * plain.real
        out[3] += ky[y] * once.real
        out[4] += twice.real
    return out


def solve_pairs(n_frames: int, pairs: NDArray[np.int64], measured: Float) -> tuple[Float, float, Float]:
    """Solve ``s_j - s_i = d_ij`` (``pairs [m, 2]`` = i, j) robustly, with ``sum s = 0``.

    Returns
    -------
    tuple
        Shifts ``[frame, 2]``, weighted rms residual of a pair, bisquare weights ``[m]``.
    """
    design = np.zeros((len(pairs), n_frames))
    design[np.arange(len(pairs)), pairs[:, 0]] = -1.0
    design[np.arange(len(pairs)), pairs[:, 1]] = 1.0
    weight: Float = np.ones(len(pairs))
    shifts: Float = np.zeros((n_frames, measured.shape[1]))
    for _ in range(_IRLS_STEPS):
        normal = design.T @ (weight[:, None] * design) + np.ones((n_frames, n_frames)) / n_frames
        normal += 1e-6 * np.eye(n_frames)  # a frame whose pairs were all refused must not stop the rest
        solved = np.linalg.solve(normal, design.T @ (weight[:, None] * measured))
        new = np.asarray(solved, dtype=np.float64)
        residual = np.asarray(np.hypot(*(measured - design @ new).T), dtype=np.float64)
        # The floor keeps perfect agreement from refusing everything; MADN of a length is about its SD.
        scale = max(MAD_TO_SD * float(np.median(residual)), 0.02)
        weight = np.maximum(1.0 - (residual / (BISQUARE_TUNING * scale)) ** 2, 0.0) ** 2
        done = np.abs(new - shifts).max() < 1e-4
        shifts = new
        if done:
            break
    rms = float(np.sqrt((weight * residual**2).sum() / max(weight.sum(), 1e-9)))
    return shifts - shifts.mean(axis=0), rms, weight


def _measured_weight(coefficients: Complex64, drift: Float, band: _Band, pattern: float) -> Float32 | None:
    """Weight ``S / N^2`` from rings: what aligned frames share, over the square of their power."""
    n = len(coefficients)
    total = np.zeros(coefficients.shape[1:], dtype=np.complex64)
    power = np.zeros(coefficients.shape[1:], dtype=np.float32)
    ghost = np.zeros(coefficients.shape[1:], dtype=np.complex64)
    for values, shift in zip(coefficients, drift, strict=True):
        phase = _phases(band, -shift)
        total += values * phase
        ghost += phase
        power += np.abs(values) ** 2
    shared = (np.abs(total) ** 2 - power - pattern * (np.abs(ghost) ** 2 - n)) / (n * (n - 1))
    power /= n
    count = np.bincount(band.ring.ravel(), minlength=_SPECTRUM_RINGS + 1)[:_SPECTRUM_RINGS]
    sums = [
        np.bincount(band.ring.ravel(), what.ravel(), _SPECTRUM_RINGS + 1)[:_SPECTRUM_RINGS]
        for what in (shared, power)
    ]
    signal, noise = (one / np.maximum(count, 1) for one in sums)
    smooth: Float = np.convolve(np.pad(signal, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    # A ring counts where its mean over pairs stands above what noise alone would give.
    error = noise / np.sqrt(np.maximum(count, 1) * n * (n - 1) / 2)
    smooth = np.where(smooth > 2.0 * error, smooth, 0.0)
    if np.count_nonzero(smooth) < 3:
        return None
    per_ring = np.append(smooth / np.maximum(noise, 1e-30) ** 2, 0.0)
    weight = per_ring[band.ring] * band.highpass
    return np.asarray(weight / weight.max(), dtype=np.float32)


def _phases(band: _Band, shift: Float) -> Complex64:
    """Factors that move content by ``+shift`` (y, x)."""
    y = np.exp(-2j * np.pi * band.ky * shift[0]).astype(np.complex64)
    x = np.exp(-2j * np.pi * band.kx * shift[1]).astype(np.complex64)
    factors: Complex64 = y[:, None] * x[None, :]
    return factors


def _refine(coefficients: Complex64, band: _Band, drift: Float, pattern: float) -> Float:
    """Move each frame to the maximum of its correlation with the sum of all others."""
    aligned = np.stack([values * _phases(band, -s) for values, s in zip(coefficients, drift, strict=True)])
    total = aligned.sum(axis=0)
    new = drift.copy()
    for f in range(len(coefficients)):
        others = total - aligned[f]
        ghost = sum(_phases(band, -new[g]) for g in range(len(new)) if g != f) if pattern else 0.0
        cross = (coefficients[f] * np.conj(others) - np.float32(pattern) * np.conj(ghost)) * band.weight
        new[f] = _newton_peak(cross, band, new[f])
        total -= aligned[f]
        aligned[f] = coefficients[f] * _phases(band, -new[f])
        total += aligned[f]
    return np.asarray(new - new.mean(axis=0))


def block_mean(image: Float32, factor: int) -> Float32:
    """Shrink an image by averaging blocks, after cutting it (about its centre) to an even number of them."""
    size = [2 * (n // (2 * factor)) * factor for n in image.shape]
    start = [(n - m) // 2 for n, m in zip(image.shape, size, strict=True)]
    cut = image[start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
    if factor == 1:
        return np.ascontiguousarray(cut)
    blocks = cut.reshape(size[0] // factor, factor, size[1] // factor, factor)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def padded_shape(shape_yx: tuple[int, int]) -> tuple[int, int]:
    """Return the even size, quick for FFTs, that frames of ``shape_yx`` are padded to."""
    return fast_even_length(shape_yx[0]), fast_even_length(shape_yx[1])


def shifted_transform(frame: Array, shape: tuple[int, int], shift_yx_px: tuple[float, float]) -> Array:
    """Return the ``rfft2`` of a frame padded to ``shape`` with its mean, its content moved by ``+shift``.

    Works on arrays of any library.
    """
    xp = namespace(frame)
    ny, nx = frame.shape
    if (ny, nx) != shape:
        padded = xp.full(shape, float(xp.mean(frame)), dtype=frame.dtype)
        padded[:ny, :nx] = frame
        frame = padded
    transform = fft_module(frame).rfftn(frame, axes=(-2, -1))
    if shift_yx_px[0] == 0.0 and shift_yx_px[1] == 0.0:
        return transform
    y = _axis_phase(np.fft.fftfreq(shape[0])[:, None], shift_yx_px[0])
    x = _axis_phase(np.fft.rfftfreq(shape[1])[None, :], shift_yx_px[1])
    transform *= xp.astype(xp.asarray(y), transform.dtype)
    transform *= xp.astype(xp.asarray(x), transform.dtype)
    return transform


def ring_correlation(first: Complex64, second: Complex64, shells: NDArray[np.int64]) -> Float:
    """Correlate two half transforms ring by ring, from ring 0 to the last but one of ``shells``.

    ``shells`` numbers the ring of every coefficient; its highest number collects what is not wanted.
    """
    n = int(shells.max()) + 1
    flat = shells.ravel()
    cross = np.bincount(flat, (first * np.conj(second)).real.ravel(), n)
    power = [np.bincount(flat, (np.abs(one) ** 2).ravel(), n) for one in (first, second)]
    product = np.sqrt(power[0] * power[1])
    ring: Float = np.where(product > 0, cross / np.maximum(product, 1e-30), 0.0)
    return ring[:-1]


def _axis_phase(frequency: NDArray[np.floating], shift: float) -> Complex64:
    phase: Complex64 = np.exp(-2j * np.pi * frequency * shift).astype(np.complex64)
    return phase
