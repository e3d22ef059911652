"""A line for a path: it completes, counts while one types, and waits for no disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from staproj.tui.look import Look
from staproj.tui.widgets.path_input import Field, Seen, candidate_words, common_start
from tests.tui_screen import press, screen_text, settle, until

NAMES = ["frames/", "frames.txt", "gain.mrc"]


def page_of(first: Field) -> Any:
    """Return an app with two lines below each other, which keeps what they say."""
    from textual.app import App

    class Page(App[None]):
        look = Look()
        left: ClassVar[list[tuple[str, int, bool]]] = []

        def compose(self) -> Any:
            yield first
            yield Field("second", id="second")

        def on_field_left(self, event: Field.Left) -> None:
            self.left.append((event.field.label, event.by, event.taken))

    Page.left.clear()
    return Page()


def drive(field: Field, scenario: Callable[[Any, Any], Awaitable[None]]) -> None:
    """Run a scenario on a page whose first line is ``field``."""
    page = page_of(field)

    async def run() -> None:
        async with page.run_test(size=(60, 12)) as pilot:
            field.focus()
            await settle(pilot)
            await scenario(pilot, page)

    asyncio.run(run())


def complete(text: str) -> list[str]:
    """Stand for a folder with three names."""
    return [name for name in NAMES if name.startswith(text)]


def test_tab_completes_as_far_as_names_agree_and_shows_them() -> None:
    """Tab adds what all names have in common; they are listed until one types on."""
    field = Field("movies", complete=complete)

    async def scenario(pilot: Any, page: Any) -> None:
        await press(pilot, "f", "tab")
        assert field.value == "frames"
        assert "frames/  frames.txt" in screen_text(page)
        await press(pilot, "/")
        assert "frames.txt" not in screen_text(page)
        assert page.left == []

    drive(field, scenario)


def test_tab_with_one_name_takes_it_and_then_goes_on() -> None:
    """The only name is put in whole; a second tab has nothing to add, and goes to the next line."""
    field = Field("gain", complete=complete)

    async def scenario(pilot: Any, page: Any) -> None:
        await press(pilot, "g", "tab")
        assert (field.value, page.left) == ("gain.mrc", [])
        await press(pilot, "tab")
        assert page.left == [("gain", 1, True)]

    drive(field, scenario)


def test_keys_that_leave_the_line() -> None:
    """Enter takes the line, tab in an empty one and shift+tab do too; arrows only go up and down."""
    field = Field("movies", complete=complete)

    async def scenario(pilot: Any, page: Any) -> None:
        await press(pilot, "enter", "up", "down", "shift+tab", "tab")
        assert [(by, taken) for _, by, taken in page.left] == [
            (1, True), (-1, False), (1, False), (-1, True), (1, True),
        ]  # fmt: skip

    drive(field, scenario)


def test_what_is_typed_is_looked_at_without_waiting() -> None:
    """While a look at the disk hangs, typing goes on; then only the last text is looked at."""
    gate, asked = threading.Event(), []

    def see(text: str) -> Seen:
        asked.append(text)
        if text == "a":
            gate.wait(10)
        return Seen(f"seen {text}", "warning", {"count": len(text)})

    field = Field("movies", see=see)

    async def scenario(pilot: Any, page: Any) -> None:
        await pilot.press("a", "b", "c", "d")
        await pilot.pause(0.05)
        assert field.value == "abcd"
        assert not field.is_seen
        gate.set()
        await until(pilot, lambda: field.is_seen)
        await settle(pilot)
        assert asked == ["", "a", "abcd"]
        assert field.seen.data == {"count": 4}
        assert f"{Look().sign('warning')} seen abcd" in screen_text(page)

    drive(field, scenario)


def test_an_error_of_the_disk_is_shown_below_the_line() -> None:
    """What goes wrong while looking or completing stands below the line, and typing goes on."""

    def fail(text: str) -> Any:
        raise OSError(5, "Input/output error")

    field = Field("movies", see=fail, complete=fail)

    async def scenario(pilot: Any, page: Any) -> None:
        await press(pilot, "x")
        assert "Input/output error" in screen_text(page)
        assert field.seen.level == "error"
        await press(pilot, "tab", "y")
        assert field.value == "xy"

    drive(field, scenario)


def test_a_late_completion_does_not_change_what_was_typed_since() -> None:
    """A completion of a text that stands there no longer is thrown away."""
    gate = threading.Event()

    def slow(text: str) -> list[str]:
        gate.wait(10)
        return complete(text)

    field = Field("movies", complete=slow)

    async def scenario(pilot: Any, page: Any) -> None:
        await pilot.press("g", "tab", "x")
        gate.set()
        await settle(pilot)
        assert field.value == "gx"

    drive(field, scenario)


def test_names_that_would_act_on_a_terminal_are_written_as_codes() -> None:
    """An escape sequence in the name of a file is shown, not sent."""
    field = Field(
        "movies", see=lambda text: Seen("found \x1b[2Jx"), complete=lambda text: ["a\x1b1", "a\x1b2"]
    )

    async def scenario(pilot: Any, page: Any) -> None:
        await press(pilot, "a", "tab")
        assert "\\x1b" in screen_text(page)
        assert "\x1b" not in screen_text(page)

    drive(field, scenario)


def test_words_of_candidates() -> None:
    """Only the last part of a path is named, and not more names than one can read."""
    assert candidate_words(["/a/b/", "/a/c.mrc"]) == "b/  c.mrc"
    assert candidate_words([f"/{n}" for n in range(40)], "...").endswith("29  ... 10 more")
    assert common_start(["abc", "abd", "ab"]) == "ab"
