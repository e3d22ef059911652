"""What lies in the ice of one tilt series: VLPs with their lattice and membrane, and gold beads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from staproj.errors import UsageError
from staproj.model.fiducials import GoldModel
from staproj.model.particles import ParticleSet
from staproj.model.surfaces import Spheres
from staproj.testing.phantoms import hexamer, lattice
from staproj.testing.phantoms.optics import small_rotations
from staproj.testing.phantoms.settings import SessionSettings

Float = NDArray[np.float64]

RADIUS_SPREAD = 0.05
MISSING_FRACTION = 0.15
POSITION_JITTER_ANGSTROM = 1.0
ROTATION_JITTER_DEG = 1.5
SHAPE_AMPLITUDE = 0.008
MEMBRANE_DEPTH_ANGSTROM = 105.0
_LEAFLET_SEPARATION_ANGSTROM = 36.0
_LIPID_SPACING_ANGSTROM = 15.0
_LIPID_SIGMA_ANGSTROM = 7.0
_LIPID_WEIGHT_ANGSTROM3 = 1100.0


@dataclass(frozen=True, eq=False)
class Specimen:
    """Truth of one specimen, and its matter as Gaussian blobs (Å, Å³ of protein)."""

    particles: ParticleSet
    spheres: Spheres
    gold: GoldModel
    blob_xyz_angstrom: Float
    blob_sigma_angstrom: Float
    blob_weight_angstrom3: Float


def build(name: str, settings: SessionSettings, rng: np.random.Generator) -> Specimen:
    """Build the specimen of tilt series ``name``: everything is drawn from ``rng``."""
    radius = settings.vlp_radius_angstrom * rng.uniform(1 - RADIUS_SPREAD, 1 + RADIUS_SPREAD, settings.n_vlps)
    centre = _place_vlps(settings, radius, rng)
    parts = [_vlp(name, k, centre[k], radius[k], settings, rng) for k in range(settings.n_vlps)]
    beads = _place_beads(settings, centre, radius, rng)
    if parts:
        particles = ParticleSet.concatenate([part[0] for part in parts], renumber=True)
    else:
        particles = ParticleSet.create(name, np.zeros((0, 3)), np.zeros((0, 3, 3)), symmetry=hexamer.SYMMETRY)
    unit_xyz, unit_sigma, unit_weight = hexamer.blobs()
    turned = np.einsum("nij,bj->nbi", particles.rot_tomo_from_ref, unit_xyz)
    protein = (turned + particles.position_xyz_angstrom[:, None]).reshape(-1, 3)
    lipid = np.concatenate([part[1] for part in parts]) if parts else np.zeros((0, 3))
    n = len(particles)
    return Specimen(
        particles=particles,
        spheres=Spheres(name, np.arange(settings.n_vlps), centre, radius, np.ones(settings.n_vlps)),
        gold=GoldModel(name, beads, np.ones(len(beads)), settings.bead_diameter_angstrom),
        blob_xyz_angstrom=np.concatenate([protein, lipid]),
        blob_sigma_angstrom=np.concatenate(
            [np.tile(unit_sigma, n), np.full(len(lipid), _LIPID_SIGMA_ANGSTROM)]
        ),
        blob_weight_angstrom3=np.concatenate(
            [np.tile(unit_weight, n), np.full(len(lipid), _LIPID_WEIGHT_ANGSTROM3)]
        ),
    )


def _field_xyz(settings: SessionSettings) -> tuple[float, float]:
    """Half extent of the field of view along specimen x (across the tilt axis) and y (along it)."""
    ny, nx = settings.image_shape_yx
    angle = np.deg2rad(settings.tilt_axis_deg)
    size = np.abs(np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]]))
    half = 0.5 * settings.pixel_size_angstrom * np.array([nx, ny])
    # the largest axis-parallel box whose corners stay inside the turned image
    scale = np.min(half / (size @ (size.T @ half)))
    box = scale * (size.T @ half)
    return float(box[0]), float(box[1])


def _place_vlps(settings: SessionSettings, radius: Float, rng: np.random.Generator) -> Float:
    """Draw centres that keep VLPs apart and inside the field."""
    half_x, half_y = _field_xyz(settings)
    room = 0.5 * settings.ice_thickness_angstrom
    for _ in range(2000):
        centre = np.zeros((settings.n_vlps, 3))
        for k, r in enumerate(radius):
            outer = r + hexamer.HALF_HEIGHT_ANGSTROM + 20.0
            free = np.maximum([0.96 * half_x - outer, 0.96 * half_y - outer, room - outer], 0.0)
            centre[k] = rng.uniform(-free, free)
        apart = np.linalg.norm(centre[:, None, :2] - centre[None, :, :2], axis=2)
        needed = radius[:, None] + radius[None] + 2 * hexamer.HALF_HEIGHT_ANGSTROM + 20.0
        if np.all((apart >= needed) | np.eye(settings.n_vlps, dtype=bool)):
            return centre
    raise UsageError(
        f"{settings.n_vlps} VLPs of {settings.vlp_radius_angstrom:g} Å do not fit the field of view",
        where="n_vlps",
        hint="ask for fewer or smaller VLPs, or a larger image",
    )


def _vlp(
    name: str, index: int, centre: Float, radius: float, settings: SessionSettings, rng: np.random.Generator
) -> tuple[ParticleSet, Float]:
    """Return the particles of one VLP and the points of its membrane."""
    unit = lattice.sphere_sites(rng, radius, settings.spacing_angstrom)
    regular, rotation = lattice.regular_sites(unit, settings.spacing_angstrom / radius)
    keep = regular & lattice.incomplete(rng, unit, MISSING_FRACTION)
    unit, rotation = unit[keep], rotation[keep]
    n = len(unit)
    shape = rng.normal(size=(3, 3))
    shape = SHAPE_AMPLITUDE * (shape + shape.T) / 2
    height = radius * (1 + np.einsum("ni,ij,nj->n", unit, shape, unit))
    position = centre + height[:, None] * unit + rng.normal(0, POSITION_JITTER_ANGSTROM, (n, 3))
    powers = np.stack([_turn_about_z(60.0 * k) for k in range(6)])
    rotation = rotation @ powers[rng.integers(0, 6, n)] @ small_rotations(rng, n, ROTATION_JITTER_DEG)
    particles = ParticleSet.create(
        name, position, rotation, object_id=index, score=1.0, symmetry=hexamer.SYMMETRY
    )
    return particles, centre + _membrane(radius - MEMBRANE_DEPTH_ANGSTROM, rng)


def _turn_about_z(angle_deg: float) -> Float:
    a = np.deg2rad(angle_deg)
    return np.array([[np.cos(a), -np.sin(a), 0.0], [np.sin(a), np.cos(a), 0.0], [0.0, 0.0, 1.0]])


def _membrane(radius: float, rng: np.random.Generator) -> Float:
    """Return jittered points of two leaflets about ``radius``."""
    leaflets = []
    for offset in (-0.5, 0.5):
        r = radius + offset * _LEAFLET_SEPARATION_ANGSTROM
        n = int(4 * np.pi * r**2 / _LIPID_SPACING_ANGSTROM**2)
        direction = rng.normal(size=(n, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        leaflets.append(direction * (r + rng.normal(0, 3.0, (n, 1))))
    return np.concatenate(leaflets)


def _place_beads(settings: SessionSettings, centre: Float, radius: Float, rng: np.random.Generator) -> Float:
    """Draw bead centres that stay in the field, clear of VLPs (seen from above) and of each other."""
    half_x, half_y = _field_xyz(settings)
    half_z = 0.5 * settings.ice_thickness_angstrom - 0.5 * settings.bead_diameter_angstrom
    margin = 0.06 * min(half_x, half_y) + settings.bead_diameter_angstrom
    beads: list[Float] = []
    clear = radius + hexamer.HALF_HEIGHT_ANGSTROM + 0.7 * settings.bead_diameter_angstrom
    for attempt in range(200 * max(settings.n_beads, 1)):
        if len(beads) == settings.n_beads:
            break
        relax = 1.0 - 0.3 * attempt / (200 * max(settings.n_beads, 1))
        point = rng.uniform(
            [-half_x + margin, -half_y + margin, -half_z], [half_x - margin, half_y - margin, half_z]
        )
        if rng.random() < 0.7:
            point[2] = np.copysign(half_z * rng.uniform(0.85, 1.0), point[2])
        off_vlps = np.all(np.linalg.norm(centre[:, :2] - point[:2], axis=1) > clear * relax)
        apart = all(
            np.linalg.norm(point[:2] - other[:2]) > 2.5 * settings.bead_diameter_angstrom * relax
            for other in beads
        )
        solid = (
            np.all(np.abs(np.linalg.norm(centre - point, axis=1) - radius) > 130.0) if len(centre) else True
        )
        if off_vlps and apart and solid:
            beads.append(point)
    if len(beads) < settings.n_beads:
        raise UsageError(
            f"only {len(beads)} of {settings.n_beads} beads fit beside the VLPs",
            where="n_beads",
            hint="ask for fewer beads or VLPs, or a larger image",
        )
    return np.array(beads).reshape(-1, 3)
