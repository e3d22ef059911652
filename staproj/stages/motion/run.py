"""Movies of one tilt series to views: one movie in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from staproj.errors import InputError
from staproj.formats.movie import Movie, read_gain
from staproj.formats.mrc import MrcWriter
from staproj.kernels.clean import fill_from_neighbours, find_defects
from staproj.kernels.fourier import reduce_images, shell_index
from staproj.kernels.motion import (
    Drift,
    DriftOptions,
    block_mean,
    measure_drift,
    padded_shape,
    ring_correlation,
    shifted_transform,
)
from staproj.model.tilt_series import MovieSeries, TiltSeries
from staproj.stages.api import StageContext
from staproj.stages.motion.declare import MotionParams
from staproj.units import Unit

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

_KEEP_BYTES = 600 * 1024**2  # cleaned frames stay in memory below this, else they are read again
_MOST_GROUPS = 24
_WARN_RESIDUAL_PX = 1.0
_PREVIEW_PX = 256
_FRC_LOW = (0.05, 0.25)  # cycles/px: where FRC is summarised


@dataclass(frozen=True, eq=False)
class CleanMovie:
    """An open movie whose frames come gain-corrected and without defects."""

    movie: Movie
    gain: Float32 | None
    defects: Bool
    truncate_above_sd: float

    def frame(self, index: int) -> Float32:
        """Return frame ``[y, x]``."""
        frame = self.movie.frame(index)
        if self.gain is not None:
            frame = frame * self.gain
        sample = frame[::2, ::2].astype(np.float64)  # a quarter of the pixels tells mean and SD well enough
        spikes = frame > np.float32(sample.mean() + self.truncate_above_sd * sample.std())
        bad = self.defects | spikes
        return fill_from_neighbours(frame, bad) if bad.any() else frame


@dataclass(frozen=True, eq=False)
class ViewSums:
    """Sums of odd and even frames of one view and what was measured on the way."""

    odd: Float32
    even: Float32
    drift_yx_px: Float
    fit: Drift
    n_defects: int
    frc: Float


def correct_motion(
    inputs: Mapping[str, Any], params: MotionParams, ctx: StageContext
) -> dict[str, TiltSeries]:
    """Return ``{"tilt_series": TiltSeries}`` of summed views; see the declaration.

    Raises
    ------
    FormatError
        If a movie or the gain reference is damaged or holds NaN.
    InputError
        If a movie changed since it was imported.
    """
    movies: MovieSeries = inputs["movies"]
    shape = movies.image_shape_yx
    gain = None
    if movies.gain_path is not None:
        gain = read_gain(movies.gain_path, shape, tiff_first_row=params.tiff_first_row)
    shells = np.minimum(shell_index(padded_shape(shape)), max(padded_shape(shape)) // 2 + 1)
    out = ctx.out_dir()
    names = {"sum": "views.mrc", "odd": "odd.mrc", "even": "even.mrc"}
    kinds = ["sum", "odd", "even"] if params.write_halves else ["sum"]
    dtype = np.float16 if params.float16 else np.float32
    views: list[ViewSums] = []
    means = np.zeros(movies.n_views)
    with ExitStack() as stack:
        writers = {
            kind: stack.enter_context(
                MrcWriter(
                    out / names[kind], (movies.n_views, *shape), movies.pixel_size_angstrom, dtype=dtype
                )
            )
            for kind in kinds
        }
        for view in range(movies.n_views):
            ctx.check_cancelled()
            ctx.progress(view, movies.n_views, movies.movie_paths[view].name)
            sums = _one_movie(movies, view, gain, shells, params, ctx)
            total = sums.odd + sums.even
            means[view] = float(total.mean(dtype=np.float64))
            for kind, image in zip(kinds, (total, sums.odd, sums.even), strict=False):
                writers[kind].append(image)
            if view == int(np.abs(movies.stage_tilt_deg).argmin()):
                factor = max(1.0, max(shape) / _PREVIEW_PX)
                ctx.preview("view_nearest_0_deg", reduce_images(total, factor))
            views.append(_without_images(sums))
    _record(movies, views, means, params, ctx)
    halves = {f"{kind}_stack_path": out / names[kind] for kind in kinds if kind != "sum"}
    return {"tilt_series": _tilt_series(movies, out / names["sum"], halves)}


def _tilt_series(movies: MovieSeries, stack: Path, halves: dict[str, Path]) -> TiltSeries:
    return TiltSeries(
        tilt_series_id=movies.tilt_series_id,
        stack_path=stack,
        stage_tilt_deg=movies.stage_tilt_deg,
        acquisition_index=movies.acquisition_index,
        exposure_e_per_angstrom2=movies.exposure_e_per_angstrom2,
        pre_exposure_e_per_angstrom2=movies.pre_exposure_e_per_angstrom2,
        nominal_defocus_um=movies.nominal_defocus_um,
        view_used=np.ones(movies.n_views, dtype=bool),
        pixel_size_angstrom=movies.pixel_size_angstrom,
        image_shape_yx=movies.image_shape_yx,
        tilt_axis_deg=movies.tilt_axis_deg,
        microscope=movies.microscope,
        **halves,
    )


def _one_movie(
    movies: MovieSeries,
    view: int,
    gain: Float32 | None,
    shells: NDArray[np.int64],
    params: MotionParams,
    ctx: StageContext,
) -> ViewSums:
    """Clean, align and add the frames of one movie."""
    path = movies.movie_paths[view]
    shape = movies.image_shape_yx
    with Movie(path, tiff_first_row=params.tiff_first_row) as movie:
        if movie.shape_yx != shape or movie.n_frames != int(movies.n_frames[view]):
            raise InputError(
                f"the movie has changed since it was imported: {movie.n_frames} frames {movie.shape_yx}",
                where=str(path),
                hint="run the import step again",
            )
        defects = find_defects(_raw_sum(movie, gain), params.hot_pixel_sd)
        if gain is not None:
            defects |= gain <= 0
        clean = CleanMovie(movie, gain, defects, params.truncate_above_sd)
        n = movie.n_frames
        keep = n * shape[0] * shape[1] * 4 <= _KEEP_BYTES
        frames = [clean.frame(i) for i in range(n)] if keep else None

        def frame(index: int) -> Float32:
            return frames[index] if frames is not None else clean.frame(index)

        fit = _fit(frame, n, shape, movies.pixel_size_angstrom, params)
        drift = _per_frame(fit.drift_yx_px, n, params)
        odd, even, frc = _add(frame, drift, shape, shells, ctx.threads)
    return ViewSums(odd, even, drift, fit, int(defects.sum()), frc)


def _raw_sum(movie: Movie, gain: Float32 | None) -> Float32:
    total = movie.frame(0)
    for index in range(1, movie.n_frames):
        total += movie.frame(index)
    return total if gain is None else total * gain


def _binning(shape: tuple[int, int], params: MotionParams) -> int:
    return max(1, round(max(shape) / params.alignment_size_px))


def _group_size(n_frames: int, params: MotionParams) -> int:
    return params.group_frames or -(-n_frames // _MOST_GROUPS)


def _fit(
    frame: Any, n_frames: int, shape: tuple[int, int], pixel_angstrom: float, params: MotionParams
) -> Drift:
    """Measure drift of groups of binned frames; returned in unbinned pixels."""
    size = _group_size(n_frames, params)
    groups = [range(start, min(start + size, n_frames)) for start in range(0, n_frames, size)]
    if not params.align or len(groups) < 2:
        return Drift(np.zeros((len(groups), 2)), 0.0, 1.0, 0.0)
    binning = _binning(shape, params)
    small = np.stack([sum(block_mean(frame(i), binning) for i in group) for group in groups])
    options = DriftOptions(
        max_shift_px=params.max_shift_angstrom / (pixel_angstrom * binning), bfactor_px2=params.bfactor_px2
    )
    fit = measure_drift(small.astype(np.float32), options)
    return Drift(
        fit.drift_yx_px * binning, fit.pair_residual_px * binning, fit.pair_weight_mean, fit.fixed_pattern
    )


def _per_frame(groups_yx: Float, n_frames: int, params: MotionParams) -> Float:
    """Interpolate the drift of groups to frames and count it from the reference."""
    size = _group_size(n_frames, params)
    drift = groups_yx
    if size > 1 and len(groups_yx) > 1:
        starts = np.arange(0, n_frames, size)
        centres = 0.5 * (starts + np.minimum(starts + size, n_frames) - 1)
        frames = np.arange(n_frames)
        drift = np.stack([np.interp(frames, centres, groups_yx[:, axis]) for axis in (0, 1)], axis=1)
    elif size > 1:
        drift = np.zeros((n_frames, 2))
    return drift - (drift.mean(axis=0) if params.reference == "mean" else drift[0])


def _add(
    frame: Any, drift: Float, shape: tuple[int, int], shells: NDArray[np.int64], threads: int
) -> tuple[Float32, Float32, Float]:
    """Move frames by minus their drift and add odd (1st, 3rd, ...) and even ones; FRC of the two."""
    padded = padded_shape(shape)
    sums = [np.zeros((padded[0], padded[1] // 2 + 1), dtype=np.complex64) for _ in range(2)]
    with scipy.fft.set_workers(max(1, threads)):
        for index, shift in enumerate(drift):
            sums[index % 2] += shifted_transform(frame(index), padded, (-shift[0], -shift[1]))
        images = [scipy.fft.irfft2(one, s=padded)[: shape[0], : shape[1]] for one in sums]
    frc = ring_correlation(sums[0], sums[1], shells)
    odd, even = (np.ascontiguousarray(image, dtype=np.float32) for image in images)
    return odd, even, frc


def _without_images(sums: ViewSums) -> ViewSums:
    empty = np.zeros((0, 0), dtype=np.float32)
    return ViewSums(empty, empty, sums.drift_yx_px, sums.fit, sums.n_defects, sums.frc)


def _record(
    movies: MovieSeries, views: list[ViewSums], means: Float, params: MotionParams, ctx: StageContext
) -> None:
    """Write tables, curves, metrics and the verdict."""
    drift = [view.drift_yx_px for view in views]
    ctx.table(
        "drift",
        {
            "view": np.concatenate([np.full(len(d), v) for v, d in enumerate(drift)]),
            "frame": np.concatenate([np.arange(len(d)) for d in drift]),
            "drift_x_px": np.concatenate([d[:, 1] for d in drift]),
            "drift_y_px": np.concatenate([d[:, 0] for d in drift]),
        },
        doc=f"Where the content of each frame lies relative to the {params.reference}; moved by minus this.",
    )
    frequency = np.arange(len(views[0].frc)) / max(padded_shape(movies.image_shape_yx))
    low = (frequency >= _FRC_LOW[0]) & (frequency <= _FRC_LOW[1])
    travel = np.array([float(np.hypot(*np.diff(d, axis=0).T).sum()) if len(d) > 1 else 0.0 for d in drift])
    residual = np.array([view.fit.pair_residual_px for view in views])
    frc_low = np.array([float(view.frc[low].mean()) for view in views])
    ctx.table(
        "views",
        {
            "view": np.arange(len(views)),
            "stage_tilt_deg": movies.stage_tilt_deg,
            "travel_px": travel,
            "pair_residual_px": residual,
            "pair_weight": [view.fit.pair_weight_mean for view in views],
            "frc": frc_low,
            "mean_count": means,
            "n_defects": [view.n_defects for view in views],
            "fixed_pattern": [view.fit.fixed_pattern for view in views],
        },
        doc=f"One row a view; frc: odd against even frames, mean of {_FRC_LOW[0]}-{_FRC_LOW[1]} cycles/px.",
    )
    ctx.curve(
        "frc_odd_even",
        frequency / movies.pixel_size_angstrom,
        np.mean([view.frc for view in views], axis=0),
        x_label="frequency_per_angstrom",
        y_label="frc",
    )
    ctx.curve("travel", movies.stage_tilt_deg, travel, x_label="stage_tilt_deg", y_label="travel_px")
    ctx.metric("travel_median_px", float(np.median(travel)), Unit.PIXEL)
    ctx.metric("travel_max_px", float(travel.max()), Unit.PIXEL)
    ctx.metric("pair_residual_px", float(np.median(residual)), Unit.PIXEL)
    ctx.metric("frc_low", float(frc_low.mean()))
    ctx.metric("n_defects_median", float(np.median([view.n_defects for view in views])))
    if not params.align:
        ctx.fallback("drift was not measured (align = false)")
    elif int(movies.n_frames.max()) < 2:
        ctx.fallback("movies have one frame each: there is no drift to measure")
    poor = int(np.count_nonzero(residual > _WARN_RESIDUAL_PX))
    ctx.verdict(
        f"{len(views)} views of {int(np.median(movies.n_frames))} frames; drift {np.median(travel):.2f} px "
        f"(median path), {travel.max():.2f} px at most; pairs agree to {np.median(residual):.3f} px; "
        f"FRC {frc_low.mean():.2f}" + (f"; {poor} views above {_WARN_RESIDUAL_PX:g} px" if poor else ""),
        warning=poor > 0,
    )
