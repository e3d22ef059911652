"""Look for a reference about every seed of a tilt series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from staproj.errors import EmptyResultError
from staproj.model.maps import DensityMap
from staproj.model.particles import ParticleSet
from staproj.stages.api import StageContext
from staproj.stages.match.declare import MatchParams
from staproj.stages.shared.aligning import SearchRange, align
from staproj.stages.shared.averaging import cyclic_order, load_reference
from staproj.stages.shared.particles import open_source
from staproj.stages.shared.pictures import picture_of_histogram
from staproj.units import Unit


def match(inputs: Mapping[str, Any], params: MatchParams, ctx: StageContext) -> dict[str, Any]:
    """Return every seed moved to the best place of the reference, with its score."""
    seeds: ParticleSet = inputs["particles"]
    reference: DensityMap = inputs["map"]
    if not len(seeds):
        raise EmptyResultError("there are no seeds to match", where=ctx.item, hint="look at the step `seed`")
    source = open_source(
        inputs,
        ctx,
        binning=params.binning,
        voxel_size_angstrom=reference.voxel_size_angstrom,
        box_angstrom=params.box_size_angstrom,
    )
    source.measure_noise(seeds)
    search = SearchRange(
        tilt_deg=params.tilt_range_deg,
        spin_deg=params.spin_range_deg,
        shift_xy_angstrom=params.shift_range_angstrom,
        shift_z_angstrom=params.axial_range_angstrom,
        coarse_resolution_angstrom=params.coarse_resolution_angstrom,
        fine_resolution_angstrom=params.resolution_angstrom,
        symmetry_order=cyclic_order(reference.symmetry),
    )
    found = align(
        source,
        seeds,
        load_reference(reference, source),
        search,
        mask_diameter_angstrom=params.mask_diameter_angstrom,
        score_diameter_angstrom=params.score_diameter_angstrom,
        progress=ctx.progress,
    )
    found = replace(found, symmetry=reference.symmetry)
    _record(seeds, found, ctx)
    return {"particles": found}


def _record(seeds: ParticleSet, found: ParticleSet, ctx: StageContext) -> None:
    moved = np.linalg.norm(found.position_xyz_angstrom - seeds.position_xyz_angstrom, axis=1)
    cosine = np.einsum("ni,ni->n", seeds.rot_tomo_from_ref[:, :, 2], found.rot_tomo_from_ref[:, :, 2])
    lean = np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0)))
    counts, edges = np.histogram(found.score, bins=40)
    centres = 0.5 * (edges[1:] + edges[:-1])
    ctx.curve("score_histogram", centres, counts.astype(float), x_label="score_sd", y_label="particles")
    ctx.table(
        "particles",
        {
            "particle_id": found.particle_id,
            "score_sd": found.score,
            "moved_angstrom": moved,
            "lean_deg": lean,
        },
        doc="a row each seed: score, how far it moved and leaned",
    )
    ctx.preview("score_histogram", picture_of_histogram(counts.astype(float)))
    ctx.metric("median_score_sd", float(np.median(found.score)), Unit.SIGMA)
    ctx.metric("median_moved_angstrom", float(np.median(moved)), Unit.ANGSTROM)
    ctx.verdict(
        f"{len(found)} seeds matched, score median {np.median(found.score):.2f}, "
        f"best decile {np.percentile(found.score, 90):.2f} SD, moved {np.median(moved):.0f} Å"
    )
