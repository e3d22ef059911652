"""Declaration of the stage ``reorient``."""

from __future__ import annotations

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class ReorientParams(Params):
    """Which symmetry is looked for, and where."""

    symmetry: str = param(
        "C6", pattern=r"^[Cc][1-9][0-9]?$", help="Cyclic symmetry of the particle, C1 for none."
    )
    search_radius_angstrom: float = param(
        48.0,
        unit=Unit.ANGSTROM,
        ge=0,
        le=1000,
        help="How far from the map's centre the axis may be; 2/3 of a lattice spacing reaches every place.",
    )
    tilt_range_deg: float = param(
        10.0, unit=Unit.DEGREE, ge=0, le=45, help="How far the axis may lean away from z."
    )
    axis_radius_angstrom: float = param(
        54.0,
        unit=Unit.ANGSTROM,
        gt=0,
        le=1000,
        help="Radius about the axis within which density is compared.",
    )
    axis_half_height_angstrom: float = param(
        60.0, unit=Unit.ANGSTROM, gt=0, le=1000, help="Half the height within which density is compared."
    )
    centre_radius_angstrom: float = param(
        36.0,
        unit=Unit.ANGSTROM,
        ge=0,
        le=1000,
        help="Density within this radius of the axis is centred along z; 0 leaves z alone.",
    )


STAGE = StageSpec(
    name="reorient",
    summary="Turn and centre the reference so that its symmetry axis is z",
    params=ReorientParams,
    inputs={"map": Port(ArtifactKind.MAP, "reference")},
    outputs={"map": Port(ArtifactKind.MAP, "symmetrised reference, axis on z, centred")},
    run="staproj.stages.reorient.run:reorient",
    scope="project",
    group="particles",
    doc=(
        "On circles about an n-fold axis density holds only every n-th harmonic. The axis is where those "
        "harmonics hold the largest share of the power; a 3- or 2-fold centre of a lattice holds half or "
        "a third "
        "of what a 6-fold one does. The map is moved there, its dense layer centred along z, and "
        "symmetrised. "
        "The table `transform` has the turn and the origin. A score close to that of the next best place "
        "means "
        "that the symmetry does not show: go on with C1, or improve the reference."
    ),
    methods=("The reference was turned to its symmetry axis ({symmetry}).",),
)
