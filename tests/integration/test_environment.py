"""What a run was made with: GPUs, driver, scheduler and packages, quick enough to be asked for every run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from staproj.engine import environment, machine


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put a made-up nvidia-smi with two GPUs on the path."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\nfor n in 0 1; do echo "GPU-$n, $n, NVIDIA X, 550.1, 40960 MiB"; done\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    machine.gpu_facts.cache_clear()
    yield tool
    machine.gpu_facts.cache_clear()


def test_gpus_are_recorded_with_driver_and_what_was_visible(gpus: Path) -> None:
    """Each GPU stands there by UUID, model and driver; the one the run could use is marked."""
    told = environment.collect(threads=1, device="cpu")
    assert [(gpu["uuid"], gpu["model"], gpu["driver"], gpu["visible"]) for gpu in told["gpus"]] == [
        ("GPU-0", "NVIDIA X", "550.1", False),
        ("GPU-1", "NVIDIA X", "550.1", True),
    ]
    assert told["environment"]["CUDA_VISIBLE_DEVICES"] == "GPU-1"


def test_a_driver_that_hangs_or_fails_is_no_gpu(gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken nvidia-smi stops nothing: there is no GPU then."""
    gpus.write_text("#!/bin/sh\nexit 9\n")
    assert environment.collect(threads=1, device="cpu")["gpus"] == []
    machine.gpu_facts.cache_clear()
    monkeypatch.setattr(machine, "_SMI_TIMEOUT_S", 0.2)
    gpus.write_text("#!/bin/sh\nexec sleep 5\n")
    began = time.monotonic()
    assert environment.collect(threads=1, device="cpu")["gpus"] == []
    assert time.monotonic() - began < 3.0


@pytest.mark.parametrize(
    ("name", "value"), [("SLURM_JOB_ID", "4711"), ("PBS_JOBID", "12.head"), ("LSB_JOBID", "9")]
)
def test_the_job_of_the_scheduler_is_recorded(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Slurm, PBS and LSF jobs are told by their numbers; a value out of proportion is cut."""
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n" * 5000)
    told = environment.collect(threads=1, device="cpu")["scheduler"]
    assert told[name] == value
    assert len(told["SLURM_JOB_NODELIST"]) == 1000


def test_packages_are_those_that_are_installed() -> None:
    """The quick list equals the one that parses every header."""
    environment._packages.cache_clear()
    slow = {str(d.metadata["Name"]): str(d.version) for d in reversed(list(distributions()))}
    assert environment._packages() == {name: slow[name] for name in environment._packages()}
    assert set(environment._packages()) == set(slow)
    assert {"numpy", "h5py"} <= set(slow)
