"""Declaration of the stage ``match``."""

from __future__ import annotations

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class MatchParams(Params):
    """Where the reference is looked for about every seed."""

    binning: int | None = param(
        None, ge=1, le=64, help="Reduction of the views; empty gives the voxel size of the reference."
    )
    box_size_angstrom: float = param(
        260.0, unit=Unit.ANGSTROM, gt=0, le=5000, help="Edge of the particle box."
    )
    mask_diameter_angstrom: float = param(
        190.0,
        unit=Unit.ANGSTROM,
        gt=0,
        le=5000,
        help="Diameter of the soft sphere the reference is seen through.",
    )
    score_diameter_angstrom: float | None = param(
        64.0,
        unit=Unit.ANGSTROM,
        gt=0,
        le=5000,
        help=(
            "Diameter of the sphere the final score looks at, about 0.9 of a lattice spacing, so that "
            "neighbours "
            "do not vouch for a missing particle; empty takes the whole mask."
        ),
    )
    shift_range_angstrom: float = param(
        40.0,
        unit=Unit.ANGSTROM,
        ge=0,
        le=1000,
        help="How far from a seed particles are looked for across its axis; about half the spacing.",
    )
    axial_range_angstrom: float = param(
        45.0,
        unit=Unit.ANGSTROM,
        ge=0,
        le=1000,
        help="How far from a seed particles are looked for along its axis.",
    )
    tilt_range_deg: float = param(
        12.0, unit=Unit.DEGREE, ge=0, le=90, help="How far axes may lean away from the seeds'."
    )
    spin_range_deg: float = param(
        180.0,
        unit=Unit.DEGREE,
        ge=0,
        le=180,
        help="How far particles may be turned about the axis, either way.",
    )
    coarse_resolution_angstrom: float = param(
        30.0, unit=Unit.ANGSTROM, gt=0, le=500, help="Resolution of the grid search; sets its steps."
    )
    resolution_angstrom: float = param(
        25.0, unit=Unit.ANGSTROM, gt=0, le=500, help="Resolution at which poses are fitted and scored."
    )


STAGE = StageSpec(
    name="match",
    summary="Find the reference about every seed, with a score",
    params=MatchParams,
    inputs={
        "particles": Port(ArtifactKind.PARTICLES, "seeds", per_item=True),
        "map": Port(ArtifactKind.MAP, "reference, axis on z"),
        "tilt_series": Port(ArtifactKind.TILT_SERIES, "views", per_item=True),
        "alignment": Port(ArtifactKind.ALIGNMENT, "tilt geometry", per_item=True),
        "ctf": Port(ArtifactKind.CTF, "defocus of every view", optional=True, per_item=True),
        "gold": Port(ArtifactKind.GOLD, "beads to erase", optional=True, per_item=True),
    },
    outputs={"particles": Port(ArtifactKind.PARTICLES, "scored poses", per_item=True)},
    run="staproj.stages.match.run:match",
    scope="item",
    group="particles",
    doc=(
        "All seeds search one grid of turns and shifts about their own pose (a matrix product), the best "
        "three are fitted by Gauss-Newton, and the best of them is scored in units of the noise. "
        "Neighbouring "
        "seeds find the same particle; `select` keeps each once. Good data show two populations in the score."
    ),
    methods=(
        "All starting points were aligned to the reference in the tilt images[, to "
        "{resolution_angstrom:.3g} Å].",
    ),
)
