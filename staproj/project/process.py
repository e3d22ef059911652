"""Who is running: this process, and whether another one is still alive.

A process is known by host, machine, boot, process-number namespace, number and start time together. What
cannot be seen from here (another machine, another container) is never called dead.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_GONE = ("Z", "X")


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


@cache
def machine_id() -> str:
    """Return a digest of what names this installation (empty where nothing does, as in many containers)."""
    with suppress(OSError):
        text = Path("/etc/machine-id").read_text().strip()
        if text:
            return hashlib.sha256(f"staproj {text}".encode()).hexdigest()[:16]
    return ""


def pid_namespace() -> str:
    """Return the name of the namespace that process numbers count in (empty where there are none)."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Return when process ``pid`` started, in clock ticks; ``None`` if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in _GONE else int(fields[19])


def this_process() -> dict[str, Any]:
    """Return what identifies this process on a shared disk."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "machine": machine_id(),
        "boot_id": boot_id(),
        "pid_namespace": pid_namespace(),
        "pid": pid,
        "start_ticks": start_ticks(pid),
    }


def is_alive(who: dict[str, Any]) -> bool | None:
    """Tell whether a recorded process still runs; ``None`` where that cannot be seen from here.

    That is so for another host, for another machine of the same name, and for another container. A
    container that has another boot may be on another machine, whatever it calls itself.
    """
    if who.get("host") != socket.gethostname() or _differs(who.get("machine"), machine_id()):
        return None
    other_namespace = _differs(who.get("pid_namespace"), pid_namespace())
    if _differs(who.get("boot_id"), boot_id()):
        return None if other_namespace else False
    if other_namespace:
        return None
    pid = who.get("pid")
    if not isinstance(pid, int) or isinstance(pid, bool) or not 0 < pid < 1 << 31:
        return False
    now = start_ticks(pid)
    if now is not None:
        return who.get("start_ticks") in (None, now)
    if Path(f"/proc/{pid}/stat").exists():  # it ended, and its parent has not asked how
        return False
    try:
        os.kill(pid, 0)  # /proc may hide processes of other people
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not Path("/proc/self/stat").exists()


def _differs(one: Any, other: str) -> bool:
    """Tell whether two names are both known and not the same."""
    return bool(one) and bool(other) and one != other
