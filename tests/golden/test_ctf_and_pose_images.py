"""CTF and particle poses against images made by RELION 5.0.1 and Warp."""

from __future__ import annotations

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import scipy.fft

from staproj.formats.euler import matrix_from_relion
from staproj.formats.star import read_star
from staproj.kernels.ctf import ctf_2d, ctf_zeros_per_angstrom

PIXEL, BOX = 3.2, 48


def _grid(n: int, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    fy, fx = np.meshgrid(np.fft.fftfreq(n), np.fft.rfftfreq(n), indexing="ij")
    return fx / pixel, fy / pixel


def _images(path: Path) -> np.ndarray:
    return scipy.fft.rfft2(mrcfile.read(path).astype(np.float64))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.real(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b))


def test_ctf_of_relion_images(shared_data: Path) -> None:
    """relion_project with CTF is our CTF times the same without: astigmatism, phase plate, B-factor."""
    folder = shared_data / "golden" / "08_relion_project"
    plain, with_ctf = _images(folder / "proj.mrcs"), _images(folder / "projctf.mrcs")
    rows = read_star(folder / "projctf.star")["particles"]
    fx, fy = _grid(BOX, PIXEL)
    used = np.hypot(fx, fy) < 0.49 / PIXEL
    for sign in (1.0, -1.0):
        made = []
        for image, (_, row) in zip(plain, rows.iterrows(), strict=True):
            ctf = ctf_2d(
                fx,
                fy,
                defocus_u_angstrom=row["rlnDefocusU"],
                defocus_v_angstrom=row["rlnDefocusV"],
                astigmatism_deg=sign * row["rlnDefocusAngle"],
                voltage_kv=300.0,
                spherical_aberration_mm=2.7,
                amplitude_contrast=0.07,
                phase_shift_deg=row["rlnPhaseShift"],
            )
            made.append(image * ctf * np.exp(-0.25 * row["rlnCtfBfactor"] * (fx**2 + fy**2)))
        ours, theirs = np.array(made)[:, used], with_ctf[:, used]
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        if sign > 0:
            assert error < 2e-3
        else:
            assert error > 0.03


def test_poses_of_relion_images(shared_data: Path) -> None:
    """relion_project shows A x - origin about pixel n // 2, with A from our Euler module."""
    folder = shared_data / "golden" / "08_relion_project"
    truth = json.loads((folder / "truth.json").read_text())
    theirs = _images(folder / "proj.mrcs")
    rows = read_star(folder / "proj.star")["particles"]
    pose = matrix_from_relion(*(rows[f"rlnAngle{k}"].to_numpy() for k in ("Rot", "Tilt", "Psi")))
    origin = rows[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy() / PIXEL
    centres, sigma = np.array(truth["centres"]), np.array(truth["sigma"])
    fx, fy = _grid(BOX, 1.0)

    def draw(matrices: np.ndarray, sign: float, centre: float) -> np.ndarray:
        place = np.einsum("nij,bj->nbi", matrices[:, :2], centres) - sign * origin[:, None] + centre
        phase = np.exp(-2j * np.pi * (place[..., 0, None, None] * fx + place[..., 1, None, None] * fy))
        weight = np.array(truth["amplitude"]) * sigma**3
        envelope = weight[:, None, None] * np.exp(-2 * np.pi**2 * sigma[:, None, None] ** 2 * (fx**2 + fy**2))
        return (phase * envelope).sum(axis=1)

    inside = (np.hypot(fx, fy) > 0) & (np.hypot(fx, fy) < 0.45)
    good = _correlation(draw(pose, 1.0, BOX // 2)[:, inside], theirs[:, inside])
    assert good > 0.999
    for other in (
        draw(pose, -1.0, BOX // 2),
        draw(np.swapaxes(pose, 1, 2), 1.0, BOX // 2),
        draw(pose, 1.0, (BOX - 1) / 2),
    ):
        assert _correlation(other[:, inside], theirs[:, inside]) < good - 0.015


@pytest.mark.parametrize("index", [0, 1])
def test_ctf_images_of_warp(shared_data: Path, index: int) -> None:
    """Warp's CTF images (gen_ctf.txt): astigmatism at 25 deg with phase plate, and 200 kV without."""
    stored = mrcfile.read(shared_data / "warp" / "warpylib" / "ctf_reference.mrc")[index].astype(np.float64)
    case = (
        {"u": 1.65e4, "v": 1.35e4, "angle": 25.0, "phase": 72.0, "kv": 300.0, "a": 0.1, "px": 1.1, "s": 0.9},
        {"u": 2.5e4, "v": 2.5e4, "angle": 0.0, "phase": 0.0, "kv": 200.0, "a": 0.07, "px": 1.5, "s": 1.0},
    )[index]
    fx, fy = _grid(256, case["px"])
    ours = case["s"] * ctf_2d(
        fx,
        fy,
        defocus_u_angstrom=case["u"],
        defocus_v_angstrom=case["v"],
        astigmatism_deg=case["angle"],
        voltage_kv=case["kv"],
        spherical_aberration_mm=2.7,
        amplitude_contrast=case["a"],
        phase_shift_deg=case["phase"],
    )
    ours = ours * np.exp(-0.25 * 40.0 * (fx**2 + fy**2))
    whole = np.arange(256) != 128  # Warp counts the Nyquist row as +0.5, numpy as -0.5
    np.testing.assert_allclose(ours[whole], stored[whole], atol=2e-4)


def test_zeros_of_the_ctf() -> None:
    """At 3 µm, 300 kV, Cs 2.7 mm, A 0.07 the phase reaches whole multiples of pi at the zeros."""
    zeros = ctf_zeros_per_angstrom(
        3.0e4, 8, voltage_kv=300.0, spherical_aberration_mm=2.7, amplitude_contrast=0.07
    )
    wavelength = 0.01968749  # Å at 300 kV, from tables
    chi = np.pi * wavelength * 3.0e4 * zeros**2 - 0.5 * np.pi * 2.7e7 * wavelength**3 * zeros**4
    np.testing.assert_allclose(chi + np.arcsin(0.07), np.pi * np.arange(1, 9), rtol=1e-5)
    # Without Cs the first zero of a weak phase object lies at sqrt(1 / (lambda dz)): 24.3 Å at 3 µm.
    first = ctf_zeros_per_angstrom(
        3.0e4, 1, voltage_kv=300.0, spherical_aberration_mm=0.0, amplitude_contrast=0.0
    )
    assert 1 / first[0] == pytest.approx(np.sqrt(wavelength * 3.0e4), rel=1e-5)
