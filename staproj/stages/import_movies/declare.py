"""Declaration of the stage that takes in movies and their SerialEM metadata."""

from __future__ import annotations

from staproj.kinds import ArtifactKind
from staproj.stages.api import Port, StageSpec, param
from staproj.stages.shared.microscope_params import MicroscopeParams
from staproj.stages.shared.patterns import Patterns


class ImportMoviesParams(MicroscopeParams):
    """Where the movies and their metadata are."""

    movies: Patterns = param(
        [], help="File patterns of the movies (MRC or TIFF).", data_path=True, per_item=False
    )
    mdoc: Patterns = param(
        [],
        help="File patterns of the SerialEM .mdoc files, one a tilt series.",
        data_path=True,
        per_item=False,
    )
    gain: str | None = param(
        None,
        help="Gain reference that frames are multiplied by; unset = frames are corrected already.",
        data_path=True,
        per_item=False,
    )
    skip_missing_movies: bool = param(
        False,
        help="Leave out views whose movie is not there (their exposure still counts) instead of stopping.",
        per_item=False,
    )
    ignore_other_movies: bool = param(
        False, help="Ignore movies that no mdoc names instead of stopping.", per_item=False
    )
    check_frame_count: bool = param(
        True,
        help="Stop where a movie has not as many frames as NumSubFrames of the mdoc says.",
        per_item=False,
    )


STAGE = StageSpec(
    name="import_movies",
    summary="Take in movies and mdoc files: order, angles, exposures, all checked.",
    params=ImportMoviesParams,
    inputs={},
    outputs={
        "movies": Port(ArtifactKind.MOVIES, "Movies of every tilt series, by rising tilt.", per_item=True)
    },
    run="staproj.stages.import_movies.run:import_movies",
    scope="project",
    group="import",
    doc="""Each .mdoc file is one tilt series, named after the file without its suffixes. Its sections are
matched to movies by the file name in SubFramePath (Windows paths are fine; a movie kept in another
format is found by its stem). Every movie's header is checked; movies are not copied.

Order of recording: PriorRecordDose, else DateTime, else the order of the file (recorded as a
fallback). Exposure: the override, else ExposureDose. Pre-exposure: PriorRecordDose where the
exposure is the mdoc's own, else the sum over the sections recorded before.

A gain reference is an image in the orientation of the frames as MRC has them (row 0 at the bottom).

Good output: all series listed with the expected number of views, tilt range and total exposure. If
a series has ExposureDose = 0, set `[microscope] exposure_e_per_angstrom2 = { SERIES = 3.0 }`. NaN
pixels show when frames are read, in `motion`.""",
    citations=("Mastronarde2005",),
    methods=(
        "{n_series:.0f} tilt series were recorded as movies[ of {out.movies.n_frames:.0f} frames] at "
        "{out.movies.microscope.voltage_kv:.0f} kV[ with a pixel size of {pixel_size_angstrom:.3g} "
        "Å], {n_movies:.0f} views in all[, at stage tilts from {series.lowest_tilt_deg.min:.0f}° to "
        "{series.highest_tilt_deg.max:.0f}°][ and a total exposure of "
        "{series.total_exposure_e_per_angstrom2:.4g} e/Å² for each series].",
        "[gain? Frames were corrected with a gain reference.]",
    ),
)
