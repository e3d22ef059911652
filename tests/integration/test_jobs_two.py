"""Two terminals, one project: what one computes the other leaves alone, and says where to look."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.jobs_setup import Terminal, until


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Terminal]:
    """Return a project with a place to call commands from; what still runs is ended afterwards."""
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.end()


def test_a_second_run_is_refused_and_leaves_no_job(at: Terminal) -> None:
    """The same steps are not run twice: the second is told by whom, and `watch` still finds the first."""
    at.hold("hold-TS_02")
    at.call("run", "--detach")
    at.begun("TS_02")
    told = at.answer("run", code=3)
    assert told["error"] == "LockedError"
    assert "r0002" in told["message"]
    assert "staproj watch r0002" in told["hint"]
    assert [job["job"] for job in at.answer("jobs")] == ["j0001"]
    at.go("hold-TS_02")
    assert at.answer("watch")["job"] == "j0001"
    assert at.calls == ["TS_01", "TS_02", "TS_03"]


def test_what_was_stopped_says_how_to_go_on(at: Terminal) -> None:
    """A stopped rerun names the command that goes on with it: the same command again would begin anew."""
    at.call("run")
    at.hold("hold-TS_02")
    at.call("rerun", "slow", "--detach")
    at.begun("TS_02", times=2)
    at.call("cancel", "--all")
    told = at.answer("watch", code=130)
    assert "staproj resume" in told["hint"]
    assert "same command" not in told["hint"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_interrupts_and_resume_goes_on(at: Terminal, jobs: int) -> None:
    """No space for an item: job and run are interrupted, in worker processes too; resume makes the rest."""
    orders = at.control / "orders"
    orders.mkdir()
    orders.joinpath("TS_02").write_text("full")
    at.environment["TOY_ORDERS"] = str(orders)
    told = at.answer("run", "--jobs", str(jobs), code=1)
    assert "the disk is full" in told["message"]
    assert "staproj resume" in told["hint"]
    assert (at.job()["state"], at.run_state("r0002")) == ("interrupted", "interrupted")
    orders.joinpath("TS_02").unlink()
    at.call("resume")
    assert set(at.states().values()) == {"fresh"}
    assert at.calls.count("TS_01") == 1
    assert at.calls.count("TS_02") == 2


def test_resume_after_a_power_cut_that_took_the_records(at: Terminal) -> None:
    """Records of run and job are empty: a plain `resume` makes a new run, which uses what is finished."""
    at.hold("hold-TS_02")
    at.call("run", "--detach")
    at.begun("TS_02")
    for number in at.processes().values():
        os.kill(number, signal.SIGKILL)
    until(lambda: at.run_state("r0002") == "interrupted")
    job = at.root / ".staproj/jobs/j0001"
    for path in (at.root / "runs/r0002-slow/spec.json", job / "job.json", job / "state.jsonl"):
        path.write_bytes(b"")
    at.go("hold-TS_02")
    assert "staproj run slow" in at.call("resume", "r0002", code=2)
    at.call("resume")
    assert at.states()["slow"] == "fresh"
    assert at.calls.count("TS_01") == 1


def test_what_cannot_be_done_leaves_no_job(at: Terminal) -> None:
    """A tilt series that is not there, or a step whose input was never made, is refused before a job is."""
    at.call("run", "import")
    assert "has no tilt series 'TS_09'" in at.call("run", "--item", "TS_09", code=2)
    assert "has no tilt series 'TS_09'" in at.call("run", "--item", "TS_09", "--dry-run", code=2)
    assert "cannot run yet" in at.call("rerun", "mean", code=2)
    assert [job["job"] for job in at.answer("jobs")] == ["j0001"]


def test_lines_fit_the_terminal(at: Terminal) -> None:
    """In 40 columns no line of a run or a rerun is wider: what stages say is cut, not wrapped in a word."""
    at.environment |= {"TERM": "xterm", "COLUMNS": "40", "LINES": "24"}
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    at.call("run")
    rerun = at.start("rerun", "slow", stdout=follower, stderr=follower)
    shown = b""
    while b"nothing is stale" not in shown:
        ready, _, _ = select.select([leader], [], [], 20.0)
        assert ready, shown
        shown += os.read(leader, 65536)
    rerun.communicate(timeout=20)
    os.close(follower)
    os.close(leader)
    told = [
        line
        for line in re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", shown.decode()).splitlines()
        if "series" in line
    ]
    assert len(told) == 2
    assert max(map(len, told)) <= 40
