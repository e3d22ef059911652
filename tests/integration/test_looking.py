"""What the commands that look at a project say, on a pipeline of toy stages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.cli.main import main
from staproj.report.plots import plot
from staproj.report.runs import families
from tests.integration.toy_stages import TEMPLATE

Told = Callable[..., str]


@pytest.fixture
def told(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """Return a function that calls a command in a project that was run and returns what it says."""
    project.run()
    monkeypatch.chdir(project.root)

    def call(*words: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as left:
            main(words)
        said = capsys.readouterr()
        assert left.value.code == code, said
        return said.out if code == 0 else said.err

    return call


def answer(told: Told, *words: str) -> Any:
    """Return the JSON document of a command."""
    return json.loads(told(*words, "--json"))


def test_lineage_of_several_files(told: Told) -> None:
    """One file gives one object, several a list in the order asked for."""
    files = ["runs/r0006-copy/out/map.bin", "runs/r0006-copy/out/map.h5"]
    assert answer(told, "lineage", files[0])["run"] == "r0006"
    assert [one["file"] for one in answer(told, "lineage", *files)] == [
        "r0006-copy/out/map.bin",
        "r0006-copy/out/map.h5",
    ]
    text = told("lineage", *files)
    assert text.count("raw data: 3 files") == 2
    assert "which file" in told("lineage", code=2)


def test_lineage_of_raw_data_and_of_strangers(told: Told, tmp_path: Path) -> None:
    """Raw data names the run that reads it; a file of no project is told so in clear words."""
    found = answer(told, "lineage", "raw/TS_02.txt")
    assert found["raw_data"] is True
    assert [(use["run"], use["step"], use["head"]) for use in found["read_by"]] == [("r0001", "import", True)]
    assert "read by r0001 (step import, its head)" in told("lineage", "raw/TS_02.txt")
    (tmp_path / "stranger.mrc").write_text("x")
    said = told("lineage", str(tmp_path / "stranger.mrc"), code=2)
    assert "lies in no staproj project" in said
    assert "none reads it" in told("lineage", "staproj.toml", code=2)


def test_log_answers_with_the_run(told: Told) -> None:
    """The document of a step's log names the run it is of, and its log is not empty."""
    found = answer(told, "log", "shift")
    assert found["run"] == "r0002"
    assert "sealed after" in found["log"]


def test_why_of_an_older_run_says_so(told: Told, project: Project) -> None:
    """An older run is called that, with the run that stands now and the difference between the two."""
    project.rerun("shift", sets={"offset_px": 9})
    text = told("why", "r0002")
    assert text.startswith("r0002 is an older run of shift; r0007 stands for the step now")
    assert "shift.offset_px: 2 -> 9" in text.splitlines()[1]
    found = answer(told, "why", "r0002")
    assert found["from_head"] == [{"kind": "param", "field": "shift.offset_px", "old": 2.0, "new": 9.0}]
    assert "asked" not in answer(told, "why", "r0007")


@pytest.mark.parametrize(
    "words",
    [
        ["show", "shft"], ["why", "shft"], ["ls", "shft"], ["log", "shft"], ["run", "shft"],
        ["rerun", "shft"], ["diff", "shft", "mean"], ["export", "relion5", "out", "--step", "shft"],
        ["run", "--until", "shft"], ["run", "--set", "shft.offset_px=1"],
    ],
)  # fmt: skip
def test_every_command_knows_what_was_meant(told: Told, words: list[str]) -> None:
    """An unknown step is told so, with the nearest name, by each command that takes one."""
    said = told(*words, code=2)
    assert "'shft'" in said
    assert "did you mean 'shift'?" in said


def test_tilt_series_that_are_not_there_are_named(told: Told, project: Project) -> None:
    """--item of an unknown tilt series names the known ones; values for one in the manifest are warned of."""
    for words in (
        ["show", "shift"],
        ["show", "shift", "--curve", "ramp"],
        ["show", "shift", "--table", "rows"],
    ):
        assert "it has TS_01, TS_02, TS_03" in told(*words, "--item", "TS_77", code=2)
    assert "TS_01, TS_02, TS_03" in told("run", "--item", "TS_77", code=2)
    assert "it has ramp" in told("show", "shift", "--curve", "wrong", "--item", "TS_01", code=2)
    assert set(answer(told, "show", "shift", "--item", "TS_02")["results"]) == {"TS_02"}
    with (project.root / "staproj.toml").open("a") as manifest:
        manifest.write("\n[step.shift.item.TS_77]\noffset_px = 3\n")
    assert "no such tilt series" in told("run", code=2)
    assert project.notes() == [
        "[step.shift.item.TS_77] is for no tilt series of this project (TS_01, TS_02, TS_03)"
    ]


def test_new_warns_of_patterns_without_files_and_prints_commands_that_work(
    toys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pattern that matches nothing yet is a warning; names with spaces are quoted; files are no place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.toml").write_text(TEMPLATE)
    (tmp_path / "file").write_text("x")
    for place, code in (("my project", 0), ("file", 2), ("file/below", 2), ("/proc/none", 2)):
        with pytest.raises(SystemExit) as left:
            main(["new", place, "--template", "toy.toml", "--movies", "later/*.txt"])
        assert left.value.code == code
    said = capsys.readouterr()
    assert "staproj run -C 'my project'" in said.out
    assert "warning: import.movies: no file matches" in said.err
    assert "this is a file, not a directory" in said.err
    assert "no project can be made here" in said.err
    assert "the directory cannot be made" in said.err


def test_curves_over_frequency_are_read_in_angstrom() -> None:
    """Below the axis in 1/Å stands the resolution in Å; names that differ by a number are put together."""
    lines = plot([0.0, 0.05, 0.1], [1.0, 0.5, 0.0], x_label="frequency_per_angstrom", y_label="fsc", width=20)
    assert lines[-1].split() == ["∞", "10", "Å"]
    assert families([f"fit_{n:03d}" for n in range(41)] + ["psd"]) == ["fit_000 … fit_040 (41)", "psd"]
