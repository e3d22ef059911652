"""import_movies: what it makes of a session, and every way a session can be broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from staproj.errors import FormatError, InputError, StaprojError
from staproj.formats.mrc import write_mrc
from staproj.testing.stage_harness import StageResult, run_stage
from tests.unit.import_sets import ANGLES, movie_name, write_mdoc, write_movies


def _run(folder: Path, **params: Any) -> StageResult:
    given = {"movies": [str(folder / "*.mrc")], "mdoc": str(folder / "*.mdoc")} | params
    return run_stage("import_movies", {}, given, folder / "work")


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Return a folder with one good series, TS_01."""
    write_movies(tmp_path, "TS_01")
    write_mdoc(tmp_path, "TS_01")
    return tmp_path


def _fails(folder: Path, says: str, *also: str, **params: Any) -> StaprojError:
    with pytest.raises((InputError, FormatError), match=says) as caught:
        _run(folder, **params)
    text = str(caught.value)
    assert caught.value.where
    assert caught.value.hint
    for word in also:
        assert word in text
    return caught.value


def test_views_are_sorted_and_numbered(session: Path) -> None:
    """Views come by rising tilt with their movies, order in time, exposures and pre-exposures."""
    series = _run(session)["movies"]["TS_01"]
    np.testing.assert_allclose(series.stage_tilt_deg, [-5.99, -2.99, 0.01, 3.01, 6.01])
    names = [movie_name("TS_01", ANGLES.index(angle)) for angle in sorted(ANGLES)]
    assert [path.name for path in series.movie_paths] == names
    np.testing.assert_array_equal(series.acquisition_index, [3, 2, 0, 1, 4])
    np.testing.assert_allclose(series.exposure_e_per_angstrom2, 3.0)
    np.testing.assert_allclose(series.pre_exposure_e_per_angstrom2, [9, 6, 0, 3, 12])
    np.testing.assert_allclose(series.nominal_defocus_um, 2.5)
    assert series.tilt_axis_deg == pytest.approx(85.3)
    assert series.pixel_size_angstrom == pytest.approx(1.35)
    assert series.image_shape_yx == (12, 16)
    assert series.microscope.voltage_kv == 300.0


def test_tiff_movies_for_an_mdoc_that_says_mrc(tmp_path: Path) -> None:
    """Movies that were converted are found by their stem; the pixel size comes from the mdoc."""
    write_movies(tmp_path, "TS_02", suffix=".tif")
    write_mdoc(tmp_path, "TS_02")
    result = _run(tmp_path, movies=str(tmp_path / "*.tif"))
    assert result["movies"]["TS_02"].pixel_size_angstrom == pytest.approx(1.35)
    assert all(path.suffix == ".tif" for path in result["movies"]["TS_02"].movie_paths)


def test_pixel_size_of_a_binned_mdoc(tmp_path: Path) -> None:
    """An mdoc of fourfold binned, turned images (as the real TS_01 has) gives a quarter of its own."""
    write_movies(tmp_path, "TS_01", pixel=0.0, shape=(2, 40, 48))
    write_mdoc(tmp_path, "TS_01", header={"PixelSpacing": 5.4, "ImageSize": "10 12"})
    assert _run(tmp_path)["movies"]["TS_01"].pixel_size_angstrom == pytest.approx(1.35)


def test_exposure_overrides(session: Path) -> None:
    """One number, or one a series; the mdoc's own sums no longer count then."""
    write_mdoc(session, "TS_01", section={"ExposureDose": 0})
    for given in (2.4, {"TS_01": 2.4, "TS_99": 1.0}):
        series = _run(session, exposure_e_per_angstrom2=given)["movies"]["TS_01"]
        np.testing.assert_allclose(series.exposure_e_per_angstrom2, 2.4)
        np.testing.assert_allclose(series.pre_exposure_e_per_angstrom2, 2.4 * np.array([3, 2, 0, 1, 4]))


def test_missing_movie_may_be_skipped(session: Path) -> None:
    """A view whose movie is lost is left out on demand; its exposure still counts for later views."""
    (session / movie_name("TS_01", 1)).unlink()
    result = _run(session, skip_missing_movies=True)
    series = result["movies"]["TS_01"]
    assert series.n_views == 4
    np.testing.assert_array_equal(series.acquisition_index, [2, 1, 0, 3])
    np.testing.assert_allclose(series.pre_exposure_e_per_angstrom2, [9, 6, 0, 12])
    assert "1 views have no movie" in result.ctx.fallbacks[0]


def test_order_of_the_file_is_recorded_as_a_fallback(session: Path) -> None:
    """Without times the order of the file is taken, and said so."""
    write_mdoc(session, "TS_01", section={"DateTime": None})
    result = _run(session)
    assert "order of the file" in result.ctx.fallbacks[0]
    np.testing.assert_array_equal(result["movies"]["TS_01"].acquisition_index, [3, 2, 0, 1, 4])


@pytest.mark.parametrize("exposure", [0, None])
def test_zero_or_missing_exposure(session: Path, exposure: object) -> None:
    """Exposure 0 or none without an override names the series and the manifest key."""
    write_mdoc(session, "TS_01", section={"ExposureDose": exposure})
    _fails(session, "5 of 5 views is zero", "TS_01", "[microscope] exposure_e_per_angstrom2 = { TS_01 =")


def test_missing_movie(session: Path) -> None:
    """A movie that is not there names movie, section and mdoc."""
    gone = movie_name("TS_01", 2)
    (session / gone).unlink()
    _fails(session, "not among the files", gone, "[ZValue = 2]", "TS_01.mrc.mdoc")


def test_mdoc_without_matching_movies(session: Path) -> None:
    """An mdoc whose movies are all elsewhere is an error also where missing movies may be skipped."""
    write_mdoc(session, "TS_07")
    _fails(session, "TS_07_000", "TS_07.mrc.mdoc")
    _fails(session, "none of the 5 movies", "TS_07", skip_missing_movies=True)


def test_movies_without_mdoc(session: Path) -> None:
    """Movies that no mdoc names are an error, or ignored on demand."""
    write_movies(session, "TS_08")
    _fails(session, "5 of 10 movies are in no mdoc", "TS_08_000", "ignore_other_movies")
    assert list(_run(session, ignore_other_movies=True)["movies"]) == ["TS_01"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda raw: raw[:-100], "truncated"),
        (lambda raw: b"this is no movie " * 200, "not an MRC file"),
        (lambda raw: raw + raw[1024:], "wrong size"),
        (lambda raw: b"", "truncated"),
    ],
)
def test_damaged_movies(session: Path, damage: Any, says: str) -> None:
    """Truncated, foreign, wrongly long and empty movies are named."""
    path = session / movie_name("TS_01", 3)
    path.write_bytes(damage(path.read_bytes()))
    _fails(session, says, path.name)


def test_movies_of_another_size(session: Path) -> None:
    """A movie of another frame size names both sizes."""
    path = session / movie_name("TS_01", 4)
    write_mrc(path, np.ones((2, 12, 18), dtype=np.float32), 1.35)
    _fails(session, "18 x 12", path.name, "16 x 12")


def test_wrong_number_of_frames(session: Path) -> None:
    """A movie with fewer frames than the mdoc says is refused, or accepted on demand."""
    path = session / movie_name("TS_01", 0)
    write_mrc(path, np.ones((1, 12, 16), dtype=np.float32), 1.35)
    _fails(session, "1 frames, the mdoc says 2", path.name, "check_frame_count")
    assert _run(session, check_frame_count=False)["movies"]["TS_01"].n_frames.tolist() == [2, 2, 1, 2, 2]


def test_pixel_size_zero(session: Path) -> None:
    """Pixel size 0 everywhere names the key to set; setting it to 0 is refused at once."""
    write_movies(session, "TS_01", pixel=0.0)
    write_mdoc(session, "TS_01", header={"PixelSpacing": 0})
    _fails(session, "pixel size is 0", "[microscope] pixel_size_angstrom")
    assert _run(session, pixel_size_angstrom=1.7)["movies"]["TS_01"].pixel_size_angstrom == 1.7
    with pytest.raises(ValidationError, match="greater than 0"):
        _run(session, pixel_size_angstrom=0.0)


def test_pixel_sizes_that_contradict(session: Path) -> None:
    """Header and mdoc that differ are an error, never a silent choice."""
    write_movies(session, "TS_01", pixel=2.7)
    _fails(session, "2.7 Å in the header, 1.35 Å by the mdoc", "pixel_size_angstrom")


def test_duplicate_angles(session: Path) -> None:
    """Two sections at one angle are named."""
    write_mdoc(session, "TS_01", angles=(0.0, 3.0, -3.0, 3.0, 6.0))
    _fails(session, "same tilt angle 3.01", "[ZValue = 1]", "[ZValue = 3]")


def test_two_movies_of_one_name(session: Path) -> None:
    """One name in two folders is ambiguous."""
    (session / "copy").mkdir()
    write_movies(session / "copy", "TS_01")
    _fails(session, "2 movies are called", movies=[str(session / "*.mrc"), str(session / "copy" / "*.mrc")])


def test_two_mdocs_of_one_series(session: Path) -> None:
    """Two mdoc files of one series are ambiguous."""
    (session / "TS_01.mdoc").write_text((session / "TS_01.mrc.mdoc").read_text())
    _fails(session, "two mdoc files stand for tilt series TS_01")


def test_patterns_that_match_nothing(session: Path) -> None:
    """Unset patterns and patterns without files name the parameter."""
    _fails(session, "no files were named", "'movies'", movies=[])
    _fails(session, "no file matches", "'mdoc'", mdoc=str(session / "none*.mdoc"))
    _fails(session, "no file matches", "'gain'", gain=str(session / "gain.mrc"))


def test_gain_reference_of_another_size(session: Path) -> None:
    """A gain reference that does not fit the frames is refused at import."""
    write_mrc(session / "gain.map", np.ones((16, 12), dtype=np.float32), 1.0)
    _fails(session, "gain reference is 12 x 16", "gain.map", gain=str(session / "gain.map"))
    write_mrc(session / "gain.map", np.ones((12, 16), dtype=np.float32), 1.0)
    gain = _run(session, gain=str(session / "gain.map"))["movies"]["TS_01"].gain_path
    assert gain is not None
    assert gain.name == "gain.map"


def test_real_mdoc_of_empiar_10164(shared_data: Path, tmp_path: Path) -> None:
    """The real TS_01 mdoc (zero exposure, Windows paths): right order, pixel size and axis."""
    source = shared_data / "mdoc" / "TS_01.mrc.mdoc"
    (tmp_path / source.name).write_bytes(source.read_bytes())
    for line in source.read_text().splitlines():
        if line.startswith("SubFramePath"):
            # A sixteenth of the real frames keeps their proportions; 1.35 Å is then 21.6 Å.
            write_mrc(
                tmp_path / line.split("\\")[-1],
                np.ones((8, 232, 240), dtype=np.float16),
                0.0,
                dtype=np.float16,
            )
    _fails(tmp_path, "41 of 41 views is zero", "TS_01")
    series = _run(tmp_path, exposure_e_per_angstrom2={"TS_01": 2.4})["movies"]["TS_01"]
    assert series.n_views == 41
    assert series.pixel_size_angstrom == pytest.approx(21.6)
    assert series.tilt_axis_deg == pytest.approx(85.3)
    assert series.pre_exposure_e_per_angstrom2.max() == pytest.approx(96.0)
    assert series.movie_paths[20].name == "TS_01_000_0.0.mrc"
    assert np.all(np.diff(series.stage_tilt_deg) > 0)
