"""Declaration of the stage ``coarse_align``."""

from __future__ import annotations

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class CoarseAlignParams(Params):
    """How neighbouring views are correlated."""

    pixel_size_angstrom: float | None = param(
        None,
        unit=Unit.ANGSTROM,
        gt=0,
        le=200,
        help="Pixel size the views are reduced to; unset = about 10 Å, with 200 to 1000 pixels a side.",
    )
    low_sigma_cycles_per_px: float = param(
        0.03,
        unit=Unit.CYCLES_PER_PIXEL,
        ge=0,
        le=0.2,
        help="Sigma of the high-pass filter, of the reduced views.",
    )
    high_radius_cycles_per_px: float = param(
        0.25,
        unit=Unit.CYCLES_PER_PIXEL,
        gt=0,
        le=0.5,
        help="Frequency beyond which the low-pass filter falls.",
    )
    high_sigma_cycles_per_px: float = param(
        0.05, unit=Unit.CYCLES_PER_PIXEL, gt=0, le=0.5, help="Sigma of the low-pass filter's fall."
    )
    taper_fraction: float = param(
        0.1, ge=0, le=0.4, help="Share of each side over which views fall to their mean at the border."
    )
    max_shift_angstrom: float | None = param(
        None,
        unit=Unit.ANGSTROM,
        gt=0,
        help="Longest displacement between neighbouring views; unset = a third of the shorter side.",
    )
    min_peak_sd: float = param(
        6.0,
        unit=Unit.SIGMA,
        ge=0,
        le=50,
        help="Peaks lower than this are not believed; such a view takes the shift of its neighbour.",
    )
    tilt_axis_deg: float | None = param(
        None,
        unit=Unit.DEGREE,
        ge=-180,
        le=360,
        help="Direction of the tilt axis, counter-clockwise from +y; unset = what the tilt series says.",
    )


STAGE = StageSpec(
    name="coarse_align",
    summary="Shift views onto each other by cross-correlation, from the middle outwards.",
    params=CoarseAlignParams,
    inputs={"tilt_series": Port(ArtifactKind.TILT_SERIES, "Views of one tilt series.")},
    outputs={"alignment": Port(ArtifactKind.ALIGNMENT, "Nominal angles and axis, shifts by correlation.")},
    run="staproj.stages.coarse_align.run:coarse_align",
    group="align",
    doc="""Views are reduced, band-passed and tapered. From the view nearest 0° outwards each one is
stretched perpendicular to the tilt axis by the ratio of the cosines, so that it resembles its less
tilted neighbour, and correlated with it. Shifts add up along the series.

Good output: peaks above 10 SD in all pairs and smooth shifts. Fine alignment corrects errors of this
step as long as they stay below the search radius of `fiducials`.""",
    citations=("Guckenberger1982", "Kremer1996"),
    methods=(
        "Views were shifted onto each other by cross-correlation of neighbours, stretched by the "
        "ratio of the cosines of their tilts.",
    ),
)
