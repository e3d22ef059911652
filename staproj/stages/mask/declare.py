"""Declaration of the stage ``mask``."""

from __future__ import annotations

from typing import Literal

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class MaskParams(Params):
    """Shape and edge of the mask."""

    shape: Literal["density", "sphere", "cylinder"] = param(
        "density", help="Follow the density of the map, or take a plain sphere or cylinder along z."
    )
    lowpass_angstrom: float = param(
        15.0,
        unit=Unit.ANGSTROM,
        ge=0,
        le=500,
        help="Low-pass before thresholding (density); coarser maps are not filtered, 0 never filters.",
    )
    threshold: float | None = param(
        None, help="Density (of the filtered map) that counts as inside; empty finds it by Otsu's rule."
    )
    extend_angstrom: float = param(
        8.0, unit=Unit.ANGSTROM, ge=-500, le=500, help="Grow the binary mask by this much (density)."
    )
    soft_edge_angstrom: float = param(
        16.0, unit=Unit.ANGSTROM, ge=0, le=500, help="Width of the raised-cosine edge around the mask."
    )
    diameter_angstrom: float | None = param(
        None,
        unit=Unit.ANGSTROM,
        gt=0,
        le=100000,
        help="Diameter of the sphere or cylinder; also bounds density masks. Empty takes 0.8 of the box.",
    )
    height_angstrom: float | None = param(
        None, unit=Unit.ANGSTROM, gt=0, le=100000, help="Height of the cylinder; empty takes its diameter."
    )


STAGE = StageSpec(
    name="mask",
    summary="Make a soft mask for FSC and sharpening",
    params=MaskParams,
    inputs={"map": Port(ArtifactKind.MAP, "map the mask is made for")},
    outputs={"mask": Port(ArtifactKind.MASK, "soft mask on the grid of the map")},
    run="staproj.stages.mask.run:make_mask",
    scope="project",
    group="maps",
    doc=(
        "A density mask is the low-passed map at a threshold, grown by `extend_angstrom`, with a "
        "raised-cosine edge: the rule of RELION's mask_create. It stays inside a sphere, so that "
        "neighbours of the particle at the rim of the box do not count. A mask that is too tight "
        "shows in the fsc step: the phase-randomised maps correlate."
    ),
    methods=(
        "A soft mask ({shape}) covering {mask_fraction.percent:.0f} % of the box was made[, with an "
        "edge of {soft_edge_angstrom:.0f} Å].",
    ),
)
