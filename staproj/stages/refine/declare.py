"""Declaration of the stage ``refine``."""

from __future__ import annotations

from typing import Literal

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class RefineParams(Params):
    """How particles are aligned and averaged in turn."""

    binning: int = param(2, ge=1, le=64, help="Reduction of the views.", per_item=False)
    symmetry: str | None = param(
        None,
        pattern=r"^[Cc][1-9][0-9]?$",
        help="Cyclic symmetry about z; empty takes that of the reference.",
        per_item=False,
    )
    box_size_angstrom: float = param(
        260.0, unit=Unit.ANGSTROM, gt=0, le=5000, help="Edge of the particle box.", per_item=False
    )
    mask_diameter_angstrom: float = param(
        190.0,
        unit=Unit.ANGSTROM,
        gt=0,
        le=5000,
        help="Diameter of the soft sphere references are seen through.",
        per_item=False,
    )
    n_iterations: int = param(
        3,
        ge=1,
        le=50,
        help="Most rounds of alignment and averaging; settled poses end it sooner.",
        per_item=False,
    )
    start: Literal["map", "particles"] = param(
        "map",
        help=(
            "What rounds start from: the map, cut off low for both halves alike; or each half's own average "
            "of the particles as they come, for poses that were refined apart already."
        ),
        per_item=False,
    )
    start_resolution_angstrom: float = param(
        30.0,
        unit=Unit.ANGSTROM,
        gt=0,
        le=500,
        help="Low-pass of the one reference that both halves start from; what is finer is theirs alone.",
        per_item=False,
    )
    coarse_resolution_angstrom: float = param(
        30.0,
        unit=Unit.ANGSTROM,
        gt=0,
        le=500,
        help="Resolution of the grid search; sets its steps.",
        per_item=False,
    )
    max_resolution_angstrom: float | None = param(
        None,
        unit=Unit.ANGSTROM,
        gt=0,
        le=500,
        help="Never align finer than this; empty leaves it to the FSC.",
        per_item=False,
    )
    tilt_range_deg: float = param(
        9.0,
        unit=Unit.DEGREE,
        ge=0,
        le=90,
        help="How far axes may lean in the first round; halves every round.",
        per_item=False,
    )
    spin_range_deg: float = param(
        9.0,
        unit=Unit.DEGREE,
        ge=0,
        le=180,
        help="How far particles may spin in the first round; halves every round.",
        per_item=False,
    )
    shift_range_angstrom: float = param(
        12.0,
        unit=Unit.ANGSTROM,
        ge=0,
        le=1000,
        help="How far particles may move in the first round; halves too.",
        per_item=False,
    )


STAGE = StageSpec(
    name="refine",
    summary="Align particles to their own half's average, again and again",
    params=RefineParams,
    inputs={
        "particles": Port(ArtifactKind.PARTICLES, "poses with half-sets"),
        "map": Port(ArtifactKind.MAP, "reference to start from"),
        "tilt_series": Port(ArtifactKind.TILT_SERIES, "views", per_item=True),
        "alignment": Port(ArtifactKind.ALIGNMENT, "tilt geometry", per_item=True),
        "ctf": Port(ArtifactKind.CTF, "defocus of every view", optional=True, per_item=True),
        "gold": Port(ArtifactKind.GOLD, "beads to erase", optional=True, per_item=True),
    },
    outputs={
        "particles": Port(ArtifactKind.PARTICLES, "refined poses"),
        "half_maps": Port(ArtifactKind.HALF_MAPS, "averages of the half-sets"),
        "map": Port(ArtifactKind.MAP, "average of all"),
        "fsc": Port(ArtifactKind.FSC, "FSC of the half maps in the sphere of the mask"),
    },
    run="staproj.stages.refine.run:refine",
    scope="project",
    group="particles",
    doc=(
        "Each half-set is aligned to its own average alone, as far as the FSC of the two holds (0.143, "
        "Wiener-weighted). All they share is the start: with `start = map` one reference cut off at "
        "`start_resolution_angstrom`; with `start = particles`, for poses refined apart already, nothing. "
        "The record lists the members of both halves and how many they share (none). Ranges halve every "
        "round. Resolution should improve or settle; if it falls, start coarser or with more particles."
    ),
    citations=("Scheres2012", "Grant2015"),
    methods=(
        "Poses were refined against tilt images[ at binning {binning:.0f}][ (number of rounds: "
        "{rounds.round.max:.0f})], each half-set ({n_half_1:.0f} and {n_half_2:.0f} particles) against its "
        "own average[, with {out.map.symmetry} symmetry]; the half maps agreed to "
        "{resolution_angstrom:.1f} Å (FSC = 0.143).",
    ),
)
