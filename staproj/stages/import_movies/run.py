"""Match movies to mdoc sections, check every header, and put the views in order of tilt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import FormatError, InputError
from staproj.formats.mdoc import Mdoc, Section
from staproj.formats.movie import MOVIE_SUFFIXES, Movie, read_gain
from staproj.model.tilt_series import MovieSeries
from staproj.stages.api import StageContext
from staproj.stages.import_movies.declare import ImportMoviesParams
from staproj.stages.shared.series import facts_from_mdoc, matching_files, pixel_size, read_mdocs
from staproj.units import Unit


class MovieIndex:
    """Movies by file name, so that a section finds its own."""

    def __init__(self, paths: list[Path]) -> None:
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        self.unused = dict.fromkeys(paths)
        for path in paths:
            self._by_name.setdefault(path.name.lower(), []).append(path)
            self._by_stem.setdefault(path.stem.lower(), []).append(path)

    def take(self, name: str, where: str) -> tuple[Path | None, bool]:
        """Return (path, whether only the stem matched) for a file name; ``(None, False)`` if there is none.

        Raises
        ------
        InputError
            If several files have that name.
        """
        by_stem = False
        found = self._by_name.get(name.lower(), [])
        if not found:
            found = self._by_stem.get(PureWindowsPath(name).stem.lower(), [])
            by_stem = bool(found)
        if len(found) > 1:
            raise InputError(
                f"{len(found)} movies are called {name!r}: {found[0]} and {found[1]}",
                where=where,
                hint="narrow the pattern `movies` so that each movie is matched once",
            )
        if not found:
            return None, False
        self.unused.pop(found[0], None)
        return found[0], by_stem


def import_movies(
    inputs: Mapping[str, Any], params: ImportMoviesParams, ctx: StageContext
) -> dict[str, dict[str, MovieSeries]]:
    """Return ``{"movies": {tilt series: MovieSeries}}``; see the declaration for the rules.

    Raises
    ------
    InputError, FormatError
        If anything is missing, contradictory or damaged; see :mod:`staproj.stages.shared.series`.
    """
    mdocs = read_mdocs(params.mdoc, ctx)
    paths = [
        path
        for path in matching_files(params.movies, "movies", ctx)
        if path.suffix.lower() != ".mdoc" and not path.is_dir()
    ]
    index = MovieIndex(paths)
    gain = _gain_path(params, ctx)
    series: dict[str, MovieSeries] = {}
    for done, (name, mdoc) in enumerate(sorted(mdocs.items())):
        ctx.check_cancelled()
        ctx.progress(done, len(mdocs), name)
        series[name] = _one_series(mdoc, index, gain, params, ctx)
        _record(series[name], ctx)
    if index.unused and not params.ignore_other_movies:
        first = next(iter(index.unused))
        raise InputError(
            f"{len(index.unused)} of {len(paths)} movies are in no mdoc",
            where=f"{first} (first of them)",
            hint="add their mdoc files, narrow the pattern `movies`, or set ignore_other_movies = true",
        )
    if gain is not None:
        for shape in {one.image_shape_yx for one in series.values()}:
            read_gain(gain, shape)
    _summarise(series, ctx)
    return {"movies": series}


def _gain_path(params: ImportMoviesParams, ctx: StageContext) -> Path | None:
    if not params.gain:
        return None
    found = matching_files([params.gain], "gain", ctx)
    if len(found) != 1:
        raise InputError(
            f"{len(found)} files match the gain reference",
            where=params.gain,
            hint="name one file with the parameter `gain`",
        )
    return found[0]


def _one_series(
    mdoc: Mdoc, index: MovieIndex, gain: Path | None, params: ImportMoviesParams, ctx: StageContext
) -> MovieSeries:
    facts = facts_from_mdoc(mdoc, params, ctx)
    paths = [_movie_of(section, mdoc, index, params, ctx) for section in mdoc.sections]
    here = np.array([path is not None for path in paths])
    if not here.any():
        raise InputError(
            f"none of the {len(paths)} movies of tilt series {mdoc.tilt_series_id} is there",
            where=str(mdoc.path),
            hint="check the parameter `movies`",
        )
    if not here.all():
        ctx.fallback(f"{mdoc.tilt_series_id}: {int((~here).sum())} views have no movie and are left out")
    order = np.flatnonzero(here)[np.argsort(facts.tilt_deg[here], kind="stable")]
    chosen = tuple(path for path in (paths[i] for i in order) if path is not None)
    sections = [mdoc.sections[i] for i in order]
    n_frames, shape, pixel = _check_movies(chosen, sections, mdoc, params, ctx)
    return MovieSeries(
        tilt_series_id=mdoc.tilt_series_id,
        movie_paths=chosen,
        stage_tilt_deg=facts.tilt_deg[order],
        acquisition_index=np.argsort(np.argsort(facts.acquisition_index[order])).astype(np.int64),
        exposure_e_per_angstrom2=facts.exposure_e_per_angstrom2[order],
        pre_exposure_e_per_angstrom2=facts.pre_exposure_e_per_angstrom2[order],
        n_frames=n_frames,
        nominal_defocus_um=facts.nominal_defocus_um[order],
        pixel_size_angstrom=pixel,
        image_shape_yx=shape,
        tilt_axis_deg=facts.tilt_axis_deg,
        microscope=facts.microscope,
        gain_path=gain,
    )


def _movie_of(
    section: Section, mdoc: Mdoc, index: MovieIndex, params: ImportMoviesParams, ctx: StageContext
) -> Path | None:
    where = f"{mdoc.path}, [ZValue = {section.number}]"
    name = section.movie_name
    if name is None:
        raise FormatError(
            "the section names no movie (SubFramePath)",
            where=where,
            hint="use import_stack if there are no movies, or add the line to the mdoc",
        )
    path, by_stem = index.take(name, where)
    if by_stem and path is not None:
        ctx.log(f"{mdoc.tilt_series_id}: {path.name} stands for {name}")
    if path is None and not params.skip_missing_movies:
        raise InputError(
            f"the movie {name!r} is not among the files that `movies` matches",
            where=where,
            hint="check the parameter `movies`, copy the movie, or set skip_missing_movies = true",
        )
    return path


def _check_movies(
    paths: tuple[Path, ...],
    sections: list[Section],
    mdoc: Mdoc,
    params: ImportMoviesParams,
    ctx: StageContext,
) -> tuple[NDArray[np.int64], tuple[int, int], float]:
    """Open every header; return frames of each, the common size, and the pixel size."""
    counts: list[int] = []
    first_shape: tuple[int, int] | None = None
    pixels: list[float] = []
    for path, section in zip(paths, sections, strict=True):
        ctx.check_cancelled()
        if path.suffix.lower() not in (*MOVIE_SUFFIXES, ".eer"):
            raise FormatError(
                f"movies are MRC or TIFF files, not {path.suffix!r}",
                where=str(path),
                hint="narrow the pattern `movies`",
            )
        with Movie(path) as movie:
            shape = movie.shape_yx
            counts.append(movie.n_frames)
            header = movie.pixel_size_angstrom
        if first_shape is None:
            first_shape = shape
        if shape != first_shape:
            raise FormatError(
                f"the frames are {shape[1]} x {shape[0]}, those of {paths[0].name} are "
                f"{first_shape[1]} x {first_shape[0]}",
                where=str(path),
                hint="all movies of a tilt series must have one size; leave this one out or make it again",
            )
        if params.check_frame_count and section.n_frames not in (None, counts[-1]):
            raise FormatError(
                f"the movie has {counts[-1]} frames, the mdoc says {section.n_frames} (NumSubFrames)",
                where=str(path),
                hint="copy it again, or set check_frame_count = false if frames were grouped on purpose",
            )
        pixels.append(pixel_size(params.pixel_size_angstrom, header, mdoc, shape, path))
    assert first_shape is not None
    if max(pixels) / min(pixels) > 1.01:
        raise InputError(
            f"the headers give pixel sizes from {min(pixels):g} to {max(pixels):g} Å in one tilt series",
            where=str(mdoc.path),
            hint="set it in the manifest: [microscope] pixel_size_angstrom = 1.35",
        )
    return np.array(counts, dtype=np.int64), first_shape, pixels[0]


def _record(series: MovieSeries, ctx: StageContext) -> None:
    ctx.table(
        f"views_{series.tilt_series_id}",
        {
            "view": np.arange(series.n_views),
            "movie": np.array([path.name for path in series.movie_paths]),
            "stage_tilt_deg": series.stage_tilt_deg,
            "acquisition_index": series.acquisition_index,
            "exposure_e_per_angstrom2": series.exposure_e_per_angstrom2,
            "pre_exposure_e_per_angstrom2": series.pre_exposure_e_per_angstrom2,
            "n_frames": series.n_frames,
            "nominal_defocus_um": series.nominal_defocus_um,
        },
        doc="Views by rising stage tilt.",
    )


def _summarise(series: dict[str, MovieSeries], ctx: StageContext) -> None:
    total = sum(one.n_views for one in series.values())
    ctx.table(
        "series",
        {
            "tilt_series": np.array(list(series)),
            "n_views": [one.n_views for one in series.values()],
            "lowest_tilt_deg": [one.stage_tilt_deg.min() for one in series.values()],
            "highest_tilt_deg": [one.stage_tilt_deg.max() for one in series.values()],
            "total_exposure_e_per_angstrom2": [
                (one.pre_exposure_e_per_angstrom2 + one.exposure_e_per_angstrom2).max()
                for one in series.values()
            ],
            "pixel_size_angstrom": [one.pixel_size_angstrom for one in series.values()],
            "tilt_axis_deg": [one.tilt_axis_deg for one in series.values()],
        },
        doc="One row a tilt series.",
    )
    ctx.metric("n_series", len(series))
    ctx.metric("n_movies", total)
    one = next(iter(series.values()))
    ctx.metric("pixel_size_angstrom", one.pixel_size_angstrom, Unit.ANGSTROM)
    per_view = sorted({f"{np.median(s.exposure_e_per_angstrom2):.3g}" for s in series.values()})
    ctx.verdict(
        f"{len(series)} tilt series, {total} movies of {one.n_frames[0]} frames, "
        f"{one.image_shape_yx[1]} x {one.image_shape_yx[0]} at {one.pixel_size_angstrom:g} Å, "
        f"{'/'.join(per_view)} e/Å² a view, {'with' if one.gain_path else 'no'} gain reference"
    )
