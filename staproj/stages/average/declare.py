"""Declaration of the stage ``average``."""

from __future__ import annotations

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class AverageParams(Params):
    """How final averages are made."""

    binning: int = param(1, ge=1, le=64, help="Reduction of the views.", per_item=False)
    symmetry: str | None = param(
        None,
        pattern=r"^[Cc][1-9][0-9]?$",
        help="Cyclic symmetry about z; empty takes that of the particles.",
        per_item=False,
    )
    box_size_angstrom: float = param(
        260.0, unit=Unit.ANGSTROM, gt=0, le=5000, help="Edge of the maps.", per_item=False
    )


STAGE = StageSpec(
    name="average",
    summary="Average both half-sets and all particles",
    params=AverageParams,
    inputs={
        "particles": Port(ArtifactKind.PARTICLES, "poses with half-sets"),
        "tilt_series": Port(ArtifactKind.TILT_SERIES, "views", per_item=True),
        "alignment": Port(ArtifactKind.ALIGNMENT, "tilt geometry", per_item=True),
        "ctf": Port(ArtifactKind.CTF, "defocus of every view", optional=True, per_item=True),
        "gold": Port(ArtifactKind.GOLD, "beads to erase", optional=True, per_item=True),
    },
    outputs={
        "half_maps": Port(ArtifactKind.HALF_MAPS, "averages of the half-sets"),
        "map": Port(ArtifactKind.MAP, "average of all"),
    },
    run="staproj.stages.average.run:average",
    scope="project",
    group="particles",
    doc=(
        "Every view patch of every particle is multiplied by its own CTF and exposure filter, weighed by the "
        "noise of its view, and added as a central slice; the sums are divided by the summed squares of "
        "those "
        "factors. Maps are bright and as sharp as the data: `postprocess` filters and sharpens them."
    ),
    citations=("Grant2015",),
    methods=(
        "The final half maps and the average of {n_particles:.0f} particles were made at "
        "{voxel_size_angstrom:.3g} Å per voxel[ with {out.map.symmetry} symmetry].",
    ),
)
