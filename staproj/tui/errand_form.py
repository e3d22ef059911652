"""A form for an archive, a check or an export: lines to fill in, switches, the command, what it comes to."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from staproj.report.visible import visible
from staproj.tui import archive_menu as menu
from staproj.tui import look as looks
from staproj.tui.archive_menu import Errand
from staproj.tui.base import Dialog
from staproj.tui.widgets.lines import Column, LineList, Row
from staproj.tui.widgets.path_input import Field

START = "start"
Preview = Callable[[dict[str, Any]], list[str]]


class Switches(LineList):
    """Switches, and below them the line that begins; ``space`` and ``enter`` turn one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k,up", "up", "up", show=False),
        Binding("space", "open", "turn it", show=False),
        Binding("shift+tab", "leave(-1)", "line before", show=False),
        Binding("tab", "leave(1)", "first line", show=False),
    ]

    def action_up(self) -> None:
        """Go up, from the first one to the line before."""
        if self.cursor == 0:
            self.action_leave(-1)
        else:
            self.action_move(-1)

    def action_leave(self, by: int) -> None:
        """Leave the switches."""
        form = self.screen
        assert isinstance(form, ErrandForm)
        form.go(-1 if by < 0 else 0)


class ErrandForm(Dialog):
    """Asks for all that an errand needs; leaves with the values, or nothing."""

    DEFAULT_CSS = """
    ErrandForm > .box { width: 100%; max-width: 110; height: auto; max-height: 100%; }
    ErrandForm Static { height: auto; }
    ErrandForm .lines { height: auto; max-height: 12; overflow-y: auto; }
    ErrandForm.-tall .lines { max-height: 30; }
    ErrandForm #preview { color: ansi_default; max-height: 4; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "start", "begin", show=False, priority=True)]

    def __init__(
        self,
        errand: Errand,
        root: Path,
        *,
        names: Sequence[str] = (),
        values: dict[str, Any] | None = None,
        preview: Preview | None = None,
    ) -> None:
        super().__init__()
        self.errand, self.root, self.names = errand, root, list(names)
        self.switched: dict[str, bool] = {s.key: bool((values or {}).get(s.key)) for s in errand.switches}
        self.first = dict(values or {})
        self.preview = preview
        self.command_text = ""
        self._asked: tuple[Any, ...] | None = None
        self._looking = False
        self._known: list[str] = []

    def compose(self) -> ComposeResult:
        """Show lines, switches, and what comes of them."""
        with Vertical(classes="box"):
            yield Static(Text(visible(self.errand.title), style=looks.BOLD), markup=False)
            with Vertical(classes="lines"):
                for question in self.errand.questions:
                    see = partial(menu.see, self.root, question.kind)
                    complete = partial(menu.complete, self.root, question.kind, self.names)
                    yield Field(
                        question.label,
                        question.words,
                        str(self.first.get(question.key, question.default)),
                        see=see if question.kind in (menu.NEW, menu.OLD, menu.PATH) else None,
                        complete=complete if question.kind != menu.TEXT else None,
                        id=f"line-{question.key}",
                    )
            switches = Switches([Column("", flex=True)], id="switches", header=False, sortable=False)
            switches.styles.height = min(len(self.errand.switches) + 1, 7)
            yield switches
            yield Static("", id="preview", markup=False)
            yield Static("", id="problem", markup=False)
            yield Static(Text("tab completes, enter goes on, ctrl+s begins, esc leaves", style=looks.DIM))

    def on_mount(self) -> None:
        """Be ready for typing."""
        self.query_one("#problem").display = False
        self._show_switches()
        self._tell()
        if self.lines:
            self.lines[0].focus()
            place = self.query_one(".lines")
            self.call_after_refresh(lambda: place.scroll_home(animate=False))
        else:
            self.query_one(Switches).focus()

    def on_resize(self) -> None:
        """Show more lines where there is room."""
        self.set_class(self.size.height > 40, "-tall")

    @property
    def lines(self) -> list[Field]:
        """The lines to fill in."""
        return list(self.query(Field))

    def values(self) -> dict[str, Any]:
        """Return what is filled in."""
        keys = [question.key for question in self.errand.questions]
        return {**{k: f.value for k, f in zip(keys, self.lines, strict=True)}, **self.switched}

    def words(self) -> list[str]:
        """Return the command for what is filled in."""
        return self.errand.words(self.values())

    # ------------------------------------------------------------------------------------------- showing
    def _show_switches(self) -> None:
        look = self.sta.look
        rows = [
            Row(s.key, (f"{look.sign('on' if self.switched[s.key] else 'off')} {s.words}",))
            for s in self.errand.switches
        ]
        rows.append(Row(START, ((f"{look.sign('running')} begin", looks.BOLD),)))
        self.query_one(Switches).set_rows(rows)

    def _tell(self) -> None:
        """Show the command, and ask for what it comes to."""
        command = f"$ {shlex.join(['staproj', *self.words()])}"
        if command != self.command_text:
            self.command_text = command
            self._show_preview([])
        values = self.values()
        asked = tuple(values.get(key) for key in ("runs", *self.switched))
        if self.preview is not None and not self._looking and asked != self._asked:
            self._asked, self._looking = asked, True
            preview = self.preview
            self._show_preview(["working out how large it is ..."])
            self.fetch(lambda: preview(values), self._previewed, name="preview", failed=self._not_previewed)

    def _previewed(self, lines: list[str]) -> None:
        self._looking = False
        self._known = lines
        self._tell()
        if not self._looking:
            self._show_preview(lines)

    def _not_previewed(self, error: Exception) -> None:
        self._previewed([str(getattr(error, "message", error))])

    def _show_preview(self, lines: Sequence[str]) -> None:
        look = self.sta.look
        shown = "\n".join([self.command_text, *(lines or self._known)])
        self.query_one("#preview", Static).update(Text(look.plain(visible(shown)), style=looks.DIM))

    def _problem(self, words: str) -> None:
        place = self.query_one("#problem", Static)
        place.display = bool(words)
        place.update(
            Text(f"{self.sta.look.sign('error')} {visible(words)}" if words else "", style=looks.BAD)
        )

    # ------------------------------------------------------------------------------------------- moving
    @on(Field.Changed)
    def changed(self, event: Field.Changed) -> None:
        """Follow what is typed."""
        if event.typed:
            self._problem("")
        self._tell()

    @on(Field.Left)
    def left(self, event: Field.Left) -> None:
        """Go to another line."""
        self.go(self.lines.index(event.field) + event.by)

    def go(self, place: int) -> None:
        """Go to a line by its number; after the last one stand the switches."""
        lines = self.lines
        if 0 <= place < len(lines):
            lines[place].focus()
            lines[place].scroll_visible(animate=False)
        elif place == -1 and lines and isinstance(self.focused, Switches):
            lines[-1].focus()
            lines[-1].scroll_visible(animate=False)
        else:
            self.query_one(Switches).focus()

    @on(LineList.Opened)
    def turned(self, event: LineList.Opened) -> None:
        """Turn a switch, or begin."""
        if event.row.key == START:
            self.action_start()
            return
        self.switched[event.row.key] = not self.switched[event.row.key]
        self._problem("")
        self._show_switches()
        self._tell()

    def action_start(self) -> None:
        """Leave with what is filled in, if it can be begun."""
        problem = self.errand.lacking(self.values())
        for field in self.lines:
            if not problem and field.seen.level == "error" and not self.switched.get("resume"):
                problem = f"{field.label}: {field.seen.words}"
        if problem:
            self._problem(problem)
            return
        self.dismiss(self.values())
