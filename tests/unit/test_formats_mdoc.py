"""SerialEM metadata, of real microscopes where it is at hand."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from staproj.errors import FormatError, InputError
from staproj.formats.mdoc import acquisition_order, parse_time, read_mdoc, series_id

HEADER = "PixelSpacing = 5.4\nVoltage = 300\nImageSize = 924 958\n\n"
TITLE = "[T =     Tilt axis angle = 85.3, binning = 4  spot = 8  camera = 2]\n\n"


def _mdoc(tmp_path: Path, text: str, name: str = "TS_01.mrc.mdoc") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def _section(number: int, tilt: float, *lines: str) -> str:
    return "\n".join([f"[ZValue = {number}]", f"TiltAngle = {tilt}", *lines, "", ""])


def test_real_series(shared_data: Path) -> None:
    """The mdoc of EMPIAR-10164 TS_01: 41 views, zero exposure, order by time, axis from the title."""
    mdoc = read_mdoc(shared_data / "mdoc" / "TS_01.mrc.mdoc")
    assert mdoc.tilt_series_id == "TS_01"
    assert len(mdoc.sections) == 41
    assert mdoc.tilt_axis_deg == pytest.approx(85.3)
    assert mdoc.pixel_size_angstrom == pytest.approx(5.4)
    assert mdoc.image_size_xy == (924, 958)
    first = mdoc.sections[0]
    assert first.movie_name == "TS_01_000_0.0.mrc"
    assert first.n_frames == 8
    assert first.exposure_e_per_angstrom2 is None
    assert first.nominal_defocus_um == pytest.approx(4.0)
    order = acquisition_order(mdoc)
    assert order.source == "DateTime"
    assert order.prior_e_per_angstrom2 is None
    np.testing.assert_array_equal(order.acquisition_index, np.arange(41))


def test_prior_record_dose_orders_a_sorted_file(shared_data: Path) -> None:
    """A file sorted by tilt (cryoCAT's 017) is ordered by PriorRecordDose, which is also the pre-exposure."""
    mdoc = read_mdoc(shared_data / "mdoc" / "cryocat_TS_017" / "017.mdoc")
    order = acquisition_order(mdoc)
    assert order.source == "PriorRecordDose"
    assert order.prior_e_per_angstrom2 is not None
    tilt = np.array([section.tilt_deg for section in mdoc.sections])
    by_time = tilt[np.argsort(order.acquisition_index)]
    assert by_time[0] == pytest.approx(8.0, abs=0.1)  # the scheme starts at 8 deg, says its title
    assert np.all(np.diff(order.prior_e_per_angstrom2[np.argsort(order.acquisition_index)]) > 0)


def test_rotation_angle_is_ninety_more_than_the_axis(shared_data: Path) -> None:
    """Every real file agrees: axis = RotationAngle - 90, so that is used where no title says it."""
    found = 0
    for path in sorted((shared_data / "mdoc").rglob("*.mdoc")):
        try:
            mdoc = read_mdoc(path)
        except FormatError:
            continue
        rotation = mdoc.sections[0].number_of("RotationAngle")
        title = mdoc.tilt_axis_deg
        if rotation is None or title is None or not mdoc.titles or "ontage" in path.name:
            continue
        found += 1
        assert abs((rotation - title - 90.0 + 180.0) % 360.0 - 180.0) < 0.5, path.name
    assert found >= 4


def test_tomography5_file(shared_data: Path) -> None:
    """Thermo Fisher's flavour: TiltAxisAngle, empty values, forward slashes, no brackets missing."""
    mdoc = read_mdoc(shared_data / "mdoc" / "Position_12.mdoc")
    assert mdoc.tilt_axis_deg == pytest.approx(-174.23)
    assert mdoc.sections[0].movie_name == "Position_12_001_-10.00_20231020_234209_EER.eer"
    assert mdoc.sections[0].nominal_defocus_um == pytest.approx(5.5)


def test_axis_without_title(tmp_path: Path) -> None:
    """Without a title the axis comes from RotationAngle, wrapped to within 180 deg."""
    path = _mdoc(tmp_path, HEADER + _section(0, 0.0, "RotationAngle = -100.0"))
    assert read_mdoc(path).tilt_axis_deg == pytest.approx(170.0)
    assert read_mdoc(_mdoc(tmp_path, HEADER + _section(0, 0.0))).tilt_axis_deg is None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (r"D:\DATA\frames\a_0.0.mrc", "a_0.0.mrc"),
        (r"\\server\share\a.tif", "a.tif"),
        ("/data/frames/a.eer", "a.eer"),
        (r"X:/mixed\a b.mrc", "a b.mrc"),
        ("", None),
    ],
)
def test_movie_names(tmp_path: Path, path: str, name: str | None) -> None:
    """Names of movies come from Windows, network and other paths."""
    mdoc = read_mdoc(_mdoc(tmp_path, HEADER + _section(0, 0.0, f"SubFramePath = {path}")))
    assert mdoc.sections[0].movie_name == name


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("08-Oct-21  07:47:29", datetime.datetime(2021, 10, 8, 7, 47, 29)),
        ("30-Nov-2015 15:21:38", datetime.datetime(2015, 11, 30, 15, 21, 38)),
        ("8-OCT-2021  7:47:29", datetime.datetime(2021, 10, 8, 7, 47, 29)),
        ("2021-10-08 07:47", None),
        ("31-Feb-21 10:00:00", None),
        ("", None),
    ],
)
def test_times(text: str, time: datetime.datetime | None) -> None:
    """Two- and four-digit years are read; anything else is unknown, not wrong."""
    assert parse_time(text) == time


def test_order_falls_back_step_by_step(tmp_path: Path) -> None:
    """PriorRecordDose, else DateTime (also over midnight), else the order of the file."""
    tilts = (3.0, 0.0, -3.0)
    prior = [f"PriorRecordDose = {value}" for value in (6.0, 0.0, 3.0)]
    clock = ("01-Jan-21  00:00:10", "31-Dec-20  23:58:00", "31-Dec-2020  23:59:00")
    times = [f"DateTime = {value}" for value in clock]
    for lines, source, index in (
        (list(zip(prior, times, strict=True)), "PriorRecordDose", [2, 0, 1]),
        ([(one,) for one in times], "DateTime", [2, 0, 1]),
        ([(times[0],), (), (times[2],)], "file", [0, 1, 2]),
        ([("PriorRecordDose = 0",)] * 3, "file", [0, 1, 2]),
    ):
        body = "".join(
            _section(i, tilt, *one) for i, (tilt, one) in enumerate(zip(tilts, lines, strict=True))
        )
        order = acquisition_order(read_mdoc(_mdoc(tmp_path, HEADER + TITLE + body)))
        assert order.source == source
        np.testing.assert_array_equal(order.acquisition_index, index)


@pytest.mark.parametrize("exposure", ["ExposureDose = 0", "ExposureDose =", "ExposureDose = NaN", ""])
def test_unknown_exposure(tmp_path: Path, exposure: str) -> None:
    """Zero, empty, NaN and missing exposures are all unknown."""
    mdoc = read_mdoc(_mdoc(tmp_path, HEADER + _section(0, 0.0, exposure)))
    assert mdoc.sections[0].exposure_e_per_angstrom2 is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("just words\nand more\n", "not an mdoc"),
        (HEADER, "no \\[ZValue"),
        ("T = SerialEM\nVoltage = 300\n\n[FrameSet = 0]\nTiltAngle = 8\n", "no \\[ZValue"),
        (HEADER + "[ZValue = 0]\nExposureDose = 3\n", "no TiltAngle"),
        (HEADER + "[ZValue = 0]\nTiltAngle = NaN\n", "no TiltAngle"),
    ],
)
def test_files_that_are_no_tilt_series(tmp_path: Path, text: str, says: str) -> None:
    """Foreign files, montages, single-movie metadata and sections without an angle are named."""
    path = _mdoc(tmp_path, text)
    with pytest.raises(FormatError, match=says) as caught:
        read_mdoc(path)
    assert str(path) in str(caught.value.where)
    assert caught.value.hint


def test_missing_file(tmp_path: Path) -> None:
    """A missing file is an InputError."""
    with pytest.raises(InputError, match="no such file"):
        read_mdoc(tmp_path / "none.mdoc")


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("TS_01.mrc.mdoc", "TS_01"),
        ("TS_01.st.mdoc", "TS_01"),
        ("TS_01.mdoc", "TS_01"),
        ("29.08.14_tomo01.st", "29.08.14_tomo01"),
        ("TS_01.rawtlt", "TS_01"),
    ],
)
def test_series_names(name: str, series: str) -> None:
    """A series is named after its file without the suffixes of stacks and metadata."""
    assert series_id(Path(name)) == series
