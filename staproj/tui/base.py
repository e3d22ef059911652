"""What all screens have in common: bars, messages, work in threads, keys that mean the same everywhere.

A screen says what it is (``place``), which command shows the same (:meth:`StaScreen.command`), what is on it
(:meth:`StaScreen.body`) and how it is brought up to date (:meth:`StaScreen.reload`, called when it is shown
and when files of the project have changed). Whatever reads files runs in a thread through
:meth:`StaScreen.fetch`; threads never touch widgets. Errors are always shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.screen import ModalScreen, Screen
from textual.widget import Widget

from staproj.tui.fetching import Fetching
from staproj.tui.widgets.bars import KeyBar, MessageLine, TopBar
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.text_pane import TextPane

if TYPE_CHECKING:
    from staproj.api import Project
    from staproj.tui.app import StaprojApp

WIDE = 120
"""From this many columns on, panes stand side by side (the screen has the class ``-wide``)."""
LOW = 16
"""With fewer lines, a list has the screen for itself (the screen has the class ``-low``)."""
MOVES = ("move", "jump", "page", "side")
"""Actions of lists and text that only move: a person tries them first and looks for them last."""


class StaScreen(Fetching, Screen[Any]):
    """A screen of its own, with the bars."""

    place: str = ""
    help_text: ClassVar[str] = ""
    """What ``?`` says above the keys: what one sees here and what to do with it."""
    _to_say = ("", "")
    key_order: ClassVar[tuple[str, ...]] = ()
    """Actions in the order in which the key bar names them (those not here come last)."""
    key_words: ClassVar[Mapping[str, str]] = {}
    """What an action is called on the key bar of this screen, where it has another name elsewhere."""
    DEFAULT_CSS = """
    StaScreen { layers: base over; }
    StaScreen .body { height: 1fr; }
    StaScreen.-low #detail { display: none; }
    StaScreen.-low #side { height: 3; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "help", show=False),
        Binding("colon,ctrl+p", "app.palette", "find what can be done, by its words", show=False),
        Binding("escape", "back", "back", show=False),
        Binding("q", "app.leave", "quit; runs go on", show=False),
        Binding("e", "app.edit_manifest", "edit staproj.toml", show=False),
        Binding("y", "copy", "copy", show=False),
        Binding("slash", "filter", "filter, search", show=False),
        Binding("J", "app.show('jobs')", "jobs", show=False),
        Binding("T", "app.show('series')", "tilt series", show=False),
        Binding("V", "app.show('versions')", "versions", show=False),
        Binding("C", "app.show('clean_up')", "space, clean-up", show=False),
        Binding("A", "app.show('archive')", "archive, export", show=False),
        Binding("I", "app.show('importing')", "import data", show=False),
        Binding("W", "app.show('commands')", "commands given here", show=False),
        Binding("exclamation_mark", "app.show_errors", "the last error in full", show=False),
        Binding("tab", "app.focus_next", "next part of the screen", show=False),
        Binding("shift+tab", "app.focus_previous", "part before", show=False),
        Binding("ctrl+c,super+c", "copy_text", "copy what the mouse selected", show=False),
        Binding("ctrl+l", "app.redraw", "draw again", show=False),
        Binding("ctrl+r", "reload_now", "look again", show=False),
        Binding("ctrl+z", "app.suspend_process", "suspend", show=False),
    ]

    # ---------------------------------------------------------------------------------- for each screen
    def body(self) -> Iterable[Widget]:
        """Return what stands between the bars."""
        return ()

    def command(self) -> Sequence[str]:
        """Return the command that shows the same (``["status"]``)."""
        return ()

    def reload(self) -> None:
        """Look at the project anew; called when shown and when something has changed."""

    def progress(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Hear, at most once a second, how far the jobs at work are."""

    def copies(self) -> dict[str, str]:
        """Return what can be copied here: ``{what: text}``."""
        return {}

    # --------------------------------------------------------------------------------------------- parts
    @property
    def sta(self) -> StaprojApp:
        """The app."""
        return cast("StaprojApp", self.app)

    @property
    def project(self) -> Project:
        """The project that is looked at."""
        return self.sta.project

    def compose(self) -> ComposeResult:
        """Put the bars around the body."""
        yield TopBar()
        yield from self.body()
        yield MessageLine()
        yield KeyBar()

    def on_mount(self) -> None:
        """Look at the project for the first time."""
        self.tell_place()
        self.say(*self._to_say)
        self.reload()

    def on_screen_resume(self) -> None:
        """Come back to the screen."""
        self.tell_place()
        if self.sta.changes_since(self):
            self.reload()
        self.tell_keys()

    def tell_place(self) -> None:
        """Bring the bars up to date."""
        self.query_one(TopBar).tell(
            project=self.sta.project_name, place=self.place, news=self.sta.news, read_only=self.sta.read_only
        )
        self.query_one(MessageLine).show_command(["staproj", *self.command()] if self.command() else [])
        self.tell_keys()

    def keys_in_order(self) -> list[ActiveBinding]:
        """Return the keys that do something now: first those of the screen, last those that only move."""
        order = {action: place for place, action in enumerate(self.key_order)}
        everywhere = {cast("Binding", binding).action for binding in StaScreen.BINDINGS}

        def place(active: ActiveBinding) -> tuple[int, int]:
            action = active.binding.action
            if action in order:
                return 0, order[action]
            if action.partition("(")[0] in MOVES:
                return 5, 0
            if active.node is not self:
                return (2 if isinstance(active.node, Widget) else 4), 0
            return (3 if action in everywhere else 1), 0

        return sorted(self.active_bindings.values(), key=place)

    def tell_keys(self) -> None:
        """Bring the key bar up to date."""
        bars = self.query(KeyBar)
        if bars:
            found = [active for active in self.keys_in_order() if active.binding.show]
            bars.first().tell([(self.in_words(active.binding), active.enabled) for active in found])

    def on_descendant_focus(self) -> None:
        """Name the keys of what has the focus now."""
        self.tell_keys()

    def in_words(self, binding: Binding) -> Binding:
        """Return a key with what it does on this screen."""
        words = self.key_words.get(binding.action)
        return replace(binding, description=words) if words else binding

    def on_resize(self) -> None:
        """Place panes side by side where there is room; where there is none, leave the lines to the list."""
        self.set_class(self.size.width >= WIDE, "-wide")
        self.set_class(self.size.height < LOW and self.size.width < WIDE, "-low")

    def say(self, message: str, level: str = "") -> None:
        """Show a message on the line above the keys ("" takes it away)."""
        for line in self.query(MessageLine):
            line.say(message, level)
            return
        self._to_say = (message, level)  # its lines are not there yet

    def on_key(self) -> None:
        """Take the message away: it was seen."""
        line = self.query_one(MessageLine)
        if line.message and line.level != "error":
            line.say("")

    # ------------------------------------------------------------------------------------------- actions
    def action_back(self) -> None:
        """Take an error, a filter, a search or marks away; else go back to the screen before."""
        line = self.query_one(MessageLine)
        if line.message and line.level == "error":
            line.say("")
            return
        focused = self.focused
        if isinstance(focused, LineList) and focused.filter_text:
            focused.set_filter("")
            return
        if isinstance(focused, TextPane) and focused.needle:
            focused.search("")
            return
        if isinstance(focused, LineList) and focused.marks:
            focused.clear_marks()
            return
        self.leave()

    def leave(self) -> None:
        """Go back to the screen before."""
        if len(self.app.screen_stack) > 2:
            self.app.pop_screen()
        else:
            self.say("this is the first screen: q quits (runs go on)")

    def action_reload_now(self) -> None:
        """Look at the project again."""
        self.reload()
        self.say("looked again")

    def action_filter(self) -> None:
        """Ask for a filter (a list) or a text to look for (text)."""
        target = self.focused
        if isinstance(target, LineList):
            was = target.filter_text
            self.sta.ask(
                "filter (!text: without it)", target.filter_text, target.set_filter, live=target.set_filter,
                cancelled=lambda: target.set_filter(was),
            )  # fmt: skip
        elif isinstance(target, TextPane):
            self.sta.ask(
                "search", target.needle, lambda text: self._searched(target, text), live=target.search
            )
        else:
            self.say("there is nothing to filter here")

    def _searched(self, pane: TextPane, text: str) -> None:
        count = pane.search(text)
        if text:
            self.say(f"{count} lines hold {text!r}; n and N go on" if count else f"nothing holds {text!r}")

    def action_copy(self) -> None:
        """Offer what can be copied."""
        found = self.copies()
        if self.command():
            import shlex

            found["this view as a command"] = shlex.join(["staproj", *self.command()])
        focused = self.focused
        if isinstance(focused, LineList) and focused.row is not None:
            cells = [c if isinstance(c, str) else c[0] for c in focused.row.cells]
            found["this line"] = "\t".join(cell for cell in cells if cell.strip())
            found["all lines"] = "\n".join(
                "\t".join(c if isinstance(c, str) else c[0] for c in row.cells) for row in focused.rows
            )
        if isinstance(focused, TextPane):
            found["all of this text"] = focused.text
        self.sta.offer_copies(found)


class Dialog(Fetching, ModalScreen[Any]):
    """A box over the screen. ``esc`` always leaves it with nothing done."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: transparent; }
    Dialog > .box { width: 76; max-width: 100%; height: auto; max-height: 100%; border: solid ansi_default;
                    padding: 0 1; background: ansi_default; }
    Dialog.-ascii > .box { border: ascii ansi_default; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "cancel", show=False)]

    @property
    def sta(self) -> StaprojApp:
        """The app."""
        return cast("StaprojApp", self.app)

    @property
    def project(self) -> Project:
        """The project that is looked at."""
        return self.sta.project

    def on_mount(self) -> None:
        """Draw the frame with what the terminal has."""
        self.set_class(not self.sta.look.unicode, "-ascii")

    def action_cancel(self) -> None:
        """Leave with nothing done."""
        self.dismiss(None)
