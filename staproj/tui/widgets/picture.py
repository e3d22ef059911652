"""A grey picture in half blocks: two pixels a cell, 24 greys; characters where a terminal has none."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from staproj.report.pictures import characters, half_blocks
from staproj.tui import look as looks
from staproj.tui.look import Look

FIRST_GREY, GREYS = 232, 24


class PicturePane(Widget):
    """Shows one picture as large as there is room, its proportions kept."""

    DEFAULT_CSS = "PicturePane { height: 1fr; width: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.title_text = ""
        self.words = ""
        self._pixels: Any = None
        self._drawn: tuple[tuple[int, int], list[Strip]] | None = None

    @property
    def look(self) -> Look:
        """What the terminal can show."""
        return getattr(self.app, "look", Look())

    def show(self, pixels: Any, title: str = "") -> None:
        """Show rows of grey values (0 to 255)."""
        self._pixels, self.title_text, self.words, self._drawn = pixels, title, "", None
        self.refresh()

    def clear(self, words: str = "") -> None:
        """Show words instead of a picture."""
        if self._pixels is not None or words != self.words:
            self._pixels, self.words, self._drawn = None, words, None
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one line: the title, then the picture."""
        width = self.size.width
        if self._pixels is None:
            words = self.look.plain(self.words) if y == 0 else ""
            return Strip([Segment(words, looks.DIM)]).adjust_cell_length(width, looks.PLAIN)
        if y == 0:
            return Strip([Segment(self.look.plain(self.title_text), looks.BOLD)]).adjust_cell_length(
                width, looks.PLAIN
            )
        size = (width, self.size.height - 1)
        if self._drawn is None or self._drawn[0] != size:
            self._drawn = (size, self._draw(*size))
        lines = self._drawn[1]
        return (lines[y - 1] if y <= len(lines) else Strip.blank(width, looks.PLAIN)).adjust_cell_length(
            width, looks.PLAIN
        )

    def _draw(self, columns: int, rows: int) -> list[Strip]:
        if columns < 2 or rows < 1:
            return []
        if not has_greys(self.look):
            return [Strip([Segment(line, looks.PLAIN)]) for line in characters(self._pixels, columns, rows)]
        strips = []
        for line in half_blocks(self._pixels, columns, rows):
            segments: list[Segment] = []
            run, last = 0, None
            for upper, lower in line:
                pair = (upper * GREYS // 256, lower * GREYS // 256)
                if pair != last and last is not None:
                    segments.append(Segment(_character(last) * run, _style(last)))
                    run = 0
                last, run = pair, run + 1
            if last is not None:
                segments.append(Segment(_character(last) * run, _style(last)))
            strips.append(Strip(segments))
        return strips


def has_greys(look: Look) -> bool:
    """Tell whether the terminal has Unicode and 256 colours."""
    term, colours = os.environ.get("TERM", ""), os.environ.get("COLORTERM", "")
    many = "256" in term or bool(colours) or term.startswith(("xterm-kitty", "alacritty", "foot", "wezterm"))
    return look.unicode and look.colours and many


def _character(pair: tuple[int, int]) -> str:
    return " " if pair[0] == pair[1] else "▀"


@cache
def _style(pair: tuple[int, int]) -> Style:
    upper, lower = (FIRST_GREY + min(grey, GREYS - 1) for grey in pair)
    if upper == lower:
        return Style(bgcolor=f"color({lower})")
    return Style(color=f"color({upper})", bgcolor=f"color({lower})")
