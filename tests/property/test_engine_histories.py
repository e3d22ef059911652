"""Whatever was done to a project before, running it gives what running it from nothing gives."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from staproj.api import Project
from staproj.errors import StageError
from staproj.project import manifest_edit
from staproj.project.manifest import Change
from staproj.stages import registry
from tests.integration import toy_stages as toy

SERIES = ("TS_01", "TS_02", "TS_03")
STEPS = ("shift", "again")
OFFSETS = st.integers(-3, 3).map(float)
ACTIONS = st.one_of(
    st.tuples(st.just("set"), st.sampled_from(STEPS), OFFSETS),
    st.tuples(st.just("item"), st.sampled_from(STEPS), st.sampled_from(SERIES), OFFSETS),
    st.tuples(st.just("raw"), st.sampled_from(SERIES), st.integers(1, 4)),
    st.tuples(st.just("rerun"), st.sampled_from(STEPS), OFFSETS),
    st.tuples(st.just("rerun one"), st.sampled_from(STEPS), st.sampled_from(SERIES), OFFSETS),
    st.tuples(st.just("fail"), st.sampled_from(SERIES)),
    st.tuples(st.just("run one"), st.sampled_from(SERIES)),
    st.tuples(st.just("run"), st.sampled_from(("shift", "again", "mean", "copy"))),
    st.tuples(st.just("lose"), st.sampled_from(STEPS), st.sampled_from(SERIES)),
)


def act(project: Project, action: tuple) -> None:
    """Do one thing that people (or disks) do."""
    path = project.root / "staproj.toml"
    match action:
        case ("set", step, value):
            manifest_edit.edit(path, [Change(("step", step, "params", "offset_px"), value)])
        case ("item", step, item, value):
            manifest_edit.edit(path, [Change(("step", step, "item", item, "offset_px"), value)])
        case ("raw", item, value):
            (project.root / "raw" / f"{item}.txt").write_text(f"{value}\n")
        case ("rerun", step, value):
            project.run([step])
            project.rerun(step, sets={"offset_px": value})
        case ("rerun one", step, item, value):
            project.run([step])
            project.rerun(step, sets={"offset_px": value}, items=[item])
        case ("fail", item):
            toy.SWITCH[item] = "fail"
            try:
                project.run()
            except StageError:
                pass
            finally:
                toy.SWITCH.clear()
        case ("run one", item):
            project.run(["again"], items=[item])
        case ("run", step):
            project.run([step])
        case ("lose", step, item):
            head = {s["step"]: s["run"] for s in project.status()["steps"]}[step]
            if head:
                found = project.layout.find_run(head).out / item / "stack.bin"
                found.unlink(missing_ok=True)


def truth(root: Path) -> tuple[dict[str, float], float]:
    """Return what the toy pipeline gives, worked out from the files a person wrote."""
    steps = tomllib.loads((root / "staproj.toml").read_text())["step"]
    values = {}
    for item in SERIES:
        value = float((root / "raw" / f"{item}.txt").read_text())
        for step in STEPS:
            common = steps[step].get("params", {}).get("offset_px", 1.0)
            value += steps[step].get("item", {}).get(item, {}).get("offset_px", common)
        values[item] = value
    return values, 6 * sum(values.values())


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, max_size=7))
def test_every_history_ends_in_the_same_results(tmp_path_factory: pytest.TempPathFactory, actions):
    """After any history one run makes all fresh, a second does nothing; results are as the manifest says."""
    root = tmp_path_factory.mktemp("history")
    (root / "raw").mkdir()
    for number, item in enumerate(SERIES):
        (root / "raw" / f"{item}.txt").write_text(f"{number + 1}\n")
    (root / "toy.toml").write_text(toy.TEMPLATE)
    with registry.temporarily(*toy.ALL), mock.patch.object(os, "fsync"):
        project = Project.create(root, str(root / "toy.toml"))
        for action in actions:
            act(project, action)
        project.run()
        assert {s["state"] for s in project.status()["steps"]} == {"fresh"}
        assert all(not s["reasons"] for s in project.status()["steps"])
        toy.CALLS.clear()
        assert {d["action"] for d in project.run()} == {"fresh"}
        assert toy.CALLS == []
        values, total = truth(root)
        for item, series in project.artifact("again").items():
            assert np.fromfile(series.stack_path, "<f8").tolist() == [values[item]] * 6
        for step in ("mean", "copy"):
            assert np.fromfile(project.artifact(step).path, "<f8") == total


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, min_size=1, max_size=5))
def test_planner_and_status_agree_after_every_history(tmp_path_factory: pytest.TempPathFactory, actions):
    """What a dry run would do is what status calls to do, with the same reasons, whatever happened before."""
    root = tmp_path_factory.mktemp("agree")
    (root / "raw").mkdir()
    for number, item in enumerate(SERIES):
        (root / "raw" / f"{item}.txt").write_text(f"{number + 1}\n")
    (root / "toy.toml").write_text(toy.TEMPLATE)
    with registry.temporarily(*toy.ALL), mock.patch.object(os, "fsync"):
        project = Project.create(root, str(root / "toy.toml"))
        for action in actions:
            act(project, action)
            told = {s["step"]: s for s in project.status()["steps"]}
            for planned in project.run(dry_run=True):
                step = told[planned["step"]]
                assert (planned["action"] in ("run", "adopt")) == step["to_do"]
                assert planned["reasons"] == step["reasons"]
                assert project.why(planned["step"])["reasons"] == step["reasons"]
