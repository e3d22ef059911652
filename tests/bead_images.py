"""Tilt series of gold beads in noise, made without any kernel: spheres are drawn at their exact places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from staproj.model.geometry import TiltGeometry
from staproj.model.tilt_series import TiltSeries

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """What to draw; shifts and errors are drawn from the generator given to :func:`make_series`."""

    image_shape_yx: tuple[int, int] = (231, 260)
    pixel_size_angstrom: float = 8.0
    n_beads: int = 10
    bead_diameter_angstrom: float = 100.0
    tilts: tuple[float, float, float] = (-57.0, 60.0, 3.0)
    tilt_axis_deg: float = 85.3
    axis_error_deg: float = 0.0
    axis_swing_deg: float = 0.2
    tilt_offset_deg: float = 0.0
    shift_px: float = 12.0
    walk_px: float = 2.0
    layer_angstrom: float = 400.0
    extent: float = 0.8
    depth: float = 2.0
    noise: float = 1.0


def make_series(
    scene: Scene, rng: np.random.Generator, folder: Path, name: str = "TS_9"
) -> tuple[TiltSeries, TiltGeometry, Float]:
    """Draw and write a stack; return the series, the true geometry and the true beads ``[n, 3]`` Å."""
    nominal = np.arange(scene.tilts[0], scene.tilts[1] + 1e-6, scene.tilts[2])
    n, px = len(nominal), scene.pixel_size_angstrom
    ny, nx = scene.image_shape_yx
    walk = np.cumsum(rng.normal(0, scene.walk_px, (n, 2)), axis=0)
    walk -= walk[n // 2]
    shift = np.clip(walk, -scene.shift_px, scene.shift_px) + rng.uniform(-3, 3, 2)
    axis = scene.tilt_axis_deg + scene.axis_error_deg + scene.axis_swing_deg * np.sin(np.deg2rad(nominal))
    true = TiltGeometry(
        tilt_series_id=name,
        tilt_deg=nominal + scene.tilt_offset_deg,
        x_tilt_deg=np.zeros(n),
        tilt_axis_deg=axis,
        shift_xy_angstrom=shift * px,
        magnification=np.ones(n),
        view_used=np.ones(n, dtype=bool),
        pixel_size_angstrom=px,
        image_shape_yx=scene.image_shape_yx,
    )
    half = 0.5 * px * min(nx, ny) * scene.extent
    xy = rng.uniform(-half, half, (scene.n_beads, 2))
    z = np.where(rng.random(scene.n_beads) < 0.5, -1, 1) * scene.layer_angstrom + rng.uniform(
        -30, 30, scene.n_beads
    )
    beads = np.concatenate([xy, z[:, None]], axis=1)
    radius = 0.5 * scene.bead_diameter_angstrom / px
    images = rng.normal(0, scene.noise, (n, ny, nx)).astype(np.float32)
    reach = int(radius) + 2
    for view, places in enumerate(true.project(beads)):
        for x, y in places:
            rows = np.arange(max(0, int(y) - reach), min(ny, int(y) + reach + 1))
            columns = np.arange(max(0, int(x) - reach), min(nx, int(x) + reach + 1))
            if not (len(rows) and len(columns)):
                continue
            squared = ((columns[None, :] - x) ** 2 + (rows[:, None] - y) ** 2) / radius**2
            disc = scene.depth * np.sqrt(np.maximum(1.0 - squared, 0.0))
            images[view, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] -= disc.astype(np.float32)
        images[view] += 20.0
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.mrc"
    with mrcfile.new(path, overwrite=True) as handle:
        handle.set_data(images)
        handle.voxel_size = px
    order = np.argsort(np.argsort(np.abs(nominal), kind="stable"), kind="stable")
    series = TiltSeries(
        tilt_series_id=name,
        stack_path=path,
        stage_tilt_deg=nominal,
        acquisition_index=order.astype(np.int64),
        exposure_e_per_angstrom2=np.full(n, 3.0),
        pre_exposure_e_per_angstrom2=3.0 * order,
        nominal_defocus_um=np.full(n, 3.0),
        view_used=np.ones(n, dtype=bool),
        pixel_size_angstrom=px,
        image_shape_yx=scene.image_shape_yx,
        tilt_axis_deg=scene.tilt_axis_deg,
    )
    return series, true, beads


def reprojection_rms_px(found: TiltGeometry, true: TiltGeometry, points: Float) -> float:
    """Return the rms distance (px) between projections after the best rigid motion of the specimen."""
    wanted = true.project(points)[found.view_used]

    def residual(motion: Float) -> Float:
        moved = Rotation.from_rotvec(motion[:3]).apply(points) + motion[3:] * 1000.0
        return (found.project(moved)[found.view_used] - wanted).ravel()

    best = least_squares(residual, np.zeros(6))
    return float(np.sqrt(2.0 * np.mean(best.fun**2)))


def specimen_points(true: TiltGeometry, height_angstrom: float = 400.0) -> Float:
    """Return corners and edges of a box that fills 70 % of the field, ``[27, 3]`` Å."""
    ny, nx = true.image_shape_yx
    half = 0.35 * min(nx, ny) * true.pixel_size_angstrom
    grid = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(-1, 3)
    return grid * np.array([half, half, height_angstrom])
