"""The form for another run of a step: values with their declaration, tilt series, how, and a preview."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from staproj.api.starting import Plan, options
from staproj.errors import UsageError
from staproj.tui import forms
from staproj.tui.form_judge import Judging
from staproj.tui.form_preview import preview_lines
from staproj.tui.form_work import MarkList, SayLine, side_panes
from staproj.tui.forms import Form
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.tabs import TabLine
from staproj.tui.widgets.text_pane import TextPane

VALUES, SERIES, HOW, PREVIEW = "values", "tilt series", "how", "preview"
Loaded = tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any], dict[str, Any]]
PANES = {VALUES: "values", SERIES: "series", HOW: "how", PREVIEW: "preview"}


class RerunScreen(Judging):
    """A form for one more run of a step with other values; nothing is overwritten by it."""

    key_order = ("start", "open", "default", "undo", "write", "turn_tab(1)")
    help_text = """
    Every value of the step with its unit, its default, the layer it comes from, and what the last run had;
    the lines below say what the value under the cursor does. Enter types a value (or chooses), left and right
    go through choices, x takes the default, z takes the last edit back. Several values with commas (20,15,12)
    make variants side by side. R begins a new run as a job, the old runs stay; w only writes staproj.toml.

    Tabs: tilt series (space marks those for which the values are meant), how (device, threads, queue, note),
    preview (what differs and becomes stale, time, disk, the command).
    """
    DEFAULT_CSS = """
    RerunScreen #glance { display: none; border-top: solid ansi_bright_black; }
    RerunScreen.-ascii #glance { border-top: ascii ansi_bright_black; }
    RerunScreen.-wide #glance { display: block; height: 1fr; }
    RerunScreen.-wide #help { height: 8; }
    """
    key_words = {"open": "change"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "default", "default", show=True),
        Binding("backspace,delete", "default", "take the default", show=False),
        Binding("z", "undo", "undo", show=True),
        Binding("w", "write", "write, do not run", show=True),
        Binding("v", "several", "type one or several values (also where one chooses)", show=False),
        Binding("d", "preview", "what differs from the last run, what becomes stale", show=False),
        Binding("q", "quit_form", "quit; runs go on", show=False),
    ]

    def __init__(self, step: str, run: str | None = None, focus_param: str | None = None) -> None:
        super().__init__(Form(step, run))
        self.focus_param = focus_param
        self.place = f"run {run or step} again" if run is None else f"run {step} again, from {run}"

    def body(self) -> Iterable[Widget]:
        """Return the tabs with their panes, and what the line under the cursor means."""
        yield TabLine(list(PANES))
        yield SayLine(id="status")
        panes = Container(
            LineList(forms.VALUE_COLUMNS, id="values", empty="looking at the values ...", sortable=False),
            MarkList(forms.SERIES_COLUMNS, id="series", empty="runs once for the whole project"),
            self.how_list(),
            TextPane(id="preview"),
            id="panes",
        )
        yield Container(panes, Container(*side_panes("help", "glance"), id="side"), id="both", classes="body")

    def on_mount(self) -> None:
        """Begin with the values."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self.show_tab(VALUES)

    def command(self) -> Sequence[str]:
        """Return the command that starts the same."""
        form = self.form
        asked, items = form.asked(), form.items or None
        if form.sweep():
            until = ["--until", self.until] if self.until else []
            return ["rerun", form.step, *options(items, form.over_manifest(), self.how), *until]
        if self.needs_inputs:
            own = {f"{form.step}.{name}": text for name, text in form.over_manifest().items()}
            return ["run", "--until", form.step, *options(items, own, self.how)]
        return ["rerun", form.run or form.step, *options(items, asked, self.how)]

    # ------------------------------------------------------------------------------------------- loading
    def reload(self) -> None:
        """Look at the values as they stand now; what was typed stays."""
        project, starter, form = self.project, self.starter, self.form
        item = form.items[0] if form.items else None

        def work() -> Loaded:
            resolved = project.settings.resolved(form.step, item)
            of_run = starter.values_of_run(form.run) if form.run is not None else None
            own = of_run["items"] if of_run is not None else starter.own_values(form.step)
            return resolved, of_run, own, starter.room(self.how)

        self.fetch(work, self._show, name="values")

    def _show(self, found: Loaded) -> None:
        self.resolved, of_run, self.own, self.room = found
        self.form.take(self.resolved, of_run)
        self.draw()
        if self.focus_param is not None:
            self.list_of("values").go_to(self.focus_param)
            self.focus_param = None
        self.show_how()
        self.judge()

    def draw(self) -> None:
        """Bring rows and lines up to date; nothing is read."""
        if self.resolved is None:
            return
        form = self.form
        self.list_of("values").set_rows(forms.value_rows(form, self.sta.look))
        items = self.resolved["items"]
        self.list_of("series").set_rows(forms.series_rows(items, self.own, form) if items else [])
        words, level = forms.status_words(form, len(items))
        if level != "error" and (problem := self.judged.get("problem", self.resolved["problem"])):
            words, level = problem, "error"
        self.query_one("#status", SayLine).tell(words, level)
        lines = preview_lines(form, {**self.judged, "room": self.room}, self.command())
        for name in ("preview", "glance"):
            self.query_one(f"#{name}", TextPane).set_lines(lines)
        self._help()
        self.tell_place()

    def _help(self) -> None:
        row = self.list_of("values").row
        lines: list[Any] = []
        if self.tab == VALUES and row is not None:
            lines = forms.help_lines(self.form, row.key, self.own)
        elif self.tab == SERIES:
            lines = self._series_help()
        elif self.tab == HOW:
            lines = self.how_help()
        self.query_one("#help", TextPane).set_lines(lines)

    def _series_help(self) -> list[Any]:
        if self.resolved is None or not self.resolved["items"]:
            return ["This step runs once, with all tilt series together: values cannot differ between them."]
        return [
            "Space marks the tilt series for which the values are meant: only they are computed anew, the "
            "others stay as they are. Without marks values hold for all. Enter means one alone.",
            "x takes the values of its own away from the one under the cursor (or those marked), so that "
            "those of the step hold for it again.",
        ]

    def how_changed(self) -> None:
        """Look again whether the machine has room, and what it takes."""
        starter, how = self.starter, self.how

        def done(room: dict[str, Any]) -> None:
            self.room = room
            self.show_how()
            self.draw()

        self.draw()
        self.fetch(lambda: starter.room(how), done, name="room")
        self.judge()

    # ---------------------------------------------------------------------------------------------- tabs
    def show_tab(self, name: str) -> None:
        """Show the pane of a tab and give it the keys."""
        self.query_one(TabLine).go_to(name)
        for pane in self.query_one("#panes").children:
            pane.display = pane.id == PANES[name]
        self.query_one("#side").display = name != PREVIEW
        self.query_one(f"#{PANES[name]}").focus()
        self._help()
        self.tell_place()

    @on(LineList.Moved)
    def moved(self) -> None:
        """Say what the line under the cursor means."""
        self._help()

    @on(MarkList.Marked)
    def marked(self) -> None:
        """Mean the values for other tilt series."""
        chosen = self.list_of("series").marks
        self.form.items = [row.key for row in self.list_of("series").all_rows if row.key in chosen]
        self.judged = {}
        self.draw()
        self.reload()

    # ------------------------------------------------------------------------------------------- editing
    def _at(self) -> str:
        """Return the parameter under the cursor ("" on another tab)."""
        row = self.list_of("values").row
        if self.tab != VALUES or row is None:
            self.say("the tab values has them: [ and ] turn the tabs")
            return ""
        return row.key

    def put(self, name: str, text: str) -> None:
        """Type a text over a value."""
        self.form.put(name, text)
        self.changed()

    @on(LineList.Opened, "#values")
    def value_opened(self, event: LineList.Opened) -> None:
        """Change the value: choose it, or type it."""
        name = event.row.key
        found = self.form.options(name)
        if not found:
            self._type(name)
            return
        default, now = self.form.default(name), self.form.text(name)
        marks = {text: " (now)" * (text == now) + " (default)" * (text == default) for text in found}
        self.sta.choose(
            name,
            [(text, text + marks[text]) for text in found],
            lambda text: self.put(name, text),
            note=f"{event.row.data['help']} v types several of them, for variants side by side.",
        )

    def _type(self, name: str) -> None:
        param = self.form.params[name]
        unit = f" [{param['unit']}]" if param["unit"] else ""
        self.sta.ask(
            name + unit,
            self.form.text(name),
            lambda text: self.put(name, text),
            check=lambda text: self.form.problem(name, text),
            help_text=forms.asking_words(self.form, name),
        )

    @on(LineList.Opened, "#series")
    def series_opened(self, event: LineList.Opened) -> None:
        """Mean the values for this tilt series alone, and go to them."""
        shown = self.list_of("series")
        shown.marks = {event.row.key: None}
        shown.refresh()
        self.marked()
        self.show_tab(VALUES)

    def action_several(self) -> None:
        """Type a value, or several, where one chooses otherwise too."""
        if name := self._at():
            self._type(name)

    def action_turn(self, by: int) -> None:
        """Take the next choice."""
        if self.tab == HOW:
            self.turn_how(by)
        elif name := self._at():
            text = self.form.turned(name, by)
            if text is None:
                self.say(f"enter types {name}")
            else:
                self.put(name, text)

    def action_default(self) -> None:
        """Take the default of the stage; on the tab of tilt series: take values of their own away."""
        if self.tab == SERIES:
            self.reset_series()
        elif name := self._at():
            text = self.form.default(name)
            if not text:
                self.say(f"{name} has no default: it must be given")
            elif text == self.form.text(name):
                self.say(f"{name} is at its default")
            else:
                self.put(name, text)

    def action_undo(self) -> None:
        """Take the last edit back."""
        if self.form.undo():
            self.changed()
        else:
            self.say("nothing was typed that could be taken back")

    def action_preview(self) -> None:
        """Show what would come of it."""
        self.show_tab(PREVIEW)

    # --------------------------------------------------------------------------------- starting and writing
    def refused(self) -> bool:
        """Say what does not fit, with the cursor on it, and tell whether something does not."""
        if self.resolved is None:
            self.say("looking at the values ...")
            return True
        problems = self.form.problems()
        if problems:
            name, words = next(iter(problems.items()))
            self.show_tab(VALUES)
            self.list_of("values").go_to(name)
            self.say(f"{name}: {words}", "error")
        elif together := self.judged.get("problem"):
            self.say(together, "error")
        return bool(problems or self.judged.get("problem"))

    def action_start(self) -> None:
        """Start the run (or the variants) as a job; it queues up where the machine is busy."""
        if self.sta.refuse_read_only() or self.refused():
            return
        form, starter, how, settings = self.form, self.starter, self.how, self.project.settings
        asked, full, items = form.asked(), form.over_manifest(), form.items or None
        step, run, several, first = form.step, form.run, bool(form.sweep()), self.needs_inputs
        until = self.until

        def make_plan() -> Plan:
            if several:
                return starter.variants(step, full, until=until, items=items, how=how)
            if problem := settings.check_all(step, full, items):
                raise UsageError(problem, hint="change one of the values; they are as you typed them")
            if first:
                own = {f"{step}.{name}": text for name, text in full.items()}
                return starter.run(until=step, items=items, sets=own, how=how)
            return starter.rerun(run or step, asked, items=items, how=how)

        self.start_work(make_plan)

    # ------------------------------------------------------------------------------------------- leaving
    def leave(self) -> None:
        """Go back, after a question if something was typed."""
        self.leave_if(len(self.form.edits), super().leave)

    def action_quit_form(self) -> None:
        """Quit, after a question if something was typed."""
        self.leave_if(len(self.form.edits), lambda: self.app.exit(0))

    def copies(self) -> dict[str, str]:
        """Return what can be copied here."""
        return {"preview": self.query_one("#preview", TextPane).text}
