"""A terminal without a window: starts a program in a pseudo terminal, counts its bytes, models its screen.

The program sees an xterm of a given size. What it asks at its start (what are you, where is the cursor, what
is your background) is answered at once. A thread reads what it writes and notes when each piece came; the
screen is modelled when somebody looks at it, so that looking costs the measurement nothing.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.screen_model import Model, Queries, framed

KEYS = {
    "enter": "\r", "esc": "\x1b", "tab": "\t", "shift+tab": "\x1b[Z", "space": " ", "backspace": "\x7f",
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H", "end": "\x1b[F",
    "insert": "\x1b[2~", "delete": "\x1b[3~", "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "f1": "\x1bOP",
    **{f"ctrl+{letter}": chr(ord(letter) - 96) for letter in "abcdefghijklmnopqrstuvwxyz"},
}  # fmt: skip
"""What a terminal sends for keys that have a name; all else is sent as it is."""

_LAUNCHER = """
import fcntl, os, sys, termios, time
told = int(sys.argv[1])
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.set_inheritable(told, False)
os.write(told, b"%.6f" % time.monotonic())
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    os.write(told, b" %d" % error.errno)
"""
"""Makes the pseudo terminal its own, tells the time, and becomes the program."""

_WAITS_S = 10.0


class PtyApp:
    """A program in a pseudo terminal of ``columns`` x ``rows``.

    ``env`` is added to the surroundings of this process; colours that those ask for do not count.
    Times are those of ``time.monotonic``; ``started`` is when the program was executed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        term: str = "xterm-256color",
    ) -> None:
        self.columns, self.rows = columns, rows
        self.pieces: list[tuple[float, bytes]] = []
        self.answered: list[bytes] = []
        self._lock = threading.Lock()
        self._shown = 0
        self._screen = Model(columns, rows)
        self._queries = Queries(self._where)
        master, slave = os.openpty()
        self._master = master
        self._size(columns, rows)
        self._process, self.started = _launch(command, slave, _surroundings(term, env or {}), cwd)
        self.pid = self._process.pid
        self._wake, self._waker = os.pipe()
        self._reader = threading.Thread(target=self._read, name="pty-reader", daemon=True)
        self._reader.start()

    def __enter__(self) -> PtyApp:
        return self

    def __exit__(self, *told: object) -> None:
        self.kill()

    # ---------------------------------------------------------------------------------------- what it wrote
    @property
    def output(self) -> bytes:
        """Everything that was written so far."""
        return b"".join(piece for _, piece in list(self.pieces))

    @property
    def last_s(self) -> float:
        """When something was last written, else when the program began."""
        return self.pieces[-1][0] if self.pieces else self.started

    def between(self, since: float, until: float = float("inf")) -> list[tuple[float, bytes]]:
        """Return the pieces that came after ``since``, up to ``until``, with their times."""
        return [(when, piece) for when, piece in list(self.pieces) if since < when <= until]

    def bytes_between(self, since: float, until: float = float("inf")) -> int:
        """Return how many bytes came after ``since``, up to ``until``."""
        return sum(len(piece) for _, piece in self.between(since, until))

    def wait_quiet(self, quiet_s: float, timeout_s: float = _WAITS_S) -> float:
        """Wait until nothing was written for ``quiet_s`` from now on; return when the last bytes came."""
        began = time.monotonic()
        while True:
            left = quiet_s - (time.monotonic() - max(began, self.last_s))
            if left <= 0:
                return self.last_s
            if time.monotonic() - began > timeout_s:
                raise TimeoutError(f"{self.bytes_between(began)} bytes in {timeout_s} s, it is never quiet")
            time.sleep(max(min(left, 0.02), 0.001))

    # --------------------------------------------------------------------------------------- what one types
    def send(self, *keys: str) -> float:
        """Press keys: names of :data:`KEYS`, or text; return when they were sent."""
        data = "".join(KEYS.get(key, key) for key in keys).encode()
        now = time.monotonic()
        os.write(self._master, data)
        return now

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal; the kernel tells the program."""
        with self._lock:
            self._look()
            self.columns, self.rows = columns, rows
            self._screen.resize(columns, rows)
        self._size(columns, rows)

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(
            self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, rows * 16, columns * 8)
        )

    # ---------------------------------------------------------------------------------------- what one sees
    def screen(self) -> list[str]:
        """Return the lines of the screen as they are now."""
        with self._lock:
            self._look()
            return self._screen.lines()

    def cell(self, row: int, column: int) -> Any:
        """Return one character of the screen with its colours (``fg``, ``bg``, ``bold``, ``reverse``)."""
        with self._lock:
            self._look()
            return self._screen.cell(row, column)

    def wait_for(self, *texts: str, timeout_s: float = _WAITS_S) -> float:
        """Wait until all texts stand on the screen; return when the bytes came that made it so."""
        return self.wait_until(lambda told: all(text in told for text in texts), f"{texts}", timeout_s)

    def wait_until(self, true: Callable[[str], bool], what: str, timeout_s: float = _WAITS_S) -> float:
        """Wait until something is true of the screen; return when the bytes came that made it so."""
        until = time.monotonic() + timeout_s
        while True:
            with self._lock:
                while True:
                    if true("\n".join(self._screen.lines())):
                        return self.pieces[self._shown - 1][0] if self._shown else self.started
                    if not self._look(1):
                        break
            ended = not self._reader.is_alive() and self._shown == len(self.pieces)
            if ended or time.monotonic() > until:
                why = "before the program ended" if ended else f"in {timeout_s} s"
                raise AssertionError(f"{what} did not appear {why}:\n{framed(self.screen())}")
            time.sleep(0.005)

    def _look(self, most: int | None = None) -> int:
        """Bring the model up to date (at most by ``most`` pieces); return how many were taken."""
        new = self.pieces[self._shown :][:most]
        for _, piece in new:
            self._screen.feed(piece)
        self._shown += len(new)
        return len(new)

    def _where(self) -> tuple[int, int]:
        """Return row and column of the cursor, from 1."""
        with self._lock:
            self._look()
            return self._screen.cursor()

    # ------------------------------------------------------------------------------------- how it fares
    def rss_bytes(self, *, children: bool = True) -> int:
        """Return the resident memory of the program, with that of its children."""
        return sum(resident(pid) for pid in (family(self.pid) if children else [self.pid]))

    def alive(self) -> bool:
        """Tell whether the program still runs."""
        return self._process.poll() is None

    def wait(self, timeout_s: float = _WAITS_S) -> int:
        """Wait for the program to end; return its exit code."""
        code = self._process.wait(timeout_s)
        self._reader.join(1.0)
        return code

    def kill(self) -> None:
        """End the program and all of its group by force, and close the terminal."""
        if self._master < 0:
            return
        if self.alive():
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        os.write(self._waker, b".")
        self._reader.join()
        for fd in (self._master, self._wake, self._waker):
            os.close(fd)
        self._master = -1

    def _read(self) -> None:
        """Note what comes, and answer what is asked, until the terminal is closed."""
        while True:
            ready, _, _ = select.select([self._master, self._wake], [], [])
            if self._master not in ready:
                return
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # the last process that held the terminal is gone
                return
            self.pieces.append((time.monotonic(), piece))
            for answer in self._queries.answers(piece):
                self.answered.append(answer)
                os.write(self._master, answer)


def _surroundings(term: str, more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program in this terminal."""
    ours = {"COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}
    ours |= {"TMUX", "TMUX_PANE", "TERM_PROGRAM", "SSH_CONNECTION"}
    base = {name: value for name, value in os.environ.items() if name not in ours}
    return {**base, "TERM": term, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **more}


def _launch(
    command: Sequence[str], slave: int, env: Mapping[str, str], cwd: Path | None
) -> tuple[subprocess.Popen[bytes], float]:
    """Start a program with a terminal of its own; return it and when it was executed."""
    heard, told = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(told), *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            pass_fds=[told],
        )
    finally:
        os.close(slave)
        os.close(told)
    with os.fdopen(heard, "rb") as pipe:
        words = pipe.read().split()  # until the program is executed: then the pipe closes
    if len(words) != 1:
        process.wait()
        raise OSError(int(words[1]) if len(words) > 1 else 0, f"{command[0]} does not start")
    return process, float(words[0])


# ------------------------------------------------------------------------------------------------ processes
def resident(pid: int) -> int:
    """Return the resident memory of a process, 0 where it is gone."""
    try:
        told = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmRSS:\s+(\d+) kB", told, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def family(pid: int) -> list[int]:
    """Return a process and all that come from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                told = (entry / "stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(told.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, new = [], [pid]
    while new:
        found += new
        new = [child for parent in new for child in parents.get(parent, [])]
    return found
