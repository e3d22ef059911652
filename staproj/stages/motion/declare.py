"""Declaration of the stage that aligns and adds the frames of movies."""

from __future__ import annotations

from typing import Literal

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class MotionParams(Params):
    """How drift is measured and frames are added."""

    max_shift_angstrom: float = param(
        100.0, unit=Unit.ANGSTROM, gt=0, le=2000, help="Largest drift between two frames of a movie."
    )
    alignment_size_px: int = param(
        1000,
        unit=Unit.PIXEL,
        ge=128,
        le=8192,
        help="Frames are binned until their longer side has about this many pixels to measure drift.",
    )
    bfactor_px2: float = param(
        150.0, ge=0, le=5000, help="First weight exp(-B k²/4) of the correlation, in binned pixels squared."
    )
    group_frames: int | None = param(
        None,
        ge=1,
        le=100,
        help="Frames added before drift is measured; unset = enough for at most 24 groups.",
    )
    reference: Literal["mean", "first"] = param(
        "mean", help="Frame position the view keeps: the mean of all frames, or that of the first."
    )
    hot_pixel_sd: float = param(
        8.0, unit=Unit.SIGMA, ge=3, le=100, help="Sum of frames above its neighbours that marks a defect."
    )
    truncate_above_sd: float = param(
        15.0,
        unit=Unit.SIGMA,
        ge=5,
        le=1000,
        help="Pixels of a single frame above this are X-rays and replaced.",
    )
    tiff_first_row: Literal["top", "bottom"] = param(
        "top",
        help="Line that TIFF movies store first: top as SerialEM and IMOD have it, bottom as RELION reads.",
    )
    align: bool = param(True, help="Measure and remove drift; off = add frames as they are.")
    write_halves: bool = param(True, help="Write stacks of odd and of even frames (for denoising and FRC).")
    float16: bool = param(
        False, help="Write stacks as 16-bit floats, half the disk, which few programs read."
    )


STAGE = StageSpec(
    name="motion",
    summary="Measure the drift of the frames of each movie and add them to views.",
    params=MotionParams,
    inputs={"movies": Port(ArtifactKind.MOVIES, "Movies of one tilt series.")},
    outputs={
        "tilt_series": Port(
            ArtifactKind.TILT_SERIES, "Views, with sums of odd and even frames.", per_item=True
        )
    },
    run="staproj.stages.motion.run:correct_motion",
    group="import",
    doc="""Frames are multiplied by the gain reference; hot and dead pixels (found in the sum of all frames)
and single-frame X-rays are replaced by their neighbours' mean.

Drift is that of whole frames (no local patches). All pairs of frames are cross-correlated in a
band, first with a fixed weight, then with the one that the aligned frames show to be right; what
frames share at zero shift because of errors of the gain reference is subtracted. Pair shifts are
solved by robust least squares and refined against the sum of the other frames.

Recorded drift is where the content of a frame lies relative to the reference (+x, +y); frames are
moved by minus that. Views are sums of gain-corrected frames, in counts of the detector (electrons
where it counts), in the order of rising tilt.

Good output: smooth drift curves, pair residuals below half a pixel, FRC of odd against even frames
well above 0 at low frequency. If shifts jump, raise group_frames or lower max_shift_angstrom.""",
    citations=("Li2013", "Mastronarde2018"),
    methods=(
        "[align? Whole-frame motion was measured by correlating all pairs of frames of a movie and removed.]",
        "[align? The median path of the frames was {travel_median_px:.1f} px.]",
        "[!align? Frames were summed without correction of motion.]",
    ),
)
