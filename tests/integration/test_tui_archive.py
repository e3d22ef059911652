"""The screen of archives and exports: forms, commands in the background, what would be replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.api.archives import verify_path
from staproj.api.background import COMMANDS, Background
from staproj.cli.main import build
from staproj.tui import archive_menu as menu
from staproj.tui.dialogs import Confirm, Reading
from staproj.tui.errand_form import ErrandForm
from staproj.tui.screens.archive import ArchiveScreen
from staproj.tui.widgets.bars import MessageLine
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.text_pane import TextPane
from tests.integration.conftest import states
from tests.integration.slow_archive import slow_archive
from tests.tui_screen import LARGE, SIZES, SMALL, drive, open_app, press, screen_text, until

both_sizes = pytest.mark.parametrize("size", SIZES, ids=["80x24", "200x60"])
ERRANDS = {errand.key: errand for errand in menu.errands("proj", "mean")}


# ------------------------------------------------------------------------------------ forms and their words
@pytest.mark.parametrize(
    ("key", "values", "words"),
    [
        ("archive", {}, "archive ../proj.tar"),
        (
            "archive",
            {"dest": "~/a.tar.zst", "runs": "mean", "zstd": True, "raw": True, "scratch": True},
            f"archive {Path.home()}/a.tar.zst --runs mean --without scratch,raw --zstd",
        ),
        ("verify", {"raw": True}, "verify --raw"),
        ("verify_archive", {"archive": " ../a.tar "}, "verify ../a.tar"),
        ("restore", {"archive": "a.tar", "directory": "b", "run": "r0003"}, "restore a.tar b --run r0003"),
        ("relion5", {"step": "refine"}, "export relion5 exports/relion --step refine"),
        ("map", {"anonymous": True}, "export map mean exports/maps/ --anonymous"),
        ("files", {"item": "TS_01", "force": True}, "export files mean exports/files/ --item TS_01 --force"),
        ("empiar_template", {}, "export empiar-template empiar.toml"),
        ("empiar", {}, "export empiar exports/empiar.json --meta empiar.toml"),
        (
            "crate",
            {"of": "mean", "author": "Ada L", "orcid": "https://orcid.org/0"},
            "export crate . --of mean --author Ada L --orcid https://orcid.org/0",
        ),
        ("prov", {}, "export prov exports/history.provjson"),
        ("methods", {"of": "mean", "markdown": True}, "methods mean --markdown"),
    ],
)
def test_what_is_filled_in_becomes_a_command(key: str, values: dict[str, Any], words: str) -> None:
    """Each form gives the words that a person would type; the command line understands them."""
    errand = ERRANDS[key]
    found = errand.words({**{q.key: q.default for q in errand.questions}, **values})
    assert " ".join(found) == words
    assert found[0] in COMMANDS
    build().parse_args(found, exit_on_error=False, print_error=False)


def test_every_errand_is_tried_above() -> None:
    """No entry of the menu is left out of these tests."""
    tried = test_what_is_filled_in_becomes_a_command.pytestmark[0].args[1]
    assert {case[0] for case in tried} == set(ERRANDS)


def test_what_is_lacking_is_said() -> None:
    """A line that is needed and empty is named."""
    assert ERRANDS["restore"].lacking({"archive": "a.tar", "directory": " "}) == "directory is needed"
    assert ERRANDS["restore"].lacking({"archive": "a.tar", "directory": "b"}) == ""


def test_what_a_path_stands_for(tmp_path: Path) -> None:
    """A new file must not be there, an old one must; unfinished archives and free space are told."""
    (tmp_path / "a.tar").write_bytes(b"x" * 2000)
    (tmp_path / "b.tar.part").write_bytes(b"")
    (tmp_path / "odd [1].tar").write_bytes(b"")
    assert menu.see(tmp_path, menu.NEW, "a.tar").level == "error"
    assert "unfinished" in menu.see(tmp_path, menu.NEW, "b.tar").words
    assert "free there" in menu.see(tmp_path, menu.NEW, "c.tar").words
    assert menu.see(tmp_path, menu.OLD, "a.tar").words == "2.0 kB"
    assert menu.see(tmp_path, menu.OLD, "c.tar").level == "error"
    assert menu.see(tmp_path, menu.PATH, "a.tar").level == "warning"
    assert menu.see(tmp_path, menu.PATH, ".").level == ""
    assert menu.see(tmp_path, menu.TEXT, "a.tar").words == ""
    assert menu.complete(tmp_path, menu.OLD, [], "odd") == ["odd [1].tar"]
    assert menu.complete(tmp_path, menu.NAME, ["mean", "motion", "r0001"], "r0001,m") == [
        "r0001,mean", "r0001,motion"
    ]  # fmt: skip
    assert menu.complete(tmp_path, menu.TEXT, ["mean"], "m") == []


# -------------------------------------------------------------------------------------- with a real project
def message(pilot: Any) -> str:
    return pilot.app.screen.query_one(MessageLine).message


def tasks(pilot: Any) -> list[str]:
    return [f"{task['task']} {task['state']}" for task in pilot.app.screen.tasks]


async def choose(pilot: Any, key: str) -> ErrandForm:
    """Open the form of an entry of the menu."""
    screen = pilot.app.screen
    assert isinstance(screen, ArchiveScreen)
    screen.menu.focus()
    assert screen.menu.go_to(key)
    await press(pilot, "enter")
    form = pilot.app.screen
    assert isinstance(form, ErrandForm)
    return form


def fill(form: ErrandForm, **values: str) -> None:
    for key, text in values.items():
        form.query_one(f"#line-{key}").value = text


async def begin(pilot: Any, key: str, **values: str) -> None:
    """Fill in a form and begin."""
    form = await choose(pilot, key)
    fill(form, **values)
    await press(pilot, "ctrl+s")


async def ended(pilot: Any, name: str) -> dict[str, Any]:
    """Wait until a command has ended; return what is told of it."""
    await until(pilot, lambda: any(t["task"] == name and t["ended"] for t in pilot.app.screen.tasks), 60)
    return next(task for task in pilot.app.screen.tasks if task["task"] == name)


@both_sizes
def test_all_that_can_be_done_is_on_the_menu(done: Project, size: tuple[int, int]) -> None:
    """Each entry shows what it does and its command, and opens a form that can be left."""

    async def scenario(pilot: Any) -> None:
        screen = pilot.app.screen
        assert [row.key for row in screen.menu.rows] == list(ERRANDS)
        for errand in screen.errands:
            about = screen.query_one("#about", TextPane).text
            assert errand.about in about
            command = screen.command()
            assert tuple(command[: len(errand.command)]) == errand.command
            await press(pilot, "enter")
            assert isinstance(pilot.app.screen, ErrandForm)
            text = screen_text(pilot.app)
            assert errand.title in text
            assert "begin" in text
            assert "ctrl+s begins" in text
            await press(pilot, "escape", "j")
        assert Background(done.root).all() == []

    drive(open_app(done.root, first="archive"), scenario, size)


@both_sizes
def test_an_archive_from_form_to_restored_project(done: Project, size: tuple[int, int]) -> None:
    """The form says how large it becomes; an archive is written, verified and restored in the background."""
    expected = done.archives.expect(without=["exports"])

    async def scenario(pilot: Any) -> None:
        form = await choose(pilot, "archive")
        await until(pilot, lambda: "files of 10 runs" in screen_text(pilot.app))
        await press(pilot, "enter", "enter", "j", "j", "j", "j", "space")
        assert form.switched["exports"]
        assert "--without exports" in screen_text(pilot.app)
        words = f"in {expected['files']} files of 10 runs"
        await until(pilot, lambda: words in screen_text(pilot.app))
        await press(pilot, "shift+tab", "shift+tab")
        fill(form, dest="")
        await press(pilot, "ctrl+s")
        assert "new file is needed" in screen_text(pilot.app)
        await press(pilot, "escape")
        await begin(pilot, "archive", dest="../b.tar")
        assert "staproj archive ../b.tar" in message(pilot)
        told = await ended(pilot, "b0001")
        assert (told["state"], told["command"]) == ("done", ["archive", "../b.tar"])
        await until(pilot, lambda: message(pilot).startswith("b0001 done: wrote ../b.tar"))
        assert verify_path(done.root.parent / "b.tar")["ok"]
        form = await choose(pilot, "archive")
        fill(form, dest="../b.tar")
        await until(pilot, lambda: "there is such a file already" in screen_text(pilot.app))
        await press(pilot, "ctrl+s")
        assert isinstance(pilot.app.screen, ErrandForm), "nothing is written over an archive"
        await press(pilot, "escape")
        await begin(pilot, "verify_archive", archive="../b.tar")
        assert (await ended(pilot, "b0002"))["said"][0].startswith("../b.tar: every bit as it should be")
        await begin(pilot, "restore", archive="../b.tar", directory="../back")
        assert (await ended(pilot, "b0003"))["state"] == "done"
        await begin(pilot, "verify")
        assert (await ended(pilot, "b0004"))["state"] == "done"
        assert "b0004 done: .: every bit as it should be" in message(pilot)

    drive(open_app(done.root, first="archive"), scenario, size)
    assert set(states(Project.open(done.root.parent / "back")).values()) == {"fresh"}


@both_sizes
def test_damage_is_an_error_with_all_its_words(done: Project, size: tuple[int, int]) -> None:
    """A changed file is found; the list shows the exit code, enter shows which file."""
    output = next(path for path in sorted(done.root.glob("runs/*/out/**/*")) if path.is_file())
    output.chmod(0o644)
    output.write_bytes(b"other")

    async def scenario(pilot: Any) -> None:
        await begin(pilot, "verify")
        await ended(pilot, "b0001")
        await until(pilot, lambda: "DAMAGED" in message(pilot))
        assert pilot.app.screen.query_one(MessageLine).level == "error"
        assert "failed (exit code 4)" in screen_text(pilot.app)
        await press(pilot, "tab")
        assert pilot.app.screen.command() == ["background", "b0001"]
        assert output.name in pilot.app.screen.query_one("#about", TextPane).text
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Reading)
        assert output.name in pilot.app.screen.query_one(TextPane).text
        await press(pilot, "escape", "u")
        assert "b0001 is no archive that was cut off" in message(pilot)
        assert "all it said" in pilot.app.screen.copies()

    drive(open_app(done.root, first="archive"), scenario, size)


@both_sizes
def test_leaving_ends_nothing_and_it_can_be_stopped_and_gone_on_with(
    done: Project, size: tuple[int, int]
) -> None:
    """The bar moves; another interface finds what goes on; ctrl+x stops it after a question, u goes on."""

    async def first(pilot: Any) -> None:
        await begin(pilot, "archive", dest="../slow.tar")
        await until(pilot, lambda: any((t["progress"] or {}).get("done") for t in pilot.app.screen.tasks))
        assert "archive, export: 1 going on" in screen_text(pilot.app)
        await press(pilot, "q")

    async def second(pilot: Any) -> None:
        await until(pilot, lambda: tasks(pilot) == ["b0001 running"])
        before = pilot.app.screen.tasks[0]["progress"]["done"]
        await until(pilot, lambda: pilot.app.screen.tasks[0]["progress"]["done"] > before)
        assert " %" in screen_text(pilot.app)
        await press(pilot, "tab", "ctrl+x")
        assert isinstance(pilot.app.screen, Confirm)
        await press(pilot, "enter")
        assert Background(done.root).active() == ["b0001"], "cancel is the default"
        await press(pilot, "ctrl+x", "right", "enter")
        await until(pilot, lambda: tasks(pilot) == ["b0001 cancelled"])
        await press(pilot, "u")
        assert "--resume" in message(pilot)
        await until(pilot, lambda: pilot.app.screen.task_list.row.key == "b0002")
        await press(pilot, "ctrl+x", "right", "enter")
        assert (await ended(pilot, "b0002"))["command"] == ["archive", "../slow.tar", "--resume"]
        await press(pilot, "g", "ctrl+x")
        assert "b0002 does not go on" in message(pilot)

    with slow_archive(done.root):
        drive(open_app(done.root, first="archive"), first, size)
        assert Background(done.root).active() == ["b0001"]
        drive(open_app(done.root, first="archive"), second, size)


@both_sizes
def test_nothing_is_replaced_without_a_question(done: Project, size: tuple[int, int]) -> None:
    """Files that are there are named with their size; Cancel leaves them, yes replaces them."""

    async def scenario(pilot: Any) -> None:
        await begin(pilot, "files", what="mean", out="exports/maps/")
        assert (await ended(pilot, "b0001"))["state"] == "done"
        copy = next(path for path in (done.root / "exports" / "maps").iterdir() if path.suffix == ".bin")
        copy.write_bytes(b"mine")
        await begin(pilot, "files", what="mean", out="exports/maps/")
        assert isinstance(pilot.app.screen, Confirm)
        assert "--force" in screen_text(pilot.app)
        await press(pilot, "enter")
        assert len(Background(done.root).all()) == 1
        assert copy.read_bytes() == b"mine"
        await begin(pilot, "files", what="mean", out="exports/maps/")
        await press(pilot, "right", "enter")
        assert (await ended(pilot, "b0002"))["command"][-1] == "--force"
        assert copy.read_bytes() != b"mine"
        await begin(pilot, "prov", out="exports/h.provjson")
        assert (await ended(pilot, "b0003"))["state"] == "done"
        await begin(pilot, "prov", out="exports/h.provjson")
        assert isinstance(pilot.app.screen, Confirm)
        assert "h.provjson (" in screen_text(pilot.app)
        await press(pilot, "escape")
        await begin(pilot, "crate", out="exports", author="Ada")
        assert (await ended(pilot, "b0004"))["state"] == "done"
        await begin(pilot, "crate", out="exports")
        assert "ro-crate-metadata.json" in screen_text(pilot.app)
        await press(pilot, "right", "enter")
        assert (await ended(pilot, "b0005"))["state"] == "done"

    drive(open_app(done.root, first="archive"), scenario, size)


@both_sizes
def test_what_a_command_refuses_is_said(done: Project, size: tuple[int, int]) -> None:
    """An export that this project has nothing for fails in the words of the command; forms need lines."""

    async def scenario(pilot: Any) -> None:
        await begin(pilot, "relion5")
        assert (await ended(pilot, "b0001"))["exit_code"] == 2
        await until(pilot, lambda: "no step has selected or refined particles yet" in message(pilot))
        await begin(pilot, "empiar_template")
        assert (await ended(pilot, "b0002"))["state"] == "done"
        assert (done.root / "empiar.toml").is_file()
        await begin(pilot, "empiar")
        assert (await ended(pilot, "b0003"))["exit_code"] == 2
        await begin(pilot, "restore", archive="../nowhere.tar")
        assert "directory is needed" in screen_text(pilot.app)
        form = pilot.app.screen
        fill(form, directory="../new")
        await until(pilot, lambda: form.query_one("#line-archive").is_seen)
        await press(pilot, "ctrl+s")
        assert "archive: there is no such file" in screen_text(pilot.app)
        await press(pilot, "escape")
        assert len(Background(done.root).all()) == 3

    drive(open_app(done.root, first="archive"), scenario, size)


@both_sizes
def test_methods_are_shown_and_references_written(done: Project, size: tuple[int, int]) -> None:
    """The text is shown at once; references go to a file, which is asked about before it is replaced."""

    async def scenario(pilot: Any) -> None:
        await begin(pilot, "methods", of="mean", bibtex="refs.bib")
        assert isinstance(pilot.app.screen, Reading)
        assert pilot.app.screen.query_one(TextPane).text.strip()
        await press(pilot, "escape")
        assert pilot.app.commands[-1][1] == ["staproj", "methods", "mean", "--bibtex", "refs.bib"]
        (done.root / "refs.bib").write_text("mine")
        await begin(pilot, "methods", bibtex="refs.bib")
        assert isinstance(pilot.app.screen, Confirm)
        await press(pilot, "enter")
        assert (done.root / "refs.bib").read_text() == "mine"
        await begin(pilot, "methods", of="no-such-step")
        assert pilot.app.screen.query_one(MessageLine).level == "error"

    drive(open_app(done.root, first="archive"), scenario, size)


@both_sizes
def test_a_read_only_project_says_how_to_do_it_in_a_shell(done: Project, size: tuple[int, int]) -> None:
    """Nothing is written into it, so nothing goes on in the background; methods are still shown."""
    manifest = done.root / "staproj.toml"
    manifest.write_text(manifest.read_text().replace("schema = 2", "schema = 99"))

    async def scenario(pilot: Any) -> None:
        await begin(pilot, "verify")
        assert "in a shell: staproj verify" in message(pilot)
        assert not done.layout.background.exists()
        await press(pilot, "tab", "ctrl+x")
        assert "nothing goes on in the background" in message(pilot)

    drive(open_app(done.root, first="archive"), scenario, size)


def test_keys_in_a_form(done: Project) -> None:
    """Enter and arrows go from line to line and into the switches, tab completes names and paths."""

    async def scenario(pilot: Any) -> None:
        form = await choose(pilot, "files")
        fill(form, what="", out="exports/")
        await press(pilot, "o", "t", "tab")
        assert form.lines[0].value == "other"
        await press(pilot, "enter", "down")
        assert form.focused is form.lines[2].line
        await press(pilot, "down")
        assert isinstance(form.focused, LineList)
        await press(pilot, "up")
        assert form.focused is form.lines[2].line
        await press(pilot, "down", "space", "j", "enter")
        assert form.switched == {"force": True, "anonymous": True}
        assert form.words()[-2:] == ["--force", "--anonymous"]
        await press(pilot, "tab")
        assert form.focused is form.lines[0].line
        await press(pilot, "escape")

    drive(open_app(done.root, first="archive"), scenario, SMALL)


def test_a_task_can_be_gone_to(done: Project) -> None:
    """Another screen opens this one at a command; the screen is idle when nothing goes on."""
    found = Background(done.root)
    for _ in range(2):
        found.wait(found.start(["verify"]), timeout_s=60)

    async def scenario(pilot: Any) -> None:
        pilot.app.show("archive", task="b0001")
        await until(pilot, lambda: isinstance(pilot.app.screen, ArchiveScreen) and pilot.app.screen.tasks)
        screen = pilot.app.screen
        assert screen.focused is screen.task_list
        assert screen.task_list.row.key == "b0001"
        assert "$ staproj verify" in screen.query_one("#about", TextPane).text
        looked: list[str] = []
        screen.fetch = lambda *given, **how: looked.append(how["name"])
        await pilot.pause(2.2)
        assert looked == []

    drive(open_app(done.root), scenario, LARGE)
    assert os.environ.get("STAPROJ_PROGRESS") is None
