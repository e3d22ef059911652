"""Tilt angles and acquisition order as text: ``.rawtlt``, ``.tlt`` and order lists.

Angle files hold one angle a line in degrees, in the order of the stack; further columns are ignored.
Order lists hold one line a view in the order of recording: an angle, or a number and an angle,
separated by blanks or commas.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from staproj.errors import FormatError, InputError, StorageError

Float = NDArray[np.float64]

DUPLICATE_TOLERANCE_DEG = 0.05
_LARGEST_TILT_DEG = 100.0


def read_angles(path: Path) -> Float:
    """Read tilt angles, one a line.

    Raises
    ------
    FormatError
        If a line does not start with a tilt angle, or there is none.
    """
    rows = _rows(path)
    return _checked(np.array([row[0] for row in rows]), path)


def read_order(path: Path) -> Float:
    """Read tilt angles in the order of recording (last column of one- or two-column lists).

    Raises
    ------
    FormatError
        If a line is not a number, or a number and a tilt angle.
    """
    rows = _rows(path)
    return _checked(np.array([row[1] if len(row) > 1 else row[0] for row in rows]), path)


def write_angles(path: Path, tilt_deg: Float) -> Path:
    """Write angles as IMOD does (``%8.2f``, one a line), by rename."""
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_text("".join(f"{value:8.2f}\n" for value in tilt_deg), encoding="ascii")
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror or error}", where=str(path)) from error
    return path


def acquisition_index_from_order(tilt_deg: Float, order_deg: Float, path: Path) -> NDArray[np.int64]:
    """Return when each of the views ``tilt_deg`` was recorded, counted in the list (views may be missing).

    Raises
    ------
    FormatError
        If a view is not in the list.
    """
    index = np.abs(order_deg[None, :] - tilt_deg[:, None]).argmin(axis=1)
    off = np.abs(order_deg[index] - tilt_deg)
    spacing = np.diff(np.sort(tilt_deg)).min() if len(tilt_deg) > 1 else 1.0
    worst = int(off.argmax())
    if off[worst] > 0.4 * spacing or len(np.unique(index)) != len(index):
        raise FormatError(
            f"the view at {tilt_deg[worst]:.2f} deg has no line of its own in the order list",
            where=str(path),
            hint="list every recorded view once, in the order of recording",
        )
    return index.astype(np.int64)


def dose_symmetric_index(tilt_deg: Float) -> NDArray[np.int64]:
    """Return the place of each view in a dose-symmetric scheme 0, +, -, -, +, +, -, -, ...

    The scheme starts at the view nearest 0 deg and goes outwards in steps of the median spacing, the side
    that comes first changing at every step (Hagen, Wan & Briggs, J. Struct. Biol. 197 (2017) 191). Places of
    views that are not in ``tilt_deg`` are left free, because the microscope recorded them.
    """
    tilt = np.asarray(tilt_deg, dtype=np.float64)
    if len(tilt) == 1:
        return np.zeros(1, dtype=np.int64)
    start = tilt[np.abs(tilt).argmin()]
    increment = float(np.median(np.diff(np.sort(tilt))))
    steps = np.rint((tilt - start) / increment).astype(np.int64)
    ring = np.abs(steps)
    # Odd rings go + then -, even rings - then +.
    second = np.where(ring % 2 == 1, steps < 0, steps > 0)
    index = np.where(ring == 0, 0, 2 * ring - 1 + second)
    if len(np.unique(index)) != len(index):
        # Uneven spacing: keep the ranking, without free places.
        order = np.lexsort((second, np.abs(tilt - start)))
        index = np.empty(len(tilt), dtype=np.int64)
        index[order] = np.arange(len(tilt))
    return index.astype(np.int64)


def duplicate_angles(tilt_deg: Float) -> list[tuple[int, int]]:
    """Return pairs of indices whose angles are equal within :data:`DUPLICATE_TOLERANCE_DEG`."""
    order = np.argsort(tilt_deg, kind="stable")
    close = np.flatnonzero(np.diff(tilt_deg[order]) < DUPLICATE_TOLERANCE_DEG)
    return [(int(order[i]), int(order[i + 1])) for i in close]


def _rows(path: Path) -> list[list[float]]:
    try:
        text = path.read_text(encoding="utf-8", errors="strict")
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError("this is not a text file of angles", where=str(path)) from error
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            values = [float(word) for word in words[:2]]
        except ValueError as error:
            raise FormatError(
                f"expected a tilt angle, found {line.strip()!r}",
                where=f"{path}, line {number}",
                hint="give one angle in degrees a line, in the order of the stack",
            ) from error
        rows.append(values)
    if not rows:
        raise FormatError(
            "the file holds no angles", where=str(path), hint="give one angle in degrees a line"
        )
    return rows


def _checked(angles: Float, path: Path) -> Float:
    for value in angles:
        if not math.isfinite(value) or abs(value) > _LARGEST_TILT_DEG:
            raise FormatError(
                f"{value:g} is not a tilt angle in degrees",
                where=str(path),
                hint="give one angle in degrees a line",
            )
    return angles
