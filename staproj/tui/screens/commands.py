"""What was done here as command lines: the same in a script."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from staproj.tui import look as looks
from staproj.tui import version_rows as rows
from staproj.tui.base import StaScreen
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.text_pane import TextPane


class CommandsScreen(StaScreen):
    """Everything that was done in this session, newest first."""

    place = "commands given here"
    key_order = ("open", "copy")
    key_words = {"open": "copy it"}
    help_text = """
    Whatever is done with keys is done by a command too; these are the commands of this session, newest first.
    The same lines in a script, or typed into a shell, do the same. enter copies the one under the cursor, y
    offers all of them as a script. Only what changed something is here, not what was looked at.
    """
    DEFAULT_CSS = """
    CommandsScreen #detail { height: 5; border-top: solid ansi_bright_black; }
    CommandsScreen.-ascii #detail { border-top: ascii ansi_bright_black; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "copy", "copy, also all as a script", show=True)]

    def body(self) -> Iterable[Widget]:
        """Return the list and what came of one."""
        shown = LineList(
            rows.COMMAND_COLUMNS,
            id="commands",
            empty="nothing was done yet; what you do with keys is written down here as commands",
            sortable=False,
        )
        detail = TextPane(id="detail")
        detail.can_focus = False
        yield Container(shown, detail, classes="body")

    @property
    def shown(self) -> LineList:
        """The list."""
        return self.query_one("#commands", LineList)

    def on_mount(self) -> None:
        """Give the list the keys."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self.shown.focus()

    def reload(self) -> None:
        """List what was done."""
        self.shown.set_rows(rows.command_rows(self.sta.commands))
        self._details(self.shown.row)

    @on(LineList.Moved)
    def moved(self, event: LineList.Moved) -> None:
        """Show the whole command under the cursor and what came of it."""
        self._details(event.row)

    def _details(self, row: Row | None) -> None:
        told = [] if row is None else [(f"$ {row.data['text']}", looks.BOLD), row.data["outcome"]]
        self.query_one("#detail", TextPane).set_lines([line for line in told if line])

    @on(LineList.Opened)
    def opened(self, event: LineList.Opened) -> None:
        """Copy the command under the cursor."""
        self.sta.copy_text("the command", event.row.data["text"])

    def copies(self) -> dict[str, str]:
        """Return the command under the cursor, and all as a script."""
        row = self.shown.row
        if row is None:
            return {}
        return {"this command": row.data["text"], "all, as a script": rows.as_script(self.sta.commands)}
