"""Curves drawn with characters, for terminals over SSH."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from staproj.report.tables import number


def plot(
    x: Sequence[float], y: Sequence[float], *, x_label: str, y_label: str, width: int = 64, height: int = 14
) -> list[str]:
    """Return a curve as lines of text: y upwards, both axes with their range.

    >>> for line in plot([0, 1, 2], [0, 1, 0], x_label="x", y_label="y", width=3, height=2): print(line)
    y
    1 ┤ •
    0 ┤• •
      └───
       0 2  x
    """
    points = [
        (float(a), float(b)) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)
    ]
    if not points:
        return [f"{y_label}: nothing to draw"]
    low_x, high_x = min(p[0] for p in points), max(p[0] for p in points)
    low_y, high_y = min(p[1] for p in points), max(p[1] for p in points)
    grid = [[" "] * width for _ in range(height)]
    for a, b in points:
        column = _cell(a, low_x, high_x, width)
        row = height - 1 - _cell(b, low_y, high_y, height)
        grid[row][column] = "•"
    return _framed(grid, (low_x, high_x), (low_y, high_y), x_label, y_label)


GLYPHS = "•×+o*#@%&=abcdefghijklmnopqrstuvwyz"


def overlay(
    lines: Sequence[tuple[str, Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    level: float | None = None,
    width: int = 64,
    height: int = 14,
) -> list[str]:
    """Return several curves over each other, each with a sign of its own, and what each sign stands for.

    ``lines`` are ``(name, x, y)``; ``level`` is drawn as a dashed line. Where curves meet stands the sign of
    the first.

    >>> for line in overlay([("a", [0, 1], [0, 1]), ("b", [0, 1], [1, 0])], x_label="x", y_label="y",
    ...                     width=3, height=2): print(line)
    y
    1 ┤× •
    0 ┤• ×
      └───
       0 1  x
      • a
      × b
    """
    points = [
        [(float(a), float(b)) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
        for _, x, y in lines
    ]
    every = [point for one in points for point in one]
    if not every:
        return [f"{y_label}: nothing to draw"]
    low_x, high_x = min(p[0] for p in every), max(p[0] for p in every)
    heights = [p[1] for p in every] + ([level] if level is not None else [])
    low_y, high_y = min(heights), max(heights)
    grid = [[" "] * width for _ in range(height)]
    if level is not None:
        grid[height - 1 - _cell(level, low_y, high_y, height)] = ["╌"] * width
    for index in reversed(range(len(lines))):
        for a, b in points[index]:
            row, column = height - 1 - _cell(b, low_y, high_y, height), _cell(a, low_x, high_x, width)
            grid[row][column] = GLYPHS[index % len(GLYPHS)]
    marks = {}
    if level is not None:
        marks[height - 1 - _cell(level, low_y, high_y, height)] = number(level)
    drawn = _framed(grid, (low_x, high_x), (low_y, high_y), x_label, y_label, marks)
    margin = " " * (drawn[1].index("┤") - 1)
    legend = [f"{margin} {GLYPHS[i % len(GLYPHS)]} {name}" for i, (name, _, _) in enumerate(lines)]
    return [*drawn, *legend]


@dataclass(frozen=True)
class Drawing:
    """Lines of text, and for each character the number of the curve that it belongs to (-1: none)."""

    lines: list[str]
    owners: list[list[int]]


ASCII_GLYPHS = "*x+o#@%&=abcdefghijklmnpqrstuvwyz"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def draw(
    lines: Sequence[tuple[str, Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    level: float | None = None,
    width: int = 78,
    height: int = 20,
    braille: bool = True,
    joined: bool = True,
    log_x: bool = False,
) -> Drawing:
    """Draw curves into a field of ``width`` by ``height`` characters, axes and legend included.

    With ``braille`` a character holds two by four dots, and curves carry their signs here and there;
    without, everything is ASCII but the frame. Points are ``joined`` by lines; a value that is not finite
    leaves a gap.
    ``log_x`` gives every factor of x the same room (x that is not positive is left out).

    >>> for line in draw([("", [0, 1, 2], [0, 1, 0])], x_label="x", y_label="y", width=9, height=5).lines:
    ...     print(line)
    y
    1 ┤ ⢀⠔⠱⡀
    0 ┤⡠⠊  ⠈⢆
      └──────
       0    2  x
    """
    points = [_points(x, y, log_x=log_x) for _, x, y in lines]
    every = [point for one in points for point in one if point is not None]
    if not every:
        text = f"{y_label or 'curve'}: nothing to draw"
        return Drawing([text], [[-1] * len(text)])
    across = _range([point[0] for point in every])
    upwards = _range([point[1] for point in every] + ([level] if level is not None else []))
    shown_x = (10 ** across[0], 10 ** across[1]) if log_x else across
    in_angstrom = x_label.endswith("_per_angstrom") and shown_x[0] >= 0
    glyphs = GLYPHS if braille else ASCII_GLYPHS
    legend = _legend([name for name, _, _ in lines], glyphs, width)
    rows = max(height - 3 - in_angstrom - len(legend), 2)
    fine = 4 if braille else 1
    at = -1
    if level is not None:
        upwards = _away_from_ends(level, upwards, rows)
        at = rows - 1 - _cell(level, *upwards, rows * fine) // fine
    marks = _ticks(*upwards, rows, fine)
    if level is not None:
        marks = {row: mark for row, mark in marks.items() if abs(row - at) > 1} | {at: number(level)}
    margin = max(len(mark) for mark in [*marks.values(), *map(number, upwards)])
    canvas = _Canvas(max(width - margin - 2 - 3 * in_angstrom, 6), rows, braille=braille)
    if level is not None:
        canvas.level(_cell(level, *upwards, rows * fine))
    for index in reversed(range(len(points))):
        canvas.curve(index, _dots(points[index], across, upwards, canvas.dots, joined=joined))
    canvas.signs([glyphs[i % len(glyphs)] for i in range(len(lines))])
    drawn = _framed(canvas.cells, shown_x, upwards, x_label, y_label, marks)
    owners = [[-1] * len(line) for line in drawn]
    for row, line in enumerate(canvas.owners):
        owners[row + 1] = [-1] * (margin + 2) + line
    for text, line in legend:
        drawn.append(text)
        owners.append(line)
    return Drawing(drawn, owners)


Point = tuple[float, float] | None


def _points(x: Sequence[float], y: Sequence[float], *, log_x: bool) -> list[Point]:
    """Return points as numbers that can be drawn; ``None`` where there is a gap."""
    found: list[Point] = []
    for a, b in zip(x, y, strict=False):
        good = a is not None and b is not None and math.isfinite(a) and math.isfinite(b)
        if good and (not log_x or a > 0):
            found.append((math.log10(a) if log_x else float(a), float(b)))
        else:
            found.append(None)
    return found


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the least and the largest value; around a single one there is some room."""
    low, high = min(values), max(values)
    room = (abs(low) * 0.1 or 1.0) if high <= low else 0.0
    return (
        (low - room, high + room) if math.isfinite(low - room) and math.isfinite(high + room) else (low, high)
    )


def _away_from_ends(level: float, upwards: tuple[float, float], rows: int) -> tuple[float, float]:
    """Return a range in which a level has a row of its own, so that its number has room on the axis."""
    low, high = upwards
    room = 2 * (high / rows - low / rows)
    lower, higher = min(low, level - room), max(high, level + room)
    return (lower, higher) if rows > 4 and math.isfinite(lower) and math.isfinite(higher) else upwards


def _ticks(low: float, high: float, rows: int, fine: int) -> dict[int, str]:
    """Return round numbers for the y axis: ``{row: mark}``, about one every four rows, none beside an end."""
    span = high - low
    if not math.isfinite(span) or span <= 0 or rows < 8:
        return {}
    rough = span / (rows / 4)
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 1e-300 else 0.0
    if power == 0.0:
        return {}
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    marks = {}
    for count in range(math.ceil(low / step), math.floor(high / step) + 1):
        row = rows - 1 - _cell(count * step, low, high, rows * fine) // fine
        if 1 < row < rows - 2:
            marks[row] = number(float(f"{count * step:.4g}"))
    return marks


def _dots(
    points: Sequence[Point],
    across: tuple[float, float],
    upwards: tuple[float, float],
    size: tuple[int, int],
    *,
    joined: bool,
) -> Iterator[tuple[int, int]]:
    """Yield the dots of a curve, from the left lower corner, with those between two points."""
    before: tuple[int, int] | None = None
    for point in points:
        if point is None:
            before = None
            continue
        here = (_cell(point[0], *across, size[0]), _cell(point[1], *upwards, size[1]))
        if joined and before is not None and before != here:
            steps = max(abs(here[0] - before[0]), abs(here[1] - before[1]))
            for k in range(1, steps):
                yield (
                    round(before[0] + (here[0] - before[0]) * k / steps),
                    round(before[1] + (here[1] - before[1]) * k / steps),
                )
        yield here
        before = here


class _Canvas:
    """Characters to draw curves on. ``fine``: dots across and upwards that one character holds."""

    def __init__(self, width: int, height: int, *, braille: bool) -> None:
        self.fine = (2, 4) if braille else (1, 1)
        self.dots = (width * self.fine[0], height * self.fine[1])
        self.cells = [[" "] * width for _ in range(height)]
        self.owners = [[-1] * width for _ in range(height)]
        self.paths: dict[int, dict[int, int]] = {}
        self.n_dots: dict[int, int] = {}
        self.shared: dict[tuple[int, int], list[int]] = {}
        self.braille = braille

    def level(self, height: int) -> None:
        """Draw a dashed line at a height, in dots."""
        row, sign = len(self.cells) - 1 - height // self.fine[1], "-"
        if self.braille:
            sign = chr(0x2800 + _DOTS[3 - height % 4][0])
        self.cells[row] = [sign] * len(self.cells[row])

    def curve(self, index: int, dots: Iterator[tuple[int, int]]) -> None:
        """Draw the dots of a curve."""
        path = self.paths.setdefault(index, {})
        seen = set()
        for across, upwards in dots:
            row, column = len(self.cells) - 1 - upwards // self.fine[1], across // self.fine[0]
            path.setdefault(column, row)
            seen.add((across, upwards))
            if index not in self.shared.setdefault((row, column), []):
                self.shared[row, column].append(index)
            bits = 0
            if self.braille:
                is_curve = self.owners[row][column] >= 0
                bits = ord(self.cells[row][column]) - 0x2800 if is_curve else 0
                bits |= _DOTS[3 - upwards % 4][across % 2]
            self.cells[row][column] = chr(0x2800 + bits)
            self.owners[row][column] = index
        self.n_dots[index] = len(seen)

    def signs(self, glyphs: Sequence[str]) -> None:
        """Put the sign of each curve on it: everywhere where no dots are drawn, else here and there."""
        if not self.braille:
            for (row, column), curves in self.shared.items():  # where several meet, they take turns
                owner = curves[column % len(curves)]
                self.owners[row][column] = owner
                self.cells[row][column] = glyphs[owner]
            return
        count = len(glyphs)
        gap = max(6, len(self.cells[0]) // 8, count)
        for index in reversed(range(count)):
            path, few = self.paths[index], self.n_dots[index] < 4
            if not path or (count == 1 and not few):
                continue
            columns = [c for c in path if few or c % gap == (index * gap // count + gap // 2) % gap]
            for column in columns or [sorted(path)[len(path) // 2]]:
                self.cells[path[column]][column] = glyphs[index]
                self.owners[path[column]][column] = index


def _legend(names: Sequence[str], glyphs: str, width: int) -> list[tuple[str, list[int]]]:
    """Return what each sign stands for, several to a line, with the curve of each character."""
    found: list[tuple[str, list[int]]] = []
    for index, name in enumerate(names):
        if not name:
            continue
        entry = f"{glyphs[index % len(glyphs)]} {name}"
        if found and len(found[-1][0]) + 3 + len(entry) <= width:
            text, owners = found.pop()
            found.append((f"{text}   {entry}", [*owners, -1, -1, -1, index, *[-1] * (len(entry) - 1)]))
        else:
            found.append((f"  {entry}", [-1, -1, index, *[-1] * (len(entry) - 1)]))
    return found


def bars(values: Sequence[float], *, width: int = 60) -> str:
    """Return values as one line of little bars, all of the same scale.

    >>> bars([0, 1, 2, 4])
    '▁▃▅█'
    """
    shown = [float(v) for v in values if math.isfinite(v)]
    if not shown:
        return ""
    step = max(1, math.ceil(len(shown) / width))
    merged = [max(shown[i : i + step]) for i in range(0, len(shown), step)]
    low, high = min(merged), max(merged)
    return "".join("▁▂▃▄▅▆▇█"[_cell(v, low, high, 8)] for v in merged)


def _framed(
    grid: Sequence[Sequence[str]],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    x_label: str,
    y_label: str,
    marks: Mapping[int, str] | None = None,
) -> list[str]:
    """Return cells with axes around them; ``marks`` are further marks of the y axis, by row."""
    (low_x, high_x), (low_y, high_y) = x_range, y_range
    height, width = len(grid), len(grid[0])
    told = {**(marks or {}), 0: number(high_y), height - 1: number(low_y)}
    margin = max(len(mark) for mark in told.values())
    lines = [y_label]
    for index, cells in enumerate(grid):
        lines.append(f"{told.get(index, '').rjust(margin)} ┤{''.join(cells)}".rstrip())
    lines.append(" " * (margin + 1) + "└" + "─" * width)
    lines.append(" " * (margin + 2) + _axis(number(low_x), number(high_x), width, x_label))
    if x_label.endswith("_per_angstrom") and low_x >= 0:  # people think of resolution in Å
        ends = _axis(_resolution(low_x), _resolution(high_x), width, "Å", inside=False)
        lines.append(" " * (margin + 2) + ends)
    return lines


def _axis(left: str, right: str, width: int, label: str, *, inside: bool = True) -> str:
    """Return both ends of an axis with its label between them, or after them where there is no room."""
    room = width - len(left) - len(right)
    if inside and room >= len(label) + 4:
        return left + label.center(room) + right
    return left + right.rjust(max(width - len(left), len(right) + 1)) + f"  {label}"


def _resolution(frequency: float) -> str:
    return number(1.0 / frequency) if frequency > 0 else "∞"


def _cell(value: float, low: float, high: float, cells: int) -> int:
    span = high / 2 - low / 2  # halves: a range from -1e308 to 1e308 has a width too
    if not span > 0:
        return 0
    return min(cells - 1, int((value / 2 - low / 2) / span * (cells - 1) + 0.5))
