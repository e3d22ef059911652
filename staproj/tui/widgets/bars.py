"""The lines above and below every screen: where one is, what was said last, which keys do what."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.strip import Strip
from textual.widget import Widget

from staproj.report.visible import one_line
from staproj.tui import look as looks
from staproj.tui.look import Look


class Line(Widget):
    """One line of the screen that is drawn from segments."""

    DEFAULT_CSS = "Line { height: 1; width: 1fr; }"

    @property
    def look(self) -> Look:
        """What the terminal can show."""
        return getattr(self.app, "look", Look())

    def segments(self, width: int) -> list[Segment]:
        """Return what the line shows."""
        raise NotImplementedError

    def base_style(self) -> Style:
        """Return the style of the whole line."""
        return looks.PLAIN

    def render_line(self, y: int) -> Strip:
        """Return the line."""
        width = self.size.width
        strip = Strip(self.segments(width)).adjust_cell_length(width, looks.PLAIN)
        style = self.base_style()
        return strip.apply_style(style) if style else strip


class TopBar(Line):
    """Project, screen, and what is going on; a read-only project says so."""

    def __init__(self) -> None:
        super().__init__(id="top")
        self.project = ""
        self.place = ""
        self.news = ""
        self.read_only = False

    def tell(
        self,
        *,
        project: str | None = None,
        place: str | None = None,
        news: str | None = None,
        read_only: bool | None = None,
    ) -> None:
        """Change what is shown; nothing is drawn where nothing changed."""
        now = (self.project, self.place, self.news, self.read_only)
        self.project = self.project if project is None else project
        self.place = self.place if place is None else place
        self.news = self.news if news is None else news
        self.read_only = self.read_only if read_only is None else read_only
        if now != (self.project, self.place, self.news, self.read_only):
            self.refresh()

    def base_style(self) -> Style:
        """Return the style of the whole line."""
        return looks.BAR

    def segments(self, width: int) -> list[Segment]:
        """Return project and screen at the left, news at the right."""
        bar = self.look.sign("bar")
        left = f" {one_line(self.project)} {bar} {one_line(self.place)}"
        right = f"{'READ-ONLY ' if self.read_only else ''}{self.look.plain(self.news)} "
        room = width - cell_len(right)
        left = left if cell_len(left) < room else left[: max(room - 2, 0)] + self.look.sign("more")
        gap = " " * max(room - cell_len(left), 0)
        return [Segment(self.look.plain(left) + gap + right, looks.PLAIN)]


class MessageLine(Line):
    """What was said last; without, the command that shows (or did) the same as this screen."""

    def __init__(self) -> None:
        super().__init__(id="message")
        self.message = ""
        self.level = ""
        self.command: Sequence[str] = ()

    def say(self, message: str, level: str = "") -> None:
        """Show a message; ``level``: "", "warning" or "error"."""
        if (message, level) != (self.message, self.level):
            self.message, self.level = message, level
            self.refresh()

    def show_command(self, command: Sequence[str]) -> None:
        """Show the equivalent command where no message is."""
        if list(command) != list(self.command):
            self.command = list(command)
            self.refresh()

    def segments(self, width: int) -> list[Segment]:
        """Return the message or the command."""
        if self.message:
            sign = f"{self.look.sign(self.level)} " if self.level else ""
            style = {"error": looks.BAD, "warning": looks.WARN}.get(self.level, looks.PLAIN)
            text = self.look.plain(one_line(self.message))
            room = width - cell_len(sign)
            text = text if cell_len(text) <= room else text[: room - 1] + self.look.sign("more")
            return [Segment(sign + text, style)]
        if not self.command:
            return []
        text = self.look.plain(one_line(shlex.join(self.command)))
        text = text if len(text) <= width - 2 else text[: width - 3] + self.look.sign("more")
        return [Segment(f"$ {text}", looks.DIM)]


class KeyBar(Line):
    """The keys of this screen; those that cannot be used now are dim."""

    def __init__(self) -> None:
        super().__init__(id="keys")
        self.shown: list[tuple[str, str, bool]] = []

    def tell(self, bindings: Sequence[tuple[Binding, bool]]) -> None:
        """Show bindings, each with whether it can be used now."""
        shown = [(key_name(b), b.description, enabled) for b, enabled in bindings]
        if shown != self.shown:
            self.shown = shown
            self.refresh()

    def segments(self, width: int) -> list[Segment]:
        """Return keys and words as far as there is room; help is always there."""
        last = [Segment("?", looks.KEY), Segment(" all keys", looks.PLAIN)]
        room = width - 10
        segments: list[Segment] = []
        used = 0
        for key, words, enabled in self.shown:
            need = cell_len(key) + cell_len(words) + 3
            if used + need > room:
                break
            used += need
            style = looks.PLAIN if enabled else looks.DIM
            segments += [Segment(key, looks.KEY if enabled else looks.DIM), Segment(f" {words}  ", style)]
        return [*segments, *last]


_KEY_NAMES = {
    "question_mark": "?", "slash": "/", "left_square_bracket": "[", "right_square_bracket": "]", "colon": ":",
    "left_curly_bracket": "{", "right_curly_bracket": "}", "exclamation_mark": "!", "asterisk": "*",
    "comma": ",", "full_stop": ".", "equals_sign": "=", "plus": "+", "minus": "-", "less_than_sign": "<",
    "greater_than_sign": ">", "escape": "esc", "pagedown": "pgdn", "pageup": "pgup",
}  # fmt: skip


def key_name(binding: Binding) -> str:
    """Return a key as a person knows it."""
    if binding.key_display:
        return binding.key_display
    first = binding.key.split(",")[0]
    return _KEY_NAMES.get(first, first)
