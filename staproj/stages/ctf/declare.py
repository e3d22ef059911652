"""Parameters and ports of CTF estimation."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class CtfParams(Params):
    """How the defocus of each view is searched."""

    defocus_min_um: float = param(
        0.5, unit=Unit.MICROMETRE, gt=0, le=20, help="Smallest underfocus searched."
    )
    defocus_max_um: float = param(8.0, unit=Unit.MICROMETRE, gt=0, le=20, help="Largest underfocus searched.")
    defocus_hand: Literal["auto", -1, 1] = param(
        "auto",
        help="Sign of the defocus gradient across the tilt axis: -1 as in IMOD, or decided from the data.",
    )
    astigmatism_max_um: float = param(
        0.4,
        unit=Unit.MICROMETRE,
        ge=0,
        le=4,
        help="Largest difference of defocus U and V searched; 0 fits none.",
    )
    tile_size_angstrom: float = param(
        700.0, unit=Unit.ANGSTROM, ge=100, le=5000, help="Edge of the tiles whose spectra are taken."
    )
    fit_low_angstrom: float = param(
        50.0, unit=Unit.ANGSTROM, gt=0, le=500, help="Coarse end of the range of resolution that is fitted."
    )
    fit_high_angstrom: float | None = param(
        None, unit=Unit.ANGSTROM, gt=0, le=100,
        help="Fine end of the range that is fitted; none given: near Nyquist, but not finer than 5 Å.",
    )  # fmt: skip
    defocus_spread_um: float = param(
        0.2, unit=Unit.MICROMETRE, gt=0, le=5,
        help="SD expected of a view's defocus about its neighbours'; only weak views heed it.",
    )  # fmt: skip
    nominal_defocus_um: float | None = param(
        None, unit=Unit.MICROMETRE, gt=0, le=20,
        help="Underfocus aimed at, used where rings are too weak; none given: as the metadata says.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.defocus_max_um <= self.defocus_min_um:
            raise ValueError("defocus_max_um must be larger than defocus_min_um")
        if self.fit_high_angstrom is not None and self.fit_high_angstrom >= self.fit_low_angstrom:
            raise ValueError("fit_high_angstrom must be smaller than fit_low_angstrom")
        return self


STAGE = StageSpec(
    name="ctf",
    summary="Fit defocus, astigmatism and the hand of the defocus gradient to Thon rings",
    params=CtfParams,
    inputs={
        "tilt_series": Port(ArtifactKind.TILT_SERIES, "Views, motion-corrected and cleaned.", per_item=True),
        "alignment": Port(
            ArtifactKind.ALIGNMENT, "Tilt geometry in the frame that will be used.", per_item=True
        ),
    },
    outputs={"ctf": Port(ArtifactKind.CTF, "Defocus of every view at the tomogram centre.", per_item=True)},
    run="staproj.stages.ctf.run:estimate_ctf",
    group="ctf",
    doc="""Spectra of overlapping tiles of all views are compared with CTF² at each tile's own defocus
(view + hand x depth). Views are fitted jointly: where rings are weak, neighbours and the nominal defocus
count, and the record says so. The hand is the sign under which all tiles of all tilted views agree better.
Good output: fit curves follow the rings, scores above 0.5 near zero tilt, a hand difference of tens or
more. If views disagree, narrow the defocus range; if the hand is not decided, set it (-1 is what IMOD
expects).""",
    citations=("Rohou2015", "Xiong2009"),
    methods=(
        "Defocus[astigmatism_max_um? and astigmatism] of each view[astigmatism_max_um? "
        "were][!astigmatism_max_um? was] fitted to Thon rings between {fit_low_angstrom:.0f} Å and "
        "the fine end of the range[ ({fit_high_angstrom:.3g} Å)][; the median defocus was "
        "{defocus_median_um:.2f} µm].",
    ),
)
