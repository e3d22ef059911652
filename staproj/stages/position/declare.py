"""Declaration of the stage ``position``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class PositionParams(Params):
    """How the slab is found; every number can be given instead."""

    voxel_size_angstrom: float = param(
        25.0, unit=Unit.ANGSTROM, ge=5, le=200, help="Voxel of the coarse tomogram (at least the raw pixel)."
    )
    search_thickness_angstrom: float = param(
        4000.0,
        unit=Unit.ANGSTROM,
        ge=500,
        le=30000,
        help="Height of the coarse tomogram, centred on the beads.",
    )
    margin_angstrom: float = param(
        200.0,
        unit=Unit.ANGSTROM,
        ge=0,
        le=5000,
        help="Added above and below what is dense: the missing wedge hides the poles of round things.",
    )
    density_threshold_sd: float = param(
        6.0,
        unit=Unit.SIGMA,
        ge=2,
        le=50,
        help="Local power, in SDs of noise, above which a voxel is specimen.",
    )
    thickness_angstrom: Annotated[float, Field(ge=50, le=50000)] | Literal["auto"] = param(
        "auto", unit=Unit.ANGSTROM, help='Thickness of the slab; "auto" = from density and beads.'
    )
    tilt_offset_deg: Annotated[float, Field(ge=-60, le=60)] | Literal["auto"] = param(
        "auto", unit=Unit.DEGREE, help='Tilt of the slab about y; "auto" = from layers of beads, or density.'
    )
    x_tilt_deg: Annotated[float, Field(ge=-60, le=60)] | Literal["auto"] = param(
        "auto", unit=Unit.DEGREE, help='Tilt of the slab about x; "auto" = from layers of beads, or density.'
    )
    z_shift_angstrom: Annotated[float, Field(ge=-50000, le=50000)] | Literal["auto"] = param(
        "auto", unit=Unit.ANGSTROM, help='Height of the slab\'s middle; "auto" = from density and beads.'
    )
    max_tilt_deg: float = param(
        12.0, unit=Unit.DEGREE, ge=0, le=45, help="Tilts of the slab larger than this are not believed."
    )


STAGE = StageSpec(
    name="position",
    summary="Find the slab of ice: its thickness, tilt and height, and turn the frame to it.",
    params=PositionParams,
    inputs={
        "tilt_series": Port(ArtifactKind.TILT_SERIES, "Views of one tilt series."),
        "alignment": Port(ArtifactKind.ALIGNMENT, "Solved alignment."),
        "fiducials": Port(ArtifactKind.FIDUCIALS, "Tracks of gold beads.", optional=True),
    },
    outputs={
        "alignment": Port(ArtifactKind.ALIGNMENT, "The same views, described in the frame of the slab."),
        "slab": Port(ArtifactKind.SLAB, "Extent of the specimen."),
    },
    run="staproj.stages.position.run:position",
    group="align",
    doc="""A coarse tomogram without gold is made and asked where its local power rises above noise.
Beads are placed in three dimensions from their tracks.

Tilt: beads on the surfaces of ice lie on one or two parallel planes. The tilt of the best planes is
taken only if beads with shuffled heights fit tilted planes as well in less than 5 % of the trials. Else
the middles of what is dense are asked, if that fills enough of the field; else the tilt is left as it
is, which costs only a thicker slab.

Thickness: what is dense plus the margin, or the beads plus their diameter, whichever reaches farther.
Size in x and y: that of the image, with sides exchanged where the tilt axis is nearer x than y (the
tomogram's y lies along the axis).""",
    methods=("The slab taken to hold the specimen was {thickness_angstrom:.0f} Å thick.",),
)
