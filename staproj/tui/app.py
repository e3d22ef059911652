"""The terminal interface: one app, screens on top of each other, work in jobs that outlive it.

The app knows the project, looks on once a second (:mod:`staproj.api.changes`), and tells the screen on top
what changed. It never computes: work goes to jobs, as on the command line; every action names its command.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.actions import ActionParseResult
from textual.app import App
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.scrollbar import ScrollBar, ScrollBarRender
from textual.widgets import Input

from staproj.api import Project
from staproj.api.changes import Changes, read_only
from staproj.errors import StaprojError
from staproj.tui import look as looks
from staproj.tui.asking import Asking
from staproj.tui.base import Dialog, StaScreen
from staproj.tui.fetching import error_text
from staproj.tui.keys_ahead import KeysAhead
from staproj.tui.palette import open_palette
from staproj.tui.theme import TERMINAL, AsciiScrollBar
from staproj.tui.thrift import ThriftyDriver
from staproj.tui.watching import LOOK_EVERY_S, Watching

SCREENS = {
    "pipeline": "staproj.tui.screens.pipeline:PipelineScreen",
    "run": "staproj.tui.screens.run:RunScreen",
    "rerun": "staproj.tui.screens.rerun:RerunScreen",
    "start": "staproj.tui.screens.start:StartScreen",
    "lineage": "staproj.tui.screens.lineage:LineageScreen",
    "compare": "staproj.tui.screens.compare:CompareScreen",
    "versions": "staproj.tui.screens.versions:VersionsScreen",
    "jobs": "staproj.tui.screens.jobs:JobsScreen",
    "clean_up": "staproj.tui.screens.clean_up:CleanUpScreen",
    "archive": "staproj.tui.screens.archive:ArchiveScreen",
    "new": "staproj.tui.screens.new:NewScreen",
    "importing": "staproj.tui.screens.importing:ImportingScreen",
    "series": "staproj.tui.screens.series:SeriesScreen",
    "commands": "staproj.tui.screens.commands:CommandsScreen",
}
"""Screens by name, imported when they are first shown."""


class StaprojApp(Asking, KeysAhead, Watching, App[int]):
    """Everything on one project (or none yet: the wizard for a new one)."""

    TITLE = "staproj"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    * { scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1; }
    StaScreen { background: ansi_default; color: ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "quit; runs go on", show=False, priority=True),
        Binding("ctrl+c", "quit_hint", "how to leave", show=False),
    ]

    def __init__(
        self,
        root: Path | None,
        *,
        look: looks.Look | None = None,
        first: str = "",
        start_in: Path | None = None,
        directory: str = "",
    ) -> None:
        super().__init__()
        self.look = look or looks.of_terminal()
        self.first = first or ("pipeline" if root is not None else "new")
        self.start_in = start_in or Path.cwd()
        self.directory = directory
        self.errors: list[tuple[float, str]] = []
        self.commands: list[tuple[float, list[str], str]] = []
        self.jobs: list[dict[str, Any]] = []
        self.news = ""
        self.root: Path | None = None
        self._turn = 0
        self._seen: dict[int, int] = {}
        self._looking = False
        self._open(root)
        ScrollBar.renderer = ScrollBarRender if self.look.unicode else AsciiScrollBar
        self.register_theme(TERMINAL)
        self.theme = "terminal"

    def _open(self, root: Path | None) -> None:
        self.root = root
        self.read_only = bool(root is not None and read_only(root))
        self.project_name = root.name if root is not None else "no project yet"
        self._changes = Changes(root) if root is not None else None
        if self._changes is not None:
            self._changes.look()

    @property
    def project(self) -> Project:
        """The project that is looked at."""
        assert self.root is not None
        return Project(self.root)

    def on_mount(self) -> None:
        """Show the first screen and begin to look on."""
        self.animation_level = "none"
        self.show(self.first, **({"directory": self.directory} if self.directory else {}))
        self.set_interval(LOOK_EVERY_S, self.look_on)

    def get_driver_class(self) -> type[Driver]:
        """Return the driver that sends only what changed, in a terminal; the usual one in a browser."""
        found = super().get_driver_class()
        return ThriftyDriver if found is LinuxDriver else found

    async def on_event(self, event: events.Event) -> None:
        """Take keys one after the other; everything else as it comes."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self.take(event, super().on_event)
            return
        await super().on_event(event)

    def open_project(self, root: Path) -> None:
        """Go on with another project (one that was just made)."""
        self._open(root)
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.show("pipeline")

    # ------------------------------------------------------------------------------------------ screens
    def show(self, name: str, **what: Any) -> None:
        """Show a screen by name (one of :data:`SCREENS`) on top of this one."""
        module, _, kind = SCREENS[name].partition(":")
        if self.root is None and name != "new":
            self.say("there is no project yet", "warning")
            return
        self.push_screen(getattr(import_module(module), kind)(**what))

    def action_show(self, name: str) -> None:
        """Show a screen by name; the one on top is not shown twice."""
        module, _, kind = SCREENS[name].partition(":")
        if type(self.screen) is not getattr(import_module(module), kind):
            self.show(name)

    def say(self, message: str, level: str = "") -> None:
        """Show a message on the screen on top."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, StaScreen):
                screen.say(message, level)
                return

    def did(self, command: Sequence[str], outcome: str = "") -> None:
        """Remember what was done as the command that does the same, and show it."""
        self.commands.append((time.time(), ["staproj", *command], outcome))
        self.say(f"{outcome + ': ' if outcome else ''}staproj {shlex.join(command)}")

    def show_error(self, error: Exception) -> None:
        """Show an error on the screen on top."""
        screen = self.screen
        if isinstance(screen, StaScreen | Dialog):
            screen.show_error(error)

    def attempt(self, call: Callable[..., Any], *what: Any) -> None:
        """Call, and show an error of the project."""
        try:
            call(*what)
        except (StaprojError, OSError) as error:
            self.show_error(error)

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Do what a key is for; an error of the project is shown and ends nothing."""
        try:
            return await super().run_action(action, default_namespace, namespaces)
        except (StaprojError, OSError) as error:
            self.show_error(error)
            return True

    def keep_error(self, error: BaseException) -> None:
        """Keep an error for ``!``."""
        text = error_text(error)
        if self.errors and self.errors[-1][1] == text:  # the same again: as when a file is looked at again
            self.errors.pop()
        self.errors.append((time.time(), text))

    def refuse_read_only(self) -> bool:
        """Say so and return True where nothing may be written."""
        if not self.read_only or self.root is None:
            return False
        why = read_only(self.root).removeprefix("the project is open for reading only: ")
        self.say(f"read-only: {why}", "warning")
        return True

    def begin(
        self, make_plan: Callable[[], Any], then: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        """Start a job for a :class:`~staproj.api.starting.Plan` that ``make_plan`` returns (in a thread)."""
        from staproj.api.starting import Starting

        if self.refuse_read_only() or self.root is None:
            return
        starting = Starting(self.root)
        screen = self.screen
        assert isinstance(screen, StaScreen | Dialog)

        def work() -> tuple[Any, dict[str, Any]]:
            plan = make_plan()
            return plan, starting.begin(plan)

        def done(result: tuple[Any, dict[str, Any]]) -> None:
            plan, job = result
            self.did([*plan.command, "--detach"], f"{job['job']} has begun, it goes on when you leave")
            self.look_on()
            if then is not None:
                then(job)

        screen.fetch(work, done, name="begin")

    # ------------------------------------------------------------------------------------------ actions
    def action_help(self) -> None:
        """Show what the screen and the pane in focus do."""
        from staproj.tui.dialogs import help_lines

        screen = self.screen
        found = screen.keys_in_order() if isinstance(screen, StaScreen) else screen.active_bindings.values()
        words = screen.in_words if isinstance(screen, StaScreen) else lambda binding: binding
        bindings = [(words(active.binding), active.enabled) for active in found]
        text = getattr(screen, "help_text", "") or "A box: esc leaves it with nothing done."
        self.read("help", help_lines(getattr(screen, "place", "") or "help", text, bindings))

    def action_palette(self) -> None:
        """Find an action by its words."""
        open_palette(self)

    def action_leave(self) -> None:
        """Leave; runs go on."""
        self.exit(0)

    def action_quit_hint(self) -> None:
        """Say how to leave."""
        self.say("q quits; runs go on without this program", "")

    def action_redraw(self) -> None:
        """Draw everything again: another program may have written to the terminal."""
        if isinstance(self._driver, ThriftyDriver):
            self._driver.forget()
        self.refresh(layout=True, repaint=True)

    def action_show_errors(self) -> None:
        """Show the errors of this session in full, newest first."""
        if not self.errors:
            self.say("no error so far")
            return
        lines: list[Any] = []
        for then, text in reversed(self.errors[-20:]):
            lines += [(time.strftime("%H:%M:%S", time.localtime(then)), looks.BOLD), *text.splitlines(), ""]
        self.read("errors", lines)

    def action_edit_manifest(self) -> None:
        """Open staproj.toml in the editor of this person, and say what came of it."""
        from staproj.tui.editing import edit_manifest

        if self.root is not None:
            edit_manifest(self)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let typing be typing: a box with a line to type on takes all keys itself."""
        return not (action in ("help", "leave") and isinstance(self.focused, Input))


def run(
    root: Path | None, *, ascii_only: bool | None = None, start_in: Path | None = None, directory: str = ""
) -> int:
    """Show the interface until a person leaves it; ``directory``: where a new project is to be."""
    if os.environ.get("SSH_CONNECTION"):
        os.environ.setdefault("TEXTUAL_FPS", "30")
    look = looks.of_terminal(ascii_only=ascii_only)
    app = StaprojApp(root, look=look, start_in=start_in, directory=directory)
    app.run()
    return app.return_code or 0
