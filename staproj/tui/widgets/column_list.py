"""A list with a column under view besides the row: numbers are ordered and followed up by column."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.cells import set_cell_size
from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.strip import Strip

from staproj.tui import look as looks
from staproj.tui.widgets.lines import Column, LineList


class ColumnList(LineList):
    """Rows and columns: left and right go from column to column, ``s`` orders by the one under view.

    ``s`` again, on the column that the rows are ordered by, goes on to the next one, as in other lists.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "column(-1)", "column to the left", show=False),
        Binding("right", "column(1)", "column to the right", show=False),
        Binding("s", "sort", "sort by this column, then by the next", show=False),
    ]

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.under_view = self._named()[0] if self._named() else 0

    def set_columns(self, columns: list[Column]) -> None:
        """Show other columns; column under view and order stay where they are among them."""
        name = self.column.name
        ordered = self.columns[self.order].name if self.order is not None else None
        names = [column.name for column in columns]
        self.columns = columns
        self.under_view = names.index(name) if name in names else (self._named() or [0])[0]
        self.order = names.index(ordered) if ordered in names else None
        self._widths = []

    @property
    def column(self) -> Column:
        """The column under view."""
        return self.columns[self.under_view]

    def _named(self) -> list[int]:
        return [place for place, column in enumerate(self.columns) if column.name.strip()]

    def action_column(self, by: int) -> None:
        """Go to another column."""
        named = self._named()
        if not named:
            return
        at = named.index(self.under_view) if self.under_view in named else 0
        place = named[max(0, min(at + by, len(named) - 1))]
        if place != self.under_view:
            self.under_view = place
            self.refresh()
            self.post_message(self.Moved(self, self.row))

    def action_sort(self) -> None:
        """Order by the column under view; where that is so already, by the next one, at the end by none."""
        if not self.sortable:
            return
        if self.order == self.under_view:
            later = [place for place in self._named() if place > self.under_view]
            self.order = later[0] if later else None
            self.under_view = self.order if self.order is not None else self.under_view
        else:
            self.order = self.under_view
        self.order_down = False
        self._reorder()

    def _header_line(self, width: int) -> Strip:
        segments = [Segment(" ", looks.PLAIN)]
        for place, (column, cells) in enumerate(zip(self.columns, self._widths, strict=True)):
            name = column.name
            if self.order == place:
                name = (name + self.look.sign("down" if self.order_down else "up"))[-max(cells, 1) :]
            text = set_cell_size(self.look.plain(name.rjust(cells) if column.right else name), cells)
            style = looks.HEAD + looks.CURSOR if place == self.under_view and self.has_focus else looks.HEAD
            segments += [Segment(text, style), Segment(" ", looks.PLAIN)]
        return Strip(segments).adjust_cell_length(width, looks.PLAIN)

    def on_focus(self) -> None:
        """Show cursor and column."""
        self.refresh()

    def on_blur(self) -> None:
        """Show cursor and column less."""
        self.refresh()
