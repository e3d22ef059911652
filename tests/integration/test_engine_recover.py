"""What is found after a crash: carried to its end, tidied up, and never lost."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.engine import recover as recover_module
from staproj.engine.recover import recover
from staproj.project import atomic, journal, runs
from staproj.project.batch import Batch
from staproj.project.layout import Layout, RunDir
from tests.integration import toy_stages as toy
from tests.integration.conftest import states
from tests.integration.test_engine_resume import in_child, killed_run

GONE = 2**22 + 1
ROLLED: list[dict[str, object]] = []


def roll_forward(layout: Layout, facts: dict[str, object]) -> str:
    """Do what an entry of the journal asks for."""
    ROLLED.append(facts)
    return f"did {facts['what']}"


def without_marker(project: Project, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """Run a step in a process that is killed right before the marker takes its place."""
    real = Batch.rename

    def die_at_marker(self: Batch, path: Path) -> None:
        if path.name == "SEALED" and "shift" in str(path):
            os.kill(os.getpid(), 9)
        real(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "rename", die_at_marker)
        assert in_child(lambda: project.run(["shift"])) == -9
    run = Layout(project.root).find_run("r0002")
    assert not run.is_sealed()
    assert states(project)["shift"] == "interrupted"
    return run


def test_a_run_complete_but_for_its_marker_is_sealed(project: Project, monkeypatch: pytest.MonkeyPatch):
    """Nothing is computed again: every digest fits, the marker is written, the run is the head."""
    run = without_marker(project, monkeypatch)
    toy.CALLS.clear()
    assert recover(Layout(project.root)) == ["sealed r0002: it was complete but for its marker"]
    assert recover(Layout(project.root)) == []
    assert states(project)["shift"] == "fresh"
    assert not list(run.path.glob(".*")), "temporaries are left"
    assert not run.heartbeat.exists()
    assert json.loads(run.sealed.read_text())["wall_s"] > 0
    assert project.run(["shift"])[-1]["action"] == "fresh"
    assert toy.CALLS == []


@pytest.mark.parametrize("damage", ["one bit", "missing", "longer", "record", "spec"])
def test_a_run_that_does_not_fit_its_record_is_not_sealed(
    project: Project, monkeypatch: pytest.MonkeyPatch, damage: str
):
    """Any difference: interrupted, outputs go back into the try, and the step is made again."""
    run = without_marker(project, monkeypatch)
    path = run.out / "TS_02" / "stack.bin"
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    stat = path.stat()
    if damage == "one bit":
        data[3] ^= 1
        path.write_bytes(bytes(data))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif damage == "missing":
        path.unlink()
    elif damage == "longer":
        path.write_bytes(bytes(data) + b"x")
    elif damage == "record":
        run.record.write_bytes(b"")
    else:
        run.spec.write_bytes(b"{}")
    assert recover(Layout(project.root)) == ["r0002 was interrupted"]
    assert not run.out.exists()
    assert runs.state_of(run).state == "interrupted"
    project.run()
    assert set(states(project).values()) == {"fresh"}


def test_a_run_that_is_going_on_is_left_alone(project: Project):
    """Recovery never touches the run of a live process, nor one of another machine."""
    project.run(["import"])
    for facts in ({}, {"host": "elsewhere"}):
        run = runs.reserve(Layout(project.root), "shift")
        runs.note(run, "started", attempt=1, **{**runs.this_process(), **facts})
        (run.attempt_dir(1).scratch("TS_01")).mkdir(parents=True)
        before = sorted(run.path.rglob("*"))
        assert recover(Layout(project.root)) == []
        assert sorted(run.path.rglob("*")) == before
        shutil.rmtree(run.path)


def test_what_was_half_written_goes_and_what_was_finished_stays(project: Project):
    """Scratch, temporaries and outputs of the unfinished item go; the finished item stays for later."""
    run = killed_run(project, "shift", "TS_02")
    attempt = run.attempt_dir(1)
    (attempt.out / "TS_02").mkdir(exist_ok=True)
    (attempt.out / "TS_02" / "half.mrc").write_bytes(b"x")
    (run.path / f".outputs.json.{GONE}.part").write_bytes(b"x")
    assert attempt.scratches.exists()
    assert recover(Layout(project.root)) == ["r0002 was interrupted"]
    assert sorted(p.name for p in attempt.out.iterdir()) == ["TS_01"]
    assert not attempt.scratches.exists()
    assert not list(run.path.rglob("*.part"))
    last = atomic.read_lines(run.state)[-1]
    assert last["event"] == "interrupted"
    assert "is gone" in last["message"]
    assert project.run(["shift"])[-1]["reused"] == ["TS_01"]


def test_a_run_of_which_only_the_name_is_there(project: Project):
    """Killed right after mkdir: interrupted, nothing in its way."""
    project.run(["import"])
    (project.root / "runs" / "r0002-shift").mkdir()
    assert states(project)["shift"] == "interrupted"
    assert recover(Layout(project.root)) == ["r0002 was interrupted"]
    assert recover(Layout(project.root)) == []
    project.run()
    assert set(states(project).values()) == {"fresh"}


def test_journal_entries_are_carried_on_once(project: Project, monkeypatch: pytest.MonkeyPatch):
    """Left by a dead process or by an error: carried on; of a live one: not; damaged: no obstacle."""
    layout = Layout(project.root)
    monkeypatch.setitem(recover_module.ROLL_FORWARD, "toy", f"{__name__}:roll_forward")
    ROLLED.clear()
    with journal.entry(layout, "toy", {"what": "nothing"}):
        assert recover(layout) == []
        assert len(journal.pending(layout)) == 1
    assert journal.pending(layout) == []
    with pytest.raises(ValueError, match="stop"), journal.entry(layout, "toy", {"what": "one"}):
        raise ValueError("stop")

    def die_in_the_middle() -> None:
        with journal.entry(layout, "toy", {"what": "two"}):
            os.kill(os.getpid(), 9)

    assert in_child(die_in_the_middle) == -9
    (layout.journal / "20200101T000000Z-toy-1-1.json").write_bytes(b"{")
    assert sorted(recover(layout)) == ["did one", "did two"]
    assert recover(layout) == []
    assert len(ROLLED) == 2


def test_leftovers_of_dead_processes_are_swept(project: Project):
    """Old temporaries and locks go; those of live processes, and young ones, stay."""
    layout = Layout(project.root)
    old, young = f".staproj.toml.{GONE}.part", f".x.{GONE}.part"
    mine = f".y.{os.getpid()}.part"
    for name in (old, young, mine):
        (project.root / name).write_text("x")
    hour_ago = time.time() - 3600
    for name in (old, mine):
        os.utime(project.root / name, (hour_ago, hour_ago))
    layout.lock.mkdir(parents=True)
    owner = {**runs.this_process(), "pid": GONE, "token": "t"}
    (layout.lock / "owner.json").write_text(json.dumps(owner))
    recover(layout)
    assert not (project.root / old).exists()
    assert (project.root / young).exists()
    assert (project.root / mine).exists()
    assert not layout.lock.exists()


def test_readers_change_nothing(project: Project):
    """Looking at a project after a crash leaves every byte as it is."""
    killed_run(project, "shift", "TS_02")

    def picture() -> dict[str, tuple[int, int]]:
        return {
            str(p): (p.stat().st_mtime_ns, p.stat().st_size)
            for p in sorted((project.root / "runs").rglob("*"))
            if p.is_file()
        }

    before = picture()
    project.status()
    project.ls()
    project.why("shift")
    project.log("shift")
    assert picture() == before


@pytest.mark.parametrize("name", ["attempt-1", "attempt-1/out", "items", "out", "attempt-1/scratch"])
def test_nothing_outside_is_tidied(project: Project, tmp_path: Path, name: str):
    """A run from elsewhere whose directories are links: nothing behind them is touched."""
    outside = tmp_path / "precious"
    (outside / "out").mkdir(parents=True)
    (outside / "out" / "thesis.txt").write_text("years")
    (outside / "thesis.txt").write_text("years")
    project.run(["import"])
    path = project.root / "runs" / "r0002-shift" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside)
    project.run()
    assert (outside / "thesis.txt").read_text() == "years"
    assert (outside / "out" / "thesis.txt").read_text() == "years"
    assert set(states(project).values()) == {"fresh"}


def test_killed_while_recovering(project: Project, monkeypatch: pytest.MonkeyPatch):
    """Killed right after the marker was written by recovery: nothing of the first death stays in the run."""
    run = without_marker(project, monkeypatch)
    assert list(run.path.glob(".*.part"))
    with monkeypatch.context() as patch:
        patch.setattr(recover_module.sealing, "write_marker", lambda *args: os.kill(os.getpid(), 9))
        assert in_child(lambda: recover(Layout(project.root))) == -9
    assert not run.is_sealed()
    assert not list(run.path.glob(".*.part"))
    recover(Layout(project.root))
    assert run.is_sealed()
    assert not (run.out / "TS_01" / "stack.bin").stat().st_mode & 0o222
