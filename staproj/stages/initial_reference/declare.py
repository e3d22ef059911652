"""Declaration of the stage ``initial_reference``."""

from __future__ import annotations

from typing import Literal

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class InitialReferenceParams(Params):
    """How a first reference is made without knowing the structure."""

    method: Literal["single", "hierarchical", "average", "map"] = param(
        "single",
        help=(
            "single: start from single particles and iterate; hierarchical: merge 2^k particles in pairs, "
            "then "
            "iterate; average: seeds as they stand; map: a given map."
        ),
        per_item=False,
    )
    reference_path: str | None = param(
        None, help="Map to start from (method map): bright, MRC.", per_item=False, data_path=True
    )
    binning: int | None = param(
        None,
        ge=1,
        le=64,
        help="Reduction of the views; empty gives about a third of the resolution.",
        per_item=False,
    )
    resolution_angstrom: float = param(
        30.0, unit=Unit.ANGSTROM, gt=0, le=500, help="Nothing finer than this is looked at.", per_item=False
    )
    box_size_angstrom: float = param(
        260.0, unit=Unit.ANGSTROM, gt=0, le=5000, help="Edge of the particle box.", per_item=False
    )
    mask_diameter_angstrom: float = param(
        190.0,
        unit=Unit.ANGSTROM,
        gt=0,
        le=5000,
        help="Diameter of the soft sphere particles are compared in.",
        per_item=False,
    )
    shift_range_angstrom: float = param(
        40.0,
        unit=Unit.ANGSTROM,
        ge=0,
        le=1000,
        help="How far seeds may be off across their axis; about half the lattice spacing.",
        per_item=False,
    )
    axial_range_angstrom: float = param(
        45.0,
        unit=Unit.ANGSTROM,
        ge=0,
        le=1000,
        help="How far seeds may be off along their axis.",
        per_item=False,
    )
    tilt_range_deg: float = param(
        10.0,
        unit=Unit.DEGREE,
        ge=0,
        le=90,
        help="How far axes may lean away from the seeds'.",
        per_item=False,
    )
    max_particles: int = param(
        200,
        ge=8,
        le=20000,
        help="Particles used, of the four times as many seeds looked at first.",
        per_item=False,
    )
    n_starts: int = param(
        3,
        ge=1,
        le=50,
        help="Tries from different particles; the most consistent one is kept.",
        per_item=False,
    )
    n_iterations: int = param(
        6, ge=1, le=50, help="Rounds of alignment and averaging in each try.", per_item=False
    )
    hierarchy_levels: int = param(5, ge=1, le=10, help="k of the 2^k particles merged first.", per_item=False)


STAGE = StageSpec(
    name="initial_reference",
    summary="Make a first reference from the seeds themselves",
    params=InitialReferenceParams,
    inputs={
        "particles": Port(ArtifactKind.PARTICLES, "seeds with outward normals", per_item=True),
        "tilt_series": Port(ArtifactKind.TILT_SERIES, "views", per_item=True),
        "alignment": Port(ArtifactKind.ALIGNMENT, "tilt geometry", per_item=True),
        "ctf": Port(ArtifactKind.CTF, "defocus of every view", optional=True, per_item=True),
        "gold": Port(ArtifactKind.GOLD, "beads to erase", optional=True, per_item=True),
    },
    outputs={"map": Port(ArtifactKind.MAP, "reference without symmetry")},
    run="staproj.stages.initial_reference.run:initial_reference",
    scope="project",
    group="particles",
    doc=(
        "Seeds know their outward normal but not the turn about it, and stand anywhere on the lattice. "
        "First the "
        "average of all seeds, which holds only layers, brings every seed to its layer. Then single "
        "particles serve "
        "as references: the best seeds are aligned to each (whole circle about the axis, shifts of half a "
        "lattice spacing), averaged, and aligned again. The try whose particles agree best with their own "
        "average "
        "is kept; nothing but the data decides. A good result shows clear repeating features in the "
        "section; if it "
        "is blurred, give more particles or tries, or a coarser resolution."
    ),
    methods=(
        "[!reference_path? A first reference was made from the data alone.]",
        "[reference_path? A given map served as first reference.]",
    ),
)
