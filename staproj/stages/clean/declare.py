"""Declaration of the stage that removes X-rays from views and leaves views out."""

from __future__ import annotations

from staproj.kinds import ArtifactKind
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit


class CleanParams(Params):
    """Criteria for X-rays, in standard deviations, and views to leave out."""

    exclude_views: list[int] = param(
        [],
        help="Views nothing should use, counted from 0 in order of rising tilt (bad focus, ice, crystals).",
    )
    remove_xrays: bool = param(True, help="Replace bright spikes; off = only leave views out.")
    scan_sd: float = param(
        5.0, unit=Unit.SIGMA, ge=2, le=50, help="Peaks this far above the mean around them are looked at."
    )
    peak_sd: float = param(
        10.0, unit=Unit.SIGMA, ge=3, le=200, help="Peak above an annulus around it that makes it an X-ray."
    )
    difference_sd: float = param(
        8.0,
        unit=Unit.SIGMA,
        ge=3,
        le=200,
        help="Difference from the 8 neighbours (in SD of that difference) that makes a peak an X-ray.",
    )
    grow_sd: float = param(
        4.0, unit=Unit.SIGMA, ge=1, le=50, help="Neighbours above the annulus by this belong to the X-ray."
    )
    max_radius_px: float = param(
        4.0,
        unit=Unit.PIXEL,
        ge=1,
        le=50,
        help="Largest radius of an X-ray (twice that for very bright ones).",
    )
    dark_spikes_too: bool = param(
        False, help="Also replace dark spikes; leave off where there is gold, which is dark."
    )
    dark_view_fraction: float = param(
        0.3,
        ge=0,
        lt=1,
        help="Views with less than this share of the expected signal are left out; 0 = never.",
    )


STAGE = StageSpec(
    name="clean",
    summary="Remove X-ray spikes from views; leave out blank and chosen views.",
    params=CleanParams,
    inputs={"tilt_series": Port(ArtifactKind.TILT_SERIES, "Views.")},
    outputs={"tilt_series": Port(ArtifactKind.TILT_SERIES, "Cleaned views.", per_item=True)},
    run="staproj.stages.clean.run:clean_views",
    group="import",
    doc="""A spike is a local maximum that stands out from an annulus around it or from its 8 neighbours. It
is grown to connected bright pixels and replaced by a second-order polynomial through its border. Only
bright spikes are taken, so dark gold beads stay. The same pixels are replaced in the stacks of odd
and even frames.

A view is left out if it is named in exclude_views, or if its mean is far below what the other views
and its tilt explain (a closed shutter or a grid bar). Left-out views stay in the stack and are
marked.

Good output: up to a few hundred spikes a view. Thousands mean that peak_sd or difference_sd are too
low for this detector. Look at the picture of replaced pixels: gold or lattice must not show.""",
    citations=("Kremer1996",),
    methods=(
        "[remove_xrays? Bright spikes were replaced ({n_spikes.sum:.0f} in all).]",
        "{n_views_used.sum:.0f} views were used.",
    ),
)
