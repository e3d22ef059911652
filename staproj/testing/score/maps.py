"""Maps against the noise-free one: alignment by the freedoms a reference has, and Fourier shell correlation.

Written apart from the kernels that it judges: own FSC (shells of equal radius in 1/Å), own search.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.optimize
from numpy.typing import NDArray

Float = NDArray[np.float64]

_SOFT_EDGE_ANGSTROM = 18.0
_OVERSAMPLING = 2
_Z_RANGE_ANGSTROM = 24.0
_SEARCH_RESOLUTION_ANGSTROM = 16.0
_SEARCH_SPACING_ANGSTROM = 6.0


@dataclass(frozen=True, eq=False)
class TrueMap:
    """The noise-free map, prepared for interpolation: spline coefficients of a twofold oversampled grid."""

    coefficients: Float
    step_angstrom: float
    mask_radius_angstrom: float
    mask_half_height_angstrom: float


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the truth lies in a map: turned by ``rotation_deg`` (a vector), moved by ``shift_angstrom``."""

    rotation_deg: Float
    shift_angstrom: Float
    correlation: float


def prepare(
    reference: NDArray[np.float32], voxel_size_angstrom: float, info: dict[str, Any], nyquist_angstrom: float
) -> TrueMap:
    """Low-pass the truth to the Nyquist limit of the map it is compared with, and oversample it."""
    n = reference.shape[0]
    transform = scipy.fft.fftshift(scipy.fft.fftn(scipy.fft.ifftshift(reference.astype(np.float64))))
    axis = (np.arange(n) - n // 2) / (n * voxel_size_angstrom)
    f2 = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2
    transform *= f2 <= (1.0 / nyquist_angstrom) ** 2
    big = _OVERSAMPLING * n
    padded = np.zeros((big, big, big), dtype=complex)
    start = big // 2 - n // 2
    padded[start : start + n, start : start + n, start : start + n] = transform
    fine = scipy.fft.fftshift(scipy.fft.ifftn(scipy.fft.ifftshift(padded))).real * _OVERSAMPLING**3
    return TrueMap(
        coefficients=scipy.ndimage.spline_filter(fine, order=3),
        step_angstrom=voxel_size_angstrom / _OVERSAMPLING,
        mask_radius_angstrom=float(info["mask_radius_angstrom"]),
        mask_half_height_angstrom=float(info["mask_half_height_angstrom"]),
    )


def _grid(n: int, voxel: float) -> Float:
    """Return x, y, z (Å) of every voxel of a cubic map, ``[3, n * n * n]``."""
    axis = (np.arange(n) - n // 2) * voxel
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), z.ravel()])


def _rotation(vector_deg: Float) -> Float:
    vector = np.deg2rad(vector_deg)
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def placed(truth: TrueMap, points: Float, place: Placement) -> tuple[Float, Float]:
    """Return the truth and its soft cylindrical mask at points ``[3, m]`` (x, y, z in Å) of a map."""
    where = _rotation(place.rotation_deg).T @ (points - place.shift_angstrom[:, None])
    grid = where[::-1] / truth.step_angstrom + truth.coefficients.shape[0] // 2
    values = scipy.ndimage.map_coordinates(truth.coefficients, grid, order=3, prefilter=False)
    outside = np.maximum(
        np.hypot(where[0], where[1]) - truth.mask_radius_angstrom,
        np.abs(where[2]) - truth.mask_half_height_angstrom,
    )
    mask = 0.5 + 0.5 * np.cos(np.pi * np.clip(outside / _SOFT_EDGE_ANGSTROM, 0.0, 1.0))
    return values, mask


def _low_pass(volume: Float, voxel: float, resolution_angstrom: float) -> Float:
    grids = np.meshgrid(*[scipy.fft.fftfreq(n, voxel) for n in volume.shape], indexing="ij")
    f2 = grids[0] ** 2 + grids[1] ** 2 + grids[2] ** 2
    kept = scipy.fft.fftn(volume) * np.exp(-np.log(2.0) * f2 * resolution_angstrom**2)
    smooth: Float = scipy.fft.ifftn(kept).real
    return smooth


def _correlation(a: Float, b: Float, weight: Float) -> float:
    total = weight.sum()
    a = a - (weight * a).sum() / total
    b = b - (weight * b).sum() / total
    norm = np.sqrt((weight * a * a).sum() * (weight * b * b).sum())
    return float((weight * a * b).sum() / norm) if norm > 0 else 0.0


def align(truth: TrueMap, volume: Float, voxel: float, order: int) -> Placement:
    """Find where the truth fits a cubic map best.

    Searched are the azimuth about the symmetry axis and the height along it, which no data determine, then
    all six freedoms a little way from there (a few degrees and voxels). ``order`` is that of the symmetry.
    """
    n = volume.shape[0]
    smooth = _low_pass(volume, voxel, max(_SEARCH_RESOLUTION_ANGSTROM, 2.0 * voxel)).ravel()
    points = _grid(n, voxel)
    reach = np.hypot(truth.mask_radius_angstrom, truth.mask_half_height_angstrom) + _SOFT_EDGE_ANGSTROM
    stride = max(1, int(_SEARCH_SPACING_ANGSTROM / voxel))
    on_stride = np.all(np.rint(points / voxel).astype(int) % stride == 0, axis=0)
    near = np.flatnonzero(on_stride & ((points**2).sum(axis=0) < reach**2))
    points, smooth = points[:, near], smooth[near]

    def fit(parameters: Float) -> float:
        values, mask = placed(truth, points, Placement(parameters[:3], parameters[3:], 0.0))
        return _correlation(values, smooth, mask)

    heights = np.arange(-_Z_RANGE_ANGSTROM, _Z_RANGE_ANGSTROM + 0.1, max(voxel, 6.0))
    azimuths = np.arange(0.0, 360.0 / order, 6.0)
    coarse = [(fit(np.array([0, 0, a, 0, 0, h])), a, h) for a in azimuths for h in heights]
    _, azimuth, height = max(coarse)
    start = np.array([0.0, 0.0, azimuth, 0.0, 0.0, height])
    simplex = np.vstack([start, start + np.diag([2.0, 2.0, 2.5, 2.0, 2.0, 2.5])])
    options = {"initial_simplex": simplex, "xatol": 0.05, "fatol": 1e-5, "maxfev": 300}
    found = scipy.optimize.minimize(lambda p: -fit(p), start, method="Nelder-Mead", options=options)
    return Placement(found.x[:3], found.x[3:], -float(found.fun))


def shell_correlation(first: Float, second: Float, voxel: float) -> tuple[Float, Float]:
    """Return (frequency in 1/Å, FSC) of two cubic maps, shells one Fourier voxel wide, up to Nyquist."""
    n = first.shape[0]
    a, b = scipy.fft.fftn(first), scipy.fft.fftn(second)
    axis = scipy.fft.fftfreq(n) * n
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    shell = np.floor(radius + 0.5).astype(int).ravel()
    top = n // 2 + 1

    def total(values: Float) -> Float:
        return np.asarray(np.bincount(shell, weights=values.ravel(), minlength=top)[:top], dtype=np.float64)

    cross = total((a * np.conj(b)).real)
    power = np.sqrt(total(np.abs(a) ** 2) * total(np.abs(b) ** 2))
    curve = np.divide(cross, power, out=np.zeros(top), where=power > 0)
    return np.arange(top) / (n * voxel), curve


def resolution(frequency: Float, curve: Float, threshold: float) -> float:
    """Return the resolution (Å) where the curve first falls below the threshold; Nyquist if it never does."""
    for k in range(1, len(curve)):
        if curve[k] < threshold:
            before = max(curve[k - 1], threshold) if k > 1 else max(1.0, threshold)
            share = (before - threshold) / (before - curve[k]) if before > curve[k] else 0.0
            return float(1.0 / (frequency[k - 1] + share * (frequency[k] - frequency[k - 1])))
    return float(1.0 / frequency[-1])


@dataclass(frozen=True, eq=False)
class Comparison:
    """A map against the truth, and its mirror image against the truth; ``mask`` is on the map's grid."""

    fsc05_angstrom: float
    correlation: float
    mirror_fsc05_angstrom: float
    mirror_correlation: float
    frequency_per_angstrom: Float
    fsc: Float
    placement: Placement
    mask: Float


def against_truth(
    volume: NDArray[np.float32],
    voxel: float,
    reference: NDArray[np.float32],
    reference_voxel: float,
    info: dict[str, Any],
    order: int,
) -> Comparison:
    """Compare a map with the truth by FSC, once as it is and once mirrored; ``order`` n of symmetry Cn."""
    n = min(volume.shape)
    candidate = centred_cube(volume, n)
    truth = prepare(reference, reference_voxel, info, 2.0 * voxel)
    mirror = np.roll(candidate[:, :, ::-1], 1 - n % 2, axis=2)
    fsc, place, mask = _compare(truth, candidate, voxel, order)
    mirror_fsc, mirror_place, _ = _compare(truth, mirror, voxel, order)
    frequency = np.arange(len(fsc)) / (n * voxel)
    return Comparison(
        fsc05_angstrom=resolution(frequency, fsc, 0.5),
        correlation=place.correlation,
        mirror_fsc05_angstrom=resolution(frequency, mirror_fsc, 0.5),
        mirror_correlation=mirror_place.correlation,
        frequency_per_angstrom=frequency,
        fsc=fsc,
        placement=place,
        mask=mask,
    )


def _compare(truth: TrueMap, candidate: Float, voxel: float, order: int) -> tuple[Float, Placement, Float]:
    n = candidate.shape[0]
    place = align(truth, candidate, voxel, order)
    values, mask = (part.reshape(n, n, n) for part in placed(truth, _grid(n, voxel), place))
    inside = candidate - (mask * candidate).sum() / mask.sum()
    true_inside = values - (mask * values).sum() / mask.sum()
    _, fsc = shell_correlation(inside * mask, true_inside * mask, voxel)
    return fsc, place, mask


def centred_cube(volume: NDArray[np.float32], n: int) -> Float:
    """Cut a cube of ``n`` voxels whose centre ``n // 2`` is the map's."""
    cut = tuple(slice(m // 2 - n // 2, m // 2 - n // 2 + n) for m in volume.shape)
    return volume[cut].astype(np.float64)


def read(path: Path) -> NDArray[np.float32]:
    """Read a map ``[z, y, x]``."""
    with mrcfile.open(path, permissive=True) as handle:
        return np.array(handle.data, dtype=np.float32)


def half_maps(first: NDArray[np.float32], second: NDArray[np.float32], mask: Float, voxel: float) -> float:
    """Return the resolution at FSC 0.143 of two half maps inside ``mask`` (maps are cut to its size)."""
    parts = []
    for volume in (first, second):
        inside = centred_cube(volume, mask.shape[0])
        parts.append((inside - (mask * inside).sum() / mask.sum()) * mask)
    return resolution(*shell_correlation(parts[0], parts[1], voxel), 0.143)
