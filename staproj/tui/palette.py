"""What ``:`` and ctrl+p find: every action of the screen on top, every step, every place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from staproj.tui import look as looks
from staproj.tui.base import MOVES, Dialog, StaScreen
from staproj.tui.dialogs import QuietInput
from staproj.tui.widgets.bars import key_name
from staproj.tui.widgets.lines import Column, LineList, Row

if TYPE_CHECKING:
    from staproj.tui.app import StaprojApp

Entry = tuple[str, str, Callable[[], Any]]
PLACES = (
    ("pipeline", "pipeline: all steps and their runs"),
    ("jobs", "jobs: what is running and waiting, load of this machine"),
    ("series", "tilt series: one line each, views to keep and exclude"),
    ("versions", "versions: list, compare, name, go back"),
    ("clean_up", "space and clean-up: what can be deleted, trash"),
    ("archive", "archive, verify, restore, export"),
    ("importing", "import data into this project"),
    ("new", "new project from a template"),
    ("commands", "commands: what was done here, as command lines"),
)


def entries(app: StaprojApp, screen: StaScreen) -> Iterator[Entry]:
    """Return words, key and action of everything that can be done from a screen."""
    said = set()
    for active in screen.keys_in_order():
        binding = active.binding
        moves = binding.action.partition("(")[0] in MOVES or binding.action.startswith("app.show(")
        if active.enabled and binding.description and not moves and binding.description not in said:
            said.add(binding.description)
            yield (
                screen.in_words(binding).description,
                key_name(binding),
                partial(app.run_action, binding.action, active.node),
            )
    yield from getattr(screen, "more_entries", list)()
    for name, words in PLACES:
        yield words, "", partial(app.action_show, name)


def matches(query: str, words: str) -> tuple[int, int] | None:
    """Return how well words fit a query (smaller is better), ``None`` if they do not.

    Every word of the query must stand in them; failing that, its letters in their order.

    >>> matches("run val", "run again with other values") is not None
    True
    >>> matches("rgn", "run again"), matches("xyz", "run again")
    ((1, 9), None)
    """
    low, asked = words.lower(), query.lower().split()
    if all(part in low for part in asked):
        return (0, low.find(asked[0]) if asked else 0)
    letters = iter(low)
    if all(letter in letters for letter in "".join(asked)):
        return (1, len(words))
    return None


class Palette(Dialog):
    """A line to type on, and what fits it beneath."""

    DEFAULT_CSS = """
    Palette { align: center top; }
    Palette LineList { height: 16; max-height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,ctrl+n", "move(1)", "down", show=False, priority=True),
        Binding("up,ctrl+p", "move(-1)", "up", show=False, priority=True),
    ]

    def __init__(self, found: Sequence[Entry]) -> None:
        super().__init__()
        self.found = list(dict.fromkeys(found))

    def compose(self) -> ComposeResult:
        """Show the line and the list."""
        with Vertical(classes="box"):
            yield Static(Text("what do you want to do? (type some of it, enter does it)", style=looks.BOLD))
            yield QuietInput()
            columns = [Column("", flex=True), Column("", 10)]
            yield LineList(columns, header=False, sortable=False, empty="nothing that can be done here")

    def on_mount(self) -> None:
        """Show everything before one types."""
        shown = self.query_one(LineList)
        shown.can_focus = False
        self._show("")
        self.query_one(Input).focus()

    def _show(self, query: str) -> None:
        fits = [(fit, place) for place, one in enumerate(self.found) if (fit := matches(query, one[0]))]
        rows = [
            Row(str(place), (self.found[place][0], (self.found[place][1], looks.KEY)), self.found[place][2])
            for _, place in sorted(fits)
        ]
        shown = self.query_one(LineList)
        shown.set_rows(rows)
        shown.action_jump(0)

    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """Show what fits."""
        self._show(event.value)

    @on(Input.Submitted)
    def taken(self, event: Input.Submitted) -> None:
        """Do what is under the cursor."""
        row = self.query_one(LineList).row
        if row is not None:
            self.dismiss(row.data)

    def action_move(self, by: int) -> None:
        """Move through what fits."""
        self.query_one(LineList).action_move(by)


def open_palette(app: StaprojApp) -> None:
    """Let something be chosen from everything that can be done, and do it."""
    screen = app.screen
    if not isinstance(screen, StaScreen):
        return

    def chosen(action: Callable[[], Any] | None) -> None:
        if action is not None:
            app.call_later(cast("Callable[..., Any]", action))

    app.push_screen(Palette([*entries(app, screen)]), chosen)
