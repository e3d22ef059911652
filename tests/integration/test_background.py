"""Commands in the background: they outlive who started them, say how far they are, stop when asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.api.archives import verify_path
from staproj.api.background import KEPT, Background
from staproj.cli import diagnostics
from staproj.cli.main import main
from staproj.errors import StorageError, UsageError
from staproj.project.taskdir import task
from staproj.report import background as report
from tests.integration.slow_archive import slow_archive


@pytest.fixture
def slow(done: Project) -> Iterator[Project]:
    """Return a project whose archive takes a while: a large file of zeros."""
    with slow_archive(done.root):
        yield done


def test_an_archive_is_written_in_the_background(done: Project) -> None:
    """The command is done by a process of its own; its exit code and what it printed stay to be read."""
    found = Background(done.root)
    name = found.start(["archive", "../a.tar"])
    assert name == "b0001"
    assert found.wait(name, timeout_s=60)
    told = found.describe(name)
    assert (told["state"], told["exit_code"], told["problems"]) == ("done", 0, [])
    assert told["said"][0].startswith("wrote ../a.tar: ")
    assert told["progress"]["share"] == 1.0
    assert told["command"] == ["archive", "../a.tar"]
    assert verify_path(done.root.parent / "a.tar")["ok"]
    assert found.active() == []


def test_a_failure_keeps_its_words_and_its_exit_code(done: Project) -> None:
    """A check that finds damage is failed with exit code 4; a wrong argument with 2 and its remedy."""
    found = Background(done.root)
    outputs = [p for p in sorted(done.root.glob("runs/*/out/**/*")) if p.is_file()]
    outputs[0].chmod(0o644)
    outputs[0].write_bytes(b"other bytes")
    first, second = found.start(["verify"]), found.start(["archive", "nowhere/a.tar"])
    assert found.wait(first, timeout_s=60)
    assert found.wait(second, timeout_s=60)
    told = {one["task"]: one for one in found.all()}
    assert list(told) == [second, first]
    assert (told[first]["state"], told[first]["exit_code"]) == ("failed", 4)
    assert any("DAMAGED" in line for line in told[first]["said"])
    assert told[second]["exit_code"] == 2
    assert "no such directory" in told[second]["problems"][0]


def test_it_outlives_who_started_it(slow: Project) -> None:
    """The process that starts it is killed with its group; the command goes on, and others see how far."""
    words = "import pathlib, sys, time; from staproj.api.background import Background as B; "
    words += "print(B(pathlib.Path(sys.argv[1])).start(['archive', '../a.tar']), flush=True); time.sleep(60)"
    call = [sys.executable, "-c", words, str(slow.root)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, start_new_session=True) as starter:
        assert starter.stdout is not None
        name = starter.stdout.readline().strip()
        os.killpg(starter.pid, signal.SIGKILL)
    found = Background(slow.root)
    deadline = time.monotonic() + 60
    while not (found.describe(name)["progress"] or {}).get("done"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    told = found.describe(name)
    assert told["state"] == "running"
    assert found.active() == [name]
    assert 0 < told["progress"]["share"] < 1
    found.cancel(name)
    assert found.wait(name, timeout_s=60)
    told = found.describe(name)
    assert (told["state"], told["exit_code"]) == ("cancelled", 130)
    assert not (slow.root.parent / "a.tar").exists()
    with pytest.raises(UsageError, match="it is cancelled"):
        found.cancel(name)


def test_a_process_that_is_gone_is_no_running_command(slow: Project) -> None:
    """Killed by force it is interrupted, which nobody had to write down."""
    found = Background(slow.root)
    name = found.start(["archive", "../a.tar"])
    place = task(slow.layout, 1)
    deadline = time.monotonic() + 60
    while not place.process.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(json.loads(place.process.read_text())["pid"], signal.SIGKILL)
    assert found.wait(name, timeout_s=10)
    assert found.describe(name)["state"] == "interrupted"


def test_what_is_only_just_asked_for_is_starting(done: Project) -> None:
    """Whoever looks between the making of its directory and its first file does not call it interrupted."""
    place = task(done.layout, 1)
    place.path.mkdir(parents=True)
    found = Background(done.root)
    assert found.describe("b0001")["state"] == "starting"
    os.utime(place.path, (1.0, 1.0))
    assert found.describe("b0001")["state"] == "interrupted"


def test_only_some_commands_go_on_in_the_background(done: Project) -> None:
    """Runs are made by jobs, and what changes the project at once is not done behind one's back."""
    found = Background(done.root)
    for words in (["run"], ["trash", "purge", "--yes"], []):
        with pytest.raises(UsageError, match="does not go on in the background"):
            found.start(words)
    with pytest.raises(UsageError, match="no command 'b0001'"):
        found.describe("b0001")
    assert not done.layout.background.exists()


def test_nothing_is_kept_through_a_link(done: Project, tmp_path: Path) -> None:
    """A project whose private directory leads elsewhere gets no files there."""
    (tmp_path / "elsewhere").mkdir()
    done.layout.background.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="link"):
        Background(done.root).start(["verify"])
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_records_from_elsewhere_are_only_data(done: Project) -> None:
    """Whatever stands in the files of a project from elsewhere, lists say something, nothing is started."""
    place = task(done.layout, 1)
    place.path.mkdir(parents=True)
    odd = {"command": {"a": 1}, "created": "soon", "user": ["x"], "host": 3, "asked_by": "me"}
    place.request.write_text(json.dumps(odd))
    place.process.write_text(json.dumps({"pid": os.getpid(), "host": None}))
    place.out.write_bytes(b"\x1b[2Jout\xff\n")
    found = Background(done.root)
    told = found.describe("b0001")
    assert (told["state"], told["command"], told["created"]) == ("interrupted", [], None)
    place.result.write_text(json.dumps({"state": "done", "exit_code": "0", "time": 1e300}))
    told = found.describe("b0001")
    assert (told["state"], told["exit_code"], told["ended"]) == ("done", None, None)
    assert "b0001" in "\n".join(report.task_rows([told]) + report.task_lines(told))


def test_old_ones_are_forgotten(done: Project) -> None:
    """The newest that ended are kept, not all for ever; damaged records harm nobody."""
    for number in range(1, KEPT + 11):
        place = task(done.layout, number)
        place.path.mkdir(parents=True)
        place.request.write_text("{" if number % 2 else "{}")
        os.utime(place.request, (0, 0))
        place.log.write_text('{"progress": {"a": [1, "x", "y"]}}\n{"progress": 3}\nodd\n')
    found = Background(done.root)
    assert {one["state"] for one in found.all()} == {"interrupted"}
    assert found.describe("b0001")["problems"] == ["odd"]
    found.wait(found.start(["verify"]), timeout_s=60)
    assert len(found.all()) == KEPT + 1
    assert found.all()[0]["state"] == "done"


def test_the_command_lists_them(
    done: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`staproj background` shows what the interface started, for people and as JSON."""
    monkeypatch.chdir(done.root)

    def call(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(["background", *words])
        told = capsys.readouterr()
        return f"{left.value.code or 0} {told.out}{told.err}"

    assert "nothing goes on" in call()
    Background(done.root).start(["verify", "--runs", "shift"])
    assert "every bit as it should be" in call("b0001", "--wait", "60")
    assert "staproj verify --runs shift" in call()
    with pytest.raises(SystemExit):
        main(["background", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [(one["task"], one["state"]) for one in told] == [("b0001", "done")]
    assert call("b0001", "--cancel").startswith("2 ")
    assert "which one" in call("--cancel")


def test_progress_as_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With STAPROJ_PROGRESS=lines bars are JSON lines, at most one a second, and the last state is told."""
    monkeypatch.setenv(diagnostics.PROGRESS, "lines")
    with diagnostics.Bars() as bars:
        for done in range(1, 1001):
            bars.update("archive", done, 1000, f"file {done}")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[0] == {"progress": {"archive": [1, 1000, "file 1"]}}
    assert lines[-1] == {"progress": {"archive": [1000, 1000, "file 1000"]}}
    assert len(lines) <= 4
    with diagnostics.Bars(quiet=True) as bars:
        bars.update("archive", 1, 2, "")
    assert capsys.readouterr().err == ""
