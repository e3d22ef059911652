"""Surfaces that particles sit on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spheres:
    """Spheres (VLPs) of one tilt series: centres ``[n, 3]`` and radii ``[n]`` in Å, a score each.

    The radius is that of the layer the particles' centres lie on, as far as the picker can tell.
    """

    tilt_series_id: str
    object_id: NDArray[np.int64]
    centre_xyz_angstrom: Float
    radius_angstrom: Float
    score: Float
