"""Send only what differs from what stands on the terminal: over a slow line, what is drawn twice costs twice.

The toolkit draws whole regions, several times a key, mostly as they were. :class:`Thrift` knows what was
sent, cell by cell, and lets through the cells that are new. :class:`ThriftyDriver` is the usual driver with
that in between.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from rich.cells import cell_len
from textual.drivers.linux_driver import LinuxDriver

Cell = tuple[str, str]
"""A character ("": the second half of the one before) and the numbers of its style, as in ``ESC [ ... m``."""

_PART = re.compile(
    r"\x1b\[(?P<row>\d+);(?P<column>\d+)H|\x1b\[(?P<style>[\d;]*)m|(?P<text>[^\x00-\x1f\x7f]+)|(?P<end>[\r\n])"
)
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_ELSEWHERE = ("\x1b]", "\x07", "\x1b[?2048", "\x1b[?25")
"""Beginnings of what leaves the cells alone: clipboard, bell, questions, cursor."""
_GAP = 5
"""So many cells that are known are cheaper sent again than jumped over."""


class Thrift:
    """What stands on a terminal, as far as it was sent."""

    def __init__(self) -> None:
        self._rows: dict[int, list[Cell | None]] = {}
        self._cursor: tuple[int, int] | None = None
        self._held = ""

    def forget(self) -> None:
        """Know nothing any more (another program wrote, the size changed): what comes next is sent whole."""
        self._rows, self._cursor = {}, None

    def filter(self, data: str, size: tuple[int, int]) -> str:
        """Return what makes a terminal of ``size`` (columns, rows) show what it would show after ``data``."""
        if data in (_BEGIN, _END):
            return self._mark(data)
        drawing = read_drawing(data, size)
        held, self._held = self._held, ""
        if drawing is None:  # something else, or it runs over the edge: what comes of it is not known
            if not data.startswith(_ELSEWHERE):
                self.forget()
            return held + data
        cells, cursor = drawing
        sent = "".join(self._changes(row, drawn) for row, drawn in cells.items())
        if sent or cursor != self._cursor:
            self._cursor = cursor
            return f"{held}{sent}\x1b[{cursor[0]};{cursor[1]}H"
        self._held = held
        return ""

    def _mark(self, data: str) -> str:
        """Hold the beginning of an update back until there is something in it."""
        if data == _BEGIN:
            self._held = data
            return ""
        held, self._held = self._held, ""
        return "" if held else data

    def _changes(self, row: int, drawn: Mapping[int, Cell]) -> str:
        """Return what must be sent for the cells that are drawn in a row, and remember them."""
        line = self._rows.setdefault(row, [])
        line += [None] * (max(drawn) + 1 - len(line))
        new = [column for column, cell in drawn.items() if line[column] != cell]
        for column in new:
            line[column] = drawn[column]
        parts, style = [], ""
        for first, last in _runs(sorted(new), line):
            parts.append(f"\x1b[{row};{first}H")
            for text, wanted in filter(None, line[first : last + 1]):
                if wanted != style:
                    parts.append(turn(style, wanted))
                    style = wanted
                parts.append(text)
        return "".join(parts) + ("\x1b[m" if style else "")


def read_drawing(
    data: str, size: tuple[int, int]
) -> tuple[dict[int, dict[int, Cell]], tuple[int, int]] | None:
    """Return the cells that are drawn, by row and column from 1, and where the cursor ends.

    None where ``data`` is anything but texts with styles at places within the terminal.
    """
    cells: dict[int, dict[int, Cell]] = {}
    row, column, at, style = 0, 0, 0, ""
    for part in _PART.finditer(data):
        kind = part.lastgroup
        if part.start() != at or not (row or kind == "column"):
            return None
        at = part.end()
        if kind == "column":
            row, column = int(part["row"]), int(part["column"])
        elif kind == "style":
            style = "" if part["style"] == "0" else part["style"]
        elif kind == "text":
            column = _put(cells.setdefault(row, {}), column, part["text"], style)
        else:
            row, column = (row + 1, 1) if part["end"] == "\n" else (row, 1)
        if not (0 < row <= size[1] and 0 < column <= size[0] + 1):
            return None
    return (cells, (row, min(column, size[0]))) if row and at == len(data) else None


def _put(line: dict[int, Cell], column: int, text: str, style: str) -> int:
    """Put a text into a line; return the column behind it."""
    for character in text:
        cells = 1 if character < "\x7f" else _width(character)
        if cells == 0:
            was = line.get(column - 1, ("", style))
            line[column - 1] = (was[0] + character, was[1])
            continue
        line[column] = (character, style)
        if cells == 2:
            line[column + 1] = ("", style)
        column += cells
    return column


_width = lru_cache(4096)(cell_len)


def _runs(columns: Iterable[int], line: list[Cell | None]) -> list[tuple[int, int]]:
    """Return (first, last) of what is sent in one go; a wide character always with both halves."""
    runs: list[tuple[int, int]] = []
    for column in columns:
        first = column - 1 if line[column] == ("", (line[column] or ("", ""))[1]) else column
        if runs and first - runs[-1][1] <= _GAP + 1 and None not in line[runs[-1][1] : first]:
            runs[-1] = (runs[-1][0], column)
        else:
            runs.append((first, column))
    return runs


@lru_cache(4096)
def turn(before: str, after: str) -> str:
    """Return what turns one style into another: only what differs where nothing is to be taken away."""
    if not after:
        return "\x1b[m"
    old, new = _attributes(before), _attributes(after)
    if not old.keys() <= new.keys():
        return f"\x1b[0;{after}m"
    return f"\x1b[{';'.join(value for name, value in new.items() if old.get(name) != value)}m"


def _attributes(style: str) -> dict[str, str]:
    """Return the parts of a style by what they are about: ``fg``, ``bg``, or a number such as 1 for bold."""
    numbers = style.split(";") if style else []
    found: dict[str, str] = {}
    while numbers:
        number = numbers.pop(0)
        name = number
        if number in ("38", "48") and numbers:
            count = 2 if numbers[0] == "5" else 4
            name, number = ("fg" if number == "38" else "bg"), ";".join([number, *numbers[:count]])
            numbers = numbers[count:]
        elif len(number) > 1 and number[:-1] in ("3", "9"):
            name = "fg"
        elif len(number) > 1 and number[:-1] in ("4", "10"):
            name = "bg"
        found[name] = number
    return found


class ThriftyDriver(LinuxDriver):
    """The driver of the toolkit, sending only what is new."""

    _thrift: Thrift | None = None
    _size_before: tuple[int, int] = (0, 0)

    def write(self, data: str) -> None:
        """Write what differs from what stands on the terminal."""
        if self._thrift is None:
            self._thrift = Thrift()
        size = self._get_terminal_size()
        if size != self._size_before:
            self._size_before = size
            self._thrift.forget()
        sent = self._thrift.filter(data, size)
        if sent:
            super().write(sent)

    def forget(self) -> None:
        """Send the next drawing whole: something else may have written to the terminal."""
        if self._thrift is not None:
            self._thrift.forget()
