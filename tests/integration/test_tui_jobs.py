"""The screen of jobs: what is at work and waits, how busy the machine is, stop, go on, order of the queue."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.api.background import Background
from staproj.engine import machine
from staproj.engine.jobs import turn
from staproj.engine.machine import Limits
from staproj.engine.slots import Need, Slots
from staproj.stages import registry
from staproj.tui import job_rows
from staproj.tui.dialogs import Ask, Confirm, Reading
from staproj.tui.look import Look
from staproj.tui.screens.jobs import JobsScreen
from staproj.tui.widgets.bars import KeyBar, MessageLine
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.text_pane import TextPane
from tests.integration import job_stages
from tests.integration import toy_stages as toy
from tests.integration.jobs_setup import Terminal
from tests.integration.slow_archive import slow_archive
from tests.integration.test_queue_order import Waiter
from tests.tui_screen import LARGE, SIZES, SMALL, drive, open_app, press, screen_text, settle, until

both_sizes = pytest.mark.parametrize("size", SIZES, ids=["80x24", "200x60"])
GIB = 1 << 30
LOAD = {
    "host": "node7", "cpu_count": 8, "cpu_percent": 50.0, "load_1_min": 4.2, "load_5_min": 1.0,
    "load_15_min": 0.5, "memory_total_bytes": 8e9, "memory_used_bytes": 2e9, "swap_total_bytes": 0,
    "swap_used_bytes": 0, "disk_path": "here", "disk_total_bytes": 1e12, "disk_free_bytes": 25e10, "gpus": [],
}  # fmt: skip
LIMITS = {"cpu_slots": 6, "memory_bytes": 7e9, "gpus": [], "where": "somewhere"}


def job(name: str, state: str, **more: Any) -> dict[str, Any]:
    """Return a job as the API tells it."""
    return {
        "job": name, "kind": "run", "state": state, "step": "ctf", "run": "r0007", "message": "",
        "created": 1000.0, "ended": None, "user": "ada", "host": "node7", "command": ["run", "ctf"],
        "priority": 0, "progress": None, **more,
    }  # fmt: skip


def progress(**more: Any) -> dict[str, Any]:
    """Return how far a job is as the API tells it."""
    return {
        "steps_done": 2, "steps_total": 9, "items_done": 1, "items_total": 2, "share": 0.5, "item": "TS_01",
        "message": "fitting", "step_left_s": 10.0, "left_s": 75.0, "elapsed_s": 20.0, "step_elapsed_s": 5.0,
        "unknown": [], **more,
    }  # fmt: skip


def ticket(name: str, project: str, place: int | None, **more: Any) -> dict[str, Any]:
    """Return a line of the queue of a machine as the API tells it."""
    return {
        "id": f"{project}-{name}", "project": project, "job": name, "run": "r0003", "step": "refine",
        "held": place is None, "place": place, "cpus": 2, "memory_bytes": 10**9, "gpus": 0, "gpu_uuids": [],
        "since": 900.0, "priority": 0, "pid": 4711, "host": "node7", "user": "ada", **more,
    }  # fmt: skip


NOW = datetime.datetime.fromtimestamp(1120.0, datetime.UTC)


def test_the_order_of_the_lines() -> None:
    """At work, waiting in their turn, background, other projects, then what ended; 50 of these at most."""
    told = [
        job("j0009", "queued"),
        job("j0008", "queued"),
        job("j0007", "running", progress=progress()),
        *(job(f"j{n:04d}", "done", ended=1060.0) for n in range(1100, 1000, -1)),
    ]
    queue = [
        ticket("j0007", "/data/p", None),
        ticket("j0001", "/data/else", 1),
        ticket("j0008", "/data/p", 2),
        ticket("j0009", "/data/p", 3),
    ]
    task = {
        "task": "b0001", "command": ["archive", "../p.tar"], "state": "running", "exit_code": None,
        "created": 1119.0, "ended": None, "user": "ada", "host": "node7", "said": [], "problems": [],
        "progress": {"label": "archive", "done": 1, "total": 4, "share": 0.25, "message": "runs"},
    }  # fmt: skip
    rows = job_rows.job_rows(told, queue, [task], "/data/p", Look(), wide=False, now=NOW)
    assert [row.key for row in rows[:5]] == [
        "job:j0007", "job:j0008", "job:j0009", "task:b0001", "other:/data/else-j0001"
    ]  # fmt: skip
    assert len(rows) == 5 + 50
    texts = [[c if isinstance(c, str) else c[0] for c in row.cells] for row in rows]
    assert texts[0] == [
        "▶",
        "j0007",
        "running",
        "r0007",
        "ctf",
        "3/9 ██░░ 50%",
        "1m",
        "2m",
        "staproj run ctf",
    ]
    assert texts[1][2] == "queued 2"
    assert texts[3][5] == "█░░░ 25 %"
    assert texts[4][-1] == "in else"
    wide = job_rows.job_rows(told, queue, [task], "/data/p", Look(), wide=True, now=NOW)
    assert len(wide[0].cells) == len(job_rows.WIDE)
    assert {len(row.cells) for row in wide} == {len(job_rows.WIDE)}
    assert "step 3 of 9, 50 %" in wide[0].cells[5]
    assert wide[0].cells[6] == "1 min 15 s"


def test_load_fits_the_width() -> None:
    """Two figures side by side at 80 columns, all on a line at 200; many GPUs are summed up; ASCII works."""
    small = job_rows.load_lines(LOAD, LIMITS, [], Look(), 79)
    assert len(small) == 2
    assert small[0].startswith("CPU    ████░░░░  50 %, load 4.2 of 8")
    assert "memory ██░░░░░░  25 %, 2.0G of 8.0G" in small[0]
    assert small[1].startswith("disk   ██████░░  75 %, 250.0 GB free")
    assert max(len(line) for line in small) <= 79
    assert len(job_rows.load_lines(LOAD, LIMITS, [], Look(), 199)) == 1
    gpus = [
        {"uuid": f"G{n}", "index": str(n), "name": "A", "memory_used_bytes": 4 * GIB,
         "memory_total_bytes": 80 * GIB, "busy_percent": 12.0}
        for n in range(8)
    ]  # fmt: skip
    queue = [ticket("j0003", "/data/p", None, gpu_uuids=["G1"])]
    many = job_rows.load_lines({**LOAD, "gpus": gpus}, LIMITS, queue, Look(unicode=False), 79)
    assert len(many) == 4
    assert "GPU 1  #-------  12 %, 4.3G of 86G j0003" in "\n".join(many)
    assert many[-1].endswith("and 5 more: staproj machine")
    assert "\n".join(many).isascii()
    unknown = dict.fromkeys(LOAD) | {"cpu_count": 8, "gpus": []}
    assert "?" in job_rows.load_lines(unknown, LIMITS, [], Look(), 79)[0]


def test_details_say_what_a_line_means() -> None:
    """Command, who and when, how far, what it waits for; of other projects what they hold."""
    told = job("j0004", "queued", message="waits for 2 CPU slots", progress=progress(), priority=3)
    row = job_rows.job_rows([told], [], [], "/data/p", Look(), wide=False, now=NOW)[0]
    text = "\n".join(line if isinstance(line, str) else line[0] for line in job_rows.details(row))
    for words in ("$ staproj run ctf", "by ada on node7, priority 3", "TS_01, fitting", "waits for 2 CPU"):
        assert words in text
    other = job_rows.job_rows([], [ticket("j0001", "/data/else", 2)], [], "/p", Look(), wide=False)[0]
    text = "\n".join(line if isinstance(line, str) else line[0] for line in job_rows.details(other))
    assert "j0001 in /data/else: waits, number 2" in text
    assert "2 CPU slots, 1.0 GB of memory" in text
    assert job_rows.details(None) == []


# ------------------------------------------------------------------------------------------ with real jobs
def jobs_of(pilot: Any) -> LineList:
    return pilot.app.screen.query_one("#jobs", LineList)


def message(pilot: Any) -> str:
    return pilot.app.screen.query_one(MessageLine).message


def keys(pilot: Any) -> list[str]:
    return [row.key for row in jobs_of(pilot).rows]


def cell(pilot: Any, key: str, place: int) -> str:
    row = next(row for row in jobs_of(pilot).rows if row.key == key)
    found = row.cells[place]
    return found if isinstance(found, str) else found[0]


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Return a project of slow stages, with this process on the same machine as its jobs."""
    terminal = Terminal(tmp_path)
    for name in ("PYTHONPATH", "TOY_CONTROL", "STAPROJ_STATE", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, terminal.environment[name])
    with registry.temporarily(toy.IMPORT, job_stages.SLOW, toy.MEAN):
        yield terminal
    terminal.end()


@both_sizes
def test_a_job_from_its_beginning_to_its_end(at: Terminal, size: tuple[int, int]) -> None:
    """It is seen at work, stopped after a question, said to be interrupted, and gone on with."""
    at.hold("hold-TS_02")
    at.call("run", "--detach")
    at.begun("TS_02")

    async def scenario(pilot: Any) -> None:
        await until(pilot, lambda: keys(pilot) == ["job:j0001"] and cell(pilot, "job:j0001", 4) == "slow")
        await until(pilot, lambda: "%" in cell(pilot, "job:j0001", 5))
        assert cell(pilot, "job:j0001", 2) == "running"
        text = screen_text(pilot.app)
        assert "jobs: 1 running" in text
        assert "CPU " in text
        assert "for runs: " in text
        assert "$ staproj run --detach" in text
        assert "$ staproj jobs" in text
        await press(pilot, "u")
        assert "is running: there is nothing to go on with" in message(pilot)
        await press(pilot, "ctrl+x")
        assert isinstance(pilot.app.screen, Confirm)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, JobsScreen)
        assert at.job()["state"] == "running", "cancel is the default"
        await press(pilot, "ctrl+x", "right", "enter")
        assert "j0001 was asked to stop: staproj cancel j0001" in message(pilot)
        await until(pilot, lambda: cell(pilot, "job:j0001", 2) == "cancelled")
        await press(pilot, "ctrl+x")
        assert "is not running: it is cancelled" in message(pilot)
        at.go("hold-TS_02")
        await press(pilot, "u")
        await until(pilot, lambda: "job:j0002" in keys(pilot) and cell(pilot, "job:j0002", 2) == "done")
        assert pilot.app.commands[-1][1][:2] == ["staproj", "resume"]
        assert set(at.states().values()) == {"fresh"}

    drive(open_app(at.root, first="jobs"), scenario, size)


@both_sizes
def test_how_a_job_ended_is_told_in_full(at: Terminal, size: tuple[int, int]) -> None:
    """The outcome of one that failed has the error with its remedy; of a good one its steps."""
    at.call("run", "import")
    (at.root / "raw" / "TS_02.txt").write_text("no number\n")
    at.call("run", code=1)

    async def scenario(pilot: Any) -> None:
        assert keys(pilot) == ["job:j0002", "job:j0001"]
        assert [cell(pilot, key, 2) for key in keys(pilot)] == ["failed", "done"]
        assert "not a number" in screen_text(pilot.app)
        await press(pilot, "o")
        assert isinstance(pilot.app.screen, Reading)
        told = pilot.app.screen.query_one(TextPane).text
        assert "write a number" in told
        assert "$ staproj run" in told
        await press(pilot, "escape", "j", "o")
        told = pilot.app.screen.query_one(TextPane).text
        assert "r0001" in told
        assert "3 series" in told
        await press(pilot, "escape", "l")
        assert (type(pilot.app.screen).__name__, pilot.app.screen.tab) == ("RunScreen", "log")
        await press(pilot, "escape", "enter")
        assert (type(pilot.app.screen).__name__, pilot.app.screen.tab) == ("RunScreen", "summary")

    drive(open_app(at.root, first="jobs"), scenario, size)


@pytest.fixture
def queued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_project: Callable[..., Project]
) -> Iterator[dict[str, Waiter]]:
    """Return jobs of two projects that wait, b's second; the only slot of the machine is held."""
    monkeypatch.setenv("STAPROJ_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(turn, "POLL_S", 0.3)
    slots = Slots(Limits(1, 10**9, ()), machine.state_dir())
    slots.try_claim(slots.enter(Need(1), {"project": "/elsewhere", "run": "r0009"}, since=50.0, priority=9))
    people = {
        name: Waiter(make_project(name), slots, [], since=100.0 + n, priority=0)
        for n, name in enumerate("abc")
    }
    for waiter in people.values():
        waiter.wait()
    yield people
    for waiter in people.values():
        waiter.end()


@both_sizes
def test_a_job_that_waits_is_moved(queued: dict[str, Waiter], size: tuple[int, int]) -> None:
    """Work of other projects is seen; + and - and 1 move the own job among all that wait, p sets a number."""
    project = queued["b"].project

    async def scenario(pilot: Any) -> None:
        def state() -> str:
            return cell(pilot, "job:j0001", 2)

        await until(pilot, lambda: state() == "queued 2")
        assert len(keys(pilot)) == 4
        assert "in elsewhere" in screen_text(pilot.app)
        await press(pilot, "plus")
        assert "j0001 is now number 1 of 3 that wait: staproj queue j0001 --up" in message(pilot)
        await until(pilot, lambda: state() == "queued 1")
        await press(pilot, "plus")
        assert "already number 1 of 3" in message(pilot)
        await press(pilot, "minus", "minus")
        await until(pilot, lambda: state() == "queued 3")
        await press(pilot, "1")
        await until(pilot, lambda: state() == "queued 1")
        await press(pilot, "9")
        await until(pilot, lambda: state() == "queued 3")
        await press(pilot, "p")
        assert isinstance(pilot.app.screen, Ask)
        await press(pilot, "x", "enter")
        assert "a whole number is wanted" in screen_text(pilot.app)
        await press(pilot, "backspace", "backspace", "7", "enter")
        assert "--priority 7" in message(pilot)
        await until(pilot, lambda: state() == "queued 1")
        assert project.jobs.describe("j0001")["priority"] == 7
        await press(pilot, "j", "plus")
        assert "work of another project" in message(pilot)
        assert pilot.app.screen.command() == ["machine"]

    drive(open_app(project.root, first="jobs"), scenario, size)


@both_sizes
def test_a_read_only_project_is_looked_at_only(queued: dict[str, Waiter], size: tuple[int, int]) -> None:
    """Nothing is moved or stopped where nothing may be written, and the screen says why."""
    root = queued["b"].project.root
    text = (root / "staproj.toml").read_text()
    (root / "staproj.toml").write_text(text.replace("schema = 2", "schema = 99"))

    async def scenario(pilot: Any) -> None:
        await until(pilot, lambda: "job:j0001" in keys(pilot))
        for key in ("plus", "1", "p", "ctrl+x"):
            await press(pilot, key)
            assert message(pilot).startswith("read-only"), key
            await press(pilot, "escape")
            assert isinstance(pilot.app.screen, JobsScreen)

    drive(open_app(root, first="jobs"), scenario, size)


@both_sizes
def test_what_goes_on_in_the_background_is_seen_and_stopped(done: Project, size: tuple[int, int]) -> None:
    """An archive that is being written has its line with a bar; ctrl+x stops it after a question."""
    found = Background(done.root)

    async def scenario(pilot: Any) -> None:
        await until(pilot, lambda: "%" in cell(pilot, "task:b0001", 5))
        assert "staproj archive ../a.tar" in screen_text(pilot.app)
        await press(pilot, "o")
        assert "b0001, begun" in pilot.app.screen.query_one(TextPane).text
        await press(pilot, "escape", "ctrl+x", "right", "enter")
        assert "staproj background b0001 --cancel" in message(pilot)
        await until(pilot, lambda: keys(pilot) == [])
        assert found.describe("b0001")["state"] == "cancelled"

    with slow_archive(done.root):
        found.start(["archive", "../a.tar"])
        drive(open_app(done.root, first="jobs"), scenario, size)


def test_nothing_is_looked_at_while_nothing_is_at_work(done: Project) -> None:
    """An idle screen asks neither machine nor project again; ctrl+r does."""
    looked: list[str] = []

    async def scenario(pilot: Any) -> None:
        screen = pilot.app.screen
        screen.fetch = lambda *given, **how: looked.append(how["name"])
        await pilot.pause(2.5)
        assert looked == []
        await press(pilot, "ctrl+r")
        assert {"jobs", "tasks", "machine"} <= set(looked)

    drive(open_app(done.root, first="jobs"), scenario, SMALL)


def test_the_screen_follows_the_width(done: Project) -> None:
    """More room shows more columns; less room fewer, at once."""

    async def scenario(pilot: Any) -> None:
        assert "no job yet" in screen_text(pilot.app)
        assert "host" in [column.name for column in jobs_of(pilot).columns]
        await pilot.resize_terminal(*SMALL)
        await settle(pilot)
        assert "host" not in [column.name for column in jobs_of(pilot).columns]
        names = [name for name, _, _ in pilot.app.screen.query_one(KeyBar).shown]
        assert names[:4] == ["enter", "l", "ctrl+x", "u"]

    drive(open_app(done.root, first="jobs"), scenario, LARGE)
