"""Small sets of movies, stacks and mdoc files for the tests of the import stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from staproj.formats.mrc import write_mrc
from staproj.formats.tiff import write_tiff

ANGLES = (0.0, 3.0, -3.0, -6.0, 6.0)  # in the order of recording
SHAPE = (2, 12, 16)


def write_mdoc(
    folder: Path,
    series: str,
    *,
    suffix: str = ".mrc",
    header: Mapping[str, object] | None = None,
    section: Mapping[str, object] | None = None,
    angles: tuple[float, ...] = ANGLES,
) -> Path:
    """Write an mdoc as SerialEM does; ``section`` overrides keys of every section (``None`` removes one)."""
    keys: dict[str, object] = {"PixelSpacing": 1.35, "Voltage": 300, "ImageSize": "16 12"} | dict(
        header or {}
    )
    lines = [f"{key} = {value}" for key, value in keys.items() if value is not None]
    lines += ["", "[T =     Tilt axis angle = 85.3, binning = 1  spot = 8  camera = 2]", ""]
    for index, angle in enumerate(angles):
        values: dict[str, object] = {
            "TiltAngle": angle + 0.01,
            "ExposureDose": 3.0,
            "TargetDefocus": -2.5,
            "SubFramePath": rf"D:\DATA\{movie_name(series, index, suffix, angles)}",
            "NumSubFrames": SHAPE[0],
            "DateTime": f"30-Nov-15  15:{20 + index}:00",
        }
        values |= dict(section or {})
        lines += [f"[ZValue = {index}]", *(f"{k} = {v}" for k, v in values.items() if v is not None), ""]
    path = folder / f"{series}.mrc.mdoc"
    path.write_text("\n".join(lines))
    return path


def movie_name(series: str, index: int, suffix: str = ".mrc", angles: tuple[float, ...] = ANGLES) -> str:
    """Return the name of a movie."""
    return f"{series}_{index:03d}_{angles[index]:.1f}{suffix}"


def write_movies(
    folder: Path,
    series: str,
    *,
    suffix: str = ".mrc",
    pixel: float = 1.35,
    shape: tuple[int, int, int] = SHAPE,
) -> list[Path]:
    """Write one movie a tilt; counts name the movie, so that order can be checked."""
    paths = []
    for index in range(len(ANGLES)):
        path = folder / movie_name(series, index, suffix)
        frames = np.random.default_rng(index).poisson(10.0 + index, shape).astype(np.float32)
        if suffix == ".tif":
            write_tiff(path, frames.astype(np.uint8))
        else:
            write_mrc(path, frames, pixel)
        paths.append(path)
    return paths
