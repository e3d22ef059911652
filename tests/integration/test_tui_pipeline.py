"""The first screen: the pipeline with its runs, what one can do there, and what is always there."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.tui.dialogs import Ask, Choose, Confirm, Copying, Reading
from staproj.tui.screens.pipeline import PipelineScreen
from staproj.tui.widgets.bars import KeyBar, MessageLine, TopBar
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.text_pane import TextPane
from tests.tui_screen import SIZES, SMALL, drive, open_app, press, screen_text, settle, until

both_sizes = pytest.mark.parametrize("size", SIZES, ids=["80x24", "200x60"])


def steps(pilot: Any) -> LineList:
    return pilot.app.screen.query_one("#steps", LineList)


def message(pilot: Any) -> str:
    return pilot.app.screen.query_one(MessageLine).message


@both_sizes
def test_states_and_reasons_are_seen_at_a_glance(done: Project, size: tuple[int, int]) -> None:
    """Each step shows its state as a word and a sign; what is stale shows the value that changed."""
    text = done.layout.manifest.read_text()
    done.layout.manifest.write_text(text.replace("offset_px = 3.0", "offset_px = 9.0"))

    async def scenario(pilot: Any) -> None:
        screen = screen_text(pilot.app)
        assert "~ ▸ shift" in screen
        assert "stale" in screen
        assert "shift.offset_px: 3 -> 9" in screen
        assert "✓ ▸ import" in screen
        assert "4 of 6 to run" in screen

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_runs_unfold_beneath_their_step(done: Project, size: tuple[int, int]) -> None:
    """Right shows the runs of a step, newest first, with the head marked; left hides them."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "j", "right")
        keys = [row.key for row in steps(pilot).rows]
        runs = [row["run"] for row in done.ls("shift")]
        assert len(runs) == 2
        assert keys[1:4] == ["step:shift", *(f"run:{run}" for run in runs)]
        assert "★" in screen_text(pilot.app)
        await press(pilot, "j", "left")
        assert [row.key for row in steps(pilot).rows][1:3] == ["step:shift", "step:again"]
        assert steps(pilot).row is not None
        assert steps(pilot).row.key == "step:shift"

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_the_first_screen_tells_how_to_rerun_with_other_values(done: Project, size: tuple[int, int]) -> None:
    """With the cursor on a step one reads which key changes which values."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "j")
        screen = screen_text(pilot.app)
        assert "r: run it again with other values of offset_px" in screen
        assert "r run again with other values" in screen
        assert "? all keys" in screen

    drive(open_app(done.root), scenario, size)


def test_a_filter_shows_only_what_holds_it(done: Project) -> None:
    """/ filters as one types; esc takes the filter away, and so does esc in the line."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "slash")
        assert isinstance(pilot.app.screen, Ask)
        await press(pilot, *"copy")
        await press(pilot, "enter")
        assert [row.key for row in steps(pilot).rows] == ["step:copy"]
        await press(pilot, "escape")
        assert len(steps(pilot).rows) == 6
        await press(pilot, "slash", *"!copy", "enter")
        assert "step:copy" not in [row.key for row in steps(pilot).rows]
        await press(pilot, "escape", "slash", *"zzz", "escape")
        assert len(steps(pilot).rows) == 6

    drive(open_app(done.root), scenario)


def test_lists_are_sorted_and_marked(done: Project) -> None:
    """S orders by one column after the other, S turns the order, space marks and esc takes marks away."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "s")
        names = [row.data["step"] for row in steps(pilot).rows]
        assert names == sorted(names)
        await press(pilot, "S")
        assert [row.data["step"] for row in steps(pilot).rows] == sorted(names, reverse=True)
        await press(pilot, "g", "space", "space")
        assert len(steps(pilot).marks) == 2
        await press(pilot, "escape")
        assert not steps(pilot).marks

    drive(open_app(done.root), scenario)


def test_notes_ratings_and_tags_are_written(done: Project) -> None:
    """n, * and t write what people say about the run, and each is told as its command."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "n", *"good", "enter")
        assert "staproj note r0001 good" in message(pilot)
        await press(pilot, "asterisk")
        assert isinstance(pilot.app.screen, Choose)
        await press(pilot, "j", "j", "j", "j", "enter")
        await press(pilot, "t", *"final", "enter")
        said = done.annotations.of("r0001")
        assert [note["text"] for note in said["notes"]] == ["good"]
        assert said["rating"] == 4
        assert said["tags"] == ["final"]
        await press(pilot, "t", "minus", *"final", "enter")
        assert done.annotations.of("r0001")["tags"] == []

    drive(open_app(done.root), scenario)


def test_an_older_run_stands_for_its_step_again_only_after_a_yes(done: Project) -> None:
    """H asks, with Cancel as the default; after the yes the older run is the head."""

    async def scenario(pilot: Any) -> None:
        old = done.ls("shift")[-1]["run"]
        await press(pilot, "j", "right", "j", "j", "H")
        assert isinstance(pilot.app.screen, Confirm)
        await press(pilot, "enter")
        assert not done.ls("shift")[-1]["head"]
        await press(pilot, "H", "right", "enter")
        assert [row["run"] for row in done.ls("shift") if row["head"]] == [old]
        assert f"staproj head shift {old}" in message(pilot)

    drive(open_app(done.root), scenario)


def test_why_and_methods_are_read_in_a_box(done: Project) -> None:
    """W says why a step is in its state; esc closes the box."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "j", "w")
        assert isinstance(pilot.app.screen, Reading)
        assert "offset_px" in pilot.app.screen.query_one(TextPane).text
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PipelineScreen)
        await press(pilot, "m")
        assert isinstance(pilot.app.screen, Reading)

    drive(open_app(done.root), scenario)


def test_help_lists_every_key_of_the_screen_and_the_pane(done: Project) -> None:
    """? names the keys of the screen and of the list in focus, and what the screen shows."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "question_mark")
        text = pilot.app.screen.query_one(TextPane).text
        for words in ("run again with other values", "down", "mark", "edit staproj.toml", "quit; runs go on"):
            assert words in text
        await press(pilot, "q")
        assert isinstance(pilot.app.screen, PipelineScreen)

    drive(open_app(done.root), scenario)


def test_copying_needs_no_mouse(done: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Y offers the run, its directory and the line; enter copies, f writes to a file instead."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    async def scenario(pilot: Any) -> None:
        await press(pilot, "y")
        assert isinstance(pilot.app.screen, Copying)
        await press(pilot, "j", "enter")
        assert pilot.app.clipboard == "r0001"
        await press(pilot, "y", "j", "f")
        assert (tmp_path / "staproj-copy.txt").read_text() == "r0001"

    drive(open_app(done.root), scenario)


@both_sizes
def test_the_palette_finds_screens_and_actions(done: Project, size: tuple[int, int]) -> None:
    """: opens the palette; what is typed finds an action of this screen, and enter does it."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "colon", *"why it is")
        assert "why it is in this state" in screen_text(pilot.app)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Reading)
        await press(pilot, "escape", "ctrl+p", *"what was done", "enter")
        assert pilot.app.screen.command is not None
        assert type(pilot.app.screen).__name__ == "CommandsScreen"
        await press(pilot, "escape", "colon", *"offset again")
        assert "run again again" in screen_text(pilot.app)
        await press(pilot, "down", "enter")
        assert type(pilot.app.screen).__name__ == "RerunScreen"
        await press(pilot, "escape", "J", "colon", "escape")
        assert type(pilot.app.screen).__name__ == "JobsScreen"

    drive(open_app(done.root), scenario, size)


def test_changes_by_others_are_seen(done: Project) -> None:
    """A value changed and a run made by somebody else appear by themselves, the cursor stays."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "j", "j")
        text = done.layout.manifest.read_text()
        done.layout.manifest.write_text(text.replace("offset_px = 3.0", "offset_px = 4.0"))
        await until(pilot, lambda: "stale" in screen_text(pilot.app))
        assert steps(pilot).row.key == "step:again"
        done.run()
        await until(pilot, lambda: "all 6 fresh" in screen_text(pilot.app))
        assert steps(pilot).row.key == "step:again"

    drive(open_app(done.root), scenario)


def test_a_damaged_manifest_is_told_and_what_was_known_stays(done: Project) -> None:
    """An error is on the message line with the way to all of it; the list stays; mending it takes it away."""
    text = done.layout.manifest.read_text()

    async def scenario(pilot: Any) -> None:
        done.layout.manifest.write_text(text + "\n[step.shift\n")
        await until(pilot, lambda: "✗" in screen_text(pilot.app))
        assert len(steps(pilot).rows) == 6
        await press(pilot, "exclamation_mark")
        assert "staproj.toml" in pilot.app.screen.query_one(TextPane).text
        await press(pilot, "escape")
        done.layout.manifest.write_text(text)
        await until(pilot, lambda: "all 6 fresh" in screen_text(pilot.app))

    drive(open_app(done.root), scenario)


def test_the_editor_opens_on_the_manifest_and_its_outcome_is_told(
    done: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the editor wrote is judged at once: what is to run, or what does not hold."""
    from staproj.tui import editing

    async def scenario(pilot: Any) -> None:
        text = done.layout.manifest.read_text()
        done.layout.manifest.write_text(text.replace("offset_px = 3.0", "offset_px = 5.0"))
        editing.tell_validation(pilot.app)
        assert "to run: shift" in message(pilot)
        done.layout.manifest.write_text(text.replace("offset_px = 3.0", 'offset_px = "much"'))
        editing.tell_validation(pilot.app)
        assert "does not hold" in message(pilot)
        await press(pilot, "exclamation_mark")
        assert "offset_px" in pilot.app.screen.query_one(TextPane).text

    drive(open_app(done.root), scenario)


def test_a_newer_schema_is_read_only_and_says_so(done: Project) -> None:
    """Nothing is written to a project of a newer staproj: the bar says so, and each action says why."""
    text = done.layout.manifest.read_text()
    done.layout.manifest.write_text(text.replace("schema = 2", "schema = 99"))

    async def scenario(pilot: Any) -> None:
        assert "READ-ONLY" in screen_text(pilot.app)
        for key in ("n", "asterisk", "t", "r", "R"):
            await press(pilot, key)
            assert message(pilot).startswith("read-only"), key
            await press(pilot, "escape")

    drive(open_app(done.root), scenario)


def test_a_terminal_without_unicode_gets_ascii_only(done: Project) -> None:
    """With the plain look every character on the screen is ASCII."""
    from staproj.tui.look import Look

    async def scenario(pilot: Any) -> None:
        await press(pilot, "j", "right")
        assert screen_text(pilot.app).isascii()
        await press(pilot, "question_mark")
        assert screen_text(pilot.app).isascii()

    drive(open_app(done.root, look=Look(unicode=False, colours=False)), scenario)


def test_resizing_moves_the_details_to_the_side(done: Project) -> None:
    """From 120 columns on the details stand beside the list, below that under it."""

    async def scenario(pilot: Any) -> None:
        detail = pilot.app.screen.query_one("#detail")
        assert detail.region.y > steps(pilot).region.y
        await pilot.resize_terminal(140, 40)
        await settle(pilot)
        assert detail.region.x > steps(pilot).region.x
        await pilot.resize_terminal(40, 12)
        await settle(pilot)
        assert "import" in screen_text(pilot.app)

    drive(open_app(done.root), scenario, SMALL)


def test_q_leaves_and_unknown_keys_do_nothing(done: Project) -> None:
    """Q ends the program with code 0."""
    app = open_app(done.root)

    async def scenario(pilot: Any) -> None:
        await press(pilot, "f9", "q")

    drive(app, scenario)
    assert app.return_code == 0


def test_control_characters_of_a_project_never_reach_the_terminal(
    make_project: Callable[..., Project],
) -> None:
    """A note that holds an escape sequence is shown with its code."""
    project = make_project()
    project.run(note="bad \x1b[2J note")

    async def scenario(pilot: Any) -> None:
        await press(pilot, "right", "j")
        assert "\x1b" not in screen_text(pilot.app)
        assert "\\x1b[2J" in screen_text(pilot.app)

    drive(open_app(project.root), scenario)


def test_an_empty_project_says_what_to_do(make_project: Callable[..., Project]) -> None:
    """Of steps never run, enter says which keys run them."""
    project = make_project()

    async def scenario(pilot: Any) -> None:
        assert "never run" in screen_text(pilot.app)
        await press(pilot, "enter")
        assert "R runs it" in message(pilot)
        await press(pilot, "l")
        assert pilot.app.screen.query_one(KeyBar) is not None
        assert pilot.app.screen.query_one(TopBar).project == "p"

    drive(open_app(project.root), scenario)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_directory_without_write_permission_is_read_only(done: Project) -> None:
    """A project on a read-only disk is shown and marked."""
    done.root.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:

        async def scenario(pilot: Any) -> None:
            assert "READ-ONLY" in screen_text(pilot.app)

        drive(open_app(done.root), scenario)
    finally:
        done.root.chmod(stat.S_IRWXU)


def test_a_project_that_goes_away_is_told(done: Project) -> None:
    """When the directory vanishes the screen says so and the program stays."""

    async def scenario(pilot: Any) -> None:
        shutil.rmtree(done.root)
        await press(pilot, "ctrl+r")
        await until(pilot, lambda: "✗" in screen_text(pilot.app))

    drive(open_app(done.root), scenario)
