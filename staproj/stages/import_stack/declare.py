"""Declaration of the stage that takes in motion-corrected tilt series."""

from __future__ import annotations

from typing import Literal

from staproj.kinds import ArtifactKind
from staproj.stages.api import Port, StageSpec, param
from staproj.stages.shared.microscope_params import MicroscopeParams
from staproj.stages.shared.patterns import Patterns


class ImportStackParams(MicroscopeParams):
    """Where the stacks, angles and metadata are."""

    stacks: Patterns = param(
        [], help="File patterns of the stacks (.mrc, .st), one a tilt series.", data_path=True, per_item=False
    )
    angles: Patterns | None = param(
        None,
        help="File patterns of .rawtlt or .tlt files named like the stacks; unset = angles of the mdoc.",
        data_path=True,
        per_item=False,
    )
    mdoc: Patterns | None = param(
        None, help="File patterns of .mdoc files named like the stacks.", data_path=True, per_item=False
    )
    order: Literal["auto", "mdoc", "list", "dose_symmetric", "file"] = param(
        "auto",
        help="Order of recording: of the mdoc, an order list, a dose-symmetric scheme, or that of the stack.",
        per_item=False,
    )
    order_list: Patterns | None = param(
        None,
        help="File patterns of lists named like the stacks with the tilt angles in the order of recording.",
        data_path=True,
        per_item=False,
    )
    contrast: Literal["dark", "bright"] = param(
        "dark",
        help="Whether protein is dark (as recorded) or bright in the stacks; bright is inverted.",
        per_item=False,
    )


STAGE = StageSpec(
    name="import_stack",
    summary="Take in motion-corrected stacks with their angles, order and exposures.",
    params=ImportStackParams,
    inputs={},
    outputs={
        "tilt_series": Port(ArtifactKind.TILT_SERIES, "Views of every series, by rising tilt.", per_item=True)
    },
    run="staproj.stages.import_stack.run:import_stack",
    scope="project",
    group="import",
    doc="""Each stack is one tilt series, named after the file without its suffixes; angle, mdoc and order
files are found by the same name. Views are sorted by rising tilt and copied to float32, so that the
run holds all that later steps need.

Angles: one a line in the order of the stack, else TiltAngle of the mdoc (section n = view n). Where
both are given, views find their mdoc section by angle, so views may have been removed from the
stack.

Order of recording: "auto" takes the mdoc, else the order list, else assumes the dose-symmetric
scheme 0, +, -, -, +, + ... and records that. Places of missing views count as exposed. Exposure:
the override, else the mdoc.

Good output: as many series as stacks, the right tilt range, a total exposure that fits the
experiment.""",
    citations=("Hagen2017",),
    methods=(
        "{n_series:.0f} tilt series with {n_views:.0f} views in all were taken in as stacks[, "
        "recorded at {out.tilt_series.microscope.voltage_kv:.0f} kV][ with a pixel size of "
        "{pixel_size_angstrom:.3g} Å][, at stage tilts from "
        "{out.tilt_series.stage_tilt_deg.min:.0f}° to {out.tilt_series.stage_tilt_deg.max:.0f}°][ "
        "and a total exposure of {out.tilt_series.exposure_e_per_angstrom2.total:.4g} e/Å² for each "
        "series].",
    ),
)
