"""Tabs on one line: ``[`` and ``]`` turn them, a digit goes to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from staproj.tui import look as looks
from staproj.tui.base import StaScreen
from staproj.tui.widgets.bars import Line


class TabLine(Line):
    """The names of the tabs; the one that is shown is reversed and stands in brackets."""

    @dataclass
    class Chosen(Message):
        """A tab was clicked."""

        tabs: TabLine
        name: str

    def __init__(self, names: Sequence[str], active: str = "", *, id: str = "tabs") -> None:
        super().__init__(id=id)
        self.names = list(names)
        self.active = active or self.names[0]

    def turn(self, by: int) -> str:
        """Go on by some tabs and return the name of the one that is then shown."""
        place = (self.names.index(self.active) + by) % len(self.names)
        return self.go_to(self.names[place])

    def go_to(self, name: str) -> str:
        """Show a tab by name."""
        if name != self.active:
            self.active = name
            self.refresh()
        return name

    def segments(self, width: int) -> list[Segment]:
        """Return the names; digits in front where there is room."""
        numbered = sum(len(name) + 4 for name in self.names) <= width
        found: list[Segment] = []
        for place, name in enumerate(self.names, start=1):
            words = f"{place} {name}" if numbered else name
            active = name == self.active
            found.append(
                Segment(f"[{words}]" if active else f" {words} ", looks.CURSOR if active else looks.PLAIN)
            )
        return found

    def on_click(self, event: events.Click) -> None:
        """Choose the tab under the mouse."""
        at = 0
        for name, segment in zip(self.names, self.segments(self.size.width), strict=True):
            at += segment.cell_length
            if event.x < at:
                self.post_message(self.Chosen(self, name))
                return


class Tabbed(StaScreen):
    """Keys for a screen with a :class:`TabLine`; :meth:`show_tab` does the rest."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_square_bracket", "turn_tab(-1)", "tab before", show=False),
        Binding("right_square_bracket", "turn_tab(1)", "next tab", show=False),
        *(Binding(str(n), f"tab_number({n})", f"tab {n}", show=False) for n in range(1, 10)),
    ]

    @property
    def tab(self) -> str:
        """The tab that is shown."""
        return self.query_one(TabLine).active

    def show_tab(self, name: str) -> None:
        """Show what belongs to a tab."""
        raise NotImplementedError

    def action_turn_tab(self, by: int) -> None:
        """Turn the tabs."""
        self.show_tab(self.query_one(TabLine).turn(by))

    def action_tab_number(self, number: int) -> None:
        """Go to a tab by its number."""
        line = self.query_one(TabLine)
        if number <= len(line.names):
            self.show_tab(line.go_to(line.names[number - 1]))

    def on_tab_line_chosen(self, event: TabLine.Chosen) -> None:
        """Go to the tab that was clicked."""
        self.show_tab(event.tabs.go_to(event.name))
