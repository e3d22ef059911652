"""A line for a path or a pattern: tab completes, and what matches is counted while one types.

Disks may be slow: files are looked at in threads, at most one look and one completion at a time, always for
what stands there last. Typing never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from staproj.report.visible import one_line
from staproj.tui import look as looks
from staproj.tui.dialogs import QuietInput
from staproj.tui.look import Look


@dataclass(frozen=True)
class Seen:
    """What was found for a text: words to show, "" or "warning" or "error", and the plain values."""

    words: str = ""
    level: str = ""
    data: Any = None


See = Callable[[str], Seen]
Complete = Callable[[str], Sequence[str]]


class PathInput(QuietInput):
    """The line itself. Keys that do not type go to the field around it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "complete the path; nothing to add: next", show=False, priority=True),
        Binding("shift+tab", "go(-1, True)", "line before", show=False, priority=True),
        Binding("up", "go(-1)", "line before", show=False),
        Binding("down", "go(1)", "next line", show=False),
        Binding("right", "right", "to the right; at the end: take what is suggested", show=False),
    ]

    def action_complete(self) -> None:
        """Ask for a completion."""
        self.field.complete_now()

    def action_go(self, by: int, taken: bool = False) -> None:
        """Leave for the line before or after."""
        self.field.go(by, taken)

    def action_right(self) -> None:
        """Move to the right; at the end of the line take what is suggested below it."""
        if not (self.cursor_at_end and self.field.take_suggestion()):
            self.action_cursor_right()

    @property
    def field(self) -> Field:
        """The field around the line."""
        found = self.parent
        assert isinstance(found, Field)
        return found


class Field(Vertical):
    """A named line with what is known of its value below.

    ``see`` says what a text stands for and ``complete`` how it may go on; both are called in threads. Without
    ``complete``, tab goes on to the next line. ``suggestions`` are other texts that :attr:`seen` suggests.
    ``alone``: there is no next line that tab could go to.
    """

    DEFAULT_CSS = """
    Field { height: auto; }
    Field > Static { height: auto; width: 1fr; }
    Field > #label { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    Field > PathInput { margin-left: 2; width: 1fr; }
    Field > .seen, Field > .others { padding-left: 2; max-height: 3; }
    """

    @dataclass
    class Changed(Message):
        """Something else stands on the line, or is known of it now."""

        field: Field
        typed: bool

        @property
        def control(self) -> Field:
            """Return the field."""
            return self.field

    @dataclass
    class Left(Message):
        """A person goes on to the next (1) or the previous (-1) line.

        ``taken``: with enter or tab, as one who is done with this line; not with an arrow.
        """

        field: Field
        by: int
        taken: bool = False

        @property
        def control(self) -> Field:
            """Return the field."""
            return self.field

    def __init__(
        self,
        label: str,
        words: str = "",
        value: str = "",
        *,
        see: See | None = None,
        complete: Complete | None = None,
        suggestions: Callable[[Seen], Sequence[str]] | None = None,
        placeholder: str = "",
        alone: bool = False,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.suggestions, self.alone = suggestions, alone
        self.label, self.words, self.placeholder = label, words, placeholder
        self.see, self.complete = see, complete
        self.seen = Seen()
        self._first = value
        self._asked: dict[str, str | None] = {"see": None, "complete": None}
        self._known: str | None = None
        self._to: str | None = None

    def compose(self) -> ComposeResult:
        """Show name, line, and what is known."""
        yield Static(id="label", markup=False)
        yield PathInput(self._first, placeholder=self.placeholder, select_on_focus=False)
        yield Static("", classes="others", markup=False)
        yield Static("", classes="seen", markup=False)

    def on_mount(self) -> None:
        """Look at what stands there to begin with."""
        self._show_label()
        self._offer([])
        self._tell("", "")
        self.look_again()

    # ------------------------------------------------------------------------------------------ content
    @property
    def line(self) -> PathInput:
        """The line one types on."""
        return self.query_one(PathInput)

    @property
    def value(self) -> str:
        """What stands on the line."""
        return self.line.value if self.is_mounted else self._first

    @value.setter
    def value(self, text: str) -> None:
        if not self.is_mounted:
            self._first = text
        elif text != self.line.value:
            self.line.value = text
            self.line.cursor_position = len(text)

    @property
    def is_seen(self) -> bool:
        """Tell whether :attr:`seen` is of what stands there now."""
        return self._known == self.value and self._asked["see"] is None

    def focus(self, scroll_visible: bool = True) -> Field:
        """Let a person type."""
        self.line.focus(scroll_visible)
        return self

    def look_again(self) -> None:
        """Look at what stands there (again, in case files have come)."""
        if self.see is None or self._asked["see"] is not None:
            return
        see, text = self.see, self.value
        self._in_thread("see", text, lambda: see(text), self._saw)

    def _saw(self, text: str, result: Any) -> None:
        self._known = text
        if text != self.value:
            self.look_again()
            return
        self.seen = result if isinstance(result, Seen) else Seen(str(result), "error")
        self._tell(self.seen.words, self.seen.level)
        self.post_message(self.Changed(self, False))

    # ------------------------------------------------------------------------------------------- typing
    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """Look at what stands there now."""
        event.stop()
        self.post_message(self.Changed(self, True))
        if event.value != self._to:
            self._offer([])
        if self.see is None:
            self._tell("", "")
        self.look_again()

    @on(Input.Submitted)
    def taken(self, event: Input.Submitted) -> None:
        """Go on."""
        event.stop()
        self.go(1)

    def go(self, by: int, taken: bool = True) -> None:
        """Leave for the line before or after."""
        self.post_message(self.Left(self, by, taken))

    def complete_now(self) -> None:
        """Complete what stands there; where nothing can be added, go on to the next line."""
        complete, text = self.complete, self.value
        if complete is None or not text:
            if not self.alone:
                self.go(1)
        elif self._asked["complete"] is None:
            self._in_thread("complete", text, lambda: complete(text), self._completed)

    def take_suggestion(self) -> bool:
        """Put what is suggested below the line onto it; tell whether something was."""
        found = self.suggestions(self.seen) if self.suggestions is not None and self.is_seen else ()
        if found:
            self.value = found[0]
        return bool(found)

    def _completed(self, text: str, found: Any) -> None:
        if text != self.value or self.complete is None:
            return
        if isinstance(found, Exception):
            self._tell(str(found), "error")
            return
        longest = common_start(found)
        if not found or (len(found) == 1 and longest == text):
            if not self.alone:
                self.go(1)
            return
        if len(found) == 1 or (longest.startswith(text) and longest != text):
            self._to = self.value = longest
        else:
            self._to = text
        self._offer(found if len(found) > 1 else [])

    def _offer(self, found: Sequence[str]) -> None:
        others = self.query_one(".others", Static)
        others.display = bool(found)
        words = candidate_words(found, self._look.sign("more"))
        others.update(Text(self._look.plain(one_line(words))))

    # ---------------------------------------------------------------------------------------- machinery
    def _in_thread(
        self, what: str, text: str, work: Callable[[], Any], then: Callable[[str, Any], None]
    ) -> None:
        self._asked[what] = text

        def run() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - shown below the line
                result = error
            with suppress(RuntimeError):  # the program is being left
                self.app.call_from_thread(back, result)

        def back(result: Any) -> None:
            self._asked[what] = None
            if self.is_attached and self.screen in self.app.screen_stack:  # else it is going away
                then(text, result)

        self.run_worker(run, thread=True, group=f"{what} {id(self)}", exit_on_error=False)

    @property
    def _look(self) -> Look:
        return getattr(self.app, "look", Look())

    def on_descendant_focus(self) -> None:
        """Show that one types here."""
        self._show_label()

    def on_descendant_blur(self) -> None:
        """Show that one types elsewhere."""
        self._show_label()

    def tell_words(self, words: str) -> None:
        """Say in other words what is meant."""
        self.words = words
        if self.is_mounted:
            self._show_label()

    def _show_label(self) -> None:
        here = isinstance(self.screen.focused, Widget) and self.screen.focused.parent is self
        text = Text(f"{self._look.sign('cursor') if here else ' '} ", style=looks.BOLD)
        text.append(one_line(self.label), style=looks.BOLD)
        text.append(f"  {self._look.plain(one_line(self.words))}" if self.words else "", style=looks.DIM)
        self.query_one("#label", Static).update(text)

    def _tell(self, words: str, level: str) -> None:
        sign = f"{self._look.sign(level)} " if level in ("error", "warning") else ""
        style = {"error": looks.BAD, "warning": looks.WARN}.get(level, looks.DIM)
        text = Text(sign + self._look.plain(one_line(words)) if words else "", style=style)
        seen = self.query_one(".seen", Static)
        seen.display = bool(words)
        seen.update(text)


def candidate_words(found: Sequence[str], more: str = "…", most: int = 30) -> str:
    """Return the last parts of paths that a text may go on with.

    >>> candidate_words(["/data/frames/", "/data/gain.mrc"])
    'frames/  gain.mrc'
    """
    names = [(name.rstrip("/").rpartition("/")[2] + "/" * name.endswith("/")) or name for name in found]
    return "  ".join([*names[:most], *([f"{more} {len(names) - most} more"] if len(names) > most else [])])


def common_start(texts: Sequence[str]) -> str:
    """Return what all texts begin with.

    >>> common_start(["frames_1", "frames_2"]), common_start([])
    ('frames_', '')
    """
    shortest = min(texts, key=len, default="")
    same = takewhile(lambda place: all(t[place] == shortest[place] for t in texts), range(len(shortest)))
    return shortest[: sum(1 for _ in same)]
