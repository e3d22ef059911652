"""The screen of one run: every tab, at both sizes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from staproj.api import Project
from staproj.tui.dialogs import Reading
from staproj.tui.screens.run import TABS, RunScreen
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.picture import PicturePane
from staproj.tui.widgets.tabs import TabLine
from staproj.tui.widgets.text_pane import TextPane
from tests.integration import toy_stages as toy
from tests.tui_screen import SIZES, drive, open_app, press, screen_text, settle, until

both_sizes = pytest.mark.parametrize("size", SIZES, ids=["80x24", "200x60"])


def newest(project: Project, step: str) -> str:
    return str(project.ls(step)[0]["run"])


async def open_run(pilot: Any, run: str, tab: str = "summary") -> RunScreen:
    pilot.app.show("run", run=run, tab=tab)
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, RunScreen)
    return screen


def message(pilot: Any) -> str:
    return str(pilot.app.screen.query_one("#message").message)


@both_sizes
def test_tabs_turn_both_ways_and_by_number(done: Project, size: tuple[int, int]) -> None:
    """[ and ] go through all tabs and round again, digits go to one; each shows its own pane only."""

    async def scenario(pilot: Any) -> None:
        screen = await open_run(pilot, newest(done, "shift"))
        seen = []
        for _ in TABS:
            seen.append(screen.tab)
            panes = [pane.id for pane in screen.query_one("#panes").children if pane.display]
            assert panes == [screen.tab]
            await press(pilot, "right_square_bracket")
        assert tuple(seen) == TABS
        assert screen.tab == TABS[0]
        await press(pilot, "left_square_bracket")
        assert screen.tab == TABS[-1]
        await press(pilot, "3")
        assert screen.tab == TABS[2]
        assert screen.query_one(TabLine).active == "files"

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_summary_tells_how_it_went(done: Project, size: tuple[int, int]) -> None:
    """Verdicts and metrics of every tilt series, and what set the run apart from the one before."""

    async def scenario(pilot: Any) -> None:
        screen = await open_run(pilot, newest(done, "shift"))
        text = screen.query_one("#summary", TextPane).text
        assert "TS_02: mean 23.0" in text
        assert "mean_px" in text
        assert "shift.offset_px: 2 -> 3" in text

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_values_show_origin_default_and_what_differs(done: Project, size: tuple[int, int]) -> None:
    """Each value has unit, default and layer; the one that differs from the run before is marked."""

    async def scenario(pilot: Any) -> None:
        screen = await open_run(pilot, newest(done, "shift"), "values")
        rows = {row.key: row for row in screen.query_one("#values", LineList).rows}
        cells = [cell if isinstance(cell, str) else cell[0] for cell in rows["offset_px"].cells]
        assert cells == ["≠", "offset_px", "3", "px", "1", "command line", "2"]
        assert rows["rounded"].cells[0][0] == " "
        await press(pilot, "j")
        assert message(pilot) == "Round the result to whole numbers."

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_files_have_digests_and_lead_to_the_runs_of_inputs(done: Project, size: tuple[int, int]) -> None:
    """Outputs with size and digest as on record; enter shows all of one; p goes to the run of an input."""

    async def scenario(pilot: Any) -> None:
        run = newest(done, "shift")
        screen = await open_run(pilot, run, "files")
        listed = json.loads((done.run_dir(run) / "outputs.json").read_text())["files"]
        rows = screen.query_one("#files", LineList)
        shown = {row.data["path"]: row.data["sha256"] for row in rows.rows if row.key.startswith("out:")}
        assert shown == {entry["path"]: entry["sha256"] for entry in listed}
        await press(pilot, "G", "enter")
        assert isinstance(pilot.app.screen, Reading)
        assert str(listed[-1]["size"]) in pilot.app.screen.query_one(TextPane).text
        await press(pilot, "escape", "g", "p")
        assert pilot.app.screen.run == newest(done, "import")
        assert not message(pilot), message(pilot)
        await press(pilot, "escape")
        assert pilot.app.screen.run == run
        await press(pilot, "y")
        assert "path of this file" not in screen_text(pilot.app)

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_a_tilt_series_confines_log_curves_and_pictures(done: Project, size: tuple[int, int]) -> None:
    """Enter on a series shows its log only; curves and pictures too; backspace takes that back."""

    async def scenario(pilot: Any) -> None:
        screen = await open_run(pilot, newest(done, "shift"), "items")
        items = screen.query_one("#items", LineList)
        assert [row.key for row in items.rows] == ["TS_01", "TS_02", "TS_03"]
        await press(pilot, "j", "enter")
        assert screen.tab == "log"
        lines = screen.query_one("#log", TextPane).text.splitlines()
        assert lines
        assert all(line[9:14] == "TS_02" for line in lines)
        await press(pilot, "6")
        curves = screen.query_one("#curve-list", LineList)
        assert {row.data["item"] for row in curves.rows} == {"TS_02"}
        await press(pilot, "backspace")
        assert "TS_01" in screen.query_one("#log", TextPane).text
        assert {row.data["item"] for row in curves.rows} == {"TS_01", "TS_02", "TS_03"}

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_curves_and_pictures_are_drawn(done: Project, size: tuple[int, int]) -> None:
    """The curve and the preview that the stage recorded are on the screen; enter enlarges the drawing."""

    async def scenario(pilot: Any) -> None:
        screen = await open_run(pilot, newest(done, "shift"), "curves")
        assert "TS_01 ramp" in screen_text(pilot.app)
        assert "y_px" in screen_text(pilot.app)
        assert screen.command() == ["show", screen.run, "--curve", "ramp", "--item", "TS_01"]
        width = screen.query_one("#plot").size.width
        await press(pilot, "enter")
        assert screen.query_one("#plot").size.width > width
        await press(pilot, "enter", "7")
        picture = screen.query_one(PicturePane)
        assert picture._pixels is not None
        assert "first" in screen_text(pilot.app)
        assert "--picture" in screen.command()
        await press(pilot, "full_stop")
        assert "without sections" in message(pilot)
        await press(pilot, "v")
        assert "half blocks are all there is" in message(pilot)

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_record_and_notes(done: Project, size: tuple[int, int]) -> None:
    """The whole record with software and digests; a note written here is shown at once."""

    async def scenario(pilot: Any) -> None:
        run = newest(done, "shift")
        screen = await open_run(pilot, run, "record")
        text = screen.query_one("#record", TextPane).text
        assert "numpy" in text
        assert done.provenance.facts(run)["key"] in text
        await press(pilot, "9", "n", *"fine", "enter")
        await until(pilot, lambda: "fine" in screen.query_one("#notes", TextPane).text)

    drive(open_app(done.root), scenario, size)


def test_going_through_the_runs_of_a_step(done: Project) -> None:
    """{ and } go to the run before and after, and say where there is none."""

    async def scenario(pilot: Any) -> None:
        runs = sorted(row["run"] for row in done.ls("shift"))
        screen = await open_run(pilot, runs[1], "log")
        await press(pilot, "left_curly_bracket")
        assert screen.run == runs[0]
        assert runs[0] in screen.query_one("#log", TextPane).text
        assert runs[1] not in screen.query_one("#log", TextPane).text
        await press(pilot, "left_curly_bracket")
        assert "first run" in message(pilot)
        await press(pilot, "right_curly_bracket", "right_curly_bracket")
        assert "last run" in message(pilot)

    drive(open_app(done.root), scenario)


def test_a_failed_run_says_what_failed(project: Project) -> None:
    """The message of the stage, item by item; curves say that there are none yet."""
    toy.SWITCH["TS_02"] = "fail"
    with pytest.raises(Exception, match="bad"):
        project.run()

    async def scenario(pilot: Any) -> None:
        screen = await open_run(pilot, newest(project, "shift"))
        text = screen.query_one("#summary", TextPane).text
        assert "failed" in text
        assert "this one is bad" in text
        items = screen.query_one("#items", LineList)
        states = {row.key: row.cells[2][0] for row in items.rows}
        assert states["TS_02"] == "failed"
        assert states["TS_01"] == "done"
        await press(pilot, "6")
        assert "when the run is complete" in screen_text(pilot.app)

    drive(open_app(project.root), scenario)


def test_the_log_is_searched(done: Project) -> None:
    """/ searches, n goes on, and the message says how many lines hold the text."""

    async def scenario(pilot: Any) -> None:
        screen = await open_run(pilot, newest(done, "shift"), "log")
        await press(pilot, "slash", *"added", "enter")
        assert "3 lines hold 'added'" in message(pilot)
        pane = screen.query_one("#log", TextPane)
        before = pane.found
        await press(pilot, "n")
        assert pane.found > before
        await press(pilot, "f")
        assert pane.follow

    drive(open_app(done.root), scenario)


def test_a_run_that_is_not_there_is_told(done: Project) -> None:
    """A wrong name is an error with a way on, not an empty screen."""

    async def scenario(pilot: Any) -> None:
        await open_run(pilot, "r9999")
        assert "r9999" in message(pilot)

    drive(open_app(done.root), scenario)
