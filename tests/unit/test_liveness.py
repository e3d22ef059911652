"""Who is alive: processes, machines, boots, containers, heartbeats and clocks; and numbers of runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from staproj.project import process, runs, versions
from staproj.project.layout import Layout, RunDir
from staproj.project.process import is_alive, this_process

OTHER = {
    "itself": ({}, True),
    "another host": ({"host": "elsewhere"}, None),
    "another machine of the same name": ({"machine": "0123456789abcdef"}, None),
    "another container": ({"pid_namespace": "pid:[1]"}, None),
    "another container after a reboot": ({"pid_namespace": "pid:[1]", "boot_id": "x"}, None),
    "before the last reboot": ({"boot_id": "x"}, False),
    "a number that was used again": ({"start_ticks": 1}, False),
    "a number that is free": ({"pid": 2**22 + 1}, False),
    "an older record without names": ({"machine": None, "pid_namespace": None, "start_ticks": None}, True),
    "no number": ({"pid": None}, False),
    "a word for a number": ({"pid": "7"}, False),
    "all processes": ({"pid": -1}, False),
    "a number too large": ({"pid": 10**30}, False),
}


@pytest.mark.parametrize("case", OTHER)
def test_who_is_alive(case: str) -> None:
    """Only what is proven gone is dead; what cannot be seen is unknown."""
    changes, alive = OTHER[case]
    assert is_alive({**this_process(), **changes}) is alive


def test_a_killed_process_is_gone_at_once() -> None:
    """Also while its parent has not asked how it ended (a zombie)."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    who = {**this_process(), "pid": child.pid, "start_ticks": process.start_ticks(child.pid)}
    assert is_alive(who) is True
    child.kill()
    deadline = time.monotonic() + 5
    while is_alive(who) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_alive(who) is False
    child.wait()
    assert is_alive(who) is False


def run_of(tmp_path: Path, **facts: Any) -> RunDir:
    """Return a run whose last event is that somebody started it."""
    run = RunDir(tmp_path / "r0001-shift")
    run.path.mkdir()
    runs.note(run, "started", attempt=1, **{**this_process(), **facts})
    return run


@pytest.mark.parametrize(
    ("age_s", "state"),
    [(0, "running"), (30, "running"), (-30, "running"), (90, "unreachable"), (-7200, "unreachable")],
)
def test_heartbeat_of_another_machine(tmp_path: Path, age_s: float, state: str) -> None:
    """A young heartbeat means running; an old one, or one of a wrong clock, unreachable, never failed."""
    run = run_of(tmp_path, host="elsewhere")
    assert runs.state_of(run).state == "unreachable"
    run.heartbeat.touch()
    os.utime(run.heartbeat, (time.time() - age_s,) * 2)
    assert runs.state_of(run).state == state


def test_heartbeat_does_not_raise_the_dead(tmp_path: Path) -> None:
    """A process that is proven gone is interrupted, however young its heartbeat; a live one needs none."""
    run = run_of(tmp_path, pid=2**22 + 1)
    run.heartbeat.touch()
    assert runs.state_of(run).state == "interrupted"
    shutil.rmtree(run.path)
    run = run_of(tmp_path)
    run.heartbeat.touch()
    os.utime(run.heartbeat, (0, 0))
    assert runs.state_of(run).state == "running"


def test_same_name_other_boot_with_a_young_heartbeat(tmp_path: Path) -> None:
    """Another boot of a machine of this name is dead, unless somebody keeps its heartbeat alive."""
    run = run_of(tmp_path, boot_id="another", machine="", pid_namespace="")
    assert runs.state_of(run).state == "interrupted"
    run.heartbeat.touch()
    assert runs.state_of(run).state == "unreachable"


def test_a_reserved_run_is_not_taken_for_dead(tmp_path: Path) -> None:
    """From the moment it has a number, the run of a live process is running."""
    layout = Layout(tmp_path)
    run = runs.reserve(layout, "shift")
    assert runs.state_of(run).state == "running"


def test_numbers_survive_whatever_is_deleted(tmp_path: Path) -> None:
    """Deleted runs, a deleted or torn counter, everything private deleted: no number comes again."""
    layout = Layout(tmp_path)
    assert [runs.reserve(layout, "a").id for _ in range(3)] == ["r0001", "r0002", "r0003"]
    shutil.rmtree(layout.runs / "r0003-a")
    assert runs.reserve(layout, "b").id == "r0004"
    layout.counter.write_text("")
    assert runs.reserve(layout, "b").id == "r0005"
    versions.write(layout, manifest="", heads={"b": "r0005"}, why="test")
    shutil.rmtree(layout.runs / "r0005-b")
    shutil.rmtree(layout.private)
    assert runs.reserve(layout, "c").id == "r0006"
    layout.annotations.mkdir(exist_ok=True)
    layout.annotation("r0040").write_text("title = 'x'")
    shutil.rmtree(layout.private)
    assert runs.reserve(layout, "c").id == "r0041"


def test_numbers_see_what_others_put_there(tmp_path: Path) -> None:
    """A run directory that was copied in, and an older counter, are noticed."""
    layout = Layout(tmp_path)
    runs.reserve(layout, "a")
    (layout.runs / "r0100-copied").mkdir()
    assert runs.reserve(layout, "a").id == "r0101"
    layout.counter.write_text("7")
    assert runs.reserve(layout, "a").id == "r0102"
    layout.counter.write_text("500 1 1")
    assert runs.reserve(layout, "a").id == "r0501"
