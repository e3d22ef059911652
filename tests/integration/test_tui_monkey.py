"""Random keys in a project that changes underneath, always the same ones; and what such keys have found."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project, stage_values
from staproj.tui.app import SCREENS
from staproj.tui.asking import whole_number
from staproj.tui.dialogs import Ask, Reading
from staproj.tui.editing import editor as editor_words
from staproj.tui.look import Look
from staproj.tui.screens.pipeline import PipelineScreen
from staproj.tui.screens.run import RunScreen
from staproj.tui.widgets.bars import KeyBar, MessageLine
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.text_pane import TextPane
from tests.terminal import PtyApp
from tests.trials.tui_mischief import Mischief, build
from tests.trials.tui_monkey import Monkey, quiet_place
from tests.tui_screen import LARGE, SIZES, SMALL, drive, open_app, press, screen_text, settle, until

INPUTS = 75
EVERYWHERE = (
    "pipeline",
    "start",
    "versions",
    "jobs",
    "clean_up",
    "archive",
    "new",
    "importing",
    "series",
    "commands",
)
both_sizes = pytest.mark.parametrize("size", SIZES, ids=["80x24", "200x60"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a place with a project of all kinds of runs, from which no job starts."""
    place = tmp_path_factory.mktemp("monkey")
    with quiet_place(place):
        build(place)
        yield place


@pytest.mark.parametrize(("seed", "size", "look"), [(1, SMALL, Look()), (4, LARGE, Look(False, False))])
def test_random_keys_break_nothing(home: Path, seed: int, size: tuple[int, int], look: Look) -> None:
    """Keys, pastes, resizes and damage drawn by chance end nothing, hang nothing, and esc leads back."""
    monkey = Monkey(home / "p", home, seed=seed, size=size, look=look)
    monkey.play(most=INPUTS)
    assert monkey.number == INPUTS
    assert [words for words, _ in monkey.findings] == []


def test_what_the_monkey_finds_is_played_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in a key is found, told with the inputs that led there, and those find it once more."""

    def broken(self: Any) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(PipelineScreen, "action_fold", broken)
    monkey = Monkey(home / "p", home, seed=1, size=SMALL, look=Look())
    monkey.play(inputs=[("key", "j"), ("key", "left"), ("key", "j")])
    ((words, inputs),) = monkey.findings
    assert "ZeroDivisionError" in words
    assert inputs == [("key", "j"), ("key", "left")]


def test_each_mischief_changes_a_project_and_stays_inside(home: Path, tmp_path: Path) -> None:
    """What the monkey does to a project can be done to it, whatever was done before, and nowhere else."""
    root = tmp_path / "place" / "p"
    shutil.copytree(home / "p", root)
    mischief, rng = Mischief(root), random.Random(3)
    for _ in range(2):
        for kind in mischief.kinds:
            if kind not in ("a run is made", "a run fails"):
                mischief.do(kind, rng.randrange(1000))
    assert [path.name for path in root.parent.iterdir()] == ["p"]


@both_sizes
def test_without_colour_and_unicode_every_screen_is_drawn(
    home: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under NO_COLOR in an ASCII terminal all screens appear, in ASCII only."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def scenario(pilot: Any) -> None:
        app = pilot.app
        for name in EVERYWHERE:
            app.show(name)
            await settle(pilot)
            assert screen_text(app).isascii(), name
        app.show("run", run="r0007", tab="summary")
        for tab in range(1, 10):
            await press(pilot, str(tab))
            assert screen_text(app).isascii(), tab
        await press(pilot, "question_mark")
        assert isinstance(app.screen, Reading)
        assert screen_text(app).isascii()

    assert {*EVERYWHERE} | {"run", "rerun", "lineage", "compare"} == {*SCREENS}
    drive(open_app(home / "p", look=Look(False, False)), scenario, size)


def test_a_run_that_was_deleted_underneath_ends_nothing(home: Path, tmp_path: Path) -> None:
    """Keys on a line whose run is gone say so; what can be copied is what is left of it."""
    root = tmp_path / "p"
    shutil.copytree(home / "p", root)

    async def scenario(pilot: Any) -> None:
        app = pilot.app
        shutil.rmtree(root / "runs")
        (root / "runs").mkdir()
        await press(pilot, "y")
        assert "directory" not in screen_text(app)
        assert "r0001" in screen_text(app)
        await press(pilot, "escape", "w")
        assert app.screen.query_one(MessageLine).level == "error"

    drive(open_app(root), scenario)


def test_a_project_that_became_a_link_ends_nothing(home: Path, tmp_path: Path) -> None:
    """A directory that turns into a link is refused on the screen, whatever key comes upon it."""
    root = tmp_path / "p"
    shutil.copytree(home / "p", root)

    async def scenario(pilot: Any) -> None:
        (root / "runs").rename(tmp_path / "runs")
        (root / "runs").symlink_to(tmp_path / "runs")
        for key in ("w", "l", "C", "enter"):
            await press(pilot, key)
            assert "is a link" in screen_text(pilot.app), key

    drive(open_app(root), scenario)


@pytest.mark.parametrize("text", ["²", "١", "9" * 5000, "--5", "1.5", ""])
def test_what_is_no_number_is_refused(text: str) -> None:
    """Digits of other kinds, too many of them and none at all are no whole number."""
    assert whole_number(text) is None


@both_sizes
def test_the_key_bar_names_the_keys_of_the_tab_that_is_shown(home: Path, size: tuple[int, int]) -> None:
    """On a tab with a list enter is named, on one with text it is not: at once, not one tab later."""

    async def scenario(pilot: Any) -> None:
        pilot.app.show("run", run="r0007", tab="summary")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, RunScreen)
        for key, is_list in (("2", True), ("5", False), ("3", True), ("8", False)):
            await press(pilot, key)
            named = [name for name, _, _ in screen.query_one(KeyBar).shown]
            assert ("enter" in named) is is_list, key

    drive(open_app(home / "p"), scenario, size)


def test_help_and_palette_begin_with_what_one_does_there(home: Path) -> None:
    """Keys of the screen come first and moving last, each with all its keys and in words of our own."""

    async def scenario(pilot: Any) -> None:
        app = pilot.app
        await press(pilot, "question_mark")
        lines = app.screen.query_one(TextPane).text.splitlines()
        keys = lines[lines.index("keys here") + 1 :]
        assert keys[1].split(maxsplit=1) == ["r", "run again with other values"]
        place = {words: number for number, line in enumerate(keys) for words in [line.strip()]}
        down = next(number for words, number in place.items() if words.startswith("j down"))
        assert all(number < down for words, number in place.items() if "jobs" in words)
        assert not [line for line in keys if "Focus" in line or "Copy selected" in line]
        await press(pilot, "escape", "colon")
        shown = [row.cells[0] for row in app.screen.query_one(LineList).rows]
        assert shown[:2] == ["open", "run again with other values"]
        assert "down" not in shown
        assert len(shown) == len({*shown})

    drive(open_app(home / "p"), scenario)


def test_lines_to_type_on_never_draw_what_acts_on_the_terminal(home: Path) -> None:
    """Marks for the direction of writing are drawn as question marks; null bytes and escapes are left out."""
    from textual import events

    async def scenario(pilot: Any) -> None:
        app = pilot.app
        await press(pilot, "slash")
        assert isinstance(app.screen, Ask)
        app.post_message(events.Paste("\x00a\x1b\u202eb\nsecond"))
        await settle(pilot)
        assert "a?b" in screen_text(app)
        await press(pilot, "enter")
        assert app.screen.query_one("#steps", LineList).filter_text == "a\u202eb"

    drive(open_app(home / "p"), scenario)


def test_a_long_line_of_a_log_shows_that_it_goes_on(home: Path) -> None:
    """Text that is not folded ends in a sign where it is cut."""
    project = Project(home / "p")

    async def scenario(pilot: Any) -> None:
        pilot.app.show("run", run=str(project.ls("shift")[0]["run"]), tab="log")
        await settle(pilot)
        pilot.app.screen.query_one("#log", TextPane).add_lines(["x" * 100])
        await settle(pilot)
        assert "x" * 79 + "…" in screen_text(pilot.app)

    drive(open_app(home / "p"), scenario)


@pytest.mark.parametrize("editor", ["nonesuch", 'nonesuch "'])
def test_an_editor_that_is_not_there_leaves_the_interface_alive(
    home: Path, plug_in: Path, editor: str
) -> None:
    """The terminal is taken back when the editor cannot be started, and keys work on."""
    command = [sys.executable, "-m", "staproj", "tui", str(home / "p")]
    env = {"EDITOR": editor, "VISUAL": "", "LANG": "C.UTF-8"}
    with PtyApp(command, env=env) as app:
        app.wait_for("all keys", timeout_s=20)
        app.send("e")
        app.wait_for("cannot start nonesuch", timeout_s=20)
        app.send("?")
        app.wait_for("keys here")
        app.send("esc")
        app.wait_for("all keys")
        app.send("q")
        assert app.wait() == 0


@pytest.mark.parametrize(("asked", "words"), [("", ["vi"]), ("  ", ["vi"]), ("a 'b c'", ["a", "b c"])])
def test_the_editor_is_a_command_with_words(
    asked: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """EDITOR may hold arguments; where it says nothing it is vi."""
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", asked)
    assert editor_words() == words


def test_an_error_goes_away_when_it_holds_no_longer(home: Path, tmp_path: Path) -> None:
    """What is wrong with the manifest is said until it is put right, not until esc is pressed."""
    root = tmp_path / "p"
    shutil.copytree(home / "p", root)
    good = (root / "staproj.toml").read_text()

    async def scenario(pilot: Any) -> None:
        line = pilot.app.screen.query_one(MessageLine)
        (root / "staproj.toml").write_text("nonsense [")
        await press(pilot, "ctrl+r")
        assert line.level == "error"
        (root / "staproj.toml").write_text(good)
        pilot.app.screen.reload()
        await settle(pilot)
        assert line.message == ""
        assert len(pilot.app.errors) == 1

    drive(open_app(root), scenario)


def test_a_manifest_that_does_not_hold_is_no_reading_only(home: Path, tmp_path: Path) -> None:
    """Opened with a broken manifest the interface says what helps; put right, all of it works."""
    root = tmp_path / "p"
    shutil.copytree(home / "p", root)
    good = (root / "staproj.toml").read_text()
    (root / "staproj.toml").write_text(good.replace("schema", "schemx"))

    async def scenario(pilot: Any) -> None:
        app = pilot.app
        assert "e edits staproj.toml" in screen_text(app)
        assert "READ-ONLY" not in screen_text(app)
        (root / "staproj.toml").write_text(good.replace("schema = 2", "schema = 3"))
        await until(pilot, lambda: "READ-ONLY" in screen_text(app))
        (root / "staproj.toml").write_text(good)
        await until(pilot, lambda: "READ-ONLY" not in screen_text(app) and "shift" in screen_text(app))
        await press(pilot, "r")
        assert "again" in screen_text(app).splitlines()[0]

    drive(open_app(root), scenario)


@pytest.mark.parametrize("size", [(40, 12), SMALL, (30, 9)], ids=["40x12", "80x24", "30x9"])
def test_a_question_keeps_its_answers_in_sight(home: Path, size: tuple[int, int]) -> None:
    """However long a question is, Cancel is seen, and its last line can be read, also after a resize."""

    async def scenario(pilot: Any) -> None:
        app = pilot.app
        lines = [f"what is lost, number {number}" for number in range(30)]
        app.confirm("lose it?", lines, "lose it", lambda: None, command=["gc", "--yes"])
        for columns, rows in (size, (100, 30), size):
            await pilot.resize_terminal(columns, rows)
            await settle(pilot)
            assert "Cancel" in screen_text(app)
        assert "number 29" not in screen_text(app)
        await press(pilot, *["j"] * 30)
        assert "number 29" in screen_text(app)
        assert "Cancel" in screen_text(app)

    drive(open_app(home / "p"), scenario, size)


def test_in_a_low_window_the_list_has_the_lines(home: Path) -> None:
    """With twelve lines the steps are seen, not one step and what it means."""

    async def scenario(pilot: Any) -> None:
        text = screen_text(pilot.app)
        assert all(f" {step} " in text for step in ("import", "shift", "again", "mean", "other", "copy"))

    drive(open_app(home / "p"), scenario, (40, 12))


def test_what_is_said_while_a_screen_opens_is_said_on_it(home: Path) -> None:
    """A message that comes before the screen on top has its lines is shown as soon as they are there."""

    async def scenario(pilot: Any) -> None:
        pilot.app.show("commands")
        pilot.app.say("it was done")
        await settle(pilot)
        assert "it was done" in screen_text(pilot.app)

    drive(open_app(home / "p"), scenario)


def test_what_the_disk_says_is_no_fault_of_the_program(home: Path) -> None:
    """A name that is too long for the disk is said in its words, without a trace of the program."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "L", "p")
        pilot.app.screen.query_one("Input").value = "x" * 300
        await press(pilot, "enter")
        assert "File name too long: xxx" in screen_text(pilot.app)
        assert "Traceback" not in pilot.app.errors[-1][1]

    drive(open_app(home / "p"), scenario)


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 5000, "\x00", "1e999", "nan"])
def test_whatever_is_typed_as_a_value_is_judged(home: Path, text: str) -> None:
    """Text that is far too long or deep for a value is refused in words, as any other that does not fit."""
    problem = stage_values.problem_of("toy_shift", "offset_px", text)
    assert problem
    assert "Traceback" not in problem
