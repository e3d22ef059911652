"""What the stage and the lens did: order of tilts, geometry, defocus and drift of one tilt series.

Values are drawn with the statistics of the five published tilt series of EMPIAR-10164 (axis near 85.3 deg and
drifting by about 0.3 deg over the tilts, specimen pre-tilts of several degrees, shifts of up to 4 % of the
image that wander from view to view, defocus 1.5-4 µm that scatters by 0.04 µm, astigmatism near
0.05 µm), or, with ``real_geometry_dir``, taken from RELION 5 star files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from staproj.errors import InputError
from staproj.model.ctf import CtfModel
from staproj.model.geometry import TiltGeometry
from staproj.model.microscope import Microscope
from staproj.testing.phantoms.settings import SessionSettings
from staproj.units import ANGSTROM_PER_UM

Float = NDArray[np.float64]

_IMAGE_OF_REAL_DATA_ANGSTROM = 5000.0
_PRE_TILT_DEG = 6.0
_X_TILT_DEG = 1.5
_TILT_JITTER_DEG = 0.04
_AXIS_JITTER_DEG = 0.012
_DEFOCUS_SCATTER_UM = 0.04
_ASTIGMATISM_UM = 0.05


@dataclass(frozen=True, eq=False)
class Acquisition:
    """Truth of the views of one series, sorted by rising stage tilt."""

    stage_tilt_deg: Float
    acquisition_index: NDArray[np.int64]
    pre_exposure_e_per_angstrom2: Float
    alignment: TiltGeometry
    ctf: CtfModel
    drift_xy_px: Float


def dose_symmetric_order(n_views: int) -> NDArray[np.int64]:
    """Return the acquisition index of every view (sorted by tilt): 0, +1, -1, -2, +2, +3, -3, -4 ... steps.

    Sides are changed after every second view, as in EMPIAR-10164.
    """
    start = n_views // 2
    order, low, high = [start], start - 1, start + 1
    sides = [1, -1]
    turn = 0
    while len(order) < n_views:
        for side in sides if turn % 2 == 0 else sides[::-1]:
            if side > 0 and high < n_views:
                order.append(high)
                high += 1
            elif side < 0 and low >= 0:
                order.append(low)
                low -= 1
        turn += 1
    index = np.empty(n_views, dtype=np.int64)
    index[order] = np.arange(n_views)
    return index


def acquire(name: str, number: int, settings: SessionSettings, rng: np.random.Generator) -> Acquisition:
    """Draw (or read) the acquisition of series ``name``, the ``number``-th (from 0) of the session."""
    if settings.real_geometry_dir is not None:
        stage, order, alignment, ctf = _real(name, number, settings, settings.real_geometry_dir)
    else:
        stage, order, alignment, ctf = _drawn(name, settings, rng)
    return Acquisition(
        stage_tilt_deg=stage,
        acquisition_index=order,
        pre_exposure_e_per_angstrom2=order.astype(np.float64) * settings.exposure_e_per_angstrom2,
        alignment=alignment,
        ctf=ctf,
        drift_xy_px=_drift(len(stage), settings, rng),
    )


def _drawn(
    name: str, settings: SessionSettings, rng: np.random.Generator
) -> tuple[Float, NDArray[np.int64], TiltGeometry, CtfModel]:
    n = settings.n_views
    order = dose_symmetric_order(n)
    stage = np.linspace(-settings.tilt_span_deg, settings.tilt_span_deg, n) + rng.normal(0.001, 0.0005, n)
    tilt = stage + rng.uniform(-_PRE_TILT_DEG, _PRE_TILT_DEG) + rng.normal(0, _TILT_JITTER_DEG, n)
    unit = stage / 60.0
    axis = settings.tilt_axis_deg - rng.uniform(0.0, 0.15) + rng.uniform(0.1, 0.22) * unit
    axis = axis + rng.uniform(-0.03, 0.07) * unit**2 + rng.normal(0, _AXIS_JITTER_DEG, n)
    ny, nx = settings.image_shape_yx
    field = settings.pixel_size_angstrom * min(nx, ny)
    alignment = TiltGeometry(
        tilt_series_id=name,
        tilt_deg=tilt,
        x_tilt_deg=np.full(n, rng.uniform(-_X_TILT_DEG, _X_TILT_DEG)),
        tilt_axis_deg=axis,
        shift_xy_angstrom=_shifts(rng, order, stage) * field / _IMAGE_OF_REAL_DATA_ANGSTROM,
        magnification=np.ones(n),
        view_used=np.ones(n, dtype=bool),
        pixel_size_angstrom=settings.pixel_size_angstrom,
        image_shape_yx=settings.image_shape_yx,
    )
    return stage, order, alignment, _drawn_ctf(name, settings, rng, order)


def _shifts(rng: np.random.Generator, order: NDArray[np.int64], stage: Float) -> Float:
    """Shifts in Å for a real image: a trend over the tilts, a walk in time, a jump at each change of side."""
    n = len(order)
    in_time = np.argsort(order)
    walk = np.zeros((n, 2))
    walk[in_time] = np.cumsum(rng.normal(0, [6.0, 9.0], (n, 2)), axis=0)
    trend = rng.normal(0, [25.0, 70.0]) * (stage / 60.0)[:, None]
    side = np.where(stage > 0, 1.0, -1.0)[:, None] * rng.normal(0, [10.0, 20.0])
    shift = walk + trend + side + rng.normal(0, [8.0, 12.0], (n, 2)) + rng.normal(0, 40.0, 2)
    return np.clip(shift, -200.0, 200.0)


def _drawn_ctf(
    name: str, settings: SessionSettings, rng: np.random.Generator, order: NDArray[np.int64]
) -> CtfModel:
    n = settings.n_views
    middle = rng.uniform(
        settings.defocus_min_um + 0.15, max(settings.defocus_max_um - 0.15, settings.defocus_min_um + 0.15)
    )
    drift = rng.uniform(-0.1, 0.1) * order / max(n - 1, 1)
    mean = middle + drift + rng.normal(0, _DEFOCUS_SCATTER_UM, n)
    difference = np.abs(rng.normal(_ASTIGMATISM_UM, 0.015)) + np.abs(rng.normal(0, 0.004, n))
    angle = rng.uniform(-90, 90) + rng.normal(0, 4.0, n)
    return CtfModel(
        tilt_series_id=name,
        defocus_u_um=mean + difference / 2,
        defocus_v_um=mean - difference / 2,
        astigmatism_deg=(angle + 90.0) % 180.0 - 90.0,
        phase_shift_deg=np.zeros(n),
        fit_score=np.ones(n),
        fit_resolution_angstrom=np.full(n, 2 * settings.pixel_size_angstrom),
        defocus_hand=-1,
        microscope=Microscope(),
    )


def _drift(n_views: int, settings: SessionSettings, rng: np.random.Generator) -> Float:
    """Drift in px, quick at first and slowing, of 1 to 4 px in all; mean zero in every view."""
    frames = settings.n_frames
    time = (np.arange(frames) + 0.5) / frames
    path = (1 - np.exp(-2.5 * time)) / (1 - np.exp(-2.5))
    direction = rng.normal(size=(n_views, 2))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = rng.uniform(1.0, 4.0, n_views)
    drift = (length[:, None] * direction)[:, None, :] * path[None, :, None]
    drift = drift + rng.normal(0, 0.12, (n_views, frames, 2))
    return drift - drift.mean(axis=1, keepdims=True)


def _real(
    name: str, number: int, settings: SessionSettings, folder: Path
) -> tuple[Float, NDArray[np.int64], TiltGeometry, CtfModel]:
    """Take one series from a RELION 5 star file; shifts are scaled to the simulated field of view."""
    import starfile

    paths = sorted(path for path in folder.glob("*.star") if "TS_" in path.name)
    if not paths:
        raise InputError("there are no tilt-series star files", where=str(folder))
    table = starfile.read(paths[number % len(paths)]).sort_values("rlnTomoNominalStageTiltAngle")
    table = table.reset_index(drop=True)
    stage = table["rlnTomoNominalStageTiltAngle"].to_numpy(float)
    middle = len(stage) // 2
    half = settings.n_views // 2
    rows = np.arange(max(0, middle - half), min(len(stage), middle - half + settings.n_views))
    table = table.iloc[rows]
    order = np.argsort(np.argsort(table["rlnMicrographPreExposure"].to_numpy(float)))
    ny, nx = settings.image_shape_yx
    scale = settings.pixel_size_angstrom * min(nx, ny) / _IMAGE_OF_REAL_DATA_ANGSTROM
    shift = table[["rlnTomoXShiftAngst", "rlnTomoYShiftAngst"]].to_numpy(float)
    shift = np.clip(shift - np.median(shift, axis=0), -200.0, 200.0) * scale
    n = len(table)
    stage_used = stage[rows]
    offset = float(np.median(table["rlnTomoYTilt"].to_numpy(float) - stage_used))
    # a pre-tilt beyond 10 deg would leave hardly any view within the tilts that a slab can be seen at
    tilt = table["rlnTomoYTilt"].to_numpy(float) - offset + np.clip(offset, -10.0, 10.0)
    axis = table["rlnTomoZRot"].to_numpy(float)
    axis = np.where(np.abs(axis - np.median(axis)) > 1.0, np.median(axis), axis)
    u, v = (table[f"rlnDefocus{a}"].to_numpy(float) / ANGSTROM_PER_UM for a in "UV")
    typical = float(np.median((u + v) / 2))
    bad = np.abs((u + v) / 2 - typical) > 0.25
    u, v = np.where(bad, typical + 0.03, u), np.where(bad, typical - 0.03, v)
    alignment = TiltGeometry(
        name,
        tilt,
        table["rlnTomoXTilt"].to_numpy(float),
        axis,
        shift,
        np.ones(n),
        np.ones(n, dtype=bool),
        settings.pixel_size_angstrom,
        settings.image_shape_yx,
    )
    ctf = CtfModel(
        name,
        u,
        v,
        table["rlnDefocusAngle"].to_numpy(float),
        np.zeros(n),
        np.ones(n),
        np.full(n, 2 * settings.pixel_size_angstrom),
        -1,
        Microscope(),
    )
    return stage_used, order.astype(np.int64), alignment, ctf
