"""Declaration of the stage ``fsc``."""

from __future__ import annotations

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param


class FscParams(Params):
    """Where the curve is read."""

    threshold: float = param(
        0.143, gt=0, lt=1, help="FSC at which the resolution is read; 0.143 is for independent half maps."
    )


STAGE = StageSpec(
    name="fsc",
    summary="Measure resolution by Fourier shell correlation of the half maps",
    params=FscParams,
    inputs={
        "half_maps": Port(ArtifactKind.HALF_MAPS, "averages of the two half-sets"),
        "mask": Port(ArtifactKind.MASK, "soft mask; without one the curve is unmasked", optional=True),
    },
    outputs={"fsc": Port(ArtifactKind.FSC, "curves and resolution")},
    run="staproj.stages.fsc.run:fsc",
    scope="project",
    group="maps",
    doc=(
        "Four curves: unmasked, masked, masked after the phases were randomised beyond the first "
        "shell with unmasked FSC < 0.8, and the masked one corrected by it, which is the one to "
        "quote. The resolution is the spacing of the last shell before the first drop below the "
        "threshold. Where the phase-randomised maps still correlate, the mask is too tight: widen its "
        "edge."
    ),
    citations=("Harauz1986", "Rosenthal2003", "Chen2013"),
    methods=(
        "The resolution was {resolution_angstrom:.1f} Å at FSC = {threshold:.3g}[in.mask?, corrected "
        "for the mask by phase randomisation][ ({resolution_unmasked_angstrom:.1f} Å without mask)].",
    ),
)
