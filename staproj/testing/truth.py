"""What is known about a synthetic dataset: read and write the truth that lies beside it.

``TRUTH/<tilt series>/{alignment,ctf,particles,gold,spheres,tracks,drift}.h5`` (``tracks`` and ``drift`` are
optional), ``TRUTH/reference.mrc`` (bright, centre ``n // 2``, symmetry axis z) and ``TRUTH/truth.json``.
Nothing but tests and scores reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
from numpy.typing import NDArray

from staproj.errors import FormatError, InputError
from staproj.formats.artifact import read_artifact, write_artifact
from staproj.model.ctf import CtfModel
from staproj.model.fiducials import FiducialTracks, GoldModel
from staproj.model.geometry import TiltGeometry
from staproj.model.particles import ParticleSet
from staproj.model.surfaces import Spheres

Float = NDArray[np.float64]
TRUTH_FORMAT = 1


@dataclass(frozen=True, eq=False)
class FrameDrift:
    """Movement during every view: content of frame f lies at ``+drift_xy_px[view, frame]`` (raw pixels).

    Views are in the order of rising stage tilt; the mean over the frames of a view is zero, so that the
    truth's alignment describes the sum of the frames after moving each by ``-drift``.
    """

    tilt_series_id: str
    drift_xy_px: Float


@dataclass(frozen=True, eq=False)
class SeriesTruth:
    """Truth about one tilt series, in one specimen frame (Å from the tomogram centre)."""

    tilt_series_id: str
    alignment: TiltGeometry
    ctf: CtfModel
    particles: ParticleSet
    gold: GoldModel
    spheres: Spheres
    tracks: FiducialTracks | None = None
    drift: FrameDrift | None = None


@dataclass(frozen=True, eq=False)
class Truth:
    """Truth about a dataset.

    ``info`` holds ``symmetry``, ``spacing_angstrom`` (between neighbouring particles),
    ``voxel_size_angstrom`` (of the reference), ``mask_radius_angstrom`` and ``mask_half_height_angstrom``
    (of the cylinder about z in which maps are compared with the reference), ``slab_thickness_angstrom``, and
    what made the dataset.
    """

    root: Path
    series: dict[str, SeriesTruth]
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def symmetry(self) -> str:
        """Symmetry of the particle, such as C6."""
        return str(self.info["symmetry"])

    @property
    def spacing_angstrom(self) -> float:
        """Distance between neighbouring particles."""
        return float(self.info["spacing_angstrom"])

    @property
    def reference_path(self) -> Path:
        """The noise-free map."""
        return self.root / "reference.mrc"

    def reference(self) -> tuple[NDArray[np.float32], float]:
        """Return the noise-free map ``[z, y, x]`` and its voxel size in Å."""
        with mrcfile.open(self.reference_path, permissive=False) as handle:
            return np.array(handle.data, dtype=np.float32), float(self.info["voxel_size_angstrom"])

    @property
    def n_particles(self) -> int:
        """Number of particles of all tilt series."""
        return sum(len(one.particles) for one in self.series.values())


_PARTS: dict[str, type[Any]] = {
    "alignment": TiltGeometry,
    "ctf": CtfModel,
    "particles": ParticleSet,
    "gold": GoldModel,
    "spheres": Spheres,
    "tracks": FiducialTracks,
    "drift": FrameDrift,
}
_OPTIONAL = ("tracks", "drift")


def write_truth(root: Path, truth: Truth, reference: NDArray[np.float32]) -> None:
    """Write ``truth`` under ``root`` (made if needed) with the noise-free map ``[z, y, x]``."""
    root.mkdir(parents=True, exist_ok=True)
    for name, one in truth.series.items():
        folder = root / name
        folder.mkdir(exist_ok=True)
        for part in _PARTS:
            value = getattr(one, part)
            if value is not None:
                write_artifact(folder / f"{part}.h5", value, project_root=root)
    with mrcfile.new(root / "reference.mrc", overwrite=True) as handle:
        handle.set_data(np.asarray(reference, dtype=np.float32))
        handle.voxel_size = float(truth.info["voxel_size_angstrom"])
        handle.set_volume()
        handle.header.label[0] = b"noise-free reference"  # instead of one with the time in it
    info = {"format": TRUTH_FORMAT, **truth.info, "tilt_series": sorted(truth.series)}
    (root / "truth.json").write_text(json.dumps(info, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_truth(root: Path | str) -> Truth:
    """Read the truth under ``root``.

    Raises
    ------
    InputError
        If there is no truth there.
    FormatError
        If a part is missing or damaged.
    """
    root = Path(root)
    path = root / "truth.json"
    if not path.is_file():
        raise InputError(
            "there is no truth.json here",
            where=str(root),
            hint="give the `truth` directory that `staproj simulate` wrote",
        )
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        names = [str(name) for name in info["tilt_series"]]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"cannot read the truth: {error}", where=str(path)) from error
    return Truth(root=root, series={name: _load_series(root, name) for name in names}, info=info)


def _load_series(root: Path, name: str) -> SeriesTruth:
    values: dict[str, Any] = {}
    for part, cls in _PARTS.items():
        path = root / name / f"{part}.h5"
        if path.is_file():
            values[part] = read_artifact(path, cls, project_root=root)
        elif part not in _OPTIONAL:
            raise FormatError("a part of the truth is missing", where=str(path))
    return SeriesTruth(tilt_series_id=name, **values)
