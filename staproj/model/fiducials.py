"""Gold: 2-D tracks that align a tilt series, and 3-D beads that are erased."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FiducialTracks:
    """Tracks of beads through the views of one tilt series.

    ``position_xy_px`` (``[bead, view, 2]``, raw pixels from 0 at pixel centres) is NaN where a bead was
    not found; ``weight`` (``[bead, view]``) is 0 there and in (0, 1] elsewhere.
    """

    tilt_series_id: str
    position_xy_px: Float
    weight: Float
    bead_diameter_angstrom: float
    pixel_size_angstrom: float
    image_shape_yx: tuple[int, int]

    @property
    def n_beads(self) -> int:
        """Number of tracks."""
        return self.position_xy_px.shape[0]


@dataclass(frozen=True, eq=False)
class GoldModel:
    """Beads of one tilt series in 3-D: ``[bead, 3]`` Å from the tomogram centre, and their size."""

    tilt_series_id: str
    position_xyz_angstrom: Float
    strength: Float
    diameter_angstrom: float
