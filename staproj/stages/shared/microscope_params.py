"""Facts of the microscope session that both import stages ask for, filled from ``[microscope]``."""

from __future__ import annotations

from staproj.stages.api import Params, param
from staproj.stages.shared.patterns import Exposure
from staproj.units import Unit


class MicroscopeParams(Params):
    """Overrides of what mdoc files and headers say."""

    pixel_size_angstrom: float | None = param(
        None,
        unit=Unit.ANGSTROM,
        gt=0,
        le=100,
        help="Pixel size of the images; unset = from their headers and the mdoc.",
        per_item=False,
    )
    exposure_e_per_angstrom2: Exposure = param(
        None,
        unit=Unit.EXPOSURE,
        help="Exposure of one view, one number or { series = number }; unset = from the mdoc.",
        per_item=False,
    )
    tilt_axis_deg: float | None = param(
        None,
        unit=Unit.DEGREE,
        ge=-360,
        le=360,
        help="Tilt axis, counter-clockwise from +y of the image; unset = from the mdoc.",
        per_item=False,
    )
    voltage_kv: float | None = param(
        None,
        unit=Unit.KILOVOLT,
        gt=0,
        le=3000,
        help="Acceleration voltage; unset = from the mdoc, else 300.",
        per_item=False,
    )
    spherical_aberration_mm: float = param(
        2.7,
        unit=Unit.MILLIMETRE,
        ge=0,
        le=20,
        help="Spherical aberration of the objective lens.",
        per_item=False,
    )
    amplitude_contrast: float = param(
        0.07, ge=0, lt=1, help="Fraction of the contrast that is amplitude contrast.", per_item=False
    )
