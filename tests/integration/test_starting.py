"""Plans of work as every front end makes them: what runs, what it takes, what is refused, what is started."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.api.starting import How, Starting
from staproj.engine import estimate, machine
from staproj.engine.slots import Need, Slots
from staproj.errors import CancelledError, DeviceError, LockedError, StaprojError, StorageError, UsageError
from tests.integration import toy_stages as toy
from tests.integration.conftest import states


def ended(project: Project, job: str) -> str:
    """Wait for a job and return its state."""
    assert project.jobs.wait(job, timeout_s=30)
    return str(project.jobs.describe(job)["state"])


def test_a_plan_of_all_says_what_runs_and_how_one_types_it(ran: Project) -> None:
    """Only what is stale is work; the command names steps, values and how."""
    starting = Starting(ran.root)
    assert starting.run().work == []
    how = How(threads=1, note="why", keep_going=True)
    plan = starting.run(["mean"], sets={"shift.offset_px": "4"}, how=how)
    assert plan.work == ["shift", "again", "mean"]
    assert [step["step"] for step in plan.expected["steps"]] == plan.work
    assert plan.arguments["targets"] == ["mean"]
    assert plan.arguments["keep_going"] is True
    words = ["run", "mean", "--set", "shift.offset_px=4", "--note", "why", "--threads", "1", "--keep-going"]
    assert plan.command == words
    until = starting.run(until="shift", sets={"shift.offset_px": "4"})
    assert (until.work, until.arguments["targets"]) == (["shift"], ["shift"])
    assert until.command[:3] == ["run", "--until", "shift"]


def test_a_rerun_is_begun_as_a_job(ran: Project) -> None:
    """The job makes a new run with the value; the manifest has it afterwards."""
    starting = Starting(ran.root)
    plan = starting.rerun("shift", {"offset_px": "5"}, items=["TS_02"])
    assert (plan.kind, plan.work) == ("rerun", ["shift"])
    assert plan.command == ["rerun", "shift", "--set", "offset_px=5", "--item", "TS_02"]
    job = starting.begin(plan)
    assert job["notes"] == []
    assert ended(ran, job["job"]) == "done"
    assert starting.own_values("shift") == {"TS_02": {"offset_px": 5}}
    head = next(row for row in ran.ls("shift") if row["head"])
    assert starting.values_of_run(head["run"])["items"]["TS_02"]["offset_px"] == 5
    assert starting.values_of_run(head["run"])["values"]["offset_px"] == 2.0


def test_a_rerun_from_an_old_run_starts_from_its_values(done: Project) -> None:
    """A run stands for its step with the values it had."""
    first = done.ls("shift")[-1]["run"]
    plan = Starting(done.root).rerun(first, {})
    assert plan.arguments["step"] == "shift"
    assert plan.arguments["from_run"] == first
    assert plan.command == ["rerun", first]


def test_variants_are_written_and_planned_chain_by_chain(ran: Project) -> None:
    """Two values make two copies of the step and what depends on it; the sweep told so before."""
    starting = Starting(ran.root)
    told = starting.sweep("again", {"offset_px": [4, 5]})
    assert (told["count"], told["steps"]) == (2, ["again", "mean", "copy"])
    one = ran.jobs.expect(["again", "mean", "copy"], sets={"again.offset_px": 4})
    assert told["expected"]["wall_s"] == pytest.approx(2 * one["wall_s"])
    before = ran.layout.manifest.read_text()
    assert starting.sweep("again", {"offset_px": [4]})["count"] == 1
    assert ran.layout.manifest.read_text() == before
    plan = starting.variants("again", {"offset_px": "4,5"}, until="mean")
    assert [sorted(one["values"].items()) for one in plan.made] == [
        [("again.offset_px", 4)],
        [("again.offset_px", 5)],
    ]
    assert len(plan.work) == 4
    assert plan.arguments["keep_going"] is True
    assert plan.command == ["rerun", "again", "--set", "offset_px=4,5", "--until", "mean"]


def test_what_was_interrupted_is_gone_on_with(make_project: Callable[..., Project]) -> None:
    """The plan goes on with the run that was stopped, with other threads where they are asked for."""
    project = make_project()
    assert Starting(project.root).resume() is None
    toy.SWITCH["TS_02"] = "interrupt"
    with pytest.raises(CancelledError):
        project.run()
    plan = Starting(project.root).resume(how=How(threads=1), jobs=2)
    assert plan is not None
    assert plan.arguments["run"] == "r0002"
    assert (plan.arguments["threads"], plan.arguments["jobs"]) == (1, 2)
    assert plan.command == ["resume", "--threads", "1", "--jobs", "2"]
    toy.SWITCH.clear()
    assert ended(project, Starting(project.root).begin(plan)["job"]) == "done"
    assert states(project)["shift"] in ("fresh", "soft")


@pytest.mark.parametrize("how", [How(threads=0), How(jobs=0), How(device="tpu")])
def test_numbers_that_mean_nothing_make_no_job(ran: Project, how: How) -> None:
    """Neither run nor rerun nor variants get as far as a job with them."""
    starting = Starting(ran.root)
    for plan in (
        lambda: starting.run(how=how),
        lambda: starting.rerun("shift", how=how),
        lambda: starting.variants("shift", {"offset_px": "1,2"}, how=how),
    ):
        with pytest.raises(UsageError):
            plan()
    assert ran.jobs.all() == []
    assert "variant" not in ran.layout.manifest.read_text()


def test_values_of_other_steps_are_refused_before_a_job(ran: Project) -> None:
    """A rerun is of one step."""
    with pytest.raises(UsageError, match="another step"):
        Starting(ran.root).rerun("shift", {"mean.weight": "2"})
    with pytest.raises(UsageError, match="must be"):
        Starting(ran.root).rerun("shift", {"offset_px": "none"})


def test_a_full_disk_is_refused_and_forced_with_a_note(ran: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What will not fit is refused with sizes; with force the run keeps a note of it."""
    monkeypatch.setattr(estimate, "free_bytes", lambda root: 10)
    starting = Starting(ran.root)
    with pytest.raises(StorageError, match="the disk cannot hold this"):
        starting.begin(starting.rerun("shift", {}))
    assert ran.jobs.all() == []
    plan = starting.rerun("shift", {}, how=How(force=True, note="all the same"))
    (remark,) = starting.check(plan)
    assert remark.startswith("begun with --force")
    assert plan.arguments["note"].startswith("all the same (begun with --force")


def test_a_gpu_that_is_not_there_is_refused(ran: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU is asked for by name and there is none: no job, and a remedy."""
    monkeypatch.setattr("staproj.engine.resources._gpu_is_usable", lambda: False)
    with pytest.raises(DeviceError) as refused:
        Starting(ran.root).run(how=How(device="gpu"))
    assert "--device cpu" in refused.value.hint


def test_more_than_the_machine_has_is_refused(ran: Project) -> None:
    """Threads beyond the CPU slots would wait for ever."""
    starting = Starting(ran.root)
    plan = starting.rerun("shift", {}, how=How(threads=machine.cpu_count() + 1))
    with pytest.raises(UsageError, match="it would wait for ever"):
        starting.begin(plan)


def test_what_is_being_computed_is_not_begun_twice(
    make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a job works on a step a second one is refused; after it has ended there is nothing to do."""
    orders = tmp_path / "orders"
    orders.mkdir()
    monkeypatch.setenv("TOY_ORDERS", str(orders))
    (orders / "TS_01").write_text("wait")
    project = make_project()
    starting = Starting(project.root)
    job = starting.begin(starting.run(until="shift"))["job"]
    try:
        deadline = time.monotonic() + 20
        while not (orders / "TS_01.waits").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(LockedError, match="is being run right now"):
            starting.begin(starting.run())
    finally:
        project.jobs.stop(job)
    assert len(project.jobs.all()) == 1


def test_room_tells_who_is_in_front(ran: Project) -> None:
    """With free slots work begins at once; when another run holds them all it waits, and says for whom."""
    starting = Starting(ran.root)
    room = starting.room()
    assert room["now"] is True
    assert room["cpus_needed"] == min(len(os.sched_getaffinity(0)), room["cpu_slots"])
    slots = Slots(machine.limits(), machine.state_dir())
    about = {"project": "/somewhere/other", "run": "r0009", "step": "motion"}
    ticket = slots.enter(Need(room["cpu_slots"]), about)
    try:
        assert slots.try_claim(ticket) == ""
        busy = starting.room(How(threads=1))
        assert (busy["now"], busy["cpus_free"], busy["cpus_needed"]) == (False, 0, 1)
        assert busy["holders"] == [
            {"run": "r0009", "step": "motion", "project": "other", "cpus": room["cpu_slots"]}
        ]
    finally:
        slots.leave(ticket)
    waiting = slots.enter(Need(1), about)
    try:
        assert (starting.room(How(threads=1))["now"], starting.room()["waiting"]) == (False, 1)
        assert starting.room(How(threads=1, priority=1))["now"] is True
    finally:
        slots.leave(waiting)


def test_errors_are_those_of_the_project(ran: Project) -> None:
    """Unknown steps, parameters and runs are refused with words."""
    starting = Starting(ran.root)
    for plan in (
        lambda: starting.run(["nonsense"]),
        lambda: starting.rerun("nonsense", {}),
        lambda: starting.rerun("shift", {"nonsense": "1"}),
        lambda: starting.rerun("r9999", {}),
        lambda: starting.resume("r0001"),
    ):
        with pytest.raises(StaprojError) as refused:
            plan()
        assert refused.value.message
