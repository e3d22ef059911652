"""How busy a machine is: read from what the system tells, quick where there are no GPUs, never in the way."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from staproj.engine import load
from staproj.engine.load import Gpus, Load, sample
from staproj.report import machine as report


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Return a directory that stands for /proc and /sys/fs/cgroup, with 1000 ticks of which 800 were idle."""
    (tmp_path / "stat").write_text("cpu  150 0 50 700 100 0 0 0 0 0\ncpu0 150 0 50 700 100 0 0 0 0 0\n")
    (tmp_path / "meminfo").write_text(
        "MemTotal:    8000000 kB\nMemFree:      100000 kB\nMemAvailable: 6000000 kB\n"
        "SwapTotal:   1000000 kB\nSwapFree:     750000 kB\n"
    )
    return tmp_path


def test_busy_processors_are_counted_between_two_looks(system: Path) -> None:
    """Of 400 new ticks 100 were idle or waited for a disk: 75 % busy; without new ticks the last answer."""
    looks = Load(system, proc=system, cgroup=system)
    assert looks.read()["cpu_percent"] is None
    (system / "stat").write_text("cpu  350 50 100 760 140 0 0 0 0 0\n")
    assert looks.read()["cpu_percent"] == 75.0
    assert looks.read()["cpu_percent"] == 75.0
    (system / "stat").unlink()
    assert looks.read()["cpu_percent"] is None


def test_memory_is_what_can_be_had(system: Path) -> None:
    """Memory that the system can take back counts as free; a smaller control group is the whole machine."""
    told = Load(system, proc=system, cgroup=system).read()
    assert (told["memory_total_bytes"], told["memory_used_bytes"]) == (8_192_000_000, 2_048_000_000)
    assert (told["swap_total_bytes"], told["swap_used_bytes"]) == (1_024_000_000, 256_000_000)
    (system / "memory.max").write_text("4000000000\n")
    (system / "memory.current").write_text("1500000000\n")
    (system / "memory.stat").write_text("anon 1000000000\ninactive_file 400000000\n")
    told = Load(system, proc=system, cgroup=system).read()
    assert (told["memory_total_bytes"], told["memory_used_bytes"]) == (4_000_000_000, 1_100_000_000)
    (system / "memory.max").write_text("max\n")
    assert Load(system, proc=system, cgroup=system).read()["memory_total_bytes"] == 8_192_000_000


def test_this_very_machine(tmp_path: Path) -> None:
    """The system this runs on tells all: as many processors and bytes as other calls do."""
    told = sample(tmp_path, wait_s=0.05)
    assert told["cpu_count"] == os.cpu_count()
    assert told["cpu_percent"] is None or 0.0 <= told["cpu_percent"] <= 100.0
    assert 0 < told["memory_used_bytes"] < told["memory_total_bytes"]
    assert told["disk_total_bytes"] == shutil.disk_usage(tmp_path).total
    assert Load(tmp_path / "not there").read()["disk_free_bytes"] is None


def _driver(folder: Path, body: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho asked >> {folder}/calls\n{body}\n")
    tool.chmod(0o755)


def test_gpus_are_asked_of_the_driver_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are in bytes and percent, what the driver does not know is None, and it is asked every 2 s."""
    _driver(
        tmp_path, "echo 'GPU-1a, 0, NVIDIA X, 1024, 2048, 40'\necho 'GPU-2b, 1, NVIDIA X, 1, 2048, [N/A]'"
    )
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    now = 0.0
    gpus = Gpus(lambda: now)
    first, second = gpus.read()
    assert first == {
        "uuid": "GPU-1a",
        "index": "0",
        "name": "NVIDIA X",
        "memory_used_bytes": 1 << 30,
        "memory_total_bytes": 2 << 30,
        "busy_percent": 40.0,
    }
    assert second["busy_percent"] is None
    first["name"] = "changed by who asked"
    assert gpus.read()[0]["name"] == "NVIDIA X"
    assert (tmp_path / "calls").read_text().count("asked") == 1
    now = 2.5
    assert len(gpus.read()) == 2
    assert (tmp_path / "calls").read_text().count("asked") == 2


def test_a_driver_that_does_not_answer_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs or fails costs one wait a minute; where there is none, nothing is ever started."""
    _driver(tmp_path, "exec sleep 30")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(load, "_SMI_TIMEOUT_S", 0.2)
    now = 0.0
    gpus = Gpus(lambda: now)
    began = time.monotonic()
    assert gpus.read() == []
    assert time.monotonic() - began < 5.0
    now = 50.0
    assert gpus.read() == []
    assert (tmp_path / "calls").read_text().count("asked") == 1
    _driver(tmp_path, "exit 9")
    now = 70.0
    assert gpus.read() == []
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    nobody = Gpus(lambda: now)
    assert nobody.read() == []
    _driver(tmp_path, "echo 'GPU-1a, 0, NVIDIA X, 1, 2, 3'")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nobody.read() == [], "that there is none is not asked again"


@pytest.mark.parametrize(
    ("share", "full"), [(0.0, 0), (0.005, 0), (0.02, 1), (0.5, 5), (0.99, 9), (1.0, 10), (7.0, 10), (-1, 0)]
)
def test_a_bar_is_full_only_where_nothing_is_left(share: float, full: int) -> None:
    """Ten cells, of which as many are full as tenths are used; the last only by the last bit."""
    assert report.bar(share, 10) == "█" * full + "░" * (10 - full)
    assert report.bar(share, 10, plain=True).isascii()


def test_a_bar_of_nothing_known_is_empty() -> None:
    """What nobody knows is not drawn as used."""
    assert report.bar(None, 4) == report.bar(float("nan"), 4) == "░░░░"


def test_lines_of_the_load() -> None:
    """Each line has its bar; a GPU names who holds it; what is not known is a question mark."""
    told = {
        "host": "node1",
        "cpu_count": 4,
        "cpu_percent": 50.0,
        "load_1_min": 2.0,
        "load_5_min": 1.0,
        "load_15_min": 0.5,
        "memory_total_bytes": 8_000_000_000,
        "memory_used_bytes": None,
        "swap_total_bytes": 0,
        "swap_used_bytes": 0,
        "disk_path": "/data/p",
        "disk_total_bytes": 1000,
        "disk_free_bytes": 250,
        "gpus": [
            {
                "uuid": "GPU-1a",
                "index": "0",
                "name": "NVIDIA X",
                "memory_used_bytes": 1_000_000_000,
                "memory_total_bytes": 2_000_000_000,
                "busy_percent": 100.0,
            }
        ],
    }
    held = {"held": True, "gpu_uuids": ["GPU-1a"], "job": "j0002", "project": "/data/p", "pid": 7}
    lines = report.load_lines(told, [held], width=4, plain=True)
    assert lines == [
        "CPU     ##--  50 %  load 2.00 1.00 0.50 (1, 5, 15 min)",
        "memory  ----   ? %  ? of 8.0 GB",
        "disk    ###-  75 %  250 B of 1.0 kB free at /data/p",
        "GPU 0   #### 100 %  1.0 GB of 2.0 GB, NVIDIA X, held by j0002 in p",
    ]
