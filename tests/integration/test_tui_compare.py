"""Runs side by side: values, numbers, curves over each other, and one accepted instead of another."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from staproj.api import Project
from staproj.api.comparing import comparison, overlaid
from staproj.tui.compare_rows import difference
from staproj.tui.dialogs import Choose, Confirm, Copying, Reading
from staproj.tui.look import Look
from staproj.tui.screens.compare import CompareScreen
from staproj.tui.widgets.bars import MessageLine
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.plot import PlotPane
from staproj.tui.widgets.text_pane import TextPane
from tests.integration import toy_stages as toy
from tests.tui_screen import SIZES, SMALL, drive, open_app, press, screen_text, settle

both_sizes = pytest.mark.parametrize("size", SIZES, ids=["80x24", "200x60"])


PLAIN_MEAN = toy.run_mean


def fsc_stage(height: float) -> Callable[..., dict[str, Any]]:
    """Return a stage that averages and records an FSC which falls to 0.1 beyond a shell."""

    def run(inputs: dict[str, Any], params: toy.MeanParams, ctx: Any) -> dict[str, Any]:
        made = PLAIN_MEAN(inputs, params, ctx)
        x = [0.01 * (k + 1) for k in range(10)]
        ctx.curve("fsc", x, [1.0 if k < height else 0.1 for k in range(10)], x_label="frequency_per_angstrom",
                  y_label="fsc")  # fmt: skip
        ctx.curve("steps", [0, 1, 2], [height, 2, 3], x_label="round", y_label="step_deg")
        return made

    return run


@pytest.fixture
def averaged(ran: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project with three runs of ``mean`` that have FSC curves: r0007, r0008, r0009 as r0008."""
    for height, weight in ((4, 2.0), (6, 3.0), (6, 3.0)):
        monkeypatch.setattr(toy, "run_mean", fsc_stage(height))
        ran.rerun("mean", sets={"weight": weight})
    return ran


def rows(pilot: Any, tab: str) -> list[list[str]]:
    shown = pilot.app.screen.query_one(f"#{tab}", LineList)
    return [[c if isinstance(c, str) else c[0] for c in row.cells] for row in shown.rows]


def message(pilot: Any) -> str:
    return pilot.app.screen.query_one(MessageLine).message


async def compare(pilot: Any, *runs: str, tab: str = "parameters") -> None:
    pilot.app.show("compare", runs=list(runs), tab=tab)
    await settle(pilot)


# ----------------------------------------------------------------------------------------------- the API
def test_two_runs_and_many_come_in_one_form(done: Project) -> None:
    """Rows hold what is not the same, values in the order of the runs, parameters with their layers."""
    two = comparison(done.root, ["r0002", "r0007"])
    assert [run["run"] for run in two["runs"]] == ["r0002", "r0007"]
    params = [row for row in two["rows"] if row["group"] == "params"]
    assert [(row["field"], row["values"]) for row in params] == [("offset_px", [2.0, 3.0])]
    numbers = {row["field"]: row["values"] for row in two["rows"] if row["group"] == "metrics"}
    assert numbers["TS_02.mean_px"] == [22.0, 23.0]  # raw data of the second tilt series: 20
    three = comparison(done.root, ["r0007", "r0002", "shift"])
    assert [run["run"] for run in three["runs"]] == ["r0007", "r0002", "r0007"]
    row = next(row for row in three["rows"] if row["field"] == "offset_px")
    assert row["values"] == [3.0, 2.0, 3.0]
    assert len(row["layers"]) == 3
    assert two["runs"][0]["results"]["TS_01"]["verdict"] == "mean 12.0"


def test_curves_that_all_have_are_listed_fsc_first(averaged: Project) -> None:
    """Recorded curves and columns of tables that every run has; an FSC with the resolution of each."""
    found = comparison(averaged.root, ["r0007", "r0008"])["curves"]
    assert [(one["name"], one["resolution_angstrom"]) for one in found] == [
        ("fsc", [pytest.approx(25.0), pytest.approx(1 / 0.06)]),
        ("steps", None),
    ]
    curve = overlaid(averaged.root, ["r0007", "r0008"], "steps")
    assert [line["y"] for line in curve["lines"]] == [[4.0, 2.0, 3.0], [6.0, 2.0, 3.0]]
    assert not curve["equal"]
    assert overlaid(averaged.root, ["r0008", "r0009"], "fsc")["equal"]
    assert comparison(averaged.root, ["r0001", "r0007"])["curves"] == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (12.5, 13.0, ("+0.5", "+4 %")),
        (-2.0, -1.0, ("+1", "+50 %")),
        (0.0, 3.0, ("+3", "")),
        (None, 3.0, ("", "")),
        (float("nan"), 1.0, ("", "")),
        (1, 1, ("0", "+0 %")),
    ],
)
def test_differences_are_told_as_numbers_and_in_percent(old: Any, new: Any, told: tuple[str, str]) -> None:
    """How much more the second is, and how much that is of the first where there is a first."""
    assert difference(old, new) == told


# -------------------------------------------------------------------------------------------- the screen
@both_sizes
def test_values_that_differ_stand_side_by_side(done: Project, size: tuple[int, int]) -> None:
    """Only what is not the same is listed, with the layer of each value; enter shows a line in full."""

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0002", "r0007")
        [row] = rows(pilot, "parameters")
        assert row[0] == "offset_px"
        assert row[1].startswith("2 (")
        assert row[2].startswith("3 (")
        text = screen_text(pilot.app)
        assert "r0002 shift" in text
        assert "r0002 | r0007: 1 parameter" in text
        assert "$ staproj diff r0002 r0007" in text
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Reading)
        assert "Number added to every pixel." in pilot.app.screen.query_one(TextPane).text
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, CompareScreen)

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_numbers_are_shown_with_their_difference(done: Project, size: tuple[int, int]) -> None:
    """The tab of metrics holds both values with their unit, the difference and the percentage."""

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0002", "r0007")
        await press(pilot, "right_square_bracket")
        assert rows(pilot, "metrics")[1] == ["TS_02.mean_px", "22 px", "23 px", "+1", "+4.55 %"]
        await press(pilot, "enter")
        assert "r0007 shift" in pilot.app.screen.query_one(TextPane).text

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_inputs_and_verdicts_have_tabs_of_their_own(done: Project, size: tuple[int, int]) -> None:
    """Inputs name the runs they come from; each run says how it went, tilt series by tilt series."""

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0003", "r0008")
        await press(pilot, "4")
        assert ["inputs: tilt_series", "r0002.tilt_series", "r0007.tilt_series"] in rows(pilot, "inputs")
        await press(pilot, "5")
        said = pilot.app.screen.query_one("#verdicts", TextPane).text
        assert "r0003 again: sealed" in said
        assert "TS_01: mean 13.0" in said  # 10, 2 more, and 1 more
        assert "TS_01: mean 14.0" in said

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_fsc_curves_lie_over_each_other(averaged: Project, size: tuple[int, int]) -> None:
    """The tab of curves draws the curve under the cursor of all runs, with level and resolutions."""

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0007", "r0008", tab="curves")
        plot = pilot.app.screen.query_one(PlotPane)
        assert plot.names == ["r0007  25 Å at 0.143", "r0008  16.67 Å at 0.143"]
        text = screen_text(pilot.app)
        assert "0.143 ┤" in text
        assert "fsc  25 | 16.67 Å" in text
        assert "• r0007" in text
        assert "$ staproj diff r0007 r0008 --curve fsc" in text
        await press(pilot, "j")
        assert plot.names == ["r0007", "r0008"]
        assert "step_deg" in screen_text(pilot.app)
        before = plot.size
        await press(pilot, "enter")
        assert plot.size.width * plot.size.height > before.width * before.height
        await press(pilot, "enter", "y")
        assert isinstance(pilot.app.screen, Copying)
        assert "× r0008" in pilot.app.screen.found["this curve as a drawing"]
        await press(pilot, "escape", "k")
        assert plot.names[0].startswith("r0007  25 Å")

    drive(open_app(averaged.root), scenario, size)


@both_sizes
def test_more_than_two_runs_are_drawn_and_listed(averaged: Project, size: tuple[int, int]) -> None:
    """Three runs stand in three columns; numbers say how they differ from the first; all are drawn."""

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0007", "r0008", "r0009", tab="curves")
        assert len(pilot.app.screen.query_one(PlotPane).names) == 3
        assert "+ r0009" in screen_text(pilot.app)
        await press(pilot, "1")
        [row] = rows(pilot, "parameters")
        assert [cell.split()[0] for cell in row] == ["weight", "2", "3", "3"]

    drive(open_app(averaged.root), scenario, size)


def test_several_numbers_say_how_they_differ_from_the_first(done: Project) -> None:
    """With three runs a number carries its distance from the first in percent."""

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0002", "r0007", "r0003", tab="metrics")
        assert rows(pilot, "metrics")[1] == ["TS_02.mean_px", "22 px", "23 px (+4.55 %)", "23 px (+4.55 %)"]

    drive(open_app(done.root), scenario, SMALL)


@both_sizes
def test_nothing_differs_is_said(averaged: Project, size: tuple[int, int]) -> None:
    """Of two runs that are the same each tab says so, and the curve too."""

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0008", "r0009")
        assert "nothing differs" in pilot.app.screen.place
        assert "nothing differs" in screen_text(pilot.app)
        await press(pilot, "3")
        assert "fsc: the same in all" in screen_text(pilot.app)

    drive(open_app(averaged.root), scenario, size)


@both_sizes
def test_runs_of_different_stages_can_be_compared(done: Project, size: tuple[int, int]) -> None:
    """What only one of two runs has stands there alone; that they share no curve is said."""

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0002", "r0004")
        found = {row[0]: row[1:] for row in rows(pilot, "parameters")}
        assert found["weight"][0] == "-"
        assert found["offset_px"][1] == "-"
        await press(pilot, "4")
        assert ["stage", "toy_shift", "toy_mean"] in rows(pilot, "inputs")
        await press(pilot, "3")
        assert "no curve that all of them have" in screen_text(pilot.app)

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_the_order_can_be_turned(done: Project, size: tuple[int, int]) -> None:
    """The key x puts the second run first; values and command follow."""

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0002", "r0007")
        await press(pilot, "x")
        assert rows(pilot, "parameters")[0][1].startswith("3 (")
        assert pilot.app.screen.command() == ["diff", "r0007", "r0002"]
        assert "r0007 | r0002" in pilot.app.screen.place

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_one_run_is_accepted_instead_of_another(averaged: Project, size: tuple[int, int]) -> None:
    """First numbers and curves of both are shown; Cancel is the default; the command is told."""

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0007", "r0008")
        await press(pilot, "a")
        assert isinstance(pilot.app.screen, Choose)
        await press(pilot, "enter", *"good", "enter")
        assert isinstance(pilot.app.screen, Confirm)
        said = "\n".join(pilot.app.screen.lines)
        assert "16.67 Å" in said
        assert "correlation" in said
        assert pilot.app.screen.command_text == "staproj accept r0008 --for r0007 --why good"
        await press(pilot, "enter")  # Cancel
        assert averaged.history.accepted() == []
        await press(pilot, "a", "enter", *"good", "enter", "right", "enter")
        [entry] = averaged.history.accepted()
        assert (entry["new"], entry["old"], entry["why"]) == ("r0008", "r0007", "good")
        assert pilot.app.commands[-1][1] == ["staproj", "accept", "r0008", "--for", "r0007", "--why", "good"]
        assert "r0008 may stand for r0007" in message(pilot)

    drive(open_app(averaged.root), scenario, size)


def test_equal_runs_are_not_accepted_and_errors_are_shown(averaged: Project) -> None:
    """Where there is nothing to accept the reason is on the screen."""

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0008", "r0009")
        await press(pilot, "a", "enter", "enter", "right", "enter")
        assert "equal" in message(pilot)
        assert averaged.history.accepted() == []
        await compare(pilot, "r0008", "r0099")
        assert "r0099" in message(pilot)

    drive(open_app(averaged.root), scenario, SMALL)


def test_a_failed_run_is_compared_without_curves(done: Project) -> None:
    """A run that failed shows its values; that it has no curves is said, and that it cannot be accepted."""
    toy.SWITCH["TS_02"] = "fail"
    with pytest.raises(Exception, match="shift"):
        done.rerun("shift", sets={"offset_px": 7.0})
    toy.SWITCH.clear()

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0007", "r0011")
        assert rows(pilot, "parameters")[0][2].startswith("7 (")
        await press(pilot, "5")
        assert "failed" in screen_text(pilot.app)
        await press(pilot, "3")
        assert "r0011: not complete" in screen_text(pilot.app)
        await press(pilot, "a")
        assert "only runs that are complete" in message(pilot)

    drive(open_app(done.root), scenario, SMALL)


def test_a_project_that_may_not_be_written_accepts_nothing(averaged: Project) -> None:
    """In a read-only project the key says why nothing happens."""

    async def scenario(pilot: Any) -> None:
        pilot.app.read_only = True
        await compare(pilot, "r0007", "r0008")
        pilot.app.refuse_read_only = lambda: pilot.app.say("read-only: a test", "warning") or True
        await press(pilot, "a")
        assert "read-only" in message(pilot)

    drive(open_app(averaged.root), scenario, SMALL)


def test_a_plain_terminal_sees_ascii(averaged: Project) -> None:
    """Without Unicode all of the comparison is ASCII, and both curves are to be told apart."""

    async def scenario(pilot: Any) -> None:
        await compare(pilot, "r0008", "r0009", tab="curves")
        text = screen_text(pilot.app)
        assert text.isascii()
        assert "* r0008" in text
        assert "*x*x" in text

    drive(open_app(averaged.root, look=Look(unicode=False)), scenario, SMALL)


def test_the_same_stands_on_the_command_line(averaged: Project) -> None:
    """What the screen shows is what `diff` finds."""
    found = averaged.diff("r0007", "r0008")
    screen = comparison(averaged.root, ["r0007", "r0008"])
    told = {(row["group"], row["field"]): row["values"] for row in screen["rows"]}
    assert told == {
        (group, entry["field"]): [entry["old"], entry["new"]]
        for group in ("stage", "params", "inputs", "data", "items", "software", "metrics", "outputs")
        for entry in found[group]
    }
    assert json.dumps(screen)
