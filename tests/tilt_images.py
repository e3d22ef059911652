"""Small tilt series with known truth, made without any of the kernels that are tested on them."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import scipy.fft

from staproj.model.geometry import TiltGeometry
from staproj.model.microscope import Microscope
from staproj.model.tilt_series import TiltSeries

LAMBDA_300KV = 0.0196875  # Å
CS = 2.7e7  # Å


def write_series(folder: Path, images: np.ndarray, geometry: TiltGeometry, **changes: object) -> TiltSeries:
    """Write views ``[view, y, x]`` and describe them; ``changes`` replace fields of the series."""
    path = folder / "stack.mrc"
    with mrcfile.new(path, overwrite=True) as handle:
        handle.set_data(np.asarray(images, dtype=np.float32))
        handle.voxel_size = geometry.pixel_size_angstrom
    n = len(images)
    fields: dict[str, object] = {
        "tilt_series_id": geometry.tilt_series_id,
        "stack_path": path,
        "stage_tilt_deg": geometry.tilt_deg.copy(),
        "acquisition_index": np.arange(n),
        "exposure_e_per_angstrom2": np.full(n, 3.0),
        "pre_exposure_e_per_angstrom2": 3.0 * np.arange(n),
        "nominal_defocus_um": np.full(n, np.nan),
        "view_used": np.ones(n, dtype=bool),
        "pixel_size_angstrom": geometry.pixel_size_angstrom,
        "image_shape_yx": geometry.image_shape_yx,
        "tilt_axis_deg": 85.0,
        "microscope": Microscope(),
    }
    fields.update(changes)
    return TiltSeries(**fields)  # type: ignore[arg-type]


def make_geometry(
    tilts: np.ndarray,
    shape_yx: tuple[int, int],
    px: float,
    *,
    axis: float = 85.3,
    x_tilt: float = 0.0,
    seed: int = 5,
) -> TiltGeometry:
    """Return a geometry with small random shifts."""
    rng = np.random.default_rng(seed)
    n = len(tilts)
    return TiltGeometry(
        tilt_series_id="TS_01",
        tilt_deg=np.asarray(tilts, dtype=np.float64),
        x_tilt_deg=np.full(n, x_tilt),
        tilt_axis_deg=axis + 0.1 * rng.standard_normal(n),
        shift_xy_angstrom=4.0 * px * rng.standard_normal((n, 2)),
        magnification=np.ones(n),
        view_used=np.ones(n, dtype=bool),
        pixel_size_angstrom=px,
        image_shape_yx=shape_yx,
    )


def projected_balls(
    geometry: TiltGeometry, points: np.ndarray, sigma_angstrom: float, amplitude: float = 1.0
) -> np.ndarray:
    """Return views of Gaussian balls, bright; written out from the definition of the angles."""
    ny, nx = geometry.image_shape_yx
    y, x = np.mgrid[:ny, :nx].astype(np.float64)
    px = geometry.pixel_size_angstrom
    images = np.zeros((geometry.n_views, ny, nx))
    for v in range(geometry.n_views):
        a, t, b = np.deg2rad([geometry.tilt_axis_deg[v], geometry.tilt_deg[v], geometry.x_tilt_deg[v]])
        for px_, py_, pz_ in points:
            y1, z1 = np.cos(b) * py_ - np.sin(b) * pz_, np.sin(b) * py_ + np.cos(b) * pz_
            x2 = np.cos(t) * px_ + np.sin(t) * z1
            xi, yi = np.cos(a) * x2 - np.sin(a) * y1, np.sin(a) * x2 + np.cos(a) * y1
            cx = nx // 2 + (xi + geometry.shift_xy_angstrom[v, 0]) / px
            cy = ny // 2 + (yi + geometry.shift_xy_angstrom[v, 1]) / px
            r2 = ((x - cx) ** 2 + (y - cy) ** 2) * px**2
            images[v] += amplitude * np.exp(-0.5 * r2 / sigma_angstrom**2)
    return images


def ctf_image(
    shape: tuple[int, int], px: float, u: float, v: float, angle_deg: float, amplitude: float = 0.07
) -> np.ndarray:
    """Return sin chi on the full FFT grid of an image; defocus in Å, angle of U from +x towards +y."""
    fy = np.fft.fftfreq(shape[0], px)[:, None]
    fx = np.fft.fftfreq(shape[1], px)[None, :]
    f2 = fx**2 + fy**2
    azimuth = np.arctan2(fy, fx)
    defocus = 0.5 * (u + v) + 0.5 * (u - v) * np.cos(2 * (azimuth - np.deg2rad(angle_deg)))
    chi = (
        np.pi * LAMBDA_300KV * defocus * f2
        - 0.5 * np.pi * CS * LAMBDA_300KV**3 * f2**2
        + np.arcsin(amplitude)
    )
    return np.sin(chi)


def thon_views(
    geometry: TiltGeometry, defocus: np.ndarray, hand: int, *, astigmatism: float, angle_deg: float,
    signal: float, seed: int,
) -> np.ndarray:  # fmt: skip
    """Return views of a flat noisy specimen (z = 0) whose every point has its own defocus, plus white noise.

    A white random specimen is imaged at a few defocus levels of each view; every pixel takes the level
    nearest to ``defocus + hand * depth``.
    """
    rng = np.random.default_rng(seed)
    ny, nx = geometry.image_shape_yx
    px = geometry.pixel_size_angstrom
    y, x = np.mgrid[:ny, :nx].astype(np.float64)
    out = np.empty((geometry.n_views, ny, nx))
    for v in range(geometry.n_views):
        a, t = np.deg2rad([geometry.tilt_axis_deg[v], geometry.tilt_deg[v]])
        # distance from the tilt axis in the image = X cos t; depth of a point of the plane z = 0 is -X sin t
        across = np.cos(a) * ((x - nx // 2) * px - geometry.shift_xy_angstrom[v, 0]) + np.sin(a) * (
            (y - ny // 2) * px - geometry.shift_xy_angstrom[v, 1]
        )
        local = defocus[v] - hand * np.tan(t) * across
        specimen = scipy.fft.fft2(rng.standard_normal((ny, nx)))
        levels = np.arange(local.min(), local.max() + 150.0, 150.0)
        nearest = np.argmin(np.abs(local[..., None] - levels), axis=-1)
        image = np.zeros((ny, nx))
        for i, level in enumerate(levels):
            ctf = ctf_image((ny, nx), px, level + astigmatism / 2, level - astigmatism / 2, angle_deg)
            image = np.where(nearest == i, scipy.fft.ifft2(specimen * ctf).real, image)
        out[v] = 100.0 - signal * image + rng.standard_normal((ny, nx))
    return out
