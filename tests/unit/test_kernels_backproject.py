"""Back-projection: geometry, interpolation, filter."""

from __future__ import annotations

import numpy as np
import pytest

from staproj.kernels import backproject as bp
from tests.tilt_images import make_geometry, projected_balls


def _setup(geometry, n_y, reach, oversampling=1):
    px = geometry.pixel_size_angstrom
    centre = geometry.image_centre_xy_px + geometry.shift_xy_angstrom / px
    matrix = geometry.rot_view_from_tomo[:, :2] * geometry.magnification[:, None, None]
    grids = [bp.view_grid(m, c) for m, c in zip(matrix, centre, strict=True)]
    nv = bp.grid_height(grids, n_y, reach)
    nu = bp.grid_width(grids, geometry.image_shape_yx, oversampling)
    return grids, nv, nu


@pytest.mark.parametrize(("shape", "x_tilt", "oversampling"), [((61, 80), 0.0, 1), ((64, 57), 3.5, 2)])
def test_a_ball_is_reconstructed_where_it_is(shape, x_tilt, oversampling):
    """The peak lies within 0.15 voxel of the ball, for an 85 degree axis, shifts and x-tilt."""
    geometry = make_geometry(np.arange(-60, 61, 5.0), shape, 4.0, x_tilt=x_tilt)
    point = np.array([[30.0, -42.0, 22.0]])
    views = projected_balls(geometry, point, 8.0)
    size = (27, 41, 45)
    grids, nv, nu = _setup(geometry, size[1], 14, oversampling)
    rows = np.stack(
        [
            bp.filter_rows(
                bp.resample_view(image.astype(np.float32), g, (nv, nu), oversampling),
                0.35,
                0.05,
                oversampling,
            ).T
            for image, g in zip(views, grids, strict=True)
        ]
    )
    volume = bp.back_project(rows, grids, size, -(size[0] // 2), oversampling=oversampling)
    z, y, x = np.unravel_index(np.argmax(volume), size)
    offset = []
    for axis in range(3):
        step = np.eye(3, dtype=int)[axis]
        low, mid, high = (float(volume[tuple(np.array([z, y, x]) + k * step)]) for k in (-1, 0, 1))
        offset.append(0.5 * (low - high) / (low - 2 * mid + high))
    found = np.array([x + offset[2], y + offset[1], z + offset[0]]) - np.array(size)[::-1] // 2
    np.testing.assert_allclose(found * 4.0, point[0], atol=0.15 * 4.0)


@pytest.mark.parametrize("x_tilt", [0.0, 4.0])
def test_the_kernel_is_bilinear_interpolation(rng, x_tilt):
    """Voxel by voxel the sum equals float64 interpolation of each view at the projected (u, v)."""
    geometry = make_geometry(np.array([-52.0, -13.0, 0.0, 31.0]), (40, 44), 1.0, x_tilt=x_tilt)
    size = (9, 35, 21)
    grids, nv, nu = _setup(geometry, size[1], 5)
    rows = rng.standard_normal((4, nu, nv)).astype(np.float32)
    volume = bp.back_project(rows, grids, size, -4.0)
    z, y, x = (np.arange(n) - n // 2 for n in size)
    expected = np.zeros(size)
    for row, g in zip(rows.astype(np.float64), grids, strict=True):
        u = (g.along_x * x[None, None, :] + g.along_z * z[:, None, None]) + nu // 2 + 0 * y[None, :, None]
        v = (y[None, :, None] + g.row_z * z[:, None, None]) + nv // 2 + 0 * x[None, None, :]
        i, j = np.floor(u).astype(int), np.floor(v + 1e-9).astype(int)
        a, b = u - i, v - j
        inside = (u >= 0) & (u < nu - 1)
        i, j = np.clip(i, 0, nu - 2), np.clip(j, 0, nv - 2)
        value = (1 - a) * ((1 - b) * row[i, j] + b * row[i, j + 1]) + a * (
            (1 - b) * row[i + 1, j] + b * row[i + 1, j + 1]
        )
        expected += np.where(inside, value, 0.0)
    np.testing.assert_allclose(volume, expected, atol=2e-4)


def test_blocks_and_threads_do_not_change_a_voxel(rng):
    """A volume built in two blocks by three threads has the same bytes as in one by one."""
    geometry = make_geometry(np.arange(-60, 61, 15.0), (33, 50), 1.0)
    grids, nv, nu = _setup(geometry, 30, 8)
    rows = rng.standard_normal((9, nu, nv)).astype(np.float32)
    whole = bp.back_project(rows, grids, (14, 30, 37), -7.0)
    parts = [
        bp.back_project(rows, grids, (5, 30, 37), -7.0, threads=3),
        bp.back_project(rows, grids, (9, 30, 37), -2.0, threads=2),
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_the_split_of_a_projection_reproduces_it(rng):
    """B (u, v) + centre is the projection of (X, Y, Z) for any 2 x 3 matrix."""
    matrix = rng.standard_normal((2, 3))
    grid = bp.view_grid(matrix, np.array([3.0, 4.0]))
    point = rng.standard_normal(3)
    uv = np.array([grid.along_x * point[0] + grid.along_z * point[2], point[1] + grid.row_z * point[2]])
    np.testing.assert_allclose(grid.basis @ uv, matrix @ point, atol=1e-12)


def test_a_view_along_the_specimen_is_refused():
    """At 90 degrees of tilt there is no such grid, and the kernel says so."""
    with pytest.raises(ValueError, match="90 degrees"):
        bp.view_grid(np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), np.zeros(2))


def test_too_few_rows_are_refused(rng):
    """A grid that does not reach far enough along v would lose voxels silently; it is refused."""
    geometry = make_geometry(np.array([0.0]), (20, 20), 1.0)
    grids, nv, nu = _setup(geometry, 20, 4)
    with pytest.raises(ValueError, match="too small"):
        bp.back_project(np.zeros((1, nu, nv - 2), dtype=np.float32), grids, (8, 20, 20), -4.0)


def test_the_radial_filter_on_every_array_library(xp):
    """A ramp up to the cut-off, a Gaussian beyond, nothing at zero, on numpy and the array API standard."""
    f = np.linspace(0, 0.5, 51).astype(np.float32)
    found = np.asarray(bp.radial_filter(xp.asarray(f), 0.3, 0.05))
    expected = f * np.where(f > 0.3, np.exp(-0.5 * ((f - 0.3) / 0.05) ** 2), 1.0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    rows = np.random.default_rng(0).standard_normal((3, 37)).astype(np.float32)
    np.testing.assert_allclose(
        np.asarray(bp.filter_rows(xp.asarray(rows), 0.35, 0.05)), bp.filter_rows(rows, 0.35, 0.05), atol=1e-5
    )
