"""Scores: known errors put into the truth come back as the numbers they are."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import mrcfile
import numpy as np
import pytest
import scipy.fft
from scipy.spatial.transform import Rotation

from staproj.errors import InputError
from staproj.kinds import ArtifactKind
from staproj.model.fiducials import GoldModel
from staproj.model.maps import DensityMap, HalfMaps
from staproj.model.particles import ParticleSet
from staproj.stages.api import Params, Port, StageSpec
from staproj.testing import score as score_module
from staproj.testing.phantoms import hexamer, simulate
from staproj.testing.score import frames, maps, poses, score_project, write_table
from staproj.testing.truth import Truth

TURN = Rotation.from_euler("xyz", [4.0, -7.0, 11.0], degrees=True).as_matrix()
ORIGIN = np.array([120.0, -60.0, 210.0])


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """Give the truth of a small simulated session."""
    root = tmp_path_factory.mktemp("score") / "s"
    return simulate(root, "tiny", seed=3, threads=1, n_views=7, n_beads=6, vlp_radius_angstrom=260.0)


def _moved(one):
    """Describe a series' alignment in another specimen frame: P_truth = TURN P_new + ORIGIN."""
    return one.alignment.in_new_frame(TURN, ORIGIN)


def _fit(one, found):
    return frames.fit_frame(one.alignment, found, frames.slab_points(one.alignment, 800.0))


def test_another_specimen_frame_is_no_error(truth):
    """Turning and moving the specimen leaves nothing, and the motion itself is found."""
    one = truth.series["TS_01"]
    fit = _fit(one, _moved(one))
    assert fit.rms_px < 1e-9
    assert np.allclose(fit.rot_project_from_truth, TURN.T, atol=1e-10)
    assert np.allclose(fit.origin_project_angstrom, -TURN.T @ ORIGIN, atol=1e-6)
    assert fit.scale == pytest.approx(1.0, abs=1e-9)
    points = np.array([[10.0, 20.0, -30.0], [300.0, -200.0, 100.0]])
    assert np.allclose(fit.to_truth(fit.to_project(points)), points)
    assert np.allclose(fit.to_project(points), (points - ORIGIN) @ TURN)


def test_shift_errors_are_measured_in_pixels(truth):
    """Moving one view by a known vector gives what a rigid motion cannot explain of it, and no more."""
    one = truth.series["TS_01"]
    moved = _moved(one)
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 0.5, (7, 2))
    wrong = dataclasses.replace(
        moved, shift_xy_angstrom=moved.shift_xy_angstrom + noise * one.alignment.pixel_size_angstrom
    )
    rms = _fit(one, wrong).rms_px
    assert 0.5 * np.sqrt(2) * 0.5 < rms <= np.sqrt((noise**2).sum(axis=1).mean()) + 1e-9


def test_scale_is_reported_apart(truth):
    """A specimen stretched by 1 % shows as scale, and the fit with scale is exact."""
    one = truth.series["TS_01"]
    stretched = dataclasses.replace(one.alignment, magnification=one.alignment.magnification / 1.01)
    fit = _fit(one, stretched)
    assert fit.scale == pytest.approx(1.01, abs=1e-6)
    assert fit.rms_with_scale_px < 1e-6
    assert fit.rms_px > 0.3


def test_angle_errors_are_those_put_in(truth):
    """Axis and tilt errors come back after the frames were brought together."""
    one = truth.series["TS_01"]
    tilt = one.alignment.tilt_deg + np.array([0.4, -0.4, 0.4, -0.4, 0.4, -0.4, 0.4])
    wrong = dataclasses.replace(one.alignment, tilt_deg=tilt, tilt_axis_deg=one.alignment.tilt_axis_deg + 0.3)
    wrong = wrong.in_new_frame(TURN, ORIGIN)
    errors = frames.angle_errors(one.alignment, wrong, _fit(one, wrong))
    assert errors["tilt_axis_error_deg"] == pytest.approx(0.3, abs=0.05)
    assert 0.2 < errors["tilt_error_deg"] < 0.45, "0.4 less what the motion of the specimen takes up"


def test_defocus_error_knows_the_frames(truth):
    """A defocus that differs only because the tomogram centre lies elsewhere is right; 5 % is 5 %."""
    one = truth.series["TS_01"]
    moved = _moved(one)
    fit = _fit(one, moved)
    there = (one.alignment.depth(ORIGIN[None])[:, 0] * one.ctf.defocus_hand) * 1e-4
    right = dataclasses.replace(
        one.ctf, defocus_u_um=one.ctf.defocus_u_um + there, defocus_v_um=one.ctf.defocus_v_um + there
    )
    errors = frames.defocus_errors(one.ctf, right, moved, fit)
    assert errors["defocus_error_median_percent"] < 1e-6
    assert errors["hand_correct"] is True
    wrong = dataclasses.replace(
        one.ctf,
        defocus_u_um=1.05 * one.ctf.defocus_u_um,
        defocus_v_um=1.05 * one.ctf.defocus_v_um,
        astigmatism_deg=one.ctf.astigmatism_deg + 170.0,
        defocus_hand=1,
    )
    errors = frames.defocus_errors(one.ctf, wrong, one.alignment, _fit(one, one.alignment))
    assert errors["defocus_error_median_percent"] == pytest.approx(5.0, abs=1e-6)
    assert errors["astigmatism_angle_error_median_deg"] == pytest.approx(10.0, abs=1e-6)
    assert errors["hand_correct"] is False


def test_mismatched_views_are_refused(truth):
    """A project with another number of views cannot be compared."""
    one = truth.series["TS_01"]
    fewer = dataclasses.replace(
        one.alignment,
        **{
            name: getattr(one.alignment, name)[:-1]
            for name in (
                "tilt_deg",
                "x_tilt_deg",
                "tilt_axis_deg",
                "shift_xy_angstrom",
                "magnification",
                "view_used",
            )
        },
    )
    with pytest.raises(InputError, match="views"):
        _fit(one, fewer)


def test_matching_is_one_to_one_and_nearest_first():
    """Two points near one true point give one hit and one false one; far points give none."""
    true = np.array([[0.0, 0, 0], [100.0, 0, 0], [200.0, 0, 0], [300.0, 0, 0]])
    found = np.array([[5.0, 0, 0], [-2.0, 0, 0], [110.0, 0, 0], [250.0, 0, 0]])
    match = poses.match_points(found, true, 36.0)
    assert sorted(zip(match.found.tolist(), match.true.tolist(), strict=True)) == [(1, 0), (2, 1)]
    assert match.rates() == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert poses.match_points(found[:0], true, 36.0).rates()["f1"] == 0.0


def test_points_strewn_at_random_score_far_below_the_mark(rng):
    """As many points as the lattice has, anywhere on its plane, must not pass for a picked lattice."""
    spacing = 72.0
    rows, columns = np.mgrid[:20, :20]
    lattice = np.stack(
        [
            (columns + 0.5 * rows).ravel() * spacing,
            rows.ravel() * spacing * np.sqrt(0.75),
            0.0 * rows.ravel(),
        ],
        axis=1,
    )
    lattice[:, 0] = np.mod(lattice[:, 0], 20 * spacing)
    strewn = rng.uniform(0.0, 1.0, lattice.shape) * lattice.max(axis=0)

    match = poses.match_points(strewn, lattice, score_module.MATCH_RADIUS_OVER_SPACING * spacing)

    assert match.rates()["f1"] < 0.45


def _wrong_poses(
    particles: ParticleSet, angle_deg: float, azimuth_deg: float, out_angstrom: float
) -> ParticleSet:
    """Turn particles by a known angle about random axes, the reference about its own, and move it out."""
    rng = np.random.default_rng(7)
    n = len(particles)
    axis = rng.normal(size=(n, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    error = Rotation.from_rotvec(np.deg2rad(angle_deg) * axis).as_matrix()
    spin = Rotation.from_euler("z", azimuth_deg + 60.0 * rng.integers(0, 6, (n, 1)), degrees=True).as_matrix()
    rotation = particles.rot_tomo_from_ref @ error @ spin
    return particles.with_columns(
        rot_tomo_from_ref=rotation,
        position_xyz_angstrom=particles.position_xyz_angstrom + out_angstrom * rotation[:, :, 2],
    )


def test_pose_errors_are_those_put_in(truth):
    """Known angular errors come back modulo C6 and modulo what the reference is free in."""
    true = truth.series["TS_01"].particles
    found = _wrong_poses(true, 5.0, 17.0, 21.0)
    match, offset = poses.match_particles(found, true, 36.0)
    assert match.rates()["f1"] == 1.0
    assert offset == pytest.approx(21.0, abs=0.3)
    errors = poses.pose_errors(found.take(match.found), true.take(match.true), "C6", offset)
    assert errors.azimuth_deg == pytest.approx(17.0, abs=0.6)
    assert np.median(errors.angle_deg) == pytest.approx(5.0, abs=0.2)
    assert errors.shift_angstrom.max() < 1.0
    with pytest.raises(InputError, match="cyclic"):
        poses.rotation_order("D2")


def test_resolution_is_where_the_curve_crosses():
    """The crossing is interpolated; a curve that never falls gives Nyquist."""
    frequency = np.arange(11) / 100.0
    curve = np.array([1.0, 1.0, 0.9, 0.7, 0.3, 0.6, 0.1, 0, 0, 0, 0])
    assert maps.resolution(frequency, curve, 0.5) == pytest.approx(1 / 0.035)
    assert maps.resolution(frequency, np.ones(11), 0.5) == pytest.approx(10.0)


@pytest.mark.parametrize("n", [18, 21])
def test_shell_correlation_of_a_filtered_map(n, rng):
    """Noise that is only in the outer shells leaves inner shells at 1 and gives sqrt(1/2) outside."""
    signal = rng.normal(size=(n, n, n))
    axis = scipy.fft.fftfreq(n) * n
    radius = np.sqrt(sum(g**2 for g in np.meshgrid(axis, axis, axis, indexing="ij")))
    noise = scipy.fft.ifftn(scipy.fft.fftn(rng.normal(size=(n, n, n))) * (radius > 4.5)).real
    frequency, curve = maps.shell_correlation(3.0 * signal + 3.0 * noise, signal, 2.0)
    assert frequency[-1] == pytest.approx((n // 2) / (n * 2.0))
    assert np.allclose(curve[:5], 1.0)
    assert np.abs(curve[6:] - np.sqrt(0.5)).max() < 0.15


def _turned_reference(azimuth_deg, height_angstrom, voxel=6.0, n=44):
    """Sum the blobs of the reference, turned and moved, on another grid than the truth's."""
    sites, turns = hexamer.lattice_neighbours(375.0, 72.0)
    position, sigma, weight = hexamer.blobs()
    spin = Rotation.from_euler("z", azimuth_deg, degrees=True).as_matrix()
    axis = (np.arange(n) - n // 2) * voxel
    volume = np.zeros((n, n, n))
    for site, turn in zip(sites, turns, strict=True):
        for p, s, w in zip((position @ turn.T + site) @ spin.T, np.maximum(sigma, 4.0), weight, strict=True):
            line = [
                np.exp(-0.5 * ((axis - c) / s) ** 2) / (np.sqrt(2 * np.pi) * s)
                for c in (p[0], p[1], p[2] + height_angstrom)
            ]
            volume += w * line[2][:, None, None] * line[1][None, :, None] * line[0][None, None, :]
    return volume.astype(np.float32)


INFO = {"mask_radius_angstrom": 40.0, "mask_half_height_angstrom": 50.0}


def test_turned_map_is_brought_back_and_its_mirror_told_apart():
    """A map turned about its axis and moved along it agrees to Nyquist; its mirror image does not."""
    reference = hexamer.reference_map(5.4, 375.0, 72.0)
    volume = _turned_reference(23.0, 7.0)
    found = maps.against_truth(volume, 6.0, reference, 5.4, INFO, 6)
    assert found.fsc05_angstrom < 12.6
    assert found.placement.rotation_deg[2] % 60.0 == pytest.approx(23.0, abs=0.5)
    assert found.placement.shift_angstrom[2] == pytest.approx(7.0, abs=0.5)
    assert found.correlation > 0.95
    assert found.mirror_fsc05_angstrom > 1.4 * found.fsc05_angstrom
    mirrored = maps.against_truth(volume[:, :, ::-1], 6.0, reference, 5.4, INFO, 6)
    assert mirrored.fsc05_angstrom > 1.4 * mirrored.mirror_fsc05_angstrom


def test_noise_beyond_a_frequency_is_where_fsc_falls(rng):
    """With noise beyond 20 Å only, the map agrees with the truth to about 20 Å."""
    reference = hexamer.reference_map(5.4, 375.0, 72.0)
    volume = _turned_reference(0.0, 0.0)
    axis = scipy.fft.fftfreq(volume.shape[0], 6.0)
    f = np.sqrt(sum(g**2 for g in np.meshgrid(axis, axis, axis, indexing="ij")))
    noise = scipy.fft.ifftn(scipy.fft.fftn(rng.normal(size=volume.shape)) * (f > 1 / 20.0)).real
    noisy = (volume + 8.0 * volume.std() * noise / noise.std()).astype(np.float32)
    found = maps.against_truth(noisy, 6.0, reference, 5.4, INFO, 6)
    assert 18.0 < found.fsc05_angstrom < 25.0


class _Made:
    """Stands for a project that has made the truth with known errors."""

    def __init__(self, truth: Truth, folder: Path) -> None:
        self.notes: list[str] = []
        self.truth = truth
        self.folder = folder
        self.made = {}
        for name, one in truth.series.items():
            there = one.alignment.depth(ORIGIN[None])[:, 0] * one.ctf.defocus_hand * 1e-4
            self.made[name] = {
                "alignment": _moved(one),
                "ctf": dataclasses.replace(
                    one.ctf,
                    defocus_u_um=1.02 * one.ctf.defocus_u_um + there,
                    defocus_v_um=1.02 * one.ctf.defocus_v_um + there,
                ),
                "gold": GoldModel(
                    name, (one.gold.position_xyz_angstrom[1:] - ORIGIN) @ TURN, np.ones(5), 100.0
                ),
            }

    def per_item(self, port, *stages):
        return {name: parts[port] for name, parts in self.made.items() if port in parts}

    def particles(self, *stages):
        parts = []
        for one in self.truth.series.values():
            wrong = _wrong_poses(one.particles, 3.0, 17.0, 0.0).take(np.arange(10, len(one.particles)))
            parts.append(
                wrong.with_columns(
                    position_xyz_angstrom=(wrong.position_xyz_angstrom - ORIGIN) @ TURN,
                    rot_tomo_from_ref=TURN.T @ wrong.rot_tomo_from_ref,
                )
            )
        return ParticleSet.concatenate(parts, renumber=True)

    def drift(self):
        return {name: one.drift.drift_xy_px + np.array([0.3, 0.4]) for name, one in self.truth.series.items()}

    def get(self, port, *stages):
        path = self.folder / "map.mrc"
        with mrcfile.new(path, overwrite=True) as handle:
            handle.set_data(_turned_reference(17.0, 0.0))
        if port == "half_maps":
            return HalfMaps(path, path, 6.0, 1, 1, "C6")
        return SimpleNamespace(resolution_angstrom=12.3) if port == "fsc" else DensityMap(path, 6.0, "C6", 9)

    def parameters(self, stage):
        return {}


class _NoParams(Params):
    """An average without settings."""


SEEN: dict[str, ParticleSet] = {}


def toy_average(inputs, params, ctx):
    """Stand for the averaging stage: keep the particles it is given and write a turned reference."""
    SEEN["particles"] = inputs["particles"]
    path = ctx.out_dir() / "map.mrc"
    with mrcfile.new(path) as handle:
        handle.set_data(_turned_reference(17.0, 0.0))
    return {"map": DensityMap(path, 6.0, "C6", len(inputs["particles"]))}


def test_oracle_average_gets_true_poses_in_the_projects_frame(truth, tmp_path, monkeypatch):
    """The bound is the project's own averaging stage on the true particles, moved into its frame."""
    port = Port(ArtifactKind.PARTICLES, "Poses.")
    aligned = Port(ArtifactKind.ALIGNMENT, "Geometry.")
    spec = StageSpec(
        "average",
        "Average.",
        _NoParams,
        {"particles": port, "alignment": aligned},
        {"map": Port(ArtifactKind.MAP, "Map.")},
        f"{__name__}:toy_average",
        scope="project",
    )
    monkeypatch.setattr(score_module.oracle.registry, "get", lambda name: spec)
    monkeypatch.setattr(score_module, "Results", lambda root: _Made(truth, tmp_path))
    score = score_project("project", truth.root)
    assert score["map"]["ratio_to_oracle"] == pytest.approx(1.0)
    given = SEEN["particles"]
    true = ParticleSet.concatenate([truth.series[name].particles for name in sorted(truth.series)])
    assert np.allclose(given.position_xyz_angstrom, (true.position_xyz_angstrom - ORIGIN) @ TURN, atol=1e-4)
    assert np.allclose(given.rot_tomo_from_ref, TURN.T @ true.rot_tomo_from_ref, atol=1e-8)
    assert set(given.half_set) == {1, 2}
    assert score["passed"] is True
    assert "FAIL" not in write_table(score)


def test_whole_score_of_known_errors(truth, tmp_path, monkeypatch):
    """All parts together: what was put in is what the table shows, and it can be written as JSON."""
    monkeypatch.setattr(score_module, "Results", lambda root: _Made(truth, tmp_path))
    score = score_project("project", truth.root, with_oracle=False)
    assert score["alignment"]["reprojection_rms_px"] < 1e-6
    assert score["drift"]["error_rms_px"] < 1e-9
    assert score["ctf"]["defocus_error_median_percent"] == pytest.approx(2.0, abs=1e-3)
    assert score["gold"] == {
        "precision": 1.0,
        "recall": pytest.approx(5 / 6),
        "f1": pytest.approx(10 / 11),
        "n_found": 10,
        "n_true": 12,
    }
    n = truth.n_particles
    assert score["particles"]["recall"] == pytest.approx((n - 20) / n)
    assert score["particles"]["precision"] == 1.0
    assert score["particles"]["angular_error_median_deg"] == pytest.approx(3.0, abs=0.2)
    assert score["map"]["mirror_fsc05_angstrom"] > score["map"]["fsc05_angstrom"]
    assert score["map"]["half_map_fsc0143_angstrom"] == pytest.approx(12.0, abs=0.1)
    assert score["passed"] is False, "the bound was not measured"
    table = write_table(score)
    assert "particles: F1" in table
    assert "not measured" in table
    assert "wrong" not in table
    json.dumps(score)


def test_project_without_runs_scores_none(truth, tmp_path, monkeypatch):
    """Parts that were not made are None, and nothing crashes."""

    class Nothing:
        notes: list[str] = []

        def __init__(self, root):
            pass

        def per_item(self, port, *stages):
            return {}

        def particles(self, *stages):
            return None

        def drift(self):
            return {}

        def get(self, port, *stages):
            return None

    monkeypatch.setattr(score_module, "Results", Nothing)
    score = score_project("project", truth.root)
    assert [score[part] for part in ("alignment", "drift", "ctf", "gold", "particles", "map")] == [None] * 6
    assert score["passed"] is False
    assert write_table(score).count("not measured") == len(score["pass_marks"])
