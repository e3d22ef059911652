"""What a project reads, on its screen: patterns are counted, files inspected, then written or run."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.tui import import_rows
from staproj.tui.look import Look
from tests.tui_screen import SIZES, SMALL, drive, open_app, press, screen_text, settle, until
from tests.unit.import_sets import write_mdoc, write_movies

Make = Callable[..., Project]


def watch(root: Path, scenario: Callable[[Any, Any], Any], size: tuple[int, int] = SMALL) -> None:
    """Run a scenario on the screen, shown from the pipeline."""

    async def on_screen(pilot: Any) -> None:
        await press(pilot, "I")
        await scenario(pilot, pilot.app.screen)

    drive(open_app(root), on_screen, size)


def flat(app: Any) -> str:
    """Return what is on the screen with single spaces."""
    return " ".join(screen_text(app).split())


def movies(root: Path) -> Any:
    """Return what the manifest on disk says the toy import reads."""
    return tomllib.loads((root / "staproj.toml").read_text())["step"]["import"]["params"].get("movies")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project of the template ``demo`` with the data of two tilt series in it."""
    monkeypatch.delenv("STAPROJ_SITE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    root = tmp_path / "p"
    (root / "raw").mkdir(parents=True)
    for series in ("TS_01", "TS_02"):
        write_movies(root / "raw", series)
        write_mdoc(root / "raw", series)
    monkeypatch.chdir(root)
    return Project.create(root, "demo", movies="raw/*.mrc", mdoc="raw/*.mdoc")


@pytest.mark.parametrize("size", SIZES)
def test_data_are_counted_and_inspected(session: Project, size: tuple[int, int]) -> None:
    """Each parameter that names data has a line with its files; below stands what they hold."""

    async def scenario(pilot: Any, screen: Any) -> None:
        text = flat(pilot.app)
        assert "import_movies.movies 10 files" in text
        assert "import_movies.mdoc 2 files" in text
        assert "import_movies.gain - " in text
        assert "it can be imported" in text
        assert "pixel size 1.35 Å" in text
        assert list(screen.command()) == ["inspect"]

    watch(session.root, scenario, size)


@pytest.mark.parametrize("size", SIZES)
def test_other_patterns_are_inspected_before_they_are_written(
    session: Project, size: tuple[int, int]
) -> None:
    """Enter asks, with completion and count; what the import would stumble over is told at once."""
    before = (session.root / "staproj.toml").read_text()

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "enter", "ctrl+u", *"ra", "tab", *"TS_01*.mrc")
        assert "5 files" in screen_text(pilot.app)
        await press(pilot, "tab", "enter")  # tab has nothing to add, and stays
        assert "(not written)" in screen_text(pilot.app)
        assert "1 thing stops the import" in flat(pilot.app)
        assert "TS_02: 5 of 5 movies are not among the files" in flat(pilot.app)
        await press(pilot, "z")
        assert "it can be imported" in flat(pilot.app)
        await press(pilot, "z")
        assert "nothing was changed here" in flat(pilot.app)
        await press(pilot, "enter", "x", "enter")
        assert screen.data.row.cells[2][0] == "no file"
        await press(pilot, "x")
        assert screen.wanted == {}
        await press(pilot, "x")
        assert "nothing was changed here" in flat(pilot.app)

    watch(session.root, scenario, size)
    assert (session.root / "staproj.toml").read_text() == before


@pytest.mark.parametrize("size", SIZES)
def test_patterns_are_written_without_a_run(make_project: Make, size: tuple[int, int]) -> None:
    """Ctrl+s writes staproj.toml and names the command; the step is to be run, and was not."""
    project = make_project()

    async def scenario(pilot: Any, screen: Any) -> None:
        assert "no files are named whose contents are known" in flat(pilot.app)  # not of toys
        await press(pilot, "ctrl+s")
        assert "nothing was changed here" in flat(pilot.app)
        await press(pilot, "enter", "ctrl+u", *"raw/TS_01.txt; raw/TS_02.txt", "enter", "ctrl+s")
        await until(pilot, lambda: isinstance(movies(project.root), list))
        await settle(pilot)
        assert pilot.app.commands[-1][1] == [
            "staproj", "set", 'import.movies=["raw/TS_01.txt", "raw/TS_02.txt"]',
        ]  # fmt: skip
        assert screen.wanted == {}
        assert "2 files" in screen_text(pilot.app)

    watch(project.root, scenario, size)
    assert movies(project.root) == ["raw/TS_01.txt", "raw/TS_02.txt"]
    assert not list((project.root / "runs").iterdir())


@pytest.mark.parametrize("size", SIZES)
def test_the_step_runs_as_a_job_with_other_patterns(make_project: Make, size: tuple[int, int]) -> None:
    """R begins a run of the step with the patterns as they stand on the screen."""
    project = make_project()

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "enter", "ctrl+u", *"raw/TS_0[12].txt", "enter", "R")
        await until(pilot, lambda: [j["state"] for j in project.jobs.all()] == ["done"])
        await settle(pilot)
        assert screen.wanted == {}
        words = pilot.app.commands[-1][1]
        assert words[:3] == ["staproj", "rerun", "import"]
        assert "movies=raw/TS_0[12].txt" in words

    watch(project.root, scenario, size)
    assert movies(project.root) == "raw/TS_0[12].txt"
    assert project.ls("import")[0]["verdict"] == "2 series"


@pytest.mark.parametrize("key", ["escape", "q"])
def test_leaving_asks_before_changes_are_lost(make_project: Make, key: str) -> None:
    """With other patterns that are not written, leaving asks; to stay is the default."""
    project = make_project()

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "enter", "ctrl+u", *"raw/TS_01.txt", "enter", key, "enter")
        assert pilot.app.screen is screen
        assert screen.wanted
        await press(pilot, key, "j", "j", "enter")
        assert not screen.wanted
        assert pilot.app.screen is not screen or pilot.app.return_code is not None

    watch(project.root, scenario)
    assert movies(project.root) == "raw/*.txt"


def test_leaving_may_write(make_project: Make) -> None:
    """The question on leaving offers to write: then it is written, and the screen is left."""
    project = make_project()

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "enter", "ctrl+u", *"raw/TS_01.txt", "enter", "escape", "j", "enter")
        await until(pilot, lambda: pilot.app.screen is not screen)
        await settle(pilot)

    watch(project.root, scenario)
    assert movies(project.root) == "raw/TS_01.txt"


def test_what_others_write_counts(make_project: Make) -> None:
    """The screen follows the manifest; a change here that has become the same is none any more."""
    project = make_project()

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "enter", "ctrl+u", *"raw/TS_01.txt", "enter")
        assert screen.wanted
        Project(project.root).settings.set({"import.movies": "raw/TS_01.txt"})
        pilot.app.look_on()
        await until(pilot, lambda: not screen.wanted)

    watch(project.root, scenario)


def test_a_read_only_project_is_not_changed(make_project: Make) -> None:
    """Where nothing may be written, no line opens, and the reason is said."""
    project = make_project()

    async def scenario(pilot: Any, screen: Any) -> None:
        pilot.app.read_only = True
        for key in ("enter", "ctrl+s", "R", "r"):
            await press(pilot, key)
            assert "read-only" in screen_text(pilot.app), key
            assert pilot.app.screen is screen

    watch(project.root, scenario)


def test_r_shows_all_values_of_the_step(make_project: Make) -> None:
    """The form of the step opens on the parameter under the cursor."""
    project = make_project()

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "r")
        assert type(pilot.app.screen).__name__ == "RerunScreen"
        assert "movies" in screen_text(pilot.app)

    watch(project.root, scenario)


def test_an_empty_line_takes_the_parameter_out() -> None:
    """What is empty is reset, not set to nothing; the home directory is written in full."""
    sets, resets = import_rows.sets_of({"i.movies": "~/a; b", "i.gain": " "})
    assert sets == {"i.movies": [str(Path.home() / "a"), "b"]}
    assert resets == ["i.gain"]
    assert import_rows.set_command({"i.gain": "a b"}, ["i.mdoc"]) == [
        "set",
        "i.gain=a b",
        "--reset",
        "i.mdoc",
    ]


def test_rows_tell_what_matches_nothing_and_what_was_changed() -> None:
    """Both have a sign besides their colour."""
    param = {"name": "movies", "help": "h", "given": ["a*"], "count": 0, "bytes": 0, "more": False}
    importers = [{"step": "i", "params": [param, {**param, "name": "mdoc", "count": 2, "bytes": 9}]}]
    wanted = {"i.mdoc": {"text": "b*", "count": 1, "bytes": 5, "more": False}}
    first, second = import_rows.rows(importers, wanted, Look(unicode=False))
    assert [first.cells[0][0], first.cells[2][0]] == ["x", "no file"]
    assert [second.cells[0][0], second.cells[2][0], second.cells[3]] == ["#", "1 file, 5 B", "b*"]
