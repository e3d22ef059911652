"""The queue of a machine: CPU slots, memory and GPUs are given once, in order, and survive any death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.engine import machine
from staproj.engine.machine import Limits
from staproj.engine.slots import Need, Slots
from staproj.errors import UsageError
from tests.integration.jobs_setup import Terminal, until
from tests.trials import gpu_race


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Terminal]:
    """Return a terminal at a project of slow stages; nothing of it is left running."""
    terminal = Terminal(tmp_path / "a")
    yield terminal
    terminal.end()


@pytest.fixture
def beside(at: Terminal, tmp_path: Path) -> Iterator[Terminal]:
    """Return a terminal at another project on the same machine."""
    terminal = Terminal(tmp_path / "b")
    for name in ("STAPROJ_STATE", "XDG_CONFIG_HOME"):
        terminal.environment[name] = at.environment[name]
    yield terminal
    terminal.end()


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    """Return the queue of a machine with four slots, 8 GB and two GPUs."""
    return Slots(Limits(4, 8 * 10**9, ("GPU-a", "GPU-b")), tmp_path)


def test_a_second_job_waits_and_says_what_for(at: Terminal, beside: Terminal) -> None:
    """Two projects share one machine: the second run is queued everywhere, then runs by itself."""
    at.limit("cpu_slots = 1\n")
    at.hold()
    at.call("run", "--detach")
    at.begun("TS_01")
    waiting = beside.start("run", "--json")
    until(lambda: bool(beside.answer("jobs")) and beside.job()["state"] == "queued")
    (row,) = beside.answer("jobs")
    assert "waits for 1 CPU slot (" in row["message"]
    assert "r0002 slow" in row["message"]
    assert beside.run_state("r0001") == "queued"
    assert beside.states()["import"] == "queued"
    listed = next(row for row in beside.answer("ls") if row["run"] == "r0001")
    assert (listed["state"], "waits for" in listed["verdict"]) == ("queued", True)
    os.kill(at.processes()["working"], signal.SIGKILL)  # its claim comes back by proof
    out, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, out
    assert set(beside.states().values()) == {"fresh"}


def test_a_queued_job_can_be_cancelled(at: Terminal, beside: Terminal) -> None:
    """Cancelling one that waits takes it out of the queue; resume puts it back."""
    at.limit("cpu_slots = 1\n")
    at.hold()
    at.call("run", "--detach")
    at.begun("TS_01")
    beside.call("run", "--detach")
    until(lambda: beside.job()["state"] == "queued")
    (told,) = beside.answer("cancel", "j0001")
    assert told["state"] == "cancelled"
    assert beside.run_state("r0001") == "interrupted"
    at.go()
    at.call("watch")
    assert [step["run"] for step in beside.answer("resume")["steps"]] == ["r0001", "r0002", "r0003"]


def test_more_than_the_machine_has_is_refused_at_once(at: Terminal) -> None:
    """A request that would wait for ever starts nothing, and the message has both numbers."""
    at.limit("cpu_slots = 2\nmemory_gb = 1\ngpus = []\n")
    error = at.answer("run", "--threads", "3", code=2)
    assert "3 CPU slots" in error["message"]
    assert "there is 2" in error["message"]
    assert at.answer("jobs") == []
    at.limit("cpu_slots = 0\n")
    assert "cpu_slots" in at.answer("run", code=2)["message"]


def test_a_gpu_is_given_by_its_uuid_and_never_twice(at: Terminal, beside: Terminal) -> None:
    """The worker sees the one GPU it was given, another job waits for it, and one without sees none."""
    at.limit('gpus = ["GPU-made-up"]\ncpu_slots = 8\n')
    at.hold()
    first = _start(at, "gpu")
    at.begun("TS_01")
    second = _start(beside, "gpu")
    until(lambda: beside.job()["state"] == "queued")
    assert "waits for a GPU" in beside.job()["message"]
    assert (at.control / "gpu").read_text() == "GPU-made-up"
    assert at.answer("cancel", first)[0]["state"] == "cancelled"
    until(lambda: beside.job()["state"] == "done")
    assert (beside.control / "gpu").read_text() == "GPU-made-up"
    at.go()
    _start(at, "cpu")
    until(lambda: at.job()["state"] == "done")
    assert (at.control / "gpu").read_text() == ""
    assert second == "j0001"


def _start(at: Terminal, device: str) -> str:
    """Start a job from Python, which asks no driver for the made-up GPU."""
    code = (
        "from staproj.api import Project\n"
        f"print(Project.open('.').jobs.start('run', {{'device': {device!r}, 'threads': 1}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=at.root,
        env=at.environment,
        text=True,
        capture_output=True,
        check=True,
    )
    return done.stdout.strip()


def test_order_and_priority(slots: Slots) -> None:
    """First come, first served; priority goes first; small ones do not overtake one who waits for CPUs."""
    big = slots.enter(Need(3), {}, since=1.0)
    assert slots.try_claim(big) == ""
    large = slots.enter(Need(4), {}, since=2.0)
    small = slots.enter(Need(1), {}, since=3.0)
    urgent = slots.enter(Need(1), {}, since=4.0, priority=5)
    assert "4 CPU slots" in slots.try_claim(large)
    assert slots.try_claim(small) != "", "the free slot is kept for the large one"
    assert slots.try_claim(urgent) == ""
    slots.leave(big)
    slots.leave(urgent)
    assert slots.try_claim(small) != ""
    assert slots.try_claim(large) == ""
    slots.leave(large)
    assert slots.try_claim(small) == ""


def test_one_who_waits_for_a_gpu_holds_back_no_cpu_work(slots: Slots) -> None:
    """CPU work goes on behind a run that waits for a GPU; another one for a GPU does not overtake it."""
    held = [slots.enter(Need(1, 0, 1), {}, since=1.0) for _ in range(2)]
    assert [slots.try_claim(ticket) for ticket in held] == ["", ""]
    assert {held[0].gpus, held[1].gpus} == {("GPU-a",), ("GPU-b",)}
    first, second = (slots.enter(Need(1, 0, 1), {}, since=when) for when in (2.0, 3.0))
    plain = slots.enter(Need(2), {}, since=4.0)
    assert slots.try_claim(plain) == ""
    slots.leave(held[0])
    assert slots.try_claim(second) != ""
    slots.leave(plain)
    assert slots.try_claim(first) == ""


def test_memory_counts(slots: Slots) -> None:
    """Runs whose expected memory does not fit together run one after the other."""
    first, second = (slots.enter(Need(1, 5 * 10**9), {}, since=when) for when in (1.0, 2.0))
    assert slots.try_claim(first) == ""
    assert "5.0 GB of memory (3.0 free)" in slots.try_claim(second)
    with pytest.raises(UsageError, match="wait for ever"):
        slots.enter(Need(1, 9 * 10**9), {})


def test_racing_processes_never_share_a_gpu(tmp_path: Path) -> None:
    """A small number of the trial: nothing is given twice, the dead hold nothing, nobody is stuck."""
    figures = gpu_race.trial(tmp_path, processes=5, rounds=8, die=0.05)
    assert {name: figures[name] for name in ("doubled", "crowded", "stuck", "failed")} == {
        "doubled": 0,
        "crowded": 0,
        "stuck": 0,
        "failed": 0,
    }
    assert figures["left_by_the_living"] == 0


def test_limits_of_a_file_are_checked(tmp_path: Path) -> None:
    """Unknown keys, wrong kinds and broken files are named; without a file all CPUs count."""
    path = tmp_path / "machine.toml"
    path.write_text('cpu_slots = 3\nmemory_gb = 2.5\ngpus = ["GPU-x"]\n')
    assert machine.limits(path) == Limits(3, 2_500_000_000, ("GPU-x",), str(path))
    for text in ("cpus = 3", "cpu_slots = true", 'gpus = "all"', "cpu_slots ="):
        path.write_text(text)
        with pytest.raises(UsageError):
            machine.limits(path)
    path.unlink()
    assert machine.limits(path).cpu_slots == os.cpu_count()


def test_gpus_are_asked_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nvidia-smi lists is used by UUID, confined by CUDA_VISIBLE_DEVICES; without it there is none."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n"
        "echo 'GPU-1a, 0, NVIDIA X, 550.1, 40960 MiB'\n"
        "echo 'GPU-2b, 1, NVIDIA X, 550.1, 40960 MiB'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine.gpu_facts.cache_clear()
    try:
        assert machine.gpu_uuids() == ("GPU-1a", "GPU-2b")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        assert machine.gpu_uuids() == ("GPU-2b",)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
        assert machine.gpu_uuids() == ("GPU-1a",)
    finally:
        machine.gpu_facts.cache_clear()


def test_jobs_are_known_to_the_facade(at: Terminal) -> None:
    """A project without jobs has none, and says which command makes one."""
    jobs = Project.open(at.root).jobs
    assert jobs.all() == jobs.active() == []
    with pytest.raises(UsageError, match="no job"):
        jobs.newest()
