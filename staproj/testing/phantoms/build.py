"""Put a session together and write it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from staproj.errors import StorageError, UsageError
from staproj.formats.artifact import write_artifact
from staproj.model.fiducials import FiducialTracks
from staproj.model.tilt_series import TiltSeries
from staproj.testing.phantoms import detector, hexamer, imaging, microscope, session, specimen
from staproj.testing.phantoms.settings import SessionSettings, resolve
from staproj.testing.truth import FrameDrift, SeriesTruth, Truth, load_truth, write_truth

Progress = Callable[[float, float, str], None]


def simulate(
    directory: Path | str,
    preset: str = "demo",
    *,
    seed: int = 1,
    threads: int = 2,
    ideal_stacks: Path | str | None = None,
    progress: Progress | None = None,
    **overrides: Any,
) -> Truth:
    """Simulate a session into ``directory`` (new or empty) and return its truth.

    Parameters
    ----------
    directory
        Where ``frames/``, ``mdoc/``, ``gain.mrc``, ``session.json`` and ``truth/`` are written; it gets this
        name only when everything is there.
    preset
        ``"tiny"`` (seconds), ``"demo"`` (under a minute) or ``"vlp"`` (benchmark, gigabytes).
    seed
        Source of every random draw; the same seed gives the same files whatever ``threads`` is.
    threads
        Views imaged at a time.
    ideal_stacks
        If given, a perfectly motion-corrected stack of each series goes to
        ``ideal_stacks/<tilt series>/tilt_series.h5``, for tests of what follows motion correction.
    progress
        Called as ``progress(views done, views in all, tilt series)``.
    **overrides
        Fields of :class:`SessionSettings`.

    Raises
    ------
    UsageError
        If the preset or a setting is unknown or out of bounds, or the directory is not empty.
    StorageError
        If the disk is full or not writable.
    """
    chosen = resolve(preset, overrides)
    root = Path(directory)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(
            "a session is simulated into a new or empty directory", where=str(root), hint="give another name"
        )
    work = root.with_name(root.name + ".part")
    try:
        shutil.rmtree(work, ignore_errors=True)
        (work / "frames").mkdir(parents=True)
        (work / "mdoc").mkdir()
        _simulate(work, preset, chosen, seed, threads, ideal_stacks, progress)
        if root.exists():
            root.rmdir()
        work.rename(root)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot write the session: {error.strerror or error}", where=str(root)) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return load_truth(root / "truth")


def _simulate(
    root: Path,
    preset: str,
    chosen: SessionSettings,
    seed: int,
    threads: int,
    ideal_stacks: Path | str | None,
    progress: Progress | None,
) -> None:
    source = np.random.SeedSequence(seed)
    camera_seed, *series_seeds = source.spawn(1 + chosen.n_series)
    camera = detector.build(chosen, np.random.default_rng(camera_seed))
    session.write_mrc(root / "gain.mrc", camera.gain, chosen.pixel_size_angstrom)
    series: dict[str, SeriesTruth] = {}
    signal_to_noise: dict[str, float] = {}
    for number, own_seed in enumerate(series_seeds):
        name = f"TS_{number + 1:02d}"
        made = _Series(name, number, chosen, own_seed, camera)
        ideal = None if ideal_stacks is None else Path(ideal_stacks) / name
        signal_to_noise[name] = made.write(root, threads, ideal, progress)
        series[name] = made.truth()
    _write_notes(root, chosen)
    truth = Truth(root=root / "truth", series=series, info=_info(preset, chosen, seed, signal_to_noise))
    reference = hexamer.reference_map(
        chosen.pixel_size_angstrom, chosen.vlp_radius_angstrom, chosen.spacing_angstrom
    )
    write_truth(root / "truth", truth, reference)


class _Series:
    """One tilt series while it is being made."""

    def __init__(
        self,
        name: str,
        number: int,
        chosen: SessionSettings,
        seed: np.random.SeedSequence,
        camera: detector.Detector,
    ) -> None:
        specimen_seed, stage_seed, *self._view_seeds = seed.spawn(2 + chosen.n_views)
        self.name, self.chosen, self.camera = name, chosen, camera
        self.tiff = number % 2 == 1
        self.knows_exposure = number != chosen.n_series - 1 or chosen.n_series == 1
        self.specimen = specimen.build(name, chosen, np.random.default_rng(specimen_seed))
        self.acquisition = microscope.acquire(name, number, chosen, np.random.default_rng(stage_seed))

    def write(self, root: Path, threads: int, ideal: Path | None, progress: Progress | None) -> float:
        """Write movies and mdoc; return the median signal-to-noise ratio of the views."""
        n_views = len(self.acquisition.stage_tilt_deg)
        ny, nx = self.chosen.image_shape_yx
        stack = np.zeros((n_views, ny, nx), dtype=np.float32) if ideal is not None else None
        ratios = np.zeros(n_views)

        def one(view: int) -> int:
            ratios[view] = self._write_view(root, view, stack)
            return view

        with ThreadPoolExecutor(max(1, threads)) as pool:
            for done, _ in enumerate(pool.map(one, range(n_views)), start=1):
                if progress is not None:
                    progress(done, n_views, self.name)
        text = session.mdoc_text(
            self.name, self.acquisition, self.chosen, tiff=self.tiff, knows_exposure=self.knows_exposure
        )
        (root / "mdoc" / f"{self.name}.mdoc").write_text(text, encoding="ascii", newline="\r\n")
        if ideal is not None and stack is not None:
            self._write_ideal(ideal, stack)
        return float(np.median(ratios))

    def _write_view(self, root: Path, view: int, stack: NDArray[np.float32] | None) -> float:
        rng = np.random.default_rng(self._view_seeds[view])
        acquisition, chosen = self.acquisition, self.chosen
        image = imaging.ideal_view(self.specimen, acquisition, chosen, view, rng)
        dtype = detector.raw_type(chosen, tiff=self.tiff)
        recording = detector.record(
            image,
            acquisition.drift_xy_px[view],
            self.camera,
            chosen,
            rng,
            dtype=dtype,
            with_ideal=stack is not None,
        )
        if stack is not None and recording.ideal is not None:
            stack[view] = recording.ideal
        index = int(acquisition.acquisition_index[view])
        path = (
            root
            / "frames"
            / session.movie_name(self.name, index, float(acquisition.stage_tilt_deg[view]), tiff=self.tiff)
        )
        session.write_movie(path, recording.frames, chosen.pixel_size_angstrom)
        return self._signal_to_noise(image, view)

    def _signal_to_noise(self, image: imaging.IdealView, view: int) -> float:
        """Variance of protein contrast over that of counting noise, where the particles are."""
        ny, nx = self.chosen.image_shape_yx
        xy = self.acquisition.alignment.project(self.specimen.particles.position_xyz_angstrom)[view]
        inside = np.all((xy > 8) & (xy < np.array([nx, ny]) - 9), axis=1)
        if not inside.any():
            return 0.0
        y0, x0 = image.origin_yx
        columns, rows = np.rint(xy[inside]).astype(int).T
        values = image.protein[rows + y0, columns + x0]
        electrons = (
            detector.frame_mean(self.chosen) * self.chosen.n_frames * float(np.median(image.intensity))
        )
        return float(np.var(values) * electrons)

    def _write_ideal(self, folder: Path, stack: NDArray[np.float32]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        session.write_mrc(folder / "stack.mrc", stack, self.chosen.pixel_size_angstrom)
        acquisition, chosen = self.acquisition, self.chosen
        n = len(acquisition.stage_tilt_deg)
        series = TiltSeries(
            tilt_series_id=self.name,
            stack_path=folder / "stack.mrc",
            stage_tilt_deg=acquisition.stage_tilt_deg,
            acquisition_index=acquisition.acquisition_index,
            exposure_e_per_angstrom2=np.full(n, chosen.exposure_e_per_angstrom2),
            pre_exposure_e_per_angstrom2=acquisition.pre_exposure_e_per_angstrom2,
            nominal_defocus_um=np.full(n, 0.5 * (chosen.defocus_min_um + chosen.defocus_max_um)),
            view_used=np.ones(n, dtype=bool),
            pixel_size_angstrom=chosen.pixel_size_angstrom,
            image_shape_yx=chosen.image_shape_yx,
            tilt_axis_deg=chosen.tilt_axis_deg,
            microscope=acquisition.ctf.microscope,
        )
        write_artifact(folder / "tilt_series.h5", series, project_root=folder)

    def truth(self) -> SeriesTruth:
        """Return everything that is known about the series."""
        chosen, beads = self.chosen, self.specimen.gold
        ny, nx = chosen.image_shape_yx
        xy = np.swapaxes(self.acquisition.alignment.project(beads.position_xyz_angstrom), 0, 1)
        seen = np.all((xy >= 0) & (xy <= np.array([nx - 1, ny - 1])), axis=2)
        tracks = FiducialTracks(
            tilt_series_id=self.name,
            position_xy_px=np.where(seen[..., None], xy, np.nan),
            weight=seen.astype(float),
            bead_diameter_angstrom=chosen.bead_diameter_angstrom,
            pixel_size_angstrom=chosen.pixel_size_angstrom,
            image_shape_yx=chosen.image_shape_yx,
        )
        return SeriesTruth(
            tilt_series_id=self.name,
            alignment=self.acquisition.alignment,
            ctf=self.acquisition.ctf,
            particles=self.specimen.particles,
            gold=beads,
            spheres=self.specimen.spheres,
            tracks=tracks,
            drift=FrameDrift(self.name, self.acquisition.drift_xy_px),
        )


def _info(preset: str, chosen: SessionSettings, seed: int, ratios: dict[str, float]) -> dict[str, Any]:
    values = dataclasses.asdict(chosen)
    values["real_geometry_dir"] = None if chosen.real_geometry_dir is None else chosen.real_geometry_dir.name
    return {
        "preset": preset,
        "seed": seed,
        "symmetry": hexamer.SYMMETRY,
        "spacing_angstrom": chosen.spacing_angstrom,
        "voxel_size_angstrom": chosen.pixel_size_angstrom,
        "mask_radius_angstrom": 40.0,
        "mask_half_height_angstrom": hexamer.HALF_HEIGHT_ANGSTROM,
        "slab_thickness_angstrom": chosen.ice_thickness_angstrom,
        "reference": "a hexamer with the neighbours that reach its box, bent to the mean VLP radius",
        "exposure_of_damage": "received before the view plus half of the view's own",
        "signal_to_noise": {name: round(value, 4) for name, value in ratios.items()},
        "settings": values,
    }


def _write_notes(root: Path, chosen: SessionSettings) -> None:
    notes = {
        "voltage_kv": 300.0,
        "spherical_aberration_mm": 2.7,
        "amplitude_contrast": 0.07,
        "pixel_size_angstrom": chosen.pixel_size_angstrom,
        "tilt_axis_deg": chosen.tilt_axis_deg,
        "exposure_e_per_angstrom2": {
            f"TS_{number + 1:02d}": chosen.exposure_e_per_angstrom2 for number in range(chosen.n_series)
        },
        "bead_diameter_angstrom": chosen.bead_diameter_angstrom,
    }
    (root / "session.json").write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
