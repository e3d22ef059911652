"""Runs up and down from a run: the API, the command, and the screen on which one walks."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.api.graph import asked, facts, graph
from staproj.cli.main import main
from staproj.errors import UsageError
from staproj.report.graph import tree
from staproj.tui.dialogs import Copying, QuietInput, Reading
from staproj.tui.lineage_rows import lineage_rows
from staproj.tui.look import Look
from staproj.tui.screens.lineage import LineageScreen
from staproj.tui.widgets.bars import MessageLine
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.text_pane import TextPane
from tests.tui_screen import SIZES, SMALL, drive, open_app, press, screen_text, settle

both_sizes = pytest.mark.parametrize("size", SIZES, ids=["80x24", "200x60"])
# The project: import r0001, shift r0002, again r0003, mean r0004, other r0005 (from import), copy r0006;
# then with another value shift r0007, again r0008, mean r0009, copy r0010.


@pytest.fixture
def told(
    done: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return a function that calls a command in the project and returns what it says."""
    monkeypatch.chdir(done.root)

    def call(*words: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as left:
            main(words)
        said = capsys.readouterr()
        assert left.value.code == code, said
        return said.out if code == 0 else said.err

    return call


def shown(pilot: Any) -> LineList:
    return pilot.app.screen.query_one("#graph", LineList)


def keys(pilot: Any) -> list[str]:
    return [row.key for row in shown(pilot).rows]


def words(pilot: Any, key: str) -> str:
    row = next(row for row in shown(pilot).rows if row.key == key)
    return "  ".join(c if isinstance(c, str) else c[0] for c in row.cells)


def detail(pilot: Any) -> str:
    return pilot.app.screen.query_one("#detail", TextPane).text


def message(pilot: Any) -> str:
    return pilot.app.screen.query_one(MessageLine).message


async def at(pilot: Any, of: str) -> None:
    pilot.app.show("lineage", of=of)
    await settle(pilot)


# ----------------------------------------------------------------------------------------------- the API
def test_neighbours_are_named_by_the_input_that_connects_them(done: Project) -> None:
    """Each run before and after one comes with the port through which the younger takes the older."""
    found = graph(done.root, "r0001")
    assert found["parents"] == []
    assert {(use["run"], use["step"], use["port"]) for use in found["children"]} == {
        ("r0002", "shift", "tilt_series"),
        ("r0005", "other", "tilt_series"),
        ("r0007", "shift", "tilt_series"),
    }
    found = graph(done.root, "r0010")
    assert [(use["run"], use["port"]) for use in found["parents"]] == [("r0009", "map")]
    assert found["children"] == []
    assert set(found["nodes"]) == {"r0001", "r0007", "r0008", "r0009", "r0010"}
    assert found["head"]
    assert not graph(done.root, "r0006")["head"]


def test_a_step_stands_for_its_head_and_nothing_for_the_newest(done: Project) -> None:
    """Steps, directories and nothing at all are understood; other words are refused with a remedy."""
    assert graph(done.root, "shift")["run"] == "r0007"
    assert graph(done.root, "r0002-shift")["run"] == "r0002"
    assert graph(done.root, "")["run"] == "r0010"
    with pytest.raises(UsageError) as refused:
        graph(done.root, "shft")
    assert "shift" in str(refused.value)


def test_runs_whose_records_are_gone_are_said_to_be_gone(done: Project) -> None:
    """A run that was made from one whose directory is gone still names it."""
    shutil.rmtree(done.root / "runs" / "r0001-import")
    found = graph(done.root, "r0005")
    assert found["nodes"]["r0001"]["state"] == "gone"
    assert [(use["run"], use["state"]) for use in found["parents"]] == [("r0001", "gone")]


def test_a_record_that_names_younger_runs_ends_no_look(done: Project) -> None:
    """Records that name each other in a circle are read as far as they make sense."""
    spec = done.root / "runs" / "r0002-shift" / "spec.json"
    content = json.loads(spec.read_text())
    content["parents"] = ["r0003", "r0002", "r0001", "what"]
    spec.chmod(0o644)
    spec.write_text(json.dumps(content))
    (done.root / ".staproj" / "index.jsonl").unlink(missing_ok=True)
    for name in ("r0002", "r0003", "r0001"):
        found = graph(done.root, name)
        for links in ("parents", "children"):
            runs = [run for _, run in tree(found["nodes"], name, links)]
            assert len(runs) == len(set(runs))


def test_facts_are_those_of_the_record(done: Project) -> None:
    """Values that are no defaults, inputs and files of a run are those that its files hold."""
    found = facts(done.root, "r0007")
    run = done.root / "runs" / "r0007-shift"
    listed = json.loads((run / "outputs.json").read_text())["files"]
    assert [(file["path"], file["sha256"]) for file in found["files"]] == [
        (file["path"], file["sha256"]) for file in listed
    ]
    assert found["params"]["offset_px"]["value"] == 3.0
    assert "rounded" not in found["params"]
    assert found["inputs"]["tilt_series"]["run"] == "r0001"
    assert facts(done.root, "r0001")["data"] == {"raw/*.txt": 3}


def test_what_made_a_file_names_the_run_here(done: Project, tmp_path: Path) -> None:
    """Copies, raw data and files of runs lead to a run of this project; files of another project do not."""
    output = done.root / "runs" / "r0009-mean" / "out" / "map.bin"
    copy = tmp_path / "elsewhere.bin"
    shutil.copy(output, copy)
    assert asked(done.root, str(output))["here"] == "r0009"
    assert asked(done.root, str(copy))["here"] in ("r0009", "r0010")  # the same bytes
    assert asked(done.root, str(done.root / "raw" / "TS_01.txt"))["here"] == "r0001"
    other = shutil.copytree(done.root, tmp_path / "other")
    assert asked(done.root, str(other / "runs" / "r0009-mean" / "out" / "map.bin"))["here"] is None


# ------------------------------------------------------------------------------------------- the command
def test_the_command_lists_what_came_of_a_run(told: Callable[..., str]) -> None:
    """`lineage --down` names every run that was made from one, as text and as JSON."""
    text = told("lineage", "r0002", "--down")
    lines = text.splitlines()
    assert lines[0].startswith("r0002  shift")
    assert [line.split()[0] for line in lines[2:5]] == ["r0003", "r0004", "r0006"]
    assert "takes it as tilt_series" in lines[2]
    found = json.loads(told("lineage", "import", "--down", "--json"))
    assert {use["run"] for use in found["children"]} == {"r0002", "r0005", "r0007"}
    assert len(found["nodes"]) == 10
    assert "nothing was made from it" in told("lineage", "copy", "--down")
    assert (
        json.loads(told("lineage", "runs/r0002-shift/out/TS_01/stack.bin", "--down", "--json"))["run"]
        == "r0002"
    )


def test_the_command_refuses_what_makes_no_sense(told: Callable[..., str]) -> None:
    """Raw data was read, not made; drawings are of the way up."""
    assert "r0001" in told("lineage", "raw/TS_01.txt", "--down", code=2)
    assert "--down" in told("lineage", "r0001", "--down", "--dot", code=2)


def test_thousands_of_runs_made_from_one_are_listed_at_once() -> None:
    """Rows of a run with ten thousand children take about as long as those of ten, for each."""
    names = [f"r{number:04d}" for number in range(1, 10_001)]
    plain = {"step": "s", "stage": "s", "state": "sealed", "head": False, "verdict": "", "reads_raw": False}
    nodes = {name: {**plain, "run": name, "parents": names[:1], "children": []} for name in names[1:]}
    nodes[names[0]] = {**plain, "run": names[0], "parents": [], "children": names[1:]}
    children = [{"run": name, "port": "map"} for name in names[1:]]
    found = {**nodes[names[0]], "nodes": nodes, "parents": [], "children": children}
    begun = time.process_time()
    rows = lineage_rows(found, [], Look())
    assert time.process_time() - begun < 2.0
    assert len(rows) == 10_003
    assert "takes it as map" in rows[5000].text


# -------------------------------------------------------------------------------------------- the screen
@both_sizes
def test_the_run_stands_between_what_it_came_from_and_what_came_of_it(
    done: Project, size: tuple[int, int]
) -> None:
    """Above the run its sources, oldest first from the raw data; below it its descendants; then its files."""

    async def scenario(pilot: Any) -> None:
        await at(pilot, "r0003")
        assert keys(pilot)[:9] == [
            "part:up", "raw:r0001", "run:r0001", "run:r0002", "run:r0003",
            "part:down", "run:r0004", "run:r0006", "part:files",
        ]  # fmt: skip
        assert all(key.startswith("file:TS_0") for key in keys(pilot)[9:])
        assert shown(pilot).row is not None
        assert shown(pilot).row.key == "run:r0003"
        assert "gives tilt_series" in words(pilot, "run:r0002")
        assert "used by r0002" in words(pilot, "run:r0001")
        assert "takes it as tilt_series" in words(pilot, "run:r0004")
        assert "from r0004" in words(pilot, "run:r0006")
        assert "lineage of r0003 again" in screen_text(pilot.app)
        assert "$ staproj lineage r0003" in screen_text(pilot.app)

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_branches_are_drawn_as_a_tree(done: Project, size: tuple[int, int]) -> None:
    """Several runs made from one stand beneath each other with branches, each run once."""

    async def scenario(pilot: Any) -> None:
        await at(pilot, "r0001")
        below = [key for key in keys(pilot) if key.startswith("run:")]
        assert below[0] == "run:r0001"
        assert sorted(below[1:]) == [f"run:r{n:04d}" for n in range(2, 11)]
        assert "├─r0005" in screen_text(pilot.app)
        assert "└─r0002" in screen_text(pilot.app)
        assert "raw data, read by r0001" in screen_text(pilot.app)

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_one_walks_from_run_to_run_and_back(done: Project, size: tuple[int, int]) -> None:
    """Walking brings a run to the middle, left and backspace go back, esc leaves."""

    async def scenario(pilot: Any) -> None:
        await at(pilot, "r0003")
        await press(pilot, "k", "enter")
        assert pilot.app.screen.graph["run"] == "r0002"
        assert shown(pilot).row.key == "run:r0002"
        await press(pilot, "k", "enter")
        assert pilot.app.screen.graph["run"] == "r0001"
        await press(pilot, "left")
        assert pilot.app.screen.graph["run"] == "r0002"
        await press(pilot, "backspace")
        assert pilot.app.screen.graph["run"] == "r0003"
        await press(pilot, "left")
        assert "here one began" in message(pilot)
        await press(pilot, "escape", "escape")
        assert not isinstance(pilot.app.screen, LineageScreen)

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_details_say_what_the_run_was_made_with(done: Project, size: tuple[int, int]) -> None:
    """Of the run under the cursor one reads verdict, inputs and the values that are no defaults."""

    async def scenario(pilot: Any) -> None:
        await at(pilot, "r0008")
        await press(pilot, "k")
        assert "r0007 of shift (stage toy_shift): sealed, stands for the step" in detail(pilot)
        assert "offset_px = 3" in detail(pilot)
        assert "tilt_series: r0001.tilt_series" in detail(pilot)
        assert "gives tilt_series" in detail(pilot)
        await press(pilot, "k")
        assert "raw/*.txt (3 files)" in detail(pilot)
        assert "it is used by r0007" in detail(pilot)
        await press(pilot, "j", "j", "j", "j")
        assert "takes r0008 as tilt_series" in detail(pilot)

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_files_are_the_third_part(done: Project, size: tuple[int, int]) -> None:
    """] goes from part to part; enter on a file shows size, class and the whole digest; y offers its path."""
    listed = json.loads((done.root / "runs" / "r0004-mean" / "outputs.json").read_text())["files"]

    async def scenario(pilot: Any) -> None:
        await at(pilot, "r0004")
        await press(pilot, "right_square_bracket")
        assert shown(pilot).row.key == "part:down"
        assert pilot.app.screen.command() == ["lineage", "r0004", "--down"]
        await press(pilot, "right_square_bracket", "j")
        assert shown(pilot).row.key == f"file:{listed[0]['path']}"
        assert listed[0]["path"] in detail(pilot)
        await press(pilot, "enter")
        box = pilot.app.screen
        assert isinstance(box, Reading)
        said = box.query_one(TextPane).text
        assert listed[0]["sha256"] in said
        assert f"{listed[0]['size']} bytes" in said
        await press(pilot, "escape", "y")
        assert isinstance(pilot.app.screen, Copying)
        path = str(done.root / "runs" / "r0004-mean" / "out" / listed[0]["path"])
        assert pilot.app.screen.found["path of this file"] == path
        await press(pilot, "escape", "left_square_bracket", "left_square_bracket", "left_square_bracket")
        assert shown(pilot).row.key == "part:up"

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_a_pasted_path_leads_to_what_made_it(done: Project, tmp_path: Path, size: tuple[int, int]) -> None:
    """A path is asked for: what made the file is said and its run shown; wrong paths are refused."""
    copy = tmp_path / "my map.bin"
    shutil.copy(done.root / "runs" / "r0004-mean" / "out" / "map.bin", copy)

    async def scenario(pilot: Any) -> None:
        await at(pilot, "r0008")
        await press(pilot, "p")
        pilot.app.screen.query_one(QuietInput).value = f"'{copy}'"
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Reading)
        assert "the same bytes as" in pilot.app.screen.query_one(TextPane).text
        await press(pilot, "escape")
        assert pilot.app.screen.graph["run"] in ("r0004", "r0006")
        await press(pilot, "left")
        assert pilot.app.screen.graph["run"] == "r0008"
        await press(pilot, "p", *"no", "enter")
        assert "no such file" in message(pilot)
        assert pilot.app.screen.graph["run"] == "r0008"

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_raw_data_can_be_read_and_asked_for(done: Project, size: tuple[int, int]) -> None:
    """The line of raw data lists its files; the screen opened with a raw file says who read it."""

    async def scenario(pilot: Any) -> None:
        await at(pilot, "r0001")
        await press(pilot, "k", "enter")
        assert isinstance(pilot.app.screen, Reading)
        assert "raw/TS_02.txt" in pilot.app.screen.query_one(TextPane).text
        await press(pilot, "escape", "escape")
        await at(pilot, str(done.root / "raw" / "TS_02.txt"))
        assert isinstance(pilot.app.screen, Reading)
        assert "read by r0001" in pilot.app.screen.query_one(TextPane).text
        await press(pilot, "escape")
        assert pilot.app.screen.graph["run"] == "r0001"

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_marks_compare_and_o_opens(done: Project, size: tuple[int, int]) -> None:
    """Marked runs are compared by d; o opens the run under the cursor, c goes back to the middle."""

    async def scenario(pilot: Any) -> None:
        shows = []
        await at(pilot, "r0001")
        screen = pilot.app.screen
        pilot.app.show = lambda name, **what: shows.append((name, what))
        screen.query_one("#graph", LineList).go_to("run:r0002")
        await press(pilot, "space")
        screen.query_one("#graph", LineList).go_to("run:r0007")
        await press(pilot, "space", "d")
        assert shows == [("compare", {"runs": ["r0002", "r0007"]})]
        screen.query_one("#graph", LineList).go_to("run:r0007")
        await press(pilot, "o")
        assert shows[-1] == ("run", {"run": "r0007"})
        await press(pilot, "c")
        assert shown(pilot).row.key == "run:r0001"
        await press(pilot, "enter")
        assert shows[-1] == ("run", {"run": "r0001"})

    drive(open_app(done.root), scenario, size)


def test_filter_and_news_keep_the_place(done: Project) -> None:
    """/ shows lines that hold a word; a run that is made meanwhile appears without moving the cursor."""

    async def scenario(pilot: Any) -> None:
        await at(pilot, "r0001")
        await press(pilot, "slash", *"other", "enter")
        assert keys(pilot) == ["run:r0005"]
        await press(pilot, "escape")
        shown(pilot).go_to("run:r0007")
        done.rerun("other", sets={"weight": 2.0})
        pilot.app.screen.reload()
        await settle(pilot)
        assert "run:r0011" in keys(pilot)
        assert shown(pilot).row.key == "run:r0007"

    drive(open_app(done.root), scenario, SMALL)


def test_a_plain_terminal_sees_ascii(done: Project) -> None:
    """Without Unicode the tree is drawn with ASCII."""

    async def scenario(pilot: Any) -> None:
        await at(pilot, "r0001")
        assert screen_text(pilot.app).isascii()
        assert "|-r0005" in screen_text(pilot.app)

    drive(open_app(done.root, look=Look(unicode=False)), scenario, SMALL)


def test_a_project_without_runs_says_so(project: Project) -> None:
    """Where nothing was run yet, the screen says that."""

    async def scenario(pilot: Any) -> None:
        await at(pilot, "")
        assert "nothing was run yet" in message(pilot)

    drive(open_app(project.root), scenario, SMALL)
