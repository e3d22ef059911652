"""Work in threads for screens and boxes; whatever goes wrong in it, or in dealing with a key, is shown."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from textual._callback import invoke
from textual.message import Message
from textual.screen import Screen
from textual.worker import get_current_worker

from staproj.errors import StaprojError
from staproj.tui.widgets.bars import MessageLine

if TYPE_CHECKING:
    from staproj.tui.app import StaprojApp

T = TypeVar("T")


class Fetching:
    """Work in threads for screens and dialogs."""

    _complaint = ("", "")
    """Name and words of the last work that failed."""
    takes_focus: bool = True
    """Whether something in it takes the keys; a box that takes them itself says no."""

    def fetch(
        self,
        work: Callable[[], T],
        then: Callable[[T], None] = lambda result: None,
        *,
        name: str = "load",
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Do ``work`` in a thread, then call ``then`` with its result in the loop of the UI.

        Work of the same ``name`` that was begun earlier no longer counts. An error is shown (or told to
        ``failed``).
        """
        screen = cast("Screen[Any]", self)

        def run() -> None:
            worker = get_current_worker()
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - whatever it is, a person must see it
                if not worker.is_cancelled:
                    self._back(partial(failed, error) if failed else partial(self.complain, name, error))
                return
            if not worker.is_cancelled:
                self._back(partial(self._worked, name, lambda: then(result)))

        screen.run_worker(run, thread=True, exclusive=True, group=name, name=name, exit_on_error=False)

    def complain(self, name: str, error: Exception) -> None:
        """Show an error of some work until the same work does not fail."""
        self.show_error(error)
        for line in cast("Screen[Any]", self).query(MessageLine):
            self._complaint = (name, line.message)

    def _worked(self, name: str, then: Callable[[], Any]) -> None:
        """Take away what was said when the same failed, for it holds no longer, and go on."""
        failed, words = self._complaint
        for line in cast("Screen[Any]", self).query(MessageLine) if name == failed else ():
            if line.message == words:
                line.say("")
                self._complaint = ("", "")
        then()

    def _back(self, call: Callable[[], Any]) -> None:
        """Call in the loop of the UI, if the screen is still there."""
        screen = cast("Screen[Any]", self)

        def checked() -> None:
            if screen.is_attached and screen in screen.app.screen_stack:  # else its parts may be gone already
                try:
                    call()
                except Exception as error:  # noqa: BLE001 - a fault of ours must be seen too
                    self.show_error(error)

        with suppress(RuntimeError):  # the program is being left
            screen.app.call_from_thread(checked)

    def _get_dispatch_methods(self, method_name: str, message: Message) -> Iterator[tuple[type, Any]]:
        """Show an error that comes of a message: nobody is thrown out for a file that is gone."""

        def shown(method: Callable[..., Any]) -> Callable[[Message], Awaitable[None]]:
            async def call(message: Message) -> None:
                try:
                    await invoke(method, message)
                except (StaprojError, OSError) as error:
                    self.show_error(error)

            return call

        for kind, method in super()._get_dispatch_methods(method_name, message):  # type: ignore[misc]
            yield kind, shown(method)

    def show_error(self, error: Exception) -> None:
        """Show an error: in one line, and whole with ``!``."""
        screen = cast("Screen[Any]", self)
        app = cast("StaprojApp", screen.app)
        app.keep_error(error)
        if isinstance(error, OSError) and error.strerror:
            said = error.strerror + (f": {error.filename}" if error.filename else "")
        else:
            said = error.message if isinstance(error, StaprojError) else f"{type(error).__name__}: {error}"
        words = f"{said}  (! shows all)"
        for line in screen.query(MessageLine):
            line.say(words, "error")
            return
        app.say(words, "error")


def error_text(error: BaseException) -> str:
    """Return an error in full: message, place, remedy; a fault of the program with its trace."""
    if isinstance(error, StaprojError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:  # the disk, not the program
        return error.strerror + (f"\n  where: {error.filename}" if error.filename else "")
    return "".join(traceback.format_exception(error))
