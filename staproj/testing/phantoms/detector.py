"""The detector: counting noise frame by frame, gain, hot pixels and X-rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import DTypeLike, NDArray

from staproj.testing.phantoms.imaging import IdealView
from staproj.testing.phantoms.settings import SessionSettings

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

HOT_PIXEL_FRACTION = 1.5e-4
XRAYS_PER_MEGAPIXEL_VIEW = 12.0


@dataclass(frozen=True, eq=False)
class Detector:
    """``gain`` is multiplied into frames; hot pixels add ``hot_counts`` to every frame at ``hot_yx``."""

    gain: Float32
    hot_yx: tuple[NDArray[np.int64], NDArray[np.int64]]
    hot_counts: Float


@dataclass(frozen=True, eq=False)
class Recording:
    """Raw frames ``[frame, y, x]`` and, if asked for, the sum of perfectly corrected frames ``[y, x]``."""

    frames: NDArray[np.generic]
    ideal: Float32 | None


def build(settings: SessionSettings, rng: np.random.Generator) -> Detector:
    """Draw a detector: smooth shading, pixel scatter, two halves of unequal gain, some hot pixels."""
    ny, nx = settings.image_shape_yx
    y, x = np.mgrid[0:ny, 0:nx] / max(ny, nx) - 0.5
    smooth = 1.0 + 0.06 * x - 0.04 * y + 0.05 * (x * x + y * y)
    smooth[:, nx // 2 :] *= 1.03
    gain = smooth * np.clip(rng.normal(1.0, 0.03, (ny, nx)), 0.85, 1.15)
    n_hot = max(2, round(HOT_PIXEL_FRACTION * ny * nx))
    flat = rng.choice(ny * nx, n_hot, replace=False)
    mean = frame_mean(settings)
    return Detector(
        gain=(gain / gain.mean()).astype(np.float32),
        hot_yx=(flat // nx, flat % nx),
        hot_counts=mean * rng.uniform(1.0, 6.0, n_hot) + 10.0,
    )


def frame_mean(settings: SessionSettings) -> float:
    """Return the electrons a pixel gets in a frame of the empty beam."""
    return settings.exposure_e_per_angstrom2 * settings.pixel_size_angstrom**2 / settings.n_frames


def raw_type(settings: SessionSettings, *, tiff: bool) -> DTypeLike:
    """Return how frames are stored: int16 in MRC; bytes (or uint16 where counts are high) in TIFF."""
    if not tiff:
        return np.int16
    return np.uint8 if frame_mean(settings) < 100 else np.uint16


def record(
    view: IdealView,
    drift_xy_px: Float,
    detector: Detector,
    settings: SessionSettings,
    rng: np.random.Generator,
    *,
    dtype: DTypeLike,
    with_ideal: bool = False,
) -> Recording:
    """Count one view frame by frame while it drifts: content of frame f lies at ``+drift_xy_px[f]``."""
    ny, nx = settings.image_shape_yx
    y0, x0 = view.origin_yx
    shape = view.intensity.shape
    top = np.iinfo(np.dtype(dtype)).max
    transform = scipy.fft.rfft2(view.intensity)
    frames = np.empty((settings.n_frames, ny, nx), dtype=dtype)
    total = np.zeros((ny, nx // 2 + 1), dtype=np.complex64)
    for index, (dx, dy) in enumerate(drift_xy_px):
        moved = scipy.fft.irfft2(transform * _shift_phases(shape, dx, dy), s=shape)[
            y0 : y0 + ny, x0 : x0 + nx
        ]
        expected = np.maximum(moved, 0.0) * frame_mean(settings) / detector.gain
        counts = rng.poisson(expected)
        if with_ideal:
            corrected = (counts * detector.gain).astype(np.float32)
            total += scipy.fft.rfft2(corrected) * _shift_phases((ny, nx), -dx, -dy)
        counts[detector.hot_yx] += rng.poisson(detector.hot_counts)
        _add_xrays(counts, settings, rng)
        frames[index] = np.minimum(counts, top)
    ideal = scipy.fft.irfft2(total, s=(ny, nx)).astype(np.float32) if with_ideal else None
    return Recording(frames, ideal)


def _shift_phases(shape: tuple[int, ...], dx: float, dy: float) -> NDArray[np.complex64]:
    along_y = np.exp(-2j * np.pi * scipy.fft.fftfreq(shape[0]) * dy)
    along_x = np.exp(-2j * np.pi * scipy.fft.rfftfreq(shape[1]) * dx)
    return (along_y[:, None] * along_x[None, :]).astype(np.complex64)


def _add_xrays(counts: NDArray[np.int64], settings: SessionSettings, rng: np.random.Generator) -> None:
    """Add X-ray hits: one to three neighbouring pixels of one frame, far above everything else."""
    ny, nx = counts.shape
    rate = XRAYS_PER_MEGAPIXEL_VIEW * ny * nx / 1e6 / settings.n_frames
    mean = frame_mean(settings) * settings.n_frames
    for _ in range(int(rng.poisson(rate))):
        y, x = int(rng.integers(ny)), int(rng.integers(nx))
        size = int(rng.integers(1, 4))
        strength = int(mean * rng.uniform(1.5, 6.0)) + 50
        if size > 1 and x + 1 < nx:
            counts[y, x + 1] += strength // 2
        if size > 2 and y + 1 < ny:
            counts[y + 1, x] += strength // 3
        counts[y, x] += strength
