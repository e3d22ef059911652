"""Parameters and ports of tomogram reconstruction."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class ReconstructParams(Params):
    """How tomograms are back-projected, and at which sizes."""

    binning: tuple[Annotated[int, Field(ge=1, le=64)], ...] | None = param(
        None,
        help="Binnings relative to the tilt series, one tomogram each; none given: one of about 10 Å voxels.",
    )
    ctf_correction: Literal["flip", "multiply", "none"] = param(
        "flip",
        help="How the CTF of every depth is corrected: sign only, multiplication by the CTF, or not at all.",
    )
    slab_thickness_nm: float | None = param(
        None, unit=Unit.NANOMETRE, gt=0, le=1000,
        help="Depth over which one CTF holds; none given: where its phase turns a quarter at Nyquist.",
    )  # fmt: skip
    exposure_weighting: bool = param(
        True, help="Weaken high frequencies of views by the exposure they had received."
    )
    count_own_exposure: bool = param(True, help="Count the exposure of the view itself too, as IMOD does.")
    cutoff_cycles_per_px: float = param(
        0.35, unit=Unit.CYCLES_PER_PIXEL, gt=0, le=0.5, help="Frequency up to which the ramp filter rises."
    )
    falloff_cycles_per_px: float = param(
        0.05,
        unit=Unit.CYCLES_PER_PIXEL,
        ge=0,
        le=0.5,
        help="SD of the filter's Gaussian fall beyond the cut-off.",
    )
    oversampling: int = param(
        2, ge=1, le=4, help="Samples per pixel that views are interpolated on before back-projection."
    )
    halves: bool = param(False, help="Also reconstruct tomograms of odd and of even movie frames.")


STAGE = StageSpec(
    name="reconstruct",
    summary="Weighted back-projection, with the CTF of every depth corrected and gold erased",
    params=ReconstructParams,
    inputs={
        "tilt_series": Port(ArtifactKind.TILT_SERIES, "Views, motion-corrected and cleaned.", per_item=True),
        "alignment": Port(ArtifactKind.ALIGNMENT, "Tilt geometry in the positioned frame.", per_item=True),
        "slab": Port(ArtifactKind.SLAB, "Extent of the specimen: the volume to reconstruct.", per_item=True),
        "ctf": Port(
            ArtifactKind.CTF, "Defocus of the views; without it nothing is corrected.", True, per_item=True
        ),
        "gold": Port(ArtifactKind.GOLD, "Beads to erase from the views.", True, per_item=True),
    },
    outputs={"tomograms": Port(ArtifactKind.TOMOGRAMS, "Tomograms, protein dark.", per_item=True)},
    run="staproj.stages.reconstruct.run:reconstruct",
    group="reconstruct",
    doc="""Views are reduced by Fourier cropping, weighted for exposure, corrected for the CTF of each
depth, brought on the tilt axis by one spline interpolation, ramp-filtered and back-projected. Tomograms
have mean 0 and SD 1. Good output: flat background, membranes and layers dark and sharp in XY, no streaks
from gold. If beads leave streaks, look at `gold`; if layers look doubled, at the alignment or the defocus
hand.""",
    citations=("Radermacher1992", "Turonova2017", "Grant2015"),
    methods=(
        "Tomograms were reconstructed by weighted back-projection of {n_views.sum:.0f} "
        "views[ctf_correction=flip?, with phases flipped for the defocus of each "
        "depth][exposure_weighting? and weights for exposure][in.gold?, after gold was erased].",
    ),
)
