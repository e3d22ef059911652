"""Declaration of the stage ``postprocess``."""

from __future__ import annotations

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class PostprocessParams(Params):
    """How the map is weighted and sharpened."""

    b_factor_angstrom2: float | None = param(
        None,
        unit=Unit.ANGSTROM2,
        ge=-5000,
        le=5000,
        help="B-factor to apply (negative sharpens); empty fits it to the Guinier plot of the map.",
    )
    fit_low_angstrom: float = param(
        10.0,
        unit=Unit.ANGSTROM,
        gt=0,
        le=100,
        help="Low-resolution end of the Guinier fit; protein is flat beyond about 10 Å.",
    )
    fit_high_angstrom: float | None = param(
        None,
        unit=Unit.ANGSTROM,
        gt=0,
        le=100,
        help="High-resolution end of the fit; empty takes the resolution.",
    )
    fsc_weighting: bool = param(True, help="Weight shells by sqrt(2 FSC / (1 + FSC)).")
    lowpass_angstrom: float | None = param(
        None, unit=Unit.ANGSTROM, gt=0, le=500, help="Low-pass at last; empty leaves it to the FSC weight."
    )
    threshold: float = param(0.143, gt=0, lt=1, help="FSC at which the resolution is read.")
    mtf_star: str | None = param(
        None,
        data_path=True,
        per_item=False,
        help="STAR file with the detector's MTF (rlnResolutionInversePixel, rlnMtfValue) to divide by.",
    )
    detector_pixel_angstrom: float | None = param(
        None,
        unit=Unit.ANGSTROM,
        gt=0,
        le=100,
        help="Pixel size the MTF belongs to; empty takes the map's voxel.",
    )


STAGE = StageSpec(
    name="postprocess",
    summary="Join the half maps, weight by FSC and sharpen",
    params=PostprocessParams,
    inputs={
        "half_maps": Port(ArtifactKind.HALF_MAPS, "averages of the two half-sets"),
        "mask": Port(ArtifactKind.MASK, "soft mask", optional=True),
    },
    outputs={
        "map": Port(ArtifactKind.MAP, "sharpened map, not masked"),
        "fsc": Port(ArtifactKind.FSC, "FSC used for the weights"),
    },
    run="staproj.stages.postprocess.run:postprocess",
    scope="project",
    group="maps",
    doc=(
        "The mean of the half maps is divided by the MTF (where given), weighted by sqrt(2 FSC / (1 + "
        "FSC)) and multiplied by exp(-B/4 s²). B comes from a straight line through the Guinier plot "
        "of the *masked* mean with the corrected FSC as weight: noise outside of the mask would "
        "flatten the plot and give too little sharpening. Without enough shells between "
        "`fit_low_angstrom` and the resolution no B is applied, and the record says so. Programs that "
        "expect RELION's own fit should compare with `b_factor_angstrom2` given by hand."
    ),
    citations=("Rosenthal2003",),
    methods=(
        "The map was joined from the half maps[fsc_weighting? and weighted by their FSC]; its "
        "resolution was {resolution_angstrom:.1f} Å at FSC = {threshold:.3g}[in.mask?, within the "
        "mask].",
        "[b_factor_angstrom2? A B-factor of {b_factor_angstrom2:.0f} Å² was applied.]",
        "[!b_factor_angstrom2? The map was not sharpened.]",
    ),
)
