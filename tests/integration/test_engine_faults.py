"""What goes wrong: failing items, full disks, stops, crashes, damaged records, two at once."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.engine import execute as execute_module
from staproj.engine import sealing, session
from staproj.errors import (
    CancelledError,
    InputError,
    LockedError,
    ManifestError,
    ProjectError,
    StageError,
    StaprojError,
    StorageError,
)
from staproj.project import runs
from staproj.project.batch import Batch
from staproj.project.layout import Layout, RunDir
from staproj.project.process import this_process
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, reasons, states


def test_one_failing_item_does_not_lose_the_others(project: Project):
    """The run fails and names the item; the next one computes only that item."""
    toy.SWITCH["TS_02"] = "fail"
    with pytest.raises(StageError, match=r"1 of 3 tilt series.*2 finished") as info:
        project.run()
    assert info.value.exit_code == 1
    assert "TS_02" in str(info.value.where)
    run = RunDir(project.root / "runs" / "r0002-shift")
    assert not run.out.exists()
    assert not run.is_sealed()
    assert runs.state_of(run).state == "failed"
    assert "ValueError: this one is bad" in project.log("shift")
    assert not (run.attempt(1) / "out" / "TS_02").exists()
    assert states(project)["shift"] == "never-run" or states(project)["shift"] == "failed"
    assert ("failed", "shift.TS_02", None, "ValueError: this one is bad") in reasons(project, "shift")
    toy.SWITCH.clear()
    toy.CALLS.clear()
    done = project.run(["shift"])[-1]
    assert toy.CALLS == [("toy_shift", "TS_02")]
    assert done["reused"] == ["TS_01", "TS_03"]
    shutil.rmtree(run.path)
    assert states(project)["shift"] == "fresh"
    assert project.artifact("shift")["TS_01"].stack_path.is_file()


def test_failed_rerun_changes_nothing_that_stands(project: Project):
    """Head and manifest stay as they were, and the step is fresh; the failed run can be looked at."""
    project.run()
    text = (project.root / "staproj.toml").read_text()
    toy.SWITCH["TS_01"] = "fail"
    with pytest.raises(StageError):
        project.rerun("shift", sets={"offset_px": 6})
    assert (project.root / "staproj.toml").read_text() == text
    assert set(states(project).values()) == {"fresh"}
    failed = project.ls("shift")[0]
    assert failed["state"] == "failed"
    assert project.show(failed["run"])["error"]["items"] == {"TS_01": "ValueError: this one is bad"}


def test_failure_of_a_stage_that_runs_once_keeps_its_own_error(project: Project):
    """The stage's error and hint reach the person; nothing half-written stays."""
    toy.SWITCH["mean"] = "fail"
    with pytest.raises(InputError, match="nothing to average") as info:
        project.run()
    assert info.value.hint == "look upstream"
    run = project.layout.find_run("r0004")
    assert sorted(p.name for p in run.path.iterdir()) == ["env.json", "log", "spec.json", "state.jsonl"]
    assert states(project)["mean"] == "failed"
    assert states(project)["copy"] == "never-run"


def test_full_disk_is_one_clear_error_and_the_project_goes_on(project: Project):
    """ENOSPC in a stage interrupts the run at once, with a remedy; it is gone on with later."""
    toy.SWITCH["TS_02"] = "full"
    with pytest.raises(StorageError, match="disk is full") as info:
        project.run()
    assert "free some space" in info.value.hint
    assert ("toy_shift", "TS_03") not in toy.CALLS
    assert "staproj resume" in info.value.hint
    assert states(project)["shift"] == "interrupted"
    plan = project.jobs.to_resume()
    assert plan is not None
    assert plan["run"] == "r0002"
    toy.SWITCH.clear()
    toy.CALLS.clear()
    session.run_steps(project.root, targets=["shift"], resume="r0002")
    assert toy.CALLS == [("toy_shift", "TS_02"), ("toy_shift", "TS_03")]
    assert (project.root / "runs/r0002-shift/SEALED").exists()


@pytest.mark.parametrize("name", ["spec.json", "item.json", "outputs.json", "SEALED", "meta.h5"])
def test_full_disk_while_bookkeeping(project: Project, monkeypatch: pytest.MonkeyPatch, name: str):
    """ENOSPC at any record gives the same error, no sealed run, and a project that runs afterwards."""
    from staproj.project import atomic

    full = OSError(errno.ENOSPC, "No space left on device")
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if Path(target).name == name:
            raise full
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(StorageError, match="disk is full"):
            project.run()
    for run in (project.root / "runs").iterdir():
        assert not (run / "SEALED").exists()
        assert not (run / "out").exists()
    assert not list(project.root.rglob("*.part"))
    assert atomic.is_disk_full(full)
    assert [run["state"] for run in project.ls()] == ["interrupted"]
    project.run()
    assert set(states(project).values()) == {"fresh"}


def test_ctrl_c_marks_the_run_and_keeps_finished_items(project: Project):
    """KeyboardInterrupt becomes exit code 130; the step shows as interrupted and goes on from there."""
    toy.SWITCH["TS_02"] = "interrupt"
    with pytest.raises(CancelledError) as info:
        project.run()
    assert info.value.exit_code == 130
    assert states(project)["shift"] == "interrupted"
    toy.SWITCH.clear()
    toy.CALLS.clear()
    project.run(["shift"])
    assert toy.CALLS == [("toy_shift", "TS_02"), ("toy_shift", "TS_03")]


def test_asked_to_stop(project: Project):
    """A stage that checks stops when asked, by the caller or by a marker in the run directory."""

    def check(ctx: object) -> None:
        (project.root / "runs" / "r0002-shift" / "CANCEL").touch()
        ctx._checked = -10.0  # type: ignore[attr-defined]
        ctx.check_cancelled()  # type: ignore[attr-defined]

    toy.SWITCH["TS_02"] = check
    with pytest.raises(CancelledError):
        project.run()
    assert states(project)["shift"] == "interrupted"


SMALL_DISK = """
import os, shutil, sys
from pathlib import Path
sys.path.insert(0, {repository!r})
from staproj.api import Project
from staproj.errors import StaprojError
from staproj.stages import registry
from tests.integration import toy_stages as toy
disk = Path({disk!r})
with registry.temporarily(*toy.ALL):
    project = Project.create(disk / "p", {template!r})
    (disk / "p" / "raw").mkdir()
    (disk / "p" / "raw" / "TS_01.txt").write_text("1")
    outcomes = set()
    for left in range(8_000, 700_000, 20_000):
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "fill").write_bytes(bytes(max(0, free - left)))
        try:
            project.run()
            outcomes.add("done")
        except StaprojError as error:
            outcomes.add(error.message)
        (disk / "fill").unlink()
        for run in (disk / "p" / "runs").iterdir():
            assert (run / "SEALED").exists() or not (run / "out").exists(), run
        assert not list(disk.rglob("*.part"))
        shutil.rmtree(disk / "p" / "runs")
    project.run()
    assert {{step["state"] for step in project.status()["steps"]}} == {{"fresh"}}
    print(sorted(outcomes))
"""


def test_a_really_full_disk(toys: None, tmp_path: Path, repository: Path):
    """A disk of 2 MB with ever more room: one clear error or success, no crash, nothing half-written."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small disk can be mounted by root only")
    (tmp_path / "toy.toml").write_text(toy.TEMPLATE)
    code = SMALL_DISK.format(repository=str(repository), disk=str(disk), template=str(tmp_path / "toy.toml"))
    try:
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    finally:
        subprocess.run(["umount", str(disk)], check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['done', 'the disk is full (or your quota is used up)']"


KILLED = """
import os, sys
sys.path.insert(0, {repository!r})
from staproj.api import Project
from staproj.stages import registry
from tests.integration import toy_stages as toy
toy.SWITCH["TS_02"] = lambda ctx: os.kill(os.getpid(), 9)
with registry.temporarily(*toy.ALL):
    Project.open({root!r}).run()
"""


def test_killed_run_is_shown_as_interrupted_and_goes_on(project: Project, repository: Path):
    """Kill -9 in the middle of an item: no seal, no lock, no half output; finished items are used."""
    code = KILLED.format(repository=str(repository), root=str(project.root))
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, cwd=repository)
    assert done.returncode == -9, done.stderr.decode()
    assert states(project)["import"] in {"fresh", "soft"}  # soft: the checkout was edited in between
    assert states(project)["shift"] == "interrupted"
    project.run(["shift"])
    assert toy.CALLS == [("toy_shift", "TS_02"), ("toy_shift", "TS_03")]


@pytest.mark.parametrize("point", ["rename", "outputs", "persist", "sealed"])
def test_a_stop_anywhere_while_sealing_leaves_a_project_that_goes_on(
    project: Project, monkeypatch: pytest.MonkeyPatch, point: str
):
    """Whatever the last step done, the run is not a head, and the next run ends with the same bytes."""
    real = Batch.rename

    class Died(BaseException):
        pass

    def die(self: Batch, path: Path) -> None:
        if path.name == {"rename": "outputs.json", "outputs": "SEALED"}.get(point):
            raise Died
        real(self, path)

    def die_late(*args: object, **facts: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(execute_module._Work, "close", lambda *args, **facts: None)
        if point == "persist":
            patch.setattr("staproj.engine.session._persist", die_late)
        elif point == "sealed":
            patch.setattr(sealing, "sha256_file", die_late)
        patch.setattr(Batch, "rename", die)
        with pytest.raises(Died):
            project.run(sets={"shift.offset_px": 3} if point == "persist" else None)
    assert states(project)["import"] in ("interrupted", "never-run", "running")
    _forget_process(project)
    project.run()
    assert set(states(project).values()) == {"fresh"}


def _forget_process(project: Project) -> None:
    """Make runs without an end look as after a crash: their process is another one."""
    for path in (project.root / "runs").iterdir():
        if not (path / "SEALED").exists():
            state = path / "state.jsonl"
            state.write_text(state.read_text().replace(f'"pid": {os.getpid()}', '"pid": 999999999'))


def test_a_running_step_is_not_started_twice(project: Project):
    """Another live process on the same step: exit code 3, try again; on another host it is unreachable."""
    project.run(["import"])
    run = runs.reserve(Layout(project.root), "shift")
    runs.note_started(run, 1)
    assert states(project)["shift"] == "running"
    with pytest.raises(LockedError) as info:
        project.run()
    assert info.value.exit_code == 3
    run.state.write_text(json.dumps({"event": "started", **this_process(), "host": "elsewhere"}) + "\n")
    assert states(project)["shift"] == "unreachable"


def test_torn_lines_and_leftovers_are_no_obstacle(project: Project):
    """A torn state line, an empty run directory and a stale attempt do not stop anything."""
    project.run()
    state = project.root / "runs" / "r0002-shift" / "state.jsonl"
    state.write_bytes(state.read_bytes() + b'{"event": "fai')
    (project.root / "runs" / "r0007-shift").mkdir()
    (project.root / "runs" / "r0008-copy" / "attempt-1" / "out" / "TS_01").mkdir(parents=True)
    assert set(states(project).values()) == {"fresh"}
    assert project.ls()[0]["state"] == "interrupted"
    assert project.rerun("shift", sets={"offset_px": 5})["run"] == "r0009"


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"run": 1}', b"\xff\xfe", b'{"a": ' * 100000],
    ids=["empty", "brace", "list", "short", "binary", "deep"],
)
def test_damaged_records_are_named(project: Project, damage: bytes):
    """A damaged spec or outputs file gives a state, not a crash, and the step can be made again."""
    project.run()
    for name in ("spec.json", "outputs.json"):
        (project.root / "runs" / "r0004-mean" / name).write_bytes(damage)
        step = next(s for s in project.status()["steps"] if s["step"] == "mean")
        assert step["state"] == "missing-lost"
        assert project.ls("mean")
    with pytest.raises(StaprojError):
        project.show("r0004")
    project.run()
    assert set(states(project).values()) == {"fresh"}


def test_records_may_not_lead_out_of_the_project(project: Project, tmp_path: Path):
    """A record from elsewhere with ``../`` in a path is refused, nothing outside is touched."""
    project.run()
    path = project.root / "runs" / "r0002-shift" / "items" / "TS_01" / "item.json"
    entry = json.loads(path.read_text())
    entry["files"][0]["path"] = "../../../../evil"
    path.write_text(json.dumps(entry))
    toy.CALLS.clear()
    project.rerun("shift", sets={"mode": "x"})
    assert ("toy_shift", "TS_01") in toy.CALLS
    outputs = project.root / "runs" / "r0004-mean" / "outputs.json"
    outputs.write_text(outputs.read_text().replace('"map.h5"', '"/etc/passwd"'))
    with pytest.raises(StorageError, match="leads out"):
        project.artifact("mean")


def test_changed_input_file_is_not_computed_with(project: Project):
    """Someone edited a sealed output in place: its content no longer fits, and the next step refuses it."""
    project.run(["shift"])
    path = project.root / "runs" / "r0002-shift" / "out" / "TS_01" / "stack.bin"
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + b"\x00")
    with pytest.raises(StorageError, match="changed after it was sealed"):
        project.run()


BAD = {
    "unknown top key": ("schema = 2", "schema = 2\nsteps = 3", "steps", "step"),
    "no schema": ("schema = 2", "", "schema", "schema = 2"),
    "wrong schema type": ("schema = 2", "schema = '1'", "schema", "schema = 2"),
    "unknown key of a step": ('stage = "toy_import"', 'stage = "toy_import"\nstge = 1', "stge", "stage"),
    "unknown stage": ('stage = "toy_import"', 'stage = "toy_imprt"', "toy_imprt", "toy_import"),
    "no stage": ('stage = "toy_import"', "", "step.import.stage", "stage"),
    "unknown parameter": ("offset_px = 2.0", "ofset_px = 2.0", "ofset_px", "offset_px"),
    "wrong type": ("offset_px = 2.0", 'offset_px = "two"', "offset_px", "e.g. offset_px = 1"),
    "true for a number": ("offset_px = 2.0", "offset_px = true", "offset_px", "e.g. offset_px = 1"),
    "out of bounds": ("offset_px = 2.0", "offset_px = 200.0", "offset_px", "e.g. offset_px = 1"),
    "not a number": ("offset_px = 2.0", "offset_px = nan", "offset_px", "finite"),
    "a date": ("offset_px = 2.0", "offset_px = 2020-01-01", "type", "finite"),
    "unknown step": ('tilt_series = "again"', 'tilt_series = "agan"', "agan", "again"),
    "unknown port": ('tilt_series = "again"', 'tilt_sries = "again"', "tilt_sries", "tilt_series"),
    "unknown output": ('tilt_series = "again"', 'tilt_series = "again.map"', "again.map", "tilt_series"),
    "wrong kind": ('map = "mean"', 'map = "shift"', "map is needed", "map"),
    "missing input": ('inputs = { tilt_series = "again" }', "", "tilt_series", "tilt_series ="),
    "cycle": ('{ tilt_series = "import" }\n[step.shift.params]',
              '{ tilt_series = "again" }\n[step.shift.params]', "shift -> again -> shift", "somewhere else"),
    "input of wrong type": ('tilt_series = "again"', "tilt_series = 3", "inputs.tilt_series", "motion"),
    "strange input": ('tilt_series = "again"', 'tilt_series = "run:7"', "run:7", "run:r0007"),
    "item parameter not per item": ("[step.again]", "[step.shift.item.TS_01]\nmode = 'x'\n[step.again]",
                                    "mode", "move it"),
    "not TOML": ("schema = 2", "schema = = 1", "line 2", "line"),
    "pixel size 0": ('movies = "raw/*.txt"', 'movies = "raw/*.txt"\npixel_size_angstrom = 0.0',
                     "pixel_size_angstrom", "pixel"),
    "unknown microscope key": ("voltage_kv = 200.0", "voltag_kv = 200.0", "voltag_kv", "voltage_kv"),
    "seed": ('name = "p"', 'name = "p"\nseed = -1', "seed", "seed = 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_manifest(project: Project, case: str):
    """One clear error with file, key and remedy (exit code 2); nothing is written; a correction is enough."""
    old, new, names, remedy = BAD[case]
    good = (project.root / "staproj.toml").read_text()
    edit(project, old, new)
    before = sorted(project.root.rglob("*"))
    for action in (project.run, project.status, lambda: project.why("shift")):
        with pytest.raises(ManifestError) as info:
            action()
        assert info.value.exit_code == 2
        assert "staproj.toml" in str(info.value.where)
        assert names in f"{info.value.message} {info.value.where}"
        assert remedy in info.value.hint
    assert sorted(project.root.rglob("*")) == before
    (project.root / "staproj.toml").write_text(good)
    project.run(["import"])


def test_project_of_a_newer_staproj_and_no_project(project: Project, tmp_path: Path):
    """A newer schema is read but not written to; another directory is said not to be a project."""
    project.run(["import"])
    edit(project, "schema = 2", "schema = 3\nlater = 1")
    before = sorted(project.root.rglob("*"))
    assert states(project)["import"] == "fresh"
    for write in (project.run, lambda: project.rerun("import"), lambda: project.set_head("import", "r0001")):
        with pytest.raises(ProjectError, match="schema 3"):
            write()
    assert sorted(project.root.rglob("*")) == before
    with pytest.raises(ProjectError, match="not a staproj project"):
        Project.open(tmp_path)


def test_raw_data_that_cannot_be_used(project: Project):
    """Missing raw data and a bad raw file: named, nothing half-written, project still opens."""
    (project.root / "raw" / "TS_02.txt").write_text("NaN\n")
    with pytest.raises(InputError, match="not a number") as info:
        project.run()
    assert "TS_02.txt" in str(info.value.where)
    assert not (project.root / "runs" / "r0001-import" / "out").exists()
    edit(project, "raw/*.txt", "row/*.txt")
    with pytest.raises(InputError, match="no file matches") as info:
        project.run()
    assert "row/*.txt" in str(info.value.where)
    assert states(project)["import"] == "failed"


def test_stage_that_breaks_its_word(project: Project, monkeypatch: pytest.MonkeyPatch):
    """Wrong outputs of a (plug-in) stage are refused by name."""
    for wrong, word in (
        (None, "NoneType"),
        ({}, "declares"),
        ({"tilt_series": 3}, "dict by tilt series"),
        ({"tilt_series": {}}, "made no tilt_series"),
        ({"tilt_series": {"../x": 1}}, "not a usable name"),
        ({"tilt_series": {"TS_01": 1}}, "is int, not TiltSeries"),
    ):
        monkeypatch.setattr(toy, "run_import", lambda *args, wrong=wrong: wrong)
        with pytest.raises(StaprojError, match=word):
            project.run()


REGISTER = """
import sys
sys.path.insert(0, {repository!r})
from pathlib import Path
from staproj.project import runs
from staproj.project.layout import Layout
for _ in range(25):
    print(runs.reserve(Layout(Path({root!r})), "shift").id)
"""


def test_run_numbers_are_never_given_out_twice(project: Project, repository: Path):
    """Four processes take 25 numbers each: none lost, none doubled; a deleted run's number stays used."""
    code = REGISTER.format(repository=str(repository), root=str(project.root))
    several = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=repository)
        for _ in range(4)
    ]
    numbers = [line for one in several for line in one.communicate()[0].split()]
    assert sorted(numbers) == [f"r{n:04d}" for n in range(1, 101)]
    shutil.rmtree(project.root / "runs" / "r0100-shift")
    assert runs.reserve(Layout(project.root), "copy").id == "r0101"
