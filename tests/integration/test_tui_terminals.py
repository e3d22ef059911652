"""The interface in real terminals: tmux, the console, no colour, a browser; killed while a run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from staproj.api import Project
from tests.integration.jobs_setup import Terminal, until
from tests.terminal import PtyApp
from tests.tmux import Tmux

STAPROJ = (sys.executable, "-m", "staproj")


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Terminal]:
    """Return a project with a stage that waits as long as the test wants."""
    place = Terminal(tmp_path / "t")
    yield place
    place.end()


def settings(slow: Terminal) -> dict[str, str]:
    """Return what the processes of a terminal need beyond their surroundings."""
    names = ("PYTHONPATH", "TOY_CONTROL", "STAPROJ_STATE", "XDG_CONFIG_HOME")
    return {name: slow.environment[name] for name in names}


def test_the_interface_killed_while_a_run_goes_on_harms_nothing(slow: Terminal, tmp_path: Path) -> None:
    """R starts a job; kill -9 ends the interface only; a new one finds the run, and it ends well."""
    slow.hold()
    with Tmux(tmp_path) as tmux:
        tmux.start([*STAPROJ, "tui", str(slow.root)], settings(slow))
        tmux.wait_for("pipeline", "never run")
        tmux.keys("R")
        tmux.wait_for("run what is to run", "R runs all 3 steps")
        tmux.keys("C-s")
        slow.begun("TS_01")
        tmux.wait_for("1 running")
        os.kill(tmux.pid(), signal.SIGKILL)
        until(lambda: tmux.ended() is not None)
        assert slow.job()["state"] == "running"
        tmux.start([*STAPROJ, "tui", str(slow.root)], settings(slow))
        tmux.wait_for("1 running", "r0002")
        slow.go()
        tmux.wait_for("all 3 fresh", timeout_s=30)
        assert set(slow.states().values()) == {"fresh"}
        tmux.keys("q")
        until(lambda: tmux.ended() == 0)


def test_a_lost_connection_ends_the_interface_only(slow: Terminal, tmp_path: Path) -> None:
    """When the terminal goes away (SIGHUP), what was started goes on."""
    slow.hold()
    with Tmux(tmp_path) as tmux:
        tmux.start([*STAPROJ, "tui", str(slow.root)], settings(slow))
        tmux.wait_for("never run")
        tmux.keys("R")
        tmux.wait_for("run what is to run", "R runs all 3 steps")
        tmux.keys("C-s")
        slow.begun("TS_01")
    assert slow.job()["state"] == "running"
    slow.go()
    until(lambda: slow.job()["state"] == "done")


@pytest.mark.parametrize(
    ("term", "more"),
    [
        ("xterm-256color", {}),
        ("xterm-256color", {"COLORTERM": "truecolor"}),
        ("xterm-256color", {"NO_COLOR": "1"}),
        ("xterm", {}),
        ("linux", {}),
        ("screen", {}),
        ("vt100", {}),
    ],
)
def test_it_works_in_terminals_of_all_kinds(done: Project, term: str, more: dict[str, str]) -> None:
    """The pipeline, help and a run are shown whatever the terminal can; it leaves with code 0."""
    with PtyApp([*STAPROJ, "tui", str(done.root)], env={"LANG": "C.UTF-8", **more}, term=term) as app:
        app.wait_for("pipeline", "import", "all keys", timeout_s=20)
        if term in ("linux", "vt100"):
            assert "\n".join(app.screen()).isascii()
        app.send("?")
        app.wait_for("keys here")
        app.send("esc")
        app.wait_for("all keys")
        app.send("enter")
        app.wait_for("summary")
        app.send("q")
        assert app.wait() == 0


def test_without_utf8_only_ascii_is_written(done: Project) -> None:
    """In a locale without Unicode no byte above 127 is sent."""
    env = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with PtyApp([*STAPROJ, "tui", str(done.root)], env=env, term="xterm") as app:
        app.wait_for("pipeline", "import", timeout_s=20)
        app.send("j", "right")
        app.wait_quiet(0.5)
        assert app.output.isascii()
        app.send("q")
        assert app.wait() == 0


def test_nothing_is_sent_while_nothing_happens(done: Project) -> None:
    """An idle interface writes not one byte in three seconds."""
    with PtyApp([*STAPROJ, "tui", str(done.root)]) as app:
        app.wait_for("pipeline", "import", timeout_s=20)
        since = app.wait_quiet(1.5, 20)
        app.wait_quiet(3.0, 20)
        assert app.bytes_between(since + 0.001) == 0
        app.send("q")
        assert app.wait() == 0


def test_without_a_terminal_it_refuses(done: Project) -> None:
    """Into a pipe nothing is drawn: exit code 2 and a hint."""
    told = subprocess.run([*STAPROJ, "tui", str(done.root)], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "terminal" in told.stderr


def test_a_browser_is_served_through_the_web_driver(done: Project) -> None:
    """Started as textual-serve starts it, it answers with packets that hold the pipeline."""
    driver = "textual.drivers.web_driver:WebDriver"
    env = os.environ | {"TEXTUAL_DRIVER": driver, "COLUMNS": "80", "ROWS": "24", "TERM": "xterm"}
    with subprocess.Popen(
        [*STAPROJ, "tui", str(done.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        found = b""
        while b"again" not in found or b"all keys" not in found:
            piece = os.read(process.stdout.fileno(), 65536)
            assert piece, found[-500:]
            found += piece
        assert found.startswith(b"__GANGLION__\n")
        packet = json.dumps({"type": "quit"}).encode()
        process.stdin.write(b"M" + len(packet).to_bytes(4, "big") + packet)
        process.stdin.flush()
        process.stdin.close()
        while os.read(process.stdout.fileno(), 65536):
            pass
        process.wait(20)
