"""Reconstruct a tomogram block by block from loaded views, with the CTF of every depth corrected.

The CTF is corrected at a few depths ("levels") of each view and blended between them, by the depth
that every pixel has in the slab being built. That is what the strips and slabs of IMOD's ctf3d and of
novaCTF (Turonova et al., J. Struct. Biol. 199, 187 (2017)) do; for any tilt axis and x-tilt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from staproj.errors import EmptyResultError, InputError
from staproj.kernels import backproject as bp
from staproj.kernels.ctf import ctf_2d, exposure_filter, wavelength_angstrom
from staproj.kernels.fourier import frequency_grid, radial_frequency
from staproj.model.microscope import Microscope
from staproj.stages.shared.views import ViewStack

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

MAX_SECTIONS = 64
_TAPER_FRACTION = 0.02  # of the image, so that its rim does not ring through the ramp filter


@dataclass(frozen=True)
class TomogramOptions:
    """How to reconstruct; lengths in Å, frequencies in cycles per voxel.

    ``ctf_correction`` is "none", "flip" or "multiply". ``slab_thickness_angstrom`` ``None`` takes the
    depth over which the phase of the CTF changes by a quarter turn at Nyquist, ``1 / (2 lambda k²)``.
    """

    size_xyz_angstrom: tuple[float, float, float]
    cutoff_cycles_per_px: float = 0.35
    falloff_cycles_per_px: float = 0.05
    oversampling: int = 2
    ctf_correction: str = "none"
    slab_thickness_angstrom: float | None = None
    exposure_weighted: bool = False
    count_own_exposure: bool = True


@dataclass(eq=False)
class TomogramBuilder:
    """Everything needed to build sections of one tomogram; ``shape_zyx`` is its size in voxels."""

    views: ViewStack
    microscope: Microscope
    options: TomogramOptions
    threads: int = 1
    check: Callable[[], None] | None = None
    shape_zyx: tuple[int, int, int] = field(init=False)
    slab_voxels: int = field(init=False)

    def __post_init__(self) -> None:
        """Lay out the volume and the grids of the views."""
        px = self.views.pixel_size_angstrom
        sizes = [max(2, 2 * round(size / px / 2)) for size in self.options.size_xyz_angstrom]
        self.shape_zyx = (sizes[2], sizes[1], sizes[0])
        scale = self.views.geometry.magnification[self.views.view_index, None, None] / (
            self.views.geometry.pixel_size_angstrom * self.views.binning_xy[:, None]
        )
        projection = self.views.rot_view_from_tomo[:, :2] * scale * px
        centre = self.views.project(np.zeros((1, 3)))[:, 0]
        self._rot = self.views.rot_view_from_tomo
        try:
            self._grids = [bp.view_grid(a, c) for a, c in zip(projection, centre, strict=True)]
        except ValueError as error:
            raise InputError(str(error), where=self.views.tilt_series_id) from error
        shape_yx = (self.views.images.shape[1], self.views.images.shape[2])
        reach = self.shape_zyx[0] / 2 + 1
        self._nv = bp.grid_height(self._grids, self.shape_zyx[1], reach)
        self._nu = bp.grid_width(self._grids, shape_yx, self.options.oversampling)
        self._taper = bp.edge_taper(shape_yx, max(4, int(_TAPER_FRACTION * max(shape_yx))))
        self._correcting = self.options.ctf_correction != "none" and self.views.ctf is not None
        self._step = self._level_step()
        self.slab_voxels = min(self.shape_zyx[0], MAX_SECTIONS)
        if self._correcting:
            self.slab_voxels = max(1, min(self.slab_voxels, int(self._step / px)))
        self._rows_cache: Float32 | None = None
        self._levels: list[dict[int, Float32]] = [{} for _ in self._grids]

    def _level_step(self) -> float:
        if self.options.slab_thickness_angstrom is not None:
            return self.options.slab_thickness_angstrom
        return 2 * self.views.pixel_size_angstrom**2 / wavelength_angstrom(self.microscope.voltage_kv)

    def blocks(self) -> Iterator[tuple[int, Float32]]:
        """Yield (index of the first section, block ``[z, y, x]``), from the lowest section up."""
        nz, ny, nx = self.shape_zyx
        for first in range(0, nz, self.slab_voxels):
            count = min(self.slab_voxels, nz - first)
            rows = self._rows(first - nz // 2 + 0.5 * (count - 1))
            yield first, bp.back_project(
                rows, self._grids, (count, ny, nx), float(first - nz // 2),
                oversampling=self.options.oversampling, threads=self.threads,
            )  # fmt: skip

    def volume(self) -> Float32:
        """Return the whole tomogram ``[z, y, x]``."""
        out = np.empty(self.shape_zyx, dtype=np.float32)
        for first, block in self.blocks():
            out[first : first + len(block)] = block
        if not np.isfinite(out).all():
            raise EmptyResultError("the tomogram has no finite values", where=self.views.tilt_series_id)
        return out

    def _rows(self, z_middle: float) -> Float32:
        """Return filtered views ``[view, u, v]`` to be back-projected around a height (voxels)."""
        if self._rows_cache is not None:
            return self._rows_cache
        rows = np.empty((self.views.n_views, self._nu, self._nv), dtype=np.float32)

        def one(view: int) -> None:
            if self.check is not None:
                self.check()
            image = self._at_height(view, z_middle) if self._correcting else self._level(view, None)
            options = self.options
            rows[view] = bp.filter_rows(
                image, options.cutoff_cycles_per_px, options.falloff_cycles_per_px, options.oversampling
            ).T

        with ThreadPoolExecutor(max_workers=max(1, self.threads)) as pool:
            list(pool.map(one, range(self.views.n_views)))
        if not self._correcting:
            self._rows_cache = rows
        return rows

    def _at_height(self, view: int, z_middle: float) -> Float32:
        """Blend the levels of a view by the depth that each (u, v) has in the plane at ``z_middle``."""
        grid, matrix = self._grids[view], self._rot[view]
        _, ny, nx = self.shape_zyx
        u = (np.arange(self._nu) - self._nu // 2) / self.options.oversampling
        v = (np.arange(self._nv) - self._nv // 2).astype(np.float64)
        x = np.clip((u - grid.along_z * z_middle) / grid.along_x, -nx / 2, nx / 2)
        y = np.clip(v - grid.row_z * z_middle, -ny / 2, ny / 2)
        depth = matrix[2, 0] * x[None, :] + matrix[2, 1] * y[:, None] + matrix[2, 2] * z_middle
        level = depth * self.views.pixel_size_angstrom / self._step
        lowest, highest = int(np.floor(level.min())), int(np.ceil(level.max()))
        kept = self._levels[view]
        for stale in [key for key in kept if key < lowest or key > highest]:
            del kept[stale]
        out = np.zeros((self._nv, self._nu), dtype=np.float32)
        for number in range(lowest, highest + 1):
            weight = np.clip(1.0 - np.abs(level - number), 0.0, 1.0).astype(np.float32)
            if number not in kept:
                kept[number] = self._level(view, number)
            out += weight * kept[number]
        return out

    def _level(self, view: int, number: int | None) -> Float32:
        """Return a view on its grid ``[v, u]``, filtered for exposure and for the CTF at one depth."""
        image = self.views.images[view] * self._taper
        shape = (image.shape[0], image.shape[1])
        if self.options.exposure_weighted or number is not None:
            spectrum = scipy.fft.rfft2(image)
            spectrum *= self._filter(view, number, shape)
            image = scipy.fft.irfft2(spectrum, s=shape)
        return bp.resample_view(image, self._grids[view], (self._nv, self._nu), self.options.oversampling)

    def _filter(self, view: int, number: int | None, shape: tuple[int, int]) -> Float32:
        px = self.views.pixel_size_angstrom
        result = np.ones((shape[0], shape[1] // 2 + 1), dtype=np.float32)
        if self.options.exposure_weighted:
            exposure = self.views.pre_exposure_e_per_angstrom2[view]
            if self.options.count_own_exposure:
                exposure = exposure + self.views.exposure_e_per_angstrom2[view]
            frequency = radial_frequency(shape) / np.float32(px)
            result *= exposure_filter(frequency, float(exposure), voltage_kv=self.microscope.voltage_kv)
        if number is not None and self.views.ctf is not None:
            ctf, index = self.views.ctf, self.views.view_index[view]
            fy, fx = (grid / np.float32(px) for grid in frequency_grid(shape))
            offset = float(ctf.defocus_offset_angstrom(np.array(number * self._step)))
            transfer = ctf_2d(
                fx, fy,
                defocus_u_angstrom=float(ctf.defocus_u_um[index]) * 1e4 + offset,
                defocus_v_angstrom=float(ctf.defocus_v_um[index]) * 1e4 + offset,
                astigmatism_deg=float(ctf.astigmatism_deg[index]),
                voltage_kv=ctf.microscope.voltage_kv,
                spherical_aberration_mm=ctf.microscope.spherical_aberration_mm,
                amplitude_contrast=ctf.microscope.amplitude_contrast,
                phase_shift_deg=float(ctf.phase_shift_deg[index]),
            )  # fmt: skip
            flip = self.options.ctf_correction == "flip"
            result *= np.where(transfer < 0, -1.0, 1.0).astype(np.float32) if flip else transfer
        return result
