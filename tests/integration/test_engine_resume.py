"""Going on with a run in its own directory: finished items, checkpoints, who may, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from staproj.api import Project
from staproj.engine import attempts, session
from staproj.engine.checkpoints import Checkpoints
from staproj.engine.execute import Options
from staproj.engine.recover import recover
from staproj.engine.view import View
from staproj.errors import CancelledError, InputError, LockedError, StageError, UsageError
from staproj.model.particles import ParticleSet
from staproj.project import atomic, runs
from staproj.project.layout import Layout, RunDir
from staproj.project.process import this_process
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, states

ROUNDS = """
[step.rounds]
stage = "toy_rounds"
inputs = { tilt_series = "import" }
"""


def in_child(work: Callable[[], object]) -> int:
    """Run something in a forked process; return its exit code (negative: killed by that signal)."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die(ctx: object) -> None:
    """Kill this process."""
    os.kill(os.getpid(), 9)


def killed_run(project: Project, step: str, switch: str) -> RunDir:
    """Run ``step`` until ``switch`` is reached, where the process is killed; return its run."""
    toy.SWITCH[switch] = die
    assert in_child(lambda: project.run([step])) == -9
    toy.SWITCH.clear()
    toy.CALLS.clear()
    assert states(project)[step] == "interrupted"
    return Layout(project.root).run(runs.latest_by_step(Layout(project.root))[step])


def resume(project: Project, run: str, **sets: object) -> session.StepResult:
    """Go on with a run."""
    step = Layout(project.root).find_run(run).name.step
    results = session.run_steps(
        project.root, targets=[step], sets=sets, resume=run, options=Options(threads=1)
    )
    return results[-1]


@pytest.fixture
def rounds(make_project: Callable[..., Project]) -> Project:
    """Return a project with a step that keeps its rounds."""
    project = make_project("rounds", toy.TEMPLATE + ROUNDS)
    project.run(["import"])
    toy.CALLS.clear()
    return project


def test_killed_rounds_go_on_in_place_with_the_same_bytes(rounds: Project, make_project):
    """Kill -9 in round 4: ``resume`` makes rounds 4 and 5 only, in the same run, with the same bytes."""
    whole = make_project("whole", toy.TEMPLATE + ROUNDS)
    whole.run(["rounds"])
    run = killed_run(rounds, "rounds", "round 4")
    result = resume(rounds, run.id)
    assert toy.CALLS == [("toy_rounds", "4"), ("toy_rounds", "5")]
    assert result.run == run.id
    assert states(rounds)["rounds"] == "fresh"
    assert (run.out / "map.bin").read_bytes() == (whole.artifact("rounds").path).read_bytes()
    assert not run.attempts()
    assert len(atomic.read_json(run.env)["earlier_attempts"]) == 1
    begun = [e["attempt"] for e in atomic.read_lines(run.state) if e["event"] == "started"]
    assert begun == [1, 2]


def test_killed_twice_then_resumed(rounds: Project):
    """A resumed run that is killed again is resumed again; nothing is computed twice."""
    run = killed_run(rounds, "rounds", "round 2")
    toy.SWITCH["round 4"] = die
    assert in_child(lambda: resume(rounds, run.id)) == -9
    toy.SWITCH.clear()
    assert runs.state_of(run).state == "interrupted"
    resume(rounds, run.id)
    assert toy.CALLS == [("toy_rounds", "4"), ("toy_rounds", "5")]
    assert run.is_sealed()


def test_a_new_run_after_a_failure_uses_the_checkpoint(rounds: Project):
    """What failed in round 5 stays failed; the next run begins with round 5 and leaves the old alone."""

    def fail(ctx: object) -> None:
        raise InputError("bad round")

    toy.SWITCH["round 5"] = fail
    with pytest.raises(InputError):
        rounds.run(["rounds"])
    toy.SWITCH.clear()
    toy.CALLS.clear()
    failed = Layout(rounds.root).find_run("r0002")
    with pytest.raises(UsageError, match="nothing to go on with"):
        resume(rounds, "r0002")
    assert rounds.run(["rounds"])[-1]["run"] == "r0003"
    assert toy.CALLS == [("toy_rounds", "5")]
    assert runs.state_of(failed).state == "failed"
    assert failed.attempt_dir(1).checkpointed() == [None]


def test_a_checkpoint_of_other_parameters_does_not_count(rounds: Project):
    """After a change of the weight all rounds are made."""
    killed_run(rounds, "rounds", "round 4")
    rounds.run(["rounds"], sets={"rounds.weight": 2.0})
    assert [name for name, _ in toy.CALLS] == ["toy_rounds"] * 5


def test_items_that_were_finished_are_kept(project: Project):
    """Kill -9 in the second of three items: the same run goes on with it, and the first is not made again."""
    run = killed_run(project, "shift", "TS_02")
    assert [path.parent.name for path in run.finished_items()] == ["TS_01"]
    result = resume(project, run.id)
    assert toy.CALLS == [("toy_shift", "TS_02"), ("toy_shift", "TS_03")]
    assert (result.run, result.reused) == (run.id, [])
    assert run.is_sealed()
    assert sorted(p.name for p in run.out.iterdir()) == ["TS_01", "TS_02", "TS_03"]
    project.run()
    assert set(states(project).values()) == {"fresh"}


def test_resume_is_refused_where_it_would_be_something_else(project: Project):
    """Complete, running, unknown, or made from other parameters: said plainly, and nothing is touched."""
    run = killed_run(project, "shift", "TS_02")
    with pytest.raises(UsageError, match="nothing to go on with"):
        resume(project, "r0001")
    with pytest.raises(UsageError, match="no run"):
        resume(project, "r0099")
    edit(project, "offset_px = 2.0", "offset_px = 3.0")
    with pytest.raises(UsageError, match="other parameters"):
        resume(project, run.id)
    edit(project, "offset_px = 3.0", "offset_px = 2.0")
    runs.note_started(run, 2)
    with pytest.raises(LockedError):
        resume(project, run.id)
    assert [path.parent.name for path in run.finished_items()] == ["TS_01"]


def test_of_two_who_resume_one_wins(project: Project):
    """Ten claims of one run: one gets it, the others are told that it runs."""
    run = killed_run(project, "shift", "TS_02")
    view = View.open(project.root)
    image = view.spec(run.id)["preimage"]
    won = [attempts.claim_next(view, run, image).number]
    for _ in range(9):
        with pytest.raises(LockedError):
            attempts.claim_next(View.open(project.root), run, image)
    assert won == [2]


def test_checkpoints_hold_arrays_objects_and_numbers(tmp_path: Path):
    """What is saved comes back the same, bit for bit; another key, a torn file and pickles do not."""
    keep = Checkpoints(tmp_path / "c", "key")
    particles = ParticleSet.create(
        "TS", np.arange(6.0).reshape(2, 3) / 7, np.stack([np.eye(3)] * 2), half_set=np.array([1, 2])
    )
    saved = {
        "a": np.float32([[1, 2]]) / 3,
        "p": particles,
        "n": 3,
        "x": 0.1 + 0.2,
        "rows": [{"b": 1.5}],
        "s": "é",
    }
    keep.save("one", saved)
    found = keep.load("one")
    assert found is not None
    assert found["a"].dtype == np.float32
    np.testing.assert_array_equal(found["a"], saved["a"])
    np.testing.assert_array_equal(found["p"].position_xyz_angstrom, particles.position_xyz_angstrom)
    assert {name: found[name] for name in ("n", "x", "rows", "s")} == {
        name: saved[name] for name in ("n", "x", "rows", "s")
    }
    assert keep.load("two") is None
    assert Checkpoints(tmp_path / "c", "other").load("one") is None
    (path,) = (tmp_path / "c").glob("*.npz")
    whole = path.read_bytes()
    for cut in (0, 1, 80, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert keep.load("one") is None
    with pytest.raises(TypeError):
        keep.save("bad", {"o": np.array([{}], dtype=object)})
    with pytest.raises(TypeError):
        keep.save("bad", {"o": object()})


def test_a_checkpoint_is_not_more_durable_than_what_it_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Before the first checkpoint the record of the run is fsynced, once: a power cut leaves both."""
    spec = tmp_path / "spec.json"
    spec.write_text("{}")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name))
    keep = Checkpoints(tmp_path / "c", "key", [spec])
    keep.save("round", {"n": 1})
    keep.save("round", {"n": 2})
    assert synced[0] == "spec.json"
    assert synced.count("spec.json") == 1


@pytest.mark.parametrize("damage", [b"", b"\x00" * 300, b'{"event": "star'], ids=["empty", "nul", "torn"])
def test_records_that_a_power_cut_emptied(project: Project, damage: bytes):
    """Empty spec, torn state: interrupted with a reason, the project opens, the step is run anew."""
    run = killed_run(project, "shift", "TS_02")
    run.spec.write_bytes(damage)
    run.state.write_bytes(damage)
    found = runs.state_of(run)
    assert found.state == "interrupted"
    assert "power" in found.event["message"]
    assert project.ls("shift")[0]["state"] == "interrupted"
    with pytest.raises(UsageError, match="its record is damaged") as info:
        resume(project, run.id)
    assert "staproj run shift" in info.value.hint
    assert project.jobs.to_resume() == {"original": "run", "targets": ["shift"], "run": None}
    assert recover(Layout(project.root)) == []
    assert project.run(["shift"])[-1]["reused"] == ["TS_01"]


def test_failure_names_what_it_kept(project: Project):
    """A full item loop after a resume still fails as a whole, and says what is kept."""
    run = killed_run(project, "shift", "TS_02")
    toy.SWITCH["TS_03"] = "fail"
    with pytest.raises(StageError, match="1 of 3 tilt series, 2 finished and kept"):
        resume(project, run.id)
    assert runs.state_of(run).state == "failed"
    assert json.loads(run.item_done("TS_01").read_text())["run"] == run.id


def test_a_run_that_was_taken_over_is_left_to_the_other(project: Project):
    """A process that was taken for dead, and comes back, stops without touching what the other one does."""

    def taken_over(ctx: object) -> None:
        run = Layout(project.root).find_run("r0002")
        run.attempt_dir(2).out.mkdir(parents=True)
        run.item("TS_02").mkdir()
        (run.item("TS_02") / "of-the-other").touch()
        runs.note_started(run, 2)

    toy.SWITCH["TS_02"] = taken_over
    with pytest.raises(CancelledError, match="taken this run over"):
        project.run(["shift"])
    run = Layout(project.root).find_run("r0002")
    assert (run.item("TS_02") / "of-the-other").exists()
    assert atomic.read_lines(run.state)[-1]["event"] == "started"
    assert not run.is_sealed()


def test_a_run_that_cannot_be_seen_is_not_resumed(project: Project):
    """The run of another machine may be alive there."""
    run = killed_run(project, "shift", "TS_02")
    runs.note(run, "started", attempt=1, **{**this_process(), "host": "elsewhere"})
    run.heartbeat.unlink()
    with pytest.raises(LockedError, match="cannot be seen"):
        resume(project, run.id)
