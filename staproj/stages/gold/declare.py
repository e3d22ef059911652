"""Parameters and ports of gold finding in 3-D."""

from __future__ import annotations

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class GoldParams(Params):
    """How beads are found that shall be erased."""

    bead_diameter_angstrom: float | None = param(
        None,
        unit=Unit.ANGSTROM,
        gt=0,
        le=2000,
        help="Diameter of the beads; none given: as the tracks say, or 100 Å.",
    )
    find_more: bool = param(True, help="Look for beads that were not tracked, in a coarse tomogram.")
    min_peak_sd: float = param(
        6.0, unit=Unit.SIGMA, ge=0, le=1000, help="Least height of a bead in the filtered tomogram, in SDs."
    )
    min_relative_contrast: float = param(
        0.4, gt=0, le=1, help="Least darkness of a bead in the views, as a fraction of the typical bead's."
    )
    depth_range_angstrom: float = param(
        3000.0, unit=Unit.ANGSTROM, gt=0, le=30000,
        help="Thickness of the layer in which beads are looked for; not less than the slab's volume.",
    )  # fmt: skip
    max_count: int = param(500, ge=0, le=10000, help="Most candidates looked at.")


STAGE = StageSpec(
    name="gold",
    summary="Find gold beads in 3-D, tracked or not, so that views can be read without them",
    params=GoldParams,
    inputs={
        "tilt_series": Port(ArtifactKind.TILT_SERIES, "Views, motion-corrected and cleaned.", per_item=True),
        "alignment": Port(
            ArtifactKind.ALIGNMENT, "Tilt geometry in the frame that will be used.", per_item=True
        ),
        "slab": Port(ArtifactKind.SLAB, "Extent of the specimen.", True, per_item=True),
        "fiducials": Port(ArtifactKind.FIDUCIALS, "Tracks of beads.", True, per_item=True),
    },
    outputs={"gold": Port(ArtifactKind.GOLD, "Beads to erase.", per_item=True)},
    run="staproj.stages.gold.run:find_gold",
    group="reconstruct",
    doc="""Tracked beads are placed by least squares over all views. Others are looked for in a coarse
tomogram and kept if they are as dark in the views as beads are. Nothing is erased here: whoever reads
views erases discs at the projected positions. Good output: every bead once, none on VLPs; look at the
picture before and after. If membranes are taken for gold, raise min_relative_contrast; if beads stay,
lower it.""",
    methods=("{n_beads.sum:.0f} gold beads were located in three dimensions.",),
)
