"""Curves drawn with characters, for terminals over SSH."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    top, bottom = number(high_y), number(low_y)
    margin = max(len(top), len(bottom))
    lines = [y_label]
    for index, cells in enumerate(grid):
        mark = top if index == 0 else bottom if index == height - 1 else ""
        lines.append(f"{mark.rjust(margin)} ┤{''.join(cells)}".rstrip())
    left, right = number(low_x), number(high_x)
    lines.append(" " * (margin + 1) + "└" + "─" * width)
    lines.append(
        " " * (margin + 2) + left + right.rjust(max(width - len(left), len(right) + 1)) + f"  {x_label}"
    )
    if x_label.endswith("_per_angstrom") and low_x >= 0:  # people think of resolution in Å
        left, right = _resolution(low_x), _resolution(high_x)
        lines.append(" " * (margin + 2) + left + right.rjust(max(width - len(left), len(right) + 1)) + "  Å")
    return lines


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


def _resolution(frequency: float) -> str:
    return number(1.0 / frequency) if frequency > 0 else "∞"


def _cell(value: float, low: float, high: float, cells: int) -> int:
    if high <= low:
        return 0
    return min(cells - 1, int((value - low) / (high - low) * (cells - 1) + 0.5))
