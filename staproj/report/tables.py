"""Tables and values as lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from staproj.report.visible import one_line
from staproj.units import Unit


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, indent: int = 0) -> list[str]:
    """Return an aligned table; columns that hold only numbers are aligned to the right.

    >>> table(["step", "px"], [["ctf", 0.5], ["fine", 12]])
    ['step  px', 'ctf   0.5', 'fine   12']
    """
    raw = [list(row) for row in rows]
    cells = [[one_line(value if isinstance(value, str) else number(value)) for value in row] for row in raw]
    if not cells:
        return []
    right = [all(_is_number(row[i]) for row in raw) for i in range(len(header))]
    widths = [max(len(text) for text in column) for column in zip(list(header), *cells, strict=True)]
    margin = " " * indent
    first = margin + "  ".join("{:<%d}" % width for width in widths)  # noqa: UP031 - a format of formats
    others = margin + "  ".join(
        "{:%s%d}" % (">" if to_right else "<", width)  # noqa: UP031 - as above
        for width, to_right in zip(widths, right, strict=True)
    )
    return [first.format(*header).rstrip(), *(others.format(*row).rstrip() for row in cells)]


def pairs(values: Mapping[str, Any], *, indent: int = 2) -> list[str]:
    """Return ``name  value`` lines, names aligned."""
    shown = {one_line(name): one_line(v) if isinstance(v, str) else v for name, v in values.items()}
    width = max((len(name) for name in shown), default=0)
    return [f"{' ' * indent}{name.ljust(width)}  {number(value)}" for name, value in shown.items()]


def number(value: Any) -> str:
    """Return a value as a person writes it: four figures, dashes for what is missing.

    >>> number(3.14159265), number(1234567.0), number(None), number(True), number([1, 2.5])
    ('3.142', '1234567', '-', 'yes', '[1, 2.5]')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if math.isnan(value):
            return "-"
        if value == round(value) and abs(value) < 1e9:
            return str(int(value))
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {number(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(number(v) for v in value) + "]"
    return str(value)


def unit_of(name: str) -> str:
    """Return the unit that a name's suffix stands for, as it is shown (empty for pure numbers)."""
    found = max(
        (u for u in Unit if u.suffix and name.endswith(u.suffix)),
        key=lambda u: len(u.suffix),
        default=Unit.ONE,
    )
    return found.value


def duration(seconds: float | None) -> str:
    """Return a time span as a person says it.

    >>> duration(3.21), duration(75), duration(7300)
    ('3.2 s', '1 min 15 s', '2 h 01 min')
    """
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def size(n_bytes: float) -> str:
    """Return a number of bytes as a person says it.

    >>> size(512), size(3_500_000)
    ('512 B', '3.5 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
