"""Tilt series in the interface, and the views of one: what is left out, written, and stale by it."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from staproj.api import Project, pictures
from staproj.stages import registry
from staproj.tui import series_rows
from staproj.tui.look import Look
from staproj.tui.series_rows import Choice
from tests.integration import series_stages as toy
from tests.tui_screen import LARGE, SIZES, SMALL, drive, open_app, press, screen_text, settle, until

Run = Callable[..., None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of two tilt series in which everything was run once."""
    folder = tmp_path_factory.mktemp("series")
    (folder / "series.toml").write_text(toy.TEMPLATE)
    fsync, os.fsync = os.fsync, lambda fd: None  # no power is cut here
    try:
        with registry.temporarily(*toy.ALL):
            project = Project.create(folder / "p", str(folder / "series.toml"))
            project.run()
    finally:
        os.fsync = fsync
    return folder / "p"


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a copy of that project, its stages known."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    with registry.temporarily(*toy.ALL):
        yield Path(shutil.copytree(made, tmp_path / "p"))


def watch(root: Path, scenario: Callable[[Any, Any], Any], size: tuple[int, int], **options: Any) -> None:
    """Run a scenario on the screen of tilt series."""

    async def on_screen(pilot: Any) -> None:
        pilot.app.show("series", **options)
        await settle(pilot)
        await scenario(pilot, pilot.app.screen)

    drive(open_app(root), on_screen, size)


def excluded(root: Path) -> Any:
    """Return what the manifest on disk leaves out of TS_01."""
    steps = tomllib.loads((root / "staproj.toml").read_text())["step"]
    return steps["tidy"].get("item", {}).get("TS_01", {}).get("exclude_views")


@pytest.mark.parametrize("size", SIZES)
def test_one_line_a_tilt_series(root: Path, size: tuple[int, int]) -> None:
    """Each tilt series has a line with its numbers; a wide screen has more of them."""

    async def scenario(pilot: Any, screen: Any) -> None:
        text = screen_text(pilot.app)
        head, one, two = (text.splitlines()[n].split() for n in (1, 2, 3))
        assert head[:3] == ["series", "views", "tilt" if size == LARGE else "e/Å²"]
        assert ("leave-out" in head) == (size == LARGE)
        assert one[0:2] == ["›TS_01", "3/4"]  # one of four views is dark
        assert two[0:2] == ["TS_02", "3"]
        assert "0.25" in one
        assert "0.75" in two
        assert "2 tilt series, 1 with flags" in text
        assert list(screen.command()) == ["series"]
        assert "12 beads" in text  # of the first, below or beside
        await press(pilot, "j")
        assert "3 beads" in screen_text(pilot.app)
        await press(pilot, "tab", "G")  # to the pane below, and its end
        assert "TS_02: hand undecided" in screen_text(pilot.app)

    watch(root, scenario, size)


@pytest.mark.parametrize("size", SIZES)
def test_any_column_orders_the_rows(root: Path, size: tuple[int, int]) -> None:
    """Left and right choose a column; s orders by it, S turns the order; / shows rows that hold a text."""

    async def scenario(pilot: Any, screen: Any) -> None:
        shown = screen.series_list
        while shown.column.name != "particles":
            await press(pilot, "right")
        await press(pilot, "s")
        assert [row.key for row in shown.rows] == ["TS_02", "TS_01"]  # 0 and 40 particles
        await press(pilot, "S")
        assert [row.key for row in shown.rows] == ["TS_01", "TS_02"]
        await press(pilot, "s")
        assert shown.column.name == "flags"
        await press(pilot, "slash", *"hand", "enter")
        assert [row.key for row in shown.rows] == ["TS_02"]
        await press(pilot, "escape")
        assert len(shown.rows) == 2

    watch(root, scenario, size)


@pytest.mark.parametrize("size", SIZES)
def test_enter_shows_the_views_and_escape_goes_back(root: Path, size: tuple[int, int]) -> None:
    """The views have a sign each; a dark one says so; back on the table the cursor is where it was."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "j", "enter")
        assert list(screen.command()) == ["series", "TS_02"]
        assert [row.cells[0][0].split()[0] for row in screen.view_list.rows] == ["[x]"] * 3
        await press(pilot, "escape")
        assert screen.series_list.row.key == "TS_02"
        await press(pilot, "k", "enter")
        words = [row.cells[0][0].split(maxsplit=1)[-1].strip() for row in screen.view_list.rows]
        assert [word.split("]")[-1].strip() for word in words] == ["keep", "keep", "dark", "keep"]
        assert "-40.0" in screen_text(pilot.app)
        assert "left out by tidy.exclude_views: none" in screen_text(pilot.app)
        await press(pilot, "enter")
        assert "space leaves this view out" in screen_text(pilot.app)

    watch(root, scenario, size)


@pytest.mark.parametrize("size", SIZES)
def test_views_are_chosen_and_taken_back_before_anything_is_written(
    root: Path, size: tuple[int, int]
) -> None:
    """Space, x, a and z change what is wanted, and the lines say what becomes stale; the file stays."""
    before = (root / "staproj.toml").read_text()

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "enter", "space")
        assert sorted(screen.choice.wanted) == [0]
        assert screen.view_list.cursor == 1
        text = " ".join(screen_text(pilot.app).split())
        assert "leave out 0: ctrl+s writes it" in text
        assert "1 left out (not written)" in text
        assert screen.stale == ["beads", "rings", "rings_again", "slab", "sow", "reap"]
        await press(pilot, "x", *"-1", "enter")
        assert "0 to 90" in screen_text(pilot.app)
        await press(pilot, "backspace", "backspace", *"15", "enter")
        assert sorted(screen.choice.wanted) == [0, 1, 3]
        await press(pilot, "z")
        assert sorted(screen.choice.wanted) == [0]
        await press(pilot, "a")
        assert sorted(screen.choice.wanted) == []
        await press(pilot, "z", "z")
        assert not screen.choice.is_changed
        await press(pilot, "z")
        assert "nothing was changed here" in screen_text(pilot.app)
        assert (root / "staproj.toml").read_text() == before

    watch(root, scenario, size)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_chosen_is_written_for_this_tilt_series_alone(root: Path, size: tuple[int, int]) -> None:
    """Ctrl+s writes the list for one tilt series, names the command, and the step becomes stale."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "enter", "space", "space", "ctrl+s")
        await until(pilot, lambda: excluded(root) is not None)
        await settle(pilot)
        assert excluded(root) == [0, 1]
        assert pilot.app.commands[-1][1] == [
            "staproj", "set", "tidy.exclude_views=[0, 1]", "--item", "TS_01",
        ]  # fmt: skip
        assert "stale now: tidy" in screen_text(pilot.app)
        assert not screen.choice.is_changed
        await press(pilot, "ctrl+s")
        assert "nothing was changed here" in screen_text(pilot.app)
        await press(pilot, "a")
        assert "nothing becomes stale by it" in " ".join(screen_text(pilot.app).split())
        await press(pilot, "z", "escape")
        assert screen.choice is None
        assert "not run" in screen_text(pilot.app)  # the flag of what was set but not run

    watch(root, scenario, size)
    states = {s["step"]: s["state"] for s in Project(root).status()["steps"]}
    assert (states["tidy"], states["read"]) == ("stale", "fresh")


@pytest.mark.parametrize("key", ["escape", "q"])
def test_leaving_asks_before_changes_are_lost(root: Path, key: str) -> None:
    """With changes that are not written, leaving asks: to stay is the default, writing writes them."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "enter", "space", key)
        assert "not written" in screen_text(pilot.app)
        await press(pilot, "enter")
        assert sorted(screen.choice.wanted) == [0]
        await press(pilot, key, "escape")
        assert sorted(screen.choice.wanted) == [0]
        await press(pilot, key, "j", "enter")
        await until(pilot, lambda: excluded(root) == [0])

    watch(root, scenario, SMALL)
    assert excluded(root) == [0]


def test_changes_can_be_forgotten(root: Path) -> None:
    """Of what is forgotten on leaving, nothing is written."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "enter", "space", "escape", "j", "j", "enter")
        assert screen.choice is None
        assert pilot.app.screen is screen
        await press(pilot, "escape")
        assert pilot.app.screen is not screen

    watch(root, scenario, SMALL)
    assert excluded(root) is None


def test_others_may_change_the_same_list(root: Path) -> None:
    """What another program writes meanwhile is told, and what is wanted here stays as it was."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "enter", "space")
        Project(root).settings.set({"tidy.exclude_views": [3]}, ["TS_01"])
        pilot.app.look_on()
        await until(pilot, lambda: screen.choice.saved == {3})
        assert sorted(screen.choice.wanted) == [0]
        assert "changed meanwhile" in screen_text(pilot.app)

    watch(root, scenario, SMALL)


def test_a_read_only_project_takes_no_choice(root: Path) -> None:
    """Where nothing may be written, views cannot be changed, and the reason is said."""

    async def scenario(pilot: Any, screen: Any) -> None:
        pilot.app.read_only = True
        await press(pilot, "enter", "space", "ctrl+s")
        assert not screen.choice.is_changed
        assert "read-only" in screen_text(pilot.app)

    watch(root, scenario, SMALL)
    assert excluded(root) is None


@pytest.mark.parametrize("size", SIZES)
def test_the_run_of_a_column_is_one_key_away(root: Path, size: tuple[int, int]) -> None:
    """The run that made the numbers under view opens: the last step of the stage that makes them."""
    runs = {s["step"]: s["run"] for s in Project(root).status()["steps"]}
    wanted = {"fit px": "beads", "defocus µm": "rings_again", "thick Å": "slab", "particles": "reap"}

    async def scenario(pilot: Any, screen: Any) -> None:
        for name, step in wanted.items():
            while screen.series_list.column.name != name:
                await press(pilot, "right")
            await press(pilot, "o")
            assert pilot.app.screen.run == runs[step], name
            await press(pilot, "escape")
        await press(pilot, "enter")
        while screen.view_list.column.name != "rings Å":
            await press(pilot, "right")
        await press(pilot, "o")
        assert pilot.app.screen.run == runs["rings_again"]

    watch(root, scenario, size)


def test_a_flag_leads_to_the_run_it_is_about(root: Path) -> None:
    """On the column of flags, the run of the first remark opens; without a remark nothing does."""
    row = Project(root).series.overview()[1]
    shown = series_rows.series_rows([row], series_rows.SERIES)[0]
    steps = Project(root).status()["steps"]
    assert series_rows.run_of(series_rows.SERIES[-1], shown, steps) == row["notes"][0]["run"]
    without = series_rows.series_rows([{**row, "notes": [], "flags": []}], series_rows.SERIES)[0]
    assert series_rows.run_of(series_rows.SERIES[-1], without, steps) is None


def test_keys_that_need_views_say_so(root: Path) -> None:
    """Above the table, keys for views do nothing but are dim; r says where it would work."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "x", "a", "z", "ctrl+s")
        assert pilot.app.screen is screen
        await press(pilot, "r")
        assert "enter shows the views" in screen_text(pilot.app)

    watch(root, scenario, SMALL)


def test_the_screen_may_begin_with_the_views_of_one(root: Path) -> None:
    """Asked for one tilt series, its views come first; one that is not there is an error in words."""

    async def scenario(pilot: Any, screen: Any) -> None:
        assert screen.choice.item == "TS_02"
        screen.open_views("TS_07")
        await settle(pilot)
        assert "there is no tilt series 'TS_07'" in screen_text(pilot.app)
        found = screen.copies()
        assert found["tilt series"] == "TS_02"

    watch(root, scenario, SMALL, item="TS_02")


@pytest.mark.parametrize("size", SIZES)
def test_the_view_under_the_cursor_is_shown(
    root: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is room, or after v, the view is read from the cleaned stack by its number."""
    asked: list[Any] = []

    def listing(_root: Path, run: str) -> list[dict[str, Any]]:
        entry = {"kind": "stack", "item": "TS_01", "there": True, "shape": [4, 4, 3]}
        return [entry | {"name": name} for name in ("even.mrc", "views.mrc")]

    def picture(_root: Path, run: str, name: str, **options: Any) -> dict[str, Any]:
        asked.append((run, name, options["item"], options["section"]))
        pixels = np.full((8, 8), 200, dtype=np.uint8)
        return {
            "pixels": pixels, "run": run, "section": options["section"], "reduced": 2,
            "pixel_size_angstrom": 2.0,
        }  # fmt: skip

    monkeypatch.setattr(pictures, "listing", listing)
    monkeypatch.setattr(pictures, "picture", picture)
    runs = {s["step"]: s["run"] for s in Project(root).status()["steps"]}

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "enter")
        if size == SMALL:
            assert asked == []
            await press(pilot, "v")
        await press(pilot, "j")
        assert asked[-1] == (runs["tidy"], "views.mrc", "TS_01", 1)
        assert f"TS_01 view 1 of {runs['tidy']}, 4 Å/px" in screen_text(pilot.app)
        await press(pilot, "v")
        assert ("TS_01 view 1" in screen_text(pilot.app)) == (size == LARGE)

    watch(root, scenario, size)


def test_without_stacks_the_picture_says_so(root: Path) -> None:
    """Where no stack of views is on disk, words stand in the place of the picture."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "enter")
        assert "TS_01: no stack of views is on disk" in screen_text(pilot.app)

    watch(root, scenario, LARGE)


def views(tilts: list[float], now: list[int], made: list[int] | None) -> dict[str, Any]:
    """Return views as the API gives them, with only what a choice needs."""
    names = [name for one in series_rows.VIEWS if (name := one.value) not in ("view", "stage_tilt_deg")]
    rows = [
        dict.fromkeys(names) | {"view": n, "stage_tilt_deg": tilt, "excluded": n in (made or [])}
        for n, tilt in enumerate(tilts)
    ]
    control = {"step": "clean", "number": 3, "param": "exclude_views"}
    told = {"item": "A", "views": rows, "control": control, "notes": []}
    return told | {"excluded_now": now, "excluded_made": made}


def test_a_choice_is_told_apart_from_what_is_made() -> None:
    """What was left out in the manifest but not in the run can be taken back: then nothing is stale by it."""
    choice = Choice(views([-9.0, 0.0, 9.0], [1], []))
    assert not choice.is_changed
    choice.toggle(1)
    lines = [line if isinstance(line, str) else line[0] for line in series_rows.choice_lines(choice, ["ctf"])]
    assert lines[0].startswith("keep 1:")
    assert lines[1] == "clean was made like this: nothing becomes stale by it"
    assert choice.command() == ["set", "clean.exclude_views=[]", "--item", "A"]
    rows = series_rows.view_rows(choice, series_rows.VIEWS, Look(unicode=False))
    assert [row.cells[0][0].strip() for row in rows] == ["[x] keep", "#[x] keep", "[x] keep"]


def test_without_a_step_that_leaves_views_out_nothing_can_be_chosen() -> None:
    """A pipeline without such a step says so."""
    data = views([0.0], [], None) | {"control": None}
    assert "no step of this pipeline" in series_rows.choice_lines(Choice(data), None)[0][0]
