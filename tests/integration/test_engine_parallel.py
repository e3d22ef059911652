"""Items at the same time in processes of their own: same bytes, progress, failures, deaths, stops."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from staproj.api import Project
from staproj.engine import session
from staproj.engine.events import ProgressEvent
from staproj.engine.execute import Options
from staproj.engine.executors import InlineExecutor, WorkerDiedError, make_executor
from staproj.errors import CancelledError, StageError
from staproj.project import runs
from staproj.project.layout import RunDir
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, states


def run(project: Project, jobs: int = 3, **options: object) -> list[session.StepResult]:
    """Run all steps, ``jobs`` items at a time."""
    return session.run_steps(project.root, options=Options(jobs=jobs, threads=2, **options))  # type: ignore[arg-type]


def contents(project: Project) -> dict[str, bytes]:
    """Return the bytes of every output of the project."""
    found = sorted(project.root.glob("runs/*/out/**/*"))
    return {str(p.relative_to(project.root)): p.read_bytes() for p in found if p.is_file()}


def test_same_bytes_whatever_the_number_of_jobs(make_project):
    """Three processes give what one gives, with every event, log line and measure of its own process."""
    one, three = make_project("one"), make_project("three")
    events: list[ProgressEvent] = []
    run(one, jobs=1)
    run(three, jobs=3, progress=events.append)
    assert contents(one) == contents(three)
    assert len(contents(one)) > 10
    done = [e for e in events if e.kind == "item-done" and e.step == "shift"]
    assert {e.item for e in done} == {"TS_01", "TS_02", "TS_03"}
    assert [e.done for e in done] == [1, 2, 3]
    record = three.record("shift")
    assert {item: record.item(item).verdict for item in record.items} == {
        "TS_01": "mean 12.0",
        "TS_02": "mean 22.0",
        "TS_03": "mean 32.0",
    }
    assert three.log("shift").count("added") == 3
    assert not list(three.root.glob("runs/*/attempt-*"))
    assert set(states(three).values()) == {"fresh"}


@pytest.fixture
def slow_stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let workers do as files in a directory say (switches of this process do not reach them)."""
    place = tmp_path / "orders"
    place.mkdir()
    monkeypatch.setenv("TOY_ORDERS", str(place))
    return place


def test_a_failing_item_does_not_stop_the_others(project: Project, slow_stage: Path):
    """The error names the item; the traceback of the worker is in the log; the others are kept."""
    (slow_stage / "TS_02").write_text("fail")
    with pytest.raises(
        StageError, match=r"1 of 3 tilt series, 2 finished and kept: TS_02: ValueError: ordered"
    ):
        run(project)
    assert "ValueError: ordered" in project.log("shift")
    assert "in run_shift" in project.log("shift")
    (slow_stage / "TS_02").unlink()
    result = next(r for r in run(project) if r.step == "shift")
    assert result.reused == ["TS_01", "TS_03"]


def test_a_worker_that_dies_names_its_item(project: Project, slow_stage: Path):
    """Kill -9 of one worker: no hang, the item and the signal are named, what others finished is kept."""
    (slow_stage / "TS_03").write_text("die")
    begun = time.monotonic()
    with pytest.raises(StageError, match=r"TS_03: .*killed by signal 9, SIGKILL") as info:
        run(project)
    assert time.monotonic() - begun < 30
    assert "2 finished and kept" in info.value.message
    assert states(project)["shift"] == "failed"
    (slow_stage / "TS_03").unlink()
    assert next(r for r in run(project) if r.step == "shift").reused == ["TS_01", "TS_02"]


def test_stop_while_items_run(project: Project, slow_stage: Path):
    """A stop reaches the workers within moments; finished items stay, half-written ones do not."""
    run_dir = RunDir(project.root / "runs" / "r0002-shift")
    for name in ("TS_02", "TS_03"):
        (slow_stage / name).write_text("wait")
    seen: list[str] = []

    def stop() -> bool:
        if run_dir.item_done("TS_01").exists() and len(list(slow_stage.glob("*.waits"))) == 2:
            seen.append("now")
        return bool(seen)

    begun = time.monotonic()
    with pytest.raises(CancelledError):
        run(project, cancelled=stop)
    assert time.monotonic() - begun < 30
    assert runs.state_of(run_dir).state == "interrupted"
    assert [p.parent.name for p in run_dir.finished_items()] == ["TS_01"]
    assert sorted(p.name for p in run_dir.attempt_dir(1).out.iterdir()) == ["TS_01"]


def test_inline_executor_is_an_executor():
    """It gives finished futures, keeps exceptions, lets Ctrl-C through."""

    def stop() -> None:
        raise KeyboardInterrupt

    with InlineExecutor() as executor:
        assert executor.submit(max, 2, 3).result() == 3
        assert list(executor.map(abs, [-1, 2])) == [1, 2]
        assert isinstance(executor.submit(int, "x").exception(), ValueError)
        with pytest.raises(KeyboardInterrupt):
            executor.submit(stop)


def test_process_executor_is_an_executor():
    """Results, exceptions with the worker's traceback, a dead worker, and what cannot be sent."""
    with make_executor("processes", 2) as executor:
        assert list(executor.map(abs, [-1, 2, -3])) == [1, 2, 3]
        assert executor.submit(os.getpid).result() != os.getpid()
        error = executor.submit(int, "x").exception()
        assert isinstance(error, ValueError)
        assert "Traceback" in str(error.__cause__)
        with pytest.raises(WorkerDiedError, match="signal 9"):
            executor.submit(signal.raise_signal, signal.SIGKILL).result(timeout=30)
        assert np.array_equal(executor.submit(np.arange, 3).result(timeout=30), [0, 1, 2])
        with pytest.raises(StageError, match="cannot be sent"):
            executor.submit(lambda: 1)


def test_changed_parameter_of_one_item_is_sent(project: Project):
    """Workers get the resolved parameters of their item, with what the command line says."""
    edit(project, "[step.again]", "[step.shift.item.TS_02]\noffset_px = 7.0\n[step.again]")
    session.run_steps(
        project.root, sets={"shift.rounded": True}, options=Options(jobs=2, threads=2), targets=["shift"]
    )
    record = project.record("shift")
    assert record.item("TS_02").verdict == "mean 27.0"
    assert record.item("TS_01").verdict == "mean 12.0"


def test_workers_end_with_their_parent(project: Project, slow_stage: Path):
    """Kill -9 of the engine: its workers end by themselves, the finished item is kept, resume goes on."""
    for name in ("TS_02", "TS_03"):
        (slow_stage / name).write_text("wait")
    child = os.fork()
    if child == 0:
        run(project)
        os._exit(0)
    run_dir = RunDir(project.root / "runs" / "r0002-shift")
    deadline = time.monotonic() + 60
    while not (run_dir.item_done("TS_01").exists() and len(list(slow_stage.glob("*.waits"))) == 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = psutil.Process(child).children(recursive=True)
    assert len(workers) == 3
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert psutil.wait_procs(workers, timeout=20)[1] == [], "a worker outlived its parent"
    assert states(project)["shift"] == "interrupted"
    for name in ("TS_02", "TS_03"):
        (slow_stage / name).unlink()
    steps = session.run_steps(
        project.root, targets=["shift"], resume="r0002", options=Options(jobs=2, threads=2)
    )
    assert steps[-1].run == "r0002"
    assert "was finished by an earlier try" in project.log("r0002")
    assert states(project)["shift"] == "fresh"


def test_stop_between_items_of_a_stage_that_never_asks(project: Project):
    """One after the other, in this process: the next item is not begun."""
    project.run(["import"])
    toy.CALLS.clear()
    with pytest.raises(CancelledError):
        run(project, jobs=1, cancelled=lambda: ("toy_shift", "TS_01") in toy.CALLS)
    assert toy.CALLS == [("toy_shift", "TS_01")]
    assert states(project)["shift"] == "interrupted"
    run(project, jobs=1)
    assert toy.CALLS.count(("toy_shift", "TS_01")) == 2, "steps shift and again, once each"
