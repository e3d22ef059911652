"""Pictures in a terminal: known pictures give known cells, and other readers read each protocol back."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

import imagecodecs
import numpy as np
import pytest

from staproj.report import pictures as report
from staproj.report.pictures import ansi256, best_style, characters, drawn, half_blocks, kitty, png, sixel

SQUARE = [[0, 0, 0, 0], [0, 255, 255, 0], [0, 255, 255, 0], [0, 0, 0, 0]]


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width), dtype=np.uint8)


def test_a_square_gives_its_cells() -> None:
    """A picture of 4 x 4 pixels in 4 x 2 cells: each pixel is one half of a cell."""
    assert half_blocks(SQUARE, columns=4, rows=2) == [
        [(0, 0), (0, 255), (0, 255), (0, 0)],
        [(0, 0), (255, 0), (255, 0), (0, 0)],
    ]
    assert half_blocks(np.array(SQUARE, dtype=np.uint8), 4, 2) == half_blocks(SQUARE, 4, 2)
    assert characters(SQUARE, 4, 2, ramp=" .#") == [" .. ", " .. "]


def test_a_gradient_is_averaged_over_areas() -> None:
    """Of 0, 10, ..., 50 in two columns: means 10 and 40; in four, edges share a pixel by its part."""
    rows = [[0, 10, 20, 30, 40, 50]] * 6
    assert half_blocks(rows, columns=2, rows=1) == [[(10, 10), (40, 40)]]
    (cells,) = half_blocks([[0, 30, 60]] * 2, columns=2, rows=9)
    assert cells == [(10, 10), (50, 50)], "the pixel in the middle is half of either"


@pytest.mark.parametrize(
    ("height", "width", "columns", "rows", "shown"),
    [
        (7, 5, 80, 24, (24, 34)),  # height decides: 48 half rows, 5/7 of it wide
        (5, 7, 20, 40, (7, 20)),  # width decides: 20 columns, 14 half rows
        (1, 1, 9, 3, (3, 6)),
        (3, 300, 10, 10, (1, 10)),
        (301, 3, 10, 4, (4, 1)),
        (50, 33, 1, 1, (1, 1)),
    ],
)
def test_proportions_are_kept_and_the_box_is_not_left(
    height: int, width: int, columns: int, rows: int, shown: tuple[int, int]
) -> None:
    """A cell counts as 1 x 2; odd and lopsided pictures too are as large as fits, and no larger."""
    cells = half_blocks(_noise(height, width), columns, rows)
    assert (len(cells), {len(line) for line in cells}) == (shown[0], {shown[1]})


def test_the_mean_grey_stays() -> None:
    """Whatever the sizes, no light is lost: the mean of all cells is that of all pixels."""
    picture = _noise(61, 47)
    for columns, rows in ((11, 7), (80, 24), (47, 31)):
        cells = np.array(half_blocks(picture, columns, rows))
        assert cells.mean() == pytest.approx(picture.mean(), abs=0.6)


def _decoded(line: str) -> list[tuple[int, int]]:
    """Read a line of half blocks with 256-colour codes back into (upper, lower) colours."""
    cells = []
    front = back = None
    for codes, text in re.findall(r"\x1b\[([0-9;]*)m([^\x1b]*)", line):
        parts = codes.split(";")
        for kind, five, colour in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            assert five == "5"
            front, back = (int(colour), back) if kind == "38" else (front, int(colour))
        for sign in text:
            assert sign in " ▀"
            cells.append((back if sign == " " else front, back))
    return cells


def test_colours_are_the_greys_of_the_cells_and_written_when_they_change() -> None:
    """Read back, each half has one of 24 greys; a plain area takes one code a line."""
    picture = _noise(23, 31)
    lines = ansi256(picture, 31, 12)
    for line, cells in zip(lines, half_blocks(picture, 31, 12), strict=True):
        assert line.endswith("\x1b[0m")
        wanted = [tuple(232 + grey * 24 // 256 for grey in cell) for cell in cells]
        assert _decoded(line.removesuffix("\x1b[0m")) == wanted
    assert ansi256([[100] * 8] * 8, 8, 4) == [f"\x1b[48;5;{232 + 9}m        \x1b[0m"] * 4
    few = ansi256(picture, 31, 12, steps=4)
    assert len({cell for line in few for pair in _decoded(line[:-4]) for cell in pair}) == 4
    assert sum(map(len, few)) < 0.8 * sum(map(len, lines))


def _read_sixel(text: str) -> np.ndarray:
    """Read a sixel picture: percentages of grey."""
    found = re.fullmatch(r'\x1bP[0-9;]*q"1;1;(\d+);(\d+)(.*)\x1b\\', text, flags=re.DOTALL)
    assert found
    picture = np.full((int(found[2]), int(found[1])), -1)
    palette: dict[int, int] = {}
    colour = x = y = 0
    tokens = re.compile(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|(\$)|(-)")
    at = 0
    while at < len(found[3]):
        token = tokens.match(found[3], at)
        assert token, found[3][at : at + 20]
        at = token.end()
        if token[1]:
            assert token[2] == token[3] == token[4]
            palette[int(token[1])] = int(token[2])
        elif token[5]:
            colour = int(token[5])
        elif token[9]:
            x = 0
        elif token[10]:
            x, y = 0, y + 6
        else:
            count = int(token[6] or 1)
            for bit in range(6):
                if (ord(token[7] or token[8]) - 63) >> bit & 1:
                    assert (picture[y + bit, x : x + count] == -1).all(), "a pixel is drawn once"
                    picture[y + bit, x : x + count] = palette[colour]
            x += count
    return picture


@pytest.mark.parametrize("shape", [(6, 9), (13, 7), (1, 1), (29, 64)])
def test_a_sixel_picture_can_be_read_back(shape: tuple[int, int]) -> None:
    """Every pixel is drawn once, within half a step of 32 greys; heights need be no multiple of six."""
    picture = _noise(*shape)
    found = _read_sixel(sixel(picture))
    assert found.shape == shape
    assert np.abs(found - picture / 2.55).max() <= 100 / 31 + 0.5
    assert found.max() - found.min() > 60 or shape == (1, 1)
    assert np.array_equal(_read_sixel(sixel(picture, factor=3)), found.repeat(3, axis=0).repeat(3, axis=1))
    assert _read_sixel(sixel([[0, 255]])).tolist() == [[0, 100]]


def test_runs_of_a_sixel_picture_are_merged() -> None:
    """A plain picture of a hundred columns takes a few characters a band."""
    assert len(sixel([[9] * 100] * 12)) < 80


@pytest.mark.parametrize("shape", [(1, 1), (40, 33), (151, 200)])
def test_another_reader_reads_the_png_of_kitty(shape: tuple[int, int]) -> None:
    """Chunks of at most 4096 characters, of which all but the last say that more comes, make up one PNG."""
    picture = _noise(*shape)
    text = kitty(picture, columns=17)
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert "".join(f"\x1b_G{keys};{data}\x1b\\" for keys, data in parts) == text
    more = [re.search(r"m=(\d)", keys)[1] for keys, _ in parts]  # type: ignore[index]
    assert more == ["1"] * (len(parts) - 1) + ["0"]
    assert all(len(data) <= 4096 for _, data in parts)
    assert all(len(data) % 4 == 0 for _, data in parts)
    assert {"a=T", "f=100", "q=2", "c=17"} <= set(parts[0][0].split(","))
    data = base64.b64decode("".join(data for _, data in parts))
    assert np.array_equal(imagecodecs.png_decode(data), picture)
    assert (len(parts) > 1) == (shape == (151, 200))


def test_an_empty_picture_is_refused() -> None:
    """There is nothing to draw of no pixels."""
    for draw in (png, sixel, lambda pixels: half_blocks(pixels, 3, 3)):
        with pytest.raises(ValueError, match="at least one pixel"):
            draw([])


@pytest.mark.parametrize(
    ("environment", "terminal", "style"),
    [
        ({"TERM": "xterm-256color"}, True, "blocks"),
        ({"TERM": "xterm-256color"}, False, "characters"),
        ({"TERM": "xterm"}, True, "characters"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, True, "blocks"),
        ({"TERM": "linux", "COLORTERM": "truecolor"}, True, "characters"),
        ({"TERM": "dumb"}, True, "characters"),
        ({}, True, "characters"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, "characters"),
        ({"TERM": "xterm-kitty"}, True, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, True, "kitty"),
        ({"TERM": "foot"}, True, "sixel"),
        ({"TERM": "tmux-256color", "TMUX": "x", "TERM_PROGRAM": "tmux"}, True, "blocks"),
        ({"TERM": "xterm-kitty", "TMUX": "x"}, True, "blocks"),
    ],
)
def test_the_style_is_one_the_terminal_is_known_to_show(
    environment: Mapping[str, str], terminal: bool, style: str
) -> None:
    """Nothing is sent that might appear as rubbish: protocols only where known, never through tmux."""
    assert best_style(environment, terminal=terminal, has_unicode=True) == style
    assert best_style(environment, terminal=terminal, has_unicode=False) != "blocks"


@pytest.mark.parametrize("style", [style for style in report.STYLES if style != "auto"])
def test_every_style_draws(style: str) -> None:
    """Each style gives lines no wider than the room there is (protocols: one sequence)."""
    lines = drawn(_noise(30, 40), style, 20, 10)
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    if style in ("blocks", "characters"):
        assert max(map(len, plain)) <= 20
        assert len(plain) <= 10
    else:
        assert len(lines) == 1
        assert lines[0].endswith("\x1b\\")


def test_words_of_a_picture() -> None:
    """The caption has section, pixels and greys; names of unknown origin stay one cell of the table."""
    told = {
        "run": "r0010",
        "step": "reconstruct",
        "name": "t.mrc",
        "item": "TS_01",
        "kind": "volume",
        "axis": "y",
        "section": 4,
        "n_sections": 9,
        "shape": [3, 9, 700],
        "pixel_size_angstrom": 5.4,
        "reduced": 3,
        "row_step": 1,
        "low": -1.0,
        "high": 2.0,
        "range": "1 % to 99 % of this section",
    }
    assert report.caption(told) == [
        "r0010 TS_01: t.mrc, y section 4 of 0 to 8",
        "  700 x 9 x 3 px of 5.4 Å, 3 x 3 averaged to one; black -1, white 2 (1 % to 99 % of this section)",
    ]
    row = {"name": "a\x1b[2J", "item": None, "kind": "volume", "artifact": "map", "shape": None}
    row |= {"pixel_size_angstrom": None, "bytes": 5, "note": "there is no such file"}
    _, line = report.listing_lines("r0001", [row])
    assert "\x1b" not in line
    assert line.split() == ["a\\x1b[2J", "-", "volume", "(map)", "-", "-", "5", "B", *row["note"].split()]
    assert report.listing_lines("r0001", []) == ["r0001 has no pictures"]
