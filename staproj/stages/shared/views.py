"""Views of a tilt series, ready for computing: reduced, gold erased, normalised, with where points appear.

Every stage that works from raw views loads them here, so that all of them see the same pixels. Exposure
weights and CTFs are not applied: they belong to a particle or a tomogram.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from staproj.errors import EmptyResultError, InputError
from staproj.formats.mrc import check_finite, map_mrc
from staproj.kernels.ctf import exposure_filter
from staproj.kernels.erase import erase_discs
from staproj.kernels.fourier import radial_frequency, reduce_images, resampled_shape
from staproj.model.ctf import CtfModel
from staproj.model.fiducials import GoldModel
from staproj.model.geometry import TiltGeometry
from staproj.model.tilt_series import TiltSeries

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

GOLD_RADIUS_FACTOR = 1.25  # bead plus the first dark Fresnel fringe
_NOISE_BAND = (0.3, 0.48)  # cycles/px of the reduced view: little signal, below the removed Nyquist


@dataclass(frozen=True, eq=False)
class ViewStack:
    """Reduced views and what is known of each; every array has one entry a *used* view.

    ``images`` is ``[view, y, x]`` float32, protein dark. ``view_index`` numbers the views in the full stack.
    ``mean`` and ``noise_sd`` are the raw grey value and noise of each view: where ``normalised`` they
    were subtracted and divided out, so that white noise has SD 1 in every view. ``binning_xy`` is the exact
    ratio of pixels (equal for whole binnings).
    """

    tilt_series_id: str
    images: Float32
    view_index: NDArray[np.int64]
    pixel_size_angstrom: float
    binning_xy: Float
    geometry: TiltGeometry
    mean: Float
    noise_sd: Float
    normalised: bool
    exposure_e_per_angstrom2: Float
    pre_exposure_e_per_angstrom2: Float
    ctf: CtfModel | None = None

    @property
    def n_views(self) -> int:
        """Number of used views."""
        return len(self.view_index)

    @property
    def rot_view_from_tomo(self) -> Float:
        """Rotations M_v of the used views, ``[view, 3, 3]``."""
        return self.geometry.rot_view_from_tomo[self.view_index]

    def project(self, position_xyz_angstrom: Float) -> Float:
        """Return x, y of points ``[n, 3]`` (Å) in reduced pixels, ``[view, n, 2]``."""
        return self.from_raw_px(self.geometry.project(position_xyz_angstrom)[self.view_index])

    def from_raw_px(self, position_xy_px: Float) -> Float:
        """Convert raw pixels ``[..., 2]`` to reduced pixels: ``(x - n // 2) / b + m // 2``."""
        m = np.array([self.images.shape[2] // 2, self.images.shape[1] // 2], dtype=np.float64)
        return (position_xy_px - self.geometry.image_centre_xy_px) / self.binning_xy + m

    def depth(self, position_xyz_angstrom: Float) -> Float:
        """Return depth z' of points ``[n, 3]`` along the beam, ``[view, n]``, Å."""
        return self.geometry.depth(position_xyz_angstrom)[self.view_index]

    def defocus_angstrom(self, position_xyz_angstrom: Float) -> tuple[Float, Float]:
        """Return defocus U and V of points ``[n, 3]`` in every view, each ``[view, n]``, Å.

        Raises
        ------
        InputError
            If the views were loaded without a CTF.
        """
        if self.ctf is None:
            raise InputError("these views were loaded without a CTF", where=self.tilt_series_id)
        offset = self.ctf.defocus_offset_angstrom(self.depth(position_xyz_angstrom))
        u = self.ctf.defocus_u_um[self.view_index, None] * 1e4 + offset
        v = self.ctf.defocus_v_um[self.view_index, None] * 1e4 + offset
        return u, v


def used_views(tilt_series: TiltSeries, geometry: TiltGeometry) -> NDArray[np.int64]:
    """Return the indices of views that both the series and its alignment use.

    Raises
    ------
    InputError
        If series and alignment do not belong together.
    EmptyResultError
        If no view is left.
    """
    name = tilt_series.tilt_series_id
    if geometry.n_views != tilt_series.n_views:
        raise InputError(
            f"the alignment has {geometry.n_views} views, the tilt series {tilt_series.n_views}",
            where=name,
            hint="both must come from the same import; rerun the alignment",
        )
    if tuple(geometry.image_shape_yx) != tuple(tilt_series.image_shape_yx):
        raise InputError(
            f"the alignment is for images {geometry.image_shape_yx}, "
            f"the views are {tilt_series.image_shape_yx}",
            where=name,
        )
    index = np.flatnonzero(tilt_series.view_used & geometry.view_used)
    if not len(index):
        raise EmptyResultError(
            "every view of this tilt series is excluded",
            where=name,
            hint="check exclude_views and the alignment",
        )
    return index.astype(np.int64)


def load_views(
    tilt_series: TiltSeries,
    geometry: TiltGeometry,
    *,
    binning: float = 1.0,
    pixel_size_angstrom: float | None = None,
    ctf: CtfModel | None = None,
    gold: GoldModel | None = None,
    normalise: bool = True,
    stack: Literal["full", "odd", "even"] = "full",
    threads: int = 1,
    check: Callable[[], None] | None = None,
) -> ViewStack:
    """Read the used views, erase gold at full resolution, reduce and normalise them.

    ``pixel_size_angstrom`` asks for at least about that pixel size and overrides ``binning``. ``check`` is
    called between views (``ctx.check_cancelled``). Only reduced views are kept in memory.

    Raises
    ------
    InputError
        If inputs do not belong together, or odd/even views are asked for and there are none.
    FormatError
        If the stack is damaged or has other sizes than its tilt series says.
    """
    index = used_views(tilt_series, geometry)
    raw_px = tilt_series.pixel_size_angstrom
    factor = max(1.0, pixel_size_angstrom / raw_px) if pixel_size_angstrom else float(binning)
    region, reduced = resampled_shape(tilt_series.image_shape_yx, factor)
    ratio = np.array([region[1] / reduced[1], region[0] / reduced[0]])
    path = _stack_path(tilt_series, stack)
    data = _open_stack(path, tilt_series)
    beads = None if gold is None else geometry.project(gold.position_xyz_angstrom)
    radius = 0.0 if gold is None else GOLD_RADIUS_FACTOR * 0.5 * gold.diameter_angstrom / raw_px

    def load_one(view: int) -> tuple[Float32, float, float]:
        if check is not None:
            check()
        image = np.asarray(data[view], dtype=np.float32)
        check_finite(image, path, view)
        if beads is not None:
            image = erase_discs(image, beads[view], radius * geometry.magnification[view])
        small = np.asarray(reduce_images(image, factor), dtype=np.float32)
        return _normalise(small) if normalise else (small, 0.0, 1.0)

    images = np.empty((len(index), *reduced), dtype=np.float32)
    mean, noise = np.zeros(len(index)), np.ones(len(index))
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        for i, result in enumerate(pool.map(load_one, index)):
            images[i], mean[i], noise[i] = result
    return ViewStack(
        tilt_series_id=tilt_series.tilt_series_id,
        images=images,
        view_index=index,
        pixel_size_angstrom=raw_px * float(np.sqrt(ratio[0] * ratio[1])),
        binning_xy=ratio,
        geometry=geometry,
        mean=mean,
        noise_sd=noise,
        normalised=normalise,
        exposure_e_per_angstrom2=tilt_series.exposure_e_per_angstrom2[index],
        pre_exposure_e_per_angstrom2=tilt_series.pre_exposure_e_per_angstrom2[index],
        ctf=ctf,
    )


def exposure_weighted(
    views: ViewStack, *, voltage_kv: float, count_own_exposure: bool = True, threads: int = 1
) -> Float32:
    """Return the images after the exposure filter of each view, as tomograms want them.

    The exposure is what the view had received before it began, plus its own where
    ``count_own_exposure`` (as IMOD has it; RELION leaves it out).
    """
    shape = (views.images.shape[1], views.images.shape[2])
    frequency = radial_frequency(shape) / np.float32(views.pixel_size_angstrom)
    total = views.pre_exposure_e_per_angstrom2 + count_own_exposure * views.exposure_e_per_angstrom2
    out = np.empty_like(views.images)
    for i, exposure in enumerate(total):
        spectrum = scipy.fft.rfft2(views.images[i], workers=threads)
        spectrum *= exposure_filter(frequency, float(exposure), voltage_kv=voltage_kv).astype(np.float32)
        out[i] = scipy.fft.irfft2(spectrum, s=shape, workers=threads)
    return out


def _stack_path(tilt_series: TiltSeries, stack: str) -> Path:
    path = {
        "full": tilt_series.stack_path,
        "odd": tilt_series.odd_stack_path,
        "even": tilt_series.even_stack_path,
    }[stack]
    if path is None:
        raise InputError(
            f"there are no {stack} views of this tilt series",
            where=tilt_series.tilt_series_id,
            hint="halves need movies: run `motion` with halves on, or turn half tomograms off",
        )
    return path


def _open_stack(path: Path, tilt_series: TiltSeries) -> NDArray[np.generic]:
    data, _ = map_mrc(path)
    expected = (tilt_series.n_views, *tilt_series.image_shape_yx)
    if data.shape != expected:
        raise InputError(
            f"the stack is {data.shape} [view, y, x], its tilt series says {expected}",
            where=str(path),
            hint="run the step that made it again",
        )
    return data


def _normalise(image: Float32) -> tuple[Float32, float, float]:
    """Take off the mean and divide by the SD that white noise of the image's upper band would have."""
    mean = float(image.mean(dtype=np.float64))
    centred = image - np.float32(mean)
    shape = (image.shape[0], image.shape[1])
    frequency = radial_frequency(shape)
    band = (frequency > _NOISE_BAND[0]) & (frequency < _NOISE_BAND[1])
    spectrum = scipy.fft.rfft2(centred)
    power = float(np.mean(np.abs(spectrum[band]).astype(np.float64) ** 2)) if band.any() else 0.0
    sd = np.sqrt(power / image.size)
    if not sd > 1e-6 * float(centred.std(dtype=np.float64)):
        sd = float(centred.std(dtype=np.float64))  # a noise-free image
    if not sd > 0:
        return centred, mean, 1.0
    return centred / np.float32(sd), mean, float(sd)
