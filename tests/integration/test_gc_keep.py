"""Clean-up leaves alone what must stay; a clean-up that breaks off is carried on; the trash leads nowhere."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.engine.recreate import recreatable
from staproj.engine.view import View
from staproj.errors import CheckError, LockedError, StaprojError, UsageError
from staproj.project import runs as project_runs
from staproj.project.layout import Layout, RunName
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, states
from tests.integration.test_gc import names, tree


def test_raw_data_that_is_gone_blocks_everything_made_from_it(project: Project):
    """Without the raw data import cannot go; what is made from its outputs alone still can."""
    project.run()
    (project.root / "raw" / "TS_02.txt").unlink()
    plan = project.storage.plan()
    assert names(plan) == ["r0002", "r0003"]
    assert names(plan, "blocked") == ["r0001"]
    assert "raw data is gone: raw/TS_02.txt" in plan["blocked"][0]["reason"]
    project.storage.clean()
    assert (project.root / "runs/r0001-import/out/TS_01/stack.bin").is_file()
    assert recreatable(View.open(project.root), "r0003") == (True, "")


def test_purge_refuses_what_cannot_be_made_again_any_more(project: Project):
    """Raw data that went after the clean-up stops the purge, and restoring still works."""
    project.run()
    before = tree(project.root)
    project.storage.clean()
    (project.root / "raw" / "TS_01.txt").write_text("999\n")
    with pytest.raises(CheckError, match="raw data was changed"):
        project.storage.trash_purge(dry_run=False)
    project.storage.trash_restore()
    assert tree(project.root) == before


def test_victims_are_judged_together(project: Project, monkeypatch: pytest.MonkeyPatch):
    """A step that cannot be made again keeps its outputs; those above and below it may still go."""
    project.run()
    spec_file = project.root / "runs/r0002-shift/spec.json"
    spec_file.chmod(0o644)
    spec = json.loads(spec_file.read_text())
    spec["execution"]["device"] = "gpu"
    spec_file.write_text(json.dumps(spec))
    plan = project.storage.plan()
    assert names(plan) == ["r0001", "r0003"]
    assert names(plan, "blocked") == ["r0002"]
    assert all("on gpu" in entry["reason"] for entry in plan["blocked"])


def test_blocked_by_stage_and_cache_version(project: Project):
    """Another cache_version, a stage that is gone, or one without promise blocks; the reason names it."""
    from dataclasses import replace

    from staproj.stages import registry

    project.run()
    for changed, told in (
        (replace(toy.SHIFT, cache_version=2), "cache_version 1 -> 2"),
        (replace(toy.SHIFT, deterministic=False), "does not promise"),
    ):
        with registry.temporarily(changed):
            plan = project.storage.plan()
        assert names(plan, "blocked") == ["r0002", "r0003"]
        assert all(told in entry["reason"] for entry in plan["blocked"])
        registry._TEMPORARY[toy.SHIFT.name] = toy.SHIFT
        registry.get.cache_clear()


def test_superseded_runs_can_go_whole_but_not_those_that_count(project: Project):
    """Old runs go with --superseded, final outputs too; rated and tagged ones stay."""
    project.run()
    project.rerun("mean", sets={"weight": "2"})  # r0007; r0004 is still what copy was made from
    project.rerun("mean", sets={"weight": "3"})  # r0008
    project.run()
    plan = project.storage.plan(superseded=True)
    assert "r0004" in names(plan)
    assert "r0007" in names(plan)
    head = project.status()["steps"][3]["run"]
    assert head not in names(plan)
    (project.root / "annot").mkdir(exist_ok=True)
    (project.root / "annot" / "r0007.toml").write_text("rating = 4\n")
    (project.root / "annot" / "r0002.toml").write_text('tags = ["final"]\n')
    plan = project.storage.plan(superseded=True)
    assert "r0007" not in names(plan)
    assert "r0002" not in names(plan)
    assert [k["reason"] for k in plan["kept"] if k["run"] == "r0002"] == ["tagged 'final'"]


def test_runs_of_a_step_that_left_the_manifest_are_superseded(project: Project):
    """Once a step is taken out, its runs may go with --superseded, and come back from their records."""
    project.run()
    before = tree(project.root)
    edit(project, '[step.other]\nstage = "toy_mean"\ninputs = { tilt_series = "import" }\n', "")
    assert "r0005" not in names(project.storage.plan())
    assert "r0005" in names(project.storage.clean(superseded=True))
    project.storage.trash_purge(dry_run=False)
    project.storage.bring_back("r0005")
    after = tree(project.root)
    assert {p: after[p] for p in before if "r0005" in p} == {p: before[p] for p in before if "r0005" in p}


def test_tagged_versions_keep_their_outputs(project: Project):
    """Heads of a version with a name stay, superseded or not; --tagged lets intermediates go."""
    project.run()
    last = project.versions()[0]["version"]
    (project.root / "versions" / "tags.toml").write_text(f"[tags]\npaper = {last}\n")
    edit(project, "offset_px = 2.0", "offset_px = 3.0")
    project.run()
    plan = project.storage.plan(superseded=True)
    assert not {"r0001", "r0002", "r0003", "r0004"} & set(names(plan))
    assert {"r0002", "r0003"} <= set(names(plan, "kept"))
    plan = project.storage.plan(superseded=True, tagged=True)
    assert {"r0001", "r0002", "r0003"} <= set(names(plan))
    assert "r0004" not in names(plan)


def test_pinned_inputs_stay(project: Project):
    """A run that the manifest names as an input is kept."""
    project.run()
    edit(project, 'inputs = { tilt_series = "again" }', 'inputs = { tilt_series = "run:r0002" }')
    plan = project.storage.plan()
    assert "r0002" in names(plan, "kept")
    assert "r0002" not in names(plan)


def test_runs_at_work_and_what_they_read_stay(project: Project):
    """While a run is at work its inputs cannot go, not even between plan and deed."""
    project.run()
    at_work = project.layout.run(RunName(7, "again"))
    at_work.path.mkdir()
    spec = json.loads((project.root / "runs/r0003-again/spec.json").read_text())
    at_work.spec.write_text(json.dumps({**spec, "run": "r0007"}))
    project_runs.note_started(at_work, 1)
    plan = project.storage.plan()
    assert names(plan) == ["r0001", "r0003"]
    assert "r0002" in names(plan, "kept")
    from staproj.engine import collect, keep

    view = View.open(project.root)
    made = collect.plan(view, collect.Request())
    victim = made.victims[0]
    victim.unit = ("r0002", victim.unit[1])
    with pytest.raises(LockedError, match="at work"):
        collect.delete(view, made, why="test")
    assert keep.in_use(view)["r0002"].startswith("r0007")


def test_attempts_go_only_when_nobody_can_go_on_with_them(project: Project):
    """What a failed run finished is used by the next run, so it stays until that is done (or it is named)."""
    toy.SWITCH["TS_02"] = "fail"
    with pytest.raises(StaprojError):
        project.run(["shift"])
    toy.SWITCH.clear()
    plan = project.storage.plan(attempts=True)
    assert names(plan, "blocked") == ["r0002"]
    assert names(project.storage.plan(attempts=True, runs=["r0002"])) == ["r0002"]
    assert project.run(["shift"])[-1]["reused"] == ["TS_01", "TS_03"]
    plan = project.storage.clean(attempts=True, classes=["scratch"])
    assert names(plan) == ["r0002"]
    assert not list((project.root / "runs/r0002-shift").glob("attempt-*"))
    assert (project.root / "runs/r0002-shift/spec.json").is_file()
    project.storage.trash_restore()
    assert list((project.root / "runs/r0002-shift").glob("attempt-*/out/TS_01/stack.bin"))


def test_a_clean_up_that_breaks_off_is_carried_on(project: Project, monkeypatch: pytest.MonkeyPatch):
    """After a stop half-way every file is in its place or in the trash; the next writer finishes."""
    from staproj.engine.recover import recover
    from staproj.project import trash

    project.run()
    before = tree(project.root)
    real, moved = trash._rename, []

    def stop(source: Path, target: Path) -> None:
        if len(moved) == 7:
            raise OSError(5, "Input/output error")
        moved.append(source)
        real(source, target)

    monkeypatch.setattr(trash, "_rename", stop)
    with pytest.raises(OSError, match="Input/output"):
        project.storage.clean()
    assert set(states(project).values()) <= {"fresh", "missing-recreatable"}
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    told = recover(Layout(project.root))
    assert any("finished a clean-up: 11 files" in words for words in told)
    assert recover(Layout(project.root)) == []
    project.storage.trash_restore()
    assert tree(project.root) == before


def test_trash_leads_nowhere_else(project: Project, tmp_path: Path):
    """Records of the trash that point out of the project, and links in it, are not followed."""
    project.run()
    done = project.storage.clean()
    place = project.root / ".staproj" / "trash" / done["trash"]
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "stack.bin").write_text("mine")
    shutil.rmtree(place / "files" / "runs" / "r0001-import" / "out" / "TS_01")
    (place / "files" / "runs" / "r0001-import" / "out" / "TS_01").symlink_to(outside)
    project.storage.trash_restore()
    assert (outside / "stack.bin").read_text() == "mine"
    record = json.loads((place / "trash.json").read_text())
    record["entries"][0]["path"] = "runs/../../outside/stack.bin"
    (place / "trash.json").write_text(json.dumps(record))
    assert project.storage.trash() == []
    with pytest.raises(UsageError):
        project.storage.trash_restore(done["trash"])
