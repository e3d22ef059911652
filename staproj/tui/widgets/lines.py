"""A list that draws only the lines one sees: ten thousand rows cost no more than ten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from staproj.report.visible import one_line
from staproj.tui import look as looks
from staproj.tui.look import Look

Cell = str | tuple[str, Style]
_MEASURED = 200


@dataclass(frozen=True)
class Column:
    """One column. ``width`` 0: as wide as its cells (the first rows, at most ``most``); ``flex``: the rest.

    ``sort`` tells what to sort by, from :attr:`Row.data`; without, the text of the cell.
    """

    name: str
    width: int = 0
    flex: bool = False
    right: bool = False
    most: int = 30
    sort: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Row:
    """One row: ``key`` is its name, ``cells`` its words, ``data`` what it stands for."""

    key: str
    cells: tuple[Cell, ...]
    data: Any = field(default=None, compare=False)
    search: str = ""

    @property
    def text(self) -> str:
        """Return everything that can be searched."""
        return " ".join([*(c if isinstance(c, str) else c[0] for c in self.cells), self.search]).lower()


class LineList(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows with a cursor, marks, a filter and an order.

    ``j k g G`` and arrows move, ``space`` marks, ``enter`` opens (:class:`Opened`), moving says
    :class:`Moved`. The filter shows rows that hold a text (``!text``: that do not). Replacing rows keeps the
    cursor on the row of the same key and repaints only lines that changed.
    """

    DEFAULT_CSS = """
    LineList { height: 1fr; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; overflow-x: hidden; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False),
        Binding("k,up", "move(-1)", "up", show=False),
        Binding("g,home", "jump(0)", "first", show=False),
        Binding("G,end", "jump(-1)", "last", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "page down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "page up", show=False),
        Binding("enter", "open", "open", show=True),
        Binding("space", "mark", "mark", show=False),
        Binding("s", "sort", "sort by the next column", show=False),
        Binding("S", "sort_reverse", "turn the order", show=False),
    ]

    @dataclass
    class Moved(Message):
        """The cursor is on another row."""

        list: LineList
        row: Row | None

        @property
        def control(self) -> LineList:
            """Return the list."""
            return self.list

    @dataclass
    class Opened(Message):
        """A person pressed enter on a row."""

        list: LineList
        row: Row

        @property
        def control(self) -> LineList:
            """Return the list."""
            return self.list

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        id: str | None = None,
        empty: str = "nothing here",
        look: Look | None = None,
        sortable: bool = True,
        header: bool = True,
    ) -> None:
        super().__init__(id=id)
        self.columns = list(columns)
        self.empty = empty
        self.header = header
        self.sortable = sortable
        self.marks: dict[str, None] = {}
        self.cursor = 0
        self.filter_text = ""
        self.order: int | None = None
        self.order_down = False
        self._look = look
        self._all: list[Row] = []
        self._shown: list[Row] = []
        self._widths: list[int] = []

    # ------------------------------------------------------------------------------------------- content
    @property
    def look(self) -> Look:
        """What the terminal can show."""
        found: Look = self._look or getattr(self.app, "look", None) or Look()
        return found

    @property
    def rows(self) -> list[Row]:
        """The rows that pass the filter, in order."""
        return self._shown

    @property
    def all_rows(self) -> list[Row]:
        """All rows."""
        return self._all

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        return self._shown[self.cursor] if 0 <= self.cursor < len(self._shown) else None

    @property
    def marked(self) -> list[str]:
        """Keys of marked rows, in the order in which they were marked."""
        return list(self.marks)

    def set_rows(self, rows: Iterable[Row]) -> None:
        """Replace all rows; cursor and marks stay on rows of the same key."""
        old, widths, at = self._shown, self._widths, self.row
        was = at.key if at else None
        self._all = list(rows)
        there = {row.key for row in self._all}
        self.marks = {key: None for key in self.marks if key in there}
        self._arrange()
        self._measure()
        self._place(was)
        if widths != self._widths or len(old) != len(self._shown):
            self.refresh()
        else:
            top = round(self.scroll_y)
            for line in range(self._room):
                index = top + line
                if index < len(old) and old[index] != self._shown[index]:
                    self._refresh_row(index)
        if at != self.row:
            self.post_message(self.Moved(self, self.row))

    def set_filter(self, text: str) -> None:
        """Show rows that hold a text; ``!text``: those that do not."""
        was = self.row.key if self.row else None
        self.filter_text = text
        self._arrange()
        self._place(was)
        self.refresh()
        self.post_message(self.Moved(self, self.row))

    def go_to(self, key: str) -> bool:
        """Put the cursor on a row; tell whether it is there."""
        for index, row in enumerate(self._shown):
            if row.key == key:
                self._set_cursor(index)
                return True
        return False

    def _arrange(self) -> None:
        text = self.filter_text.lower()
        wanted, words = not text.startswith("!"), text.removeprefix("!")
        self._shown = [r for r in self._all if (words in r.text) is wanted] if words else list(self._all)
        if self.order is not None:
            column, place = self.columns[self.order], self.order
            by = column.sort

            def value(row: Row) -> Any:
                if by is not None:
                    found = by(row.data)
                    return (found is None, found if found is not None else 0)
                cell = row.cells[place]
                return (False, cell if isinstance(cell, str) else cell[0])

            self._shown.sort(key=value, reverse=self.order_down)

    def _place(self, key: str | None) -> None:
        if key is not None:
            self.cursor = next((i for i, r in enumerate(self._shown) if r.key == key), self.cursor)
        self.cursor = max(0, min(self.cursor, len(self._shown) - 1))
        self.virtual_size = Size(max(self.size.width, 1), len(self._shown) + self.header)
        self._keep_in_sight()

    # --------------------------------------------------------------------------------------------- moving
    @property
    def _room(self) -> int:
        return max(1, self.size.height - self.header)

    def _set_cursor(self, index: int) -> None:
        if not self._shown:
            return
        index = max(0, min(index, len(self._shown) - 1))
        if index == self.cursor:
            return
        old, self.cursor = self.cursor, index
        self._refresh_row(old)
        self._refresh_row(index)
        self._keep_in_sight()
        self.post_message(self.Moved(self, self.row))

    def _keep_in_sight(self) -> None:
        top = round(self.scroll_y)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True, force=True)
        elif self.cursor >= top + self._room:
            self.scroll_to(y=self.cursor - self._room + 1, animate=False, immediate=True, force=True)

    def _refresh_row(self, index: int) -> None:
        line = index - round(self.scroll_y) + self.header
        if self.header <= line < self.size.height:
            self.refresh(Region(0, line, self.size.width, 1))

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self._set_cursor(self.cursor + by)

    def action_jump(self, to: int) -> None:
        """Go to the first or the last row."""
        self._set_cursor(to if to >= 0 else len(self._shown) - 1)

    def action_page(self, by: int) -> None:
        """Move by a page."""
        self._set_cursor(self.cursor + by * max(1, self._room - 1))

    def action_open(self) -> None:
        """Open the row under the cursor."""
        if self.row is not None:
            self.post_message(self.Opened(self, self.row))

    def action_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away, and go on."""
        if self.row is None:
            return
        key = self.row.key
        if key in self.marks:
            del self.marks[key]
        else:
            self.marks[key] = None
        self._refresh_row(self.cursor)
        self._set_cursor(self.cursor + 1)

    def clear_marks(self) -> None:
        """Take all marks away."""
        self.marks.clear()
        self.refresh()

    def action_sort(self) -> None:
        """Order by the next column; after the last one as it was."""
        if not self.sortable:
            return
        named = [i for i, column in enumerate(self.columns) if column.name.strip()]
        later = [i for i in named if self.order is None or i > self.order]
        self.order, self.order_down = (later[0] if later else None), False
        self._reorder()

    def action_sort_reverse(self) -> None:
        """Turn the order."""
        if self.sortable and self.order is not None:
            self.order_down = not self.order_down
            self._reorder()

    def _reorder(self) -> None:
        was = self.row.key if self.row else None
        self._arrange()
        self._place(was)
        self.refresh()

    async def _on_click(self, event: events.Click) -> None:
        index = event.y - self.header + round(self.scroll_y)
        if event.y >= self.header and index < len(self._shown):
            again = index == self.cursor
            self._set_cursor(index)
            if again:
                self.action_open()

    # -------------------------------------------------------------------------------------------- drawing
    def on_resize(self) -> None:
        """Give columns their widths anew."""
        self._measure()
        self._place(None)
        self.refresh()

    def on_focus(self) -> None:
        """Show the cursor."""
        self._refresh_row(self.cursor)

    def on_blur(self) -> None:
        """Show the cursor less."""
        self._refresh_row(self.cursor)

    def _measure(self) -> None:
        widths: list[int] = []
        for place, column in enumerate(self.columns):
            width = column.width
            if not width and not column.flex:
                cells = [row.cells[place] for row in self._all[:_MEASURED]]
                longest = max((cell_len(c if isinstance(c, str) else c[0]) for c in cells), default=0)
                width = max(len(column.name), min(longest, column.most))
            widths.append(width)
        gaps = sum(1 for column, w in zip(self.columns, widths, strict=True) if w or column.flex)
        rest = max(self.size.width - 1 - 1 - sum(widths) - gaps, 6)
        flexible = [i for i, column in enumerate(self.columns) if column.flex]
        for i in flexible:
            widths[i] = max(rest // len(flexible), 4)
        self._widths = widths

    def render_line(self, y: int) -> Strip:
        """Return one line of the list."""
        width = self.size.width
        if len(self._widths) != len(self.columns):
            self._measure()
        if self.header and y == 0:
            return self._header_line(width)
        index = round(self.scroll_y) + y - self.header
        if index >= len(self._shown):
            if not self._shown and y == self.header:
                words = self.empty if not self.filter_text else f"no row holds {self.filter_text!r}"
                text = self.look.plain(one_line(f"  {words}"))
                return Strip([Segment(text, looks.DIM)]).adjust_cell_length(width, looks.PLAIN)
            return Strip.blank(width, looks.PLAIN)
        return self._row_line(index, width)

    def _header_line(self, width: int) -> Strip:
        segments = [Segment(" ", looks.PLAIN)]
        for place, (column, cells) in enumerate(zip(self.columns, self._widths, strict=True)):
            name = column.name
            if self.order == place:
                name += self.look.sign("down" if self.order_down else "up")
            text = name.rjust(cells) if column.right else name
            segments += [Segment(set_cell_size(text, cells), looks.HEAD), Segment(" ", looks.PLAIN)]
        return Strip(segments).adjust_cell_length(width, looks.PLAIN)

    def _row_line(self, index: int, width: int) -> Strip:
        row, here = self._shown[index], index == self.cursor
        sign = self.look.sign("mark") if row.key in self.marks else " "
        if here and sign == " ":
            sign = self.look.sign("cursor")
        segments = [Segment(sign, looks.BOLD)]
        plain = here and self.has_focus  # reversed colours would be stripes
        for column, cell, cells in zip(self.columns, row.cells, self._widths, strict=True):
            text, style = (cell, looks.PLAIN) if isinstance(cell, str) else cell
            text = self._fitted(self.look.plain(one_line(text)), cells, right=column.right)
            segments += [Segment(text, looks.PLAIN if plain else style), Segment(" ", looks.PLAIN)]
        strip = Strip(segments).adjust_cell_length(width, looks.PLAIN)
        if here:
            strip = strip.apply_style(looks.CURSOR if self.has_focus else looks.UNFOCUSED)
        return strip

    def _fitted(self, text: str, cells: int, *, right: bool) -> str:
        long = cell_len(text)
        if long > cells:
            return set_cell_size(text, max(cells - 1, 0)) + (self.look.sign("more") if cells else "")
        return " " * (cells - long) + text if right else text + " " * (cells - long)
