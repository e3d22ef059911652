"""Parameters and ports of sphere picking."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class GeometryParams(Params):
    """Which spheres to look for."""

    radius_min_angstrom: float = param(
        250.0, unit=Unit.ANGSTROM, gt=0, le=20000, help="Smallest radius of a VLP's protein layer."
    )
    radius_max_angstrom: float = param(
        700.0, unit=Unit.ANGSTROM, gt=0, le=20000, help="Largest radius of a VLP's protein layer."
    )
    layer_sigma_angstrom: float = param(
        30.0,
        unit=Unit.ANGSTROM,
        gt=0,
        le=500,
        help="Half-thickness (SD) of the layer that detection looks for.",
    )
    min_score_sd: float = param(
        10.0, unit=Unit.SIGMA, ge=0, le=1000,
        help="Smallest score of a sphere, in SDs of the matched filter where there is none.",
    )  # fmt: skip
    min_relative_score: float = param(
        0.3, ge=0, le=1, help="Smallest score as a fraction of the best sphere's of the same tomogram."
    )
    max_count: int = param(50, ge=1, le=10000, help="Most spheres kept in one tomogram.")
    min_separation: float = param(
        0.75, gt=0, le=2, help="Least distance of two centres, as a fraction of the sum of their radii."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.radius_max_angstrom <= self.radius_min_angstrom:
            raise ValueError("radius_max_angstrom must be larger than radius_min_angstrom")
        return self


STAGE = StageSpec(
    name="geometry",
    summary="Find VLPs: spheres of protein in the coarsest tomogram",
    params=GeometryParams,
    inputs={
        "tomograms": Port(ArtifactKind.TOMOGRAMS, "Tomograms; the coarsest one is searched.", per_item=True)
    },
    outputs={"geometry": Port(ArtifactKind.GEOMETRY, "Centres and radii of spheres.", per_item=True)},
    run="staproj.stages.geometry.run:find_spheres",
    group="particles",
    doc="""A matched filter for thin shells of every radius in the range finds candidates; centre and
radius are then moved to where the mean density on the sphere, at about 40 Å resolution, is highest. The
radius is therefore that of the densest layer (for immature HIV-1 Gag: the CA lattice); directions near z
do not count, since the missing wedge removed them. Good output: scores far above the threshold, one clear
peak in each radial profile. If VLPs are missed, widen the radii or lower min_score_sd; if noise is picked,
raise it.""",
    methods=(
        "{n_spheres.sum:.0f} spherical particles[ with radii of {spheres.radius_angstrom:.0f} Å] "
        "were found in the tomograms.",
    ),
)
