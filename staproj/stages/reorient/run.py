"""Find the symmetry axis of a reference and put it on z."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from staproj.errors import EmptyResultError
from staproj.formats.mrc import write_mrc
from staproj.kernels.symmetry import AxisFit, find_axis, layer_centre, move_map, symmetrise_map
from staproj.model.maps import DensityMap
from staproj.stages.api import StageContext
from staproj.stages.reorient.declare import ReorientParams
from staproj.stages.shared.averaging import cyclic_order
from staproj.stages.shared.maps_io import read_map
from staproj.stages.shared.pictures import central_slices
from staproj.units import Unit


def reorient(inputs: Mapping[str, Any], params: ReorientParams, ctx: StageContext) -> dict[str, Any]:
    """Return the reference with its axis on z, centred and symmetrised."""
    source: DensityMap = inputs["map"]
    voxel = source.voxel_size_angstrom
    volume = read_map(source.path, voxel)
    order = cyclic_order(params.symmetry)
    if not float(np.std(volume)) > 0:
        raise EmptyResultError(
            "the reference is empty", where=str(source.path), hint="rerun `initial_reference`"
        )
    fit = AxisFit(np.eye(3), np.zeros(3), 1.0)
    if order > 1:
        fit = find_axis(
            volume,
            order,
            search_radius=params.search_radius_angstrom / voxel,
            tilt_range_deg=params.tilt_range_deg,
            radius=max(2.0, params.axis_radius_angstrom / voxel),
            half_height=max(1.0, params.axis_half_height_angstrom / voxel),
        )
    origin = fit.origin_xyz
    if params.centre_radius_angstrom > 0:
        turned = move_map(volume, fit.rot_old_from_new, origin)
        height = layer_centre(turned, max(1.0, params.centre_radius_angstrom / voxel))
        origin = origin + fit.rot_old_from_new @ np.array([0.0, 0.0, height])
    moved = symmetrise_map(move_map(volume, fit.rot_old_from_new, origin), order)
    path = ctx.out_dir() / "reference.mrc"
    write_mrc(path, moved, voxel)
    _record(fit, origin * voxel, order, moved, ctx)
    return {"map": DensityMap(path, voxel, f"C{order}", source.n_particles)}


def _record(fit: AxisFit, origin_angstrom: Any, order: int, moved: Any, ctx: StageContext) -> None:
    lean = float(np.rad2deg(np.arccos(np.clip(fit.rot_old_from_new[2, 2], -1.0, 1.0))))
    ctx.table(
        "transform",
        {
            "rot_old_from_new_x": fit.rot_old_from_new[:, 0],
            "rot_old_from_new_y": fit.rot_old_from_new[:, 1],
            "rot_old_from_new_z": fit.rot_old_from_new[:, 2],
            "origin_angstrom": origin_angstrom,
        },
        doc="x_old = R x_new + origin; a row each for x, y, z of the old axes",
    )
    ctx.preview("slices", central_slices(moved))
    ctx.metric("axis_score", fit.score)
    ctx.metric("axis_lean_deg", lean, Unit.DEGREE)
    if order == 1:
        ctx.verdict(f"C1: no axis to look for; layer centred by {origin_angstrom[2]:.1f} Å")
        return
    x, y, z = origin_angstrom
    ctx.verdict(
        f"C{order} axis at ({x:.1f}, {y:.1f}) Å, leaning {lean:.1f} deg, layer at {z:.1f} Å; "
        f"{100 * fit.score:.0f} % of the angular power obeys it (chance {100 / order:.0f} %)",
        warning=fit.score < 1.5 / order,
    )
