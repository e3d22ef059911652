"""The particle stages on views of blob particles drawn in closed form, and on another program's images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from staproj.errors import EmptyResultError, InputError
from staproj.formats.mrc import read_mrc, write_mrc
from staproj.kernels.fsc import fourier_shell_correlation
from staproj.kernels.masking import cylinder_mask
from staproj.kernels.symmetry import resample_map
from staproj.model.geometry import TiltGeometry
from staproj.model.maps import DensityMap
from staproj.model.particles import ParticleSet
from staproj.model.tilt_series import TiltSeries
from staproj.stages.shared.averaging import average_map
from staproj.stages.shared.particle_inputs import SeriesInputs
from staproj.stages.shared.particles import ViewSource
from staproj.testing.cryojax_set import write_truth
from staproj.testing.stage_harness import run_stage
from tests.blob_particle import BlobParticle

PIXEL = 8.0
SHAPE = (150, 171)
CUBE = {"box_size_angstrom": 190.0}
BOX = {**CUBE, "mask_diameter_angstrom": 150.0}


class Scene:
    """Blob particles at known poses, their views with noise, and what stages are handed."""

    def __init__(self, folder: Path, order: int = 3, n: int = 24, noise: float = 2.0) -> None:
        rng = np.random.default_rng(5)
        base = BlobParticle(np.array([[3.5, 1.0, 1.5], [2.0, 2.8, -2.0], [4.4, -1.0, -0.5]]), 1.1)
        self.particle = base.symmetrised(order)
        tilt = np.linspace(-60, 60, 21)
        self.geometry = replace(
            TiltGeometry.nominal("TS", tilt, 85.3, pixel_size_angstrom=PIXEL, image_shape_yx=SHAPE),
            shift_xy_angstrom=rng.normal(0, 20, (21, 2)),
        )
        side = int(np.ceil(np.sqrt(n)))
        grid = np.array([(i % side, i // side) for i in range(n)]) - (side - 1) / 2
        position = np.column_stack([grid * 190.0, rng.uniform(-60, 60, n)]) + rng.uniform(-20, 20, (n, 3))
        self.truth = ParticleSet.create(
            "TS",
            position,
            Rotation.random(n, random_state=6).as_matrix(),
            half_set=1 + np.arange(n) % 2,
            symmetry=f"C{order}",
        )
        views = np.stack([self._view(v) for v in range(21)])
        noisy = 1000.0 - 20.0 * (views / views.std() + noise * rng.normal(size=views.shape))
        path = folder / "stack.mrc"
        write_mrc(path, noisy.astype(np.float32), PIXEL)
        self.series = TiltSeries(
            tilt_series_id="TS",
            stack_path=path,
            stage_tilt_deg=tilt,
            acquisition_index=np.arange(21),
            exposure_e_per_angstrom2=np.zeros(21),
            pre_exposure_e_per_angstrom2=np.zeros(21),
            nominal_defocus_um=np.zeros(21),
            view_used=np.ones(21, dtype=bool),
            pixel_size_angstrom=PIXEL,
            image_shape_yx=SHAPE,
            tilt_axis_deg=85.3,
        )
        self.reference = folder / "reference.mrc"
        write_mrc(self.reference, self.particle.volume((25, 25, 25)), PIXEL)
        self.map = DensityMap(self.reference, PIXEL, f"C{order}")

    def _view(self, view: int) -> Any:
        matrix = self.geometry.rot_view_from_tomo[view]
        at = self.geometry.project(self.truth.position_xyz_angstrom)[view]
        turns = matrix @ self.truth.rot_tomo_from_ref
        return sum(self.particle.projection(SHAPE, r, xy) for r, xy in zip(turns, at, strict=True))

    def inputs(self, item: bool) -> dict[str, Any]:
        """Return the ports of a stage of item or project scope."""
        parts = {"tilt_series": self.series, "alignment": self.geometry}
        return parts if item else {name: {"TS": part} for name, part in parts.items()}

    def displaced(self, turn_deg: float, shift_angstrom: float) -> ParticleSet:
        """Return the particles turned and moved at random by about so much."""
        rng = np.random.default_rng(8)
        n = len(self.truth)
        turn = Rotation.from_rotvec(np.deg2rad(turn_deg) * rng.normal(size=(n, 3)) / np.sqrt(3)).as_matrix()
        move = rng.uniform(-shift_angstrom, shift_angstrom, (n, 3))
        return replace(
            self.truth,
            rot_tomo_from_ref=self.truth.rot_tomo_from_ref @ turn,
            position_xyz_angstrom=self.truth.position_xyz_angstrom + move,
        )

    def errors(self, found: ParticleSet, order: int) -> tuple[float, float]:
        """Return the median angle (deg, modulo Cn) and shift (Å) between particles and truth."""
        turns = Rotation.from_euler("z", 360.0 * np.arange(order)[:, None] / order, degrees=True)
        relative = Rotation.from_matrix(
            np.swapaxes(self.truth.rot_tomo_from_ref, 1, 2) @ found.rot_tomo_from_ref
        )
        angle = np.min([(turn * relative).magnitude() for turn in turns], axis=0)
        shift = np.linalg.norm(found.position_xyz_angstrom - self.truth.position_xyz_angstrom, axis=1)
        return float(np.rad2deg(np.median(angle))), float(np.median(shift))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Two dozen C3 particles in a non-square tilt series with odd and even sides."""
    return Scene(tmp_path_factory.mktemp("scene"))


def test_average_of_true_poses_is_the_particle(scene: Scene, tmp_path: Path) -> None:
    """Views, patches, slices and weights together give the particle back, bright, where it was."""
    result = run_stage("average", {"particles": scene.truth, **scene.inputs(False)}, CUBE, tmp_path)
    found, voxel = read_mrc(result["map"].path)
    truth = scene.particle.volume(found.shape)
    assert voxel == pytest.approx(PIXEL, rel=1e-5)
    mask = cylinder_mask(found.shape, 7.0, 14.0, 2.0) > 0.5
    assert np.corrcoef(found[mask], truth[mask])[0, 1] > 0.9
    assert result["half_maps"].n_particles_half_1 == 12
    assert result["map"].symmetry == "C3"


def test_average_is_the_same_twice(scene: Scene, tmp_path: Path) -> None:
    """Equal inputs give equal bytes, however many threads there are."""
    bytes_ = []
    for threads in (1, 2):
        result = run_stage(
            "average",
            {"particles": scene.truth, **scene.inputs(False)},
            CUBE,
            tmp_path / str(threads),
            threads=threads,
        )
        bytes_.append(result["map"].path.read_bytes())
    assert bytes_[0] == bytes_[1]


def test_match_finds_particles_about_their_seeds(scene: Scene, tmp_path: Path) -> None:
    """From seeds some 20 Å and 10 degrees off, and any spin, poses come back to a few degrees."""
    seeds = scene.displaced(8.0, 18.0)
    spin = Rotation.from_euler("z", np.random.default_rng(2).uniform(0, 360, (len(seeds), 1)), degrees=True)
    seeds = replace(seeds, rot_tomo_from_ref=seeds.rot_tomo_from_ref @ spin.as_matrix())
    params = {
        **BOX,
        "score_diameter_angstrom": None,
        "shift_range_angstrom": 24.0,
        "axial_range_angstrom": 24.0,
        "tilt_range_deg": 20.0,
        "coarse_resolution_angstrom": 32.0,
    }
    inputs = {"particles": seeds, "map": scene.map, **scene.inputs(True)}
    result = run_stage("match", inputs, params, tmp_path)
    angle, shift = scene.errors(result["particles"], 3)
    assert angle < 4.0
    assert shift < 3.0
    assert result["particles"].symmetry == "C3"
    assert np.median(result["particles"].score) > 3.0


def test_refine_improves_poses_and_keeps_halves_apart(scene: Scene, tmp_path: Path) -> None:
    """Poses get better, the FSC is recorded, and no particle is in both halves."""
    start = scene.displaced(6.0, 8.0)
    before = scene.errors(start, 3)
    inputs = {"particles": start, "map": scene.map, **scene.inputs(False)}
    result = run_stage("refine", inputs, {**BOX, "binning": 1, "n_iterations": 2}, tmp_path)
    after = scene.errors(result["particles"], 3)
    assert after[0] < 0.6 * before[0]
    assert after[1] < 0.6 * before[1]
    assert result.ctx.metrics["n_shared_by_halves"] == 0
    assert result["fsc"].resolution_angstrom < 40.0
    np.testing.assert_array_equal(result["particles"].half_set, scene.truth.half_set)


def test_one_half_knows_nothing_of_the_other(scene: Scene, tmp_path: Path) -> None:
    """Spoiling every pose of half 2 changes neither poses nor map of half 1 in a round from given ranges."""
    start = scene.displaced(5.0, 6.0)
    spoilt_pose = start.rot_tomo_from_ref.copy()
    second = start.half_set == 2
    spoilt_pose[second] = Rotation.random(int(second.sum()), random_state=1).as_matrix()
    found = []
    for name, poses in (("good", start.rot_tomo_from_ref), ("spoilt", spoilt_pose)):
        inputs = {"particles": replace(start, rot_tomo_from_ref=poses), "map": scene.map}
        params = {**BOX, "binning": 1, "n_iterations": 1}
        found.append(run_stage("refine", {**inputs, **scene.inputs(False)}, params, tmp_path / name))
    first = ~second
    np.testing.assert_array_equal(
        found[0]["particles"].rot_tomo_from_ref[first], found[1]["particles"].rot_tomo_from_ref[first]
    )
    halves = [result["half_maps"].half_1_path.read_bytes() for result in found]
    assert halves[0] == halves[1]


def test_reorient_puts_the_axis_on_z(tmp_path: Path) -> None:
    """A turned and shifted C4 map is put back; the recorded transform says how; C1 passes through."""
    particle = BlobParticle.chiral(6.0, 1.3, seed=9, n=4).symmetrised(4)
    lean = Rotation.from_euler("xy", [5, -4], degrees=True).as_matrix()
    volume = particle.moved(lean, [1.5, -2.0, 0.0]).volume((24, 25, 26))
    path = tmp_path / "map.mrc"
    write_mrc(path, volume, 6.0)
    source = DensityMap(path, 6.0)
    result = run_stage(
        "reorient", {"map": source}, {"symmetry": "C4", "search_radius_angstrom": 24.0}, tmp_path
    )
    table = result.ctx.tables["transform"]
    axis = table["rot_old_from_new_z"]
    assert np.rad2deg(np.arccos(axis @ lean[:, 2])) < 1.5
    assert result["map"].symmetry == "C4"
    plain = run_stage("reorient", {"map": source}, {"symmetry": "C1", "centre_radius_angstrom": 0}, tmp_path)
    np.testing.assert_allclose(read_mrc(plain["map"].path)[0], volume, atol=1e-4)
    assert "C1" in plain.ctx.verdicts[0]


def test_initial_reference_from_a_given_map(scene: Scene, tmp_path: Path) -> None:
    """A given map comes back on the voxels asked for; without a path the error says what to set."""
    seeds = {"particles": {"TS": scene.truth}, **scene.inputs(False)}
    params = {
        "method": "map",
        "reference_path": str(scene.reference),
        "binning": 2,
        "box_size_angstrom": 190.0,
    }
    result = run_stage("initial_reference", seeds, params, tmp_path)
    found, voxel = read_mrc(result["map"].path)
    truth = resample_map(scene.particle.volume((25, 25, 25)), 2.0, found.shape[0])
    assert voxel == pytest.approx(16.0, rel=1e-5)
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.999
    with pytest.raises(InputError, match="needs a map"):
        run_stage("initial_reference", seeds, {"method": "map"}, tmp_path)


def test_initial_reference_from_seeds_alone(scene: Scene, tmp_path: Path) -> None:
    """From axes known to a few degrees and unknown spins, particles agree on one structure."""
    spin = Rotation.from_euler(
        "z", np.random.default_rng(3).uniform(0, 360, (24, 1)), degrees=True
    ).as_matrix()
    seeds = replace(scene.displaced(3.0, 6.0), rot_tomo_from_ref=scene.truth.rot_tomo_from_ref @ spin)
    params = {
        **BOX,
        "binning": 1,
        "shift_range_angstrom": 16.0,
        "axial_range_angstrom": 16.0,
        "max_particles": 24,
        "n_starts": 2,
        "n_iterations": 4,
        "resolution_angstrom": 28.0,
    }
    inputs = {"particles": {"TS": seeds}, **scene.inputs(False)}
    result = run_stage("initial_reference", inputs, params, tmp_path)
    turned = run_stage(
        "reorient", {"map": result["map"]}, {"symmetry": "C3", "search_radius_angstrom": 20.0}, tmp_path
    )
    assert turned.ctx.metrics["axis_score"] > 0.6
    found, _ = read_mrc(turned["map"].path)
    best = 0.0
    for angle in np.arange(0, 120, 4):
        turn = Rotation.from_euler("z", angle, degrees=True).as_matrix()
        for z in (-2.0, -1.0, 0.0, 1.0, 2.0):
            truth = scene.particle.moved(turn, [0, 0, z]).volume(found.shape)
            best = max(best, float(np.corrcoef(found.ravel(), truth.ravel())[0, 1]))
    assert best > 0.75


def test_empty_and_foreign_particles_are_refused(scene: Scene, tmp_path: Path) -> None:
    """No particles, and particles of a series that is not there, are named errors."""
    none = scene.truth.take(np.zeros(0, dtype=np.int64))
    for stage, extra in (("average", {}), ("refine", {"map": scene.map})):
        with pytest.raises(EmptyResultError):
            run_stage(stage, {"particles": none, **extra, **scene.inputs(False)}, CUBE, tmp_path)
    with pytest.raises(EmptyResultError):
        run_stage(
            "match", {"particles": none, "map": scene.map, **scene.inputs(True)}, BOX, tmp_path, item="TS"
        )
    foreign = scene.truth.with_columns(tilt_series_id=np.full(len(scene.truth), "TS_99"))
    with pytest.raises(InputError, match="TS_99"):
        run_stage("average", {"particles": foreign, **scene.inputs(False)}, CUBE, tmp_path)


def test_average_of_another_programs_views(shared_data: Path, tmp_path: Path) -> None:
    """Views of cryoJAX averaged with its own poses are its map to 12 Å: geometry, CTF and signs at once."""
    folder = shared_data / "sim_vlp_cryojax"
    truth = write_truth(folder, tmp_path / "truth")
    one = truth.series["TS_01"]
    with np.load(folder / "truth.npz") as numbers:
        pre = numbers["preexposure"].astype(np.float64)
    n = len(pre)
    series = TiltSeries(
        tilt_series_id="TS_01",
        stack_path=folder / "TS_01.mrc",
        stage_tilt_deg=np.loadtxt(folder / "TS_01.rawtlt"),
        acquisition_index=np.argsort(np.argsort(pre)),
        exposure_e_per_angstrom2=np.full(n, 3.0),
        pre_exposure_e_per_angstrom2=pre,
        nominal_defocus_um=np.full(n, 3.5),
        view_used=np.ones(n, dtype=bool),
        pixel_size_angstrom=one.alignment.pixel_size_angstrom,
        image_shape_yx=one.alignment.image_shape_yx,
        tilt_axis_deg=85.3,
    )
    source = ViewSource(
        {"TS_01": SeriesInputs(series, one.alignment, one.ctf, one.gold)}, binning=1, box_angstrom=256.0
    )
    source.measure_noise(one.particles)
    found = average_map(source, one.particles, "C6")
    reference, voxel = truth.reference()
    assert source.voxel_size_angstrom == pytest.approx(voxel, rel=1e-3)
    known = resample_map(reference, 1.0, source.box)
    mask = cylinder_mask(found.shape, 36.0 / voxel, 96.0 / voxel, 4.0)
    fsc = fourier_shell_correlation(found * mask, known * mask)
    shell = int(source.box * voxel / 12.0)
    assert fsc[1 : shell + 1].min() > 0.5
