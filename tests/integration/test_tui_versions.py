"""Versions on a screen: what changed, names, going back; and the list of commands that were given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.cli.main import main
from staproj.report.history import preview_lines
from staproj.tui.dialogs import Choose, Confirm, Copying, QuietInput, Reading
from staproj.tui.look import Look
from staproj.tui.screens.commands import CommandsScreen
from staproj.tui.screens.versions import VersionsScreen
from staproj.tui.widgets.bars import MessageLine
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.text_pane import TextPane
from tests.integration import toy_stages as toy
from tests.integration.conftest import states
from tests.tui_screen import SIZES, SMALL, drive, open_app, press, screen_text, settle

both_sizes = pytest.mark.parametrize("size", SIZES, ids=["80x24", "200x60"])


@pytest.fixture
def project(done: Project) -> Project:
    """Return a project that was made (v1), run (v2), and run with offset_px = 3 instead of 2 (v3)."""
    assert [one["version"] for one in done.history.versions()] == [3, 2, 1]
    return done


def shown(pilot: Any) -> LineList:
    return pilot.app.screen.query_one("#versions", LineList)


def cells(pilot: Any, key: str) -> list[str]:
    row = next(row for row in shown(pilot).rows if row.key == key)
    return [c if isinstance(c, str) else c[0] for c in row.cells]


def detail(pilot: Any) -> str:
    return pilot.app.screen.query_one("#detail", TextPane).text


def box(pilot: Any) -> str:
    assert isinstance(pilot.app.screen, Reading)
    return pilot.app.screen.query_one(TextPane).text


def message(pilot: Any) -> str:
    return pilot.app.screen.query_one(MessageLine).message


async def versions(pilot: Any, key: str = "now") -> None:
    pilot.app.show("versions")
    await settle(pilot)
    shown(pilot).go_to(key)
    await settle(pilot)


def files(project: Project) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in (project.root / "runs").rglob("*") if p.is_file()}


# ----------------------------------------------------------------------------------------------- the API
@pytest.mark.parametrize("version", ["2", "1"])
def test_a_preview_says_what_going_back_does(project: Project, version: str) -> None:
    """The steps to run, the heads and the manifest of the preview are those that there are afterwards."""
    before, runs = project.layout.manifest.read_text(), files(project)
    told = project.history.preview(version)
    assert project.layout.manifest.read_text() == before
    assert files(project) == runs
    project.history.checkout(version)
    after = project.status()["steps"]
    assert told["to_run"] == [step["step"] for step in after if step["to_do"]]
    heads = {step["step"]: step["run"] for step in after}
    assert told["heads"]
    assert all(heads[head["step"]] == head["new"] for head in told["heads"])
    assert ("+offset_px = 2.0   # two" in told["manifest"]) is (before != project.layout.manifest.read_text())
    assert files(project) == runs


def test_a_preview_names_what_becomes_stale_and_what_is_gone(project: Project) -> None:
    """A run of then that was deleted is said to be gone, and its step to be to run."""
    import shutil

    shutil.rmtree(project.root / "runs" / "r0002-shift")
    told = project.history.preview("2")
    gone = next(head for head in told["heads"] if head["step"] == "shift")
    assert (gone["old"], gone["new"], gone["state"]) == ("r0007", None, "gone")
    assert "shift" in told["to_run"]
    text = "\n".join(preview_lines(told))
    assert "gone, so none stands" in text
    assert "to run then, not now: shift" in text
    assert "No run is changed or deleted." in text
    assert "and 3 steps more" in "\n".join(preview_lines(told, most=1))


def test_where_nothing_would_change_that_is_said(project: Project) -> None:
    """The newest version is what stands."""
    told = project.history.preview("3")
    assert not told["changed"]
    assert preview_lines(told) == ["nothing would change: everything is as in version 3 already"]


def test_the_command_has_a_dry_run(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`version checkout --dry-run` prints the preview, as text and as JSON, and goes back to nothing."""
    monkeypatch.chdir(project.root)
    for words in (["v2"], ["v2", "--json"]):
        with pytest.raises(SystemExit) as left:
            main(["version", "checkout", *words, "--dry-run"])
        assert left.value.code == 0
        said = capsys.readouterr().out
        if "--json" in words:
            assert json.loads(said)["heads"][0] == {
                "step": "shift", "old": "r0007", "new": "r0002", "state": "there"
            }  # fmt: skip
        else:
            assert "nothing would be to run then" in said
    assert len(project.history.versions()) == 3


# -------------------------------------------------------------------------------------------- the screen
@both_sizes
def test_versions_are_listed_with_what_each_changed(project: Project, size: tuple[int, int]) -> None:
    """Newest first below what stands now: when, by whom, why; details show lines and heads that changed."""

    async def scenario(pilot: Any) -> None:
        await versions(pilot)
        assert [row.key for row in shown(pilot).rows] == ["now", "v3", "v2", "v1"]
        assert cells(pilot, "now")[-1] == "as v3"
        assert cells(pilot, "v2")[-1] == "run"
        assert cells(pilot, "v2")[3] == "6"
        assert "$ staproj version list" in screen_text(pilot.app)
        await press(pilot, "j")
        assert "-offset_px = 2.0   # two" in detail(pilot)
        assert "+offset_px = 3.0   # two" in detail(pilot)
        assert "since v2: 2 lines of staproj.toml, 4 heads" in detail(pilot)
        assert "shift  r0002  r0007" in detail(pilot)
        await press(pilot, "G")
        assert "the first version" in detail(pilot)

    drive(open_app(project.root), scenario, size)


@both_sizes
def test_what_is_not_kept_yet_is_seen(project: Project, size: tuple[int, int]) -> None:
    """An edit of the manifest and a new head show up as differences of now from the newest version."""
    text = project.layout.manifest.read_text()
    project.layout.manifest.write_text(text + "# a thought\n")

    async def scenario(pilot: Any) -> None:
        await versions(pilot)
        assert "not the same as v3 any more: 1 line of staproj.toml" in cells(pilot, "now")[-1]
        assert "+# a thought" in detail(pilot)
        await press(pilot, "enter")
        assert "+# a thought" in box(pilot)
        assert "$ staproj version diff 3" in box(pilot)

    drive(open_app(project.root), scenario, size)


@both_sizes
def test_a_version_is_shown_in_full(project: Project, size: tuple[int, int]) -> None:
    """Enter shows its heads, what became of their files, and its manifest."""

    async def scenario(pilot: Any) -> None:
        await versions(pilot, "v2")
        await press(pilot, "enter")
        assert "shift   r0002  there" in box(pilot)
        assert "offset_px = 2.0   # two" in box(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, VersionsScreen)

    drive(open_app(project.root), scenario, size)


@both_sizes
def test_two_marked_versions_are_compared(project: Project, size: tuple[int, int]) -> None:
    """What differs between marks is shown, older first; between mark and cursor; between cursor and now."""

    async def scenario(pilot: Any) -> None:
        await versions(pilot, "v3")
        await press(pilot, "space", "space", "d")  # marks v3 and v2
        assert "$ staproj version diff 2 3" in box(pilot)
        assert "+offset_px = 3.0   # two" in box(pilot)
        await press(pilot, "escape", "escape", "d")
        assert "$ staproj version diff 1" in box(pilot)
        await press(pilot, "escape", "space", "k", "d")  # marked v1, cursor on v2
        assert "$ staproj version diff 1 2" in box(pilot)
        await press(pilot, "escape", "escape")
        shown(pilot).go_to("now")
        await press(pilot, "d")
        assert "put the cursor on a version" in message(pilot)

    drive(open_app(project.root), scenario, size)


@both_sizes
def test_names_are_given_moved_and_taken_away(project: Project, size: tuple[int, int]) -> None:
    """A name is asked for and shown; giving it to another version, or taking it away, asks first."""

    async def scenario(pilot: Any) -> None:
        await versions(pilot, "v2")
        await press(pilot, "t", *"good", "enter")
        assert cells(pilot, "v2")[-1] == "[good] run"
        assert pilot.app.commands[-1][1] == ["staproj", "version", "tag", "good", "2"]
        assert "1 with a name" in pilot.app.screen.place
        shown(pilot).go_to("v3")
        await press(pilot, "t", *"good", "enter")
        assert isinstance(pilot.app.screen, Confirm)
        assert "version 2" in pilot.app.screen.title_text
        await press(pilot, "enter")  # Cancel
        assert project.history.show("good")["version"] == 2
        await press(pilot, "t", *"good", "enter", "right", "enter")
        assert project.history.show("good")["version"] == 3
        assert pilot.app.commands[-1][1][-1] == "--move"
        await press(pilot, "t", *"two", "enter", "ctrl+t")
        assert isinstance(pilot.app.screen, Choose)
        await press(pilot, "j", "enter")
        assert isinstance(pilot.app.screen, Confirm)
        assert "no longer safe from clean-up" in "\n".join(pilot.app.screen.lines)
        await press(pilot, "right", "enter")
        assert project.history.versions()[0]["tags"] == ["good"]
        await press(pilot, "ctrl+t", "right", "enter")
        assert project.history.versions()[0]["tags"] == []
        assert pilot.app.commands[-1][1] == ["staproj", "version", "untag", "good"]
        await press(pilot, "ctrl+t")
        assert "has no name" in message(pilot)

    drive(open_app(project.root), scenario, size)


@both_sizes
def test_what_stands_now_gets_a_name(project: Project, size: tuple[int, int]) -> None:
    """On the line of now a name keeps what stands as a version; bad names are refused with the reason."""
    project.layout.manifest.write_text(project.layout.manifest.read_text() + "# more\n")

    async def scenario(pilot: Any) -> None:
        await versions(pilot)
        await press(pilot, "t", "7", "enter")
        assert "not a usable name" in message(pilot)
        await press(pilot, "escape", "t")
        pilot.app.screen.query_one(QuietInput).value = "draft"
        await press(pilot, "enter")
        assert pilot.app.commands[-1][1] == ["staproj", "version", "tag", "draft"]
        assert project.history.show("draft")["version"] == 4
        assert cells(pilot, "now")[-1] == "as v4"
        assert shown(pilot).row.key == "now"

    drive(open_app(project.root), scenario, size)


@both_sizes
def test_going_back_shows_first_what_it_changes(project: Project, size: tuple[int, int]) -> None:
    """The question says what would stand and that nothing is lost; Cancel is the default; then it is done."""
    runs = files(project)

    async def scenario(pilot: Any) -> None:
        await versions(pilot, "v2")
        await press(pilot, "ctrl+o")
        assert isinstance(pilot.app.screen, Confirm)
        said = "\n".join(pilot.app.screen.lines)
        assert "No run is changed or deleted." in said
        assert "shift  r0007  r0002" in said
        assert "$ staproj version checkout 2" in screen_text(pilot.app)
        await press(pilot, "enter")
        assert len(project.history.versions()) == 3
        await press(pilot, "ctrl+o", "right", "enter")
        assert [row.key for row in shown(pilot).rows] == ["now", "v4", "v3", "v2", "v1"]
        assert pilot.app.commands[-1][1] == ["staproj", "version", "checkout", "2"]
        assert "as in version 2 again" in message(pilot)
        assert shown(pilot).row.key == "v2"
        await press(pilot, "ctrl+o")
        assert "nothing would change" in message(pilot)
        shown(pilot).go_to("now")
        await press(pilot, "ctrl+o")
        assert "put the cursor on a version" in message(pilot)

    toy.CALLS.clear()
    drive(open_app(project.root), scenario, size)
    assert set(states(project).values()) == {"fresh"}
    assert files(project) == runs
    assert toy.CALLS == []


def test_a_damaged_version_hides_no_other(project: Project) -> None:
    """A version file that cannot be read stands there with the reason; the others are shown as ever."""
    path = project.layout.version(2)
    path.chmod(0o644)
    path.write_text("nonsense")

    async def scenario(pilot: Any) -> None:
        await versions(pilot, "v3")
        assert "cannot be read" in cells(pilot, "v2")[-1]
        assert "since v1:" in detail(pilot)
        await press(pilot, "j")
        assert "cannot be read" in detail(pilot)
        await press(pilot, "enter")
        assert "cannot be read" in message(pilot)

    drive(open_app(project.root), scenario, SMALL)


def test_versions_that_come_meanwhile_keep_the_cursor(project: Project) -> None:
    """A version that somebody else makes appears above; the cursor stays on its version."""

    async def scenario(pilot: Any) -> None:
        await versions(pilot, "v2")
        project.history.checkout("1")
        pilot.app.screen.reload()
        await settle(pilot)
        assert [row.key for row in shown(pilot).rows][:2] == ["now", "v4"]
        assert shown(pilot).row.key == "v2"

    drive(open_app(project.root), scenario, SMALL)


def test_a_read_only_project_is_not_written(project: Project) -> None:
    """Names and going back say why they do nothing."""

    async def scenario(pilot: Any) -> None:
        pilot.app.refuse_read_only = lambda: pilot.app.say("read-only: a test", "warning") or True
        await versions(pilot, "v2")
        for key in ("t", "ctrl+t", "ctrl+o"):
            await press(pilot, key)
            assert isinstance(pilot.app.screen, VersionsScreen)
            assert "read-only" in message(pilot)

    drive(open_app(project.root), scenario, SMALL)


def test_a_plain_terminal_sees_ascii(project: Project) -> None:
    """Without Unicode the screen is ASCII."""

    async def scenario(pilot: Any) -> None:
        await versions(pilot, "v2")
        assert screen_text(pilot.app).isascii()

    drive(open_app(project.root, look=Look(unicode=False)), scenario, SMALL)


# ------------------------------------------------------------------------------------------ the commands
@both_sizes
def test_what_was_done_is_listed_as_commands(project: Project, size: tuple[int, int]) -> None:
    """Newest first, quoted as a shell needs it; enter copies one, y offers all as a script in order."""

    async def scenario(pilot: Any) -> None:
        copied: list[str] = []
        pilot.app.copy_to_clipboard = copied.append
        await press(pilot, "W")
        assert isinstance(pilot.app.screen, CommandsScreen)
        assert "nothing was done yet" in screen_text(pilot.app)
        await press(pilot, "escape")
        await versions(pilot, "v2")
        await press(pilot, "t", *"good", "enter")
        pilot.app.did(["note", "r0002", "two words"], "noted")
        await press(pilot, "W")
        found = pilot.app.screen.query_one("#commands", LineList)
        assert [row.data["text"] for row in found.rows] == [
            "staproj note r0002 'two words'",
            "staproj version tag good 2",
        ]
        assert "noted" in detail(pilot)
        await press(pilot, "j", "enter")
        assert copied == ["staproj version tag good 2"]
        await press(pilot, "y")
        assert isinstance(pilot.app.screen, Copying)
        assert pilot.app.screen.found["all, as a script"] == (
            "staproj version tag good 2\nstaproj note r0002 'two words'"
        )
        await press(pilot, "escape", "escape")
        assert isinstance(pilot.app.screen, VersionsScreen)

    drive(open_app(project.root), scenario, size)


def test_the_commands_do_the_same_in_a_shell(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The commands that are listed, given on the command line to a copy of the project, make it the same."""
    import shutil

    copy = Project(Path(shutil.copytree(project.root, tmp_path / "copy")))
    given: list[list[str]] = []

    async def scenario(pilot: Any) -> None:
        await versions(pilot, "v2")
        await press(pilot, "t", *"good", "enter", "ctrl+o", "right", "enter")
        given.extend(words for _, words, _ in pilot.app.commands)

    drive(open_app(project.root), scenario, SMALL)
    monkeypatch.chdir(copy.root)
    for words in given:
        with pytest.raises(SystemExit) as left:
            main(words[1:])
        assert left.value.code == 0

    def facts(one: Project) -> list[Any]:
        return [(v["version"], v["why"], v["tags"], v["heads"]) for v in one.history.versions()]

    assert len(given) == 2
    assert facts(copy) == facts(project)
    assert copy.layout.manifest.read_text() == project.layout.manifest.read_text()
