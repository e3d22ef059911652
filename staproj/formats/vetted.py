"""Which HDF5 files may be opened in this process: those written here, and those that a child has read first.

The SHA-256 of each such file is in a list of this person on this machine,
``$XDG_CACHE_HOME/staproj/vetted-hdf5-<version of the library>.txt``. Nothing inside of a project is asked:
the bytes of the file are digested here. A list that is lost or damaged costs time only.

Files that are not in the list are read by a process of its own (:mod:`staproj.formats.vetter`), which serves
for many files and ends by itself. One that crashes, hangs or takes too much memory is refused.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import io
import json
import os
import re
import select
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

MAX_LIST_BYTES = 4 << 20
_LINE = re.compile(rb"(?m)^[0-9a-f]{64}$")
UNSAFE = "it cannot be read safely"
NO_MEMORY = "it takes more memory than it should"
_START_S = 20.0
_WALL_PER_CPU = 3.0


class _Here:
    """What this process knows: its own digests, the list as last read, and the child that it started."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.own: set[bytes] = set()
        self.listed: set[bytes] = set()
        self.listed_as: tuple[int, ...] = ()
        self.child: _Child | None = None


_here = _Here()


def digest(path: Path) -> str:
    """Return the SHA-256 of a regular file, as ``sha256:…``.

    Raises
    ------
    OSError
        If there is no such file, or it is anything else: a FIFO is not waited for.
    """
    with _open(path) as handle:
        return "sha256:" + hashlib.file_digest(handle, "sha256").hexdigest()


def remember(digests: Iterable[str]) -> None:
    """Put files into the list that were written by this process, or were found good."""
    with _here.lock:
        new = {value.removeprefix("sha256:").encode() for value in digests} - _here.own
        _here.own.update(new)
        if new:
            with contextlib.suppress(OSError):
                _append(b"".join(value + b"\n" for value in sorted(new)))


def vet(paths: Iterable[Path], *, max_bytes: int | None = None) -> None:
    """Check that HDF5 files can be read; ``max_bytes`` as of ``hdf5.open_file`` (else fitting an artifact).

    Raises
    ------
    OSError
        If one is not there, or is not a regular file.
    ValueError
        If one is damaged, crashes or holds up the library, or holds anything but numbers and text.
    """
    for path in paths:
        value = digest(path)
        with _here.lock:
            if is_known(value):
                continue
            problem = _ask(path, 2 * path.stat().st_size + (1 << 20) if max_bytes is None else max_bytes)
            if problem is None and digest(path) == value:
                remember([value])
                continue
        raise ValueError(f"{path.name}: {problem or 'it is being changed'}")


def is_known(value: str) -> bool:
    """Tell whether a digest is in the list."""
    raw = value.removeprefix("sha256:").encode()
    with _here.lock:
        return raw in _here.own or raw in _listed()


def place() -> Path:
    """Return where the list is kept."""
    import h5py

    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "staproj" / f"vetted-hdf5-{h5py.version.hdf5_version}.txt"


def _listed() -> set[bytes]:
    """Return what is in the file; read again only where it has changed."""
    try:
        with _open(place()) as handle:
            found = os.fstat(handle.fileno())
            if found.st_uid != os.getuid() or found.st_mode & 0o022 or found.st_size > 2 * MAX_LIST_BYTES:
                return set()
            now = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if now != _here.listed_as:
                _here.listed = set(_LINE.findall(handle.read()))
                _here.listed_as = now
        return _here.listed
    except (OSError, RuntimeError):  # no home directory
        return set()


def _append(lines: bytes) -> None:
    try:
        target = place()
    except RuntimeError:
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(target, flags, 0o600)
    with os.fdopen(descriptor, "rb+", buffering=0) as handle:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
            return
        if found.st_size > MAX_LIST_BYTES:  # forget the older half
            kept = _LINE.findall(handle.read(2 * MAX_LIST_BYTES))
            lines = b"".join(value + b"\n" for value in kept[len(kept) // 2 :]) + lines
            part = target.with_name(f".{target.name}.{os.getpid()}.part")
            part.unlink(missing_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as other:
                other.write(lines)
            part.replace(target)
            return
        handle.write(lines)


def _open(path: Path) -> io.BufferedReader:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return io.BufferedReader(io.FileIO(descriptor))


class _Child:
    """A running process that reads files; ``used`` when it has read one."""

    command = (sys.executable, "-P", "-m", "staproj.formats.vetter")

    def __init__(self) -> None:
        self.owner, self.used = os.getpid(), False
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )

    def is_mine(self) -> bool:
        """Tell whether it runs and was started by this process, not by the one that this was forked from."""
        return self.owner == os.getpid() and self._process.poll() is None

    def ask(self, path: Path, max_bytes: int) -> str | None:
        """Return what is wrong with a file.

        Raises
        ------
        TimeoutError
            If there is no answer.
        EOFError
            If the process is gone.
        """
        from staproj.formats.vetter import cpu_limit_s

        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = json.dumps({"path": os.path.abspath(path), "max_bytes": max_bytes})
        until = time.monotonic() + _WALL_PER_CPU * cpu_limit_s(max_bytes) + _START_S
        try:
            self._process.stdin.write(asked.encode() + b"\n")
        except BrokenPipeError as error:
            raise EOFError from error
        answer = b""
        while not answer.endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise TimeoutError
            part = self._process.stdout.read(1 << 16)
            if not part:
                raise EOFError
            answer += part
        self.used = True
        problem: str | None = json.loads(answer)["problem"]
        return problem

    def was_busy(self) -> bool:
        """Tell whether a process that is gone had used up its CPU time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(1.0) == -signal.SIGXCPU
        return False

    def end(self) -> None:
        """End it and wait for that."""
        if self.owner == os.getpid():
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()


def _ask(path: Path, max_bytes: int) -> str | None:
    """Let the child read a file; where an earlier file may be to blame, a fresh one is asked again."""
    while True:
        child = _here.child
        if child is None or not child.is_mine():
            end()
            child = _here.child = _Child()
        used = child.used
        try:
            problem = child.ask(path, max_bytes)
            if problem is None or not problem.startswith(NO_MEMORY):
                return problem
        except (TimeoutError, EOFError) as error:
            problem = f"{UNSAFE}: the HDF5 library crashes on it"
            if isinstance(error, TimeoutError) or child.was_busy():
                problem = f"{UNSAFE}: the HDF5 library does not come to its end"
                used = False
        except BaseException:  # somebody stops us: the answer may still come
            end()
            raise
        end()
        if not used:
            return problem


def end() -> None:
    """End the child, if there is one."""
    with _here.lock:
        if _here.child is not None:
            _here.child.end()
        _here.child = None


def _after_fork() -> None:
    """Leave the child to the process that started it; another thread may have held the lock."""
    _here.child, _here.lock = None, threading.RLock()


atexit.register(end)
os.register_at_fork(after_in_child=_after_fork)
