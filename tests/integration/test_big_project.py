"""Synthetic projects are judged like those the engine makes; thousands of versions stay quick to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.project import versions
from staproj.project.layout import Layout
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, states
from tests.trials import big_project, engine_numbers

TEXT = toy.TEMPLATE.replace('movies = "raw/*.txt"   # numbers', 'movies = "raw/TS_0*.txt"')


@pytest.fixture
def pair(make_project: Callable[..., Project], tmp_path: Path) -> tuple[Project, Project]:
    """Return one pipeline twice: run by the engine, and built with fifty runs."""
    real = make_project("real", TEXT)
    real.run()
    made = big_project.build(tmp_path / "built", 50, chains=1, template=TEXT)
    assert made.runs == 50
    return real, Project(tmp_path / "built")


def shape(value: Any) -> Any:
    """Return types and keys of JSON, without values."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_a_built_project_is_judged_like_a_real_one(pair: tuple[Project, Project]):
    """Every step is fresh, the last round stands, records have the keys of real ones, nothing is damaged."""
    real, built = pair
    assert [f"{name}_1" for name in states(real)] == list(states(built))
    assert set(states(built).values()) == set(states(real).values()) == {"fresh"}
    assert built.care.doctor(deep=True)["findings"] == []
    assert len(built.ls()) == 50
    assert {row["state"] for row in built.ls()} <= {"sealed", "failed"}
    assert len([row for row in built.ls() if row["head"]]) == len(states(built)) == 6
    assert shape(built.ls()[0]) == shape(real.ls()[0])
    for step in ("import", "shift", "mean"):
        old, new = real.run_dir(step), built.run_dir(f"{step}_1")
        for name in ("spec.json", "outputs.json", "SEALED"):
            first, second = (json.loads((run / name).read_text()) for run in (old, new))
            assert list(first) == list(second), name
        assert shape(real.show(step)["inputs"]) == shape(built.show(f"{step}_1")["inputs"])
    made = {p.relative_to(real.run_dir("shift")).as_posix() for p in real.run_dir("shift").rglob("*")}
    wrote = {p.relative_to(built.run_dir("shift_1")).as_posix() for p in built.run_dir("shift_1").rglob("*")}
    assert {path for path in made if "out/" not in path} == {path for path in wrote if "out/" not in path}


def params_of(step: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Return old and new values of the parameters that made a step stale."""
    return [(reason["old"], reason["new"]) for reason in step["reasons"] if reason["kind"] == "param"]


def test_the_same_changes_have_the_same_consequences(pair: tuple[Project, Project]):
    """A parameter that is edited makes the same steps stale, for the same reasons."""
    told = []
    for project in pair:
        edit(project, "offset_px = 2.0", "offset_px = 2.25")
        steps = project.status()["steps"]
        told.append([(step["state"], params_of(step)) for step in steps])
    assert told[0] == told[1]
    assert [state for state, _ in told[0]].count("stale") == 4
    assert [result["action"] for result in pair[1].run(dry_run=True)] == [
        result["action"] for result in pair[0].run(dry_run=True)
    ]


def test_earlier_rounds_differ_and_are_remembered(pair: tuple[Project, Project]):
    """Runs of earlier rounds have other parameters and keys, their own chain, and versions that name them."""
    built = pair[1]
    rows = [row["run"] for row in built.ls("shift_1")]
    assert len(rows) > 5
    keys = [json.loads((built.run_dir(run) / "spec.json").read_text())["key"] for run in rows]
    assert len(set(keys)) == len(rows)
    assert built.diff(rows[1], rows[0])["params"]
    chain = built.lineage(rows[-1])["chain"]
    assert [node["step"] for node in chain] == ["shift_1", "import_1"]
    assert built.versions()[0]["heads"]["mean_1"] == built.ls("mean_1")[0]["run"]


def test_status_opens_no_payload(tmp_path: Path):
    """An audit hook sees `status` open nothing below out/, no raw data and no HDF5."""
    big_project.build(tmp_path / "p", 60, chains=2)
    Project(tmp_path / "p").status()
    found = engine_numbers.payload_opened(tmp_path / "p")
    assert found["steps"] > 30
    assert (found["payload"], found["bytes"]) == (0, 0)


def test_the_hook_would_see_payload(tmp_path: Path):
    """Where raw data must be read (no fingerprints are kept), the same hook counts it."""
    big_project.build(tmp_path / "p", 60, chains=2)
    Layout(tmp_path / "p").fingerprints.unlink(missing_ok=True)
    assert engine_numbers.payload_opened(tmp_path / "p")["payload"] >= 3


def test_the_newest_version_is_found_without_reading_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of thousands of versions one is read."""
    layout = Layout(tmp_path)
    versions.write(layout, manifest="schema = 2\n", heads={"a": "r0001"}, why="x")
    text = layout.version(1).read_text()
    for number in range(2, 3001):
        layout.version(number).write_text(text.replace("number = 1", f"number = {number}"))
    reads = []
    real = versions.read
    monkeypatch.setattr(versions, "read", lambda where, number: reads.append(number) or real(where, number))
    latest = versions.latest(layout)
    assert latest is not None
    assert (latest.number, reads) == (3000, [3000])
    assert versions.current_heads(layout) == {"a": "r0001"}
    assert versions.write(layout, manifest="", heads={}, why="y").number == 3001
    assert set(reads) == {3000}
