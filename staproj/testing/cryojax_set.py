"""Truth of the dataset that cryoJAX made (one VLP, 40 views, 6 beads), in staproj's own terms.

The set's ``truth.npz`` counts in pixels before fourfold binning (1.35 Å, 1152 x 1152) about index 576, and
its views are block averages: a point at unbinned pixel u lies at ``u / 4 - 0.375`` of a view. That constant
goes into the shifts, since staproj's image centre is index ``n // 2`` = 144 of the view.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from numpy.typing import NDArray

from staproj.errors import FormatError, InputError
from staproj.model.ctf import CtfModel
from staproj.model.fiducials import FiducialTracks, GoldModel
from staproj.model.geometry import TiltGeometry
from staproj.model.microscope import Microscope
from staproj.model.particles import ParticleSet
from staproj.model.surfaces import Spheres
from staproj.testing.truth import SeriesTruth, Truth, load_truth
from staproj.testing.truth import write_truth as write_truth_files
from staproj.units import ANGSTROM_PER_UM

Float = NDArray[np.float64]

TILT_SERIES_ID = "TS_01"
BEAD_DIAMETER_ANGSTROM = 100.0
SPACING_ANGSTROM = 72.0


def write_truth(source: Path | str, out_dir: Path | str) -> Truth:
    """Convert ``source/truth.npz`` and the reference map beside it to a truth directory.

    Raises
    ------
    InputError
        If a file is missing.
    FormatError
        If the numbers do not have the shapes the set has.
    """
    source, out_dir = Path(source), Path(out_dir)
    for name in ("truth.npz", "reference_5l93_hexamer.mrc"):
        if not (source / name).is_file():
            raise InputError(f"{name} is missing", where=str(source))
    with np.load(source / "truth.npz") as raw:
        numbers = {key: np.asarray(raw[key]) for key in raw.files}
    with mrcfile.open(source / "reference_5l93_hexamer.mrc") as handle:
        reference = np.array(handle.data, dtype=np.float32)
        voxel = float(handle.voxel_size.x)
    series = _series(numbers)
    info = {
        "preset": "cryojax",
        "symmetry": "C6",
        "spacing_angstrom": SPACING_ANGSTROM,
        "voxel_size_angstrom": round(voxel, 4),
        "mask_radius_angstrom": 36.0,
        "mask_half_height_angstrom": 48.0,
        "slab_thickness_angstrom": 1100.0,
        "reference": "one hexamer without its neighbours",
    }
    truth = Truth(root=out_dir, series={TILT_SERIES_ID: series}, info=info)
    write_truth_files(out_dir, truth, reference)
    return load_truth(out_dir)


def _series(numbers: dict[str, NDArray[Any]]) -> SeriesTruth:
    pixel = float(numbers["pixel"])
    binning = int(numbers["bin"])
    unbinned = pixel / binning
    size = numbers["image_size_unbinned"]
    shape = (int(size[1]) // binning, int(size[0]) // binning)
    alignment = _alignment(numbers, pixel, binning, shape)
    _check_projection(numbers, alignment, unbinned)
    beads = numbers["beads_centred_unbinned_px"].astype(np.float64) * unbinned
    position = numbers["pos_centred_unbinned_px"].astype(np.float64) * unbinned
    n_views = alignment.n_views
    centre, radius = _fit_sphere(position)
    ctf = CtfModel(
        tilt_series_id=TILT_SERIES_ID,
        defocus_u_um=numbers["defocusU"].astype(np.float64) / ANGSTROM_PER_UM,
        defocus_v_um=numbers["defocusV"].astype(np.float64) / ANGSTROM_PER_UM,
        astigmatism_deg=numbers["defocusAngle"].astype(np.float64),
        phase_shift_deg=np.zeros(n_views),
        fit_score=np.ones(n_views),
        fit_resolution_angstrom=np.full(n_views, 2 * pixel),
        defocus_hand=int(numbers["hand"]),
        microscope=Microscope(),
    )
    tracks = FiducialTracks(
        tilt_series_id=TILT_SERIES_ID,
        position_xy_px=np.swapaxes(numbers["beads_2d_px"].astype(np.float64), 0, 1),
        weight=np.ones((len(beads), n_views)),
        bead_diameter_angstrom=BEAD_DIAMETER_ANGSTROM,
        pixel_size_angstrom=pixel,
        image_shape_yx=shape,
    )
    return SeriesTruth(
        tilt_series_id=TILT_SERIES_ID,
        alignment=alignment,
        ctf=ctf,
        particles=ParticleSet.create(
            TILT_SERIES_ID, position, numbers["rot_ref_to_tomo"], object_id=0, score=1.0, symmetry="C6"
        ),
        gold=GoldModel(TILT_SERIES_ID, beads, np.ones(len(beads)), BEAD_DIAMETER_ANGSTROM),
        spheres=Spheres(TILT_SERIES_ID, np.array([0]), centre[None], np.array([radius]), np.ones(1)),
        tracks=tracks,
    )


def _alignment(
    numbers: dict[str, NDArray[Any]], pixel: float, binning: int, shape: tuple[int, int]
) -> TiltGeometry:
    block_offset_px = (binning - 1) / (2.0 * binning)
    shift = np.stack([numbers["xshift"], numbers["yshift"]], axis=1).astype(np.float64)
    n_views = len(shift)
    return TiltGeometry(
        tilt_series_id=TILT_SERIES_ID,
        tilt_deg=numbers["ytilt"].astype(np.float64),
        x_tilt_deg=np.zeros(n_views),
        tilt_axis_deg=numbers["zrot"].astype(np.float64),
        shift_xy_angstrom=shift - block_offset_px * pixel,
        magnification=np.ones(n_views),
        view_used=np.ones(n_views, dtype=bool),
        pixel_size_angstrom=pixel,
        image_shape_yx=shape,
    )


def _check_projection(numbers: dict[str, NDArray[Any]], alignment: TiltGeometry, unbinned: float) -> None:
    beads = numbers["beads_centred_unbinned_px"] * unbinned
    worst = float(np.abs(alignment.project(beads) - numbers["beads_2d_px"]).max())
    if worst > 0.01:
        raise FormatError(f"beads project {worst:.3f} px from where the set says they are", where="truth.npz")


def _fit_sphere(position: Float) -> tuple[Float, float]:
    design = np.column_stack([2 * position, np.ones(len(position))])
    solution = np.linalg.lstsq(design, (position**2).sum(axis=1), rcond=None)[0]
    centre = solution[:3]
    return centre, float(np.sqrt(solution[3] + centre @ centre))
