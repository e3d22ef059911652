"""IMOD's transform files (``.xf``) and what they and ``.tlt`` angles say about a tilt geometry.

A line ``A11 A12 A21 A22 DX DY`` maps raw to aligned coordinates about the centres ``(n - 1) / 2`` of both
images (pixel centres counted from 0)::

    X' - c = A (X - c) + D          A = R(-axis) / magnification

while :class:`staproj.model.geometry.TiltGeometry` has its centre at ``n // 2`` and gives the shift of the raw
content. The specimen's origin appears at the aligned image's centre, so its raw place is ``c - A⁻¹ D``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from staproj.errors import FormatError, InputError, StorageError
from staproj.model.geometry import TiltGeometry

Float = NDArray[np.float64]

_COLUMNS = 6
_STRETCH_TOLERANCE = 0.02


def read_xf(path: Path) -> tuple[Float, Float]:
    """Read matrices ``[view, 2, 2]`` and shifts ``[view, 2]`` (px, x y).

    Raises
    ------
    FormatError
        If a line has not six numbers, or a matrix cannot be inverted.
    InputError
        If the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError("not a text file", where=str(path)) from error
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror or error}", where=str(path)) from error
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = [float(word) for word in line.split()]
        except ValueError as error:
            raise FormatError("expected six numbers", where=f"{path}, line {number}") from error
        if len(row) != _COLUMNS or not np.isfinite(row).all():
            raise FormatError(f"expected six numbers, found {len(row)}", where=f"{path}, line {number}")
        rows.append(row)
    if not rows:
        raise FormatError("there are no transforms", where=str(path))
    table = np.array(rows)
    matrices = table[:, :4].reshape(-1, 2, 2)
    if (np.abs(np.linalg.det(matrices)) < 1e-6).any():
        raise FormatError("a transform cannot be inverted", where=str(path))
    return matrices, table[:, 4:]


def write_xf(path: Path, matrices: Float, shifts: Float) -> Path:
    """Write transforms as IMOD does (``4f12.7,2f12.3``), by rename."""
    rows = np.concatenate([np.asarray(matrices).reshape(-1, 4), np.asarray(shifts).reshape(-1, 2)], axis=1)
    text = "".join("".join(f"{v:12.7f}" for v in row[:4]) + f"{row[4]:12.3f}{row[5]:12.3f}\n" for row in rows)
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_text(text, encoding="ascii")
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror or error}", where=str(path)) from error
    return path


def compose_xf(first: tuple[Float, Float], second: tuple[Float, Float]) -> tuple[Float, Float]:
    """Return the transforms that apply ``first``, then ``second`` (as xfproduct does)."""
    return second[0] @ first[0], np.einsum("vij,vj->vi", second[0], first[1]) + second[1]


def invert_xf(transforms: tuple[Float, Float]) -> tuple[Float, Float]:
    """Return the transforms from aligned to raw coordinates (as xfinverse does)."""
    inverse: Float = np.linalg.inv(transforms[0]).astype(np.float64)
    return inverse, -np.einsum("vij,vj->vi", inverse, transforms[1])


def geometry_from_xf(
    tilt_series_id: str,
    transforms: tuple[Float, Float],
    tilt_deg: Float,
    *,
    pixel_size_angstrom: float,
    image_shape_yx: tuple[int, int],
    x_tilt_deg: Float | None = None,
) -> TiltGeometry:
    """Return the geometry of an alignment by IMOD: ``.xf`` (unbinned), ``.tlt`` and maybe ``.xtilt``.

    The specimen's frame is that of the tomogram after ``trimvol -rx``, its origin the centre of the aligned
    images. Raises ``FormatError`` if numbers of views differ, or a matrix stretches by more than 2 %.
    """
    matrices, shifts = transforms
    if len(matrices) != len(tilt_deg):
        raise FormatError(f"{len(matrices)} transforms and {len(tilt_deg)} tilt angles", where=tilt_series_id)
    inverse = np.linalg.inv(matrices)
    # nearest rotation and magnification of A⁻¹ = mag R(axis) in the least-squares sense
    cos = 0.5 * (inverse[:, 0, 0] + inverse[:, 1, 1])
    sin = 0.5 * (inverse[:, 1, 0] - inverse[:, 0, 1])
    magnification = np.hypot(cos, sin)
    similar = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], axis=-2)
    stretch = np.abs(inverse - similar).max(axis=(1, 2)) / np.maximum(magnification, 1e-12)
    if stretch.max() > _STRETCH_TOLERANCE:
        raise FormatError(
            f"view {int(stretch.argmax())} is stretched by {100 * stretch.max():.1f} %",
            where=tilt_series_id,
            hint="solve the alignment again without stretch and skew, or with less freedom",
        )
    ny, nx = image_shape_yx
    half = np.array([(nx - 1) / 2 - nx // 2, (ny - 1) / 2 - ny // 2])
    raw_shift = half - np.einsum("vij,vj->vi", inverse, shifts)
    n = len(tilt_deg)
    return TiltGeometry(
        tilt_series_id=tilt_series_id,
        tilt_deg=np.asarray(tilt_deg, dtype=np.float64),
        x_tilt_deg=np.zeros(n) if x_tilt_deg is None else np.asarray(x_tilt_deg, dtype=np.float64),
        tilt_axis_deg=np.rad2deg(np.arctan2(sin, cos)),
        shift_xy_angstrom=raw_shift * pixel_size_angstrom,
        magnification=magnification,
        view_used=np.ones(n, dtype=bool),
        pixel_size_angstrom=pixel_size_angstrom,
        image_shape_yx=image_shape_yx,
    )


def xf_from_geometry(geometry: TiltGeometry) -> tuple[Float, Float]:
    """Return the transforms of the unbinned stack that a geometry stands for; its tilts go beside them."""
    angle = np.deg2rad(geometry.tilt_axis_deg)
    cos, sin = np.cos(angle) / geometry.magnification, np.sin(angle) / geometry.magnification
    matrices = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=-2)
    ny, nx = geometry.image_shape_yx
    half = np.array([(nx - 1) / 2 - nx // 2, (ny - 1) / 2 - ny // 2])
    raw = half - geometry.shift_xy_angstrom / geometry.pixel_size_angstrom
    return matrices, np.einsum("vij,vj->vi", matrices, raw)
