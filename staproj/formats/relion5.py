"""RELION 5 tomography: tomograms, tilt series and particles as STAR files.

RELION's projection of a particle, in pixels of the tilt series with every size an integer number of them::

    position = centred / px + size / 2.0 - A_sub origin / px          image centre = n // 2
    image    = n // 2 + shift / px + Rz(ZRot) Ry(YTilt) Rx(XTilt) (position - size // 2)

so a centred coordinate is ours, except in tomograms of odd size, where half a pixel lies between
``size / 2.0`` and ``size // 2``. Orientation is ``A_sub A_particle``. The defocus of a particle is that of
the view plus ``rlnTomoHand * z'``. rlnMicrographPreExposure is what a view had received before it began (0
for the first). RELION 5 has no magnification of views. These rules were measured on RELION 5.0.1
(``tests/golden/test_relion5_predict.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from staproj.errors import FormatError, InputError
from staproj.formats.euler import matrix_from_relion, relion_from_matrix
from staproj.formats.star import Block, loop, read_star, require_columns, write_star
from staproj.model.ctf import CtfModel
from staproj.model.geometry import TiltGeometry
from staproj.model.microscope import Microscope
from staproj.model.particles import ParticleSet
from staproj.units import ANGSTROM_PER_UM

if TYPE_CHECKING:
    import pandas as pd

Float = NDArray[np.float64]
COORDINATES = ("rlnCenteredCoordinateXAngst", "rlnCenteredCoordinateYAngst", "rlnCenteredCoordinateZAngst")
ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
SUB_ANGLES = ("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")
ORIGINS = ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst")


@dataclass(frozen=True, eq=False)
class Relion5Series:
    """One tilt series as RELION 5 describes it, views in rising stage tilt.

    ``micrograph_names`` name the image of each view. ``tomogram_size_xyz_px`` counts tilt-series pixels.
    """

    geometry: TiltGeometry
    ctf: CtfModel | None
    stage_tilt_deg: Float
    pre_exposure_e_per_angstrom2: Float
    micrograph_names: tuple[str, ...]
    tomogram_size_xyz_px: tuple[int, int, int]
    optics_group_name: str = "optics1"


@dataclass(frozen=True, eq=False)
class Relion5Files:
    """Names of further files for ``optimisation_set.star``, relative to where RELION will run."""

    half_1: str | None = None
    half_2: str | None = None
    mask: str | None = None
    extra: dict[str, str] = field(default_factory=dict)


def half_pixel_of_odd_sizes(size_xyz_px: tuple[int, int, int], pixel_size_angstrom: float) -> Float:
    """Return what to add to a centred coordinate (Å) for our position: half a pixel on odd axes."""
    return np.array([0.5 * (n % 2) for n in size_xyz_px]) * pixel_size_angstrom


def write_tomograms(
    directory: Path, series: Mapping[str, Relion5Series], *, series_folder: str = "tilt_series"
) -> Path:
    """Write ``tomograms.star`` and one STAR file a tilt series into ``directory``, without unused views."""
    (directory / series_folder).mkdir(parents=True, exist_ok=True)
    rows = []
    for name, one in series.items():
        geometry = one.geometry
        scope = one.ctf.microscope if one.ctf is not None else Microscope()
        file = f"{series_folder}/{name}.star"
        write_star(directory / file, {name: _view_table(one)})
        rows.append(
            {
                "rlnTomoName": name,
                "rlnTomoTiltSeriesStarFile": file,
                "rlnVoltage": scope.voltage_kv,
                "rlnSphericalAberration": scope.spherical_aberration_mm,
                "rlnAmplitudeContrast": scope.amplitude_contrast,
                "rlnMicrographOriginalPixelSize": geometry.pixel_size_angstrom,
                "rlnTomoHand": float(one.ctf.defocus_hand if one.ctf is not None else -1),
                "rlnOpticsGroupName": one.optics_group_name,
                "rlnTomoTiltSeriesPixelSize": geometry.pixel_size_angstrom,
                "rlnTomoSizeX": one.tomogram_size_xyz_px[0],
                "rlnTomoSizeY": one.tomogram_size_xyz_px[1],
                "rlnTomoSizeZ": one.tomogram_size_xyz_px[2],
            }
        )
    path = directory / "tomograms.star"
    write_star(path, {"global": loop(rows)})
    return path


def _view_table(one: Relion5Series) -> pd.DataFrame:
    geometry = one.geometry
    use = np.flatnonzero(geometry.view_used)
    columns: dict[str, object] = {
        "rlnMicrographName": [one.micrograph_names[v] for v in use],
        "rlnTomoNominalStageTiltAngle": one.stage_tilt_deg[use],
        "rlnTomoNominalTiltAxisAngle": geometry.tilt_axis_deg[use],
        "rlnMicrographPreExposure": one.pre_exposure_e_per_angstrom2[use],
        "rlnTomoXTilt": geometry.x_tilt_deg[use],
        "rlnTomoYTilt": geometry.tilt_deg[use],
        "rlnTomoZRot": geometry.tilt_axis_deg[use],
        "rlnTomoXShiftAngst": geometry.shift_xy_angstrom[use, 0],
        "rlnTomoYShiftAngst": geometry.shift_xy_angstrom[use, 1],
        "rlnCtfScalefactor": np.cos(np.deg2rad(geometry.tilt_deg[use])),
    }
    if one.ctf is not None:
        columns["rlnDefocusU"] = one.ctf.defocus_u_um[use] * ANGSTROM_PER_UM
        columns["rlnDefocusV"] = one.ctf.defocus_v_um[use] * ANGSTROM_PER_UM
        columns["rlnDefocusAngle"] = one.ctf.astigmatism_deg[use]
        if np.any(one.ctf.phase_shift_deg != 0):
            columns["rlnPhaseShift"] = one.ctf.phase_shift_deg[use]
    return loop(columns)


def write_particles(path: Path, particles: ParticleSet, series: Mapping[str, Relion5Series]) -> None:
    """Write ``particles.star`` with centred coordinates in Å, angles, scores and (if assigned) half-sets.

    Raises
    ------
    InputError
        If a particle's tilt series is not among ``series``.
    """
    unknown = sorted(set(particles.tilt_series_id.tolist()) - set(series))
    if unknown:
        raise InputError(f"particles refer to unknown tilt series {', '.join(unknown)}", where=str(path))
    offset = np.zeros((len(particles), 3))
    group = np.ones(len(particles), dtype=np.int64)
    optics = _optics(series)
    numbers = dict(zip(optics["rlnOpticsGroupName"], optics["rlnOpticsGroup"], strict=True))
    for name, one in series.items():
        rows = particles.tilt_series_id == name
        offset[rows] = half_pixel_of_odd_sizes(one.tomogram_size_xyz_px, one.geometry.pixel_size_angstrom)
        group[rows] = numbers[one.optics_group_name]
    centred = particles.position_xyz_angstrom - offset
    angles = relion_from_matrix(particles.rot_tomo_from_ref)
    columns: dict[str, object] = {
        "rlnTomoName": particles.tilt_series_id,
        "rlnTomoParticleName": [
            f"{name}/{number}"
            for name, number in zip(particles.tilt_series_id, particles.particle_id, strict=True)
        ],
    }
    columns |= {name: centred[:, axis] for axis, name in enumerate(COORDINATES)}
    columns |= dict(zip(ANGLES, angles, strict=True))
    columns |= dict.fromkeys(ORIGINS, 0.0)
    columns["rlnAutopickFigureOfMerit"] = particles.score
    columns["rlnClassNumber"] = 1
    columns["rlnOpticsGroup"] = group
    if len(particles) and (particles.half_set > 0).all():
        columns["rlnRandomSubset"] = particles.half_set
    blocks: dict[str, Block] = {
        "general": {"rlnTomoSubTomosAre2DStacks": 1},
        "optics": optics,
        "particles": loop(columns),
    }
    write_star(path, blocks)


def _optics(series: Mapping[str, Relion5Series]) -> pd.DataFrame:
    rows: dict[str, dict[str, object]] = {}
    for one in series.values():
        scope = one.ctf.microscope if one.ctf is not None else Microscope()
        row = {
            "rlnOpticsGroupName": one.optics_group_name,
            "rlnSphericalAberration": scope.spherical_aberration_mm,
            "rlnVoltage": scope.voltage_kv,
            "rlnAmplitudeContrast": scope.amplitude_contrast,
            "rlnTomoTiltSeriesPixelSize": one.geometry.pixel_size_angstrom,
        }
        if rows.setdefault(one.optics_group_name, row) != row:
            raise InputError(
                f"optics group {one.optics_group_name} holds different microscopes or pixel sizes"
            )
    table = loop(list(rows.values()))
    table.insert(0, "rlnOpticsGroup", np.arange(1, len(table) + 1))
    return table


def write_optimisation_set(path: Path, files: Relion5Files) -> None:
    """Write ``optimisation_set.star``, which names the files that belong together."""
    block = {"rlnTomoParticlesFile": "particles.star", "rlnTomoTomogramsFile": "tomograms.star"}
    if files.half_1 and files.half_2:
        block["rlnTomoReferenceMap1File"] = files.half_1
        block["rlnTomoReferenceMap2File"] = files.half_2
    if files.mask:
        block["rlnTomoReferenceMaskFile"] = files.mask
    write_star(path, {"": block | files.extra})


def read_tomograms(
    path: Path, image_shape_yx: Mapping[str, tuple[int, int]], *, root: Path | None = None
) -> dict[str, Relion5Series]:
    """Read ``tomograms.star`` and its tilt series; paths in it start at ``root`` (default: its folder).

    ``image_shape_yx`` gives the size of the views of every series, which RELION reads from image headers.
    """
    needed = ("rlnTomoName", "rlnTomoTiltSeriesStarFile", "rlnTomoTiltSeriesPixelSize", "rlnTomoHand")
    table = require_columns(read_star(path).get("global"), needed, path, "global")
    found = {}
    for row in table.to_dict("records"):
        name = str(row["rlnTomoName"])
        if name not in image_shape_yx:
            raise InputError(f"the image size of {name} is not known", where=str(path))
        file = (root or path.parent) / str(row["rlnTomoTiltSeriesStarFile"])
        size = tuple(int(row.get(f"rlnTomoSize{axis}", 0)) for axis in "XYZ")
        found[name] = read_tilt_series(
            file,
            name,
            pixel_size_angstrom=float(row["rlnTomoTiltSeriesPixelSize"]),
            image_shape_yx=image_shape_yx[name],
            tomogram_size_xyz_px=(size[0], size[1], size[2]),
            defocus_hand=1 if float(row["rlnTomoHand"]) > 0 else -1,
            microscope=Microscope(
                float(row.get("rlnVoltage", 300.0)),
                float(row.get("rlnSphericalAberration", 2.7)),
                float(row.get("rlnAmplitudeContrast", 0.07)),
            ),
            optics_group_name=str(row.get("rlnOpticsGroupName", "optics1")),
        )
    return found


def read_tilt_series(
    path: Path,
    name: str,
    *,
    pixel_size_angstrom: float,
    image_shape_yx: tuple[int, int],
    tomogram_size_xyz_px: tuple[int, int, int],
    defocus_hand: int = -1,
    microscope: Microscope | None = None,
    optics_group_name: str = "optics1",
) -> Relion5Series:
    """Read the STAR file of one tilt series; its views come back in rising (nominal, else refined) tilt.

    Raises
    ------
    FormatError
        If a column is missing or a value is not a number.
    """
    alignment = ("rlnTomoXTilt", "rlnTomoYTilt", "rlnTomoZRot", "rlnTomoXShiftAngst", "rlnTomoYShiftAngst")
    needed = (*alignment, "rlnMicrographName", "rlnMicrographPreExposure")
    table = require_columns(next(iter(read_star(path).values())), needed, path, name)
    stage = "rlnTomoNominalStageTiltAngle" if "rlnTomoNominalStageTiltAngle" in table else "rlnTomoYTilt"
    table = table.sort_values(stage, kind="stable")
    x_tilt, tilt, axis, shift_x, shift_y = (_numbers(table, column, path) for column in alignment)
    geometry = TiltGeometry(
        tilt_series_id=name,
        tilt_deg=tilt,
        x_tilt_deg=x_tilt,
        tilt_axis_deg=axis,
        shift_xy_angstrom=np.stack([shift_x, shift_y], axis=1),
        magnification=np.ones(len(table)),
        view_used=np.ones(len(table), dtype=bool),
        pixel_size_angstrom=pixel_size_angstrom,
        image_shape_yx=image_shape_yx,
    )
    return Relion5Series(
        geometry=geometry,
        ctf=_read_ctf(table, path, name, defocus_hand, microscope or Microscope()),
        stage_tilt_deg=_numbers(table, stage, path),
        pre_exposure_e_per_angstrom2=_numbers(table, "rlnMicrographPreExposure", path),
        micrograph_names=tuple(str(value) for value in table["rlnMicrographName"]),
        tomogram_size_xyz_px=tomogram_size_xyz_px,
        optics_group_name=optics_group_name,
    )


def _read_ctf(
    table: pd.DataFrame, path: Path, name: str, hand: int, microscope: Microscope
) -> CtfModel | None:
    if not {"rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"} <= set(table.columns):
        return None
    zeros = np.zeros(len(table))
    return CtfModel(
        tilt_series_id=name,
        defocus_u_um=_numbers(table, "rlnDefocusU", path) / ANGSTROM_PER_UM,
        defocus_v_um=_numbers(table, "rlnDefocusV", path) / ANGSTROM_PER_UM,
        astigmatism_deg=_numbers(table, "rlnDefocusAngle", path),
        phase_shift_deg=_numbers(table, "rlnPhaseShift", path) if "rlnPhaseShift" in table else zeros,
        fit_score=_numbers(table, "rlnCtfFigureOfMerit", path) if "rlnCtfFigureOfMerit" in table else zeros,
        fit_resolution_angstrom=(
            _numbers(table, "rlnCtfMaxResolution", path) if "rlnCtfMaxResolution" in table else zeros
        ),
        defocus_hand=hand,
        microscope=microscope,
    )


def read_particles(
    path: Path,
    *,
    tomogram_size_xyz_px: Mapping[str, tuple[int, int, int]] | None = None,
    pixel_size_angstrom: float | None = None,
    symmetry: str = "C1",
) -> ParticleSet:
    """Read a RELION 5 ``particles.star``; origins are baked into positions, subtomogram angles into poses.

    Sizes matter only where one is odd (see the module); without them tomograms are taken as even.
    ``pixel_size_angstrom`` (tilt series) is read from the optics block where it is not given.
    """
    blocks = read_star(path)
    block = blocks.get("particles", next(iter(blocks.values())) if len(blocks) == 1 else None)
    table = require_columns(block, ("rlnTomoName", *COORDINATES, *ANGLES), path, "particles")
    names = np.array([str(value) for value in table["rlnTomoName"]], dtype=np.str_)
    rotation = matrix_from_relion(*(_numbers(table, column, path) for column in ANGLES))
    position = np.stack([_numbers(table, column, path) for column in COORDINATES], axis=1)
    sub = np.broadcast_to(np.eye(3), rotation.shape)
    if set(SUB_ANGLES) <= set(table.columns):
        sub = matrix_from_relion(*(_numbers(table, column, path) for column in SUB_ANGLES))
    if set(ORIGINS) <= set(table.columns):
        origin = np.stack([_numbers(table, column, path) for column in ORIGINS], axis=1)
        position = position - np.einsum("nij,nj->ni", sub, origin)
    if tomogram_size_xyz_px:
        pixel = pixel_size_angstrom or _optics_pixel_size(blocks, path)
        for name, size in tomogram_size_xyz_px.items():
            position[names == name] += half_pixel_of_odd_sizes(size, pixel)
    subset = _numbers(table, "rlnRandomSubset", path) if "rlnRandomSubset" in table else np.zeros(len(table))
    score = next((c for c in ("rlnAutopickFigureOfMerit", "rlnMaxValueProbDistribution") if c in table), None)
    return ParticleSet.create(
        names.tolist(),
        position,
        sub @ rotation,
        score=_numbers(table, score, path) if score else 0.0,
        half_set=subset.astype(np.int64),
        symmetry=symmetry,
    )


def _optics_pixel_size(blocks: Mapping[str, Block], path: Path) -> float:
    optics = require_columns(blocks.get("optics"), ("rlnTomoTiltSeriesPixelSize",), path, "optics")
    return float(_numbers(optics, "rlnTomoTiltSeriesPixelSize", path)[0])


def _numbers(table: pd.DataFrame, column: str, path: Path) -> Float:
    try:
        values = table[column].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FormatError(
            f"column _{column} holds something that is not a number", where=str(path)
        ) from error
    if not np.isfinite(values).all():
        raise FormatError(f"column _{column} holds NaN or infinity", where=str(path))
    return np.array(values)
