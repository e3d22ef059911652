"""What a run will take: from history, said as unknown where there is none; and a disk that is too small."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from staproj.api import Project
from staproj.cli.main import main
from staproj.engine import estimate
from staproj.engine.jobs import progress as job_progress
from staproj.engine.jobs import record
from staproj.report import jobs as report
from tests.integration import toy_stages as toy

Call = Callable[..., tuple[str, str]]


@pytest.fixture
def call(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that calls the command line in the project."""
    monkeypatch.chdir(project.root)

    def made(*words: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as left:
            main(words)
        said = capsys.readouterr()
        assert left.value.code == code, said
        return said.out, said.err

    return made


def test_without_history_nothing_is_invented(call: Call) -> None:
    """Before anything ran, time is unknown for every step, and the text says so."""
    told = json.loads(call("run", "--dry-run", "--json")[0])["expected"]
    assert [step["wall_s"] for step in told["steps"]] == [None] * 6
    assert told["unknown_time"] == ["import", "shift", "again", "mean", "other", "copy"]
    assert "import" in told["unknown_bytes"]
    text, _ = call("run", "--dry-run")
    assert "time: unknown for import, shift, again, mean and 2 more" in text
    assert "never run" in text


def test_history_of_the_stage_scales_with_the_items(project: Project, call: Call) -> None:
    """Expected time and disk are the medians of one item of earlier runs, times the items to be made."""
    project.run()
    walls, sizes = [], []
    for item in ("TS_01", "TS_02", "TS_03"):
        entry = json.loads((project.root / "runs/r0002-shift/items" / item / "item.json").read_text())
        walls.append(entry["wall_s"])
        out = project.root / "runs/r0002-shift/out" / item
        sizes.append(sum(path.stat().st_size for path in out.iterdir()))
    told = json.loads(call("run", "shift", "--dry-run", "--json", "--set", "shift.offset_px=9")[0])
    (step,) = told["expected"]["steps"]
    assert (step["step"], step["items"], step["time_from"], step["runs"]) == ("shift", 3, "history", 1)
    assert step["wall_s"] == pytest.approx(sorted(walls)[1] * 3, abs=1e-3)
    assert step["bytes"] == sorted(sizes)[1] * 3
    two = json.loads(
        call("run", "shift", "--dry-run", "--json", "--jobs", "2", "--set", "shift.offset_px=9")[0]
    )
    assert two["expected"]["steps"][0]["wall_s"] == pytest.approx(sorted(walls)[1] * 2, abs=1e-3)
    text, _ = call("run", "shift", "--dry-run", "--set", "shift.offset_px=9")
    assert "would run 1 of 2 steps; the other is fresh" in text
    assert "are free" in text
    assert "cannot hold" not in text


def test_only_what_must_be_made_counts(project: Project, call: Call) -> None:
    """Finished items that will be used again cost nothing."""
    project.run(["shift"])
    with (project.root / "staproj.toml").open("a") as manifest:
        manifest.write("\n[step.shift.item.TS_02]\noffset_px = 5.0\n")
    told = json.loads(call("run", "shift", "--dry-run", "--json")[0])["expected"]
    assert [(step["step"], step["items"]) for step in told["steps"]] == [("shift", 1)]


def test_a_stage_of_another_step_tells_too(project: Project, call: Call) -> None:
    """A step that never ran takes the history of another step of its stage."""
    project.run(["shift"])
    told = json.loads(call("run", "again", "--dry-run", "--json")[0])["expected"]
    assert [(step["step"], step["time_from"]) for step in told["steps"]] == [("again", "history")]


def test_a_disk_that_is_too_small_is_refused(
    project: Project, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is begun, the figures are told; --force begins and the run keeps a note of it."""
    project.run()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    before = sorted(path.name for path in (project.root / "runs").iterdir())
    _, err = call("run", "shift", "--set", "shift.offset_px=9", code=1)
    assert "the disk cannot hold this" in err
    assert "0.0 MB are free" in err
    assert "shift" in err
    text, _ = call("run", "shift", "--set", "shift.offset_px=9", "--dry-run")
    assert "the disk cannot hold this: `staproj run` refuses" in text
    assert sorted(path.name for path in (project.root / "runs").iterdir()) == before
    assert not project.jobs.all()
    _, err = call("run", "shift", "--set", "shift.offset_px=9", "--force", "--note", "why not")
    assert "begun with --force" in err
    spec = json.loads((project.root / "runs/r0007-shift/spec.json").read_text())
    assert spec["note"].startswith("why not (begun with --force: about")


def test_a_rerun_of_what_is_fresh_takes_time_and_disk(
    project: Project, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rerun computes all items anew, so that all count; with new values too, and the disk is asked."""
    project.run()
    for sets in ({}, {"shift.offset_px": 9.0}):
        (step,) = project.jobs.expect(["shift"], sets=sets, rerun=True)["steps"]
        assert (step["items"], step["time_from"]) == (3, "history")
        assert step["bytes"] > 0
    (step,) = project.jobs.expect(["shift"])["steps"]
    assert (step["items"], step["bytes"]) == (0, 0)
    monkeypatch.setattr(estimate, "free_bytes", lambda root: 10)
    assert "the disk cannot hold this" in call("rerun", "shift", code=1)[1]


def test_space_is_checked_with_what_is_known() -> None:
    """Unknown sizes refuse nothing; known ones do when they are larger than what is free."""
    steps = [estimate.Estimate("a", 1, bytes=None), estimate.Estimate("b", 1, bytes=2**62)]
    assert estimate.check_space(toy_path(), steps[:1], force=False) == ""
    with pytest.raises(estimate.StorageError, match=r"4611686018\.4 GB will"):
        estimate.check_space(toy_path(), steps, force=False)


def toy_path() -> Any:
    """Return a directory that is there."""
    from pathlib import Path

    return Path(toy.__file__).parent


def _job(project: Project, events: list[dict[str, Any]], expected: list[dict[str, Any]]) -> Any:
    job = record.create(project.layout, "run", {}, command=["run"], expected=expected)
    with job.events.open("w") as handle:
        for event in events:
            handle.write(json.dumps({"run": None, "item": None, "message": "", "done": 0, **event}) + "\n")
    return job


def test_time_left_comes_from_history_then_from_the_pace(project: Project) -> None:
    """At first the history tells; from a third on the pace of the step itself; later steps are added."""
    expected = [{"step": "shift", "wall_s": 60.0}, {"step": "mean", "wall_s": 30.0}]
    events = [
        {"kind": "plan", "total": 2, "time": 1000.0},
        {"kind": "step", "step": "shift", "total": 10, "time": 1000.0},
    ]
    job = _job(project, events, expected)
    found = job_progress.of_job(project.layout, job, now=1010.0)
    assert (found.step_left_s, found.left_s) == (50.0, 80.0)
    assert (found.steps_done, found.steps_total) == (0, 2)
    events.append({"kind": "item-done", "step": "shift", "done": 5, "total": 10, "time": 1100.0})
    found = job_progress.of_job(project.layout, _job(project, events, expected), now=1100.0)
    assert found.share == 0.5
    assert (found.step_left_s, found.left_s) == (100.0, 130.0)
    unknown = [expected[0], {"step": "mean", "wall_s": None}]
    found = job_progress.of_job(project.layout, _job(project, events, unknown), now=1100.0)
    assert (found.left_s, found.unknown) == (100.0, ("mean",))
    assert report.time_left(found.as_dict()) == "1 min 40 s + ?"


def test_no_history_and_no_pace_is_no_time(project: Project) -> None:
    """A step of unknown length that has just begun has no time left to show."""
    events = [
        {"kind": "plan", "total": 1, "time": 1000.0},
        {"kind": "step", "step": "shift", "total": 1, "time": 1000.0},
    ]
    found = job_progress.of_job(project.layout, _job(project, events, []), now=1001.0)
    assert found.left_s is None
    assert report.time_left(found.as_dict()) == "?"
    assert report.how_far(found.as_dict()) == "step 1 of 1, 0 %"
