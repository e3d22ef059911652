"""Curves as large as the pane is: drawn again when its size changes, and never for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from staproj.report.plots import Drawing, draw
from staproj.report.visible import one_line
from staproj.tui import look as looks
from staproj.tui.look import Look

CURVES = (
    Style(color="cyan"),
    Style(color="yellow"),
    Style(color="magenta"),
    Style(color="green"),
    Style(color="blue"),
    Style(color="red"),
)
"""Colours of curves, in turn; each has a sign of its own too."""
_COPIED = (100, 30)


class PlotPane(Widget, can_focus=False):
    """One or several curves with axes and a legend; fine dots where the terminal has them.

    It takes no keys unless a screen sets ``can_focus``.
    """

    DEFAULT_CSS = "PlotPane { height: 1fr; width: 1fr; }"

    def __init__(self, *, id: str | None = None, empty: str = "no curve here") -> None:
        super().__init__(id=id)
        self.title = ""
        self._message = empty
        self._lines: list[tuple[str, list[Any], list[Any]]] = []
        self._how: dict[str, Any] = {}
        self._drawn: tuple[tuple[int, int], Drawing] | None = None

    @property
    def look(self) -> Look:
        """What the terminal can show."""
        return getattr(self.app, "look", Look())

    def text(self) -> str:
        """Return the drawing as text, in a size for copying."""
        return "\n".join(self._draw(*_COPIED).lines)

    @property
    def names(self) -> list[str]:
        """What the curves are called."""
        return [name for name, _, _ in self._lines]

    def show(
        self,
        lines: Sequence[Mapping[str, Any]],
        x_label: str,
        y_label: str,
        level: float | None = None,
        title: str = "",
        *,
        log_x: bool = False,
        joined: bool = True,
    ) -> None:
        """Show curves: each ``{"name", "x", "y"}``, values that are not finite leave a gap.

        ``level`` is a dashed line across, ``title`` stands before the name of the y axis. ``log_x`` gives
        every factor of x the same room; without ``joined`` points stand alone.
        """
        new = [(one_line(str(line.get("name") or "")), [*line["x"]], [*line["y"]]) for line in lines]
        how = {
            "x_label": one_line(x_label),
            "y_label": one_line(y_label),
            "level": level,
            "log_x": log_x,
            "joined": joined,
        }
        if (new, how, title) == (self._lines, self._how, self.title):
            return
        self._lines, self._how, self.title = new, how, one_line(title)
        self._message = ""
        self._again()

    def clear(self, message: str = "") -> None:
        """Show no curve, but a message."""
        if self._lines or message != self._message:
            self._lines, self._how, self.title, self._message = [], {}, "", message
            self._again()

    def on_resize(self) -> None:
        """Draw in the new size."""
        self._again()

    def _again(self) -> None:
        self._drawn = None
        self.refresh()

    def _draw(self, width: int, height: int) -> Drawing:
        if not self._lines:
            return Drawing([self._message], [[-1] * len(self._message)])
        wide, high = max(width, 16), max(height, 4)
        made = draw(self._lines, **self._how, width=wide, height=high, braille=self.look.unicode)
        if not self.title or self.title == made.lines[0]:
            return made
        first = f"{self.title}: {made.lines[0]}"
        return Drawing([first, *made.lines[1:]], [[-1] * len(first), *made.owners[1:]])

    def render_line(self, y: int) -> Strip:
        """Return one line of the drawing."""
        size = (self.size.width, self.size.height)
        if self._drawn is None or self._drawn[0] != size:
            self._drawn = (size, self._draw(size[0] - 1, size[1]))
        made = self._drawn[1]
        if y >= len(made.lines):
            return Strip.blank(size[0], looks.PLAIN)
        text = self.look.plain(one_line(made.lines[y]))
        if not self._lines:
            return Strip([Segment(f"  {text}", looks.DIM)]).adjust_cell_length(size[0], looks.PLAIN)
        if y == 0:
            return Strip([Segment(text, looks.BOLD)]).adjust_cell_length(size[0], looks.PLAIN)
        return Strip(_coloured(text, made.owners[y])).adjust_cell_length(size[0], looks.PLAIN)


def _coloured(text: str, owners: Sequence[int]) -> list[Segment]:
    """Return a line in pieces, each in the colour of its curve."""
    segments: list[Segment] = []
    begin = 0
    for place in range(1, len(text) + 1):
        here = owners[begin] if begin < len(owners) else -1
        if place < len(text) and (owners[place] if place < len(owners) else -1) == here:
            continue
        style = CURVES[here % len(CURVES)] if here >= 0 else looks.PLAIN
        segments.append(Segment(text[begin:place], style))
        begin = place
    return segments
