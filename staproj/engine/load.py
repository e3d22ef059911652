"""How busy this machine is: processors, memory, disk and GPUs, read from what the system tells.

Nothing here waits for long: without GPUs nothing is asked of a driver, and one that does not answer is left
alone for a while.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from staproj.engine.machine import cpu_count

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
SAMPLE_S = 0.1
_QUERY = ("uuid", "index", "name", "memory.used", "memory.total", "utilization.gpu")
_SMI = "nvidia-smi"
_SMI_TIMEOUT_S = 3.0
_GPUS_EVERY_S = 2.0
_GPUS_AGAIN_S = 60.0
_MIB = 1 << 20


class Load:
    """Reads the load again and again; the share of busy processors is that since the last look."""

    def __init__(self, path: Path | str = ".", *, proc: Path = PROC, cgroup: Path = CGROUP) -> None:
        self.path = Path(path)
        self._proc = proc
        self._cgroup = cgroup
        self._ticks = _ticks(proc)
        self._percent: float | None = None

    def read(self) -> dict[str, Any]:
        """Return the load now; what this system does not tell is ``None``.

        ``{"host", "cpu_count", "cpu_percent", "load_1_min", "load_5_min", "load_15_min",
        "memory_total_bytes", "memory_used_bytes", "swap_total_bytes", "swap_used_bytes", "disk_path",
        "disk_total_bytes", "disk_free_bytes", "gpus"}``; ``cpu_percent`` (0 to 100, all processors together)
        is ``None`` until some time has passed since this object was made. ``gpus`` is a list of ``{"uuid",
        "index", "name", "memory_used_bytes", "memory_total_bytes", "busy_percent"}``.
        """
        one, five, fifteen = _load_average()
        total, used, swap, swap_used = _memory(self._proc, self._cgroup)
        disk, free = _disk(self.path)
        return {
            "host": socket.gethostname(),
            "cpu_count": cpu_count(),
            "cpu_percent": self._busy(),
            "load_1_min": one,
            "load_5_min": five,
            "load_15_min": fifteen,
            "memory_total_bytes": total,
            "memory_used_bytes": used,
            "swap_total_bytes": swap,
            "swap_used_bytes": swap_used,
            "disk_path": os.path.abspath(self.path),
            "disk_total_bytes": disk,
            "disk_free_bytes": free,
            "gpus": GPUS.read(),
        }

    def _busy(self) -> float | None:
        """Return the share of busy processors since the last look; the last answer if that was just now."""
        now = _ticks(self._proc)
        if now is None or self._ticks is None:
            return None
        total, idle = now[0] - self._ticks[0], now[1] - self._ticks[1]
        if total > 0:
            self._ticks = now
            self._percent = round(100.0 * min(max(1.0 - idle / total, 0.0), 1.0), 1)
        return self._percent


def sample(path: Path | str = ".", *, wait_s: float = SAMPLE_S) -> dict[str, Any]:
    """Return the load as :meth:`Load.read`, having looked for ``wait_s`` seconds at the processors."""
    load = Load(path)
    time.sleep(wait_s)
    return load.read()


class Gpus:
    """Asks the driver for its GPUs, at most every two seconds; where there is no driver, once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: list[dict[str, Any]] = []
        self._next = 0.0
        self._asked = False
        self._none_here = False

    def read(self) -> list[dict[str, Any]]:
        """Return the GPUs; empty where there are none, or the driver does not answer."""
        if self._none_here or (self._asked and self._clock() < self._next):
            return [dict(gpu) for gpu in self._known]
        self._asked = True
        if shutil.which(_SMI) is None:
            self._none_here = True
            return []
        command = [_SMI, f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_SMI_TIMEOUT_S,
                check=True,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError):
            self._known, self._next = [], self._clock() + _GPUS_AGAIN_S
            return []
        rows = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines()]
        self._known = [_gpu(row) for row in rows if len(row) == len(_QUERY)]
        self._next = self._clock() + (_GPUS_EVERY_S if self._known else _GPUS_AGAIN_S)
        return [dict(gpu) for gpu in self._known]


GPUS = Gpus()


def _gpu(row: list[str]) -> dict[str, Any]:
    uuid, index, name, used, total, busy = row
    used_mib, total_mib = _number(used), _number(total)
    return {
        "uuid": uuid,
        "index": index,
        "name": name,
        "memory_used_bytes": None if used_mib is None else int(used_mib * _MIB),
        "memory_total_bytes": None if total_mib is None else int(total_mib * _MIB),
        "busy_percent": _number(busy),
    }


def _number(text: str) -> float | None:
    """Return a number of the driver; it writes ``[N/A]`` for what it does not know."""
    try:
        return float(text)
    except ValueError:
        return None


def _ticks(proc: Path) -> tuple[int, int] | None:
    """Return the ticks of all processors since the boot: all, and those without work."""
    try:
        first = (proc / "stat").read_text().splitlines()[0].split()
        values = [int(value) for value in first[1:9]]  # guests are part of user
    except (OSError, ValueError, IndexError):
        return None
    if first[0] != "cpu" or len(values) < 5:
        return None
    return sum(values), values[3] + values[4]


def _load_average() -> tuple[float | None, float | None, float | None]:
    try:
        return os.getloadavg()
    except OSError:
        return None, None, None


def _memory(proc: Path, cgroup: Path) -> tuple[int | None, int | None, int | None, int | None]:
    """Return memory and swap, all and used; of a control group where that allows less than there is."""
    facts = _facts(proc / "meminfo")
    kib = {name: value * 1024 for name, value in facts.items()}
    total, available = kib.get("MemTotal"), kib.get("MemAvailable")
    used = None if total is None or available is None else max(total - available, 0)
    swap, swap_free = kib.get("SwapTotal"), kib.get("SwapFree")
    swap_used = None if swap is None or swap_free is None else max(swap - swap_free, 0)
    limit = _whole(cgroup / "memory.max")
    if limit is not None and (total is None or limit < total):
        held = _whole(cgroup / "memory.current")
        if held is not None:  # as MemAvailable does: what is only kept of files counts as free
            used = max(held - _facts(cgroup / "memory.stat").get("inactive_file", 0), 0)
        total = limit
    return total, used, swap, swap_used


def _facts(path: Path) -> dict[str, int]:
    """Return ``{name: number}`` of a file with a name and a number a line."""
    found: dict[str, int] = {}
    with suppress(OSError):
        for line in path.read_text().splitlines():
            words = line.split()
            with suppress(ValueError, IndexError):
                found[words[0].rstrip(":")] = int(words[1])
    return found


def _whole(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max" is no limit
        return None


def _disk(path: Path) -> tuple[int | None, int | None]:
    """Return size of, and free space on, the disk of a path, for this person."""
    try:
        found = shutil.disk_usage(path)
    except OSError:
        return None, None
    return found.total, found.free
