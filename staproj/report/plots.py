"""Curves drawn with characters, for terminals over SSH."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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
    if high <= low:
        return 0
    return min(cells - 1, int((value - low) / (high - low) * (cells - 1) + 0.5))
