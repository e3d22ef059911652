"""Units of every number staproj stores or asks for, and the name suffix that carries each.

A field name is a quantity plus the suffix of its unit (``defocus_max_um``). The closed list here is
what tests compare names against, and what help texts and records print.
"""

from __future__ import annotations

from enum import Enum


class Unit(Enum):
    """Unit of a number: ``value`` is how it is shown, :attr:`suffix` how it ends a name."""

    ONE = ""
    ANGSTROM = "Å"
    PER_ANGSTROM = "1/Å"
    ANGSTROM2 = "Å²"
    MICROMETRE = "µm"
    NANOMETRE = "nm"
    MILLIMETRE = "mm"
    DEGREE = "deg"
    KILOVOLT = "kV"
    PIXEL = "px"
    VOXEL = "voxel"
    EXPOSURE = "e/Å²"
    SECOND = "s"
    PERCENT = "%"
    SIGMA = "SD"
    CYCLES_PER_PIXEL = "cycles/px"

    @property
    def suffix(self) -> str:
        """Ending that a name with this unit must have (empty for pure numbers)."""
        return _SUFFIX[self]


_SUFFIX = {
    Unit.ONE: "",
    Unit.ANGSTROM: "_angstrom",
    Unit.PER_ANGSTROM: "_per_angstrom",
    Unit.ANGSTROM2: "_angstrom2",
    Unit.MICROMETRE: "_um",
    Unit.NANOMETRE: "_nm",
    Unit.MILLIMETRE: "_mm",
    Unit.DEGREE: "_deg",
    Unit.KILOVOLT: "_kv",
    Unit.PIXEL: "_px",
    Unit.VOXEL: "_voxel",
    Unit.EXPOSURE: "_e_per_angstrom2",
    Unit.SECOND: "_s",
    Unit.PERCENT: "_percent",
    Unit.SIGMA: "_sd",
    Unit.CYCLES_PER_PIXEL: "_cycles_per_px",
}

ANGSTROM_PER_UM = 1.0e4
ANGSTROM_PER_MM = 1.0e7
ANGSTROM_PER_NM = 10.0
