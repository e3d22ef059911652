"""A real tmux with one window, on a server of its own: keys sent as a person sends them, its screen read."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.screen_model import framed

_FOREIGN = ("TMUX", "TMUX_PANE", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "SSH_CONNECTION", "TERM_PROGRAM")


class Tmux:
    """One window of ``columns`` x ``rows``; what runs in it has its home in ``home``.

    Skips the test where tmux is not installed.
    """

    def __init__(
        self, home: Path, *, columns: int = 80, rows: int = 24, term: str = "screen-256color"
    ) -> None:
        if shutil.which("tmux") is None:
            pytest.skip("tmux is not installed")
        self.columns, self.rows = columns, rows
        self._options = {"default-terminal": term, "status": "off", "escape-time": "10"}
        self._options |= {"remain-on-exit": "on", "remain-on-exit-format": ""}
        self._sockets = tempfile.mkdtemp(prefix="tmux-")  # short: names of sockets have at most 107 bytes
        self._servers, self._runs = 0, False
        base = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        places = {
            f"XDG_{what}_HOME": str(home / what.lower()) for what in ("CONFIG", "CACHE", "DATA", "STATE")
        }
        self.environment = {
            **base, **places, "HOME": str(home), "TMUX_TMPDIR": self._sockets,
            "SHELL": "/bin/sh", "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",
        }  # fmt: skip

    def __enter__(self) -> Tmux:
        return self

    def __exit__(self, *told: object) -> None:
        self.kill()

    def start(
        self, command: Sequence[str] | str, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        """Start a program in the window, in place of the one that is there; a window outlives its program."""
        words = command if isinstance(command, str) else "exec " + shlex.join(command)
        more = [word for name, value in (env or {}).items() for word in ("-e", f"{name}={value}")]
        more += ["-c", str(cwd)] if cwd is not None else []
        if self._runs:
            self._tmux("kill-server", check=False)
        self._servers += 1
        options = [word for name, value in self._options.items() for word in ("set", "-gq", name, value, ";")]
        size = ["-x", str(self.columns), "-y", str(self.rows)]
        self._tmux("start-server", ";", *options, "new-session", "-d", *size, *more, words)
        self._runs = True

    def keys(self, *names: str) -> None:
        """Press keys, by the names that tmux has for them: ``j``, ``Enter``, ``Escape``, ``C-p``, ``Up``."""
        for name in names:
            self._tmux("send-keys", name)

    def type(self, text: str) -> None:
        """Type a text as it is."""
        self._tmux("send-keys", "-l", "--", text)

    def screen(self) -> list[str]:
        """Return the lines of the screen."""
        return [line.rstrip() for line in self._tmux("capture-pane", "-p").split("\n")][: self.rows]

    def wait_for(self, *texts: str, timeout_s: float = 10.0, gone: Sequence[str] = ()) -> list[str]:
        """Wait until all texts stand on the screen and those of ``gone`` do not; return the screen."""
        until = time.monotonic() + timeout_s
        while True:
            lines = self.screen()
            told = "\n".join(lines)
            if all(text in told for text in texts) and not any(text in told for text in gone):
                return lines
            if time.monotonic() > until:
                left = f" with {[*gone]} gone" if gone else ""
                raise AssertionError(f"{texts}{left} did not come in {timeout_s} s:\n{framed(lines)}")
            time.sleep(0.05)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self.columns, self.rows = columns, rows
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def pid(self) -> int:
        """Return the number of the process that was started in the window."""
        return int(self._ask("#{pane_pid}"))

    def ended(self) -> int | None:
        """Return the exit code of the program, None as long as it runs (-9 where it was killed)."""
        asked = "#{pane_dead},#{pane_dead_status},#{pane_dead_signal}"
        if self._ask(asked) == "1,,":
            self._tmux("run-shell", "true")  # tmux may have missed the end; that of another child wakes it
        dead, code, signal = self._ask(asked).split(",")
        if dead != "1" or not code + signal:
            return None
        return int(code) if code else -int(signal)

    def kill(self) -> None:
        """End the server and what runs in it."""
        if self._runs:
            self._tmux("kill-server", check=False)
            self._runs = False
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _ask(self, words: str) -> str:
        return self._tmux("display-message", "-p", words).strip()

    def _tmux(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-L", f"test{self._servers}", "-f", "/dev/null", *words],
            env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, (words, done.stdout, done.stderr)
        return done.stdout
