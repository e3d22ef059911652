"""Declaration of the stage ``fiducials``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class FiducialsParams(Params):
    """How gold beads are found and followed."""

    bead_diameter_angstrom: Annotated[float, Field(ge=20, le=2000)] | Literal["auto"] = param(
        100.0,
        unit=Unit.ANGSTROM,
        help='Diameter of the gold beads; "auto" = measured in the least tilted views.',
    )
    min_peak_sd: float | None = param(
        None,
        unit=Unit.SIGMA,
        ge=4,
        le=200,
        help="Least strength of a bead to start a track; unset = 0.4 of the median of the strongest peaks.",
    )
    min_completeness: float = param(
        0.3, gt=0, le=1, help="Share of the views showing its place in which a bead must be found to be kept."
    )
    shift_search_angstrom: float = param(
        400.0, unit=Unit.ANGSTROM, ge=0, le=5000, help="How far the coarse shift of a view may be off."
    )
    depth_range_angstrom: float = param(
        4000.0,
        unit=Unit.ANGSTROM,
        gt=0,
        le=30000,
        help="Thickness of the layer in which beads are looked for.",
    )
    min_separation_diameter: float = param(
        1.4,
        ge=0.8,
        le=5,
        help="Beads that appear closer together than so many diameters are not measured there.",
    )
    max_residual_diameter: float = param(
        0.15,
        gt=0.01,
        le=1,
        help="Measurements farther than so many diameters from their prediction are dropped.",
    )
    rounds: int = param(3, ge=1, le=10, help="Rounds of predicting, measuring anew and solving.")


STAGE = StageSpec(
    name="fiducials",
    summary="Find gold beads and follow them through all views.",
    params=FiducialsParams,
    inputs={
        "tilt_series": Port(ArtifactKind.TILT_SERIES, "Views of one tilt series."),
        "alignment": Port(ArtifactKind.ALIGNMENT, "Coarse alignment."),
    },
    outputs={"fiducials": Port(ArtifactKind.FIDUCIALS, "Tracks of beads in raw pixels.")},
    run="staproj.stages.fiducials.run:find_fiducials",
    group="align",
    doc="""Views are reduced until a bead is about 12 pixels wide and filtered with the projection of a
sphere. Strong peaks of the least tilted view are followed outwards: each view's shift is found by
voting, predictions and peaks are paired, bead positions are solved in three dimensions. Beads that the
first view does not show are found by a depth search. Then every bead is measured anew around its
prediction, with a filter made from the beads' own mean radial profile. Places where beads overlap or
leave the field are not measured.

Good output: 6 or more beads, completeness above 80 %, residual below a tenth of a bead diameter.""",
    citations=("Mastronarde2017",),
    methods=(
        "Gold beads of {bead_diameter_angstrom:.0f} Å were found and followed through the views "
        "({n_beads:.0f} beads per series).",
    ),
)
