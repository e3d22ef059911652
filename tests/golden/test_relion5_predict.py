"""Tilt images that RELION 5 predicts for known particles, made again from our conventions.

Geometry, pose, CTF sign, defocus hand and pre-exposure enter together. The projector here is the test's
own: a sum of Gaussian blobs written down in Fourier space, in boxes of RELION's size. RELION removes the mean
of its reference, tapers its rim and sets its central voxel to 0; frequencies below 0.06 cycles/px and the
scale are therefore left out of the comparison.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import scipy.fft

from staproj.formats.relion5 import Relion5Series, read_particles, read_tomograms
from staproj.formats.star import read_star
from staproj.kernels.ctf import ctf_2d, exposure_filter
from staproj.model.particles import ParticleSet

BOX = 48
IMAGE_SHAPE_YX = (120, 128)
FOLDER = Path(__file__).parent / "data" / "relion5_predict"


def _case(kind: str) -> tuple[dict[str, Relion5Series], ParticleSet]:
    names = ("TS_A", "TS_B", "TS_H1", "TS_H2")
    series = read_tomograms(FOLDER / f"tomograms{kind}.star", dict.fromkeys(names, IMAGE_SHAPE_YX))
    sizes = {name: one.tomogram_size_xyz_px for name, one in series.items()}
    return series, read_particles(FOLDER / f"particles{kind}.star", tomogram_size_xyz_px=sizes)


def _images(one: Relion5Series, folder: Path = FOLDER) -> np.ndarray:
    """Return RELION's images in the order of our views (``007@file`` is section 6 of the file)."""
    images = mrcfile.read(folder / "sim" / f"{one.geometry.tilt_series_id}.mrc").astype(np.float64)
    assert images.shape[1:] == IMAGE_SHAPE_YX
    return images[[int(name.split("@")[0]) - 1 for name in one.micrograph_names]]


def _scale_factors(one: Relion5Series) -> np.ndarray:
    """Return rlnCtfScalefactor of every view, which staproj itself has no use for."""
    table = next(iter(read_star(FOLDER / "ts" / f"{one.geometry.tilt_series_id}.star").values()))
    by_name = dict(zip(table["rlnMicrographName"], table["rlnCtfScalefactor"], strict=True))
    return np.array([by_name[name] for name in one.micrograph_names])


def _predict(one: Relion5Series, particles: ParticleSet, ctf_sign: float = -1.0) -> np.ndarray:
    """Project all particles of a series into every view: ``[view, y, x]``, free scale."""
    truth = json.loads((FOLDER / "truth.json").read_text())
    geometry, ctf = one.geometry, one.ctf
    assert ctf is not None
    pixel = geometry.pixel_size_angstrom
    ny, nx = geometry.image_shape_yx
    fy, fx = np.meshgrid(np.fft.fftfreq(BOX), np.fft.rfftfreq(BOX), indexing="ij")
    k2 = fx**2 + fy**2
    out = np.zeros((geometry.n_views, ny + 4 * BOX, nx + 4 * BOX))
    scale = _scale_factors(one)
    mine = particles.of_series(geometry.tilt_series_id)
    centre = geometry.project(mine.position_xyz_angstrom)
    offset = ctf.defocus_offset_angstrom(geometry.depth(mine.position_xyz_angstrom))
    for p in range(len(mine)):
        blobs = np.array(truth["centres"]) * pixel @ mine.rot_tomo_from_ref[p].T
        where = geometry.project(mine.position_xyz_angstrom[p] + blobs)
        for view in range(geometry.n_views):
            corner = np.rint(centre[view, p]).astype(int)
            transform = np.zeros(k2.shape, dtype=complex)
            for place, sigma, amplitude in zip(where[view], truth["sigma"], truth["amplitude"], strict=True):
                dx, dy = place - corner + BOX // 2
                envelope = amplitude * (2 * np.pi) ** 1.5 * sigma**3 * np.exp(-2 * np.pi**2 * sigma**2 * k2)
                transform += envelope * np.exp(-2j * np.pi * (fx * dx + fy * dy))
            transform *= ctf_sign * ctf_2d(
                fx / pixel,
                fy / pixel,
                defocus_u_angstrom=ctf.defocus_u_um[view] * 1e4 + offset[view, p],
                defocus_v_angstrom=ctf.defocus_v_um[view] * 1e4 + offset[view, p],
                astigmatism_deg=ctf.astigmatism_deg[view],
                voltage_kv=ctf.microscope.voltage_kv,
                spherical_aberration_mm=ctf.microscope.spherical_aberration_mm,
                amplitude_contrast=ctf.microscope.amplitude_contrast,
            )
            transform *= exposure_filter(np.sqrt(k2) / pixel, one.pre_exposure_e_per_angstrom2[view])
            y0, x0 = corner[1] - BOX // 2 + 2 * BOX, corner[0] - BOX // 2 + 2 * BOX
            patch = scipy.fft.irfft2(transform, s=(BOX, BOX)) * scale[view]
            out[view, y0 : y0 + BOX, x0 : x0 + BOX] += patch
    return out[:, 2 * BOX : 2 * BOX + ny, 2 * BOX : 2 * BOX + nx]


def _residual(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return ``|theirs - s ours| / |theirs|`` beyond 0.06 cycles/px for the best positive s."""
    fy = np.fft.fftfreq(ours.shape[1])[:, None]
    fx = np.fft.rfftfreq(ours.shape[2])
    keep = np.hypot(fx, fy) > 0.06
    a, b = (scipy.fft.rfft2(stack)[:, keep].ravel() for stack in (ours, theirs))
    scale = float(np.real(np.vdot(a, b)) / np.real(np.vdot(a, a)))
    if scale <= 0:
        return 2.0
    return float(np.linalg.norm(b - scale * a) / np.linalg.norm(b))


def test_images_of_a_tomogram_of_odd_size() -> None:
    """Particles of TS_B (121 x 117 x 101 px, hand +1): 4 % are left unexplained, changes leave more."""
    series, particles = _case("")
    one = series["TS_B"]
    theirs = _images(one)
    assert _residual(_predict(one, particles), theirs) < 0.05

    turned = particles.with_columns(rot_tomo_from_ref=np.swapaxes(particles.rot_tomo_from_ref, 1, 2))
    assert _residual(_predict(one, turned), theirs) > 0.5
    half_pixel = particles.with_columns(position_xyz_angstrom=particles.position_xyz_angstrom - 1.35)
    assert _residual(_predict(one, half_pixel), theirs) > 0.2
    geometry = one.geometry
    moved = replace(one, geometry=replace(geometry, shift_xy_angstrom=-geometry.shift_xy_angstrom))
    assert _residual(_predict(moved, particles), theirs) > 0.5
    mirrored = replace(one, geometry=replace(geometry, tilt_deg=-geometry.tilt_deg))
    assert _residual(_predict(mirrored, particles), theirs) > 0.5
    assert _residual(_predict(one, particles, ctf_sign=1.0), theirs) > 1.0


@pytest.mark.parametrize("name", ["TS_H1", "TS_H2"])
def test_hand_of_the_defocus_gradient(name: str) -> None:
    """Particles far above and below the centre: the stated hand fits to 3 %, none to 9, the other to 16."""
    series, particles = _case("_hand")
    one = series[name]
    assert one.ctf is not None
    theirs = _images(one)
    found = {
        hand: _residual(_predict(replace(one, ctf=replace(one.ctf, defocus_hand=hand)), particles), theirs)
        for hand in (-1, 0, 1)
    }
    stated = one.ctf.defocus_hand
    assert stated == {"TS_H1": -1, "TS_H2": 1}[name]
    assert found[stated] < 0.04
    assert found[-stated] > 4 * found[stated]
    assert found[0] > 2 * found[stated]


def test_images_of_real_geometry(shared_data: Path) -> None:
    """TS_A (even sizes, hand -1, real tilts and shifts): 5 % unexplained."""
    series, particles = _case("")
    one = series["TS_A"]
    theirs = _images(one, shared_data / "golden" / "09_relion5_predict")
    assert _residual(_predict(one, particles), theirs) < 0.05
