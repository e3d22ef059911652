"""Questions to the person: a line, a choice, a yes; and what is copied without a mouse."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from staproj.tui.app import StaprojApp


MOST_DIGITS = 9


def whole_number(text: str) -> int | None:
    """Return a whole number that a person typed; ``None``: it is none, or far too large.

    >>> whole_number(" -3 "), whole_number("\u00b2"), whole_number("9" * 5000)
    (-3, None, None)
    """
    digits = text.strip().removeprefix("-")
    is_one = digits.isascii() and digits.isdigit() and len(digits) <= MOST_DIGITS
    return int(text.strip()) if is_one else None


class Asking:
    """The part of the app that asks."""

    @property
    def _app(self) -> StaprojApp:
        return cast("StaprojApp", self)

    def ask(
        self,
        question: str,
        value: str,
        then: Callable[[str], Any],
        *,
        live: Callable[[str], Any] | None = None,
        check: Callable[[str], str] | None = None,
        cancelled: Callable[[], Any] | None = None,
        help_text: str = "",
    ) -> None:
        """Ask for one line."""
        from staproj.tui.dialogs import Ask

        def answered(text: str | None) -> None:
            if text is not None:
                self._app.attempt(then, text)
            elif cancelled is not None:
                self._app.attempt(cancelled)

        self._app.push_screen(Ask(question, value, live=live, check=check, help_text=help_text), answered)

    def confirm(
        self,
        title: str,
        lines: Iterable[str],
        do: str,
        then: Callable[[], Any],
        *,
        must_type: str = "",
        command: Sequence[str] = (),
    ) -> None:
        """Ask before something is done; Cancel is the default."""
        from staproj.tui.dialogs import Confirm

        text = shlex.join(["staproj", *command]) if command else ""
        self._app.push_screen(
            Confirm(title, lines, do=do, must_type=must_type, command=text),
            lambda yes: self._app.attempt(then) if yes else None,
        )

    def choose(
        self, title: str, options: Sequence[tuple[str, str]], then: Callable[[str], Any], *, note: str = ""
    ) -> None:
        """Let one of several things be chosen: ``(value, words)``."""
        from staproj.tui.dialogs import Choose

        self._app.push_screen(
            Choose(title, options, note=note),
            lambda value: self._app.attempt(then, value) if value is not None else None,
        )

    def read(self, title: str, lines: Sequence[Any], *, wrap: bool = True) -> None:
        """Show text in a box."""
        from staproj.tui.dialogs import Reading

        self._app.push_screen(Reading(title, lines, wrap=wrap))

    def offer_copies(self, found: dict[str, str]) -> None:
        """Let something be copied, without a mouse."""
        from staproj.tui.dialogs import Copying

        if not found:
            self._app.say("there is nothing to copy here")
            return

        def chosen(name: str | None) -> None:
            if name is None:
                return
            if name.startswith("file:"):
                self._to_file(found[name.removeprefix("file:")])
            else:
                self.copy_text(name, found[name])

        self._app.push_screen(Copying(found), chosen)

    def copy_text(self, name: str, text: str) -> None:
        """Put a text into the clipboard of the terminal."""
        self._app.copy_to_clipboard(text)
        self._app.say(f"copied {name} ({len(text)} characters)")

    def _to_file(self, text: str) -> None:
        path = Path(os.environ.get("XDG_RUNTIME_DIR") or Path.home()) / "staproj-copy.txt"
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            self._app.say(f"cannot write {path}: {error.strerror}", "error")
            return
        self._app.say(f"written to {path}")
