"""Images of a specimen: weak-phase projection in slabs of depth, each through its own CTF.

Matter is shared out between the two nearest slabs in proportion to its distance from them, so that the
CTF of a point is interpolated linearly between two defoci. With slabs of thickness D the error of that is
at most (pi lambda f² D)² / 8; D is chosen so that it stays below 0.8 % at Nyquist and is never above 100 Å.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from staproj.testing.phantoms import optics
from staproj.testing.phantoms.hexamer import effective_sigma
from staproj.testing.phantoms.microscope import Acquisition
from staproj.testing.phantoms.settings import SessionSettings
from staproj.testing.phantoms.specimen import Specimen
from staproj.units import ANGSTROM_PER_UM

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

PROTEIN_CONTRAST_PER_ANGSTROM = 3.4e-3
"""Image contrast (before the CTF) of one Å of protein: 2 sigma (V_protein - V_ice) with 2.6 V at 300 kV."""
GOLD_CONTRAST_PER_ANGSTROM = 4.0e-3
GOLD_ABSORPTION_ANGSTROM = 150.0
ICE_ABSORPTION_ANGSTROM = 3500.0
ICE_NOISE_CONTRAST_ANGSTROM = 0.32
"""Noise contrast of the ice times pixel size: its power per area does not depend on the sampling."""
ENVELOPE_B_ANGSTROM2 = 80.0
MAX_SLAB_ANGSTROM = 100.0
_MAX_PHASE_STEP = 0.25
_BLOCK = 6
_REACH_SIGMA = 4.0
_EXTRA_PX = 24


@dataclass(frozen=True, eq=False)
class IdealView:
    """One view before counting: ``intensity`` relative to the empty beam, on a padded grid.

    ``protein`` is the share of protein and membrane in the image contrast (for signal-to-noise ratios).
    ``origin_yx`` is the padded index of pixel (0, 0) of the view.
    """

    intensity: Float32
    protein: Float32
    origin_yx: tuple[int, int]


@numba.njit(cache=True, nogil=True)
def _splat(slabs: Float32, xyk: Float, sigma_px: Float, weight: Float) -> None:
    """Add Gaussians of integral ``weight`` at (x, y, slab) to ``slabs`` [slab, y, x]; slab is fractional.

    Those that do not lie between the first and the last slab are left out.
    """
    n_slabs, ny, nx = slabs.shape
    line = np.empty(4096)
    for i in range(xyk.shape[0]):
        x, y, slab = xyk[i, 0], xyk[i, 1], xyk[i, 2]
        s = sigma_px[i]
        reach = _REACH_SIGMA * s
        x0, x1 = max(0, int(np.ceil(x - reach))), min(nx - 1, int(np.floor(x + reach)))
        y0, y1 = max(0, int(np.ceil(y - reach))), min(ny - 1, int(np.floor(y + reach)))
        lower = int(np.floor(slab))
        share = slab - lower
        if x1 < x0 or y1 < y0 or lower < 0 or lower > n_slabs - 2:
            continue
        for ix in range(x0, x1 + 1):
            line[ix - x0] = np.exp(-0.5 * ((ix - x) / s) ** 2)
        scale = weight[i] / (2 * np.pi * s * s)
        for iy in range(y0, y1 + 1):
            along_y = scale * np.exp(-0.5 * ((iy - y) / s) ** 2)
            for ix in range(x0, x1 + 1):
                value = along_y * line[ix - x0]
                slabs[lower, iy, ix] += value * (1.0 - share)
                slabs[lower + 1, iy, ix] += value * share


@numba.njit(cache=True, nogil=True)
def _add_balls(
    slabs: Float32, thickness: Float32, xyk: Float, radius_px: float, pixel: float, contrast: float
) -> None:
    """Add the chords of balls (Å) to ``thickness`` and their contrast to ``slabs``, 3 x 3 samples a pixel."""
    n_slabs, ny, nx = slabs.shape
    for i in range(xyk.shape[0]):
        x, y, slab = xyk[i, 0], xyk[i, 1], xyk[i, 2]
        lower = int(np.floor(slab))
        share = slab - lower
        if lower < 0 or lower > n_slabs - 2:
            continue
        for iy in range(max(0, int(y - radius_px) - 1), min(ny, int(y + radius_px) + 3)):
            for ix in range(max(0, int(x - radius_px) - 1), min(nx, int(x + radius_px) + 3)):
                chord = 0.0
                for a in range(9):
                    dy = iy + (a // 3 - 1) / 3.0 - y
                    dx = ix + (a % 3 - 1) / 3.0 - x
                    chord += np.sqrt(max(0.0, radius_px**2 - dx * dx - dy * dy))
                chord *= 2.0 * pixel / 9.0
                thickness[iy, ix] += chord
                slabs[lower, iy, ix] += contrast * chord * (1.0 - share)
                slabs[lower + 1, iy, ix] += contrast * chord * share


@numba.njit(cache=True, nogil=True)
def _share_out(slabs: Float32, field: Float32, plane: Float) -> None:
    """Add ``field`` to the slabs that ``slab = plane[0] + plane[1] x + plane[2] y`` passes through."""
    n_slabs, ny, nx = slabs.shape
    for iy in range(ny):
        for ix in range(nx):
            slab = plane[0] + plane[1] * ix + plane[2] * iy
            lower = int(np.floor(slab))
            if 0 <= lower <= n_slabs - 2:
                share = slab - lower
                slabs[lower, iy, ix] += field[iy, ix] * (1.0 - share)
                slabs[lower + 1, iy, ix] += field[iy, ix] * share


def padded_shape(settings: SessionSettings) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the grid that views are made on (room for delocalised signal) and the view's start in it."""
    wave = optics.wavelength_angstrom(300.0)
    spread = wave * settings.defocus_max_um * ANGSTROM_PER_UM * 0.5 / settings.pixel_size_angstrom
    margin = int(spread / settings.pixel_size_angstrom) + _EXTRA_PX
    ny, nx = settings.image_shape_yx
    rows, columns = (scipy.fft.next_fast_len(n + 2 * margin, real=True) for n in (ny, nx))
    return (rows, columns + columns % 2), (margin, margin)


def slab_thickness(pixel_size_angstrom: float, voltage_kv: float = 300.0) -> float:
    """Return the thickness of slabs (Å) that keeps the CTF at Nyquist within 0.8 %."""
    nyquist = 0.5 / pixel_size_angstrom
    limit = _MAX_PHASE_STEP / (np.pi * optics.wavelength_angstrom(voltage_kv) * nyquist**2)
    return float(min(MAX_SLAB_ANGSTROM, limit))


def ideal_view(
    specimen: Specimen,
    acquisition: Acquisition,
    settings: SessionSettings,
    view: int,
    rng: np.random.Generator,
) -> IdealView:
    """Image one view of the specimen with perfect counting; ``rng`` draws the structure of the ice."""
    shape, origin = padded_shape(settings)
    geometry, pixel = acquisition.alignment, settings.pixel_size_angstrom
    rotation = optics.view_rotation(
        geometry.tilt_axis_deg[view], geometry.tilt_deg[view], geometry.x_tilt_deg[view]
    )
    ny, nx = settings.image_shape_yx
    centre = np.array([nx // 2 + origin[1], ny // 2 + origin[0]], dtype=float)
    centre += geometry.shift_xy_angstrom[view] / pixel
    step = slab_thickness(pixel)
    corners = np.array([[x, y] for x in (0, shape[1]) for y in (0, shape[0])]) - centre
    lowest, n_slabs = _depth_range(rotation, corners * pixel, settings, step)

    def on_grid(points: Float) -> Float:
        turned = points @ rotation.T
        return np.column_stack([turned[:, :2] / pixel + centre, (turned[:, 2] - lowest) / step])

    matter = _Matter(specimen, settings, on_grid(specimen.blob_xyz_angstrom), shape)
    matter.beads = on_grid(specimen.gold.position_xyz_angstrom)
    slant = 1.0 / np.sqrt(rotation[2, 2])
    deviation = ICE_NOISE_CONTRAST_ANGSTROM / pixel * slant / np.sqrt(2.0)
    for offset in (-0.25, 0.25):
        plane = _plane(rotation, centre, pixel, offset * settings.ice_thickness_angstrom, lowest, step)
        matter.ice.append((deviation * rng.standard_normal(shape, dtype=np.float32), plane))
    lens = _Lens(shape, lowest, step, acquisition, settings, view)
    for first in range(0, n_slabs - 1, _BLOCK):
        matter.add_block(first, lens)
    protein, rest = lens.images(acquisition, settings, view)
    path = settings.ice_thickness_angstrom / rotation[2, 2]
    beam = np.exp(-path / ICE_ABSORPTION_ANGSTROM) * np.exp(-matter.gold / GOLD_ABSORPTION_ANGSTROM)
    intensity = np.maximum(1.0 - protein - rest, 0.02) * beam
    return IdealView(intensity.astype(np.float32), protein, origin)


class _Matter:
    """Matter of one view, laid out in blocks of slabs so that thick specimens need little memory."""

    def __init__(
        self, specimen: Specimen, settings: SessionSettings, blobs_xyk: Float, shape: tuple[int, int]
    ) -> None:
        pixel = settings.pixel_size_angstrom
        order = np.argsort(blobs_xyk[:, 2], kind="stable")
        contrast = PROTEIN_CONTRAST_PER_ANGSTROM * settings.contrast_scale / pixel**2
        self._xyk = blobs_xyk[order]
        self._sigma_px = effective_sigma(specimen.blob_sigma_angstrom, pixel)[order] / pixel
        self._weight = specimen.blob_weight_angstrom3[order] * contrast
        self._pixel = pixel
        self._bead_radius_px = 0.5 * settings.bead_diameter_angstrom / pixel
        self.beads: Float = np.zeros((0, 3))
        self.ice: list[tuple[Float32, Float]] = []
        self.gold = np.zeros(shape, dtype=np.float32)
        self._soft = np.zeros((_BLOCK + 1, *shape), dtype=np.float32)
        self._hard = np.zeros((_BLOCK + 1, *shape), dtype=np.float32)

    def add_block(self, first: int, lens: _Lens) -> None:
        """Lay out what lies between slab ``first`` and ``first + _BLOCK`` and send all but the last on.

        The last slab also gets matter from the next block, and is carried over to it.
        """
        rows = slice(*np.searchsorted(self._xyk[:, 2], [first, first + _BLOCK]))
        down = np.array([0.0, 0.0, first])
        _splat(self._soft, self._xyk[rows] - down, self._sigma_px[rows], self._weight[rows])
        _add_balls(
            self._hard,
            self.gold,
            self.beads - down,
            self._bead_radius_px,
            self._pixel,
            GOLD_CONTRAST_PER_ANGSTROM,
        )
        for field, plane in self.ice:
            _share_out(self._hard, field, plane - down[::-1])
        for k in range(_BLOCK):
            lens.add(self._soft[k], self._hard[k])
        for slabs in (self._soft, self._hard):
            slabs[0] = slabs[_BLOCK]
            slabs[1:] = 0.0


def _depth_range(
    rotation: Float, corners: Float, settings: SessionSettings, step: float
) -> tuple[float, int]:
    """Return the depth of the first slab and the number of slabs that hold all of the ice in the view."""
    normal = rotation[:, 2]
    depth = -(corners @ normal[:2]) / normal[2]
    half = 0.5 * settings.ice_thickness_angstrom / normal[2] + step
    lowest = np.floor((depth.min() - half) / step) * step
    return float(lowest), int(np.ceil((depth.max() + half - lowest) / step)) + 1


def _plane(rotation: Float, centre: Float, pixel: float, height: float, lowest: float, step: float) -> Float:
    """Return slab numbers over the image of the specimen plane at ``height``: offset and slopes in x, y."""
    normal = rotation[:, 2]
    slope = -normal[:2] / normal[2] * pixel
    at_origin = height / normal[2] - float(slope @ centre)
    return np.array([(at_origin - lowest) / step, slope[0] / step, slope[1] / step])


class _Lens:
    """The CTF of one view, slab after slab: ``add`` slabs in order of rising depth, then take ``images``."""

    def __init__(
        self,
        shape: tuple[int, int],
        lowest: float,
        step: float,
        acquisition: Acquisition,
        settings: SessionSettings,
        view: int,
    ) -> None:
        pixel, ctf = settings.pixel_size_angstrom, acquisition.ctf
        fy = scipy.fft.fftfreq(shape[0], pixel)[:, None]
        fx = scipy.fft.rfftfreq(shape[1], pixel)[None, :]
        scope = ctf.microscope
        first = optics.phase(
            fx,
            fy,
            defocus_u_angstrom=ctf.defocus_u_um[view] * ANGSTROM_PER_UM + ctf.defocus_hand * lowest,
            defocus_v_angstrom=ctf.defocus_v_um[view] * ANGSTROM_PER_UM + ctf.defocus_hand * lowest,
            astigmatism_deg=ctf.astigmatism_deg[view],
            voltage_kv=scope.voltage_kv,
            spherical_aberration_mm=scope.spherical_aberration_mm,
            amplitude_contrast=scope.amplitude_contrast,
        )
        self._shape = shape
        self._f2 = fx**2 + fy**2
        wavelength = optics.wavelength_angstrom(scope.voltage_kv)
        per_slab = np.pi * wavelength * ctf.defocus_hand * step * self._f2
        self._turn = np.exp(1j * per_slab).astype(np.complex64)
        self._wave = np.exp(1j * first).astype(np.complex64)
        self._sums = np.zeros((2, *self._f2.shape), dtype=np.complex64)

    def add(self, soft: Float32, hard: Float32) -> None:
        """Send the next slab through: ``soft`` is matter that the beam damages, ``hard`` the rest."""
        for part, slab in enumerate((soft, hard)):
            if slab.any():
                self._sums[part] += self._wave.imag * scipy.fft.rfft2(slab)
        self._wave *= self._turn

    def images(
        self, acquisition: Acquisition, settings: SessionSettings, view: int
    ) -> tuple[Float32, Float32]:
        """Return the contrasts of both kinds of matter; damage is that of the exposure up to mid-view."""
        exposure = acquisition.pre_exposure_e_per_angstrom2[view] + 0.5 * settings.exposure_e_per_angstrom2
        envelope = np.exp(-0.25 * ENVELOPE_B_ANGSTROM2 * self._f2).astype(np.float32)
        kept = optics.damage(np.sqrt(self._f2), float(exposure)).astype(np.float32)
        protein = scipy.fft.irfft2(self._sums[0] * (envelope * kept), s=self._shape)
        rest = scipy.fft.irfft2(self._sums[1] * envelope, s=self._shape)
        return protein, rest
