"""Pictures drawn in a terminal: half blocks, characters, 256 colours, sixel and the kitty protocol.

Pixels are rows of grey values from 0 (black) to 255, the top row first: lists or arrays. Cells of a terminal
count as twice as high as they are wide.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby, pairwise
from typing import Any

from staproj.report.tables import number, size, table

RAMP = " .:-=+*#%@"
STYLES = ("auto", "blocks", "characters", "sixel", "kitty")
FIRST_GREY, GREYS = 232, 24
SIXEL_GREYS = 32
CHUNK = 4096
_KITTY = ("xterm-kitty", "xterm-ghostty")
_KITTY_PROGRAMS = ("ghostty",)
_SIXEL = ("foot", "foot-extra", "mlterm", "contour", "yaft-256color")
_SIXEL_PROGRAMS = ("WezTerm",)

Cells = list[list[tuple[int, int]]]


# ------------------------------------------------------------------------------------------------- cells
def half_blocks(pixels: Any, columns: int, rows: int) -> Cells:
    """Return a picture as cells ``(upper grey, lower grey)``, as large as fits with its proportions kept.

    Each grey value is the mean of the area that it covers.

    >>> half_blocks([[0, 255], [255, 0]], columns=2, rows=1)
    [[(0, 255), (255, 0)]]
    """
    grid = _resampled(_rows(pixels), columns, rows)
    return [list(zip(upper, lower, strict=True)) for upper, lower in zip(grid[::2], grid[1::2], strict=True)]


def characters(pixels: Any, columns: int, rows: int, ramp: str = RAMP) -> list[str]:
    """Return a picture as lines of characters, the darkest first in ``ramp``.

    >>> characters([[0, 255], [0, 255]], columns=2, rows=1)
    [' @']
    """
    cells = half_blocks(pixels, columns, rows)
    last = len(ramp) - 1
    return ["".join(ramp[round((a + b) * last / 510)] for a, b in line) for line in cells]


def ansi256(pixels: Any, columns: int, rows: int, *, steps: int = GREYS) -> list[str]:
    """Return a picture as lines of half blocks in the 24 greys of 256 colours.

    Codes are written only where a colour changes. ``steps``: fewer greys make fewer bytes.
    """
    lines = []
    for cells in half_blocks(pixels, columns, rows):
        parts: list[str] = []
        front = back = -1
        for (upper, lower), group in groupby((_code(a, steps), _code(b, steps)) for a, b in cells):
            codes = []
            if lower != back:
                codes.append(f"48;5;{lower}")
                back = lower
            if upper not in (lower, front):
                codes.append(f"38;5;{upper}")
                front = upper
            parts.append(f"\x1b[{';'.join(codes)}m" if codes else "")
            parts.append((" " if upper == lower else "▀") * len(list(group)))
        lines.append("".join(parts) + "\x1b[0m")
    return lines


def shown_px(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """Return how many pixels wide and high a picture is drawn in so many cells: one wide, two high each.

    Greys are best chosen for a picture of that size: noise that is averaged away needs no room in them.

    >>> shown_px(256, 240, 80, 24)
    (51, 48)
    """
    scale = min(max(columns, 1) / width, 2 * max(rows, 1) / height)
    wide = min(max(1, round(width * scale)), max(columns, 1))
    return wide, 2 * min(max(1, round(height * scale / 2)), max(rows, 1))


def _code(grey: int, steps: int) -> int:
    steps = min(max(steps, 2), GREYS)
    return FIRST_GREY + round(grey * steps // 256 * (GREYS - 1) / (steps - 1))


def _rows(pixels: Any) -> list[list[int]]:
    rows: list[list[int]] = pixels.tolist() if hasattr(pixels, "tolist") else [list(row) for row in pixels]
    if not rows or not rows[0]:
        raise ValueError("a picture has at least one pixel")
    return rows


def _resampled(pixels: list[list[int]], columns: int, rows: int) -> list[list[int]]:
    """Return a picture of at most ``columns`` x (2 * ``rows``) pixels, of an even number of rows."""
    wide, tall = shown_px(len(pixels[0]), len(pixels), columns, rows)
    narrow = [_means(row, wide) for row in pixels]
    turned = [_means(column, tall) for column in zip(*narrow, strict=True)]
    return [[round(value) for value in row] for row in zip(*turned, strict=True)]


def _means(values: Sequence[float], count: int) -> list[float]:
    """Return the means of ``count`` equal parts of a row of values, taking parts of pixels at the edges."""
    total = len(values)
    if count == total:
        return list(values)
    sums = list(accumulate(values, initial=0.0))
    sums.append(sums[-1])
    step = total / count
    edges = [min(index * step, total) for index in range(count + 1)]
    whole = [int(edge) for edge in edges]
    until = [sums[n] + (edge - n) * (sums[n + 1] - sums[n]) for n, edge in zip(whole, edges, strict=True)]
    return [(b - a) / step for a, b in pairwise(until)]


# ---------------------------------------------------------------------------------------------- graphics
def sixel(pixels: Any, *, factor: int = 1) -> str:
    """Return a picture as a sixel sequence of 32 greys; each pixel becomes ``factor`` x ``factor``."""
    rows = _enlarged(_rows(pixels), factor)
    levels = [[grey * SIXEL_GREYS // 256 for grey in row] for row in rows]
    used = sorted({level for row in levels for level in row})
    parts = [f'\x1bP0;1;0q"1;1;{len(rows[0])};{len(rows)}']
    for level in used:
        percent = round(100 * level / (SIXEL_GREYS - 1))
        parts.append(f"#{level};2;{percent};{percent};{percent}")
    for top in range(0, len(levels), 6):
        band = levels[top : top + 6]
        parts.append(
            "$".join(_band(band, level) for level in sorted({level for row in band for level in row}))
        )
        parts.append("-")
    return "".join(parts) + "\x1b\\"


def _band(band: list[list[int]], level: int) -> str:
    """Return the pixels of one grey in up to six rows: one character a column, runs as ``!count``."""
    bits = [
        sum(1 << row for row, value in enumerate(column) if value == level)
        for column in zip(*band, strict=True)
    ]
    parts = [f"#{level}"]
    for value, group in groupby(bits):
        count = len(list(group))
        sign = chr(63 + value)
        parts.append(f"!{count}{sign}" if count > 3 else sign * count)
    return "".join(parts)


def kitty(pixels: Any, *, columns: int | None = None) -> str:
    """Return a picture as sequences of the kitty graphics protocol: a PNG, in chunks of 4096 characters.

    ``columns``: as many cells wide the terminal draws it (without, in its own pixels). It is told not to
    answer.
    """
    data = base64.standard_b64encode(png(pixels)).decode()
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    first = "a=T,f=100,q=2" + (f",c={columns}" if columns else "")
    parts = []
    for index, chunk in enumerate(chunks):
        more = int(index < len(chunks) - 1)
        parts.append(f"\x1b_G{first + ',' if index == 0 else ''}m={more};{chunk}\x1b\\")
    return "".join(parts)


def png(pixels: Any) -> bytes:
    """Return a picture as a grey PNG file."""
    rows = _rows(pixels)
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows), 6)
    parts = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_part(kind, content) for kind, content in parts)


def _png_part(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _enlarged(rows: list[list[int]], factor: int) -> list[list[int]]:
    if factor <= 1:
        return rows
    return [wide for row in rows for wide in [[grey for grey in row for _ in range(factor)]] * factor]


# --------------------------------------------------------------------------------------- what a terminal can
def best_style(environment: Mapping[str, str], *, terminal: bool, has_unicode: bool) -> str:
    """Return how to draw on stdout: what is known to work, without asking the terminal.

    >>> best_style({"TERM": "xterm-256color"}, terminal=True, has_unicode=True)
    'blocks'
    >>> best_style({"TERM": "linux"}, terminal=True, has_unicode=True)
    'characters'
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if not terminal or environment.get("NO_COLOR") or term in ("", "dumb", "linux"):
        return "characters"
    if "TMUX" not in environment and not term.startswith(("screen", "tmux")):
        if term in _KITTY or program in _KITTY_PROGRAMS:
            return "kitty"
        if term in _SIXEL or program in _SIXEL_PROGRAMS:
            return "sixel"
    many = "256color" in term or bool(environment.get("COLORTERM")) or term in (*_KITTY, *_SIXEL)
    return "blocks" if many and has_unicode else "characters"


def drawn(pixels: Any, style: str, columns: int, rows: int) -> list[str]:
    """Return a picture as the lines to print, in one of ``STYLES`` but "auto"."""
    if style == "kitty":
        return [kitty(pixels, columns=_fitting(pixels, columns, rows))]
    if style == "sixel":
        longest = max(len(pixels), len(pixels[0]))
        return [sixel(pixels, factor=max(1, 512 // longest))]
    return ansi256(pixels, columns, rows) if style == "blocks" else characters(pixels, columns, rows)


def _fitting(pixels: Any, columns: int, rows: int) -> int:
    """Return how many columns a picture takes that fits, cells being twice as high as wide."""
    return max(1, min(columns, int(2 * rows * len(pixels[0]) / len(pixels))))


# ----------------------------------------------------------------------------------------------- in words
def caption(told: Mapping[str, Any]) -> list[str]:
    """Return what a picture shows: name, section, size of a pixel, and what black and white stand for."""
    where = f"{told['run']} {told['item'] or told['step']}: {told['name']}"
    if told["n_sections"] > 1:
        where += f", {told['axis']} section {told['section']} of 0 to {told['n_sections'] - 1}"
    shape = " x ".join(str(n) for n in reversed(told["shape"]))
    words = f"  {shape} px"
    if told["pixel_size_angstrom"]:
        words += f" of {number(told['pixel_size_angstrom'])} Å"
    if told["reduced"] > 1:
        words += f", {told['reduced']} x {told['reduced']} averaged to one"
    if told["row_step"] > 1:
        words += f", of every {told['row_step']}th section"
    if told["low"] is not None and told["kind"] != "preview":
        words += f"; black {number(told['low'])}, white {number(told['high'])} ({told['range']})"
    return [where, words]


def listing_lines(run: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line a picture, volume or stack of a run."""
    if not rows:
        return [f"{run} has no pictures"]
    shown = [
        [
            row["name"],
            row["item"] or "-",
            f"{row['kind']} ({row['artifact']})" if row["artifact"] else row["kind"],
            " x ".join(str(n) for n in reversed(row["shape"])) if row["shape"] else "-",
            row["pixel_size_angstrom"],
            size(row["bytes"]) if row["bytes"] is not None else "-",
            row["note"],
        ]
        for row in rows
    ]
    return table(["picture", "tilt series", "kind", "px", "Å/px", "size", ""], shown)
