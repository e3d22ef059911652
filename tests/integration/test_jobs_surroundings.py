"""Jobs where something is missing around them: a home, a place for the queue, open streams."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from staproj.engine import machine
from staproj.errors import StorageError
from tests.integration.jobs_setup import Terminal


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Terminal]:
    """Return a project with a place to call commands from; what still runs is ended afterwards."""
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.end()


@pytest.fixture
def spare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let temporary files be in a directory of the test, and no place for the queue be named."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("STAPROJ_STATE", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_queue_is_in_the_home_directory(spare: Path) -> None:
    """Without a word in the environment the queue is below the home directory, and nothing is noted."""
    assert machine.state_dir().parent == spare / "home/.local/state/staproj"
    assert machine.state_note() == ""


def test_a_home_that_cannot_be_written_to(spare: Path) -> None:
    """The queue then lies among the temporary files, and the note says so; a named place is not replaced."""
    (spare / "home").write_text("no directory")
    found = machine.state_dir()
    assert found.parent == spare
    assert found.stat().st_mode & 0o077 == 0
    assert str(found) in machine.state_note()


def test_a_named_place_is_taken_or_refused(spare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What STAPROJ_STATE names must work: there is no other place that others would look at."""
    (spare / "file").write_text("")
    for bad in (str(spare / "file"), "rel"):
        monkeypatch.setenv("STAPROJ_STATE", bad)
        with pytest.raises(StorageError):
            machine.state_dir()


def test_relative_paths_in_the_environment_do_not_count(spare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would mean another place for every process; nothing is made in the working directory."""
    monkeypatch.chdir(spare)
    monkeypatch.setenv("XDG_STATE_HOME", "rel")
    monkeypatch.setenv("XDG_CONFIG_HOME", "rel")
    assert machine.state_dir().parent == spare / "home/.local/state/staproj"
    assert machine.config_file() == spare / "home/.config/staproj/machine.toml"
    assert not (spare / "rel").exists()


def test_closed_streams_stop_nothing(at: Terminal) -> None:
    """A command whose stdin, stdout and stderr are closed does its work and ends well."""
    line = f"{sys.executable} -m staproj run <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", line], cwd=at.root, env=at.environment, check=False, timeout=60)
    assert done.returncode == 0
    assert set(at.states().values()) == {"fresh"}


def test_a_queue_elsewhere_is_told(at: Terminal) -> None:
    """The person learns that the queue is not where other jobs look for it."""
    home = at.root.parent / "no-home"
    home.write_text("")
    at.environment |= {"HOME": str(home), "TMPDIR": str(at.root.parent)}
    for name in ("STAPROJ_STATE", "XDG_STATE_HOME"):
        at.environment.pop(name, None)
    assert "the queue of this machine is kept in" in at.call("run")
