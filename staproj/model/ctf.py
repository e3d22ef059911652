"""Defocus of every view, and the defocus of a point away from the tomogram centre."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from staproj.model.microscope import Microscope
from staproj.units import ANGSTROM_PER_UM

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CtfModel:
    """CTF of one tilt series; arrays have one entry a view, in the order of the stack.

    ``defocus_u_um >= defocus_v_um`` (positive = underfocus); ``astigmatism_deg`` is the direction of U,
    counter-clockwise from +x of the raw view. Both hold for a point at the tomogram centre.
    ``defocus_hand`` is -1 where a point nearer the source (larger depth z') is less underfocused, as IMOD
    and RELION's rlnTomoHand = -1 have it, and +1 for the opposite.
    ``fit_score`` is the correlation of the fit, ``fit_resolution_angstrom`` where it stops to hold.
    ``searched_from_um`` to ``searched_to_um`` is the range of defocus that was looked at: a result is the
    best within it, and one at its edge says little (``None``: not from a search).
    """

    tilt_series_id: str
    defocus_u_um: Float
    defocus_v_um: Float
    astigmatism_deg: Float
    phase_shift_deg: Float
    fit_score: Float
    fit_resolution_angstrom: Float
    defocus_hand: int = -1
    microscope: Microscope = field(default_factory=Microscope)
    searched_from_um: float | None = None
    searched_to_um: float | None = None

    @property
    def n_views(self) -> int:
        """Number of views."""
        return len(self.defocus_u_um)

    def defocus_offset_angstrom(self, depth_angstrom: Float) -> Float:
        """Return what depth z' (Å, from ``TiltGeometry.depth``) adds to U and V: ``hand * z'`` in Å."""
        return self.defocus_hand * np.asarray(depth_angstrom, dtype=np.float64)

    @property
    def mean_defocus_angstrom(self) -> Float:
        """Mean of U and V of every view, Å."""
        return 0.5 * (self.defocus_u_um + self.defocus_v_um) * ANGSTROM_PER_UM
