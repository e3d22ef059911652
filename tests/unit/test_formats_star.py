"""STAR files and RELION 5 folders: nothing is lost on the way, garbage is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from staproj.errors import FormatError, InputError
from staproj.formats.relion5 import (
    Relion5Series,
    half_pixel_of_odd_sizes,
    read_particles,
    read_tilt_series,
    read_tomograms,
    write_particles,
    write_tomograms,
)
from staproj.formats.star import loop, read_star, require_columns, write_star
from staproj.model.ctf import CtfModel
from staproj.model.geometry import TiltGeometry
from staproj.model.microscope import Microscope
from staproj.model.particles import ParticleSet


def test_numbers_and_names_survive(tmp_path: Path, rng: np.random.Generator) -> None:
    """Doubles come back to the last bit; 01 stays a name; text with blanks stays one value."""
    values = np.concatenate([rng.normal(size=20) * 10.0 ** rng.integers(-12, 12, 20), [0.0, -1e-300]])
    table = loop({"rlnTomoName": ["01"] * 22, "rlnX": values, "rlnNote": ["two words"] * 22})
    write_star(
        tmp_path / "a.star", {"optics": {"rlnVoltage": 300.0, "rlnTomoName": "007"}, "particles": table}
    )
    back = read_star(tmp_path / "a.star")
    np.testing.assert_array_equal(back["particles"]["rlnX"].to_numpy(), values)
    assert back["particles"]["rlnTomoName"].tolist() == ["01"] * 22
    assert back["particles"]["rlnNote"].tolist() == ["two words"] * 22
    assert back["optics"] == {"rlnVoltage": 300.0, "rlnTomoName": "007"}


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    """There is no date in the file, and nothing else is left in the folder."""
    for name in ("a.star", "b.star"):
        write_star(tmp_path / name, {"": loop({"rlnX": [1.5, 2.0]})})
    assert (tmp_path / "a.star").read_bytes() == (tmp_path / "b.star").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.star", "b.star"]


def test_garbage_is_refused(tmp_path: Path) -> None:
    """Missing file, no block, ragged rows, missing block, missing column, text for numbers: named errors."""
    with pytest.raises(InputError, match="does not exist"):
        read_star(tmp_path / "none.star")
    bad = tmp_path / "bad.star"
    for text in ("just text\n", "", "data_x\n", "data_x\n\nloop_\n_a #1\n_b #2\n1 2\n3 4 5\n"):
        bad.write_text(text)
        with pytest.raises(FormatError) as caught:
            read_star(bad)
        assert caught.value.where == str(bad)
    bad.write_bytes(b"\x00\xff\xfe" * 100)
    with pytest.raises(FormatError):
        read_star(bad)
    with pytest.raises(FormatError, match="missing"):
        require_columns(None, ("a",), bad, "particles")
    with pytest.raises(FormatError, match="_b"):
        require_columns({"a": 1}, ("a", "b"), bad, "particles")
    rows = "TS 1 2 3 10 20 thirty\n"
    names = ["rlnTomoName"] + [f"rlnCenteredCoordinate{a}Angst" for a in "XYZ"]
    names += ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
    header = "".join(f"_{name} #{i}\n" for i, name in enumerate(names, 1))
    bad.write_text("data_particles\n\nloop_\n" + header + rows)
    with pytest.raises(FormatError, match="rlnAnglePsi"):
        read_particles(bad)
    bad.write_text("data_particles\n\nloop_\n" + header + rows.replace("thirty", "nan"))
    with pytest.raises(FormatError, match="NaN"):
        read_particles(bad)


def _series(name: str, size: tuple[int, int, int], rng: np.random.Generator) -> Relion5Series:
    n = 7
    geometry = TiltGeometry(
        name,
        np.linspace(-55, 60, n),
        rng.normal(size=n),
        85 + rng.normal(size=n),
        rng.normal(0, 30, (n, 2)),
        np.ones(n),
        np.array([1, 1, 0, 1, 1, 1, 1], dtype=bool),
        2.17,
        (93, 100),
    )
    u = rng.uniform(2, 5, n)
    ctf = CtfModel(
        name, u, u - 0.1, rng.uniform(-90, 90, n), np.zeros(n), np.zeros(n), np.zeros(n), 1,
        Microscope(200.0, 2.0, 0.1),
    )  # fmt: skip
    names = tuple(f"{i + 1:03d}@{name}.mrcs" for i in range(n))
    return Relion5Series(geometry, ctf, geometry.tilt_deg - 9.0, 3.0 * rng.permutation(n), names, size)


@pytest.mark.parametrize("size", [(100, 90, 80), (101, 91, 81), (100, 91, 80)])
def test_round_trip_of_a_folder(tmp_path: Path, rng: np.random.Generator, size: tuple[int, int, int]) -> None:
    """Geometry, CTF, exposure and particles come back, for even and odd tomograms; unused views do not."""
    series = {name: _series(name, size, rng) for name in ("01", "02")}
    particles = ParticleSet.concatenate(
        [
            ParticleSet.create(
                name,
                rng.uniform(-80, 80, (9, 3)),
                Rotation.random(9, rng=rng).as_matrix(),
                score=rng.random(9),
                half_set=1 + np.arange(9) % 2,
            )
            for name in series
        ],
        renumber=True,
    )
    write_tomograms(tmp_path, series)
    write_particles(tmp_path / "particles.star", particles, series)
    back = read_tomograms(tmp_path / "tomograms.star", dict.fromkeys(series, (93, 100)))
    for name, one in series.items():
        use = one.geometry.view_used
        got = back[name]
        point = rng.uniform(-50, 50, (4, 3))
        np.testing.assert_allclose(got.geometry.project(point), one.geometry.project(point)[use], atol=1e-9)
        assert got.ctf is not None
        assert one.ctf is not None
        np.testing.assert_allclose(got.ctf.defocus_u_um, one.ctf.defocus_u_um[use], rtol=1e-12)
        assert got.ctf.microscope == one.ctf.microscope
        assert got.ctf.defocus_hand == 1
        np.testing.assert_array_equal(got.pre_exposure_e_per_angstrom2, one.pre_exposure_e_per_angstrom2[use])
        assert got.tomogram_size_xyz_px == size
    read = read_particles(tmp_path / "particles.star", tomogram_size_xyz_px=dict.fromkeys(series, size))
    np.testing.assert_allclose(read.position_xyz_angstrom, particles.position_xyz_angstrom, atol=1e-9)
    np.testing.assert_allclose(read.rot_tomo_from_ref, particles.rot_tomo_from_ref, atol=1e-9)
    np.testing.assert_array_equal(read.half_set, particles.half_set)
    np.testing.assert_array_equal(read.score, particles.score)
    assert read.tilt_series_id.tolist() == particles.tilt_series_id.tolist()


def test_half_a_pixel_of_odd_tomograms() -> None:
    """Between size / 2.0 and size // 2 lies half a pixel on odd axes only."""
    np.testing.assert_allclose(half_pixel_of_odd_sizes((100, 101, 7), 2.0), [0.0, 1.0, 1.0])


def test_origins_and_subtomogram_angles_are_baked_in(tmp_path: Path) -> None:
    """Position = coordinate - A_sub origin, pose = A_sub A: a quarter turn about z worked out by hand."""
    columns = {
        "rlnTomoName": ["TS"],
        **{f"rlnCenteredCoordinate{a}Angst": [v] for a, v in zip("XYZ", (10.0, 20.0, 30.0), strict=True)},
        **{f"rlnOrigin{a}Angst": [v] for a, v in zip("XYZ", (1.0, 2.0, 3.0), strict=True)},
        **{f"rlnAngle{a}": [0.0] for a in ("Rot", "Tilt", "Psi")},
        **{
            f"rlnTomoSubtomogram{a}": [v]
            for a, v in zip(("Rot", "Tilt", "Psi"), (0.0, 0.0, -90.0), strict=True)
        },
    }
    write_star(tmp_path / "p.star", {"particles": loop(columns)})
    read = read_particles(tmp_path / "p.star")
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(read.rot_tomo_from_ref[0], quarter, atol=1e-12)
    np.testing.assert_allclose(read.position_xyz_angstrom[0], [10.0 + 2.0, 20.0 - 1.0, 27.0])
    assert read.half_set.tolist() == [0]


def test_mistakes_in_folders_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    """Particles of unknown series, mixed optics in one group, unknown image size, missing columns."""
    series = {"A": _series("A", (10, 10, 10), rng)}
    lost = ParticleSet.create("B", np.zeros((1, 3)), np.eye(3)[None])
    with pytest.raises(InputError, match="B"):
        write_particles(tmp_path / "p.star", lost, series)
    other = series["A"]
    other = replace(other, geometry=replace(other.geometry, pixel_size_angstrom=3.0))
    mine = ParticleSet.create("A", np.zeros((1, 3)), np.eye(3)[None])
    with pytest.raises(InputError, match="optics group"):
        write_particles(tmp_path / "p.star", mine, series | {"B": other})
    write_tomograms(tmp_path, series)
    with pytest.raises(InputError, match="image size"):
        read_tomograms(tmp_path / "tomograms.star", {})
    write_star(tmp_path / "ts.star", {"A": loop({"rlnMicrographName": ["1@a"]})})
    with pytest.raises(FormatError, match="rlnTomoYTilt"):
        read_tilt_series(
            tmp_path / "ts.star",
            "A",
            pixel_size_angstrom=1.0,
            image_shape_yx=(4, 4),
            tomogram_size_xyz_px=(4, 4, 4),
        )


def test_unassigned_half_sets_are_left_out(tmp_path: Path, rng: np.random.Generator) -> None:
    """A column of zeros would be an error to RELION."""
    series = {"A": _series("A", (10, 10, 10), rng)}
    write_particles(
        tmp_path / "p.star", ParticleSet.create("A", np.zeros((2, 3)), np.tile(np.eye(3), (2, 1, 1))), series
    )
    assert "rlnRandomSubset" not in read_star(tmp_path / "p.star")["particles"]
