"""Where particle data come from: patches of the tilt views, as data and weights of every particle.

A source yields, for batches of particles, band cubes ``D`` and ``W`` (``kernels.slices``) in a frame that
each particle's current pose defines; search, refinement and averaging know nothing else of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from staproj.errors import EmptyResultError, InputError
from staproj.kernels.ctf import exposure_filter, wavelength_angstrom
from staproj.kernels.fourier import fast_even_length, radial_frequency
from staproj.kernels.slices import (
    band_cube_shape,
    contrast_transfer,
    crop_patches,
    insert_slices,
)
from staproj.model.particles import ParticleSet
from staproj.stages.api import StageContext
from staproj.stages.shared.particle_inputs import SeriesInputs, series_inputs
from staproj.stages.shared.views import ViewStack, load_views

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Complex64 = NDArray[np.complex64]

_PATCH_BYTES = 96 << 20  # patches of one batch
_VIEW_BYTES = 4 << 30  # reduced views kept between passes
_NOISE_PARTICLES = 200
_ACCUMULATORS = 8  # fixed, so that sums do not depend on the number of threads


@dataclass(frozen=True, eq=False)
class Optics:
    """CTF constants and amplitude tables of the used views of one series (see ``contrast_transfer``)."""

    constants: Float32
    for_weight: Float32
    for_data: Float32
    limit_per_angstrom: float


class ViewSource:
    """Particles read from the tilt views at one binning.

    Parameters
    ----------
    series
        Artifacts of every tilt series that particles name.
    binning
        Of the raw pixel.
    box_angstrom
        Edge of the particle box; rounded up to an even number of voxels that FFTs like.
    max_frequency_per_angstrom
        Where the band ends; never beyond the box's Nyquist frequency.
    """

    def __init__(
        self,
        series: dict[str, SeriesInputs],
        *,
        binning: float,
        box_angstrom: float,
        threads: int = 1,
        check: Callable[[], None] | None = None,
    ) -> None:
        if not series:
            raise EmptyResultError("there is no tilt series to read particles from")
        sizes = {name: one.tilt_series.pixel_size_angstrom for name, one in series.items()}
        first = next(iter(sizes.values()))
        for name, size in sizes.items():
            if abs(size / first - 1.0) > 1e-3:
                raise InputError(
                    f"pixel sizes differ between tilt series: {size:.4f} and {first:.4f} Å",
                    where=name,
                    hint="average series of one pixel size together",
                )
        self.series = series
        self.binning = binning
        self.voxel_size_angstrom = first * binning
        self.box = fast_even_length(max(8, int(np.ceil(box_angstrom / self.voxel_size_angstrom - 1e-6))))
        self.threads = threads
        self._check = check or (lambda: None)
        self._views: dict[str, ViewStack] = {}
        self._noise: dict[str, Float] = {}

    @property
    def max_radius(self) -> int:
        """Largest band radius of the box, cycles per box."""
        return self.box // 2 - 1

    def radius_of(self, resolution_angstrom: float) -> int:
        """Return the band radius (cycles per box) that a resolution asks for, within what the box holds."""
        wanted = int(np.floor(self.box * self.voxel_size_angstrom / resolution_angstrom + 1e-6))
        return max(2, min(self.max_radius, wanted))

    def views(self, name: str) -> ViewStack:
        """Return the reduced views of a series, loading them if they are not at hand."""
        if name not in self.series:
            raise InputError(
                f"particles name a tilt series that is not there: {name}",
                where=name,
                hint="particles and tilt series must come from the same import",
            )
        if name not in self._views:
            one = self.series[name]
            loaded = load_views(
                one.tilt_series,
                one.alignment,
                binning=self.binning,
                ctf=one.ctf,
                gold=one.gold,
                threads=self.threads,
                check=self._check,
            )
            while (
                self._views
                and sum(v.images.nbytes for v in self._views.values()) + loaded.images.nbytes > _VIEW_BYTES
            ):
                self._views.pop(next(iter(self._views)))
            self._views[name] = loaded
        return self._views[name]

    def measure_noise(self, particles: ParticleSet) -> None:
        """Measure the radial power around particles of every view, which whitens all that is read later."""
        for name in np.unique(particles.tilt_series_id):
            part = particles.of_series(str(name))
            step = max(1, len(part) // _NOISE_PARTICLES)
            chosen = part.take(np.arange(0, len(part), step))
            self._noise[str(name)] = self._radial_amplitude(self.views(str(name)), chosen)

    def _radial_amplitude(self, views: ViewStack, particles: ParticleSet) -> Float:
        """Return the root of the mean power a view and shell of the box, ``[view, shell]``, smoothed."""
        n = self.box
        shell = np.minimum(np.rint(radial_frequency((n, n)) * n).astype(np.int64), n // 2).ravel()
        power = np.zeros((views.n_views, n // 2 + 1))
        number = np.zeros(views.n_views)
        taper = _disc(n)
        count = np.bincount(shell, minlength=n // 2 + 1)
        for batch in self._batches(particles, n, views.n_views):
            centre, _, visible = self._place(views, batch)
            patches = crop_patches(views.images, _view_of(visible), centre[visible] - n // 2, n)
            patches -= patches.mean(axis=(1, 2), keepdims=True)
            spectrum = np.abs(scipy.fft.rfft2(patches * taper, workers=self.threads)) ** 2
            view = _view_of(visible)
            for v in range(views.n_views):
                mine = spectrum[view == v]
                if len(mine):
                    total = mine.sum(axis=0, dtype=np.float64).ravel()
                    power[v] += np.bincount(shell, total, minlength=n // 2 + 1) / count
                    number[v] += len(mine)
        mean = power / np.maximum(number, 1)[:, None] / float((taper**2).sum())
        mean[number == 0] = 1.0
        smooth = mean.copy()
        smooth[:, 1:-1] = (mean[:, :-2] + 2 * mean[:, 1:-1] + mean[:, 2:]) / 4
        smooth[:, :2] = mean[:, 1:2] if n > 4 else mean[:, :1]
        floor = 1e-6 * float(smooth.max())
        return np.sqrt(np.maximum(smooth, max(floor, 1e-12)))

    def _optics(self, name: str) -> Optics:
        views = self.views(name)
        if name not in self._noise:
            raise RuntimeError("measure_noise must come before reading particles")
        noise = self._noise[name]
        frequency = np.arange(noise.shape[1]) / (self.box * self.voxel_size_angstrom)
        microscope = views.ctf.microscope if views.ctf is not None else None
        voltage = microscope.voltage_kv if microscope is not None else 300.0
        kept = np.stack(
            [
                exposure_filter(frequency, float(e), voltage_kv=voltage)
                for e in views.pre_exposure_e_per_angstrom2 + 0.5 * views.exposure_e_per_angstrom2
            ]
        )
        signal = _signal_scale(views)
        for_weight = kept * signal[:, None] / noise
        if microscope is None or views.ctf is None:
            constants = np.tile([0.0, 0.0, 0.25], (views.n_views, 1))
        else:
            wavelength = wavelength_angstrom(microscope.voltage_kv)
            phase = np.deg2rad(views.ctf.phase_shift_deg[views.view_index])
            constants = np.empty((views.n_views, 3))
            constants[:, 0] = 0.5 * wavelength
            constants[:, 1] = 0.25 * microscope.spherical_aberration_mm * 1e7 * wavelength**3
            constants[:, 2] = (phase + np.arcsin(microscope.amplitude_contrast)) / (2.0 * np.pi)
        return Optics(
            constants.astype(np.float32),
            for_weight.astype(np.float32),
            (-for_weight / noise).astype(np.float32),
            float(frequency[-1]),
        )

    def _place(
        self, views: ViewStack, particles: ParticleSet
    ) -> tuple[NDArray[np.int64], Float32, NDArray[np.bool_]]:
        """Return pixel (y, x) nearest each projected centre, the rest (y, x), and who is in the view."""
        xy = np.swapaxes(views.project(particles.position_xyz_angstrom), 0, 1)
        yx = xy[..., ::-1]
        centre = np.rint(yx)
        ny, nx = views.images.shape[1:]
        inside = (centre >= 0).all(axis=-1) & (centre[..., 0] < ny) & (centre[..., 1] < nx)
        return centre.astype(np.int64), (yx - centre).astype(np.float32), inside

    def _batches(self, particles: ParticleSet, size: int, n_views: int) -> Iterator[ParticleSet]:
        per = max(1, _PATCH_BYTES // (n_views * size * size * 16))
        for start in range(0, len(particles), per):
            self._check()
            yield particles.take(np.arange(start, min(len(particles), start + per)))

    def patch_slices(
        self, name: str, particles: ParticleSet, box: int, radius: int, *, widen: bool
    ) -> tuple[Complex64, Float32, Float32, NDArray[np.int64]]:
        """Return slices, weights, view-to-box rotations ``[patch, 3, 2]`` and the end of every particle.

        Slices are ``rfft2`` transforms of ``box`` pixels with the origin at the projected centre. ``widen``
        reads a larger patch and cuts out the box once the CTF has gathered what it had spread.
        """
        views, optics = self.views(name), self._optics(name)
        centre, rest, visible = self._place(views, particles)
        view = _view_of(visible)
        if views.ctf is not None:
            u, v = views.defocus_angstrom(particles.position_xyz_angstrom)
            twice = 2.0 * np.deg2rad(views.ctf.astigmatism_deg[views.view_index])
            half = 0.5 * (u - v).T
            stacked = [0.5 * (u + v).T, half * np.cos(twice), half * np.sin(twice)]
            defocus = np.stack(stacked, axis=-1)[visible].astype(np.float32)
        else:
            defocus = np.zeros((len(view), 3), dtype=np.float32)
        patch = self._patch_size(box, radius, defocus) if widen else box
        images = crop_patches(views.images, view, centre[visible] - patch // 2, patch)
        slices = self._modulated(images, view, rest[visible], defocus, optics, box)
        weights = self._contrast(defocus, view, optics, optics.for_weight, box)
        weights *= weights
        matrix = views.rot_view_from_tomo[None] @ particles.rot_tomo_from_ref[:, None]
        turn = (
            np.swapaxes(matrix, -1, -2)[..., :2]
            * views.geometry.magnification[views.view_index][None, :, None, None]
        )
        ends = np.cumsum(visible.sum(axis=1)).astype(np.int64)
        return slices, weights, turn[visible].astype(np.float32), ends

    def _contrast(
        self, defocus: Float32, view: NDArray[np.int64], optics: Optics, amplitude: Float32, size: int
    ) -> Float32:
        step = 1.0 / (size * self.voxel_size_angstrom)
        limit = optics.limit_per_angstrom
        return contrast_transfer(defocus, view, optics.constants, amplitude, size, step, limit)

    def _patch_size(self, box: int, radius: int, defocus: Float32) -> int:
        """Return a patch that still holds what the CTF spread out of the box at the band's end."""
        if not len(defocus):
            return box
        frequency = radius / (box * self.voxel_size_angstrom)
        spread = 0.0197 * float(np.abs(defocus[:, 0]).max()) * frequency / self.voxel_size_angstrom
        return fast_even_length(min(2 * box, box + 2 * int(np.ceil(spread))))

    def _modulated(
        self,
        images: Float32,
        view: NDArray[np.int64],
        rest_yx: Float32,
        defocus: Float32,
        optics: Optics,
        box: int,
    ) -> Complex64:
        patch = images.shape[1]
        transform = scipy.fft.rfft2(images, workers=self.threads)
        transform *= self._contrast(defocus, view, optics, optics.for_data, patch)
        transform *= _origin_phase(patch, rest_yx)
        if patch == box:
            return transform
        # cut out the box after the CTF gathered the particle's signal, origin kept at index box // 2
        transform *= _origin_phase(patch, np.zeros((1, 2), np.float32), -1.0)
        spread = scipy.fft.irfft2(transform, s=(patch, patch), workers=self.threads)
        start = patch // 2 - box // 2
        cut = spread[:, start : start + box, start : start + box] * _disc(box)
        result: Complex64 = scipy.fft.rfft2(cut, workers=self.threads)
        result *= _origin_phase(box, np.zeros((1, 2), np.float32))
        return result

    def cubes(
        self, particles: ParticleSet, radius: int
    ) -> Iterator[tuple[NDArray[np.int64], Complex64, Float32]]:
        """Yield (index into ``particles``, D, W): cubes in the frame of each pose, in batches."""
        shape = band_cube_shape(radius)
        for name in np.unique(particles.tilt_series_id):
            index = np.flatnonzero(particles.tilt_series_id == name)
            n_views = self.views(str(name)).n_views
            per = max(1, min(_PATCH_BYTES // (n_views * self.box**2 * 16), 256))
            for start in range(0, len(index), per):
                self._check()
                mine = index[start : start + per]
                slices, weights, turn, ends = self.patch_slices(
                    str(name), particles.take(mine), self.box, radius, widen=True
                )
                sums = np.zeros((len(mine), *shape, 3), dtype=np.float32)
                insert_slices(slices, weights, turn, ends, radius, sums)
                yield mine, *_split(sums)

    def sums(self, particles: ParticleSet, box: int, radius: int) -> tuple[Complex64, Float32]:
        """Return the sums of D and W of all particles in the reference frame, as band cubes.

        ``box`` may be larger than the source's own (finer sampling of the transform); ``radius`` counts in
        its cycles.
        """
        shape = band_cube_shape(radius)
        slots = int(np.clip((1 << 30) // (12 * int(np.prod(shape))), 1, _ACCUMULATORS))
        sums = np.zeros((slots, *shape, 3), dtype=np.float32)
        for name in np.unique(particles.tilt_series_id):
            part = particles.of_series(str(name))
            for batch in self._batches(part, box, self.views(str(name)).n_views):
                slices, weights, turn, ends = self.patch_slices(str(name), batch, box, radius, widen=False)
                share = np.linspace(0, int(ends[-1]), slots + 1).astype(np.int64)[1:]
                insert_slices(slices, weights, turn, share, radius, sums)
        return _split(sums.sum(axis=0))


def _split(sums: Float32) -> tuple[Complex64, Float32]:
    data = np.empty(sums.shape[:-1], dtype=np.complex64)
    data.real, data.imag = sums[..., 0], sums[..., 1]
    return data, np.ascontiguousarray(sums[..., 2])


def open_source(
    inputs: Mapping[str, object],
    ctx: StageContext,
    *,
    binning: int | None,
    voxel_size_angstrom: float | None,
    box_angstrom: float,
) -> ViewSource:
    """Make the particle source of a stage; without ``binning`` that with voxels nearest to a size.

    Raises
    ------
    InputError
        If the inputs cannot serve as that source.
    """
    series = series_inputs(inputs, ctx.item)
    if not series:
        raise EmptyResultError("there is no tilt series to read particles from", where=ctx.item)
    pixel = next(iter(series.values())).tilt_series.pixel_size_angstrom
    if binning is None:
        binning = max(1, round((voxel_size_angstrom or pixel) / pixel))
    return ViewSource(
        series, binning=binning, box_angstrom=box_angstrom, threads=ctx.threads, check=ctx.check_cancelled
    )


def _view_of(visible: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.nonzero(visible)[1].astype(np.int64)


def _origin_phase(size: int, rest_yx: Float32, sign: float = 1.0) -> Complex64:
    """Return factors ``[patch, y, x]`` that move the origin to pixel ``size // 2 + rest`` (sign -1: back)."""
    at = size // 2 + rest_yx
    rows = np.exp(sign * 2j * np.pi * np.fft.fftfreq(size)[None, :] * at[:, :1])
    columns = np.exp(sign * 2j * np.pi * np.fft.rfftfreq(size)[None, :] * at[:, 1:])
    return rows.astype(np.complex64)[:, :, None] * columns.astype(np.complex64)[:, None, :]


def _disc(size: int) -> Float32:
    """Return a soft disc that keeps corners and the rim of a patch out."""
    axis = np.arange(size) - size // 2
    r = np.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2)
    edge = max(2.0, 0.08 * size)
    along = np.clip((r - (size / 2 - edge)) / edge, 0.0, 1.0)
    return (0.5 + 0.5 * np.cos(np.pi * along)).astype(np.float32)


def _signal_scale(views: ViewStack) -> Float:
    """Return how strong the signal of each view is over its noise: mean grey (electrons) over noise SD.

    Stacks whose mean was taken off by another program carry no such scale: there, all views count alike.
    """
    mean = views.mean
    if views.normalised and (mean > 0).all() and mean.max() < 5 * mean.min():
        ratio = mean / views.noise_sd
        return ratio / float(np.median(ratio))
    return np.ones(views.n_views)
