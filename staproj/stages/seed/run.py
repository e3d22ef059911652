"""Seeds on spheres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from staproj.errors import EmptyResultError, InputError
from staproj.kernels.sphere_sampling import fibonacci_sphere, frames_on_normals, hexagonal_count
from staproj.model.particles import ParticleSet
from staproj.model.surfaces import Spheres
from staproj.stages.api import StageContext
from staproj.stages.seed.declare import SeedParams
from staproj.stages.shared.pictures import picture_of_points
from staproj.units import Unit


def seed(inputs: Mapping[str, Any], params: SeedParams, ctx: StageContext) -> dict[str, Any]:
    """Return seeds for the spheres of one tilt series."""
    spheres: Spheres = inputs["geometry"]
    _check(spheres)
    rng = ctx.rng("twist")
    positions, rotations, owners, rows = [], [], [], []
    for index, object_id in enumerate(spheres.object_id):
        ctx.check_cancelled()
        radius = float(spheres.radius_angstrom[index]) + params.radial_offset_angstrom
        if radius <= 0:
            ctx.fallback(f"sphere {object_id} is smaller than the inward offset and gets no seeds")
            continue
        normals = fibonacci_sphere(
            hexagonal_count(radius, params.particle_spacing_angstrom, params.oversampling)
        )
        limit = np.cos(np.deg2rad(params.pole_exclusion_deg))
        normals = normals[np.abs(normals[:, 2]) <= limit + 1e-12] if params.pole_exclusion_deg else normals
        twist = rng.uniform(0.0, 360.0, len(normals)) if params.random_twist else np.zeros(len(normals))
        positions.append(spheres.centre_xyz_angstrom[index] + radius * normals)
        rotations.append(frames_on_normals(normals, twist))
        owners.append(np.full(len(normals), object_id, dtype=np.int64))
        rows.append((int(object_id), radius, len(normals)))
    if not rows:
        raise EmptyResultError(
            "no seed was made", where=spheres.tilt_series_id, hint="look at the spheres that geometry found"
        )
    particles = ParticleSet.create(
        spheres.tilt_series_id,
        np.concatenate(positions),
        np.concatenate(rotations),
        object_id=np.concatenate(owners),
    )
    _record(particles, rows, ctx)
    return {"particles": particles}


def _check(spheres: Spheres) -> None:
    where = spheres.tilt_series_id
    if len(spheres.object_id) == 0:
        raise EmptyResultError(
            "there is no sphere to seed", where=where, hint="lower the geometry stage's score limit"
        )
    finite = np.isfinite(spheres.centre_xyz_angstrom).all() and np.isfinite(spheres.radius_angstrom).all()
    if not finite or (spheres.radius_angstrom <= 0).any():
        raise InputError("a sphere has no finite centre or no positive radius", where=where)


def _record(particles: ParticleSet, rows: list[tuple[int, float, int]], ctx: StageContext) -> None:
    ctx.table(
        "seeds_per_object",
        {
            "object_id": [row[0] for row in rows],
            "radius_angstrom": [row[1] for row in rows],
            "n_seeds": [row[2] for row in rows],
        },
        doc="Seeds laid on every sphere.",
    )
    ctx.metric("n_seeds", len(particles))
    ctx.metric("radius_median_angstrom", float(np.median([row[1] for row in rows])), Unit.ANGSTROM)
    ctx.preview("seeds_xy", picture_of_points(particles.position_xyz_angstrom[:, :2]))
    ctx.verdict(f"{len(particles)} seeds on {len(rows)} sphere{'s' if len(rows) != 1 else ''}")
