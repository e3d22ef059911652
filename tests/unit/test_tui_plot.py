"""Curves in a pane: every size, every kind of data, with and without Unicode and colour."""

from __future__ import annotations

import asyncio
import math

import pytest
from textual.app import App, ComposeResult  # noqa: TID253 - this is a test of the interface

from staproj.report.plots import draw
from staproj.tui.look import Look
from staproj.tui.widgets.plot import CURVES, PlotPane


class Board(App[None]):
    """An app with nothing but a plot."""

    def __init__(self, look: Look | None = None) -> None:
        super().__init__()
        self.look = look or Look()
        self.pane = PlotPane(empty="choose one")

    def compose(self) -> ComposeResult:
        """Show the pane."""
        yield self.pane


def shown(pane: PlotPane) -> list[str]:
    """Return what the pane shows, line by line."""
    return [pane.render_line(y).text.rstrip() for y in range(pane.size.height)]


def on_board(scenario, look: Look | None = None, size: tuple[int, int] = (60, 20)) -> None:
    """Run a scenario on a board."""
    board = Board(look)

    async def run() -> None:
        async with board.run_test(size=size) as pilot:
            await pilot.pause()
            await scenario(board.pane, pilot)

    asyncio.run(run())


RISE = {"name": "r0001-a", "x": [0.0, 1.0, 2.0], "y": [0.0, 5.0, 10.0]}
FALL = {"name": "r0002-a", "x": [0.0, 1.0, 2.0], "y": [10.0, 5.0, 0.0]}


def dots(lines: list[str]) -> set[tuple[int, int]]:
    """Return the braille dots of drawn lines: column and row of every dot, from the left upper corner."""
    places = {0: (0, 0), 1: (0, 1), 2: (0, 2), 3: (1, 0), 4: (1, 1), 5: (1, 2), 6: (0, 3), 7: (1, 3)}
    found = set()
    for row, line in enumerate(lines):
        for column, sign in enumerate(line):
            if 0x2800 <= ord(sign) < 0x2900:
                for bit, (across, down) in places.items():
                    if (ord(sign) - 0x2800) >> bit & 1:
                        found.add((2 * column + across, 4 * row + down))
    return found


def test_a_straight_line_is_drawn_as_one():
    """The dots of y = x climb from the lower left to the upper right corner without a gap."""
    lines = draw([("", [0, 1], [0, 1])], x_label="x", y_label="y", width=40, height=20).lines
    field = [line[line.index("┤") + 1 :] for line in lines if "┤" in line]
    found = dots(field)
    wide, high = 2 * max(map(len, field)), 4 * len(field)
    assert (0, high - 1) in found
    assert (wide - 1, 0) in found
    assert {x for x, _ in found} == set(range(wide))
    for x, y in found:
        assert y == pytest.approx((high - 1) * (1 - x / (wide - 1)), abs=1)


def test_a_gap_stays_a_gap():
    """A value that is not finite is not bridged by a line."""
    x = list(range(9))
    y = [1.0, 1.0, 1.0, 1.0, math.nan, 2.0, 2.0, 2.0, 2.0]
    lines = draw([("", x, y)], x_label="x", y_label="y", width=60, height=12).lines
    field = [line[line.index("┤") + 1 :] for line in lines if "┤" in line]
    found = dots(field)
    wide = max(a for a, _ in found) + 1
    columns = {a for a, _ in found}
    assert not [c for c in range(int(wide * 3.3 / 8), int(wide * 4.7 / 8)) if c in columns]
    assert {b for _, b in found} == {0, 4 * len(field) - 1}


def test_the_drawing_fills_its_field_and_no_more():
    """Whatever the size, the drawing is as large as asked, never larger."""
    for width in (20, 47, 120):
        for height in (6, 11, 40):
            lines = draw(
                [("one", [0, 1], [3, 4]), ("two", [0, 1], [4, 3])],
                x_label="x",
                y_label="y",
                width=width,
                height=height,
            ).lines
            assert len(lines) <= max(height, 6)
            assert max(map(len, lines)) <= width


@pytest.mark.parametrize("y", [[], [math.nan], [None, None], [math.inf, -math.inf]])
def test_nothing_to_draw_says_so(y):
    """No finite value gives a sentence, not an error."""
    assert draw([("a", range(len(y)), y)], x_label="x", y_label="fsc").lines == ["fsc: nothing to draw"]


@pytest.mark.parametrize(
    "y",
    [[4.0], [7.0, 7.0], [1e308, -1e308], [5e-324, 0.0], [1e-300, 2e-300], [-1e15, 1e15, 0.0], [1.7e308] * 2],
)
@pytest.mark.parametrize("braille", [True, False])
def test_ranges_of_all_sizes_are_drawn(y, braille):
    """One point, a flat line, and ranges at the edge of what a float holds are drawn."""
    made = draw([("a", range(len(y)), y)], x_label="x", y_label="y", braille=braille)
    assert any(owner == 0 for line in made.owners[1:-1] for owner in line)


def test_each_curve_has_a_sign_of_its_own_even_where_they_are_the_same():
    """Two curves that lie on each other are both to be seen by their signs, in dots and in ASCII."""
    same = [(name, list(range(50)), [v * v for v in range(50)]) for name in ("one", "two")]
    made = draw(same, x_label="x", y_label="y")
    field = [line for line in made.lines if "┤" in line]
    assert sum(line.count("•") for line in field) > 2
    assert sum(line.count("×") for line in field) > 2
    assert made.lines[-1] == "  • one   × two"
    plain = draw(same, x_label="x", y_label="y", braille=False)
    field = [line for line in plain.lines if "┤" in line]
    assert any("*" in line for line in field)
    assert any("x" in line for line in field)


RISE_FALL = [(line["name"], line["x"], line["y"]) for line in (RISE, FALL)]


def test_owners_lie_under_their_signs():
    """What the drawing says of a character is the curve whose sign stands there."""
    made = draw(RISE_FALL, x_label="x", y_label="y", level=5.0)
    seen = set()
    for text, owners in zip(made.lines, made.owners, strict=True):
        for sign, owner in zip(text, owners, strict=False):
            if sign in "•×":
                assert owner == "•×".index(sign)
                seen.add(sign)
    assert seen == {"•", "×"}


def test_the_level_is_named_on_the_axis():
    """The dashed line of a level has its number beside it, at the row where it is drawn."""
    for braille in (True, False):
        lines = draw(RISE_FALL, x_label="x", y_label="y", level=4.2, height=24, braille=braille).lines
        row = next(line for line in lines if line.lstrip().startswith("4.2 ┤"))
        assert row.count("-" if not braille else row[-1]) > 10


def test_a_logarithmic_axis_gives_every_factor_the_same_room():
    """1, 10, 100 stand at even distances; what is not positive is left out."""
    made = draw(
        [("", [0, 1, 10, 100], [9, 1, 2, 3])],
        x_label="x",
        y_label="y",
        log_x=True,
        joined=False,
        braille=False,
    )
    columns = sorted(
        place for owners in made.owners[1:-2] for place, owner in enumerate(owners) if owner == 0
    )
    assert len(columns) == 3
    assert columns[1] - columns[0] == pytest.approx(columns[2] - columns[1], abs=1)
    assert "100" in made.lines[-1]
    assert "9" not in "".join(made.lines[:-2])


def test_a_pane_shows_its_message_then_a_curve_then_nothing():
    """A pane says what it is told to say while there is no curve, and draws what it is given."""

    async def scenario(pane, pilot):
        assert shown(pane)[0] == "  choose one"
        pane.show([RISE, FALL], "time_s", "defocus_um", level=2.0, title="defocus of TS_01")
        await pilot.pause()
        lines = shown(pane)
        assert lines[0] == "defocus of TS_01: defocus_um"
        assert "• r0001-a   × r0002-a" in lines[-1]
        assert "time_s" in "".join(lines)
        assert pane.names == ["r0001-a", "r0002-a"]
        assert "defocus of TS_01" in pane.text()
        assert "\N{BRAILLE PATTERN BLANK}" not in pane.text()
        pane.clear("nothing here")
        await pilot.pause()
        assert shown(pane)[0] == "  nothing here"
        assert not any(shown(pane)[1:])

    on_board(scenario)


def test_a_pane_draws_anew_when_its_size_changes():
    """The curve is as large as the pane, before and after a change of size."""

    async def scenario(pane, pilot):
        pane.show([RISE], "x", "y")
        await pilot.pause()
        small = shown(pane)
        await pilot.resize_terminal(120, 50)
        await pilot.pause()
        large = shown(pane)
        assert len([line for line in large if "┤" in line]) > 40
        assert len([line for line in small if "┤" in line]) < 20
        assert max(map(len, large)) > 110

    on_board(scenario)


def test_a_pane_on_a_plain_terminal_is_ascii():
    """Where the terminal has no Unicode, all of the drawing is ASCII, whatever curves are called."""

    async def scenario(pane, pilot):
        pane.show([{**RISE, "name": "8 Å\x1b[31m"}, FALL], "frequency_per_angstrom", "y", level=1.0)
        await pilot.pause()
        lines = shown(pane)
        assert "".join(lines).isascii()
        assert "\x1b" not in "".join(lines)
        assert any("*" in line for line in lines)

    on_board(scenario, Look(unicode=False))


def test_curves_have_colours_besides_their_signs():
    """The characters of a curve carry its colour; axes carry none."""

    async def scenario(pane, pilot):
        pane.show([RISE, FALL], "x", "y")
        await pilot.pause()
        last = pane.render_line(pane.size.height - 1)
        found = {segment.text: segment.style for segment in last}
        assert found["•"] == CURVES[0]
        assert found["×"] == CURVES[1]
        axis = next(pane.render_line(y) for y in range(20) if "└" in pane.render_line(y).text)
        assert not [s for s in axis if s.style and s.style.color]

    on_board(scenario)


@pytest.mark.parametrize("size", [(20, 4), (12, 2), (300, 100)])
def test_a_pane_of_any_size_draws(size):
    """A pane too small for axes shows what it can and does not fail."""

    async def scenario(pane, pilot):
        pane.show([RISE, FALL], "frequency_per_angstrom", "fsc", level=0.143, title="fsc")
        await pilot.pause()
        assert len(shown(pane)) == size[1]

    on_board(scenario, size=size)
