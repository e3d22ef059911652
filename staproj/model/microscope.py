"""Facts of the microscope that every CTF needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Microscope:
    """Constants of one microscope session.

    ``amplitude_contrast`` is the fraction A in ``sin(chi + asin A)``.
    """

    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.07
