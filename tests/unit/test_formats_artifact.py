"""Artifacts survive being written, read and moved, and refuse what they must."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from staproj.errors import FormatError
from staproj.formats.artifact import model_class, read_artifact, write_artifact
from staproj.kinds import ArtifactKind
from staproj.model.geometry import TiltGeometry
from staproj.model.microscope import Microscope
from staproj.model.particles import ParticleSet
from staproj.model.tilt_series import MovieSeries, TiltSeries
from staproj.model.tomogram import Tomograms


def _series(stack: Path, odd: Path | None = None) -> TiltSeries:
    n = 5
    return TiltSeries(
        tilt_series_id="TS_01",
        stack_path=stack,
        stage_tilt_deg=np.linspace(-6.0, 6.0, n),
        acquisition_index=np.array([3, 1, 0, 2, 4]),
        exposure_e_per_angstrom2=np.full(n, 3.0),
        pre_exposure_e_per_angstrom2=np.arange(n) * 3.0,
        nominal_defocus_um=np.full(n, 2.5),
        view_used=np.array([True, True, False, True, True]),
        pixel_size_angstrom=1.35,
        image_shape_yx=(97, 130),
        tilt_axis_deg=85.3,
        microscope=Microscope(voltage_kv=200.0),
        odd_stack_path=odd,
    )


@pytest.mark.parametrize("kind", list(ArtifactKind))
def test_every_kind_has_a_model_class(kind: ArtifactKind) -> None:
    """The class named for a kind can be imported and is a dataclass."""
    assert hasattr(model_class(kind), "__dataclass_fields__")


def test_fields_come_back_with_value_and_type(tmp_path: Path) -> None:
    """Arrays, scalars, tuples, nested dataclasses, paths and absent options survive."""
    path = tmp_path / "runs" / "r0001-x" / "out" / "tilt_series.h5"
    path.parent.mkdir(parents=True)
    write_artifact(path, _series(path.parent / "stack.mrc"), project_root=tmp_path)

    back = read_artifact(path, TiltSeries, project_root=tmp_path)

    assert back.image_shape_yx == (97, 130)
    assert back.view_used.dtype == bool
    assert back.view_used.tolist() == [True, True, False, True, True]
    assert back.microscope == Microscope(voltage_kv=200.0)
    assert back.stack_path == path.parent / "stack.mrc"
    assert back.odd_stack_path is None
    np.testing.assert_array_equal(back.stage_tilt_deg, np.linspace(-6.0, 6.0, 5))


def test_a_moved_project_finds_its_files(tmp_path: Path) -> None:
    """Paths beside the artifact and elsewhere in the project follow the project; outside ones stay."""
    root = tmp_path / "project"
    out = root / "runs" / "r0001-import" / "out"
    out.mkdir(parents=True)
    movies = MovieSeries(
        tilt_series_id="TS_01",
        movie_paths=(root / "session" / "a.tif", tmp_path / "elsewhere" / "b.tif"),
        stage_tilt_deg=np.zeros(2),
        acquisition_index=np.arange(2),
        exposure_e_per_angstrom2=np.ones(2),
        pre_exposure_e_per_angstrom2=np.zeros(2),
        n_frames=np.array([6, 6]),
        nominal_defocus_um=np.zeros(2),
        pixel_size_angstrom=1.0,
        image_shape_yx=(4, 6),
        tilt_axis_deg=0.0,
    )
    write_artifact(out / "movies.h5", movies, project_root=root)
    moved = tmp_path / "copy"
    shutil.move(root, moved)

    back = read_artifact(
        moved / "runs" / "r0001-import" / "out" / "movies.h5", MovieSeries, project_root=moved
    )

    assert back.movie_paths == (moved / "session" / "a.tif", tmp_path / "elsewhere" / "b.tif")
    assert back.gain_path is None


def test_text_tables_and_empty_tables_survive(tmp_path: Path) -> None:
    """Series names of unequal length, and a set without particles, come back as they were."""
    eye = np.broadcast_to(np.eye(3), (2, 3, 3))
    full = ParticleSet.create(["TS_1", "Ä_10"], np.ones((2, 3)), eye, symmetry="C6")
    empty = ParticleSet.create("TS_1", np.zeros((0, 3)), np.zeros((0, 3, 3)))
    for name, table in (("full", full), ("empty", empty)):
        write_artifact(tmp_path / f"{name}.h5", table, project_root=tmp_path)

    back = read_artifact(tmp_path / "full.h5", ParticleSet, project_root=tmp_path)
    none = read_artifact(tmp_path / "empty.h5", ParticleSet, project_root=tmp_path)

    assert back.tilt_series_id.tolist() == ["TS_1", "Ä_10"]
    assert back.symmetry == "C6"
    assert len(none) == 0
    assert none.rot_tomo_from_ref.shape == (0, 3, 3)


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    """A file holds no time or order of its own: early cut-off relies on it."""
    geometry = TiltGeometry.nominal(
        "TS", np.linspace(-60, 60, 41), 85.3, pixel_size_angstrom=1.35, image_shape_yx=(10, 11)
    )
    for name in ("a.h5", "b.h5"):
        write_artifact(tmp_path / name, geometry, project_root=tmp_path)

    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_tuple_of_no_paths_is_read_as_empty(tmp_path: Path) -> None:
    """Optional tuples of paths may be empty."""
    tomograms = Tomograms("TS", (tmp_path / "bin4.mrc",), (5.4,), (4,), "dark", "flip", True)
    write_artifact(tmp_path / "t.h5", tomograms, project_root=tmp_path)

    back = read_artifact(tmp_path / "t.h5", Tomograms, project_root=tmp_path)

    assert back.paths == (tmp_path / "bin4.mrc",)
    assert back.binning == (4,)
    assert back.odd_paths == ()


def test_reference_into_another_run_is_refused(tmp_path: Path) -> None:
    """An artifact that points into another run would break when runs are cleaned up."""
    out = tmp_path / "runs" / "r0002-b" / "out"
    out.mkdir(parents=True)
    foreign = _series(tmp_path / "runs" / "r0001-a" / "out" / "stack.mrc")

    with pytest.raises(ValueError, match="another run"):
        write_artifact(out / "tilt_series.h5", foreign, project_root=tmp_path)


@pytest.mark.parametrize("damage", ["missing", "garbage", "wrong class", "lost field", "escape"])
def test_damaged_files_give_one_clear_error(tmp_path: Path, damage: str) -> None:
    """Whatever is wrong with the file, the error names it."""
    path = tmp_path / "x.h5"
    write_artifact(path, _series(tmp_path / "stack.mrc"), project_root=tmp_path)
    if damage == "missing":
        path.unlink()
    elif damage == "garbage":
        path.write_bytes(b"\x00" * 100)
    elif damage != "wrong class":
        with h5py.File(path, "r+") as handle:
            if damage == "lost field":
                del handle["view_used"]
            else:
                handle.attrs["stack_path"] = "./../../etc/passwd"

    wanted = TiltGeometry if damage == "wrong class" else TiltSeries
    with pytest.raises(FormatError) as caught:
        read_artifact(path, wanted, project_root=tmp_path)

    assert str(tmp_path) in str(caught.value)
