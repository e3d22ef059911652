"""Parts of the terminal interface without a project: lists, text, signs, rows."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult  # noqa: TID253 - a test of widgets

from staproj.tui import gather, run_rows
from staproj.tui.look import Look, of_terminal
from staproj.tui.widgets.lines import Column, LineList, Row
from staproj.tui.widgets.text_pane import TextPane

UTC = datetime.UTC


class Stand(App[None]):
    """A widget alone on a screen."""

    def __init__(self, widget: Any) -> None:
        super().__init__()
        self.widget, self.look = widget, Look()

    def compose(self) -> ComposeResult:
        yield self.widget


def alone(widget: Any, scenario: Callable[[Any], Awaitable[None]], size: tuple[int, int] = (40, 10)) -> None:
    async def run() -> None:
        app = Stand(widget)
        async with app.run_test(size=size) as pilot:
            widget.focus()
            await pilot.pause()
            await scenario(pilot)

    asyncio.run(run())


def lines_of(widget: Any) -> list[str]:
    return [widget.render_line(y).text for y in range(widget.size.height)]


def many(count: int) -> list[Row]:
    return [Row(f"k{i}", (f"row {i}", f"{i * 7 % 100}"), {"n": i * 7 % 100}) for i in range(count)]


COLUMNS = [
    Column("name", 10),
    Column("n", 4, right=True, sort=lambda data: data["n"]),
    Column("rest", flex=True),
]


def test_a_list_of_many_rows_draws_only_what_is_seen() -> None:
    """Of 100 000 rows the widget asks for as many lines as the screen has, and the end is reached at once."""
    shown = LineList(COLUMNS[:2])

    async def scenario(pilot: Any) -> None:
        shown.set_rows(many(100_000))
        await pilot.press("G")
        assert shown.row is not None
        assert shown.row.key == "k99999"
        assert "row 99999" in lines_of(shown)[-1]
        await pilot.press("g", "j", "j", "pagedown")
        assert shown.cursor == 2 + 8
        await pilot.press("k")
        assert shown.cursor == 9

    alone(shown, scenario)


def test_every_line_is_as_wide_as_the_list() -> None:
    """Wide characters, long cells and empty ones: no line is longer or shorter than the widget."""
    rows = [
        Row("a", ("日本語の名前です" * 5, "1", "x" * 300)),
        Row("b", ("", "", "")),
        Row("c", ("é", "22222", "y")),
    ]
    shown = LineList([Column("name", most=12), Column("n", 4, right=True), Column("rest", flex=True)])

    async def scenario(pilot: Any) -> None:
        shown.set_rows(rows)
        await pilot.pause()
        for y in range(10):
            strip = shown.render_line(y)
            assert strip.cell_length == 40
            assert sum(cell_len(segment.text) for segment in strip) == 40

    alone(shown, scenario)


def test_replacing_rows_keeps_cursor_and_marks_by_key() -> None:
    """Rows that come, go and change place do not move the cursor from its row."""
    shown = LineList(COLUMNS[:2])

    async def scenario(pilot: Any) -> None:
        shown.set_rows(many(20))
        await pilot.press("j", "j", "space")
        assert shown.marked == ["k2"]
        assert shown.row is not None
        assert shown.row.key == "k3"
        shown.set_rows([Row("new", ("new", "0"), {"n": 0}), *reversed(many(20))])
        assert shown.row.key == "k3"
        assert shown.marked == ["k2"]
        shown.set_rows([row for row in many(20) if row.key not in ("k2", "k3")])
        assert shown.marked == []
        assert shown.row is not None

    alone(shown, scenario)


def test_order_by_numbers_and_back() -> None:
    """Ordering uses the number behind a cell, the third press restores the order that was given."""
    shown = LineList(COLUMNS[:2])

    async def scenario(pilot: Any) -> None:
        shown.set_rows(many(20))
        await pilot.press("s", "s")
        numbers = [row.data["n"] for row in shown.rows]
        assert numbers == sorted(numbers)
        assert "n↑" in lines_of(shown)[0]
        await pilot.press("S")
        assert [row.data["n"] for row in shown.rows] == sorted(numbers, reverse=True)
        await pilot.press("s")
        assert [row.key for row in shown.rows] == [f"k{i}" for i in range(20)]

    alone(shown, scenario)


def test_unchanged_rows_are_not_drawn_again() -> None:
    """Setting rows of which one changed refreshes that line and no other."""
    shown = LineList(COLUMNS[:2])

    async def scenario(pilot: Any) -> None:
        shown.set_rows(many(6))
        await pilot.pause()
        drawn: list[int] = []
        shown._refresh_row = drawn.append  # type: ignore[method-assign]
        changed = many(6)
        changed[4] = Row("k4", ("row x", changed[4].cells[1]), {"n": 0})
        shown.set_rows(changed)
        assert drawn == [4]
        shown.set_rows(list(changed))
        assert drawn == [4]

    alone(shown, scenario)


def test_text_is_folded_searched_and_followed() -> None:
    """Long lines fold at words; a search finds and turns; following keeps the end until one moves up."""
    pane = TextPane()

    async def scenario(pilot: Any) -> None:
        pane.set_lines([f"{'word ' * 20}end", *(f"line {i}" for i in range(50))])
        await pilot.pause()
        first = [line.rstrip() for line in lines_of(pane)]
        assert all(cell_len(line) <= 40 for line in first)
        assert "".join(first[:3]).replace(" ", "").startswith("wordword")
        assert pane.search("line 3") == 11
        assert lines_of(pane)[0].strip() == "line 3"
        await pilot.press("n")
        assert lines_of(pane)[0].strip() == "line 30"
        await pilot.press("N")
        assert lines_of(pane)[0].strip() == "line 3"
        assert pane.search("nowhere") == 0
        pane.follow = True
        pane.add_lines(["the end"])
        assert "the end" in lines_of(pane)[-1]
        await pilot.press("k")
        assert not pane.follow

    alone(pane, scenario)


def test_acting_characters_are_shown_as_codes() -> None:
    """Escape sequences in a cell or a line do not reach the terminal."""
    shown, pane = LineList([Column("x", flex=True)]), TextPane()

    async def scenario(pilot: Any) -> None:
        shown.set_rows([Row("a", ("\x1b[31mred\u202e",))])
        assert "\\x1b[31mred\\u202e" in lines_of(shown)[1]

    alone(shown, scenario)

    async def other(pilot: Any) -> None:
        pane.set_lines(["\x1b]0;title\x07"])
        assert "\\x1b]0;title\\x07" in lines_of(pane)[0]

    alone(pane, other)


@pytest.mark.parametrize(
    ("created", "words"),
    [
        ("2026-03-01T11:59:30Z", "30s"),
        ("2026-03-01T11:01:00Z", "59m"),
        ("2026-02-27T13:00:00Z", "47h"),
        ("2026-02-01T12:00:00+00:00", "28d"),
        ("2020-01-01T12:00:00Z", "6y"),
        ("2026-03-01T12:00:05Z", "0s"),
        ("no time", ""),
        (None, ""),
    ],
)
def test_ages_take_four_characters(created: str | None, words: str) -> None:
    """Ages are short; a clock that is behind gives no negative age, nonsense none at all."""
    assert gather.age(created, datetime.datetime(2026, 3, 1, 12, tzinfo=UTC)) == words
    assert len(words) <= 4


@pytest.mark.parametrize("size", [0, 9, 999, 1000, 9949, 9960, 99_949, 999_499, 999_501, 10**9, 5 * 10**13])
def test_sizes_take_four_characters(size: int) -> None:
    """Sizes are short over the whole range, and right to two figures."""
    text = gather.short_size(size)
    assert len(text) <= 4
    factor = {"B": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[text[-1]]
    assert float(text[:-1]) * factor == pytest.approx(size, rel=0.06, abs=0.5)


def test_what_a_terminal_can_show_is_taken_from_its_surroundings() -> None:
    """ASCII where TERM, the locale or the person say so; no colours with NO_COLOR."""
    assert not of_terminal({"TERM": "linux"}).unicode
    assert not of_terminal({"TERM": "xterm", "STAPROJ_ASCII": "1"}).unicode
    assert not of_terminal({"TERM": "xterm", "NO_COLOR": ""}).colours
    assert of_terminal({"TERM": "xterm"}, ascii_only=False).unicode
    plain = Look(unicode=False)
    assert plain.plain("5 Å ≤ 3 µm → ✓ • ─ ½").isascii()
    assert plain.bar(0.5, 10) == "#####-----"


def test_signs_are_unlike_for_states_that_differ() -> None:
    """No two states that ask for different actions share both sign and word."""
    look = Look()
    states = ["fresh", "stale", "never-run", "failed", "interrupted", "running", "queued", "missing-lost"]
    assert len({look.sign(state) for state in states}) == len(states)
    assert len({Look(unicode=False).sign(state) for state in states}) == len(states)


def test_values_that_differ_from_the_run_before_are_marked() -> None:
    """The sign stands at changed and new values only, with the value before beside it."""
    told = {
        "params": {
            "a": {"value": 1, "layer": "step"},
            "b": {"value": 2, "layer": "default"},
            "c": {"value": 3},
        }
    }
    before = {"params": {"a": {"value": 5}, "b": {"value": 2}}}
    stage = {"params": {"a": {"default": 1, "unit": "MICROMETRE", "description": "An a."}}}
    rows = run_rows.value_rows(told, stage, before, Look())
    signs = {row.key: row.cells[0][0] for row in rows}
    assert signs == {"a": "≠", "b": " ", "c": "≠"}
    assert rows[0].cells[3] == "µm"
    assert rows[0].cells[6][0] == "5"
    assert {row.cells[0][0] for row in run_rows.value_rows(told, stage, None, Look())} == {" "}


def test_lines_of_a_log_are_found_by_tilt_series() -> None:
    """Only lines that begin with the series after the time count, not those that speak of it."""
    log = ["02:04:25  r0008 ctf begins: TS_01, TS_02", "02:04:25 TS_01  begins", "02:04:27 TS_012  begins"]
    assert run_rows.log_of(log, "TS_01") == ["02:04:25 TS_01  begins"]
    assert run_rows.log_of(log, None) == log
