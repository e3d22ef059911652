"""Space: where it goes, what can be deleted and what that costs, and the trash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from staproj.report.background import progress_words
from staproj.report.tables import size
from staproj.tui import storage_rows as rows_of
from staproj.tui.cleaning import Cleaning, MarkList
from staproj.tui.storage_rows import BY, GROUP, LEVEL_KEYS, RUN, Level
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.tabs import TabLine
from staproj.tui.widgets.text_pane import TextPane

T = TypeVar("T")
TABS = ("space", "clean-up", "trash")
KEYS = ("turn_tab(1)", "open", "delete", "prove", "restore")
KEYS_OF_TRASH = ("turn_tab(1)", "restore", "delete", "open", "prove")


class CleanUpScreen(Cleaning):
    """Space in three tabs."""

    place = "space, clean-up"
    key_order = KEYS
    help_text = """
    space: where it goes, largest first; right unfolds a line, b shows it by step, run or class. Clean-up:
    what can be deleted because it can be made again, what that frees and what making it again takes; i c o a
    t turn on and off what may go ("old runs": those that nothing needs any more), space marks lines to
    confine it to their runs. Below it stands what cannot go or is kept, and why. ctrl+d deletes after a
    question, to the trash only. v makes some of it again and compares bit for bit; that goes on when you
    leave. trash: u puts back exactly what was deleted, ctrl+d deletes it for good, which frees the space.
    """
    DEFAULT_CSS = """
    CleanUpScreen #facts { height: 4; border-bottom: solid ansi_bright_black; }
    CleanUpScreen #detail { height: 3; border-top: solid ansi_bright_black; }
    CleanUpScreen.-ascii #facts { border-bottom: ascii ansi_bright_black; }
    CleanUpScreen.-ascii #detail { border-top: ascii ansi_bright_black; }
    CleanUpScreen #panes { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "turn_tab(1)", "tabs", show=True, key_display="[ ]"),
        Binding("b", "by", "by step, run or class", show=False),
        Binding("right", "unfold(True)", "show what is beneath", show=False),
        Binding("left", "unfold(False)", "hide what is beneath", show=False),
        *(
            Binding(key, f"turn('{name}')", rows_of.LEVEL_HELP[name], show=False)
            for name, key in LEVEL_KEYS.items()
        ),
    ]

    def __init__(self, tab: str = "space") -> None:
        super().__init__()
        self.first_tab = tab
        self.by = BY[0]
        self.level = Level()
        self.unfolded: set[str] = set()
        self.usage: dict[str, Any] | None = None
        self.plan: dict[str, Any] | None = None
        self.parts: list[dict[str, Any]] = []
        self._stale: set[str] = set(TABS)
        self._flying: set[str] = set()
        self._again: dict[str, Callable[[], None]] = {}

    def body(self) -> Iterable[Widget]:
        """Return the tabs, what they are about, and the lists."""
        yield TabLine(TABS, self.first_tab)
        facts, detail = TextPane(id="facts", wrap=False), TextPane(id="detail")
        facts.can_focus = detail.can_focus = False
        yield Container(
            facts,
            Container(
                LineList(rows_of.SPACE, id="space", empty="looking at the space ..."),
                MarkList(rows_of.PLAN, id="clean-up", empty="working out what can go ..."),
                LineList(rows_of.TRASH, id="trash", empty="the trash is empty"),
                id="panes",
            ),
            detail,
            classes="body",
        )

    def on_mount(self) -> None:
        """Show the first tab."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self.show_tab(self.first_tab)

    def command(self) -> Sequence[str]:
        """Return the command that shows the same as this tab."""
        tab = self.tab if self.is_mounted else self.first_tab
        if tab == "space":
            return ["du", "--by", self.by]
        return ["trash", "list"] if tab == "trash" else self.level.words(self.marked() or None)

    def show_tab(self, name: str) -> None:
        """Show a list and give it the keys."""
        self.query_one(TabLine).go_to(name)
        self.key_order = KEYS_OF_TRASH if name == "trash" else KEYS  # type: ignore[misc]
        for pane in self.query_one("#panes").children:
            pane.display = pane.id == name
        self.query_one(f"#{name}", LineList).focus()
        self._load(name)
        self._show_facts()
        self._details()
        self.tell_place()

    # ------------------------------------------------------------------------------------------- loading
    def reload(self) -> None:
        """Look at the tab that is shown again, at the others when they are shown."""
        self._stale = set(TABS)
        self._load(self.tab)
        self.load_tasks()

    def changed(self) -> None:
        """Look again after something was done."""
        self.reload()

    def _load(self, tab: str) -> None:
        if tab not in self._stale:
            return
        self._stale.discard(tab)
        storage, level = self.project.storage, self.level
        if tab == "trash":
            self._once("trash", storage.trash, self._show_trash)
        elif tab == "clean-up":
            self._once("plan", lambda: storage.plan(**level.asked()), self._show_plan)
        elif self.usage is None:
            self._once("recorded", lambda: storage.usage("run", recorded=True), self._show_recorded)
        elif not self.sta.jobs:  # while work goes on, sizes change all the time: ctrl+r looks
            self._measure()

    def _measure(self) -> None:
        storage = self.project.storage
        self._once("exact", lambda: storage.usage("run"), self._show_usage)

    def action_reload_now(self) -> None:
        """Look again, at the files too."""
        self.reload()
        if self.tab == "space" and self.usage is not None:
            self._measure()
        self.say("looked again")

    def _once(self, name: str, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do work in a thread, never twice at a time; what is asked meanwhile is done after it."""
        if name in self._flying:
            self._again[name] = lambda: self._once(name, work, then)
            return
        self._flying.add(name)

        def over() -> None:
            self._flying.discard(name)
            again = self._again.pop(name, None)
            if again is not None:
                again()

        def done(result: T) -> None:
            over()
            then(result)

        def failed(error: Exception) -> None:
            self.show_error(error)
            over()

        self.fetch(work, done, name=name, failed=failed)

    # ------------------------------------------------------------------------------------------- showing
    def _show_recorded(self, usage: dict[str, Any]) -> None:
        self._show_usage(usage)
        self._measure()

    def _show_usage(self, usage: dict[str, Any]) -> None:
        self.usage = usage
        self._show_space()

    def _show_space(self) -> None:
        if self.usage is not None:
            shown = self.query_one("#space", LineList)
            shown.empty = "no run yet"
            shown.set_rows(rows_of.space_rows(self.usage, self.by, self.unfolded, self.sta.look))
            self._show_facts()

    def _show_plan(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.plan_list.empty = "nothing can go, and nothing is kept"
        self.plan_list.set_rows(rows_of.plan_rows(plan, self.sta.look))
        self._show_facts()
        self._details()

    def _show_trash(self, parts: list[dict[str, Any]]) -> None:
        self.parts = parts
        self.trash_list.set_rows(rows_of.trash_rows(parts))
        self._show_facts()

    def show_tasks(self) -> None:
        """Show how far a proof is."""
        self._show_facts()

    def _show_facts(self) -> None:
        if self.tab == "space":
            by = " or ".join(name for name in BY if name != self.by)
            words = rows_of.space_words(self.usage) if self.usage is not None else ""
            lines = [words, f"by {self.by}, largest first; b: by {by}"]
        elif self.tab == "trash":
            held = size(sum(part["bytes"] for part in self.parts))
            lines = [
                f"{rows_of.count(len(self.parts), 'clean-up')} can be undone; emptying the trash frees {held}"
            ]
            lines.append("u puts back, ctrl+d deletes one for good, ctrl+e all of it")
        else:
            lines = [rows_of.level_line(self.level, self.sta.look), *self._plan_words()]
        self.query_one("#facts", TextPane).set_lines(lines)

    def _plan_words(self) -> list[str]:
        lines = [rows_of.plan_words(self.plan)] if self.plan is not None else [""]
        if "plan" in self._flying:
            lines = ["working out what can go ..."]
        going = next((task for task in self.proofs() if task["state"] in ("starting", "running")), None)
        runs = self.marked()
        if going is not None:
            told = going["progress"]
            lines.append(f"{going['task']} proves: " + (progress_words(told) if told else "it begins"))
        elif runs:
            lines.append(rows_of.marked_words(self.plan_list.all_rows, runs))
        elif self.plan is not None:
            lines.append(rows_of.software_words(self.plan))
        return lines

    def _details(self) -> None:
        lines: list[Any] = []
        if self.tab == "clean-up":
            lines = rows_of.plan_details(self.plan_list.row)
        elif self.tab == "trash" and self.trash_list.row is not None:
            lines = [", ".join(self.trash_list.row.data["runs"])]
        self.query_one("#detail", TextPane).set_lines(lines)

    @on(LineList.Moved)
    def moved(self, event: LineList.Moved) -> None:
        """Show what the line under the cursor means, and what is marked."""
        self._show_facts()
        self._details()
        self.tell_place()

    # ------------------------------------------------------------------------------------------- actions
    @on(LineList.Opened)
    def opened(self, event: LineList.Opened) -> None:
        """Unfold a line, or open the run of it."""
        row = event.row
        if row.key.startswith(GROUP) and row.key.count(":") == 1:
            self.action_unfold(row.key not in self.unfolded)
        elif isinstance(row.data, Mapping) and row.data.get("run"):
            self.sta.show("run", run=row.data["run"])
        elif self.tab == "trash":
            self.sta.read(row.key, [", ".join(row.data["runs"]), row.data["why"]])

    def action_unfold(self, show: bool) -> None:
        """Show or hide what is beneath a line of the space."""
        row = self.query_one("#space", LineList).row if self.tab == "space" else None
        if row is None:
            return
        group = self._group_of(row)
        if group:
            (self.unfolded.add if show else self.unfolded.discard)(group)
            self._show_space()
            if not show:
                self.query_one("#space", LineList).go_to(group)

    def _group_of(self, row: Row) -> str:
        if row.key.startswith(GROUP):
            return ":".join(row.key.split(":")[:2])
        return GROUP + row.data["step"] if row.key.startswith(RUN) and self.by == "step" else ""

    def action_by(self) -> None:
        """Show the space in another way."""
        if self.tab != "space":
            self.say("b is for the tab space")
            return
        self.by = BY[(BY.index(self.by) + 1) % len(BY)]
        self._show_space()
        self.tell_place()

    def action_turn(self, name: str) -> None:
        """Turn on or off what clean-up may take."""
        if self.tab != "clean-up":
            self.say("the tab clean-up has this")
            return
        self.level = self.level.turned(name)
        self._stale.add("clean-up")
        self._load("clean-up")
        self._show_facts()
        self.tell_place()

    def copies(self) -> dict[str, str]:
        """Return what can be copied of the line."""
        shown = self.query_one(f"#{self.tab}", LineList).row
        if shown is None:
            return {}
        data = shown.data
        name = "run" if data.get("run") else "trash" if data.get("trash") else ""
        return {name: str(data[name])} if name else {}
