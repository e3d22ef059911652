"""Check raw data as the import stages do: movies and sections, tilts, frames, sizes, gain reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.api.raw_headers import Findings, Header, few
from staproj.errors import StaprojError
from staproj.formats.mdoc import Mdoc, acquisition_order
from staproj.stages.shared.series import check_angles

Float = NDArray[np.float64]
_GAP_STEPS = 2.5


def check_movies(
    mdocs: Mapping[str, Mdoc], files: Mapping[str, int], findings: Findings
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Match movies to sections as ``import_movies`` does; return movies and missing names by series."""
    from staproj.stages.import_movies.run import MovieIndex

    index = MovieIndex([Path(path) for path in files])
    matched: dict[str, list[str]] = {name: [] for name in mdocs}
    missing: dict[str, list[str]] = {name: [] for name in mdocs}
    converted = ""
    for name, mdoc in mdocs.items():
        nameless = 0
        for section in mdoc.sections:
            movie = section.movie_name
            if movie is None:
                nameless += 1
                continue
            try:
                path, by_stem = index.take(movie, f"{mdoc.path}, [ZValue = {section.number}]")
            except StaprojError as error:
                findings.refuse(error)
                continue
            if path is None:
                missing[name].append(movie)
                continue
            matched[name].append(str(path))
            converted = f"{path.name} stands for {movie}" if by_stem and not converted else converted
        if nameless:
            findings.add(
                "error",
                f"{nameless} of {len(mdoc.sections)} sections name no movie (SubFramePath)",
                where=mdoc.path,
                hint="use import_stack if there are no movies, or add the lines to the mdoc",
            )
    if converted:
        findings.add("note", f"movies are found by their stem: {converted}")
    _tell_missing(mdocs, matched, missing, findings)
    unused = list(index.unused)
    if unused:
        findings.add(
            "error",
            f"{len(unused)} of {len(files)} movies are in no mdoc",
            where=few(unused),
            hint="add their mdoc files, narrow the pattern of the movies, or set ignore_other_movies = true",
        )
    return matched, missing


def _tell_missing(
    mdocs: Mapping[str, Mdoc],
    matched: Mapping[str, list[str]],
    missing: Mapping[str, list[str]],
    findings: Findings,
) -> None:
    hint = "check the pattern of the movies, copy them, or set skip_missing_movies = true"
    without = [name for name in mdocs if missing[name] and not matched[name]]
    for name in mdocs:
        gone = missing[name]
        if gone and (len(without) <= 1 or name not in without):
            text = f"{name}: {len(gone)} of {len(mdocs[name].sections)} movies are not among the files"
            findings.add("error", f"{text}: {few(gone)}", where=mdocs[name].path, hint=hint)
    if len(without) > 1:
        findings.add(
            "error",
            f"no movie of {len(without)} of {len(mdocs)} tilt series ({few(without)}) is among the files",
            where=f"{mdocs[without[0]].path} names {missing[without[0]][0]}",
            hint="check that the patterns of movies and mdoc files belong to one session",
        )


def check_tilts(
    name: str, tilts: Sequence[float], places: Sequence[str], where: Any, findings: Findings
) -> None:
    """Tell of angles twice, gaps and angles that no stage reaches; ``places`` name the views."""
    tilt: Float = np.asarray(tilts, dtype=np.float64)
    try:
        check_angles(tilt, str(where), list(places))
    except StaprojError as error:
        findings.refuse(error)
    if len(tilt) < 3:
        findings.add("warning", f"{name} has only {len(tilt)} views", where=where)
        return
    ordered = np.sort(tilt)
    steps = np.diff(ordered)
    widest = int(steps.argmax())
    if steps[widest] > _GAP_STEPS * max(float(np.median(steps)), 0.1):
        low, high = ordered[widest], ordered[widest + 1]
        findings.add("note", f"{name}: there is no view between {low:.1f} and {high:.1f} deg", where=where)
    if np.abs(tilt).max() > 80:
        findings.add(
            "warning", f"{name}: {tilt[np.abs(tilt).argmax()]:g} deg is a very high tilt", where=where
        )


def scheme_of(recorded: Sequence[float]) -> str:
    """Name the order of recording: unidirectional, bidirectional, dose-symmetric or irregular."""
    tilt: Float = np.asarray(recorded, dtype=np.float64)
    if len(tilt) < 4:
        return ""
    steps = np.diff(tilt)
    if np.all(steps > 0) or np.all(steps < 0):
        return "unidirectional"
    jump = int(np.abs(steps).argmax())  # back to the start, where the second half begins
    side = np.sign(steps[0])
    if jump >= 2 and np.all(np.sign(steps[:jump]) == side) and np.all(np.sign(steps[jump:]) == -side):
        return "bidirectional"
    spacing = float(np.median(np.diff(np.sort(tilt))))
    away = np.abs(tilt - tilt[0])
    return "dose-symmetric" if np.all(np.diff(away) > -1.6 * spacing) else "irregular"


def check_order(name: str, mdoc: Mdoc, findings: Findings) -> str:
    """Return the scheme in which a series was recorded; tell where the mdoc does not know the order."""
    order = acquisition_order(mdoc)
    if order.source == "file":
        findings.add(
            "note",
            f"{name}: the mdoc has neither PriorRecordDose nor DateTime for every view, so views count as "
            "recorded in the order of the file",
            where=mdoc.path,
        )
    tilts = [section.tilt_deg or 0.0 for section in mdoc.sections]
    scheme = scheme_of([tilts[i] for i in np.argsort(order.acquisition_index)])
    if scheme == "irregular":
        findings.add(
            "note",
            f"{name}: tilts were recorded in no usual order (neither dose-symmetric nor from one end)",
            where=mdoc.path,
            hint="views may be missing, or the times or doses in the mdoc wrong",
        )
    return scheme


def check_shapes(headers: Sequence[Header], findings: Findings) -> None:
    """Tell of images of several sizes."""
    shapes: dict[tuple[int, int], Path] = {}
    for header in headers:
        shapes.setdefault(header.shape_yx, header.path)
    if len(shapes) > 1:
        sizes = ", ".join(f"{shape[1]} x {shape[0]}" for shape in shapes)
        findings.add(
            "warning",
            f"the images have several sizes: {sizes}",
            where=few(list(shapes.values())),
            hint="all images of a tilt series must have one size",
        )


def check_frames(headers: Sequence[Header], mdoc_of: Mapping[str, Mdoc], findings: Findings) -> None:
    """Tell of movies that have not as many frames as their mdoc says."""
    for header in headers:
        mdoc = mdoc_of.get(str(header.path))
        stem = header.path.stem.lower()
        sections = () if mdoc is None else mdoc.sections
        named = next((s for s in sections if s.movie_name and Path(s.movie_name).stem.lower() == stem), None)
        if named is not None and named.n_frames not in (None, header.n_frames):
            findings.add(
                "error",
                f"the movie has {header.n_frames} frames, the mdoc says {named.n_frames} (NumSubFrames)",
                where=header.path,
                hint="copy it again, or set check_frame_count = false if frames were grouped on purpose",
            )


def check_gain(gain: Header, movies: Sequence[Header], findings: Findings) -> None:
    """Tell of a gain reference that does not fit the frames, and what would make it fit."""
    if gain.n_frames != 1:
        findings.add(
            "error",
            f"a gain reference is one image, this file has {gain.n_frames}",
            where=gain.path,
            hint="name one image as the gain reference",
        )
    for shape in dict.fromkeys(movie.shape_yx for movie in movies):
        if gain.shape_yx == shape:
            continue
        ratio = (gain.shape_yx[0] / shape[0], gain.shape_yx[1] / shape[1])
        if gain.shape_yx[::-1] == shape:
            hint = "turn it by 90 degrees first (IMOD `clip`)"
        elif ratio[0] == ratio[1] and ratio[0] in (2.0, 4.0, 0.5, 0.25):
            hint = f"the reference is {ratio[0]:g} times as fine as the frames: bin it first"
            if ratio[0] < 1:
                hint = "the frames are of super-resolution: take the reference that was made for them"
        else:
            hint = "it belongs to another camera or binning"
        findings.add(
            "error",
            f"the gain reference is {gain.shape_yx[1]} x {gain.shape_yx[0]}, "
            f"the frames are {shape[1]} x {shape[0]}",
            where=gain.path,
            hint=hint,
        )
