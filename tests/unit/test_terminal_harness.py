"""The terminal that the interface is driven and measured with counts and shows what a program really does."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.screen_model import Model, Queries
from tests.terminal import PtyApp, family, resident
from tests.tmux import Tmux
from tests.trials.screenshots import small

RAW = "import os, sys, time, tty; tty.setraw(0); write = lambda data: os.write(1, data)\n"
ECHO = RAW + "write(b'ready')\nwhile (key := os.read(0, 1)) != b'q': write(key * 1234)\n"
ASKS = RAW + (
    "write(b'\\x1b[3;7Hready\\x1b[6n\\x1b[c\\x1b[?2026$p\\x1b[?2048$p\\x1b]11;?\\x1b\\\\')\n"
    "told = b''\n"
    "while b'rgb' not in told: told += os.read(0, 100)\n"
    "write(b'\\x1b[2J\\x1b[H' + repr(told).encode()); os.read(0, 1)\n"
)
TEXTUAL = """
from textual.app import App
from textual.widgets import Label
class Hello(App):
    def compose(self): yield Label("hello there")
    def on_key(self, event):
        self.query_one(Label).update(f"{event.key} in {self.size.width}x{self.size.height}")
Hello().run()
"""


def python(code: str, **more: object) -> PtyApp:
    """Run a program of some lines in a pseudo terminal."""
    return PtyApp([sys.executable, "-c", code], **more)


@pytest.fixture(scope="module")
def echo() -> Iterator[PtyApp]:
    """Yield a program that writes each key 1234 times."""
    with python(ECHO) as app:
        app.wait_for("ready")
        yield app


def test_bytes_after_a_key_are_counted_exactly(echo: PtyApp) -> None:
    """A program that writes 1234 bytes after a key is found to write 1234 bytes, and nothing before it."""
    before = time.monotonic()
    echo.wait_quiet(0.05)
    pressed = echo.send("a")
    last = echo.wait_quiet(0.1)
    assert echo.bytes_between(pressed) == 1234
    assert echo.bytes_between(before, pressed) == 0
    assert pressed < last < pressed + 1


def test_a_quiet_program_is_quiet(echo: PtyApp) -> None:
    """Without keys nothing comes, and waiting for quiet takes as long as asked, no longer."""
    echo.wait_quiet(0.1)
    began = time.monotonic()
    echo.wait_quiet(0.2)
    took = time.monotonic() - began
    assert echo.bytes_between(began) == 0
    assert 0.2 <= took < 1


def test_a_busy_program_is_never_quiet() -> None:
    """Waiting for quiet ends with an error where a program goes on writing."""
    with python(RAW + "while True: write(b'x'); time.sleep(0.02)") as app, pytest.raises(TimeoutError):
        app.wait_quiet(0.5, timeout_s=1.0)


def test_times_begin_when_the_program_does() -> None:
    """A program that waits for 0.3 s shows its word 0.3 s after it was executed, and a little."""
    with PtyApp(["/bin/sh", "-c", "sleep 0.3; printf word; sleep 9"]) as app:
        shown = app.wait_for("word") - app.started
    assert 0.3 <= shown < 1


def test_memory_is_that_of_the_program() -> None:
    """Memory grows by what a program takes, and children count."""
    big = "held = bytearray(b'x') * 60_000_000\n"
    with python(RAW + "write(b'small'); os.read(0, 1)\n" + big + "write(b'large'); os.read(0, 1)") as app:
        app.wait_for("small")
        small = app.rss_bytes()
        app.send("x")
        app.wait_for("large")
        assert 55e6 < app.rss_bytes() - small < 70e6
    grandchild = RAW + big + "write(b'up'); os.read(0, 1)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    with python(child) as app:
        app.wait_for("up")
        assert app.rss_bytes() > 60e6 > app.rss_bytes(children=False)
        assert len(family(app.pid)) == 2
    assert resident(app.pid) == 0


def test_the_program_has_a_terminal_of_its_own() -> None:
    """The program leads its session, knows the size, and sees changes of it."""
    with PtyApp(
        ["/bin/sh", "-c", "stty size </dev/tty; read x; stty size; sleep 9"], columns=93, rows=31
    ) as app:
        app.wait_for("31 93")
        assert os.getsid(app.pid) == app.pid
        app.resize(60, 20)
        app.send("enter")
        app.wait_for("20 60")
        assert len(app.screen()) == 20


def test_what_a_program_asks_is_answered() -> None:
    """Cursor, kind of terminal, modes and background are told as an xterm tells them, each once."""
    with python(ASKS, columns=200) as app:
        app.wait_for("rgb")
        told = eval("".join(app.screen()))  # noqa: S307
    assert told == (
        b"\x1b[3;12R\x1b[?64;1;2;6;22c\x1b[?2026;2$y\x1b[?2048;0$y\x1b]11;rgb:0000/0000/0000\x1b\\"
    )
    assert b"".join(app.answered) == told


def test_questions_cut_in_two_are_answered_once() -> None:
    """A question that comes in two pieces is one question."""
    queries = Queries(lambda: (4, 5))
    assert queries.answers(b"text\x1b[") == []
    assert queries.answers(b"6n and\x1b]11;") == [b"\x1b[4;5R"]
    assert queries.answers(b"?\x07") == [b"\x1b]11;rgb:0000/0000/0000\x07"]
    assert queries.answers(b"more") == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_screen_is_the_same_however_it_comes(size: int) -> None:
    """Sequences that are not about text leave no trace, wherever the output is cut."""
    model = Model(20, 3)
    text = (
        "\x1b[?1049h\x1b[>25u\x1b[<u\x1b[?2026h\x1b[2;3H\x1b[38;2;1;2;3mÅ µ\x1b[0m\x1b]8;;http://a\x1b\\x"
        "\x1b]8;;\x07\x1bP>|XTerm\x1b\\\x1b(B\x1b[?2026$p\x1b[?u-\x1b[3b\x1b[4:3mok\x1b[?2026l"
        "\x1b[=1c\x1b[ q\x1b[sA\x1b[uB"
    ).encode()
    for at in range(0, len(text), size):
        model.feed(text[at : at + size])
    assert model.lines() == ["", "  Å µx----okB", ""]
    assert model.cell(1, 2).fg == "010203"
    assert model.cursor() == (2, 14)


def test_a_program_that_cannot_start_or_ends_is_told() -> None:
    """A program that does not exist is an error; one that ends says what stood on its screen."""
    with pytest.raises(OSError, match="does not start"):
        PtyApp(["/nonexistent/program"])
    with PtyApp(["/bin/sh", "-c", "echo last words; exit 7"]) as app:
        with pytest.raises(AssertionError, match=r"(?s)before the program ended.*last words"):
            app.wait_for("something else", timeout_s=30)
        assert app.wait() == 7


def test_a_textual_program_is_driven() -> None:
    """A program of the toolkit starts, hears keys by name, does not wait for answers, and keeps quiet."""
    with python(TEXTUAL, columns=70, rows=20) as app:
        app.wait_for("hello there", timeout_s=20)
        for key, name in (
            ("j", "j"),
            ("down", "down"),
            ("esc", "escape"),
            ("ctrl+l", "ctrl+l"),
            ("[", "left_sq"),
        ):
            app.send(key)
            app.wait_for(name)
        assert "70x20" in "\n".join(app.screen())
        idle = app.wait_quiet(1.0)
        assert app.bytes_between(idle) == 0
        assert b"\x1b[?2026;2$y" in app.answered


def test_a_drawing_loses_nothing_that_is_seen() -> None:
    """A drawing made small has the same words and bars of colour, and refers to nothing elsewhere."""
    console = Console(
        record=True, width=30, file=io.StringIO(), color_system="truecolor", force_terminal=True
    )
    console.print(
        "[black on red]defocus[/] [bold black on red]2.8125 µm[/]  [u]  [/u]<&\nFSC 0.143 at 12.96 Å"
    )
    told = console.export_svg(title="a title", clear=False)
    drawn = small(told)
    words = ["".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)) for svg in (told, drawn)]
    assert "".join(words[0].replace("&#160;", " ").split()) == "".join(words[1].split())
    assert "0.143" in drawn
    assert len(drawn) < len(told) / 2
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")
    bars = [
        re.findall(r'<rect fill="#cc555a" x="[\d.]+" y="[\d.]+" width="([\d.]+)"', svg)
        for svg in (told, drawn)
    ]
    assert sum(map(float, bars[0])) == pytest.approx(sum(map(float, bars[1])), abs=0.1)
    assert len(bars[1]) < len(bars[0])


@pytest.fixture(scope="module")
def tmux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tmux]:
    """Yield a tmux."""
    with Tmux(tmp_path_factory.mktemp("home"), columns=70, rows=15) as tmux:
        yield tmux


def test_tmux_types_and_reads(tmux: Tmux) -> None:
    """What is typed in tmux stands on its screen; what does not come is an error that shows the screen."""
    tmux.start(["cat"], {"WORD": "x"})
    tmux.type("some; words -l")
    tmux.keys("Enter")
    lines = tmux.wait_for("some; words -l\nsome; words -l")
    assert len(lines) == 15
    with pytest.raises(AssertionError, match=r"(?s)'other'.*some; words"):
        tmux.wait_for("other", timeout_s=0.2)
    with pytest.raises(AssertionError, match="gone"):
        tmux.wait_for("words", gone=["some"], timeout_s=0.2)


def test_tmux_is_a_world_of_its_own(tmux: Tmux) -> None:
    """The program has the surroundings that it was given, another home, and the size that was asked for."""
    tmux.start(
        "echo $WORD in $TERM; echo $HOME; echo $XDG_CONFIG_HOME; stty size; sleep 9", {"WORD": "given"}
    )
    home = tmux.environment["HOME"]
    lines = tmux.wait_for("given in screen-256color", "15 70")
    assert home != os.environ.get("HOME")
    assert f"{home}{home}/config" in "".join(lines)


def test_tmux_keeps_what_a_program_left(tmux: Tmux) -> None:
    """The window outlives its program, and tells how that ended: by itself, or killed."""
    tmux.start("echo last words; sleep 0.2; exit 5")
    tmux.wait_for("last words")
    _until(lambda: tmux.ended() == 5)
    tmux.start(["sleep", "60"])
    assert tmux.ended() is None
    os.kill(tmux.pid(), 9)
    _until(lambda: tmux.ended() == -9)


def test_tmux_leaves_nothing_behind(tmp_path: Path) -> None:
    """After its end the server and its socket are gone."""
    with Tmux(tmp_path) as other:
        other.start(["cat"])
        pid, sockets = other.pid(), Path(other.environment["TMUX_TMPDIR"])
        assert any(sockets.rglob("*"))
    assert not sockets.exists()
    _until(lambda: resident(pid) == 0)


def test_without_tmux_its_tests_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tmux is not installed, a test that needs it skips itself."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(pytest.skip.Exception, match="tmux is not installed"):
        Tmux(tmp_path)


def _until(true: object, timeout_s: float = 5.0) -> None:
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
