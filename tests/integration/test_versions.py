"""Heads moved back, versions listed, named and taken again; comparing runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.cli.main import main
from staproj.errors import ManifestError, StorageError, UsageError
from staproj.report import compare as compare_report
from staproj.report import history as history_report
from staproj.report.plots import overlay
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, states
from tests.integration.test_why_states import clear

Told = Callable[..., Any]


@pytest.fixture
def project(ran: Project) -> Project:
    """Return a project that was run already; `run` finds nothing to do in it."""
    return ran


@pytest.fixture
def told(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """Return a function that calls a command in a project that was run and returns its JSON document."""
    project.run()
    monkeypatch.chdir(project.root)

    def call(*words: str, code: int = 0) -> Any:
        with pytest.raises(SystemExit) as left:
            main([*words, "--json"])
        said = capsys.readouterr()
        assert left.value.code == code, said
        return json.loads(said.out or said.err)

    return call


def text_of(project: Project) -> str:
    """Return the manifest."""
    return (project.root / "staproj.toml").read_text()


def test_checkout_makes_manifest_and_heads_as_then_and_loses_nothing(project: Project):
    """Back and forth: manifest and heads of either side come back, no run is touched, nothing is computed."""
    project.run()
    first = text_of(project)
    project.rerun("shift", sets={"offset_px": 6})
    project.run()
    with (project.root / "staproj.toml").open("a") as manifest:
        manifest.write("# a thought that is not run yet\n")
    second = text_of(project)
    runs = sorted(str(p) for p in (project.root / "runs").rglob("*"))
    toy.CALLS.clear()
    done = project.history.checkout("2")
    assert text_of(project) == first
    assert set(states(project).values()) == {"fresh"}
    heads = {s["step"]: s["run"] for s in project.status()["steps"]}
    assert (heads["shift"], heads["copy"]) == ("r0002", "r0006")
    project.history.checkout(str(done["kept"]))
    assert text_of(project) == second
    assert {s["step"]: s["run"] for s in project.status()["steps"]}["shift"] == "r0007"
    assert set(states(project).values()) == {"fresh"}
    assert toy.CALLS == []
    assert sorted(str(p) for p in (project.root / "runs").rglob("*")) == runs
    assert project.history.checkout(str(done["kept"]))["changed"] is False


def test_checkout_says_what_is_gone_or_cleared(project: Project):
    """A run of then that was deleted is left out, one that was cleared stands; both are said."""
    project.run()
    project.rerun("shift", sets={"offset_px": 6})
    clear(project, "r0003")
    shutil.rmtree(project.layout.find_run("r0005").path)
    done = project.history.checkout("v2")
    found = {head["step"]: head["state"] for head in done["heads"]}
    assert (found["again"], found["other"], found["mean"]) == ("cleared", "gone", "there")
    text = "\n".join(history_report.checkout_lines(done))
    assert "again: r0003: its files were cleared" in text
    assert "other: r0005: the run is gone" in text
    assert states(project)["other"] == "never-run"
    assert states(project)["again"] == "missing-recreatable"
    project.run()
    assert states(project)["other"] == "fresh"


def test_tags_name_versions(project: Project):
    """A name stands wherever a number does and moves only when told to; bad ones are refused."""
    project.run()
    project.history.tag("first", "2")
    project.rerun("shift", sets={"offset_px": 6})
    assert project.history.tag("now")["version"] == 3
    assert [v["tags"] for v in project.history.versions()] == [["now"], ["first"], []]
    assert project.history.show("first")["version"] == 2
    with pytest.raises(UsageError, match="version 2 is called 'first' already"):
        project.history.tag("first", "3")
    assert project.history.tag("first", "3", move=True)["version"] == 3
    for name in ("v3", "12", "", "a b", "x" * 65, "../x"):
        with pytest.raises(UsageError):
            project.history.tag(name, "1")
    with pytest.raises(UsageError, match="frist"):
        project.history.show("frist")
    assert project.history.untag("first") == {"tag": "first", "version": 3}
    with pytest.raises(UsageError):
        project.history.untag("first")
    project.layout.version_tags.write_text("[tags]\nnow = 'x'\n")
    with pytest.raises(StorageError, match="now"):
        project.history.versions()
    assert set(states(project).values()) >= {"fresh"}


def test_tag_of_now_keeps_an_edit_that_was_not_run(project: Project):
    """Without a number what stands now gets the name, also if no version holds it yet."""
    project.run()
    edit(project, "offset_px = 2.0", "offset_px = 9.0")
    number = project.history.tag("idea")["version"]
    assert "offset_px = 9.0" in project.history.show("idea")["manifest"]
    assert number == 3


def test_checkout_of_what_cannot_be_read_is_refused(project: Project):
    """Unknown versions, damaged files and manifests of another schema change nothing."""
    project.run()
    before = text_of(project)
    for version in ("99", "v0", "none"):
        with pytest.raises(UsageError):
            project.history.checkout(version)
    path = project.layout.version(1)
    good = path.read_text()
    path.write_text(good.replace("schema = ", "schema = = "))
    with pytest.raises((StorageError, ManifestError)):
        project.history.checkout("1")
    path.write_text(good[: len(good) // 2])
    with pytest.raises(StorageError):
        project.history.checkout("1")
    assert text_of(project) == before


def test_head_moves_back_and_tells_what_is_stale(told: Told, project: Project):
    """The command sets the head with its parameters and lists what is stale then."""
    project.rerun("shift", sets={"offset_px": 6})
    project.run()
    done = told("head", "shift", "r0002", "--note", "six was worse")
    assert (done["run"], done["before"]) == ("r0002", "r0007")
    assert done["stale"] == ["again", "mean", "copy"]
    assert "offset_px = 2.0   # two" in text_of(project)
    assert told("head", "shift", "r0003", code=2)["message"].startswith("run r0003 is of step 'again'")
    assert told("head", "shift", "r0099", code=2)["exit_code"] == 2
    clear(project, "r0007")
    assert told("head", "shift", "r0007")["before"] == "r0002"
    assert states(project)["shift"] == "missing-recreatable"


def test_version_commands(told: Told, project: Project):
    """list, show, diff, tag, untag and checkout speak JSON, by number or by name."""
    project.rerun("shift", sets={"offset_px": 6})
    told("version", "tag", "paper", "2")
    assert [v["tags"] for v in told("version", "list")] == [[], ["paper"], []]
    assert told("version", "show", "paper")["heads"][0]["state"] == "there"
    assert told("version", "diff", "paper", "3")["heads"] == [
        {"step": "shift", "old": "r0002", "new": "r0007"}
    ]
    assert told("version", "checkout", "paper")["from"] == 2
    assert told("version", "untag", "paper") == {"tag": "paper", "version": 2}
    assert "no version" in told("version", "untag", "paper", code=2)["message"]


def test_diff_of_three_runs_is_a_table_of_what_differs(told: Told, project: Project):
    """Only fields that differ, a value for each run, parameters with the layer each came from."""
    project.rerun("shift", sets={"offset_px": 6})
    project.rerun("shift", sets={"offset_px": 7})
    found = told("diff", "r0002", "r0007", "r0008")
    rows = {(row["group"], row["field"]): row for row in found["rows"]}
    assert rows["params", "offset_px"]["values"] == [2.0, 6.0, 7.0]
    assert rows["params", "offset_px"]["layers"] == ["step", "command line", "command line"]
    assert rows["metrics", "TS_01.mean_px"]["values"] == [12.0, 16.0, 17.0]
    assert ("params", "rounded") not in rows
    assert "which runs" in told("diff", "r0002", code=2)["message"]
    ramps = told("diff", "r0002", "r0007", "--curve", "ramp")["curves"]
    assert [(one["item"], len(one["lines"])) for one in ramps] == [(f"TS_0{n}", 2) for n in (1, 2, 3)]
    assert "curve 'rmap'" in told("diff", "r0002", "r0007", "--curve", "rmap", code=2)["message"]
    lines = compare_report.diff_lines(found)
    assert any(line.split()[:2] == ["offset_px", "2"] for line in lines)


def fsc_stage(height: float) -> Callable[..., dict[str, Any]]:
    """Return a stage function that records an FSC which falls below 0.143 after ``height`` points."""

    def run(inputs: dict[str, Any], params: Any, ctx: Any) -> dict[str, Any]:
        x = [0.01 * n for n in range(10)]
        y = [1.0 if n <= height * params.weight else 0.0 for n in range(10)]
        ctx.curve("fsc", x, y, x_label="frequency_per_angstrom", y_label="fsc")
        return toy.run_mean_plain(inputs, params, ctx)

    return run


def test_diff_and_accept_lay_fsc_curves_over_each_other(project: Project, monkeypatch: pytest.MonkeyPatch):
    """Both curves are in the JSON and in the drawing, with 0.143 and the resolution of each."""
    monkeypatch.setattr(toy, "run_mean_plain", toy.run_mean, raising=False)
    monkeypatch.setattr(toy, "run_mean", fsc_stage(4))
    project.rerun("mean")
    project.rerun("mean", sets={"weight": 1.25})
    (curve,) = project.diff("r0007", "r0008")["curves"]
    assert [line["run"] for line in curve["lines"]] == ["r0007", "r0008"]
    assert [round(line["resolution_angstrom"], 6) for line in curve["lines"]] == [25.0, 20.0]
    assert len(curve["lines"][0]["y"]) == 10
    lines = compare_report.curve_lines(curve)
    text = "\n".join(lines)
    assert "• r0007  25 Å at 0.143" in text
    assert "× r0008  20 Å at 0.143" in text
    assert any("╌" in line for line in lines)
    told = project.history.accept("r0008", "r0007")
    assert told["curves"][0]["resolution_angstrom"] == curve_resolutions(curve)
    assert 0 < told["curves"][0]["correlation"] < 1
    assert told["curves"][0]["largest_difference"] == 1.0
    project.rerun("mean", sets={"mean.weight": 1.25})
    assert project.diff("r0008", "r0009")["curves"] == []


def curve_resolutions(curve: dict[str, Any]) -> list[float]:
    """Return the resolution of each line."""
    return [line["resolution_angstrom"] for line in curve["lines"]]


def test_overlay_has_a_sign_for_each_curve_and_no_line_is_too_wide():
    """Eight curves, gaps and values that are no numbers: each is in the legend, within 80 columns."""
    lines = [(f"r{n:04d}", [0.0, 0.5, 1.0], [1.0, float("nan"), n / 10]) for n in range(8)]
    drawn = overlay(lines, x_label="frequency_per_angstrom", y_label="fsc", level=0.143)
    assert [line.split()[1] for line in drawn[-8:]] == [name for name, _, _ in lines]
    assert len({line.split()[0] for line in drawn[-8:]}) == 8
    assert max(len(line) for line in drawn) <= 80
    assert any(line.lstrip().startswith("0.143") for line in drawn)
    assert overlay([("a", [], [])], x_label="x", y_label="y") == ["y: nothing to draw"]


def test_versions_survive_in_a_copy(project: Project, tmp_path: Path):
    """A copied project has its versions, names and accepted runs."""
    project.run()
    project.rerun("shift", sets={"offset_px": 2.5})
    project.history.tag("kept", "2")
    project.history.accept("r0007", "r0002", why="close")
    shutil.copytree(project.root, tmp_path / "copy")
    copy = Project.open(tmp_path / "copy")
    assert copy.history.show("kept")["version"] == 2
    assert set(states(copy).values()) == {"fresh"}
