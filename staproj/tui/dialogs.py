"""Small boxes: ask for a line, choose, confirm, read."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Input, Static

from staproj.report.visible import one_line, visible
from staproj.tui import look as looks
from staproj.tui.base import Dialog
from staproj.tui.widgets.bars import key_name
from staproj.tui.widgets.lines import Column, LineList, Row
from staproj.tui.widgets.text_pane import TextPane


class QuietInput(Input):
    """A line to type on; its cursor does not blink, for that would send bytes for nothing."""

    DEFAULT_CSS = """
    QuietInput { height: 1; border: none; padding: 0; background: ansi_default; }
    QuietInput:focus { border: none; }
    """

    def on_mount(self) -> None:
        """Hold the cursor still."""
        self.cursor_blink = False

    def on_paste(self, event: events.Paste) -> None:
        """Leave out what no line holds: a path with a null byte is none, and nobody would see it."""
        event.text = "".join(
            " " if c == "\t" else c for c in event.text if c in "\t\r\n" or not _is_control(c)
        )

    @property
    def _value(self) -> Text:
        """What is drawn: as many characters as were typed, none that would act on the terminal."""
        shown = "".join(c if one_line(c) == c else "?" for c in self.value)
        return Text(shown, no_wrap=True, overflow="ignore", end="")


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs")


class Ask(Dialog):
    """One line at the foot of the screen: a filter, a search, a value, a note."""

    DEFAULT_CSS = """
    Ask { align: left bottom; }
    Ask > .line { height: auto; width: 100%; background: ansi_default; }
    Ask Static { height: auto; width: 1fr; }
    """

    def __init__(
        self,
        question: str,
        value: str = "",
        *,
        live: Callable[[str], Any] | None = None,
        check: Callable[[str], str] | None = None,
        help_text: str = "",
    ) -> None:
        super().__init__()
        self.question, self.value = question, value
        self.live, self.check, self.help_text = live, check, help_text

    def compose(self) -> ComposeResult:
        """Show the question, what is wrong, and the line."""
        with Vertical(classes="line"):
            yield Static(Text(visible(self.help_text)), id="help")
            yield Static(Text(visible(f"{self.question}  (enter: take it, esc: leave it)"), style=looks.BOLD))
            yield QuietInput(self.value, select_on_focus=self.live is None)  # typing replaces a value
            yield Static("", id="problem")

    def on_mount(self) -> None:
        """Be ready for typing."""
        self.query_one("#help").display = bool(self.help_text)
        self.query_one("#problem").display = False
        self.query_one(Input).focus()

    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """Show at once what comes of it, or what is wrong."""
        if self.live is not None:
            self.live(event.value)
        if self.check is not None:
            self._problem(self.check(event.value) if event.value != self.value else "")

    def _problem(self, text: str) -> None:
        place = self.query_one("#problem", Static)
        place.display = bool(text)
        place.update(Text(f"{self.sta.look.sign('error')} {visible(text)}" if text else "", style=looks.BAD))

    @on(Input.Submitted)
    def taken(self, event: Input.Submitted) -> None:
        """Leave with the value, if it is a good one."""
        problem = self.check(event.value) if self.check is not None else ""
        if problem:
            self._problem(problem)
            return
        self.dismiss(event.value)


class Choose(Dialog):
    """One of several things."""

    DEFAULT_CSS = "Choose LineList { height: auto; max-height: 16; } Choose .note { height: auto; }"

    def __init__(self, title: str, options: Sequence[tuple[str, str]], *, note: str = "") -> None:
        super().__init__()
        self.title_text, self.options, self.note = title, options, note

    def compose(self) -> ComposeResult:
        """Show the choices: ``(value, words)``."""
        with Vertical(classes="box"):
            yield Static(Text(visible(self.title_text), style=looks.BOLD))
            rows = [Row(value, (words,)) for value, words in self.options]
            shown = LineList([Column("", flex=True)], header=False, sortable=False)
            shown.set_rows(rows)
            shown.styles.height = min(len(rows), 14) or 1
            yield shown
            if self.note:
                yield Static(Text(visible(self.note), style=looks.DIM), classes="note")
            yield Static(Text("enter takes it, esc leaves it", style=looks.DIM))

    @on(LineList.Opened)
    def chosen(self, event: LineList.Opened) -> None:
        """Leave with the choice."""
        self.dismiss(event.row.key)


MOST_LINES = 16


class Confirm(Dialog):
    """Yes or no, where "no" is the default. ``must_type``: a word to type before anything is lost."""

    DEFAULT_CSS = """
    Confirm .text { height: auto; max-height: 16; }
    Confirm Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "take", show=False),
        Binding("left,h", "choose(False)", "cancel", show=False),
        Binding("right,l", "choose(True)", "do it", show=False),
        Binding("tab", "other", "other", show=False),
        Binding("n", "cancel", "no", show=False),
        Binding("down,j", "read_on(1)", "read on", show=False),
        Binding("up,k", "read_on(-1)", "back", show=False),
    ]

    def __init__(
        self, title: str, lines: Iterable[str], *, do: str, must_type: str = "", command: str = ""
    ) -> None:
        super().__init__()
        self.title_text, self.lines, self.do = title, list(lines), do
        self.must_type, self.command_text = must_type, command
        self.takes_focus = bool(must_type)
        self.yes = False

    def compose(self) -> ComposeResult:
        """Say what will happen, with Cancel as the default."""
        with Vertical(classes="box"):
            yield Static(Text(visible(self.title_text), style=looks.BOLD))
            with VerticalScroll(classes="text", can_focus=False):
                yield Static(Text(visible("\n".join(self.lines))))
            if self.command_text:
                yield Static(Text(f"$ {visible(self.command_text)}", style=looks.DIM))
            if self.must_type:
                yield Static(Text(f"type {self.must_type} to {self.do}, or esc:", style=looks.WARN))
                yield QuietInput()
            yield Static(id="choices")

    def on_mount(self) -> None:
        """Show the choice; the box itself takes the keys unless a word must be typed."""
        self._show()
        if self.must_type:
            self.query_one(Input).focus()
        else:
            self.set_focus(None)

    def on_resize(self) -> None:
        """Keep the choice in sight, however many lines stand above it."""
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        if not self.is_mounted:
            return
        text, frame = self.query_one(".text"), 2
        others = [part for part in self.query(".box > *") if part is not text]
        room = self.size.height - sum(part.outer_size.height for part in others) - frame
        text.styles.max_height = max(1, min(MOST_LINES, room))

    def action_read_on(self, by: int) -> None:
        """Move the lines, where there are more than there is room for."""
        self.query_one(".text").scroll_relative(y=by, animate=False, force=True)

    def _show(self) -> None:
        styles = (looks.PLAIN, looks.CURSOR) if self.yes else (looks.CURSOR, looks.PLAIN)
        text = Text("  ")
        text.append(" Cancel ", style=styles[0])
        text.append("   ")
        text.append(f" {self.do} ", style=styles[1])
        text.append("    left, right, enter", style=looks.DIM)
        self.query_one("#choices", Static).update(text)

    def action_choose(self, yes: bool) -> None:
        """Put the choice on one side."""
        self.yes = yes
        self._show()

    def action_other(self) -> None:
        """Put the choice on the other side."""
        self.action_choose(not self.yes)

    def action_take(self) -> None:
        """Do what is chosen."""
        if not self.must_type:
            self.dismiss(True if self.yes else None)

    @on(Input.Submitted)
    def typed(self, event: Input.Submitted) -> None:
        """Take the word as the choice."""
        if event.value.strip() == self.must_type:
            self.dismiss(True)
        else:
            self.query_one(Input).value = ""


class Reading(Dialog):
    """Text to read in a box as large as the screen."""

    DEFAULT_CSS = """
    Reading > .box { width: 100%; height: 100%; }
    Reading TextPane { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,enter", "cancel", "close", show=False),
        Binding("y", "copy", "copy", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[Any], *, wrap: bool = True) -> None:
        super().__init__()
        self.title_text, self.lines, self.wrap = title, lines, wrap

    def compose(self) -> ComposeResult:
        """Show the text."""
        with Vertical(classes="box"):
            yield Static(Text(visible(self.title_text), style=looks.BOLD))
            pane = TextPane(wrap=self.wrap)
            yield pane
            yield Static(Text("j k g G move, y copies, esc closes", style=looks.DIM))

    def on_mount(self) -> None:
        """Fill the pane."""
        pane = self.query_one(TextPane)
        pane.set_lines(self.lines)
        pane.focus()

    def action_copy(self) -> None:
        """Copy the text."""
        self.sta.copy_text(self.title_text, self.query_one(TextPane).text)


class Copying(Choose):
    """What can be copied, shown in full so that it can be taken without a clipboard too."""

    def __init__(self, found: Mapping[str, str]) -> None:
        width = max((len(name) for name in found), default=0)
        options = [
            (name, f"{name.ljust(width)}  {' '.join(text.split())[:200]}") for name, text in found.items()
        ]
        note = (
            "It goes to the clipboard of your terminal (OSC 52); tmux wants `set -g set-clipboard on`. "
            "Where that is not to be had, f writes it to a file."
        )
        super().__init__("copy what?", options, note=note)
        self.found = dict(found)

    BINDINGS: ClassVar[list[BindingType]] = [Binding("f", "to_file", "write to a file", show=False)]

    def action_to_file(self) -> None:
        """Write the chosen text to a file instead."""
        row = self.query_one(LineList).row
        if row is not None:
            self.dismiss(f"file:{row.key}")


def help_lines(title: str, text: str, bindings: Iterable[tuple[Any, bool]]) -> list[Any]:
    """Return the help of a screen: what it shows, its keys, those of the pane in focus."""
    lines: list[Any] = [(title, looks.BOLD), ""]
    lines += _paragraphs(text)
    keys: dict[str, dict[str, None]] = {}
    for binding, _ in bindings:
        if binding.description:
            keys.setdefault(binding.description, {})[key_name(binding)] = None
    width = max((len(" ".join(names)) for names in keys.values()), default=0)
    lines += ["", ("keys here", looks.BOLD)]
    lines += [f"  {' '.join(names).ljust(width)}  {words}" for words, names in keys.items()]
    return lines


def _paragraphs(text: str) -> list[str]:
    """Return text without the line ends of its source: a line ends where a sentence or paragraph ends."""
    found: list[str] = []
    for line in (line.strip() for line in text.strip().splitlines()):
        if found and found[-1] and line and not found[-1].endswith((".", ":")):
            found[-1] += f" {line}"
        else:
            found.append(line)
    return found
