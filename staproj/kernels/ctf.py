"""The contrast transfer function and exposure damage.

``chi(f) = pi lambda df f^2 - pi/2 Cs lambda^3 f^4 + phase + asin A`` and ``CTF = +sin chi``: positive near
f = 0 for amplitude contrast, as IMOD and RELION have it. Defocus positive = underfocus. Lengths in Å here.
Equations: methods of IMOD ctfphaseflip and RELION; wavelength constants as in RELION.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.kernels.xp import Array, namespace

CRITICAL_EXPOSURE = (0.245, -1.665, 2.81)
"""a, b, c of the critical exposure a k^b + c in e/Å² at 300 kV (Grant & Grigorieff 2015)."""


def wavelength_angstrom(voltage_kv: float) -> float:
    """Return the relativistic electron wavelength in Å."""
    volts = voltage_kv * 1e3
    return float(12.2643247 / np.sqrt(volts * (1.0 + volts * 0.978466e-6)))


def ctf_1d(
    frequency_per_angstrom: Array,
    defocus_angstrom: Array,
    *,
    voltage_kv: float,
    spherical_aberration_mm: float,
    amplitude_contrast: float,
    phase_shift_deg: float = 0.0,
) -> Array:
    """Return ``sin chi`` at frequencies ``f`` (1/Å) and defocus (Å); the two broadcast."""
    xp = namespace(frequency_per_angstrom)
    wavelength = wavelength_angstrom(voltage_kv)
    f2 = frequency_per_angstrom * frequency_per_angstrom
    cs = spherical_aberration_mm * 1e7
    constant = np.deg2rad(phase_shift_deg) + np.arcsin(amplitude_contrast)
    chi = np.pi * wavelength * defocus_angstrom * f2
    chi = chi - 0.5 * np.pi * cs * wavelength**3 * f2 * f2 + float(constant)
    return xp.sin(chi)


def ctf_2d(
    fx_per_angstrom: Array,
    fy_per_angstrom: Array,
    *,
    defocus_u_angstrom: Array,
    defocus_v_angstrom: Array,
    astigmatism_deg: Array,
    voltage_kv: float,
    spherical_aberration_mm: float,
    amplitude_contrast: float,
    phase_shift_deg: float = 0.0,
) -> Array:
    """Return ``sin chi`` on a grid of frequencies; ``astigmatism_deg`` turns U from +x towards +y."""
    xp = namespace(fx_per_angstrom)
    f2 = fx_per_angstrom * fx_per_angstrom + fy_per_angstrom * fy_per_angstrom
    safe = xp.where(f2 > 0, f2, xp.ones_like(f2))
    cos2 = (fx_per_angstrom * fx_per_angstrom - fy_per_angstrom * fy_per_angstrom) / safe
    sin2 = 2.0 * fx_per_angstrom * fy_per_angstrom / safe
    cos_angle, sin_angle = _cos_sin(xp, 2.0 * math.pi / 180.0 * astigmatism_deg)
    mean = 0.5 * (defocus_u_angstrom + defocus_v_angstrom)
    half = 0.5 * (defocus_u_angstrom - defocus_v_angstrom)
    defocus = mean + half * (cos2 * cos_angle + sin2 * sin_angle)
    return ctf_1d(
        xp.sqrt(f2),
        defocus,
        voltage_kv=voltage_kv,
        spherical_aberration_mm=spherical_aberration_mm,
        amplitude_contrast=amplitude_contrast,
        phase_shift_deg=phase_shift_deg,
    )


def _cos_sin(xp: Any, angle: Any) -> tuple[Any, Any]:
    if isinstance(angle, (int, float)):
        return math.cos(angle), math.sin(angle)
    return xp.cos(angle), xp.sin(angle)


def ctf_zeros_per_angstrom(
    defocus_angstrom: float,
    n_zeros: int,
    *,
    voltage_kv: float,
    spherical_aberration_mm: float,
    amplitude_contrast: float,
    phase_shift_deg: float = 0.0,
) -> NDArray[np.float64]:
    """Return the frequencies (1/Å) of the first zeros; NaN where Cs keeps a zero from existing."""
    wavelength = wavelength_angstrom(voltage_kv)
    cs = spherical_aberration_mm * 1e7
    constant = np.deg2rad(phase_shift_deg) + np.arcsin(amplitude_contrast)
    a = 0.5 * np.pi * cs * wavelength**3
    b = np.pi * wavelength * defocus_angstrom
    c = constant - np.pi * np.arange(1, n_zeros + 1)
    with np.errstate(invalid="ignore"):
        root = np.sqrt(b * b + 4 * a * c)
        f2 = (b - root) / (2 * a) if a > 0 else -c / b
        result: NDArray[np.float64] = np.sqrt(f2)
    return result


def exposure_filter(
    frequency_per_angstrom: Array, exposure_e_per_angstrom2: Any, *, voltage_kv: float = 300.0
) -> Array:
    """Return what an accumulated exposure leaves of the amplitude, ``exp(-D / (2 Nc(k)))``; 1 at k = 0.

    The critical exposure is scaled by 0.8 at 200 kV. Source: Grant & Grigorieff, eLife 4:e06980 (2015).
    """
    xp = namespace(frequency_per_angstrom)
    a, b, c = CRITICAL_EXPOSURE
    scale = 0.8 if voltage_kv < 250 else 1.0
    tiny = xp.where(
        frequency_per_angstrom > 0, frequency_per_angstrom, xp.ones_like(frequency_per_angstrom) * 1e-6
    )
    critical = scale * (a * tiny**b + c)
    return xp.exp(-0.5 * exposure_e_per_angstrom2 / critical)
