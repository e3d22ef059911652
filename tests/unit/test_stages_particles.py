"""Seeding and selection on surfaces whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from staproj.errors import EmptyResultError, InputError
from staproj.formats.relion5 import read_particles
from staproj.kernels.neighbours import LatticeRules, keep_best_of_duplicates, lattice_support, twist_between
from staproj.kernels.score_threshold import classify_with_lattice, elevation_factors, propose_threshold
from staproj.kernels.sphere_sampling import fibonacci_sphere, frames_on_normals, hexagonal_count
from staproj.model.particles import ParticleSet
from staproj.model.surfaces import Spheres
from staproj.testing.stage_harness import run_stage


def _spheres() -> Spheres:
    centre = np.array([[0.0, 50.0, -20.0], [1500.0, 0.0, 100.0]])
    return Spheres("TS_01", np.array([3, 7]), centre, np.array([500.0, 420.0]), np.ones(2))


def test_fibonacci_lattice_is_even() -> None:
    """Nearest neighbours lie nearly equally far apart, the mean direction is zero."""
    points = fibonacci_sphere(1200)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0)
    nearest = cKDTree(points).query(points, k=2)[0][:, 1]
    assert nearest.min() > 0.8 * np.sqrt(4 * np.pi / 1200)
    assert np.linalg.norm(points.mean(axis=0)) < 1e-3
    with pytest.raises(ValueError, match="point"):
        fibonacci_sphere(0)


def test_frames_stand_on_normals(rng: np.random.Generator) -> None:
    """The z axis is the normal, also at both poles; twist turns about it; all frames are right-handed."""
    normals = np.concatenate([fibonacci_sphere(50), [[0, 0, 1.0], [0, 0, -1.0]]])
    frames = frames_on_normals(normals, rng.uniform(0, 360, len(normals)))
    np.testing.assert_allclose(frames[:, :, 2], normals, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(frames), 1.0)
    plain, turned = frames_on_normals(normals, np.zeros(52)), frames_on_normals(normals, np.full(52, 25.0))
    np.testing.assert_allclose(twist_between(plain, turned, 1), 25.0, atol=1e-9)


def test_count_of_a_hexagonal_lattice() -> None:
    """72 Å spacing on a sphere of 500 Å: 4 pi r^2 over sqrt(3)/2 a^2 = 700 positions."""
    assert hexagonal_count(500.0, 72.0) == 700
    assert hexagonal_count(500.0, 72.0, 2.0) == 1400
    assert hexagonal_count(1.0, 72.0) == 1


def test_seeds_stand_on_the_spheres(tmp_path: Path) -> None:
    """Positions at radius plus offset, z outwards, object ids kept, density as asked, poles left out."""
    spheres = _spheres()
    params = {"radial_offset_angstrom": 25.0, "pole_exclusion_deg": 20.0, "oversampling": 3.0}
    result = run_stage("seed", {"geometry": spheres}, params, tmp_path)
    seeds = result["particles"]
    for index, object_id in enumerate(spheres.object_id):
        mine = seeds.take(seeds.object_id == object_id)
        away = mine.position_xyz_angstrom - spheres.centre_xyz_angstrom[index]
        radius = spheres.radius_angstrom[index] + 25.0
        np.testing.assert_allclose(np.linalg.norm(away, axis=1), radius)
        np.testing.assert_allclose(mine.rot_tomo_from_ref[:, :, 2], away / radius, atol=1e-9)
        assert np.abs(away[:, 2]).max() <= radius * np.cos(np.deg2rad(20.0)) + 1e-6
        expected = hexagonal_count(radius, 72.0, 3.0) * np.cos(np.deg2rad(20.0))
        assert len(mine) == pytest.approx(expected, rel=0.02)
    assert len(np.unique(seeds.particle_id)) == len(seeds)
    assert result.ctx.metrics["n_seeds"] == len(seeds)
    again = run_stage("seed", {"geometry": spheres}, params, tmp_path)["particles"]
    np.testing.assert_array_equal(again.rot_tomo_from_ref, seeds.rot_tomo_from_ref)


def test_seeding_refuses_nothing_and_nonsense(tmp_path: Path) -> None:
    """No spheres, and a sphere of NaN, are two clear errors."""
    empty = Spheres("TS", np.zeros(0, int), np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    with pytest.raises(EmptyResultError):
        run_stage("seed", {"geometry": empty}, {}, tmp_path)
    broken = Spheres("TS", np.zeros(1, int), np.zeros((1, 3)), np.array([np.nan]), np.zeros(1))
    with pytest.raises(InputError):
        run_stage("seed", {"geometry": broken}, {}, tmp_path)


def test_duplicates_as_a_greedy_loop_would(rng: np.random.Generator) -> None:
    """The parallel rule equals: best first, drop everything within the distance."""
    position, score = rng.uniform(0, 100, (400, 3)), rng.integers(0, 30, 400).astype(float)
    kept: list[int] = []
    for index in np.lexsort((np.arange(400), -score)):
        if all(np.linalg.norm(position[index] - position[other]) > 12.0 for other in kept):
            kept.append(int(index))
    found = keep_best_of_duplicates(position, score, 12.0)
    assert np.flatnonzero(found).tolist() == sorted(kept)
    assert keep_best_of_duplicates(position, score, 0.0).all()


def test_threshold_between_two_populations(rng: np.random.Generator) -> None:
    """Half bad, half good: the cut is where both are equally likely (0.3 by symmetry)."""
    scores = np.concatenate([rng.normal(0.2, 0.03, 3000), rng.normal(0.4, 0.03, 3000)])
    found = propose_threshold(scores)
    assert found.method == "two populations"
    assert found.threshold == pytest.approx(0.3, abs=0.01)
    assert found.separation == pytest.approx(0.2 / 0.03, rel=0.1)


def test_threshold_when_all_are_good(rng: np.random.Generator) -> None:
    """One population loses low outliers only, and so do few scores and equal scores."""
    found = propose_threshold(np.append(rng.normal(0.5, 0.02, 2000), 0.1))
    assert found.method == "one population"
    assert 0.1 < found.threshold < 0.46
    assert found.good_fraction > 0.99
    assert propose_threshold(np.array([0.4, 0.5, 0.6])).good_fraction == 1.0
    assert propose_threshold(np.full(100, 0.7)).good_fraction == 1.0
    with pytest.raises(ValueError, match="finite"):
        propose_threshold(np.array([np.nan]))


def test_elevation_trend_is_taken_out(rng: np.random.Generator) -> None:
    """Scores that fall with elevation have one median everywhere afterwards."""
    elevation = rng.uniform(0, 90, 4000)
    scores = 0.4 - 0.2 * elevation / 90 + rng.normal(0, 0.01, 4000)
    factor, centre, median = elevation_factors(scores, elevation)
    assert len(centre) == 8
    assert median[0] > 1.5 * median[-1]
    flat = scores * factor
    medians = [np.median(flat[(elevation >= a) & (elevation < a + 15)]) for a in range(0, 90, 15)]
    assert np.ptp(medians) < 0.03
    np.testing.assert_array_equal(elevation_factors(-scores, elevation)[0], 1.0)


def _flat_lattice(n: int = 20, spacing: float = 72.0) -> np.ndarray:
    i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    x, y = spacing * (i + 0.5 * j), spacing * np.sqrt(0.75) * j
    return np.stack([x.ravel(), y.ravel(), np.zeros(n * n)], axis=1)


def test_support_on_a_perfect_lattice(rng: np.random.Generator) -> None:
    """Inner sites have six neighbours, in any of the six equivalent poses; turned ones have none."""
    position = _flat_lattice()
    pose = Rotation.from_euler("z", 60.0 * rng.integers(0, 6, (400, 1)) + 17.0, degrees=True).as_matrix()
    rules = LatticeRules(72.0, 0.2, 10.0, 6)
    support, decoys = lattice_support(position, pose, rules, rng)
    inner = support.reshape(20, 20)[1:-1, 1:-1]
    np.testing.assert_array_equal(inner, 6)
    assert decoys.mean() < 1.2
    wrong = pose.copy()
    wrong[210] = pose[210] @ Rotation.from_euler("z", 30.0, degrees=True).as_matrix()
    assert lattice_support(position, wrong, rules, rng)[0][210] == 0
    assert lattice_support(position[:1], pose[:1], rules, rng)[0].tolist() == [0]


def test_without_a_lattice_scores_decide(rng: np.random.Generator) -> None:
    """Counts that are the same for good and bad leave the decision to the scores."""
    good = rng.random(4000) < 0.5
    scores = np.where(good, 0.4, 0.2) + 0.03 * rng.normal(size=4000)
    support, decoys = rng.poisson(0.4, (2, 4000))
    found = classify_with_lattice(scores, support, decoys)
    assert np.mean((found.good >= 0.5) == good) > 0.97


def test_holes_of_a_lattice_are_not_vouched_for(rng: np.random.Generator) -> None:
    """Sites whose score is that of nothing stay out, though all their neighbours agree with them."""
    position = np.concatenate([_flat_lattice(30), _flat_lattice(30) + rng.uniform(-30, 30, (900, 3))])
    spin = np.concatenate([np.zeros(900), rng.uniform(0, 360, 900)])[:, None]
    pose = Rotation.from_euler("z", spin, degrees=True).as_matrix()
    hole = np.concatenate([rng.random(900) < 0.15, np.ones(900, dtype=bool)])
    scores = np.where(hole, 1.0, 4.0) + 0.7 * rng.normal(size=1800)
    support, decoys = lattice_support(position, pose, LatticeRules(72.0, 0.2, 10.0, 6), rng)
    assert np.median(support[:900][hole[:900]]) >= 5
    kept = classify_with_lattice(scores, support, decoys).good >= 0.5
    assert kept[~hole].mean() > 0.97
    assert kept[:900][hole[:900]].mean() < 0.15
    assert kept[900:].mean() < 0.03


def _real_particles(shared_data: Path, name: str) -> ParticleSet:
    path = shared_data / "relion_10164" / "cryocat_relion5" / "R5_tutorial_run_data.star"
    return read_particles(path, symmetry="C6").of_series(name)


def _with_wrong_ones(
    real: ParticleSet, rng: np.random.Generator, separation: float, wrong: float
) -> ParticleSet:
    """Give real lattice positions noisy poses, each twice, and add wrong ones around them."""
    n = len(real)
    noise = Rotation.from_rotvec(np.deg2rad(3.0) * rng.normal(size=(n, 3)))
    sixths = Rotation.from_rotvec(np.outer(rng.integers(0, 6, n) * np.pi / 3, [0, 0, 1]))
    pose = real.rot_tomo_from_ref @ (noise * sixths).as_matrix()
    position = real.position_xyz_angstrom + 4.0 * rng.normal(size=(n, 3))
    score = 0.2 + 0.05 * separation + 0.05 * rng.normal(size=n)
    pick = rng.integers(0, n, int(wrong * n))
    step = rng.normal(size=(len(pick), 3)) * 40.0
    turn = Rotation.from_rotvec(np.outer(rng.uniform(0, 2 * np.pi, len(pick)), [0, 0, 1])).as_matrix()
    parts = [
        ParticleSet.create("TS_01", position, pose, object_id=0, score=score, symmetry="C6"),
        ParticleSet.create(
            "TS_01", position + 5.0, pose, object_id=0, score=score - 0.02 * rng.random(n), symmetry="C6"
        ),
        ParticleSet.create(
            "TS_01", position[pick] + step, pose[pick] @ turn, object_id=0,
            score=0.2 + 0.05 * rng.normal(size=len(pick)), symmetry="C6",
        ),
    ]  # fmt: skip
    return ParticleSet.concatenate(parts, renumber=True)


def _f1(found: ParticleSet, real: ParticleSet) -> float:
    near, index = cKDTree(real.position_xyz_angstrom).query(found.position_xyz_angstrom)
    hit = near < 24.0
    recall = len(np.unique(index[hit])) / len(real)
    precision = len(np.unique(index[hit])) / len(found)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize(("separation", "wrong", "bound"), [(4, 0.05, 0.98), (3, 1.0, 0.95), (2, 1.0, 0.9)])
def test_selection_on_a_real_lattice(
    shared_data: Path,
    tmp_path: Path,
    rng: np.random.Generator,
    separation: float,
    wrong: float,
    bound: float,
) -> None:
    """Real positions of EMPIAR-10164 among wrong ones: F1 by lattice and score beats score alone."""
    real = _real_particles(shared_data, "TS_01")
    given = _with_wrong_ones(real, rng, separation, wrong)
    result = run_stage("select", {"particles": {"TS_01": given}}, {}, tmp_path)
    together = _f1(result["particles"], real)
    assert together > bound
    alone = run_stage("select", {"particles": given}, {"lattice_neighbours_min": 0}, tmp_path)
    assert together > _f1(alone["particles"], real) - 0.01
    counts = result.ctx.tables["counts"]
    assert int(counts["n_given"][0]) == len(given)
    assert counts["n_given"][0] > counts["n_unique"][0] > counts["n_selected"][0]
    nearest = cKDTree(result["particles"].position_xyz_angstrom).query(
        result["particles"].position_xyz_angstrom, k=2
    )[0][:, 1]
    assert nearest.min() > 0.6 * 72.0
    assert set(result.ctx.curves) >= {"score_histogram", "lattice_neighbours_kept"}


def _cloud(rng: np.random.Generator, names: tuple[str, ...] = ("A", "B")) -> dict[str, ParticleSet]:
    return {
        name: ParticleSet.create(
            name,
            rng.uniform(-2000, 2000, (61, 3)),
            Rotation.random(61, rng=rng).as_matrix(),
            object_id=np.repeat([0, 1, 2], [20, 20, 21]),
            score=rng.normal(0.5, 0.01, 61),
        )
        for name in names
    }


@pytest.mark.parametrize("split", ["patch", "object", "random"])
def test_half_sets(split: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Halves are balanced; patches do not mix along y, objects are not cut."""
    params = {"half_set_split": split, "lattice_neighbours_min": 0, "score_threshold": -1.0}
    found = run_stage("select", {"particles": _cloud(rng)}, params, tmp_path)["particles"]
    assert len(found) > 110
    assert set(found.half_set.tolist()) == {1, 2}
    first, second = int((found.half_set == 1).sum()), int((found.half_set == 2).sum())
    assert abs(first - second) <= (2 if split != "object" else 25)
    for name in ("A", "B"):
        for number in (0, 1, 2):
            mine = found.take((found.tilt_series_id == name) & (found.object_id == number))
            y = mine.position_xyz_angstrom[:, 1]
            if split == "object":
                assert len(set(mine.half_set.tolist())) == 1
            elif split == "patch":
                one, two = y[mine.half_set == 1], y[mine.half_set == 2]
                assert one.max() < two.min() or two.max() < one.min()


def test_ids_stay_unique_over_series(tmp_path: Path, rng: np.random.Generator) -> None:
    """Series that count from 0 each get new ids; a set whose ids are unique keeps them."""
    params = {"lattice_neighbours_min": 0, "duplicate_distance_angstrom": 0.0, "score_threshold": -1.0}
    parts = _cloud(rng)
    found = run_stage("select", {"particles": parts}, params, tmp_path)["particles"]
    assert len(np.unique(found.particle_id)) == len(found) == 122
    own = parts["A"].with_columns(particle_id=1000 + np.arange(61))
    kept = run_stage("select", {"particles": own}, params, tmp_path)["particles"]
    assert kept.particle_id.tolist() == list(range(1000, 1061))


def test_selection_that_leaves_nothing(tmp_path: Path, rng: np.random.Generator) -> None:
    """An empty set and a threshold above all scores end in a named error with a hint."""
    parts = _cloud(rng)
    with pytest.raises(EmptyResultError, match="no particle is left"):
        run_stage("select", {"particles": parts}, {"score_threshold": 9.0}, tmp_path)
    nothing = {"A": parts["A"].take(np.zeros(61, dtype=bool))}
    with pytest.raises(EmptyResultError, match="empty"):
        run_stage("select", {"particles": nothing}, {}, tmp_path)
    mixed = parts | {"C": parts["A"].with_columns(symmetry="C6")}
    with pytest.raises(InputError, match="symmetry"):
        run_stage("select", {"particles": mixed}, {}, tmp_path)


def test_scores_that_are_not_numbers_are_left_out_and_said(tmp_path: Path, rng: np.random.Generator) -> None:
    """NaN scores fall, with a fallback in the record."""
    part = _cloud(rng)["A"]
    score = part.score.copy()
    score[:5] = np.nan
    params = {"lattice_neighbours_min": 0, "duplicate_distance_angstrom": 0.0, "score_threshold": -1.0}
    result = run_stage("select", {"particles": part.with_columns(score=score)}, params, tmp_path)
    assert len(result["particles"]) == 56
    assert any("5 particles" in text for text in result.ctx.fallbacks)
