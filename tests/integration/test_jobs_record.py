"""Jobs as files: what they say after a death elsewhere, and when somebody else wrote them."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.engine.events import ProgressEvent
from staproj.engine.jobs import follow, heartbeat, progress, record, resume
from staproj.engine.jobs.heartbeat import Beat
from staproj.errors import CancelledError, StageError, StaprojError, StorageError
from staproj.project import runs
from staproj.project.layout import JobDir
from tests.integration import toy_stages as toy

ELSEWHERE = {"host": "another-machine", "boot_id": "b", "pid": 1, "start_ticks": 1}


def make(project: Project, **arguments: Any) -> JobDir:
    """Return a new job that nobody works on."""
    return record.create(project.layout, "run", arguments, command=["run"])


def test_a_job_elsewhere_is_running_while_its_heart_beats(project: Project) -> None:
    """On another machine nothing is proven: a fresh heartbeat is running, an old one unreachable."""
    job = make(project)
    record.note(job, "supervised", **ELSEWHERE)
    assert record.state_of(job).state == "unreachable"
    heartbeat.touch(job.heartbeat)
    assert record.state_of(job).state == "running"
    os.utime(job.heartbeat, (time.time() - 300, time.time() - 300))
    assert record.state_of(job).state == "unreachable"
    assert "another-machine" in record.state_of(job).message
    with pytest.raises(StageError, match="cannot be reached"):
        follow.outcome(project.layout, job)


def test_a_run_elsewhere_is_running_while_its_heart_beats(project: Project) -> None:
    """The same holds for a run; it is never said to have failed."""
    run = runs.reserve(project.layout, "shift")
    runs.note(run, "started", attempt=1, **ELSEWHERE)
    assert runs.state_of(run).state == "unreachable"
    with Beat(run):
        assert runs.state_of(run).state == "running"
    assert runs.state_of(run).state == "unreachable"
    assert not run.heartbeat.exists()


def test_the_heartbeat_goes_on_by_itself(project: Project) -> None:
    """It is touched without news, written with them at most once a second, and always whole."""
    run = runs.reserve(project.layout, "shift")
    with Beat(run, every_s=0.05) as beat:
        first = run.heartbeat.stat().st_mtime_ns
        for done in range(200):
            beat.update(ProgressEvent("progress", "shift", run.id, "TS_01", done, 200, "words"))
            assert set(heartbeat.read(run)) >= {"time", "item", "done", "total", "message"}
        time.sleep(0.2)
        assert run.heartbeat.stat().st_mtime_ns > first
        assert heartbeat.read(run)["done"] == 199
    assert [path.name for path in run.path.iterdir() if "heartbeat" in path.name] == []


def test_only_new_bytes_are_read(project: Project) -> None:
    """A follower keeps its place, and a line that is half written waits until it is whole."""
    job = make(project)
    lines = follow.NewLines(job)
    assert lines.read() == []
    with job.events.open("w") as handle:
        handle.write('{"kind": "plan", "total": 3}\n{"kind": "st')
        handle.flush()
        assert [line["kind"] for line in lines.read()] == ["plan"]
        assert lines.read() == []
        handle.write('ep"}\n')
        handle.flush()
        assert [line["kind"] for line in lines.read()] == ["step"]


def test_errors_keep_their_class_message_and_hint() -> None:
    """What went wrong in the worker is raised where the person looks, with the same exit code."""
    for error in (CancelledError("stopped", hint="h"), StorageError("full", where="w", hint="h")):
        again = follow.error_of(error.as_dict())
        assert type(again) is type(error)
        assert again.as_dict() == error.as_dict()  # type: ignore[union-attr]
    system = follow.error_of({"error": "OSError", "errno": 28, "strerror": "No space left", "filename": "x"})
    assert (system.errno, system.filename) == (28, "x")  # type: ignore[union-attr]
    assert type(follow.error_of({"error": "SystemExit", "message": "m"})) is StaprojError
    assert follow.error_of(None).message == "the job failed"  # type: ignore[union-attr]


def test_two_who_start_jobs_get_two_numbers(project: Project) -> None:
    """Numbers of jobs are given out by mkdir: eight threads make eight jobs."""
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(make(project).id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [f"j{number:04d}" for number in range(1, 9)]


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"format": 1}', '{"format": 1, "kind": "run", "arguments": {"targets": [7]}}', "\x00" * 50],
)
def test_a_damaged_job_breaks_nothing(project: Project, text: str) -> None:
    """Jobs that somebody has damaged are listed, followed and refused without a crash."""
    job = make(project)
    job.request.unlink()
    job.request.write_text(text)
    for path in (job.events, job.state):
        path.write_text('{"kind": "plan", "total": 1e400}\n{"kind": "step", "time": "x", "total": []}\n{\n')
    (row,) = project.jobs.all()
    assert row["state"] == "interrupted"
    assert progress.of_job(project.layout, job).steps_total >= 1
    assert list(follow.follow(project.layout, job, poll_s=0.01)) is not None
    with pytest.raises(StorageError):
        resume.plan(project.layout, None)


def test_jobs_are_not_kept_through_a_link(project: Project, tmp_path: Path) -> None:
    """A project from elsewhere cannot lead new files out of its directory."""
    project.layout.private.mkdir(exist_ok=True)
    (tmp_path / "outside").mkdir()
    project.layout.jobs.symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError, match="link"):
        make(project)
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_run_without_a_job_is_cancelled_and_resumed(project: Project) -> None:
    """A run from Python stops at its marker; resume goes on with it by its own parameters."""

    def stop(ctx: Any) -> None:
        run = project.layout.find_run("r0002")
        threading.Thread(target=lambda: project.jobs.stop("r0002")).start()
        while not run.cancel.exists():
            time.sleep(0.01)
        time.sleep(0.5)
        ctx.check_cancelled()

    toy.SWITCH["TS_02"] = stop
    with pytest.raises(CancelledError):
        project.run(["shift"])
    toy.SWITCH.clear()
    plan = project.jobs.to_resume("r0002")
    assert plan is not None
    assert (plan["original"], plan["step"], plan["run"]) == ("rerun", "shift", "r0002")
    job = project.jobs.start("resume", plan)
    assert project.jobs.wait(job, timeout_s=30)
    assert [step["run"] for step in project.jobs.outcome(job)] == ["r0002"]
    assert toy.CALLS.count(("toy_shift", "TS_01")) == 1
    assert json.loads(project.layout.find_run("r0002").outputs.read_text())["files"]


def test_items_at_work_together_count_together(project: Project) -> None:
    """With two of four items half done and one finished, half of the run is done."""
    run = runs.reserve(project.layout, "shift")
    with Beat(run, every_s=0.01) as beat:
        beat.update(ProgressEvent("step", "shift", run.id, total=4))
        beat.update(ProgressEvent("progress", "shift", run.id, "TS_01", 9, 10))
        beat.update(ProgressEvent("item-done", "shift", run.id, "TS_01", 1, 4))
        for item in ("TS_02", "TS_03"):
            beat.update(ProgressEvent("progress", "shift", run.id, item, 5, 10))
        time.sleep(0.1)
        assert heartbeat.read(run)["share"] == 0.5
