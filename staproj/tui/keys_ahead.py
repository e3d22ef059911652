"""Keys that are typed ahead, as they come in bursts over a slow line: none is lost or misread.

A key is given on only when the one before it has done its work, and when the screen that it opened is there
to take keys. So ``/ctf`` sent at once is a filter "ctf", never a command "c".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from textual import events
from textual.screen import Screen

if TYPE_CHECKING:
    from staproj.tui.app import StaprojApp

MOST_S = 1.0
STEP_S = 0.001
QUIET = 3


class KeysAhead:
    """The part of the app that takes keys one after the other."""

    _typed: asyncio.Queue[events.Event] | None = None
    _typing: asyncio.Task[None] | None = None

    def take(self, event: events.Event, give_on: Callable[[events.Event], Awaitable[None]]) -> None:
        """Take a key (or a paste), to be given on in its turn."""
        if self._typed is None:
            self._typed = asyncio.Queue()
            self._typing = asyncio.create_task(self._give_on(self._typed, give_on))
        self._typed.put_nowait(event)

    async def _give_on(
        self, typed: asyncio.Queue[events.Event], give_on: Callable[[events.Event], Awaitable[None]]
    ) -> None:
        app = cast("StaprojApp", self)
        while True:
            event = await typed.get()
            try:
                await _until(lambda: _is_quiet(app) and _is_ready(app))
                await give_on(event)
            except Exception as error:  # noqa: BLE001 - as the loop of the toolkit does with any event
                app._handle_exception(error)


async def _until(holds: Callable[[], bool]) -> None:
    """Wait until something holds several times in a row, but not for ever."""
    loop = asyncio.get_running_loop()
    end, seen = loop.time() + MOST_S, 0
    while seen < QUIET and loop.time() < end:
        seen = seen + 1 if holds() else 0
        if seen < QUIET:
            await asyncio.sleep(STEP_S)


def _is_ready(app: StaprojApp) -> bool:
    """Tell whether the screen on top can take keys."""
    screen: Screen[Any] = app.screen
    return screen.is_mounted and (screen.focused is not None or not getattr(screen, "takes_focus", True))


def _is_quiet(app: StaprojApp) -> bool:
    """Tell whether the key before has done its work: nothing waits in the queues that it goes through."""
    screen = app.screen
    places = [
        app,
        screen,
        *((screen.focused, *screen.focused.ancestors) if screen.focused is not None else ()),
    ]
    return all(place.message_queue_size == 0 for place in places)
