"""What the commands that look at a project say, on a pipeline of toy stages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.cli.main import main

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
