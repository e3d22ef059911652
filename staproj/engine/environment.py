"""What a run was made with: software, machine, person. Recorded, never in a key."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import staproj
from staproj.project.process import this_process, user_name

_ENVIRONMENT = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_SCHEDULER = ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "PBS_JOBID", "LSB_JOBID")


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
        "memory_bytes": _memory(),
        "threads": threads,
        "device": device,
        "environment": {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        "scheduler": {name: os.environ[name] for name in _SCHEDULER if name in os.environ},
    }


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
    found = {str(d.metadata["Name"]): str(d.version) for d in distributions() if d.metadata["Name"]}
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
