"""The simulator's own optics and rotations, written apart from the kernels that it is meant to test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

PLANCK = 6.62607015e-34
ELECTRON_MASS = 9.1093837015e-31
CHARGE = 1.602176634e-19
LIGHT_SPEED = 299792458.0


def wavelength_angstrom(voltage_kv: float) -> float:
    """Return the relativistic electron wavelength from the constants of nature."""
    energy = CHARGE * voltage_kv * 1e3
    rest = ELECTRON_MASS * LIGHT_SPEED**2
    momentum = np.sqrt(energy * (energy + 2.0 * rest)) / LIGHT_SPEED
    return float(PLANCK / momentum * 1e10)


def phase(
    fx: Float,
    fy: Float,
    *,
    defocus_u_angstrom: float,
    defocus_v_angstrom: float,
    astigmatism_deg: float,
    voltage_kv: float,
    spherical_aberration_mm: float,
    amplitude_contrast: float,
) -> Float:
    """Return chi on a grid of frequencies (1/Å): the transfer of contrast is ``sin chi``, positive at low f.

    The defocus along direction a is ``U cos²(a - a0) + V sin²(a - a0)``, underfocus positive.
    """
    wavelength = wavelength_angstrom(voltage_kv)
    angle = np.deg2rad(astigmatism_deg)
    along = fx * np.cos(angle) + fy * np.sin(angle)
    across = fy * np.cos(angle) - fx * np.sin(angle)
    square = along**2 + across**2
    defocus_term = np.pi * wavelength * (defocus_u_angstrom * along**2 + defocus_v_angstrom * across**2)
    cs_term = 0.5 * np.pi * spherical_aberration_mm * 1e7 * wavelength**3 * square**2
    return defocus_term - cs_term + np.arcsin(amplitude_contrast)


def damage(frequency: Float, exposure_e_per_angstrom2: float) -> Float:
    """Return what an exposure leaves of amplitudes at 300 kV (Grant & Grigorieff 2015), 1 at f = 0."""
    kept = np.ones_like(frequency)
    positive = frequency > 0
    critical = 0.245 * frequency[positive] ** -1.665 + 2.81
    kept[positive] = np.exp(-exposure_e_per_angstrom2 / (2.0 * critical))
    return kept


def view_rotation(tilt_axis_deg: float, tilt_deg: float, x_tilt_deg: float) -> Float:
    """Return ``Rz(axis) Ry(tilt) Rx(x_tilt)``, specimen to view."""
    a, b, c = np.deg2rad([tilt_axis_deg, tilt_deg, x_tilt_deg])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.0]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1.0, 0], [-np.sin(b), 0, np.cos(b)]])
    about_x = np.array([[1.0, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    return about_z @ about_y @ about_x


def small_rotations(rng: np.random.Generator, n: int, sigma_deg: float) -> Float:
    """Return ``n`` rotations about random axes by normally distributed angles, ``[n, 3, 3]``."""
    vector = np.deg2rad(rng.normal(0.0, sigma_deg, (n, 3)))
    angle = np.linalg.norm(vector, axis=1) + 1e-12
    axis = vector / angle[:, None]
    cross = np.zeros((n, 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    cross -= np.swapaxes(cross, 1, 2)
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)
