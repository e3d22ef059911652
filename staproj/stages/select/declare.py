"""Declaration of the stage ``select``."""

from __future__ import annotations

from typing import Literal

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class SelectParams(Params):
    """What makes a particle worth keeping."""

    score_threshold: float | None = param(
        None, help="Keep particles scoring at least this; empty proposes a cut from the score histogram."
    )
    threshold_scope: Literal["series", "pooled"] = param(
        "series", help="Propose one cut a tilt series, or one for the scores of all.", per_item=False
    )
    elevation_compensation: bool = param(
        False,
        help="Take out how scores depend on a particle's elevation; for scores made with a missing wedge.",
    )
    particle_spacing_angstrom: float = param(
        72.0,
        unit=Unit.ANGSTROM,
        gt=0,
        le=5000,
        help="Distance between neighbouring particles; scales the two rules below.",
    )
    duplicate_distance_angstrom: float | None = param(
        None,
        unit=Unit.ANGSTROM,
        ge=0,
        le=5000,
        help="Closer particles count as one and the best stays; empty takes 0.6 of the spacing, 0 keeps all.",
    )
    lattice_neighbours_min: int | None = param(
        None,
        ge=0,
        le=12,
        help=(
            "Neighbours on the same lattice a particle needs; empty weighs score and neighbours together "
            "for particles on surfaces, 0 uses scores alone."
        ),
    )
    symmetry: str | None = param(
        None,
        pattern=r"^[CDcd][1-9][0-9]?$",
        help="Symmetry about the particle's axis (Cn, Dn) of a lattice site; empty takes the particles'.",
        per_item=False,
    )
    lattice_distance_tolerance: float = param(
        0.25, gt=0, lt=1, help="Fraction of the spacing by which a lattice neighbour may be off."
    )
    lattice_angle_tolerance_deg: float = param(
        14.0,
        unit=Unit.DEGREE,
        gt=0,
        le=90,
        help="In-plane angle by which a lattice neighbour may be turned.",
    )
    half_set_split: Literal["patch", "object", "random"] = param(
        "patch",
        help=("How half-sets are made: two patches of every object, whole objects, or particles at random."),
        per_item=False,
    )


STAGE = StageSpec(
    name="select",
    summary="Keep the good particles, once each, and assign half-sets",
    params=SelectParams,
    inputs={"particles": Port(ArtifactKind.PARTICLES, "scored poses")},
    outputs={"particles": Port(ArtifactKind.PARTICLES, "selected poses with half-sets")},
    run="staproj.stages.select.run:select",
    scope="project",
    group="particles",
    doc=(
        "Of particles at one place the best-scoring one stays. On surfaces score and neighbours are "
        "then weighed together: neighbours count where they lie at the lattice spacing and hold an "
        "agreeing pose, and decoys (the same particles moved and turned at random) show how many "
        "wrong poses find by chance. Without a lattice this falls back to the scores by itself. "
        "Elsewhere, or with `lattice_neighbours_min`, the histogram of scores is split: where two "
        "populations show, at the point where a particle belongs to either with equal chance; where "
        "only one shows, only low outliers fall and the record says so.\n\n"
        "Half-sets: `patch` cuts every object into two patches by a plane across the tilt axis, which "
        "balances the halves within every object, gives both the same missing wedge, and lets only "
        "boxes along the seam share voxels. `object` gives whole objects to one half, so that no two "
        "halves share anything; it needs several objects. `random` mixes neighbours, which share "
        "voxels where boxes overlap: its FSC is too good."
    ),
    methods=(
        "Of {n_given:.0f} particles {n_selected:.0f} were kept after removing duplicates closer than "
        "{duplicate_distance_angstrom:.0f} Å and particles with low scores.",
        "[half_set_split=patch? Half-sets were assigned by patches of each "
        "object.][half_set_split=object? Half-sets were assigned by objects.][half_set_split=random? "
        "Half-sets were assigned at random.]",
    ),
)
