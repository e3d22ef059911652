"""The wizard for a new project, from nothing but raw data to a project on disk."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.tui import wizard, wizard_rows
from staproj.tui.look import Look
from staproj.tui.screens.new import NewScreen
from staproj.tui.screens.pipeline import PipelineScreen
from staproj.tui.widgets.path_input import Field
from staproj.tui.widgets.text_pane import TextPane
from staproj.tui.wizard import Draft
from tests.tui_screen import SIZES, SMALL, drive, open_app, press, screen_text, settle, until
from tests.unit.import_sets import write_mdoc, write_movies

DEMO = "demo"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory to start in, with the data of two tilt series; the mdoc of the second says 0."""
    monkeypatch.delenv("STAPROJ_SITE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    home = tmp_path / "home"
    for name in ("frames", "mdoc"):
        (home / "session" / name).mkdir(parents=True)
    for series, dose in (("TS_01", 3.0), ("TS_02", 0.0)):
        write_movies(home / "session" / "frames", series)
        write_mdoc(home / "session" / "mdoc", series, section={"ExposureDose": dose})
    monkeypatch.chdir(home)
    return home


def start(
    home: Path, scenario: Callable[[Any, Any], Any], size: tuple[int, int] = SMALL, **options: Any
) -> None:
    """Run a scenario on the wizard, where there is no project yet."""

    async def on_screen(pilot: Any) -> None:
        if options:
            pilot.app.push_screen(NewScreen(**options))
            await settle(pilot)
        assert isinstance(pilot.app.screen, NewScreen)
        await scenario(pilot, pilot.app.screen)

    drive(open_app(None, start_in=home), on_screen, size)


def field(screen: Any, name: str) -> Field:
    """Return a line to type on."""
    found: Field = screen.query_one(f"#{name}", Field)
    return found


def flat(app: Any) -> str:
    """Return what is on the screen with single spaces."""
    return " ".join(screen_text(app).split())


@pytest.mark.parametrize("size", SIZES)
def test_from_raw_data_to_a_project_with_keys_alone(session: Path, size: tuple[int, int]) -> None:
    """Template, files, microscope, place, check: each by its keys; then the project is there, and open."""

    async def scenario(pilot: Any, screen: Any) -> None:
        assert "movies, mdoc, gain" in screen_text(pilot.app)
        await press(pilot, "tab")
        await press(pilot, *"se", "tab", "enter")  # look in: session/
        assert field(screen, "role-movies").value == "session/frames/*.mrc"
        assert "10 files" in screen_text(pilot.app)
        assert "2 files" in screen_text(pilot.app)
        await press(pilot, "ctrl+n")
        assert screen.tab == "microscope"
        rows = {row.key: row for row in screen.facts.rows}
        assert rows["pixel_size_angstrom"].cells[2][0] == "1.35"
        assert rows["series:TS_02"].cells[2][0] == "3"  # of the template; the mdoc says 0
        assert rows["series:TS_02"].cells[5] == "-"
        await press(pilot, "j", "j", "j", "enter", *"200", "enter")
        assert screen.draft.values == {"voltage_kv": "200"}
        await press(pilot, "tab", *"caps", "enter", *"Capsids", "enter")
        assert screen.tab == "check"
        assert f"ctrl+smakes{session / 'caps'}" in flat(pilot.app).replace(" ", "")  # long paths are folded
        assert not (session / "caps").exists()
        assert pilot.app.root is None
        await press(pilot, "ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelineScreen))
        await settle(pilot)
        assert pilot.app.root == session / "caps"
        assert "22 of 22 to run" in screen_text(pilot.app)
        assert "made caps; nothing is computed yet" in flat(pilot.app)
        assert pilot.app.commands[-1][1][:5] == ["staproj", "new", "caps", "--template", DEMO]

    start(session, scenario, size)
    made = tomllib.loads((session / "caps" / "staproj.toml").read_text())
    told = made["step"]["import_movies"]["params"]
    assert told["movies"] == str(session / "session/frames/*.mrc") or told["movies"] == [
        str(session / "session/frames/*.mrc")
    ]
    assert told["voltage_kv"] == 200
    assert made["project"]["name"] == "Capsids"
    assert not list((session / "caps" / "runs").iterdir())


@pytest.mark.parametrize("size", SIZES)
def test_templates_are_told_and_read_in_full(session: Path, size: tuple[int, int]) -> None:
    """Below the list stand data and steps of the template under the cursor; enter shows its text."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "G")
        assert screen.draft.template == "stack"
        assert "angles: File patterns of .rawtlt" in flat(pilot.app)
        assert list(screen.command()) == ["templates", "stack"]
        await press(pilot, "enter", "G")
        assert "[step." in screen_text(pilot.app)
        await press(pilot, "escape", "tab")
        names = [one.label for one in screen.shown_fields("files")]
        assert names == ["look in", "stacks", "angles", "mdoc", "order_list"]

    start(session, scenario, size)


def test_a_template_of_ones_own(session: Path) -> None:
    """A TOML file is a template as good; what is none is refused in words."""
    (session / "mine.toml").write_text(
        'schema = 2\n[project]\nname = "x"\n[step.read]\nstage = "import_movies"\n'
    )

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "t", *"mine.toml", "enter")
        assert screen.draft.template == str(session / "mine.toml")
        assert screen.draft.step == "read"
        await press(pilot, "t", *"none.toml", "enter")
        assert "there is no template" in screen_text(pilot.app)

    start(session, scenario)


@pytest.mark.parametrize("size", SIZES)
def test_pages_turn_both_ways_also_while_typing(session: Path, size: tuple[int, int]) -> None:
    """Tab, shift+tab, brackets, digits, ctrl+n and ctrl+b turn pages; what was typed stays."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "right_square_bracket")
        assert screen.tab == "files"
        await press(pilot, "down", *"[x]", "ctrl+n")  # brackets are typed on a line
        assert screen.tab == "microscope"
        await press(pilot, "shift+tab")
        assert screen.tab == "files"
        assert field(screen, "role-movies").value == "[x]"
        await press(pilot, "ctrl+b")
        assert screen.tab == "template"
        await press(pilot, "4")
        assert screen.tab == "place"
        await press(pilot, "f1")
        assert "five pages" in screen_text(pilot.app)
        await press(pilot, "escape")
        await press(pilot, "shift+tab")
        assert screen.tab == "microscope"
        await press(pilot, "left_square_bracket", "down", "down")
        assert screen.focused.parent is field(screen, "role-mdoc")
        await press(pilot, "up", "up", "up")  # an arrow does not leave the page
        assert screen.tab == "files"

    start(session, scenario, size)


def test_a_pattern_is_counted_while_one_types(session: Path) -> None:
    """The count stands below the line; where nothing matches, right takes what would."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "tab", "down", *"session/frames/TS_01*")
        assert "5 files" in screen_text(pilot.app)
        await press(pilot, "down", *"session/mdoc")
        assert "right takes it" in flat(pilot.app)
        await press(pilot, "right")
        assert field(screen, "role-mdoc").value == "session/mdoc/*.mdoc"
        assert list(screen.command()) == [
            "inspect", "session/frames/TS_01*", "--mdoc", "session/mdoc/*.mdoc", "--template", DEMO,
        ]  # fmt: skip

    start(session, scenario)


@pytest.mark.parametrize("size", SIZES)
def test_facts_are_checked_taken_from_files_and_taken_back(session: Path, size: tuple[int, int]) -> None:
    """A value out of bounds is refused; f takes what the files say, x takes back, z undoes."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "tab", *"session", "enter", "ctrl+n", "j", "j", "j", "enter", *"-5", "enter")
        assert "must be" in flat(pilot.app)
        await press(pilot, "escape")
        assert screen.draft.values == {}
        await press(pilot, "enter", *"200", "enter")
        told = screen.query_one("#fact-about", TextPane).text
        assert "200 kV by the settings (which counts), 300 by the mdoc" in told
        await press(pilot, "f")
        assert screen.draft.values == {"voltage_kv": "300"}
        await press(pilot, "x")
        assert screen.draft.values == {}
        await press(pilot, "z")
        assert screen.draft.values == {"voltage_kv": "300"}
        await press(pilot, "G", "f")
        assert "the files do not say it" in screen_text(pilot.app)
        await press(pilot, "enter", *"2.5", "enter")
        assert screen.draft.exposures == {"TS_02": "2.5"}
        assert screen.draft.sets(["TS_01", "TS_02"]) == {
            "import_movies.voltage_kv": 300,
            "import_movies.exposure_e_per_angstrom2": {"TS_01": 3.0, "TS_02": 2.5},
        }

    start(session, scenario, size)


def test_an_exposure_that_nobody_knows_is_an_error_until_it_is_typed(session: Path) -> None:
    """Where the mdoc says 0 and the template nothing, the line and the check say so."""
    (session / "mine.toml").write_text(
        'schema = 2\n[project]\nname = "x"\n[step.read]\nstage = "import_movies"\n'
    )

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "tab", *"session", "enter", "ctrl+n", "G")
        assert screen.facts.row.data["missing"]
        assert "the exposure of TS_02 is zero or not written" in flat(pilot.app)
        await press(pilot, "4", *"p", "ctrl+n")
        assert "the first step would stop: 1 thing" in flat(pilot.app)
        await press(pilot, "3", "G", "enter", *"3", "enter", "5")
        assert "would stop" not in flat(pilot.app)

    start(session, scenario, template=str(session / "mine.toml"))


def test_a_place_that_is_taken_is_refused(session: Path) -> None:
    """Where a project is already, the line says so, and ctrl+s makes nothing."""
    (session / "old").mkdir()
    (session / "old" / "staproj.toml").write_text("schema = 2\n")

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "4", *"ol", "tab")
        assert field(screen, "directory").value == "old/"
        assert "there is a project already" in flat(pilot.app)
        await press(pilot, "ctrl+s")
        assert screen.tab == "check"
        assert "it cannot be made like this" in flat(pilot.app)
        await press(pilot, "ctrl+s")
        assert "not like this: there is a project already" in flat(pilot.app)

    start(session, scenario)
    assert (session / "old" / "staproj.toml").read_text() == "schema = 2\n"


def test_without_a_directory_the_check_says_so(session: Path) -> None:
    """ctrl+s on the first page shows the last one; without a directory nothing is made there."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "ctrl+s", "ctrl+s")
        assert screen.tab == "check"
        assert "no directory is named yet" in flat(pilot.app)
        assert isinstance(pilot.app.screen, NewScreen)

    start(session, scenario)


@pytest.mark.parametrize("key", ["escape", "q"])
def test_what_was_typed_is_not_lost_without_asking(session: Path, key: str) -> None:
    """Leaving asks once something was typed; to stay is the default."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "4", *"caps", "ctrl+n", key)
        assert "what was typed is lost" in flat(pilot.app)
        await press(pilot, "enter")
        assert pilot.app.screen is screen
        assert screen.draft.directory == "caps"
        await press(pilot, key, "j", "enter")
        assert pilot.app.screen is not screen or pilot.app.return_code is not None

    start(session, scenario, directory="")


def test_the_first_screen_cannot_be_left_into_nothing(session: Path) -> None:
    """Where there is no project, esc says that q quits."""

    async def scenario(pilot: Any, screen: Any) -> None:
        await press(pilot, "escape")
        assert "q quits" in screen_text(pilot.app)
        assert pilot.app.screen is screen

    start(session, scenario)


# ----------------------------------------------------------------------------------------------- pure parts
def test_several_patterns_on_a_line(session: Path) -> None:
    """Patterns stand with a semicolon between them; only the last one is completed."""
    seen = wizard.see_patterns("session/frames/TS_01*; session/frames/TS_02*", session)
    assert seen.words.startswith("10 files")
    assert seen.level == ""
    found = wizard.complete_patterns("session/frames/TS_01*; session/m", session)
    assert found == ["session/frames/TS_01*; session/mdoc/"]
    assert wizard.split_patterns(wizard.join_patterns(["a", "b c"])) == ["a", "b c"]
    lacking = wizard.see_patterns("session/frames/*; nothing/*", session)
    assert lacking.level == "warning"


def test_data_below_the_project_is_kept_relative(session: Path) -> None:
    """Data for which the command has no option becomes a setting, relative if it lies below the project."""
    draft = Draft(session, "stack", wizard.describe("stack"))
    draft.directory = "."
    draft.patterns = {"stacks": "a/*.st", "angles": "a/*.rawtlt; /b/*.tlt", "gain": "x", "mdoc": "m1; m2"}
    sets = draft.sets([])
    assert sets == {
        "import_stack.angles": ["a/*.rawtlt", "/b/*.tlt"],
        "import_stack.mdoc": ["m1", "m2"],
    }
    told = draft.arguments([])
    assert (told["movies"], told["mdoc"], told["gain"]) == (["a/*.st"], None, None)


def test_directories_are_completed_as_names(session: Path) -> None:
    """A directory with a bracket in its name is named, not turned into a pattern; files are left out."""
    (session / "new[1]").mkdir()
    (session / "new.txt").touch()
    assert wizard.complete_directories("ne", session) == ["new[1]/"]


@pytest.mark.parametrize(
    ("text", "level"), [("", ""), ("fresh", ""), ("file", "error"), ("session", ""), ("file/below", "error")]
)
def test_what_is_at_a_place(session: Path, text: str, level: str) -> None:
    """A file, or a place below one, is refused; a directory that is there or not is fine."""
    (session / "file").touch()
    assert wizard.see_directory(text, session).level == level


def test_a_fact_says_where_it_comes_from() -> None:
    """Typed goes before the template, that before the files; what differs has a sign besides its colour."""
    described = {
        "facts": {"voltage_kv": "High tension.", "tilt_axis_deg": "Axis."},
        "microscope": {"voltage_kv": 300.0},
        "takes": {"movies": {"step": "read"}},
        "steps": [{"step": "read", "stage": "import_movies"}],
    }
    finding = {"level": "warning", "text": "t", "where": "", "hint": "", "sets": {"read.voltage_kv": 200.0}}
    files = {
        "facts": {"voltage_kv": {"value": 200.0, "from": "mdoc", "where": "a.mdoc"}},
        "series": [],
        "files": {"mdoc": {}},
    }
    seen = wizard.Inspected(files, {"findings": [finding], "series": []})
    draft = Draft(Path(), "t", described)
    voltage, axis = wizard_rows.fact_rows(draft, seen, Look(unicode=False))
    assert [c if isinstance(c, str) else c[0] for c in voltage.cells] == [
        "#", "voltage", "300", "kV", "template", "200", "a.mdoc",
    ]  # fmt: skip
    assert axis.data["missing"]
    draft.values["voltage_kv"] = "120"
    assert wizard_rows.fact_rows(draft, seen, Look())[0].cells[4][0] == "typed"


def test_a_project_of_stacks_has_all_that_was_given(session: Path) -> None:
    """Angles and several mdoc patterns, for which the command has no option, stand in the manifest too."""
    draft = Draft(session, "stack", wizard.describe("stack"), directory="st")
    draft.patterns = {"stacks": "a/*.st", "angles": "a/*.rawtlt", "mdoc": "a/*.mdoc; b/*.mdoc"}
    draft.values = {"tilt_axis_deg": "85"}
    assert draft.plan([])["ok"]
    assert not (session / "st").exists()
    project = Project.create(draft.place, draft.template, **draft.arguments([]))
    told = tomllib.loads((project.root / "staproj.toml").read_text())["step"]["import_stack"]["params"]
    assert told == {
        "stacks": [str(session / "a/*.st")],
        "angles": [str(session / "a/*.rawtlt")],
        "mdoc": [str(session / "a/*.mdoc"), str(session / "b/*.mdoc")],
        "tilt_axis_deg": 85,
    }


def test_a_second_project_from_within_one(session: Path) -> None:
    """The wizard over a project makes another one and goes on with that; esc goes back to the first."""
    first = Project.create(session / "first", DEMO)

    async def scenario(pilot: Any) -> None:
        pilot.app.show("new")
        await settle(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PipelineScreen)
        pilot.app.show("new")
        await settle(pilot)
        await press(pilot, "4", *"second", "ctrl+n", "ctrl+s")
        await until(pilot, lambda: pilot.app.root == session / "second")
        await settle(pilot)
        assert "second" in screen_text(pilot.app).splitlines()[0]

    drive(open_app(first.root, start_in=session), scenario)
