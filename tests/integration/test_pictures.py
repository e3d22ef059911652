"""Pictures of runs: previews and sections of volumes, from the API and the command line, and nothing else."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from staproj.api import Project
from staproj.api.pictures import listing, picture
from staproj.cli import output
from staproj.cli.main import build
from staproj.errors import FormatError, InputError, StageError, StorageError, UsageError
from staproj.project import cleared
from staproj.project.layout import RunDir
from staproj.stages import registry
from tests.integration import toy_stages as toy
from tests.integration.volume_stages import SHAPE_ZYX, TEMPLATE, VOLUMES, volume_of


@pytest.fixture
def volumes(make_project: Callable[..., Project]) -> Iterator[Project]:
    """Return a project of three tilt series with volumes; its run r0002 is complete."""
    with registry.temporarily(VOLUMES):
        project = make_project("volumes", TEMPLATE)
        project.run()
        yield project


def _out(project: Project) -> Path:
    return project.run_dir("volumes") / "out"


def test_all_pictures_are_listed(volumes: Project) -> None:
    """Previews of each tilt series, then files by kind, with what their headers say."""
    rows = listing(volumes.root, "volumes")
    assert rows == listing(volumes.root, "r0002")
    previews = [(row["item"], row["name"]) for row in rows if row["kind"] == "preview"]
    assert previews == [(f"TS_0{n}", name) for n in (1, 2, 3) for name in ("ramp", "seeds_xy")]
    stack, volume = (row for row in rows if row["item"] == "TS_02" and row["file"])
    assert stack == {
        "name": "views.mrc",
        "item": "TS_02",
        "kind": "stack",
        "artifact": "tilt_series",
        "shape": [2, 15, 10],
        "pixel_size_angstrom": 4.25,
        "n_sections": {"z": 2, "y": 15, "x": 10},
        "file": "TS_02/views.mrc",
        "bytes": 1024 + 2 * 15 * 10 * 4,
        "there": True,
        "note": "",
    }
    assert (volume["kind"], volume["artifact"], volume["shape"]) == ("volume", None, list(SHAPE_ZYX))
    assert listing(volumes.root, "import") == []


@pytest.mark.parametrize(("axis", "number"), [("z", 0), ("y", 1), ("x", 2)])
def test_a_section_shows_the_slice_that_was_written(volumes: Project, axis: str, number: int) -> None:
    """Grey values stand for the values of that slice, its highest row on top; outer percents are clipped."""
    told = picture(volumes.root, "volumes", "volume.mrc", item="TS_03", axis=axis, section=2)
    values = volume_of("TS_03").take(2, axis=number)[::-1]
    assert (told["item"], told["section"], told["n_sections"]) == ("TS_03", 2, SHAPE_ZYX[number])
    assert (told["low"], told["high"]) == pytest.approx(tuple(np.percentile(values, [1, 99])))
    shown = told["low"] + told["pixels"] / 255 * (told["high"] - told["low"])
    half_a_step = 0.51 * (told["high"] - told["low"]) / 255
    assert np.abs(shown - np.clip(values, told["low"], told["high"])).max() <= half_a_step
    assert told["pixels"].dtype == np.uint8
    assert (told["pixel_size_angstrom"], told["reduced"]) == (4.25, 1)


def test_the_middle_section_of_the_first_is_taken_without_a_word(volumes: Project) -> None:
    """Tilt series, section and suffix may be left out; a picture is no larger than asked."""
    told = picture(volumes.root, "volumes", "volume", max_px=4)
    assert (told["item"], told["axis"], told["section"]) == ("TS_01", "z", SHAPE_ZYX[0] // 2)
    assert (told["pixels"].shape, told["reduced"]) == ((4, 3), 4)


def test_previews_are_shown_the_right_way_up(volumes: Project) -> None:
    """An array begins with its lowest row, a drawing with its highest: both stand upright."""
    ramp = picture(volumes.root, "volumes", "ramp")["pixels"]
    drawing = picture(volumes.root, "volumes", "seeds_xy", item="TS_02")["pixels"]
    assert ramp[2, 0] == drawing[0, 0] == 0
    assert ramp[0, 3] == drawing[2, 3] == 255
    small = picture(volumes.root, "volumes", "ramp", max_px=2)["pixels"]
    assert small.shape == (2, 2)
    assert small[1, 0] == 0
    assert small[0, 1] == 255


def test_what_is_not_there_is_named(volumes: Project) -> None:
    """Pictures, sections, axes and tilt series that do not exist are usage errors with a remedy."""
    for words, hint in (
        ({"name": "volum.mrc"}, "did you mean 'volume.mrc'"),
        ({"name": "volume", "section": 6}, "0 to 5"),
        ({"name": "volume", "section": -1}, "0 to 5"),
        ({"name": "volume", "axis": "w"}, "x, y or z"),
        ({"name": "volume", "item": "TS_09"}, "TS_01, TS_02, TS_03"),
        ({"name": "volume", "item": "../TS_01"}, "TS_01, TS_02, TS_03"),
        ({"name": "ramp", "section": 1}, "leave out"),
        ({"name": "ramp", "max_px": 0}, ""),
    ):
        with pytest.raises(UsageError) as caught:
            picture(volumes.root, "volumes", **words)  # type: ignore[arg-type]
        assert hint in (caught.value.hint or "")


def test_one_value_and_no_value_have_a_grey(volumes: Project) -> None:
    """A flat section is grey, one bright pixel is seen, and what is not finite is black."""
    path = _out(volumes) / "TS_01" / "volume.mrc"
    header = path.read_bytes()[:1024]
    path.chmod(0o644)
    for value, spot, words, greys in (
        (3.0, 3.0, "one value only", {128}),
        (0.0, 1.0, "least to most", {0, 255}),
        (np.nan, np.nan, "no finite value", {0}),
        (np.nan, 2.0, "one value only", {128}),
    ):
        data = np.full(SHAPE_ZYX, value, dtype="<f4")
        data[:, 7, 5] = spot
        path.write_bytes(header + data.tobytes())
        told = picture(volumes.root, "volumes", "volume")
        assert told["range"].startswith(words)
        assert set(told["pixels"].ravel().tolist()) == greys
        json.dumps({**told, "pixels": told["pixels"].tolist()}, allow_nan=False)


def test_files_that_are_gone_or_damaged_are_listed_with_why(volumes: Project) -> None:
    """A cleared file says so, a truncated one too; asked for, each is an error and none is opened blindly."""
    out = _out(volumes)
    (out / "TS_01" / "volume.mrc").unlink()
    entry = {"path": "TS_01/volume.mrc", "size": 1, "sha256": "sha256:0"}
    cleared.add(RunDir(out.parent), [entry], why="a test")
    (out / "TS_02" / "volume.mrc").unlink()
    (out / "TS_03" / "volume.mrc").chmod(0o644)
    (out / "TS_03" / "volume.mrc").write_bytes(b"\0" * 2000)
    (out / "TS_01" / "views.mrc").unlink()
    (out / "TS_01" / "views.mrc").symlink_to("/etc/passwd")
    (out / "TS_02" / "views.mrc").unlink()
    os.mkfifo(out / "TS_02" / "views.mrc")
    found = {row["file"]: row for row in listing(volumes.root, "volumes") if row["file"]}
    told = {file: (row["there"], row["note"]) for file, row in found.items()}
    assert told["TS_01/volume.mrc"] == (False, "the file was deleted in a clean-up")
    assert told["TS_02/volume.mrc"] == (False, "there is no such file")
    assert told["TS_03/volume.mrc"] == (True, "this is not an MRC file")
    assert "link" in told["TS_01/views.mrc"][1]
    assert told["TS_02/views.mrc"] == (True, "not a regular file")
    for item, name, error in (
        ("TS_01", "volume", InputError),
        ("TS_03", "volume", FormatError),
        ("TS_01", "views", StorageError),
        ("TS_02", "views", StorageError),
    ):
        with pytest.raises(error):
            picture(volumes.root, "volumes", name, item=item)


def test_what_is_finished_of_a_failed_run_can_be_seen(make_project: Callable[..., Project]) -> None:
    """Of a run that failed at one tilt series, the pictures of the others are there."""
    toy.SWITCH["TS_02"] = "fail"
    with registry.temporarily(VOLUMES):
        project = make_project("failed", TEMPLATE)
        with pytest.raises(StageError):
            project.run()
        rows = listing(project.root, "r0002")
        assert {row["item"] for row in rows} == {"TS_01", "TS_03"}
        assert all(row["there"] and row["shape"] for row in rows)
        told = picture(project.root, "r0002", "volume", item="TS_03", section=0)
        assert told["pixels"].shape == SHAPE_ZYX[1:]
        assert picture(project.root, "r0002", "ramp", item="TS_03")["pixels"][0, 3] == 255
        with pytest.raises(UsageError, match="TS_02"):
            picture(project.root, "r0002", "ramp", item="TS_02")


def test_records_of_items_that_were_left_behind(volumes: Project) -> None:
    """Where a copy has only the record of the whole run, its previews are found there."""
    shutil.rmtree(_out(volumes).parent / "items")
    assert picture(volumes.root, "volumes", "ramp", item="TS_02")["item"] == "TS_02"


def _show(project: Project, *words: str) -> Any:
    build()(["show", "volumes", *words, "--project", str(project.root)], exit_on_error=False)


def test_the_command_draws_in_characters_where_nobody_looks(
    volumes: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe a picture is plain ASCII but for its caption, with no escape sequence in it."""
    _show(volumes, "--picture", "volume", "--item", "TS_02", "--section", "1")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "r0002 TS_02: volume.mrc, z section 1 of 0 to 5"
    assert "10 x 15 x 6 px of 4.25 Å; black " in lines[1]
    assert len(lines) > 10
    assert all(set(line) <= set(" .:-=+*#%@") for line in lines[2:])
    _show(volumes, "--pictures", "--item", "TS_02")
    assert len(capsys.readouterr().out.splitlines()) == 5


@pytest.mark.parametrize(
    ("style", "first"), [("kitty", "\x1b_Ga=T"), ("sixel", "\x1bP0;1;0q"), ("blocks", "\x1b[48;5;")]
)
def test_the_command_draws_in_the_style_asked_for(
    volumes: Project, capsys: pytest.CaptureFixture[str], style: str, first: str
) -> None:
    """Escape sequences of our own drawings reach the terminal as they are."""
    _show(volumes, "--picture", "ramp", "--style", style)
    assert capsys.readouterr().out.splitlines()[2].startswith(first)


def test_json_has_the_picture_as_a_file(volumes: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """One document with all that is known, and a PNG that another reader reads."""
    _show(volumes, "--picture", "volume", "--axis", "x", "--json")
    told = json.loads(capsys.readouterr().out)
    wanted = picture(volumes.root, "volumes", "volume", axis="x")
    assert np.array_equal(
        imagecodecs.png_decode(base64.b64decode(told.pop("png_base64"))), wanted.pop("pixels")
    )
    assert told == wanted
    _show(volumes, "--pictures", "--json")
    assert json.loads(capsys.readouterr().out) == listing(volumes.root, "volumes")


def test_a_section_without_a_picture_is_refused(volumes: Project) -> None:
    """A section of nothing: the message says how to list pictures."""
    with pytest.raises(UsageError, match="which picture"):
        _show(volumes, "--section", "3")


def test_only_ascii_is_promised_where_the_encoding_has_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoding of stdout decides, in whatever way it is written."""
    for encoding, unicode in (("utf-8", True), ("UTF8", True), ("ascii", False), ("latin-1", False)):
        monkeypatch.setattr(sys, "stdout", type("Stream", (), {"encoding": encoding})())
        assert output.has_unicode() == unicode
