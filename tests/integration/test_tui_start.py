"""Running what is to run: which steps, how far, how, going on with what was interrupted, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.engine import estimate
from staproj.errors import CancelledError
from staproj.tui.dialogs import Confirm, Reading
from staproj.tui.form_work import SayLine
from staproj.tui.screens.pipeline import PipelineScreen
from staproj.tui.screens.start import StartScreen
from staproj.tui.widgets.bars import MessageLine
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.text_pane import TextPane
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, states
from tests.tui_screen import SIZES, drive, open_app, press, screen_text, settle, until

both_sizes = pytest.mark.parametrize("size", SIZES, ids=["80x24", "200x60"])
FRESH = {"fresh", "soft"}


def rows(pilot: Any) -> dict[str, list[str]]:
    """Return the rows of steps as words."""
    found = pilot.app.screen.query_one("#steps", LineList).rows
    return {row.key: [c if isinstance(c, str) else c[0] for c in row.cells] for row in found}


def ticked(pilot: Any) -> list[str]:
    """Return the steps that would be started."""
    return [name for name, cells in rows(pilot).items() if cells[0] == "[x]"]


def status(pilot: Any) -> str:
    """Return what would be started, in words."""
    return pilot.app.screen.query_one("#status", SayLine).text


def message(pilot: Any) -> str:
    """Return what was said last."""
    return pilot.app.screen.query_one(MessageLine).message


def detail(pilot: Any) -> str:
    """Return the text beside the steps."""
    return pilot.app.screen.query_one("#help", TextPane).text


async def shown(pilot: Any, step: str = "") -> StartScreen:
    """Open the screen."""
    pilot.app.show("start", step=step)
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, StartScreen)
    return screen


async def begun(pilot: Any, project: Project) -> None:
    """Wait until the pipeline is shown again and the job has ended well."""
    await until(pilot, lambda: isinstance(pilot.app.screen, PipelineScreen))
    await until(pilot, lambda: project.jobs.all() and project.jobs.all()[0]["state"] == "done")
    await settle(pilot)


@both_sizes
def test_a_fresh_project_is_run_from_its_first_screen(project: Project, size: tuple[int, int]) -> None:
    """R on the pipeline lists all steps with why; R again runs them, and the pipeline shows them fresh."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "j", "j", "R")
        assert isinstance(pilot.app.screen, StartScreen)
        assert ticked(pilot) == ["import", "shift", "again", "mean", "other", "copy"]
        assert pilot.app.screen.list_of("steps").row.key == "again"
        assert status(pilot) == "R runs all 6 steps"
        assert rows(pilot)["import"][2:] == ["?", "?", "import was never run"]
        assert "time: unknown for import, shift, again, mean and 2 more" in detail(pilot)
        assert "are free" in detail(pilot)
        assert "$ staproj run" in screen_text(pilot.app)
        await press(pilot, "R")
        await begun(pilot, project)
        assert "staproj run --detach" in " ".join(pilot.app.commands[-1][1])
        assert set(states(project).values()) <= FRESH
        await until(pilot, lambda: "✓ ▸ copy" in screen_text(pilot.app))

    drive(open_app(project.root), scenario, size)


@both_sizes
def test_only_up_to_a_step(ran: Project, size: tuple[int, int]) -> None:
    """T takes what is to run up to the cursor; a takes all again; enter starts."""
    edit(ran, "offset_px = 2.0", "offset_px = 4.0")

    async def scenario(pilot: Any) -> None:
        screen = await shown(pilot)
        assert list(rows(pilot)) == ["shift", "again", "mean", "copy"]
        assert rows(pilot)["shift"][-1] == "shift.offset_px: 2 -> 4"
        await press(pilot, "j", "t")
        assert ticked(pilot) == ["shift", "again"]
        assert status(pilot) == "R runs up to again: 2 of 4 steps"
        assert list(screen.command()) == ["run", "--until", "again"]
        await press(pilot, "a")
        assert len(ticked(pilot)) == 4
        await press(pilot, "t", "enter")
        await begun(pilot, ran)
        assert states(ran)["again"] in FRESH
        assert states(ran)["mean"] == "stale"

    drive(open_app(ran.root), scenario, size)


@both_sizes
def test_only_marked_steps_with_what_they_need(ran: Project, size: tuple[int, int]) -> None:
    """Space marks steps: those alone run, and what they need; esc takes marks away."""
    edit(ran, "offset_px = 2.0", "offset_px = 4.0")

    async def scenario(pilot: Any) -> None:
        screen = await shown(pilot, step="again")
        await press(pilot, "space")
        assert ticked(pilot) == ["shift", "again"]
        assert status(pilot) == "R runs again only, and what is needed for that: shift"
        assert list(screen.command()) == ["run", "again"]
        await press(pilot, "escape")
        assert len(ticked(pilot)) == 4
        await press(pilot, "g", "space", "ctrl+s")
        await begun(pilot, ran)
        assert states(ran)["shift"] in FRESH
        assert states(ran)["again"] == "stale"

    drive(open_app(ran.root), scenario, size)


@both_sizes
def test_nothing_to_run_is_said(ran: Project, size: tuple[int, int]) -> None:
    """Where all is fresh the screen says so and starts nothing."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        assert status(pilot).startswith("everything is fresh: nothing to do")
        await press(pilot, "R")
        assert "nothing to do" in message(pilot)
        await press(pilot, "t", "a", "space", "enter", "u")
        assert "nothing was interrupted" in message(pilot)
        assert isinstance(pilot.app.screen, StartScreen)
        assert ran.jobs.all() == []

    drive(open_app(ran.root), scenario, size)


@both_sizes
def test_what_was_interrupted_is_offered_on_top(project: Project, size: tuple[int, int]) -> None:
    """The first line names the interrupted run; u goes on with it and with what was to follow."""
    toy.SWITCH["TS_02"] = "interrupt"
    with pytest.raises(CancelledError):
        project.run()
    toy.SWITCH.clear()

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        assert "r0002 was interrupted: u goes on with it" in screen_text(pilot.app)
        await press(pilot, "u")
        await begun(pilot, project)
        assert "staproj resume --detach" in " ".join(pilot.app.commands[-1][1])
        assert states(project)["shift"] in FRESH
        assert [row["run"] for row in project.ls("shift")] == ["r0002"]

    drive(open_app(project.root), scenario, size)


@both_sizes
def test_how_it_is_run_goes_with_the_job(ran: Project, size: tuple[int, int]) -> None:
    """Threads, keep going and a note stand in the command and reach the run."""
    edit(ran, "offset_px = 2.0", "offset_px = 4.0")

    async def scenario(pilot: Any) -> None:
        screen = await shown(pilot)
        await press(pilot, "n", *"later", "enter", "right_square_bracket")
        assert "past a step that fails" in screen_text(pilot.app)
        await press(pilot, "j", "j", "j", "right", "G", "k", "right")
        words = ["run", "--note", "later", "--threads", "1", "--keep-going"]
        assert list(screen.command()) == words
        await press(pilot, "R")
        await begun(pilot, ran)
        assert ran.ls("shift")[0]["note"] == "later"

    drive(open_app(ran.root), scenario, size)


def test_a_failing_step_is_passed_where_that_is_asked_for(
    ran: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan follows changes underneath, and a job that fails is seen on the pipeline."""
    orders = tmp_path / "orders"
    orders.mkdir()
    (orders / "TS_02").write_text("fail")
    monkeypatch.setenv("TOY_ORDERS", str(orders))

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        edit(ran, "offset_px = 2.0", "offset_px = 4.0")
        await until(pilot, lambda: len(rows(pilot)) == 4)
        await press(pilot, "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelineScreen))
        await until(pilot, lambda: ran.jobs.all()[0]["state"] == "failed")
        await until(pilot, lambda: "failed" in screen_text(pilot.app))

    drive(open_app(ran.root), scenario)


@both_sizes
def test_a_full_disk_is_told_before_and_refused(
    ran: Project, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """The sums say that it does not fit; a start is refused with what helps; force begins all the same."""
    edit(ran, "offset_px = 2.0", "offset_px = 4.0")
    monkeypatch.setattr(estimate, "free_bytes", lambda root: 10)

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        assert "the disk cannot hold this" in detail(pilot)
        await press(pilot, "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, Reading))
        assert "run fewer steps with --until" in screen_text(pilot.app)
        await press(pilot, "escape", "2", "G", "right", "R")
        await begun(pilot, ran)
        assert "begun with --force" in ran.ls("shift")[0]["note"]

    drive(open_app(ran.root), scenario, size)


@both_sizes
def test_what_is_running_is_not_started_again(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """While a job computes a step a second start is refused in words with what helps, and nothing is lost."""
    orders = tmp_path / "orders"
    orders.mkdir()
    (orders / "TS_01").write_text("wait")
    monkeypatch.setenv("TOY_ORDERS", str(orders))

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        await press(pilot, "R")
        await until(pilot, (orders / "TS_01.waits").exists)
        try:
            await shown(pilot)
            assert rows(pilot)["shift"][-1].startswith("r0002 is going on")
            await press(pilot, "R")
            await until(pilot, lambda: isinstance(pilot.app.screen, Reading))
            text = screen_text(pilot.app)
            assert "is being run right now (r0002)" in text
            assert "staproj watch r0002" in text
            await press(pilot, "escape", "escape", "escape")
            assert isinstance(pilot.app.screen, PipelineScreen)
            assert len(project.jobs.all()) == 1
        finally:
            project.jobs.stop("j0001")

    drive(open_app(project.root), scenario, size)


def test_nothing_is_started_where_nothing_may_be_written(ran: Project) -> None:
    """On a read-only project R says so."""
    edit(ran, "offset_px = 2.0", "offset_px = 4.0")

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        pilot.app.read_only = True
        await press(pilot, "R", "u")
        assert isinstance(pilot.app.screen, StartScreen)
        assert ran.jobs.all() == []

    drive(open_app(ran.root), scenario)


def test_a_manifest_that_does_not_hold_is_told(ran: Project) -> None:
    """An error in staproj.toml is shown; repaired, the list comes by itself."""
    edit(ran, "offset_px = 2.0", "offset_px = 4000.0")

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        assert "must be <= 100 px" in message(pilot)
        await press(pilot, "R")
        assert not isinstance(pilot.app.screen, Confirm)
        edit(ran, "offset_px = 4000.0", "offset_px = 4.0")
        await until(pilot, lambda: len(rows(pilot)) == 4)
        assert status(pilot) == "R runs all 4 steps"

    drive(open_app(ran.root), scenario)
