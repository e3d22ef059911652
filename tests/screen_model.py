"""What an xterm answers, and what stands on its screen: the parts of a terminal that need no program."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from typing import Any

import pyte


class Queries:
    """Finds what a program asks of its terminal, and what an xterm answers."""

    _ASKED = re.compile(
        rb"\x1b\[(?P<da>[>=]?)0?c|\x1b\[(?P<dsr>\??[56])n|\x1b\[\?(?P<mode>\d+)\$p|(?P<version>\x1b\[>0?q)"
        rb"|(?P<kitty>\x1b\[\?u)|\x1b\](?P<colour>1[01]);\?(?P<end>\x07|\x1b\\)|(?P<pixels>\x1b\[1[46]t)"
    )
    _MODES = {b"2026": 2, b"1049": 2, b"2004": 2, b"25": 1}
    _COLOURS = {b"10": b"rgb:e5e5/e5e5/e5e5", b"11": b"rgb:0000/0000/0000"}

    def __init__(self, cursor: Callable[[], tuple[int, int]]) -> None:
        self._cursor = cursor
        self._rest = b""

    def answers(self, piece: bytes) -> list[bytes]:
        """Return the answers to what is asked in a piece of output (or began in the one before)."""
        data = self._rest + piece
        found = list(self._ASKED.finditer(data))
        data = data[found[-1].end() :] if found else data
        begins = data.rfind(b"\x1b")
        self._rest = data[begins:] if begins >= 0 and len(data) - begins < 32 else b""
        return [answer for match in found if (answer := self._answer(match))]

    def _answer(self, match: re.Match[bytes]) -> bytes:
        kind = match.lastgroup
        if kind == "da":
            return {b"": b"\x1b[?64;1;2;6;22c", b">": b"\x1b[>41;390;0c"}.get(match["da"], b"")
        if kind == "dsr" and match["dsr"].endswith(b"6"):
            row, column = self._cursor()
            return b"\x1b[%b%d;%dR" % (match["dsr"][:-1], row, column)
        if kind == "dsr":
            return b"\x1b[0n"
        if kind == "mode":
            return b"\x1b[?%b;%d$y" % (match["mode"], self._MODES.get(match["mode"], 0))
        if kind == "version":
            return b"\x1bP>|XTerm(390)\x1b\\"
        if kind == "end":
            return b"\x1b]%b;%b%b" % (match["colour"], self._COLOURS[match["colour"]], match["end"])
        return (
            b""  # an xterm does not know kitty's keyboard, and does not tell sizes in pixels unless allowed
        )


class Model:
    """What stands on the screen: pyte, without the sequences that it takes for text."""

    _SEQUENCE = re.compile(
        r"\x1b\[(?P<private>[<=>?]?)(?P<params>[\d;:]*)(?P<between>[ -/]*)(?P<final>[@-~])"
        r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\)|\x1b[ -/]+[0-~]|\x1b[0-OQ-WYZ\\`-~]",
        re.DOTALL,
    )

    def __init__(self, columns: int, rows: int) -> None:
        self._pyte = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self._pyte)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self._last = " "

    def feed(self, data: bytes) -> None:
        """Take in what was written."""
        text = self._rest + self._decode(data)
        self._rest, at = "", 0
        while at < len(text):
            begins = text.find("\x1b", at)
            self._text(text[at : begins if begins >= 0 else len(text)])
            if begins < 0:
                return
            match = self._SEQUENCE.match(text, begins)
            if match is None:
                self._rest = text[begins:]  # goes on in the next piece
                return
            self._stream.feed(self._known(match))
            at = match.end()

    def _text(self, text: str) -> None:
        self._stream.feed(text)
        self._last = text[-1:] or self._last

    def _known(self, match: re.Match[str]) -> str:
        """Return a sequence as pyte knows it, or nothing."""
        final, params = match["final"], match["params"]
        if final is None:
            return match[0] if match[0][1] in "78DEHMc#" else ""
        if match["between"] or match["private"] in ("<", "=", ">"):
            return ""
        if match["private"]:
            if final in "hl" and params in ("1049", "47", "1047"):
                return "\x1b[2J\x1b[H"
            return match[0] if final in "hl" else ""
        if final in "su" and not params:
            return "\x1b7" if final == "s" else "\x1b8"
        if final == "b":
            return self._last * int(params or 1)
        return match[0].replace(":", ";") if final not in "cnt" else ""

    def resize(self, columns: int, rows: int) -> None:
        """Change the size."""
        self._pyte.resize(rows, columns)

    def lines(self) -> list[str]:
        """Return the lines without spaces at their ends."""
        return [line.rstrip() for line in self._pyte.display]

    def cell(self, row: int, column: int) -> Any:
        """Return one character with its colours."""
        return self._pyte.buffer[row][column]

    def cursor(self) -> tuple[int, int]:
        """Return row and column of the cursor, from 1."""
        return self._pyte.cursor.y + 1, self._pyte.cursor.x + 1


def framed(lines: Sequence[str]) -> str:
    """Return lines of a screen with a frame, for messages."""
    width = max([len(line) for line in lines], default=0)
    return "\n".join(
        ["+" + "-" * width + "+", *(f"|{line:{width}}|" for line in lines), "+" + "-" * width + "+"]
    )
