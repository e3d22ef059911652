"""What a run was made with: software, machine, person. Recorded, never in a key."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import staproj
from staproj.engine import machine
from staproj.project.process import this_process, user_name

_ENVIRONMENT = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_SCHEDULER = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_CLUSTER_NAME",
    "SLURM_JOB_PARTITION",
    "SLURM_JOB_NODELIST",
    "PBS_JOBID",
    "PBS_ARRAY_INDEX",
    "PBS_QUEUE",
    "LSB_JOBID",
    "LSB_JOBINDEX",
    "LSB_QUEUE",
)
_VALUE_MAX = 1000
_NAME = re.compile(r"(?m)^Name:(.+)$")
_VERSION = re.compile(r"(?m)^Version:(.+)$")


def collect(*, threads: int, device: str) -> dict[str, Any]:
    """Return the content of ``env.json``."""
    return {
        "staproj": staproj.__version__,
        "python": platform.python_version(),
        "packages": _packages(),
        "git": _git(),
        "host": this_process()["host"],
        "user": user_name(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cpu_count": os.cpu_count(),
        "cpus_allowed": len(os.sched_getaffinity(0)),
        "memory_bytes": _memory(),
        "threads": threads,
        "device": device,
        "gpus": _gpus(),
        "cuda": _cuda(),
        "environment": _variables(_ENVIRONMENT),
        "scheduler": _variables(_SCHEDULER),
    }


def _variables(names: tuple[str, ...]) -> dict[str, str]:
    return {name: os.environ[name][:_VALUE_MAX] for name in names if name in os.environ}


def _gpus() -> list[dict[str, Any]]:
    """Return the GPUs of the machine; ``visible`` are those that this process may use."""
    visible = machine.gpu_uuids()
    return [
        {
            "uuid": gpu["uuid"],
            "model": gpu["name"],
            "driver": gpu["driver_version"],
            "memory": gpu["memory.total"],
            "visible": gpu["uuid"] in visible,
        }
        for gpu in machine.gpu_facts()
    ]


@cache
def _cuda() -> str | None:
    """Return the newest CUDA version that the driver can do; ``None`` without a driver."""
    number = ctypes.c_int(0)
    try:
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}" if number.value else None


def software() -> dict[str, str]:
    """Return the versions that matter most, for ``spec.json``."""
    git = _git()
    code = {"git": git["sha"] + ("+dirty" if git["dirty"] else "")} if git else {}
    return {"staproj": staproj.__version__, "python": platform.python_version(), **code}


def command_line() -> list[str]:
    """Return the command as typed; the program by its name only, so that no directory of a person is kept."""
    if not sys.argv:
        return []
    name = Path(sys.argv[0]).name
    return ["staproj" if name == "__main__.py" else name or "python", *sys.argv[1:]]


@cache
def _packages() -> dict[str, str]:
    """Return name and version of every package; to parse whole headers would take 0.2 s."""
    found: dict[str, str] = {}
    for package in distributions():
        text = package.read_text("METADATA") or package.read_text("PKG-INFO") or ""
        name, version = _NAME.search(text), _VERSION.search(text)
        if name and version:
            found.setdefault(name[1].strip(), version[1].strip())  # the first on the path is what is imported
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


@cache
def _git() -> dict[str, Any] | None:
    """Return commit and dirty flag when the package runs from a checkout of its own repository."""
    package = Path(staproj.__file__).resolve().parent
    if not (package.parent / ".git").exists():
        return None

    def ask(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(package), *words], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        sha = ask("rev-parse", "HEAD")
        dirty = bool(ask("status", "--porcelain", "--untracked-files=no", "--", "."))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"sha": sha, "dirty": dirty}


@cache
def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
