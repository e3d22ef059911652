"""Declaration of the stage ``fine_align``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param


class FineAlignParams(Params):
    """Which variables the views may have, and how outliers are treated."""

    axis_knots: Annotated[int, Field(ge=0, le=500)] | Literal["auto"] = param(
        "auto",
        help='Knots of the tilt-axis angle: 0 = kept, 1 = one for all views, "auto" = by leave-out error.',
    )
    tilt_knots: Annotated[int, Field(ge=0, le=500)] | Literal["auto"] = param(
        "auto", help='Knots of the correction of the tilt angles: 0 = kept, "auto" = by leave-out error.'
    )
    magnification_knots: Annotated[int, Field(ge=0, le=500)] | Literal["auto"] = param(
        "auto", help='Knots of the magnification over the views: 0 = kept, "auto" = by leave-out error.'
    )
    robust: bool = param(True, help="Give less weight to measurements with large residuals (bisquare).")
    k_factor: float = param(
        1.0, ge=0.3, le=5, help="Scale of the robust weights: smaller throws away more measurements."
    )


STAGE = StageSpec(
    name="fine_align",
    summary="Solve the tilt geometry from bead tracks, as free as leave-out errors allow.",
    params=FineAlignParams,
    inputs={
        "fiducials": Port(ArtifactKind.FIDUCIALS, "Tracks of gold beads."),
        "alignment": Port(ArtifactKind.ALIGNMENT, "Alignment to start from."),
    },
    outputs={"alignment": Port(ArtifactKind.ALIGNMENT, "Solved alignment.")},
    run="staproj.stages.fine_align.run:fine_align",
    group="align",
    doc="""Bundle adjustment: positions of the beads and shifts of the views are always free. The tilt-
axis angle, tilt angles and magnification follow piecewise linear curves over the views. How free these
are is chosen by leaving out whole beads, and runs of views of every bead, and asking which model
predicts them best; the table `models` lists all that were tried. Fewer than 3 beads: shifts only.

The frame: what tracks cannot tell is fixed. The mean correction of the tilt angles is 0 and there is no
x-tilt (`position` finds both), the mean magnification is 1, the mean z of the beads is 0, and the
origin in x and y keeps the shifts small.

Good output: mean residual below 0.5 px or 0.1 bead diameters, leave-out error not much above it.""",
    citations=("Mastronarde2008", "Triggs2000"),
    methods=(
        "The geometry of each tilt series was solved from the bead tracks by bundle adjustment[, "
        "with a mean residual of {residual_mean_px:.2f} px][ and a leave-out error of "
        "{leave_out_error_px:.2f} px].",
    ),
)
