"""What is left out of the output of the interface: nothing that would have changed the screen."""

from __future__ import annotations

import os
import random
import sys

import pytest

from staproj.tui.thrift import Thrift, read_drawing, turn
from tests.screen_model import Model
from tests.terminal import PtyApp

SIZE = (20, 6)
STYLES = [
    "",
    "1",
    "7",
    "31",
    "1;31",
    "38;2;1;2;3",
    "38;5;240;48;5;230",
    "7;90;49",
    "4;1;97;104",
    "3;48;2;9;8;7",
]
LETTERS = "aab  ✓─µÅ▀"
APP = """
import sys
from textual.app import App
from textual.widgets import Static
from staproj.tui.thrift import ThriftyDriver
class Many(App):
    def compose(self): yield from (Static(f"line {n} " + "word " * 9) for n in range(20))
    def on_key(self, event):
        if event.key == "q": self.exit()
        self.refresh(layout=True, repaint=True)
        self.query(Static).first().update(f"pressed {event.key}")
Many(driver_class=ThriftyDriver if sys.argv[1] == "thrifty" else None).run()
"""


def drawing(rng: random.Random) -> str:
    """Return a drawing as the toolkit writes it: lines at places, styles begun and ended."""
    parts = []
    for _ in range(rng.randrange(1, 5)):
        row, column = rng.randrange(1, SIZE[1] + 1), rng.randrange(1, SIZE[0] + 1)
        parts.append(f"\x1b[{row};{column}H")
        left = SIZE[0] + 1 - column
        while left > 0 and rng.random() < 0.9:
            text = "".join(rng.choices(LETTERS, k=min(left, rng.randrange(1, 6))))
            left -= len(text)
            style = rng.choice(STYLES)
            parts.append(f"\x1b[{style}m{text}\x1b[0m" if style else text)
    return "".join([*parts, "\x1b[1;1H"])


@pytest.mark.parametrize("seed", range(30))
def test_the_screen_is_the_same(seed: int) -> None:
    """After any drawings the screen is as if all had been sent, in characters, styles and cursor."""
    rng = random.Random(seed)
    thrift, whole, less = Thrift(), Model(*SIZE), Model(*SIZE)
    drawings = [drawing(rng) for _ in range(6)]
    for _ in range(40):
        data = rng.choice(drawings)
        for piece in ("\x1b[?2026h", data, "\x1b[?2026l"):
            whole.feed(piece.encode())
            less.feed(thrift.filter(piece, SIZE).encode())
        assert less.lines() == whole.lines()
        assert less.cursor() == whole.cursor()
        for row in range(SIZE[1]):
            assert [less.cell(row, c) for c in range(SIZE[0])] == [whole.cell(row, c) for c in range(SIZE[0])]


def test_what_stands_already_is_not_sent() -> None:
    """A drawing that changes nothing sends nothing, one that changes a character little more than that."""
    thrift = Thrift()
    frame = "\x1b[2;1H\x1b[1;31mred words\x1b[0m and more\x1b[1;1H"
    assert "red words" in thrift.filter(frame, SIZE)
    assert [thrift.filter(piece, SIZE) for piece in ("\x1b[?2026h", frame, "\x1b[?2026l")] == ["", "", ""]
    sent = "".join(
        thrift.filter(p, SIZE) for p in ("\x1b[?2026h", frame.replace("more", "mire"), "\x1b[?2026l")
    )
    assert sent == "\x1b[?2026h\x1b[2;16Hi\x1b[1;1H\x1b[?2026l"


@pytest.mark.parametrize(
    "other", ["\x1b[?1049h", "\x1b[2J", "text from nowhere", "\x1b[1;15Htoo long", "\x1b[7;1Hlow"]
)
def test_what_is_not_understood_is_passed_on(other: str) -> None:
    """Anything but a drawing within the terminal goes through as it is, and then nothing is known."""
    thrift = Thrift()
    frame = "\x1b[1;1Hwords"
    thrift.filter(frame, SIZE)
    assert thrift.filter(frame, SIZE) == ""
    assert thrift.filter(other, SIZE) == other
    assert "words" in thrift.filter(frame, SIZE)


def test_the_clipboard_costs_nothing() -> None:
    """Copying goes through as it is, and what stands on the screen is still known."""
    thrift = Thrift()
    thrift.filter("\x1b[1;1Hwords", SIZE)
    assert thrift.filter("\x1b]52;c;d29yZHM=\x07", SIZE) == "\x1b]52;c;d29yZHM=\x07"
    assert thrift.filter("\x1b[1;1Hwords", SIZE) == ""


def test_wide_characters_are_sent_whole() -> None:
    """A character of two columns that is put into words is sent whole, and replaced whole."""
    thrift = Thrift()
    thrift.filter("\x1b[1;1Habcdefghij", SIZE)
    assert thrift.filter("\x1b[1;1Hab漢efghij", SIZE) == "\x1b[1;3H漢\x1b[1;11H"
    assert thrift.filter("\x1b[1;1Habxyefghij", SIZE) == "\x1b[1;3Hxy\x1b[1;11H"
    assert thrift.filter("\x1b[1;1Habe\u0301yefghij", SIZE) == "\x1b[1;3He\u0301\x1b[1;11H"
    drawn = read_drawing("\x1b[1;1Ha漢b", SIZE)
    assert drawn is not None
    assert drawn[0][1] == {1: ("a", ""), 2: ("漢", ""), 3: ("", ""), 4: ("b", "")}


def test_styles_turn_into_each_other() -> None:
    """Only what differs is named; taking something away begins anew."""
    assert turn("", "1;31") == "\x1b[1;31m"
    assert turn("38;2;1;2;3;48;2;4;5;6", "38;2;1;2;3;48;2;7;7;7") == "\x1b[48;2;7;7;7m"
    assert turn("31", "94;40") == "\x1b[94;40m"
    assert turn("1;31", "31") == "\x1b[0;31m"
    assert turn("1;31", "") == "\x1b[m"


def test_a_program_of_the_toolkit_looks_the_same() -> None:
    """A real program drawn again and again, resized and left shows the same with a fraction of the bytes."""
    seen, sizes = [], []
    for kind in ("thrifty", "usual"):
        with PtyApp([sys.executable, "-c", APP, kind], columns=60, rows=22) as app:
            app.wait_for("line 9", timeout_s=20)
            app.wait_quiet(0.3)
            pressed = app.send("j")
            app.wait_for("pressed j")
            app.wait_quiet(0.3)
            sizes.append(app.bytes_between(pressed))
            screens = [app.screen()]
            app.resize(40, 20)
            app.wait_quiet(0.5)
            app.send("k")
            app.wait_for("pressed k")
            app.wait_quiet(0.3)
            seen.append([*screens, app.screen()])
            app.send("q")
            assert app.wait() == os.EX_OK
    assert seen[0] == seen[1]
    assert sizes[0] < 200
    assert sizes[1] > 1500
