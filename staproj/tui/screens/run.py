"""One run, in tabs: what came of it, its values, files, tilt series, log, curves, pictures, record, notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal
from textual.widget import Widget

from staproj.report.runs import said_lines, why_lines
from staproj.tui import run_rows
from staproj.tui.actions import RunActions
from staproj.tui.run_drawings import Drawings
from staproj.tui.run_log import RunLog
from staproj.tui.screens.pipeline import stage
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.picture import PicturePane
from staproj.tui.widgets.plot import PlotPane
from staproj.tui.widgets.tabs import Tabbed, TabLine
from staproj.tui.widgets.text_pane import TextPane

TABS = ("summary", "values", "files", "items", "log", "curves", "pictures", "record", "notes")


class RunScreen(Tabbed, RunLog, Drawings, RunActions):
    """Everything about one run."""

    key_order = ("turn_tab(1)", "rerun", "compare", "open", "log")
    help_text = """
    One run in tabs, [ and ] turn them.
    summary: how it went, numbers, warnings. values: every parameter, unit, default, layer of origin; the
    sign at the left marks what differs from the run before; enter opens the form for another run there.
    files: inputs, raw data and outputs with sizes and digests. items: each tilt series; enter confines log,
    curves and pictures to it, backspace takes that back. log: follows while the run goes on, / searches.
    curves: FSC, drift, residuals, defocus, CTF fits, histograms, directions of particles. pictures: previews
    and sections of maps, tomograms and stacks; , and . move through sections, x b z look along other axes;
    enter gives curve or picture the whole screen.
    record: software, machine, digests, command. notes: n writes one, * rates, t tags.
    """
    DEFAULT_CSS = """
    RunScreen #curve-list, RunScreen #picture-list { width: 26; }
    RunScreen.-wide #curve-list, RunScreen.-wide #picture-list { width: 44; }
    RunScreen #curve-list.-narrow, RunScreen #picture-list.-narrow { width: 1; }
    RunScreen.-wide #curve-list.-narrow, RunScreen.-wide #picture-list.-narrow { width: 1; }
    RunScreen #panes { height: 1fr; }
    RunScreen #panes > * { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "turn_tab(1)", "tabs", show=True, key_display="[ ]"),
        Binding("r", "rerun", "run again with other values", show=True),
        Binding("backspace", "all_items", "all tilt series again", show=False),
        Binding("p", "open_input", "go to the run of this input", show=False),
        Binding("f", "follow", "follow the log, or not", show=False),
        Binding("comma", "section(-1)", "section before", show=False),
        Binding("full_stop", "section(1)", "next section", show=False),
        Binding("v", "picture_outside", "picture in the terminal's own graphics (kitty, sixel)", show=False),
        Binding("x", "axis('x')", "sections across x", show=False),
        Binding("z", "axis('z')", "sections across z", show=False),
        Binding("b", "axis('y')", "sections across y", show=False),
        Binding("left_curly_bracket", "other_run(-1)", "run of this step before", show=False),
        Binding("right_curly_bracket", "other_run(1)", "next run of this step", show=False),
    ]

    def __init__(self, run: str, tab: str = "summary") -> None:
        super().__init__()
        self.run = run
        self.first_tab = tab
        self.told: dict[str, Any] | None = None
        self.before: dict[str, Any] | None = None
        self.item: str | None = None
        self.place = run

    def body(self) -> Iterable[Widget]:
        """Return the tabs and their panes."""
        yield TabLine(TABS, self.first_tab)
        plain: dict[str, Any] = {"header": False, "sortable": False}
        curves = LineList(run_rows.CURVE_COLUMNS, id="curve-list", empty="no curves", **plain)
        pictures = LineList(run_rows.PICTURE_COLUMNS, id="picture-list", empty="no pictures", **plain)
        yield Container(
            TextPane(id="summary"),
            LineList(run_rows.VALUE_COLUMNS, id="values", empty="no parameters"),
            LineList(run_rows.FILE_COLUMNS, id="files", empty="no files"),
            LineList(run_rows.ITEM_COLUMNS, id="items", empty="no tilt series"),
            TextPane(id="log", wrap=False, follow=True),
            Horizontal(curves, PlotPane(id="plot"), id="curves"),
            Horizontal(pictures, PicturePane(id="picture"), id="pictures"),
            TextPane(id="record"),
            TextPane(id="notes"),
            id="panes",
            classes="body",
        )

    def on_mount(self) -> None:
        """Show the first tab."""
        self.show_tab(self.first_tab)

    def command(self) -> Sequence[str]:
        """Return the command that shows the same as this tab."""
        tab = self.tab if self.is_mounted else self.first_tab
        if tab == "log":
            return ["log", self.run]
        if tab == "record":
            return ["show", self.run, "--provenance"]
        if tab == "values":
            return ["show", self.run, "--params"]
        if tab == "curves":
            return self.curve_command()
        if tab == "pictures":
            return self.picture_command()
        return ["show", self.run]

    # ------------------------------------------------------------------------------------------- loading
    def reload(self) -> None:
        """Look at the run again."""
        project, run = self.project, self.run

        def work() -> tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any]]:
            told = project.show(run)
            why = project.why(run) if told["state"] == "sealed" else {}
            previous = why.get("previous")
            before = project.show(previous) if previous else None
            return told, before, why

        self.fetch(work, self._show, name="run")
        self.reload_log()

    def _show(self, found: tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any]]) -> None:
        told, before, why = found
        was = self.told
        self.told, self.before = told, before
        self.run = told["run"]
        item = f", {self.item} only" if self.item else ""
        self.place = f"{self.run} {told['step']}: {told['state']}{item}"
        self.tell_place()
        look = self.sta.look
        lines = run_rows.summary_lines(told, look)
        if why:
            lines += ["", *why_lines(why)]
        self.query_one("#summary", TextPane).set_lines(lines)
        self.query_one("#values", LineList).set_rows(
            run_rows.value_rows(told, stage(told["stage"]), before, look)
        )
        self.query_one("#files", LineList).set_rows(run_rows.file_rows(told))
        self._show_items()
        said = said_lines(told.get("said") or {})
        self.query_one("#notes", TextPane).set_lines(
            [line.strip() for line in said] or ["nothing was said yet: n writes a note, * rates, t tags"]
        )
        if was is None or was["state"] != told["state"]:
            self.forget_drawings()
        self._load_tab(self.tab)

    def _show_items(self) -> None:
        if self.told is None:
            return
        job = next((job for job in self.sta.jobs if job.get("run") == self.run), None)
        progress = (job or {}).get("progress") or {}
        share = progress.get("share")
        beat = {**progress, "done": share or 0.0, "total": 1.0} if progress else None
        rows = run_rows.item_rows(self.told, self.told.get("items") or [], beat, self.sta.look)
        self.query_one("#items", LineList).set_rows(rows)

    def progress(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Follow the run while it goes on."""
        if any(job.get("run") == self.run for job in jobs):
            self._show_items()
            self.reload_log()

    # ---------------------------------------------------------------------------------------------- tabs
    def show_tab(self, name: str) -> None:
        """Show the pane of a tab and give it the keys."""
        self.query_one(TabLine).go_to(name)
        for pane in self.query_one("#panes").children:
            pane.display = pane.id == name
        pane = self.query_one(f"#{name}")
        target = pane.query_one(LineList) if isinstance(pane, Horizontal) else pane
        target.focus()
        self._load_tab(name)
        self.tell_place()

    def _load_tab(self, name: str) -> None:
        """Read what only this tab needs."""
        if name == "curves":
            self.load_curves()
        elif name == "pictures":
            self.load_pictures()
        elif name == "record":
            project, run = self.project, self.run

            def work() -> list[str]:
                from staproj.report.provenance import record_lines

                return record_lines(project.provenance.facts(run))

            self.fetch(work, self.query_one("#record", TextPane).set_lines, name="record")

    @on(LineList.Opened, "#values")
    def value_opened(self, event: LineList.Opened) -> None:
        """Go to the form for another run, at this parameter."""
        if self.told is not None and not self.sta.refuse_read_only():
            self.sta.show("rerun", step=self.told["step"], run=self.run, focus_param=event.row.data["name"])

    @on(LineList.Moved, "#values")
    def value_moved(self, event: LineList.Moved) -> None:
        """Say what the parameter under the cursor is."""
        if event.row is not None and self.tab == "values":
            self.say(event.row.data["help"])

    @on(LineList.Opened, "#files")
    def file_opened(self, event: LineList.Opened) -> None:
        """Show all of a line of the list of files."""
        if self.told is not None:
            self.sta.read(event.row.key, run_rows.file_lines(event.row, self.told["directory"]))

    @on(LineList.Opened, "#items")
    def item_opened(self, event: LineList.Opened) -> None:
        """Confine log, curves and pictures to one tilt series."""
        self.item = event.row.data["item"] or None
        self.forget_drawings()
        self.show_log()
        if self.told is not None:
            self.place = f"{self.run} {self.told['step']}: {self.told['state']}" + (
                f", {self.item} only" if self.item else ""
            )
        self.show_tab("log")
        if self.item:
            self.say(f"log, curves and pictures of {self.item} only; backspace: all again")

    # -------------------------------------------------------------------------------------------- actions
    def target(self) -> tuple[str, str | None]:
        """Return step and run."""
        return (self.told["step"], self.run) if self.told else ("", self.run)

    def action_log(self) -> None:
        """Go to the log."""
        self.show_tab("log")

    def action_all_items(self) -> None:
        """Show log, curves and pictures of all tilt series again."""
        self.item = None
        self.forget_drawings()
        self.show_log()
        self.reload()

    def action_open_input(self) -> None:
        """Go to the run that made the input under the cursor."""
        row = self.query_one("#files", LineList).row
        if self.tab == "files" and row is not None and row.data.get("run"):
            self.sta.show("run", run=row.data["run"])
        else:
            self.say("in the tab files, p on an input goes to the run that made it")

    def action_other_run(self, by: int) -> None:
        """Go to the run of the same step before or after this one."""
        if self.told is None:
            return
        step, run, project = self.told["step"], self.run, self.project

        def show(rows: list[dict[str, Any]]) -> None:
            names = sorted(row["run"] for row in rows)
            place = names.index(run) + by if run in names else -1
            if 0 <= place < len(names):
                self.run, self.told, self.item = names[place], None, None
                self.forget_log()
                self.forget_drawings()
                self.reload()
            else:
                self.say(f"{run} is the {'first' if by < 0 else 'last'} run of {step}")

        self.fetch(lambda: project.ls(step), show, name="others")

    def copies(self) -> dict[str, str]:
        """Return what can be copied."""
        if self.told is None:
            return {"run": self.run}
        directory = self.project.layout.root / self.told["directory"]
        found = {"run": self.run, "step": self.told["step"], "directory": str(directory)}
        row = self.query_one("#files", LineList).row
        if self.tab == "files" and row is not None:
            if row.key.startswith("out:"):
                found["path of this file"] = str(directory / "out" / row.data["path"])
            found["digest"] = str(row.data.get("sha256") or row.data.get("digest"))
        if self.tab == "curves":
            found["this curve as a drawing"] = self.query_one(PlotPane).text()
        found["command that made it"] = " ".join(["staproj", *self.told["command"]])
        return found
