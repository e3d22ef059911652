"""Declaration of the stage ``seed``."""

from __future__ import annotations

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class SeedParams(Params):
    """How densely and how far out seeds stand on a surface."""

    particle_spacing_angstrom: float = param(
        72.0,
        unit=Unit.ANGSTROM,
        gt=0,
        le=5000,
        help="Distance between neighbouring particles of a hexagonal lattice on the surface.",
    )
    oversampling: float = param(
        2.0, gt=0, le=50, help="Seeds per expected particle, by area; more seeds find more, and cost more."
    )
    radial_offset_angstrom: float = param(
        0.0,
        unit=Unit.ANGSTROM,
        ge=-5000,
        le=5000,
        help="Distance that seeds stand outside (negative: inside) of the fitted surface.",
    )
    pole_exclusion_deg: float = param(
        0.0,
        unit=Unit.DEGREE,
        ge=0,
        lt=90,
        help="Seeds whose normal is closer than this to the beam (either way) are left out.",
    )
    random_twist: bool = param(
        True, help="Turn every seed about its normal at random, so that the missing wedge averages out."
    )


STAGE = StageSpec(
    name="seed",
    summary="Put starting poses on the spheres, z axis outwards",
    params=SeedParams,
    inputs={"geometry": Port(ArtifactKind.GEOMETRY, "spheres to seed", per_item=True)},
    outputs={"particles": Port(ArtifactKind.PARTICLES, "seeds with outward normals", per_item=True)},
    run="staproj.stages.seed.run:seed",
    scope="item",
    group="particles",
    doc=(
        "A Fibonacci lattice is laid over every sphere with about `oversampling` seeds per lattice "
        "position of the particle. The z axis of a seed is the outward normal; the turn about it is "
        "random. Matching moves seeds to particles, and selection removes those that end up at the "
        "same place. If particles are missed, raise `oversampling` or the search radius of matching."
    ),
    citations=("Gonzalez2010",),
    methods=(
        "{n_seeds.sum:.0f} starting points were placed on their surfaces, "
        "{particle_spacing_angstrom:.0f} Å between particles at an oversampling of "
        "{oversampling:.2g}.",
    ),
)
