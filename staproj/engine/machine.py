"""What this machine has, and how much of it staproj may use: CPU slots, memory, GPUs by UUID."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from staproj.errors import StorageError, UsageError

MEMORY_SHARE = 0.9
_QUERY = ("uuid", "index", "name", "driver_version", "memory.total")
_SMI_TIMEOUT_S = 8.0
_KEYS = ("cpu_slots", "memory_bytes", "memory_gb", "gpus")


@dataclass(frozen=True)
class Limits:
    """What runs of one person may use on this machine, all projects together. ``where`` says who set it."""

    cpu_slots: int
    memory_bytes: int
    gpus: tuple[str, ...]
    where: str = "this machine"


def config_file() -> Path:
    """Return the file in which a person sets limits; it need not exist."""
    return _home("XDG_CONFIG_HOME", ".config") / "staproj" / "machine.toml"


def limits(path: Path | None = None) -> Limits:
    """Return the limits of this machine: from the file, else all CPUs, 90 % of the memory, all GPUs.

    Raises
    ------
    UsageError
        If the file cannot be understood.
    """
    path = path or config_file()
    try:
        text = path.read_bytes()
    except OSError:
        return Limits(cpu_count(), int(MEMORY_SHARE * memory_bytes()), gpu_uuids())
    try:
        given = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the limits of this machine: {error}", where=str(path)) from error
    unknown = sorted(set(given) - set(_KEYS))
    if unknown:
        raise UsageError(
            f"{unknown[0]!r} is no limit of a machine", where=str(path), hint=f"use {', '.join(_KEYS)}"
        )
    memory = _number(given, "memory_bytes", path)
    if memory is None:
        in_gb = _number(given, "memory_gb", path)
        memory = MEMORY_SHARE * memory_bytes() if in_gb is None else in_gb * 1e9
    slots = _number(given, "cpu_slots", path)
    return Limits(
        cpu_count() if slots is None else max(1, int(slots)), int(memory), _gpus(given, path), str(path)
    )


def _number(given: Mapping[str, Any], key: str, path: Path) -> float | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e18:
        raise UsageError(f"{key} must be a number above 0, is {value!r}", where=str(path))
    return float(value)


def _gpus(given: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    value = given.get("gpus")
    if value is None:
        return gpu_uuids()
    if not isinstance(value, list) or not all(isinstance(uuid, str) and uuid for uuid in value):
        raise UsageError(
            "gpus must be a list of UUIDs", where=str(path), hint="`nvidia-smi -L` shows them (GPU-...)"
        )
    return tuple(dict.fromkeys(value))


def cpu_count() -> int:
    """Return the number of CPUs of the machine."""
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Return the memory of the machine, or less where a control group allows less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total


@cache
def gpu_facts() -> tuple[dict[str, str], ...]:
    """Return UUID, index, model, driver and memory of each GPU, as the driver tells; empty without one."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SMI_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines()]
    return tuple(dict(zip(_QUERY, row, strict=True)) for row in rows if len(row) == len(_QUERY))


def gpu_uuids() -> tuple[str, ...]:
    """Return the GPUs this process may use, by UUID: all, or those in ``CUDA_VISIBLE_DEVICES``."""
    facts = gpu_facts()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(gpu["uuid"] for gpu in facts)
    wanted = [name.strip() for name in visible.split(",") if name.strip()]
    return tuple(gpu["uuid"] for gpu in facts if any(_names(name, gpu) for name in wanted))


def _names(name: str, gpu: Mapping[str, str]) -> bool:
    """Tell whether an entry of ``CUDA_VISIBLE_DEVICES`` (an index, a UUID or its beginning) means a GPU."""
    return name == gpu["index"] if name.isdigit() else gpu["uuid"].startswith(name)


def state_dir() -> Path:
    """Return the directory of what staproj keeps for this person on this machine, made where needed.

    ``STAPROJ_STATE``, else ``$XDG_STATE_HOME/staproj``, else ``~/.local/state/staproj``; where that cannot be
    written, one in the directory of temporary files of this person's own (``state_note`` says so).

    Raises
    ------
    StorageError
        If none can be made.
    """
    own = _own_state()
    problem = _cannot_write(own)
    if not problem:
        return own
    if not os.environ.get("STAPROJ_STATE"):
        with suppress(OSError):
            spare = Path(tempfile.gettempdir()) / f"staproj-{os.getuid()}"
            spare.mkdir(mode=0o700, exist_ok=True)
            found = spare.lstat()
            if found.st_uid == os.getuid() and not found.st_mode & 0o077 and spare.is_dir():
                return spare
    raise StorageError(
        f"cannot keep the queue of this machine: {problem}",
        where=str(own),
        hint="set STAPROJ_STATE to a directory you can write to",
    )


def state_note() -> str:
    """Say where the queue of this machine is kept, if not where it should be ("" else)."""
    own, used = _own_state(), state_dir()
    if used == own:
        return ""
    return f"the queue of this machine is kept in {used}, as {own} cannot be written to"


def _own_state() -> Path:
    given = os.environ.get("STAPROJ_STATE")
    if given and not Path(given).is_absolute():  # each process would take it for another
        raise StorageError("STAPROJ_STATE is no absolute path", where=given, hint="write it from / on")
    base = Path(given) if given else _home("XDG_STATE_HOME", ".local/state") / "staproj"
    return base / socket.gethostname()


def _home(variable: str, below: str) -> Path:
    """Return a directory of this person; a relative path in the environment does not count (XDG)."""
    given = os.environ.get(variable, "")
    if Path(given).is_absolute():
        return Path(given)
    try:
        return Path.home() / below
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return Path("/nonexistent") / below


def _cannot_write(directory: Path) -> str:
    """Return why a directory cannot be made or written to ("" if it can)."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(directory, os.W_OK | os.X_OK) else "not writable"
