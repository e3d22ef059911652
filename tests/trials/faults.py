"""Death at a chosen moment: every call that changes the disk is counted, and one of them is the last.

``Faults(at, when)`` patches the calls of ``os`` and ``open`` that write. At call number ``at`` the process is
gone (``os._exit``), before or after the call. With ``power`` the disk also loses what was never fsynced:
bytes of files (``"bytes"``), and names in directories as well (``"names"``: new files vanish, renames and
mkdirs are undone). With ``full`` nothing dies: from that call on the disk is full, and whatever needs room
fails with ENOSPC (renames and deleting go on working, as they do).
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from staproj.project.layout import Layout

CHANGING = ("fsync", "rename", "replace", "mkdir", "link", "unlink", "rmdir", "chmod")
NEEDS_ROOM = ("fsync", "mkdir", "link", "open")
DEAD = 77
Power = Literal["", "bytes", "names"]


class Faults:
    """Patches this process (for good: use it in a child)."""

    def __init__(
        self, root: Path, at: int, *, after: bool = False, power: Power = "", full: bool = False
    ) -> None:
        self.count = 0
        self._root = str(root)
        self._at, self._after, self._power, self._full = at, after, power, full
        self._lock = threading.RLock()
        self._dying = False
        self._real = {name: getattr(os, name) for name in (*CHANGING, "open")}
        self._open = builtins.open
        self._synced: dict[int, int] = {}
        self._ops: list[tuple[int, str, str, str]] = []
        self._dir_synced: dict[int, int] = {}
        self._old = {path.stat().st_ino for path in root.rglob("*")} | {root.stat().st_ino}
        self.names: list[str] = []

    def install(self) -> None:
        """Patch."""
        for name in CHANGING:
            setattr(os, name, self._wrapped(name, self._real[name]))
        os.open = self._wrapped_open  # type: ignore[assignment]
        builtins.open = io.open = self._wrapped_builtin  # type: ignore[assignment]

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            with self._lock:
                self._step(f"{name} {self._words(args)}", before=True)
                replaces = name in ("rename", "replace") and os.path.lexists(args[1])
                result = real(*args, **options)
                if not replaces:  # what was there before is gone: either is right after a power cut
                    self._note(name, args, options)
                self._step(name, before=False)
            return result

        return call

    def _wrapped_open(self, path: Any, flags: int, *args: Any, **options: Any) -> int:
        if not flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            return int(self._real["open"](path, flags, *args, **options))
        with self._lock:
            self._step(f"open {path}", before=True)
            new = not os.path.lexists(path)
            descriptor = int(self._real["open"](path, flags, *args, **options))
            if new:
                self._ops.append((self.count, "create", str(path), ""))
            self._step("open", before=False)
        return descriptor

    def _wrapped_builtin(self, file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if isinstance(file, int) or not set(mode) & set("wax+"):
            return self._open(file, mode, *args, **options)
        with self._lock:
            self._step(f"open {file}", before=True)
            new = not os.path.lexists(file)
            handle = self._open(file, mode, *args, **options)
            if new:
                self._ops.append((self.count, "create", str(file), ""))
            self._step("open", before=False)
        return handle

    def _step(self, name: str, *, before: bool) -> None:
        if self._dying:
            return
        if before:
            self.count += 1
            self.names.append(name)
            if self._full and 0 < self._at <= self.count and name.split(maxsplit=1)[0] in NEEDS_ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if not self._full and self.count == self._at and before is not self._after:
            self._dying = True
            with suppress(Exception):
                self._cut_the_power()
            os._exit(DEAD)

    def _note(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Remember what is durable and what could be undone."""
        if name == "fsync":
            found = os.fstat(args[0])
            if stat.S_ISDIR(found.st_mode):
                self._dir_synced[found.st_ino] = self.count
            else:
                self._synced[found.st_ino] = found.st_size
        elif name in ("rename", "replace", "mkdir", "link") and not options:
            self._ops.append((self.count, name, str(args[0]), str(args[1]) if len(args) > 1 else ""))

    def _cut_the_power(self) -> None:
        if self._power == "names":
            for number, name, first, second in reversed(self._ops):
                self._undo(number, name, first, second)
        if self._power:
            for path in Path(self._root).rglob("*"):
                with suppress(OSError):
                    found = path.lstat()
                    if stat.S_ISREG(found.st_mode) and found.st_ino not in self._old:
                        kept = self._synced.get(found.st_ino, 0)
                        if kept < found.st_size:
                            path.chmod(0o644)
                            os.truncate(path, kept)
            lock = Layout(Path(self._root)).lock
            with suppress(OSError):  # a machine needs a while to come back
                os.utime(lock, (time.time() - 60.0,) * 2)

    def _undo(self, number: int, name: str, first: str, second: str) -> None:
        target = second if name in ("rename", "replace", "link") else first
        with suppress(OSError):
            parent = Path(target).parent.stat().st_ino
            if self._dir_synced.get(parent, 0) > number or not target.startswith(self._root):
                return
            if name in ("create", "link"):
                self._real["unlink"](target)
            elif name == "mkdir":
                shutil.rmtree(target)
            elif not os.path.lexists(first):
                self._real["rename"](target, first)

    @staticmethod
    def _words(args: tuple[Any, ...]) -> str:
        return " ".join(Path(str(a)).name for a in args[:2])
