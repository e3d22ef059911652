"""Wall time, CPU time and peak memory of a piece of work."""

from __future__ import annotations

import resource
import time
from contextlib import suppress
from pathlib import Path

_CLEAR_PEAK = "5"


class Meter:
    """Started when made; read any time. Peak memory is of this process, since then where Linux allows."""

    def __init__(self) -> None:
        self._wall = time.monotonic()
        self._cpu = _cpu_s()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK)

    @property
    def wall_s(self) -> float:
        """Seconds since the start."""
        return round(time.monotonic() - self._wall, 3)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all threads and finished children since the start."""
        return round(_cpu_s() - self._cpu, 3)

    @property
    def peak_rss_bytes(self) -> int:
        """Most memory the process held."""
        with suppress(OSError, ValueError, IndexError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _cpu_s() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
