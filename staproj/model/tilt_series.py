"""Movies as they leave the microscope, and tilt series as stacks of views."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from staproj.model.microscope import Microscope


@dataclass(frozen=True, eq=False)
class MovieSeries:
    """Movies of one tilt series, sorted by rising stage tilt.

    ``stage_tilt_deg``, ``acquisition_index``, ``exposure_e_per_angstrom2`` (of the view itself),
    ``pre_exposure_e_per_angstrom2`` (received before the view began), ``n_frames`` and
    ``nominal_defocus_um`` have one entry a view. ``tilt_axis_deg`` is counter-clockwise from +y.
    ``gain_path`` is multiplied into every frame (``None``: frames are already corrected).
    """

    tilt_series_id: str
    movie_paths: tuple[Path, ...]
    stage_tilt_deg: NDArray[np.float64]
    acquisition_index: NDArray[np.int64]
    exposure_e_per_angstrom2: NDArray[np.float64]
    pre_exposure_e_per_angstrom2: NDArray[np.float64]
    n_frames: NDArray[np.int64]
    nominal_defocus_um: NDArray[np.float64]
    pixel_size_angstrom: float
    image_shape_yx: tuple[int, int]
    tilt_axis_deg: float
    microscope: Microscope = field(default_factory=Microscope)
    gain_path: Path | None = None

    @property
    def n_views(self) -> int:
        """Number of views."""
        return len(self.movie_paths)


@dataclass(frozen=True, eq=False)
class TiltSeries:
    """Views of one tilt series as a stack ``[view, y, x]`` on disk (protein dark), rising stage tilt.

    ``view_used`` is False for views that a person or a stage excluded; nothing downstream uses them.
    ``odd_stack_path``/``even_stack_path`` hold sums of odd/even frames where movies were at hand.
    """

    tilt_series_id: str
    stack_path: Path
    stage_tilt_deg: NDArray[np.float64]
    acquisition_index: NDArray[np.int64]
    exposure_e_per_angstrom2: NDArray[np.float64]
    pre_exposure_e_per_angstrom2: NDArray[np.float64]
    nominal_defocus_um: NDArray[np.float64]
    view_used: NDArray[np.bool_]
    pixel_size_angstrom: float
    image_shape_yx: tuple[int, int]
    tilt_axis_deg: float
    microscope: Microscope = field(default_factory=Microscope)
    odd_stack_path: Path | None = None
    even_stack_path: Path | None = None

    @property
    def n_views(self) -> int:
        """Number of views, excluded ones counted."""
        return len(self.stage_tilt_deg)
