"""Weighted back-projection compared with volumes that IMOD's ``tilt`` made (see the folder's README)."""

from __future__ import annotations

from dataclasses import replace

import mrcfile
import numpy as np
import pytest

from staproj.kernels import backproject as bp
from staproj.model.geometry import TiltGeometry, rotation_x

# Files and the options of their commands: SHIFT moves content by +sx in X and -sz in Z, XAXISTILT turns it.
CASES = {
    "rec_a_rx": {},
    "rec_b": {"x_axis_tilt": 3.0, "shift": (3.5, 0.0, 2.25), "first_row": 20},
    "rec_c_rx": {"offset": 2.5, "first_row": 20},
    "rec_d": {"x_tilt_file": True, "first_row": 20},
}


def _read(path):
    with mrcfile.open(path, permissive=True) as handle:
        return np.array(handle.data, dtype=np.float32)


def _golden_volume(folder, name):
    """Return a volume ``[z, y, x]``; files that are still X-Z ordered are turned by IMOD's -rx rule."""
    volume = _read(folder / f"{name}.mrc")
    if name.endswith("_rx"):
        return volume
    return np.ascontiguousarray(volume.transpose(1, 0, 2)[::-1])


def _geometry(folder, images, shape_zyx, case, first_row):
    """Describe IMOD's set-up in staproj's terms: its centres are (n - 1) / 2, ours n // 2."""
    tilt = np.loadtxt(folder / "ali.tlt") + case.get("offset", 0.0)
    ny, nx = images.shape[1:]
    geometry = TiltGeometry.nominal("golden", tilt, 0.0, pixel_size_angstrom=1.0, image_shape_yx=(ny, nx))
    if case.get("x_tilt_file"):
        geometry = replace(geometry, x_tilt_deg=np.loadtxt(folder / "ali.xtilt"))
    half = np.array([(nx - 1) / 2 - nx // 2, (ny - 1) / 2 - ny // 2])
    geometry = replace(geometry, shift_xy_angstrom=geometry.shift_xy_angstrom + half)
    # Centre of our volume (index n // 2) in IMOD's specimen frame, before its shift and turn. In X and depth
    # tilt counts from n // 2 - 0.5 (its 1-based n / 2 + 0.5 in whole numbers); depth runs against z.
    row = first_row + shape_zyx[1] // 2 - (ny - 1) / 2
    depth_centre = shape_zyx[0] - 1 - (shape_zyx[0] // 2 - 0.5)
    origin = np.array([0.5, row, shape_zyx[0] // 2 - depth_centre])
    shift = np.array(case.get("shift", (0.0, 0.0, 0.0)))
    turn = rotation_x(-case.get("x_axis_tilt", 0.0))
    return geometry.in_new_frame(turn, turn @ (origin - shift))


@pytest.mark.parametrize("name", list(CASES))
def test_volumes_agree_with_imod(shared_data, name):
    """After a linear fit the inside of each volume correlates with IMOD's by more than 0.9996."""
    folder = shared_data / "golden" / "01_imod_tilt"
    images = _read(folder / "ali.mrc")
    expected = _golden_volume(folder, name)
    case = CASES[name]
    geometry = _geometry(folder, images, expected.shape, case, case.get("first_row", 0))
    matrix = geometry.rot_view_from_tomo[:, :2]
    centre = geometry.image_centre_xy_px + geometry.shift_xy_angstrom
    grids = [bp.view_grid(m, c) for m, c in zip(matrix, centre, strict=True)]
    nz, ny, _ = expected.shape
    nv, nu = bp.grid_height(grids, ny, nz), bp.grid_width(grids, images.shape[1:], 1)
    rows = np.stack(
        [
            bp.filter_rows(bp.resample_view(image - image.mean(), g, (nv, nu), 1), 0.35, 0.05).T
            for image, g in zip(images, grids, strict=True)
        ]
    )
    found = bp.back_project(rows, grids, expected.shape, -(nz // 2))
    inside = (slice(5, -5), slice(6, -6), slice(12, -12))
    correlation = np.corrcoef(found[inside].ravel(), expected[inside].ravel())[0, 1]
    assert correlation > 0.9996
