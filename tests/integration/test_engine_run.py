"""Running, freshness and reasons, on a pipeline of toy stages."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

from staproj.api import Project
from staproj.errors import ManifestError, UsageError
from staproj.project.layout import RunDir
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, reasons, states

FRESH = dict.fromkeys(["import", "shift", "again", "mean", "other", "copy"], "fresh")


def test_first_run_makes_everything_and_second_nothing(project: Project):
    """All steps run once, in order; then all are fresh and nothing is computed or written."""
    assert set(states(project).values()) == {"never-run"}
    done = project.run()
    assert [d["action"] for d in done] == ["run"] * 6
    assert states(project) == FRESH
    toy.CALLS.clear()
    before = sorted(p for p in project.root.rglob("*"))
    assert [d["action"] for d in project.run()] == ["fresh"] * 6
    assert toy.CALLS == []
    assert sorted(p for p in project.root.rglob("*")) == before


def test_results_are_right_and_readable(project: Project):
    """Artifacts come back as model objects with absolute paths; numbers went through the whole chain."""
    project.run()
    series = project.artifact("again", "tilt_series")
    assert sorted(series) == ["TS_01", "TS_02", "TS_03"]
    assert np.fromfile(series["TS_02"].stack_path, "<f8").tolist() == [23.0] * 6
    total = np.fromfile(project.artifact("mean").path, "<f8")
    assert total == 6 * (13 + 23 + 33)


def test_run_directory_is_as_documented(project: Project):
    """A sealed run holds the documented files and no attempt is left."""
    project.run()
    run = RunDir(project.root / "runs" / "r0002-shift")
    found = sorted(p.name for p in run.path.iterdir())
    wanted = "SEALED env.json items log meta.h5 out outputs.json spec.json state.jsonl"
    assert found == sorted(wanted.split(), key=str)
    outputs = json.loads(run.outputs.read_text())
    for entry in outputs["files"]:
        path = run.out / entry["path"]
        assert path.stat().st_size == entry["size"]
        assert path.stat().st_mtime_ns == entry["mtime_ns"]
        assert not path.stat().st_mode & 0o222
    env = json.loads(run.env.read_text())
    assert {"packages", "python", "host", "cpu", "user", "threads", "git"} <= set(env)
    spec = json.loads(run.spec.read_text())
    assert spec["params"]["offset_px"] == {"value": 2.0, "layer": "step"}
    assert spec["params"]["rounded"] == {"value": False, "layer": "default"}


def test_no_record_holds_the_project_directory(project: Project):
    """Nothing written inside the project contains its absolute path (raw data lies inside here)."""
    project.run()
    needle = str(project.root).encode()
    holders = [p for p in project.root.rglob("*") if p.is_file() and needle in p.read_bytes()]
    assert holders == []


def test_record_keeps_what_stages_say(project: Project):
    """Metrics, tables, curves, pictures and verdicts come back from meta.h5."""
    project.run()
    record = project.record("shift")
    assert record.layers["offset_px"] == "step"
    part = record.item("TS_03")
    assert part.metrics == {"mean_px": 32.0}
    assert part.units == {"mean_px": "px"}
    assert part.tables["rows"]["name"].tolist() == ["a", "bc"]
    assert part.curves["ramp"].y.tolist() == [2, 3]
    assert part.previews["first"].dtype == np.uint8
    assert part.verdict == "mean 32.0"
    assert project.record("mean").item().metrics["total"] == 6 * 69


def test_edited_parameter_makes_its_step_and_everything_below_stale(project: Project):
    """The step says which parameter; steps below say through whom, and name the same parameter."""
    project.run()
    edit(project, "offset_px = 2.0", "offset_px = 7.0")
    expected = {**FRESH, "shift": "stale", "again": "stale", "mean": "stale", "copy": "stale"}
    assert states(project) == expected
    cause = ("param", "shift.offset_px", 2.0, 7.0)
    assert reasons(project, "shift") == [cause]
    assert reasons(project, "copy") == [("upstream", "mean", "r0004", None), cause]


def test_rerun_leaves_its_step_fresh_and_exactly_the_steps_below_stale(project: Project):
    """``rerun --set`` keeps the old run, writes the value into the manifest, and names it as the cause."""
    project.run()
    result = project.rerun("shift", sets={"offset_px": "6"}, note="try six")
    assert result["run"] == "r0007"
    assert states(project) == {**FRESH, "again": "stale", "mean": "stale", "copy": "stale"}
    cause = ("param", "shift.offset_px", 2.0, 6.0)
    kinds = reasons(project, "again")
    assert kinds[0][:2] == ("input", "shift.tilt_series")
    assert kinds[0][2] != kinds[0][3]
    assert kinds[1:] == [cause]
    assert cause in reasons(project, "mean")
    assert cause in reasons(project, "copy")
    assert project.why("shift")["changes"] == [
        {"kind": "param", "field": "shift.offset_px", "old": 2.0, "new": 6.0}
    ]
    spec = json.loads((project.run_dir("shift") / "spec.json").read_text())
    assert spec["params"]["offset_px"]["layer"] == "command line"
    assert spec["note"] == "try six"
    assert "offset_px = 6   # two" in (project.root / "staproj.toml").read_text()
    assert (project.root / "runs" / "r0002-shift" / "SEALED").exists()
    project.run()
    assert states(project) == FRESH


def test_equal_bytes_cut_the_work_off(project: Project):
    """A rerun whose output is the same leaves everything below fresh."""
    project.run()
    project.rerun("shift", sets={"rounded": True})
    assert states(project) == FRESH


def test_going_back_takes_the_old_run_again(project: Project):
    """With the old value back in the manifest the old runs stand again; nothing is computed."""
    project.run()
    project.rerun("shift", sets={"offset_px": 6})
    project.run()
    edit(project, "offset_px = 6", "offset_px = 2.0")
    assert states(project)["shift"] == "stale"
    toy.CALLS.clear()
    dry = {d["step"]: d["action"] for d in project.run(dry_run=True)}
    assert dry["shift"] == "adopt"
    done = {d["step"]: (d["action"], d["run"]) for d in project.run()}
    assert done["shift"] == ("adopt", "r0002")
    assert done["copy"] == ("adopt", "r0006")
    assert toy.CALLS == []
    assert states(project) == FRESH


def test_override_of_one_item_computes_that_item_only(project: Project):
    """Only TS_02 is computed, the others are hard links to the files of the run before."""
    project.run()
    edit(project, "[step.again]", "[step.shift.item.TS_02]\noffset_px = 5.0\n\n[step.again]")
    assert reasons(project, "shift") == [("item", "shift.TS_02.offset_px", 2.0, 5.0)]
    toy.CALLS.clear()
    done = project.run(["shift"])[-1]
    assert toy.CALLS == [("toy_shift", "TS_02")]
    assert done["reused"] == ["TS_01", "TS_03"]
    old, new = (
        project.root / "runs" / r / "out" / "TS_01" / "stack.bin" for r in ("r0002-shift", "r0007-shift")
    )
    assert old.samefile(new)
    show = project.show("shift")
    assert show["results"]["TS_01"]["reused_from"] == "r0002"
    assert show["results"]["TS_02"]["reused_from"] is None
    assert show["results"]["TS_01"]["metrics"] == {"mean_px": 12.0}
    toy.CALLS.clear()
    project.run()
    assert toy.CALLS == [("toy_shift", "TS_02"), ("toy_mean", None), ("toy_copy", None)]
    field = [r["field"] for r in project.diff("r0002", "r0007")["params"]]
    assert field == ["TS_02.offset_px"]


def test_run_for_one_item_only(project: Project):
    """``items`` makes one tilt series; the step then says which ones are still to be made."""
    project.run(["shift"], items=["TS_02"])
    assert toy.CALLS == [("toy_import", None), ("toy_shift", "TS_02")]
    assert [r[1] for r in reasons(project, "shift")] == ["shift.TS_01", "shift.TS_03"]
    toy.CALLS.clear()
    assert project.run(["shift"], items=["TS_02"])[-1]["action"] == "fresh"
    project.run(["shift"])
    assert toy.CALLS == [("toy_shift", "TS_01"), ("toy_shift", "TS_03")]
    with pytest.raises(UsageError, match="TS_09"):
        project.run(["shift"], items=["TS_09"])


def test_command_line_is_above_overrides_of_items(project: Project):
    """A value for the whole step also replaces an item's own; one for an item stays with that item."""
    edit(project, "[step.again]", "[step.shift.item.TS_02]\noffset_px = 5.0\n\n[step.again]")
    project.run()
    project.rerun("shift", sets={"offset_px": 6})
    data = tomllib.loads((project.root / "staproj.toml").read_text())
    assert data["step"]["shift"]["item"]["TS_02"] == {"offset_px": 6}
    toy.CALLS.clear()
    project.rerun("shift", sets={"shift.offset_px": 8}, items=["TS_01"])
    assert toy.CALLS == [("toy_shift", "TS_01")]
    assert states(project)["shift"] == "fresh"
    spec = json.loads((project.run_dir("shift") / "spec.json").read_text())
    assert spec["item_params"]["TS_01"]["offset_px"] == {"value": 8.0, "layer": "command line"}


def test_rerun_of_a_run_takes_its_parameters(project: Project):
    """``rerun r0002`` means the parameters of r0002, whatever the manifest says by now."""
    project.run()
    project.rerun("shift", sets={"offset_px": 6, "mode": "other"})
    result = project.rerun("r0002", sets={"rounded": "true"})
    spec = json.loads((project.run_dir(result["run"]) / "spec.json").read_text())
    assert {k: v["value"] for k, v in spec["params"].items()} == {
        "offset_px": 2.0,
        "rounded": True,
        "mode": "plain",
    }
    assert states(project)["shift"] == "fresh"


def test_rerun_without_changes_computes_anew(project: Project):
    """A plain rerun is a check of reproducibility: nothing is taken over, same bytes leave all fresh."""
    project.run()
    toy.CALLS.clear()
    assert project.rerun("shift")["reused"] == []
    assert len(toy.CALLS) == 3
    assert states(project) == FRESH


def test_head_can_be_set_back(project: Project):
    """An earlier run stands again, with its parameters in the manifest, and a version says so."""
    project.run()
    project.rerun("shift", sets={"offset_px": 6})
    project.set_head("shift", "r0002", note="six was worse")
    assert states(project) == FRESH
    newest = project.versions()[0]
    assert newest["why"] == "six was worse"
    assert newest["heads"]["shift"] == "r0002"
    with pytest.raises(UsageError, match="is of step"):
        project.set_head("shift", "r0004")


def test_set_on_run_is_intent(project: Project):
    """``run --set`` computes with the value and keeps it in the manifest."""
    project.run(["shift"], sets={"shift.offset_px": "3"})
    assert states(project)["shift"] == "fresh"
    assert project.show("shift")["params"]["offset_px"] == {"value": 3.0, "layer": "command line"}
    for bad, word in (("shift.ofset_px", "offset_px"), ("shft.offset_px", "shift"), ("offset_px", "STEP")):
        with pytest.raises(UsageError) as info:
            project.run(sets={bad: 1})
        assert word in info.value.hint
    with pytest.raises(UsageError, match="must be <= 100 px"):
        project.run(sets={"shift.offset_px": 1000})
    with pytest.raises(UsageError, match="must be true or false"):
        project.run(sets={"shift.rounded": "3"})


def test_changed_raw_data_is_seen_and_touched_raw_data_is_not(project: Project):
    """Content decides: another time stamp changes nothing, another number makes the import stale."""
    project.run()
    raw = project.root / "raw" / "TS_02.txt"
    os.utime(raw, ns=(1, 1))
    assert states(project) == FRESH
    raw.write_text("21\n")
    assert reasons(project, "import")[0][:2] == ("data", "import.movies")
    toy.CALLS.clear()
    project.run()
    assert toy.CALLS.count(("toy_shift", "TS_02")) == 2
    assert ("toy_shift", "TS_01") not in toy.CALLS


def test_raw_data_out_of_reach_makes_nothing_stale(project: Project):
    """Movies moved to tape: everything stays fresh, with a note; the import itself cannot run again."""
    project.run()
    shutil.rmtree(project.root / "raw")
    assert states(project) == FRESH
    assert "no file matches" in project.why("import")["notes"][0]


def test_a_copy_elsewhere_is_fresh_and_can_go_on(project: Project, tmp_path: Path):
    """Copied without time stamps: nothing is stale, and a change is computed there with the copied inputs."""
    project.run()
    shutil.copytree(project.root, tmp_path / "b" / "copy", copy_function=shutil.copy)
    shutil.rmtree(project.root)
    copy = Project.open(tmp_path / "b" / "copy" / "runs")
    toy.CALLS.clear()
    assert [d["action"] for d in copy.run()] == ["fresh"] * 6
    copy.rerun("again", sets={"offset_px": 3}, items=["TS_01"])
    assert toy.CALLS == [("toy_shift", "TS_01")]
    copy.run()
    assert states(copy) == FRESH
    assert np.fromfile(copy.artifact("mean").path, "<f8") == 6 * (15 + 23 + 33)


def test_layers_keep_their_origin(project: Project):
    """Default, microscope, template, step and item each stay visible in the record."""
    edit(project, 'template = "toy"', "")
    edit(project, "[step.again]", "[step.shift.item.TS_02]\nrounded = true\n\n[step.again]")
    project.run(["shift"])
    assert project.show("import")["params"]["voltage_kv"] == {"value": 200.0, "layer": "microscope"}
    assert project.show("import")["params"]["pixel_size_angstrom"]["layer"] == "default"
    assert project.show("shift")["item_params"] == {"TS_02": {"rounded": {"value": True, "layer": "item"}}}


def test_site_values_are_frozen_when_the_project_is_made(make_project, tmp_path, monkeypatch):
    """Values of the laboratory are copied at creation, so another laboratory sees the same keys."""
    site = tmp_path / "site.toml"
    site.write_text("[stage.toy_shift]\nrounded = true\n[stage.unused]\nx = 1\n")
    monkeypatch.setenv("STAPROJ_SITE", str(site))
    project = make_project()
    monkeypatch.delenv("STAPROJ_SITE")
    project.run(["shift"])
    assert project.show("shift")["params"]["rounded"] == {"value": True, "layer": "site"}
    assert "unused" not in (project.root / "staproj.toml").read_text()


def test_value_of_an_item_that_is_not_made_yet(project: Project):
    """An override of a tilt series that upstream steps left out this time is no mistake."""
    edit(project, "[step.mean]", "[step.again.item.TS_01]\noffset_px = 5.0\n\n[step.mean]")
    project.run(["again"], items=["TS_02"])
    assert project.run(["again"], items=["TS_02"])[-1]["action"] == "fresh"
    project.run()
    assert states(project) == FRESH


def test_missing_output_is_said(project: Project):
    """A deleted file of a head gives "missing-recreatable" with its name; run makes it again."""
    project.run()
    (project.root / "runs" / "r0002-shift" / "out" / "TS_01" / "stack.bin").unlink()
    step = next(s for s in project.status()["steps"] if s["step"] == "shift")
    assert step["state"] == "missing-recreatable"
    assert step["reasons"][0]["field"] == "runs/r0002-shift/out/TS_01/stack.bin"
    toy.CALLS.clear()
    project.run()
    assert toy.CALLS == [("toy_shift", "TS_01")]
    assert states(project) == FRESH


def test_until_and_steps_run_what_is_needed_only(project: Project):
    """``until`` stops there; other branches are not touched."""
    project.run(until="again")
    found = states(project)
    assert {s for s, state in found.items() if state == "fresh"} == {"import", "shift", "again"}
    with pytest.raises(UsageError, match="shfit"):
        project.run(until="shfit")


def test_dry_run_changes_nothing(project: Project):
    """A dry run says what would happen and leaves no trace."""
    project.run(["shift"])
    before = sorted(project.root.rglob("*"))
    plan = {d["step"]: d["action"] for d in project.run(dry_run=True, sets={"shift.offset_px": 4})}
    assert plan["import"] == "fresh"
    assert plan["shift"] == plan["mean"] == "run"
    assert sorted(project.root.rglob("*")) == before
    assert states(project)["shift"] == "fresh"


def test_progress_tells_steps_items_and_ends(project: Project):
    """Watchers see the plan, each step, each item and the end."""
    events = []
    project.run(progress=events.append)
    kinds = [(e.kind, e.step, e.item) for e in events if e.step in ("", "shift")]
    assert kinds[0] == ("plan", "", None)
    assert kinds[1] == ("step", "shift", None)
    assert kinds[2:5] == [
        ("item", "shift", "TS_01"),
        ("progress", "shift", "TS_01"),
        ("item-done", "shift", "TS_01"),
    ]
    assert kinds[-1] == ("step-done", "shift", None)
    assert events[-1].step == "copy"


def test_input_of_a_fixed_run(project: Project):
    """``run:r0002`` stays with that run when the step moves on."""
    project.run()
    edit(project, 'tilt_series = "shift"', 'tilt_series = "run:r0002"')
    assert states(project) == FRESH
    project.rerun("shift", sets={"offset_px": 6})
    assert states(project) == FRESH
    edit(project, "run:r0002", "run:r0099")
    with pytest.raises(ManifestError, match="r0099"):
        project.status()


def test_override_of_an_unknown_item_is_refused(project: Project):
    """A typing error in the name of a tilt series must not be silently without effect."""
    edit(project, "[step.again]", "[step.shift.item.TS_2]\noffset_px = 5.0\n\n[step.again]")
    with pytest.raises(ManifestError, match="TS_2") as info:
        project.run()
    assert "TS_02" in info.value.hint


def test_changed_cache_version_and_stage_are_reasons(project: Project, monkeypatch):
    """Raised cache_version makes the step stale and says so."""
    import dataclasses

    from staproj.stages import registry

    project.run()
    with registry.temporarily(dataclasses.replace(toy.MEAN, cache_version=2)):
        assert reasons(project, "mean") == [("cache_version", "mean", 1, 2)]
        assert states(project)["other"] == "stale"


def test_versions_tell_what_changed(project: Project):
    """Each run of the engine that changed something leaves one version; two can be compared."""
    project.run()
    project.run()
    project.rerun("shift", sets={"offset_px": 6})
    assert [v["why"] for v in project.versions()] == [
        "rerun shift --set shift.offset_px=6",
        "run",
        "new project from template toy",
    ]
    found = project.version_diff(2, 3)
    assert "+offset_px = 6   # two" in found["manifest"]
    assert found["heads"] == [{"step": "shift", "old": "r0002", "new": "r0007"}]


def test_heads_survive_the_loss_of_versions(project: Project):
    """Versions that were never written (a crash) cost nothing: later sealed runs are heads."""
    project.run()
    shutil.rmtree(project.root / "versions")
    shutil.rmtree(project.root / ".staproj")
    assert states(project) == FRESH


def test_lineage_from_any_file_and_directory(project: Project, monkeypatch, tmp_path: Path):
    """The chain of a file goes down to the raw data, from any working directory, through links too."""
    project.run()
    file = project.root / "runs" / "r0006-copy" / "out" / "map.bin"
    found = project.lineage(file)
    assert [n["step"] for n in found["chain"]] == ["copy", "mean", "again", "shift", "import"]
    assert [r["path"] for r in found["raw"]] == ["raw/TS_01.txt", "raw/TS_02.txt", "raw/TS_03.txt"]
    assert found["artifact"]["sha256"].startswith("sha256:")
    assert found["chain"][3]["params"]["offset_px"] == {"value": 2.0, "layer": "step"}
    monkeypatch.chdir(project.root / "raw")
    assert project.lineage("../runs/r0006-copy/out/map.bin") == found
    (tmp_path / "link").symlink_to(file)
    assert project.lineage(tmp_path / "link")["run"] == "r0006"
    one = project.lineage("runs/r0003-again/out/TS_02/tilt_series.h5")
    assert one["item"] == "TS_02"
    assert one["artifact"] == {**one["artifact"], "port": "tilt_series", "kind": "tilt_series"}
    with pytest.raises(UsageError):
        project.lineage(project.root / "staproj.toml")
    with pytest.raises(UsageError):
        project.lineage("runs/r0006-copy/out/nothing.bin")
    json.dumps(found)


def test_diff_shows_only_what_differs(project: Project):
    """Parameters with layers, metrics and outputs; equal things are not listed."""
    project.run()
    project.rerun("shift", sets={"offset_px": 6})
    found = project.diff("r0002", "shift")
    assert found["params"] == [
        {"field": "offset_px", "old": 2.0, "new": 6.0, "old_layer": "step", "new_layer": "command line"}
    ]
    assert {m["field"]: m["new"] for m in found["metrics"]}["TS_01.mean_px"] == 16.0
    assert found["inputs"] == found["software"] == found["data"] == []


def test_ls_log_and_show(project: Project):
    """Lists open no HDF5, logs hold what stages wrote, show has environment and usage."""
    project.run()
    rows = project.ls()
    assert [r["run"] for r in rows] == [f"r000{n}" for n in (6, 5, 4, 3, 2, 1)]
    assert all(r["head"] and r["state"] == "sealed" for r in rows)
    assert project.log("shift").count("added") == 3
    show = project.show("mean")
    assert show["peak_rss_bytes"] > 0
    assert show["wall_s"] >= 0
    assert show["environment"]["python"]
    json.dumps(show)
    with pytest.raises(UsageError, match="r0099"):
        project.show("r0099")
