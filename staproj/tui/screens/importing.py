"""What the project reads: patterns with what they match, what the files hold, and other ones instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from staproj.api import raw_data
from staproj.api.starting import Plan, Starting
from staproj.tui import import_rows
from staproj.tui.base import StaScreen
from staproj.tui.path_dialog import AskPatterns
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.text_pane import TextPane


class ImportingScreen(StaScreen):
    """Data of the steps that read some, and what an import would stumble over."""

    place = "import data"
    key_order = ("open", "write", "run", "undo", "app.show('archive')")
    key_words = {"open": "change"}
    help_text = """
    One line a parameter that names raw data, with the files that match it now. Enter asks for other patterns:
    tab completes, and what matches is counted while one types. Below stands what the files hold and what an
    import would stumble over; headers and mdoc files are read, nothing else. Tab goes there.

    Nothing is written before ctrl+s (staproj.toml alone) or R (a run of the step with these patterns, as a
    job). r shows all values of the step, the microscope's too. A takes in an archive of a project.
    """
    DEFAULT_CSS = """
    ImportingScreen #data { height: auto; min-height: 4; max-height: 9; }
    ImportingScreen #detail { height: 1fr; border-top: solid ansi_bright_black; }
    ImportingScreen.-ascii #detail { border-top: ascii ansi_bright_black; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "write", "write", show=True),
        Binding("R", "run", "run with these", show=True),
        Binding("z", "undo", "undo", show=True),
        Binding("x", "default", "take back the change of this line", show=False),
        Binding("r", "rerun", "all values of this step", show=False),
        Binding("A", "app.show('archive')", "from archive", show=True),
        Binding("q", "leave_all", "quit; runs go on", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.importers: list[dict[str, Any]] = []
        self.wanted: dict[str, dict[str, Any]] = {}
        self.seen: dict[str, Any] | None = None
        self._read = ""
        self._before: list[dict[str, dict[str, Any]]] = []

    def body(self) -> Iterable[Widget]:
        """Return the list and what the files hold."""
        data = LineList(import_rows.COLUMNS, id="data", empty="looking at the project ...", sortable=False)
        yield Container(data, TextPane(id="detail"), classes="body")

    @property
    def data(self) -> LineList:
        """The list."""
        return self.query_one("#data", LineList)

    def on_mount(self) -> None:
        """Begin on the list."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self.data.focus()

    def command(self) -> Sequence[str]:
        """Return the command that shows the same."""
        return ["inspect"]

    # ------------------------------------------------------------------------------------------- looking
    def reload(self) -> None:
        """Look at the patterns, and at the files where there is something new."""
        root = self.project.root
        self.fetch(lambda: raw_data.importers(root), self._show_importers, name="importers")

    def _show_importers(self, found: list[dict[str, Any]]) -> None:
        self.importers = found
        keys = import_rows.keys_of(found)
        self.wanted = {
            key: one
            for key, one in self.wanted.items()
            if key in keys and one["text"] != import_rows.now_of(keys[key][1])
        }
        self.data.empty = "no step of this pipeline reads raw data"
        self._show()

    def _show(self) -> None:
        self.data.set_rows(import_rows.rows(self.importers, self.wanted, self.sta.look))
        self.place = "import data" + ("  (not written)" if self.wanted else "")
        self.tell_place()
        wanted = {key: one["text"] for key, one in self.wanted.items()}
        now = repr((self.importers, wanted))
        if now != self._read:
            importers, root = self.importers, self.project.root
            self._read = ""

            def done(seen: dict[str, Any] | None) -> None:
                self.seen, self._read = seen, now
                self._details(self.data.row)

            self.fetch(lambda: import_rows.inspect(importers, wanted, root), done, name="inspect")
        self._details(self.data.row)

    def _details(self, row: Row | None) -> None:
        lines = import_rows.details(row.data if row is not None else None, self.seen, bool(self._read))
        self.query_one("#detail", TextPane).set_lines(lines)

    @on(LineList.Moved)
    def moved(self, event: LineList.Moved) -> None:
        """Say what the line under the cursor is."""
        self._details(event.row)

    # ------------------------------------------------------------------------------------------- changing
    @on(LineList.Opened)
    def opened(self, event: LineList.Opened) -> None:
        """Ask for other patterns."""
        if self.sta.refuse_read_only():
            return
        data, key = event.row.data, event.row.key
        now = self.wanted[key]["text"] if key in self.wanted else import_rows.now_of(data)
        dialog = AskPatterns(key, data["help"], now, self.project.root)
        self.app.push_screen(dialog, lambda text: self.sta.attempt(self._take, key, text))

    def _take(self, key: str, text: str | None) -> None:
        if text is None:
            return
        root = self.project.root

        def counted(found: dict[str, Any]) -> None:
            self._change({**self.wanted, key: found})

        self.fetch(lambda: import_rows.look_for(text, root), counted, name="count")

    def _change(self, wanted: dict[str, dict[str, Any]]) -> None:
        keys = import_rows.keys_of(self.importers)
        self._before.append(self.wanted)
        self.wanted = {
            key: one
            for key, one in wanted.items()
            if key in keys and one["text"] != import_rows.now_of(keys[key][1])  # its step may be gone
        }
        self._show()

    def action_default(self) -> None:
        """Take back the change of the line under the cursor."""
        row = self.data.row
        if row is None or row.key not in self.wanted:
            self.say("nothing was changed here")
            return
        self._change({key: one for key, one in self.wanted.items() if key != row.key})

    def action_undo(self) -> None:
        """Take the last change back."""
        if not self._before:
            self.say("nothing was changed here")
            return
        self.wanted = self._before.pop()
        self._show()

    # ------------------------------------------------------------------------------------ writing, running
    def action_write(self, then: Callable[[], Any] = lambda: None) -> None:
        """Write the patterns into staproj.toml; nothing is run."""
        if self.sta.refuse_read_only():
            return
        if not self.wanted:
            self.say("nothing was changed here")
            return
        sets, resets = import_rows.sets_of({key: one["text"] for key, one in self.wanted.items()})
        project, command = self.project, import_rows.set_command(sets, resets)

        def written(told: dict[str, Any]) -> None:
            self.wanted, self._before = {}, []
            self.reload()
            then()
            stale = ", ".join(told["stale"])
            self.sta.did(command, f"to run now: {stale}" if stale else "all is as it was made")

        self.fetch(lambda: project.settings.set(sets, None, resets), written, name="write")

    def action_run(self) -> None:
        """Run the step under the cursor with the patterns as they stand here, as a job."""
        row = self.data.row
        if row is None or self.sta.refuse_read_only():
            return
        step = row.key.partition(".")[0]
        other = [key for key in self.wanted if key.partition(".")[0] != step]
        if other:
            self.say(f"{other[0]} was changed too: ctrl+s writes all of it first", "warning")
            return
        sets, resets = import_rows.sets_of({key: one["text"] for key, one in self.wanted.items()})
        if resets:
            self.say(f"{resets[0]} is empty now: ctrl+s writes that first", "warning")
            return
        root = self.project.root

        def plan() -> Plan:
            return Starting(root).rerun(step, sets)

        def begun(job: dict[str, Any]) -> None:
            self.wanted, self._before = {}, []
            self._show()

        self.sta.begin(plan, begun)

    def action_rerun(self) -> None:
        """Show all values of the step under the cursor."""
        row = self.data.row
        if row is not None and not self.sta.refuse_read_only():
            step, _, param = row.key.partition(".")
            self._unless_changed(lambda: self.sta.show("rerun", step=step, focus_param=param))

    # ---------------------------------------------------------------------------------------- leaving it
    def _unless_changed(self, then: Callable[[], Any]) -> None:
        if not self.wanted:
            then()
            return

        def chosen(value: str) -> None:
            if value == "write":
                self.action_write(then)
            elif value == "lose":
                self.wanted, self._before = {}, []
                self._show()
                then()

        self.sta.choose(
            "other patterns were given, but not written",
            [("stay", "stay here"), ("write", "write into staproj.toml"), ("lose", "forget the changes")],
            chosen,
        )

    def leave(self) -> None:
        """Go back; ask first where something would be lost."""
        self._unless_changed(super().leave)

    def action_leave_all(self) -> None:
        """Leave the program; ask first where something would be lost."""
        self._unless_changed(self.sta.action_leave)
