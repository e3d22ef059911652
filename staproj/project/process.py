"""Who is running: this process, and whether another one is still alive."""

from __future__ import annotations

import getpass
import os
import socket
from functools import cache
from pathlib import Path
from typing import Any


def user_name() -> str:
    """Return the login name, or the number where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@cache
def boot_id() -> str:
    """Return an identifier of this boot of this machine (empty where the system has none)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Return when process ``pid`` started, in clock ticks; ``None`` if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def this_process() -> dict[str, Any]:
    """Return what identifies this process on a shared disk."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "boot_id": boot_id(),
        "pid": pid,
        "start_ticks": start_ticks(pid),
    }


def is_alive(who: dict[str, Any]) -> bool | None:
    """Tell whether a recorded process still runs; ``None`` when it ran on another machine.

    Process number, start time and boot are compared, so that a number used again is not taken for it.
    """
    if who.get("host") != socket.gethostname():
        return None
    if boot_id() and who.get("boot_id") and who["boot_id"] != boot_id():
        return False
    pid = who.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    now = start_ticks(pid)
    if now is not None:
        return who.get("start_ticks") in (None, now)
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
