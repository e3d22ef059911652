"""Write what a session leaves: movies, gain reference and one SerialEM-style mdoc a tilt series."""

from __future__ import annotations

import datetime
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray

from staproj.formats.tiff import write_tiff
from staproj.testing.phantoms.microscope import Acquisition
from staproj.testing.phantoms.settings import SessionSettings

_START = datetime.datetime(2015, 11, 30, 15, 14, 20)
_WINDOWS_FOLDER = "D:\\DATA\\session\\frames\\"


def movie_name(series: str, acquisition_index: int, stage_tilt_deg: float, *, tiff: bool) -> str:
    """Return a file name as SerialEM makes it: series, running number, nominal tilt."""
    ending = "tif" if tiff else "mrc"
    return f"{series}_{acquisition_index:03d}_{round(stage_tilt_deg, 1) + 0.0:.1f}.{ending}"


def write_movie(path: Path, frames: NDArray[np.generic], pixel_size_angstrom: float) -> None:
    """Write frames ``[frame, y, x]`` as MRC or TIFF, as the ending says."""
    if path.suffix == ".tif":
        write_tiff(path, frames, compression="lzw")
        return
    write_mrc(path, frames, pixel_size_angstrom)


def write_mrc(path: Path, data: NDArray[np.generic], pixel_size_angstrom: float) -> None:
    """Write an image or stack with nothing that depends on the time of writing."""
    with mrcfile.new(path, overwrite=True) as handle:
        handle.set_data(data)
        if data.ndim == 3:
            handle.set_image_stack()
        handle.voxel_size = pixel_size_angstrom
        handle.header.nlabl = 1
        handle.header.label[0] = b"simulated session"


def mdoc_text(
    series: str, acquisition: Acquisition, settings: SessionSettings, *, tiff: bool, knows_exposure: bool
) -> str:
    """Return the mdoc of one series, sections in the order of acquisition.

    Where ``knows_exposure`` is False it says ``ExposureDose = 0`` and has no prior dose, as the mdocs of
    EMPIAR-10164 do.
    """
    ny, nx = settings.image_shape_yx
    pixel = settings.pixel_size_angstrom
    lines = [
        f"PixelSpacing = {pixel:g}",
        "Voltage = 300",
        f"ImageFile = {series}.mrc",
        f"ImageSize = {nx} {ny}",
        "DataMode = 1",
        "",
        f"[T = SerialEM: Simulated session                          {_START:%d-%b-%y  %H:%M:%S}    ]",
        "",
        f"[T =     Tilt axis angle = {settings.tilt_axis_deg:.1f}, binning = 1  spot = 8  camera = 2]",
        "",
    ]
    for section, view in enumerate(np.argsort(acquisition.acquisition_index)):
        lines += _section(series, section, int(view), acquisition, settings, tiff, knows_exposure)
    return "\n".join(lines) + "\n"


def _section(
    series: str,
    section: int,
    view: int,
    acquisition: Acquisition,
    settings: SessionSettings,
    tiff: bool,
    knows_exposure: bool,
) -> list[str]:
    tilt = acquisition.stage_tilt_deg[view]
    index = int(acquisition.acquisition_index[view])
    dose = settings.exposure_e_per_angstrom2 if knows_exposure else 0.0
    nominal = 0.5 * (settings.defocus_min_um + settings.defocus_max_um)
    when = _START + datetime.timedelta(seconds=95 * section + 60)
    lines = [
        f"[ZValue = {section}]",
        f"TiltAngle = {tilt:.6g}",
        "StagePosition = 20.7936 155.287",
        "StageZ = 163.803",
        "Magnification = 105000",
        f"ExposureDose = {dose:g}",
        f"PixelSpacing = {settings.pixel_size_angstrom:g}",
        "SpotSize = 8",
        f"Defocus = {-nominal:.5f}",
        f"RotationAngle = {settings.tilt_axis_deg + 90.0:.1f}",
        "ExposureTime = 0.8",
        "Binning = 1",
        "CameraIndex = 2",
        f"TargetDefocus = {-nominal:.2f}",
    ]
    if knows_exposure:
        lines.append(f"PriorRecordDose = {acquisition.pre_exposure_e_per_angstrom2[view]:g}")
    return [
        *lines,
        f"SubFramePath = {_WINDOWS_FOLDER}{movie_name(series, index, tilt, tiff=tiff)}",
        f"NumSubFrames = {settings.n_frames}",
        f"DateTime = {when:%d-%b-%y  %H:%M:%S}",
        "",
    ]
