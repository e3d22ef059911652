"""Work that goes on without a terminal: it survives it, is stopped, dies in every way, is gone on with."""

from __future__ import annotations

import json
import os
import pty
import resource
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from staproj.api import Project
from tests.integration.jobs_setup import Terminal, until


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Terminal]:
    """Return a terminal at a project of slow stages; nothing of it is left running."""
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.end()


def test_a_lost_terminal_leaves_the_job_running(at: Terminal) -> None:
    """SIGHUP ends the command that looks on; the job goes on in a session of its own and ends well."""
    at.hold("hold-TS_02")
    looking = at.start("run")
    at.begun("TS_02")
    looking.send_signal(signal.SIGHUP)
    looking.communicate(timeout=20)
    assert looking.returncode == -signal.SIGHUP
    assert at.job()["state"] == "running"
    pids = at.processes()
    assert len({os.getsid(pids["supervised"]), os.getsid(0)}) == 2
    assert os.getpgid(pids["working"]) == pids["working"] != os.getpgid(pids["supervised"])
    assert at.run_state("r0002") == "running"
    at.go("hold-TS_02")
    told = at.answer("watch", "j0001")
    assert [step["run"] for step in told["steps"]] == ["r0001", "r0002", "r0003"]
    assert set(at.states().values()) == {"fresh"}


def test_detach_comes_back_at_once_and_says_what_runs(at: Terminal) -> None:
    """With --detach job and run are told while the stage still works; `jobs` shows how far it is."""
    at.hold("hold-TS_02")
    told = at.answer("run", "slow", "--detach")
    assert (told["job"], told["state"]) == ("j0001", "running")
    assert told["run"] in {"r0001", "r0002"}
    at.begun("TS_02")
    until(lambda: at.job()["progress"]["items_done"] == 1)
    (row,) = at.answer("jobs")
    assert (row["job"], row["state"], row["run"], row["step"]) == ("j0001", "running", "r0002", "slow")
    assert (row["progress"]["items_done"], row["progress"]["items_total"]) == (1, 3)
    beat = json.loads((at.root / "runs/r0002-slow/heartbeat").read_text())
    assert {"time", "item", "done", "total", "message", "items_done", "items_total"} <= set(beat)
    assert "slow" in at.call("jobs")
    at.go("hold-TS_02")
    at.call("watch")
    assert not (at.root / "runs/r0002-slow/heartbeat").exists()
    assert at.job()["state"] == "done"


def test_nothing_is_started_when_all_is_fresh(at: Terminal) -> None:
    """A second run makes no job, and takes under 0.8 s of CPU, most of it the start of Python."""
    at.call("run")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "nothing to do" in at.call("run")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.8
    assert [job["job"] for job in at.answer("jobs")] == ["j0001"]


def test_a_killed_worker_gets_a_last_word_within_a_second(at: Terminal) -> None:
    """After kill -9 of the worker the record names the signal, and resume repeats one item only."""
    at.hold("hold-TS_02")
    looking = at.start("run", "--json")
    at.begun("TS_02")
    until((at.root / "runs/r0002-slow/items/TS_01/item.json").exists)
    os.kill(at.processes()["working"], signal.SIGKILL)
    took = until(lambda: "interrupted" in (at.root / "runs/r0002-slow/state.jsonl").read_text())
    assert took < 1.0
    out, _ = looking.communicate(timeout=20)
    error = json.loads(out)
    assert looking.returncode == error["exit_code"] == 1
    assert "signal 9" in error["message"]
    assert "resume" in error["hint"]
    assert at.run_state("r0002") == "interrupted"
    assert at.states()["slow"] == "interrupted"
    at.go("hold-TS_02")
    told = at.answer("resume")
    assert told["resumed"] == "r0002"
    assert [step["run"] for step in told["steps"]] == ["r0001", "r0002", "r0003"]
    assert at.calls == ["TS_01", "TS_02", "TS_02", "TS_03"], "only the item at work is repeated"
    assert set(at.states().values()) == {"fresh"}


def test_a_worker_stops_when_its_supervisor_is_killed(at: Terminal) -> None:
    """Without its supervisor the worker ends by itself, as interrupted, and says why."""
    at.hold()
    at.call("run", "--detach")
    at.begun("TS_01")
    pids = at.processes()
    os.kill(pids["supervised"], signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pids['working']}").exists())
    told = at.job()
    assert told["state"] == "interrupted"
    assert "supervisor" in (at.root / "runs/r0002-slow/state.jsonl").read_text()
    assert at.run_state("r0002") == "interrupted"


def test_death_of_both_is_seen_at_once(at: Terminal) -> None:
    """With supervisor and worker killed nobody writes a word; the run is interrupted all the same."""
    at.hold()
    at.call("run", "--detach")
    at.begun("TS_01")
    pids = at.processes()
    os.kill(pids["working"], signal.SIGSTOP)
    assert at.run_state("r0002") == "running", "one that is stopped still lives"
    assert at.job()["state"] == "running"
    os.kill(pids["supervised"], signal.SIGKILL)
    os.kill(pids["working"], signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pids['working']}").exists())
    assert not (at.root / ".staproj/jobs/j0001/result.json").exists()
    assert at.job()["state"] == "interrupted"
    assert at.run_state("r0002") == "interrupted"
    at.go()
    assert at.answer("resume", "r0002")["resumed"] == "r0002"
    assert at.run_state("r0002") == "sealed"


def test_cancel_from_another_terminal(at: Terminal) -> None:
    """Cancel stops the job; the command that looks on leaves with 130, and resume goes on to the end."""
    at.hold("hold-TS_02")
    looking = at.start("run", "--json")
    at.begun("TS_02")
    (told,) = at.answer("cancel", "r0002")
    assert (told["job"], told["state"]) == ("j0001", "cancelled")
    out, _ = looking.communicate(timeout=20)
    assert looking.returncode == json.loads(out)["exit_code"] == 130
    assert at.run_state("r0002") == "interrupted"
    error = at.answer("cancel", "j0001", code=2)
    assert "cancelled" in error["message"]
    at.go("hold-TS_02")
    assert at.answer("resume")["resumed"] == "r0002"
    assert set(at.states().values()) == {"fresh"}
    assert at.answer("resume")["resumed"] is None


def test_what_was_cancelled_long_ago_is_resumed_by_name_only(at: Terminal) -> None:
    """A rerun that was cancelled is left alone once something newer was done, unless it is named."""
    at.call("run")
    at.hold("hold-TS_02")
    at.call("rerun", "slow", "--set", "offset_px=7", "--detach")
    at.begun("TS_02", times=2)
    at.call("cancel", "--all")
    at.go("hold-TS_02")
    jobs = Project.open(at.root).jobs
    plan = jobs.to_resume()
    assert plan is not None
    assert plan["run"] == "r0004"
    at.call("rerun", "mean")
    assert jobs.to_resume() is None
    named = jobs.to_resume("r0004")
    assert named is not None
    assert named["sets"] == {"offset_px": "7"}


def test_a_deaf_worker_is_ended_by_force(at: Terminal) -> None:
    """One that does not stop in the time of grace is killed, with all it has started."""
    at.hold()
    (at.control / "deaf").touch()
    at.call("run", "--detach")
    at.begun("TS_01")
    time.sleep(0.1)
    (told,) = at.answer("cancel", "--all", "--grace", "0.5")
    assert told["state"] == "cancelled"
    assert "signal 9" in told["message"]
    assert at.run_state("r0002") == "interrupted"
    until(lambda: not Path(f"/proc/{at.processes()['working']}").exists())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_cancels_the_job(at: Terminal, number: int) -> None:
    """Ctrl-C and SIGTERM to the command that started the job stop the job."""
    at.hold()
    looking = at.start("run", "--json")
    at.begun("TS_01")
    looking.send_signal(number)
    out, _ = looking.communicate(timeout=20)
    assert looking.returncode == json.loads(out)["exit_code"] == 130
    assert at.job()["state"] == "cancelled"


def test_a_rerun_is_resumed_with_its_values(at: Terminal) -> None:
    """Values of an interrupted rerun are not in the manifest yet; resume knows them, and then writes them."""
    at.call("run")
    at.hold("hold-TS_03")
    looking = at.start("rerun", "slow", "--set", "offset_px=7")
    at.begun("TS_03", times=2)
    os.kill(at.processes("j0002")["working"], signal.SIGKILL)
    looking.communicate(timeout=20)
    assert "7" not in (at.root / "staproj.toml").read_text()
    at.go("hold-TS_03")
    told = at.answer("resume", "r0004")
    assert [step["run"] for step in told["steps"]] == ["r0004"]
    assert "offset_px = 7" in (at.root / "staproj.toml").read_text()
    assert at.states() == {"import": "fresh", "slow": "fresh", "mean": "stale"}


def test_ctrl_c_while_watching_ends_the_looking_only(at: Terminal) -> None:
    """`watch` may be left at any time."""
    at.hold()
    at.call("run", "--detach")
    at.begun("TS_01")
    watching = at.start("watch")
    time.sleep(1.0)
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert "goes on" in err
    assert at.job()["state"] == "running"


def test_progress_is_drawn_in_a_terminal(at: Terminal) -> None:
    """In a terminal bars show step, item and message while the job works elsewhere."""
    at.hold("hold-TS_02")
    leader, follower = pty.openpty()
    looking = at.start("run", stderr=follower)
    at.begun("TS_02")
    shown = b""
    while b"TS_02 waiting" not in shown or b"all steps" not in shown:
        ready, _, _ = select.select([leader], [], [], 20.0)
        assert ready, shown
        shown += os.read(leader, 65536)
    at.go("hold-TS_02")
    out, _ = looking.communicate(timeout=20)
    os.close(follower)
    os.close(leader)
    assert "ran 3 of 3 steps" in out
