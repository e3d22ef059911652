"""What a simulated microscope session is made of: presets, overrides and their bounds."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.errors import UsageError


@dataclass(frozen=True)
class SessionSettings:
    """Settings of a session; every one can be overridden by name.

    ``vlp_radius_angstrom`` is the mean radius of the particle layer (VLPs differ by a few per cent).
    ``exposure_e_per_angstrom2`` is that of one view. Tilts span ``±tilt_span_deg`` in equal
    steps.
    ``real_geometry_dir`` takes tilts, axes, shifts and defoci from RELION 5 tilt-series star files there
    (one file a series) instead of drawing values with the same statistics.
    """

    n_series: int = 2
    n_views: int = 41
    tilt_span_deg: float = 60.0
    n_frames: int = 5
    pixel_size_angstrom: float = 5.4
    image_shape_yx: tuple[int, int] = (512, 480)
    exposure_e_per_angstrom2: float = 3.0
    n_vlps: int = 2
    vlp_radius_angstrom: float = 375.0
    n_beads: int = 14
    bead_diameter_angstrom: float = 100.0
    spacing_angstrom: float = 72.0
    tilt_axis_deg: float = 85.3
    defocus_min_um: float = 1.7
    defocus_max_um: float = 3.4
    contrast_scale: float = 1.0
    real_geometry_dir: Path | None = None

    def __post_init__(self) -> None:
        """Refuse settings that cannot be simulated."""
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"{name} = {value} is not between {low} and {high}", where=name)
        if min(self.image_shape_yx) < 64:
            raise UsageError("an image must have at least 64 x 64 pixels", where="image_shape_yx")
        if self.defocus_max_um < self.defocus_min_um:
            raise UsageError("defocus_max_um is below defocus_min_um", where="defocus_max_um")
        needed = 2.0 * (1.08 * self.vlp_radius_angstrom + 60.0)
        field = min(self.image_shape_yx) * self.pixel_size_angstrom
        if needed > field:
            raise UsageError(
                f"a VLP of {needed:.0f} Å does not fit an image of {field:.0f} Å",
                where="vlp_radius_angstrom",
                hint="make the image larger or the VLP smaller",
            )

    @property
    def ice_thickness_angstrom(self) -> float:
        """Thickness of the ice, enough to hold the largest VLP."""
        return 2.0 * (1.08 * self.vlp_radius_angstrom + 60.0) + 60.0


_BOUNDS: dict[str, tuple[float, float]] = {
    "n_series": (1, 99),
    "n_views": (3, 201),
    "tilt_span_deg": (1.0, 70.0),
    "n_frames": (1, 200),
    "pixel_size_angstrom": (0.5, 20.0),
    "exposure_e_per_angstrom2": (0.1, 100.0),
    "n_vlps": (0, 20),
    "vlp_radius_angstrom": (150.0, 1500.0),
    "n_beads": (0, 200),
    "bead_diameter_angstrom": (30.0, 300.0),
    "spacing_angstrom": (60.0, 120.0),
    "tilt_axis_deg": (-180.0, 180.0),
    "defocus_min_um": (0.3, 10.0),
    "defocus_max_um": (0.3, 10.0),
    "contrast_scale": (0.0, 100.0),
}

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "n_views": 17,
        "n_frames": 3,
        "pixel_size_angstrom": 9.0,
        "image_shape_yx": (256, 240),
        "exposure_e_per_angstrom2": 6.0,
        "n_vlps": 1,
        "vlp_radius_angstrom": 300.0,
        "n_beads": 10,
    },
    "demo": {},
    "vlp": {
        "n_views": 41,
        "n_frames": 8,
        "pixel_size_angstrom": 2.7,
        "image_shape_yx": (1408, 1320),
        "n_vlps": 4,
        "vlp_radius_angstrom": 450.0,
        "n_beads": 20,
    },
}


def resolve(preset: str, overrides: dict[str, Any]) -> SessionSettings:
    """Return the settings of a preset with overrides (``None`` means: as the preset has it).

    Raises
    ------
    UsageError
        If the preset or a setting does not exist or a value is out of bounds.
    """
    if preset not in PRESETS:
        raise UsageError(f"there is no preset {preset!r}", hint=f"presets are {', '.join(PRESETS)}")
    known = [one.name for one in dataclasses.fields(SessionSettings)]
    for name in overrides:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"settings are {', '.join(known)}"
            raise UsageError(f"a simulated session has no setting {name!r}", hint=hint)
    values = {**PRESETS[preset], **{key: value for key, value in overrides.items() if value is not None}}
    if "image_shape_yx" in values:
        ny, nx = values["image_shape_yx"]
        values["image_shape_yx"] = (int(ny), int(nx))
    return SessionSettings(**values)
