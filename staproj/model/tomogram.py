"""Tomograms, and the slab of ice they should hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, eq=False)
class Slab:
    """Extent of the specimen in the positioned frame, whose z is the normal of the ice.

    ``thickness_angstrom`` is centred on z = 0. ``size_xyz_angstrom`` is the volume to reconstruct.
    The other fields record how the frame before positioning was turned and moved:
    ``P_old = Ry(tilt_offset) Rx(x_tilt) P_new + (0, 0, z_shift)``.
    """

    tilt_series_id: str
    thickness_angstrom: float
    size_xyz_angstrom: tuple[float, float, float]
    tilt_offset_deg: float = 0.0
    x_tilt_deg: float = 0.0
    z_shift_angstrom: float = 0.0


@dataclass(frozen=True, eq=False)
class Tomograms:
    """Tomograms of one tilt series ``[z, y, x]``, one a binning; index ``n // 2`` is the centre.

    ``contrast`` is ``"dark"`` (protein dark, as the views) or ``"bright"``. ``ctf_correction`` is ``"none"``,
    ``"flip"`` or ``"multiply"``; ``exposure_weighted`` says whether the exposure filter was applied.
    """

    tilt_series_id: str
    paths: tuple[Path, ...]
    voxel_size_angstrom: tuple[float, ...]
    binning: tuple[int, ...]
    contrast: str
    ctf_correction: str
    exposure_weighted: bool
    odd_paths: tuple[Path, ...] = ()
    even_paths: tuple[Path, ...] = ()
