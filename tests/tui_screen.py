"""Drive the terminal interface in tests without a terminal: open, press keys, wait, read the screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual import _wait  # noqa: TID253 - a test of the interface

from staproj.tui.app import StaprojApp
from staproj.tui.look import Look

_wait.SLEEP_GRANULARITY = 0.005  # a key costs 10 ms instead of 40; work in threads is waited for below

SMALL, LARGE = (80, 24), (200, 60)
SIZES = (SMALL, LARGE)
TIMEOUT_S = 20.0

Scenario = Callable[[Any], Awaitable[None]]


def drive(app: StaprojApp, scenario: Scenario, size: tuple[int, int] = SMALL) -> None:
    """Run ``scenario(pilot)`` on an app of this size; whatever goes wrong in it fails the test."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            await scenario(pilot)

    asyncio.run(run())


def open_app(root: Path | None, **options: Any) -> StaprojApp:
    """Return the app for a project, as a Unicode terminal shows it."""
    return StaprojApp(root, look=options.pop("look", Look()), **options)


async def settle(pilot: Any) -> None:
    """Wait until no work is going on in threads (looking on aside) and everything was drawn."""
    deadline = time.monotonic() + TIMEOUT_S
    quiet = 0
    while quiet < 3:
        await pilot.pause(0.01)
        busy = [w for w in pilot.app.workers if w.group != "look" and not w.is_finished]
        quiet = 0 if busy else quiet + 1
        assert time.monotonic() < deadline, f"still at work: {busy}"


async def press(pilot: Any, *keys: str) -> None:
    """Press keys one after the other, each with all that comes of it."""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def until(pilot: Any, holds: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        await pilot.pause(0.05)
        assert time.monotonic() < deadline, "waited in vain; the screen:\n" + screen_text(pilot.app)


def screen_text(app: StaprojApp) -> str:
    """Return what is on the screen, line by line."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line)[:width].rstrip() for line in lines[:height])
