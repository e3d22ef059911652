"""Lines of text to read: drawn as far as one sees them, searched, followed, copied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from staproj.report.visible import one_line
from staproj.tui import look as looks
from staproj.tui.look import Look

Line = str | tuple[str, Style]
MOST_LINES = 200_000


class TextPane(ScrollView, can_focus=True, inherit_bindings=False):
    """Text that is read line by line.

    ``wrap`` folds long lines at the width of the pane; else ``h`` and ``l`` move sideways. With
    ``follow`` the end stays in sight as lines arrive, until one moves up.
    """

    DEFAULT_CSS = """
    TextPane { height: 1fr; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; overflow-x: hidden; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False),
        Binding("k,up", "move(-1)", "up", show=False),
        Binding("left", "side(-8)", "left", show=False),
        Binding("right", "side(8)", "right", show=False),
        Binding("g,home", "jump(0)", "first line", show=False),
        Binding("G,end", "jump(-1)", "last line", show=False),
        Binding("pagedown,ctrl+f,space", "page(1)", "page down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "page up", show=False),
        Binding("n", "search_on(1)", "next place of the search", show=False),
        Binding("N", "search_on(-1)", "place before", show=False),
    ]

    def __init__(self, *, id: str | None = None, wrap: bool = True, follow: bool = False) -> None:
        super().__init__(id=id)
        self.wrap = wrap
        self.follow = follow
        self.needle = ""
        self.found = -1
        self._source: list[Line] = []
        self._lines: list[tuple[str, Style]] = []
        self._side = 0

    @property
    def look(self) -> Look:
        """What the terminal can show."""
        return getattr(self.app, "look", Look())

    @property
    def text(self) -> str:
        """Everything in the pane."""
        return "\n".join(line if isinstance(line, str) else line[0] for line in self._source)

    def set_lines(self, lines: Iterable[Line]) -> None:
        """Show other lines; where one stands is kept as far as possible."""
        new = list(lines)[-MOST_LINES:]
        if new == self._source:
            return
        self._source = new
        self._fold()
        self.refresh()

    def add_lines(self, lines: Iterable[Line]) -> None:
        """Add lines at the end."""
        new = list(lines)
        if not new:
            return
        self._source = [*self._source, *new][-MOST_LINES:]
        self._fold()
        self.refresh()

    def _fold(self) -> None:
        width = max(self.size.width - 1, 10)
        shown: list[tuple[str, Style]] = []
        for line in self._source:
            text, style = (line, looks.PLAIN) if isinstance(line, str) else line
            text = self.look.plain(one_line(text.expandtabs(4)))
            if not self.wrap or cell_len(text) <= width:
                shown.append((text, style))
                continue
            indent = min(len(text) - len(text.lstrip()) + 2, width // 2)
            first, rest = _folded(text, width, indent)
            shown += [(first, style), *((part, style) for part in rest)]
        self._lines = shown
        self.virtual_size = Size(max(self.size.width, 1), len(shown))
        if self.follow:
            self.scroll_to(y=len(shown), animate=False, immediate=True, force=True)

    def on_resize(self) -> None:
        """Fold lines anew."""
        self._fold()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one line."""
        index = round(self.scroll_y) + y
        width = self.size.width
        if index >= len(self._lines):
            return Strip.blank(width, looks.PLAIN)
        text, style = self._lines[index]
        text = text[self._side :]
        if cell_len(text) > width > 0:  # a line that is not folded, or a pane that is narrower than a word
            text = set_cell_size(text, width - 1) + self.look.sign("more")
        low = text.lower()
        if self.needle and self.needle in low:
            segments, begin = [], 0
            while (at := low.find(self.needle, begin)) >= 0:
                end = at + len(self.needle)
                segments += [Segment(text[begin:at], style), Segment(text[at:end], looks.MATCH)]
                begin = end
            segments.append(Segment(text[begin:], style))
        else:
            segments = [Segment(text, style)]
        return Strip(segments).adjust_cell_length(width, looks.PLAIN)

    # --------------------------------------------------------------------------------------------- moving
    def _top(self, line: float) -> None:
        most = max(0, len(self._lines) - self.size.height)
        self.scroll_to(y=max(0, min(line, most)), animate=False, immediate=True, force=True)

    def action_move(self, by: int) -> None:
        """Move by lines; moving up ends following."""
        if by < 0:
            self.follow = False
        self._top(self.scroll_y + by)

    def action_page(self, by: int) -> None:
        """Move by a page."""
        self.action_move(by * max(1, self.size.height - 1))

    def action_jump(self, to: int) -> None:
        """Go to the first or the last line."""
        self.follow = False if to == 0 else self.follow
        self._top(0 if to == 0 else len(self._lines))

    def action_side(self, by: int) -> None:
        """Move sideways where lines are not folded."""
        if not self.wrap:
            self._side = max(0, self._side + by)
            self.refresh()

    # -------------------------------------------------------------------------------------------- search
    def search(self, text: str) -> int:
        """Look for a text, go to its first place at or after the top line; return how many lines hold it."""
        self.needle = text.lower()
        self.refresh()
        places = self._places()
        if places:
            self.found = next((p for p in places if p >= round(self.scroll_y)), places[0])
            self.follow = False
            self._top(self.found)
        return len(places)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave ``n`` to the screen where nothing is looked for."""
        return bool(self.needle) if action == "search_on" else True

    def action_search_on(self, by: int) -> None:
        """Go to the next (1) or the previous (-1) place."""
        places = self._places()
        if not places:
            return
        if by > 0:
            self.found = next((p for p in places if p > self.found), places[0])
        else:
            self.found = next((p for p in reversed(places) if p < self.found), places[-1])
        self._top(self.found)

    def _places(self) -> list[int]:
        if not self.needle:
            return []
        return [i for i, (text, _) in enumerate(self._lines) if self.needle in text.lower()]


def _folded(text: str, width: int, indent: int) -> tuple[str, list[str]]:
    """Return a long line as a first and further lines that are indented; folded at spaces where possible."""
    lines: list[str] = []
    rest, margin = text, ""
    while cell_len(margin + rest) > width:
        piece = chop_cells(margin + rest, width)[0]
        cut = piece.rfind(" ", len(margin) + indent)
        taken = piece[:cut] if cut > 0 else piece
        lines.append(taken.rstrip())
        rest = (margin + rest)[len(taken) :].lstrip()
        margin = " " * indent
    lines.append(margin + rest)
    return lines[0], lines[1:]
