"""Looking at raw data before the import: the same verdict as the import itself, and what it cannot know."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from staproj.api.raw_checks import scheme_of
from staproj.api.raw_data import inspect, inspect_patterns
from staproj.errors import FormatError, InputError
from staproj.formats.angles import write_angles
from staproj.formats.mrc import write_mrc
from staproj.testing.stage_harness import run_stage
from tests.unit.import_sets import ANGLES, SHAPE, movie_name, write_mdoc, write_movies

BOTH = {"tilt_axis_deg": 85.0, "exposure_e_per_angstrom2": 3.0}


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Return a folder with one good series, TS_01."""
    write_movies(tmp_path, "TS_01")
    write_mdoc(tmp_path, "TS_01")
    return tmp_path


def _looked(folder: Path, **more: Any) -> dict[str, Any]:
    patterns = {"movies": "*_[0-9]*.mrc", "mdoc": "*.mdoc"}
    return inspect(**({**patterns, **more}), base=folder)


def _told(found: dict[str, Any], level: str) -> str:
    chosen = [one for one in found["findings"] if one["level"] == level]
    return "\n".join(f"{one['text']} | {one['where']} | {one['hint']}" for one in chosen)


def test_a_good_session(session: Path) -> None:
    """Facts with their origin, one entry a series, and nothing to find."""
    found = _looked(session)
    assert found["ok"]
    assert found["findings"] == []
    assert found["files"]["movies"]["count"] == 5
    assert found["files"]["movies"]["bytes"] == 5 * (1024 + 4 * 2 * 12 * 16)
    assert found["files"]["movies"]["first"][0] == "TS_01_000_0.0.mrc"
    values = {name: (entry["value"], entry["from"]) for name, entry in found["facts"].items()}
    assert values == {
        "pixel_size_angstrom": (pytest.approx(1.35), "header"),
        "voltage_kv": (300.0, "mdoc"),
        "tilt_axis_deg": (85.3, "mdoc"),
        "binning": (1.0, "mdoc"),
        "nominal_defocus_um": ([2.5, 2.5], "mdoc"),
        "exposure_e_per_angstrom2": (3.0, "mdoc"),
        "image_shape_yx": ([12, 16], "header"),
        "data_type": ("float32", "header"),
        "n_frames": (2, "header"),
    }
    assert found["facts"]["voltage_kv"]["where"] == "TS_01.mrc.mdoc"
    assert found["series"] == [
        {
            "item": "TS_01", "views": 5, "tilt_min_deg": -5.99, "tilt_max_deg": 6.01, "exposure": 3.0,
            "scheme": "dose-symmetric", "missing_movies": [], "where": "TS_01.mrc.mdoc",
        }
    ]  # fmt: skip


def _no_change(folder: Path) -> None:
    pass


def _lose_a_movie(folder: Path) -> None:
    (folder / movie_name("TS_01", 2)).unlink()


def _another_movie(folder: Path) -> None:
    write_mrc(folder / "TS_09_000_0.0.mrc", np.ones(SHAPE), 1.35)


def _cut_off(folder: Path) -> None:
    path = folder / movie_name("TS_01", 3)
    path.write_bytes(path.read_bytes()[:-200])


def _empty(folder: Path) -> None:
    (folder / movie_name("TS_01", 3)).write_bytes(b"")


def _not_mrc(folder: Path) -> None:
    path = folder / movie_name("TS_01", 0)
    path.write_bytes(b"words " * (path.stat().st_size // 6))


def _other_frames(folder: Path) -> None:
    write_mdoc(folder, "TS_01", section={"NumSubFrames": 7})


def _no_exposure(folder: Path) -> None:
    write_mdoc(folder, "TS_01", section={"ExposureDose": 0})


def _same_angle(folder: Path) -> None:
    write_mdoc(folder, "TS_01", section={"TiltAngle": 3.0})


def _no_angle(folder: Path) -> None:
    write_mdoc(folder, "TS_01", section={"TiltAngle": None})


def _other_pixel(folder: Path) -> None:
    write_mdoc(folder, "TS_01", header={"PixelSpacing": 2.0})


def _no_pixel(folder: Path) -> None:
    write_movies(folder, "TS_01", pixel=0.0)
    write_mdoc(folder, "TS_01", header={"PixelSpacing": None})


def _no_axis(folder: Path) -> None:
    path = folder / "TS_01.mrc.mdoc"
    path.write_text(path.read_text().replace("Tilt axis angle = 85.3, ", ""))


def _no_movie_name(folder: Path) -> None:
    write_mdoc(folder, "TS_01", section={"SubFramePath": None})


def _not_mdoc(folder: Path) -> None:
    (folder / "TS_02.mdoc").write_text("only words\n")


def _mdoc_of_a_movie(folder: Path) -> None:
    (folder / "TS_02.mdoc").write_text("Voltage = 300\n[FrameSet = 0]\nTiltAngle = 3\n")


def _mdoc_twice(folder: Path) -> None:
    (folder / "TS_01.mdoc").write_text((folder / "TS_01.mrc.mdoc").read_text())


def _no_mdoc(folder: Path) -> None:
    (folder / "TS_01.mrc.mdoc").unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_no_change, ""),
        (_lose_a_movie, "TS_01: 1 of 5 movies are not among the files: TS_01_002_-3.0.mrc"),
        (_another_movie, "1 of 6 movies are in no mdoc | TS_09_000_0.0.mrc"),
        (_cut_off, "the file is truncated: the header promises 2 sections of 16 x 12, 1 are complete"),
        (_empty, "1 of 5 files are empty | TS_01_003_-6.0.mrc"),
        (_not_mrc, "this is not an MRC file | TS_01_000_0.0.mrc"),
        (_other_frames, "the movie has 2 frames, the mdoc says 7"),
        (_no_exposure, "the exposure of TS_01 is zero or not written | TS_01.mrc.mdoc"),
        (_same_angle, "[ZValue = 0] and [ZValue = 1] have the same tilt angle 3.00 deg"),
        (_no_angle, "the section has no TiltAngle"),
        (_other_pixel, "the pixel size is 1.35 Å in the header, 2 Å by the mdoc"),
        (_no_pixel, "the pixel size is 0 (unknown) in the header"),
        (_no_axis, "the direction of the tilt axis is not known for TS_01"),
        (_no_movie_name, "5 of 5 sections name no movie"),
        (_not_mdoc, "this is not an mdoc file | TS_02.mdoc"),
        (_mdoc_of_a_movie, "no [ZValue = n] sections"),
        (_mdoc_twice, "two files stand for tilt series TS_01"),
        (_no_mdoc, "mdoc: no file matches"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_would_stop_the_import_is_found(
    session: Path, damage: Callable[[Path], None], says: str
) -> None:
    """An error is found exactly where the import stops, with the place and what to do."""
    damage(session)
    found = _looked(session)
    try:
        given = {"movies": [str(session / "*_[0-9]*.mrc")], "mdoc": str(session / "*.mdoc")}
        run_stage("import_movies", {}, given, session / "work")
        imported = True
    except (InputError, FormatError):
        imported = False
    assert found["ok"] is imported
    assert imported is (says == "")
    assert says in _told(found, "error")
    assert all(one["hint"] for one in found["findings"] if one["level"] == "error")
    assert not any(str(session) in one["where"] for one in found["findings"]), "named from the base on"


def test_values_that_are_given_settle_what_files_lack(session: Path) -> None:
    """Exposure, axis and pixel size that the settings hold are no errors, as they are none for the import."""
    _no_axis(session)
    _no_pixel(session)
    path = session / "TS_01.mrc.mdoc"
    path.write_text(path.read_text().replace("ExposureDose = 3.0", "ExposureDose = 0"))
    assert not _looked(session)["ok"]
    given = {"pixel_size_angstrom": 1.35, "exposure_e_per_angstrom2": {"TS_01": 2.0}, "tilt_axis_deg": 85.0}
    found = _looked(session, microscope=given)
    assert found["ok"], found["findings"]
    assert found["series"][0]["exposure"] == 2.0
    assert found["facts"]["exposure_e_per_angstrom2"] == {"value": 2.0, "from": "the settings", "where": ""}
    assert not _looked(session, microscope=given | {"exposure_e_per_angstrom2": {"TS_02": 2.0}})["ok"]


def test_settings_that_contradict_the_data(session: Path) -> None:
    """A value beside that of the files is a warning: both values, which counts, how to take the other."""
    given = {
        "voltage_kv": 200.0,
        "pixel_size_angstrom": 1.7,
        "tilt_axis_deg": -94.7,
        "exposure_e_per_angstrom2": 120.0,
    }
    found = _looked(session, microscope=given)
    assert found["ok"]
    told = _told(found, "warning")
    assert "voltage_kv: 200 kV by the settings (which counts), 300 by the mdoc" in told
    assert "pixel_size_angstrom: 1.7 Å by the settings (which counts), 1.35 by the header" in told
    assert "half a turn inverts the hand" in told
    assert "120 e/Å² for each of 5 views is very much" in told
    sets = {key: value for one in found["findings"] for key, value in one["sets"].items()}
    assert sets == {
        "import_movies.voltage_kv": 300.0,
        "import_movies.pixel_size_angstrom": pytest.approx(1.35),
        "import_movies.tilt_axis_deg": pytest.approx(85.3),
        "import_movies.exposure_e_per_angstrom2": {"TS_01": 3.0},
    }
    agree = {"voltage_kv": 300, "tilt_axis_deg": 85.3 - 360, "exposure_e_per_angstrom2": 3.1}
    assert _looked(session, microscope=agree)["findings"] == []


def test_a_template_brings_its_values(session: Path) -> None:
    """The facts that a template sets are compared with the data under its name."""
    found = _looked(session, template="empiar-10164")
    assert "2.4 e/Å² a view by template empiar-10164" in _told(found, "warning")
    assert "pixel" not in _told(found, "warning")


@pytest.mark.parametrize(
    ("header", "section", "says"),
    [
        ({"Voltage": 30}, {}, "30 kV is no usual voltage"),
        ({"Voltage": 3000000}, {}, "3e+06 kV is no usual voltage"),
        ({}, {"ExposureDose": 130}, "130 e/Å² for each of 5 views is very much"),
    ],
)
def test_implausible_numbers(session: Path, header: dict, section: dict, says: str) -> None:
    """Numbers that no microscope gives are warnings."""
    write_mdoc(session, "TS_01", header=header, section=section)
    found = _looked(session)
    assert found["ok"]
    assert says in _told(found, "warning")


def test_unknown_voltage_and_order_are_noted(session: Path) -> None:
    """What the import will assume is said beforehand."""
    write_mdoc(session, "TS_01", header={"Voltage": None}, section={"DateTime": None})
    told = _told(_looked(session), "note")
    assert "300 kV will be assumed" in told
    assert "order of the file" in told


def test_series_that_differ(session: Path) -> None:
    """Several pixel sizes, voltages, axes and image sizes in one set of series are warnings."""
    write_movies(session, "TS_02", pixel=2.7, shape=(2, 24, 32))
    path = write_mdoc(session, "TS_02", header={"Voltage": 200, "PixelSpacing": 2.7, "ImageSize": "32 24"})
    path.write_text(path.read_text().replace("85.3", "-3.1"))
    told = _told(_looked(session), "warning")
    assert "pixel sizes of the files go from 1.35 to 2.7" in told
    assert "several voltages: 300, 200 kV" in told
    assert "several tilt axes: 85.3, -3.1 deg" in told
    assert "several sizes: 16 x 12, 32 x 24" in told


def test_movies_of_another_session(session: Path) -> None:
    """Series of which no movie is there are told of together, with the name that is looked for."""
    for name in ("TS_02", "TS_03"):
        write_mdoc(session, name)
    found = _looked(session)
    told = _told(found, "error")
    assert "no movie of 2 of 3 tilt series (TS_02, TS_03) is among the files" in told
    assert "TS_02_000_0.0.mrc" in told
    assert [len(one["missing_movies"]) for one in found["series"]] == [0, 5, 5]


def test_converted_movies_are_found_by_their_stem(tmp_path: Path) -> None:
    """TIFF movies of an mdoc that says MRC are no error; bytes without a gain reference are noted."""
    write_movies(tmp_path, "TS_01", suffix=".tif")
    write_mdoc(tmp_path, "TS_01")
    found = _looked(tmp_path, movies="*.tif")
    assert found["ok"]
    assert found["facts"]["pixel_size_angstrom"]["from"] == "mdoc"
    told = _told(found, "note")
    assert "TS_01_004_6.0.tif stands for TS_01_004_6.0.mrc" in told or "stands for TS_01_000_0.0.mrc" in told
    assert "no gain reference" in told


@pytest.mark.parametrize(
    ("shape", "says", "hint"),
    [
        ((12, 16), "", ""),
        ((16, 12), "the gain reference is 12 x 16, the frames are 16 x 12", "turn it by 90 degrees"),
        ((24, 32), "the gain reference is 32 x 24", "2 times as fine"),
        ((6, 8), "the gain reference is 8 x 6", "super-resolution"),
        ((13, 16), "the gain reference is 16 x 13", "another camera"),
        ((3, 12, 16), "a gain reference is one image, this file has 3", "one image"),
    ],
)
def test_gain_references(session: Path, shape: tuple[int, ...], says: str, hint: str) -> None:
    """A gain reference that does not fit is an error that says what would make it fit."""
    write_mrc(session / "gain.mrc", np.ones(shape, dtype=np.float32), 1.35)
    found = _looked(session, gain="gain.mrc")
    assert found["ok"] is (says == "")
    assert says in _told(found, "error")
    assert hint in _told(found, "error")
    assert found["facts"]["gain_shape_yx"]["value"] == list(shape[-2:])


def test_many_files_with_one_fault_are_one_finding(session: Path) -> None:
    """Sixty damaged files are one line, with the first of them."""
    for number in range(60):
        (session / f"bad{number:02d}.mdoc").write_text("words\n")
    told = _told(_looked(session), "error")
    assert told.count("not an mdoc file") == 1
    assert "60 files: this is not an mdoc file | bad00.mdoc (first of them)" in told


def test_few_headers_are_read(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many series there are, eight headers are read, among them that of the file of odd size."""
    for number in range(2, 14):
        write_movies(session, f"TS_{number:02d}")
        write_mdoc(session, f"TS_{number:02d}")
    odd = session / movie_name("TS_09", 4)
    odd.write_bytes(odd.read_bytes()[:1500])
    opened: list[str] = []
    import staproj.api.raw_headers as headers

    read = headers.read_header
    monkeypatch.setattr(
        headers, "read_header", lambda path, **how: opened.append(path.name) or read(path, **how)
    )
    found = _looked(session)
    assert len(opened) == 8
    assert opened[0] == odd.name
    assert "truncated" in _told(found, "error")
    assert len(found["series"]) == 13


def _stacks(folder: Path, *, mdoc: bool = False, angles: bool = True) -> None:
    tilt = np.arange(-6.0, 7.0, 3.0)
    write_mrc(folder / "TS_01.mrc", np.ones((5, 12, 16), dtype=np.float32), 2.7)
    if angles:
        write_angles(folder / "TS_01.rawtlt", tilt)
    if mdoc:
        header = {"PixelSpacing": 2.7}
        write_mdoc(folder, "TS_01", header=header, section={"SubFramePath": None}, angles=tuple(tilt))


@pytest.mark.parametrize(
    ("change", "given", "says"),
    [
        ("", BOTH, ""),
        ("", {"tilt_axis_deg": 85.0}, "the exposure is not known for TS_01"),
        ("", {"exposure_e_per_angstrom2": 3.0}, "tilt axis is not known for TS_01"),
        ("mdoc", {}, ""),
        ("mdoc only", {}, ""),
        (
            "fewer angles",
            {"tilt_axis_deg": 85.0, "exposure_e_per_angstrom2": 3.0},
            "4 angles for a stack of 5",
        ),
        ("no angles", BOTH, "neither an angle file nor"),
        ("words", BOTH, "expected a tilt angle"),
        ("same", BOTH, "the same tilt angle 3.00 deg"),
        ("cut", BOTH, "the file is truncated"),
        (
            "twice",
            {"tilt_axis_deg": 85.0, "exposure_e_per_angstrom2": 3.0},
            "two files stand for tilt series",
        ),
    ],
)
def test_stacks(tmp_path: Path, change: str, given: dict[str, Any], says: str) -> None:
    """Stacks too: an error is found exactly where their import stops."""
    _stacks(tmp_path, mdoc="mdoc" in change, angles="only" not in change)
    angles = tmp_path / "TS_01.rawtlt"
    texts = {"fewer angles": "-6\n-3\n0\n3\n", "words": "a\nb\n", "same": "-6\n-3\n0\n3\n3\n"}
    if change in texts:
        angles.write_text(texts[change])
    if change == "no angles":
        angles.rename(tmp_path / "TS_02.rawtlt")
    if change == "cut":
        (tmp_path / "TS_01.mrc").write_bytes((tmp_path / "TS_01.mrc").read_bytes()[:-100])
    if change == "twice":
        write_mrc(tmp_path / "TS_01.st", np.ones((5, 12, 16), dtype=np.float32), 2.7)
    roles = {"stacks": ["*.mrc"] + ["*.st"] * (change == "twice")}
    roles |= {"angles": ["*.rawtlt"]} if "only" not in change else {}
    roles |= {"mdoc": ["*.mdoc"]} if "mdoc" in change else {}
    found = inspect(**roles, base=tmp_path, microscope=given)
    full = {role: [str(tmp_path / one) for one in patterns] for role, patterns in roles.items()}
    try:
        run_stage("import_stack", {}, full | given, tmp_path / "work")
        imported = True
    except (InputError, FormatError):
        imported = False
    assert found["ok"] is imported, found["findings"]
    assert imported is (says == "")
    assert says in _told(found, "error")
    assert found["facts"].get("pixel_size_angstrom", {"value": 2.7})["value"] == pytest.approx(2.7)
    if imported:
        entry = found["series"][0]
        assert (entry["item"], entry["views"], entry["exposure"]) == ("TS_01", 5, 3.0)
        assert entry["tilt_max_deg"] == pytest.approx(6.0, abs=0.011)


@pytest.mark.parametrize(
    ("recorded", "scheme"),
    [
        ([-60 + 3 * i for i in range(41)], "unidirectional"),
        ([60 - 3 * i for i in range(41)], "unidirectional"),
        ([*range(0, 61, 3), *range(-3, -61, -3)], "bidirectional"),
        ([*range(-21, 61, 3), *range(-24, -61, -3)], "bidirectional"),
        ([0, 3, -3, -6, 6, 9, -9, -12, 12, 15, -15], "dose-symmetric"),
        ([0, 3, -3, 6, -6, 9, -9, 12, -12], "dose-symmetric"),
        ([8, 10, 6, 4, 12, 14, 2, 0, 16, 18, -2], "dose-symmetric"),
        ([0, 3, 6, -3, -6, 9, 12, -9, -12, 15, 18, -15, -18], "dose-symmetric"),
        ([0, 40, -30, 3, 9, -60, 12, 51], "irregular"),
        ([0, 3, -3], ""),
    ],
)
def test_schemes(recorded: list[float], scheme: str) -> None:
    """The usual orders of recording are told apart, groups of two on each side included."""
    assert scheme_of([value + 0.01 for value in recorded]) == scheme


def test_gaps_and_few_views(session: Path) -> None:
    """A hole in the tilts and a series of two views are told."""
    (session / movie_name("TS_01", 4)).rename(session / movie_name("TS_01", 4, angles=(*ANGLES[:4], 30.0)))
    write_mdoc(session, "TS_01", angles=(*ANGLES[:4], 30.0))
    found = _looked(session)
    assert found["ok"]
    assert "TS_01: there is no view between 3.0 and 30.0 deg" in _told(found, "note")
    write_mdoc(session, "TS_01", angles=ANGLES[:2])
    assert "TS_01 has only 2 views" in _told(_looked(session), "warning")


def test_odd_files_do_no_harm(session: Path) -> None:
    """Headers with wild numbers, binary mdocs and missing patterns give findings, never another error."""
    wild = bytearray((session / movie_name("TS_01", 1)).read_bytes())
    for offset, value in ((0, -1), (4, 2**31 - 1), (8, 0), (92, 2**31 - 1)):
        struct.pack_into("<i", wild, offset, value)
        (session / movie_name("TS_01", 1)).write_bytes(wild)
        assert not _looked(session)["ok"]
    (session / "x.mdoc").write_bytes(bytes(range(256)) * 10)
    (session / "y.mdoc").write_bytes(b"[ZValue = 0]\nTiltAngle = 1e999\nSubFramePath = \xff\xfe\n")
    assert not _looked(session)["ok"]
    for nothing in ({}, {"movies": ""}, {"mdoc": []}, {"gain": "none.mrc"}, {"stacks": "no/*"}):
        assert inspect(**nothing, base=session)["series"] == []


def test_the_real_mdoc_of_the_tutorial_data(shared_data: Path) -> None:
    """EMPIAR-10164 TS_01: exposure 0, fourfold binning; its template settles both, in 41 views."""
    folder = shared_data / "mdoc"
    found = inspect(mdoc="TS_01.mrc.mdoc", base=folder)
    assert "the exposure of TS_01 is zero" in _told(found, "error")
    assert found["facts"]["binning"]["value"] == 4
    found = inspect(mdoc="TS_01.mrc.mdoc", base=folder, template="empiar-10164")
    assert found["findings"] == []
    assert found["series"][0]["views"] == 41
    assert found["series"][0]["exposure"] == 2.4
    assert found["series"][0]["scheme"] == "dose-symmetric"


def test_real_files_of_other_kinds(shared_data: Path) -> None:
    """Montages, frame sets and metadata of single movies are refused; good files beside them are read."""
    found = inspect(mdoc="**/*.mdoc", base=shared_data / "mdoc")
    series = {one["item"]: one for one in found["series"]}
    assert series["017"]["views"] == 60
    assert series["017"]["exposure"] == pytest.approx(2.238, abs=0.001)
    assert series["Position_12"]["views"] == 6
    told = _told(found, "error")
    assert "no [ZValue = n] sections" in told
    assert "montage_section" in told


def test_a_real_stack(shared_data: Path) -> None:
    """A simulated stack of another program with its angles: pixel size, views, what is lacking."""
    folder = shared_data / "sim_vlp_cryojax"
    found = inspect_patterns(["TS_01.mrc"], angles="TS_01.rawtlt", base=folder)
    assert found["series"][0]["views"] == 40
    assert found["facts"]["pixel_size_angstrom"]["value"] == pytest.approx(5.4)
    assert "import_stack.tilt_axis_deg=85.3" in _told(found, "error")
