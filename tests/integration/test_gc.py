"""Clean-up: what goes, what stays, the trash, and outputs that come back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.errors import CheckError, UsageError
from staproj.project.cleared import cleared_paths
from staproj.project.layout import RunDir
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, states

STEPS = ["import", "shift", "again", "mean", "other", "copy"]


def tree(root: Path) -> dict[str, tuple[str, int]]:
    """Return digest and time of every file below ``runs``."""
    found = {}
    for path in sorted((root / "runs").rglob("*")):
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[path.relative_to(root).as_posix()] = (digest, path.stat().st_mtime_ns)
    return found


def names(plan: dict, key: str = "runs") -> list[str]:
    """Return the runs of a plan."""
    return sorted({entry["run"] for entry in plan[key]})


def test_plan_offers_intermediate_outputs_and_touches_nothing(project: Project):
    """Tilt series can go (of all tilt series), maps cannot; a plan changes no file."""
    project.run()
    before = tree(project.root)
    plan = project.storage.plan()
    assert names(plan) == ["r0001", "r0002", "r0003"]
    assert plan["files"] == 3 * 6
    assert not plan["blocked"]
    assert tree(project.root) == before
    assert not (project.root / ".staproj" / "trash").exists()


def test_plan_names_what_it_frees_to_the_block(project: Project):
    """The bytes in the plan are those that disappear from the disk once the trash is purged."""
    project.run()
    for path in (project.root / "raw").iterdir():  # files of some size, so that blocks count
        path.write_text("7\n" + "x" * 50_000)
    project.run()
    plan = project.storage.clean()

    def blocks() -> int:
        files = [p for p in project.root.rglob("*") if p.is_file() and "trash.json" not in p.name]
        inodes = {p.stat().st_ino: p.stat().st_blocks * 512 for p in files}
        return sum(inodes.values())

    held = blocks()
    project.storage.trash_purge(dry_run=False)
    assert held - blocks() == plan["bytes"] > 0


def test_hard_links_count_once_and_only_when_the_last_name_goes(project: Project):
    """A run that took finished tilt series over shares files; clearing one of the two frees nothing."""
    project.run()
    edit(project, "[step.again]", "[step.shift.item.TS_02]\noffset_px = 9.0\n\n[step.again]")
    project.run(["shift"])
    shared = project.storage.plan(runs=["r0002"])
    both = project.storage.plan(runs=["shift"])
    own = Path(project.run_dir("r0002")) / "out" / "TS_02"
    assert shared["bytes"] == sum(p.stat().st_blocks * 512 for p in own.iterdir())
    inodes = {p.stat().st_ino: p for p in project.root.glob("runs/*-shift/out/*/*")}
    assert both["bytes"] == sum(p.stat().st_blocks * 512 for p in inodes.values())


def test_after_clean_up_nothing_is_stale_and_run_does_nothing(project: Project):
    """Cleared outputs are no reason to compute: statuses stay fresh for consumers, and run makes nothing."""
    project.run()
    project.storage.clean()
    found = states(project)
    assert {found[step] for step in ("mean", "other", "copy")} == {"fresh"}
    assert {found[step] for step in ("import", "shift", "again")} <= {"fresh", "missing-recreatable"}
    toy.CALLS.clear()
    assert {done["action"] for done in project.run()} == {"fresh"}
    assert toy.CALLS == []
    run = RunDir(Path(project.run_dir("shift")))
    assert cleared_paths(run) == {f"TS_0{n}/{f}" for n in (1, 2, 3) for f in ("stack.bin", "tilt_series.h5")}


def test_restore_puts_everything_back_exactly(project: Project):
    """Undo gives the same bytes and times, no marker is left, and the trash is empty."""
    project.run()
    before = tree(project.root)
    done = project.storage.clean()
    assert tree(project.root) != before
    assert [part["trash"] for part in project.storage.trash()] == [done["trash"]]
    back = project.storage.trash_restore()
    assert back["files"] == done["files"]
    assert tree(project.root) == before
    assert project.storage.trash() == []


def test_restore_of_one_run_leaves_the_others_in_the_trash(project: Project):
    """Files of some runs can be restored alone."""
    project.run()
    project.storage.clean()
    project.storage.trash_restore("last", runs=["r0002"])
    assert all((project.root / "runs/r0002-shift/out" / f"TS_0{n}/stack.bin").is_file() for n in (1, 2, 3))
    assert project.storage.trash()[0]["runs"] == ["r0001", "r0003"]


def test_only_needed_inputs_come_back(project: Project):
    """A changed parameter downstream brings back what its step reads and nothing else, bit for bit."""
    project.run()
    before = tree(project.root)
    project.storage.clean()
    project.storage.trash_purge(dry_run=False)
    edit(
        project,
        'inputs = { tilt_series = "again" }',
        'inputs = { tilt_series = "again" }\nparams.weight = 2.0',
    )
    toy.CALLS.clear()
    done = {d["step"]: d["action"] for d in project.run()}
    assert done == {**dict.fromkeys(STEPS, "fresh"), "mean": "run", "copy": "run"}
    after = tree(project.root)
    again = {path for path in before if path.startswith("runs/r0003-again/out/")}
    assert again
    assert {path: after[path] for path in again} == {path: before[path] for path in again}
    assert [p for p in after if p.startswith(("runs/r0001-import/out/", "runs/r0002-shift/out/"))] == []
    assert toy.CALLS.count(("toy_mean", None)) == 1
    assert not any((project.root / ".staproj").glob("remake/*"))


def test_rerun_of_one_tilt_series_keeps_the_others_beside_it(project: Project):
    """Tilt series that were not asked for stay in the new run although their files had been deleted."""
    project.run()
    project.storage.clean()
    project.storage.trash_purge(dry_run=False)
    done = project.rerun("again", items=["TS_01"], sets={"offset_px": "5"})
    assert done["reused"] == ["TS_02", "TS_03"]
    made = json.loads(project.layout.find_run(done["run"]).outputs.read_text())
    assert sorted(made["artifacts"]["tilt_series"]["items"]) == ["TS_01", "TS_02", "TS_03"]
    same = project.rerun("again", items=["TS_01"])  # without a change all are computed anew
    again = json.loads(project.layout.find_run(same["run"]).outputs.read_text())
    assert [e["sha256"] for e in again["files"]] == [e["sha256"] for e in made["files"]]


def test_what_is_still_in_the_trash_is_not_computed_again(project: Project):
    """Bringing outputs back takes them out of the trash while they lie there."""
    project.run()
    before = tree(project.root)
    project.storage.clean()
    toy.CALLS.clear()
    paths = project.storage.bring_back("r0002")
    assert len(paths) == 6
    assert toy.CALLS == []
    after = tree(project.root)
    assert {p: after[p] for p in paths} == {p: before[p] for p in paths}
    assert not (project.root / "runs/r0002-shift/CLEARED").exists()


def test_outputs_are_made_again_through_a_chain_that_is_all_gone(project: Project):
    """One tilt series of the last step comes back although everything above it is gone, too."""
    project.run()
    before = tree(project.root)
    project.storage.clean()
    project.storage.trash_purge(dry_run=False)
    toy.CALLS.clear()
    paths = project.storage.bring_back("r0003", items=["TS_02"])
    assert toy.CALLS == [("toy_import", None), ("toy_shift", "TS_02"), ("toy_shift", "TS_02")]
    after = tree(project.root)
    assert {p: after[p] for p in paths} == {p: before[p] for p in paths}
    assert len(cleared_paths(RunDir(project.root / "runs/r0003-again"))) == 4


def test_a_stage_that_gives_other_numbers_is_found_out(project: Project, monkeypatch: pytest.MonkeyPatch):
    """What comes out otherwise is never put back, and the proof says so."""
    project.run()
    project.storage.clean()
    project.storage.trash_purge(dry_run=False)
    original = toy.tilt_series
    monkeypatch.setattr(toy, "tilt_series", lambda ctx, name, data: original(ctx, name, data + 1e-9))
    with pytest.raises(CheckError, match="otherwise"):
        project.storage.bring_back("r0002")
    assert not list((project.root / "runs/r0002-shift/out").rglob("stack.bin"))
    proof = project.storage.prove(3)
    assert not proof["equal"]
    assert proof["proven"] < 3


def test_proof_makes_as_many_again_as_asked_and_touches_nothing(project: Project):
    """Units are drawn by seed, made again from what would stay, and equal; no file of the project changes."""
    project.run()
    before = tree(project.root)
    proof = project.storage.prove(5, seed=3)
    assert proof["equal"]
    assert proof["proven"] == 5
    assert [u["run"] for u in proof["units"]] == [u["run"] for u in project.storage.prove(5, seed=3)["units"]]
    everything = project.storage.prove(100)
    assert everything["proven"] == 10  # import, 2 x 3 tilt series, mean, other, copy
    assert tree(project.root) == before
    assert not any((project.root / ".staproj").glob("remake/*"))


def test_final_outputs_are_no_class_to_delete(project: Project):
    """Asking for final outputs is refused, with what to ask for instead."""
    project.run()
    with pytest.raises(UsageError, match="final"):
        project.storage.plan(classes=["final"])


def test_disk_use_adds_up(make_project: Callable[..., Project]):
    """Runs, trash and the rest add up to what the files take; cleared bytes are told."""
    project = make_project()
    project.run()
    edit(project, "[step.again]", "[step.shift.item.TS_02]\noffset_px = 9.0\n\n[step.again]")
    project.run()
    project.storage.clean(runs=["r0003"])
    for by in ("run", "class", "step"):
        data = project.storage.usage(by)
        inodes = {
            p.lstat().st_ino: p.lstat().st_blocks * 512 for p in [project.root, *project.root.rglob("*")]
        }
        assert data["total"] == sum(inodes.values())
        if by != "class":
            assert sum(row["bytes"] for row in data["rows"]) <= data["runs"]
    rows = {row["name"]: row for row in project.storage.usage("run")["rows"]}
    listed = json.loads((project.root / "runs/r0003-again/outputs.json").read_text())["files"]
    assert rows["r0003"]["cleared"] == sum(entry["size"] for entry in listed)
    quick = {row["name"]: row for row in project.storage.usage("run", recorded=True)["rows"]}
    assert quick["r0003"]["intermediate"] == 0
    assert quick["r0003"]["cleared"] == rows["r0003"]["cleared"]
