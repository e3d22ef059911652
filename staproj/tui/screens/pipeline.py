"""The first screen: the pipeline, a line a step, its runs beneath it, and what one line means."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from staproj.api import Project
from staproj.tui import gather
from staproj.tui.actions import RunActions
from staproj.tui.base import StaScreen
from staproj.tui.gather import RUN, STEP
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.text_pane import TextPane


class PipelineScreen(RunActions, StaScreen):
    """All steps with their state; the details of the one under the cursor."""

    place = "pipeline"
    key_order = ("open", "rerun", "run_stale", "compare", "log")
    help_text = """
    One line a step, in the order in which they run: state, the run that stands for it (its head), and what it
    came to, or why it is to be run. Right opens a step and shows its runs, left closes it. Nothing is ever
    overwritten: r makes a new run with other values, the old one stays.

    states: fresh (nothing to do), soft (fresh, made by other software), stale (inputs or values changed),
    never-run, running, queued, failed, interrupted, recreatable (deleted, can be made again), lost, unknown.
    """
    DEFAULT_CSS = """
    PipelineScreen #detail { height: 7; border-top: solid ansi_bright_black; }
    PipelineScreen.-ascii #detail { border-top: ascii ansi_bright_black; }
    PipelineScreen.-wide #both { layout: horizontal; }
    PipelineScreen.-wide #steps { width: 3fr; }
    PipelineScreen.-wide #detail { width: 2fr; height: 1fr; border-top: none;
                                   border-left: solid ansi_bright_black; }
    PipelineScreen.-wide.-ascii #detail { border-left: ascii ansi_bright_black; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "rerun", "run again with other values", show=True),
        Binding("R", "run_stale", "run stale", show=True),
        Binding("right", "unfold", "show the runs of a step", show=False),
        Binding("left", "fold", "hide the runs of a step", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.status: dict[str, Any] | None = None
        self.runs: dict[str, list[Mapping[str, Any]]] = {}
        self.unfolded: set[str] = set()

    def body(self) -> Iterable[Widget]:
        """Return the list and the details."""
        steps = LineList(gather.COLUMNS, id="steps", empty="looking at the project ...")
        detail = TextPane(id="detail")
        detail.can_focus = False
        yield Container(steps, detail, id="both", classes="body")

    @property
    def steps(self) -> LineList:
        """The list."""
        return self.query_one("#steps", LineList)

    def on_mount(self) -> None:
        """Show the last values at once where they are known."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self.steps.focus()

    def command(self) -> Sequence[str]:
        """Return the command that shows the same."""
        row = self.steps.row if self.is_mounted else None
        if row is not None and row.key.startswith(RUN):
            return ["show", row.data["run"]]
        return ["status"]

    def reload(self) -> None:
        """Look at the state of all steps, then at the list of runs."""

        def failed(error: Exception) -> None:
            self.complain("status", error)
            if self.status is None:
                self.steps.empty = "the project cannot be shown: ! says why in full, e edits staproj.toml"
                self.steps.refresh()

        self.fetch(self.project.status, self._show_status, name="status", failed=failed)

    def _show_status(self, status: dict[str, Any]) -> None:
        self.status = status
        self.sta.project_name = status["project"]
        self.place = f"pipeline: {gather.summary(status)}"
        self.tell_place()
        self._show()
        self.fetch(self.project.ls, self._show_runs, name="runs")  # ages and sizes may come a little later

    def _show_runs(self, runs: list[dict[str, Any]]) -> None:
        if not self.runs:
            self.call_after_refresh(gc.freeze)  # thousands of runs are no garbage: searching them held keys
        self.runs = gather.by_step(runs)
        if self.status is not None:
            self._show()

    def progress(self, jobs: Sequence[dict[str, Any]]) -> None:
        """Show how far the work is."""
        if self.status is not None:
            self._show()

    def _show(self) -> None:
        rows = gather.pipeline_rows(self.status, self.runs, self.sta.jobs, self.unfolded, self.sta.look)
        self.steps.set_rows(rows)
        self._details(self.steps.row)

    @on(LineList.Moved)
    def moved(self, event: LineList.Moved) -> None:
        """Show what the line under the cursor means."""
        self._details(event.row)
        self.tell_place()

    def _details(self, row: Row | None) -> None:
        lines: list[Any] = []
        if row is not None and row.key.startswith(STEP):
            lines = gather.step_details(row.data, stage(row.data["stage"]), self.sta.look)
        elif row is not None:
            lines = gather.run_details(row.data)
        self.query_one("#detail", TextPane).set_lines(lines)

    @on(LineList.Opened)
    def opened(self, event: LineList.Opened) -> None:
        """Open the run of a line: of a step its head, else its newest run."""
        data = event.row.data
        if event.row.key.startswith(RUN):
            self.sta.show("run", run=data["run"])
        elif data["run"] or data["latest"]:
            self.sta.show("run", run=data["run"] or data["latest"])
        else:
            self.say(f"{data['step']} was never run: R runs it and what it needs, r asks for values first")

    # --------------------------------------------------------------------------------------- what is meant
    def target(self) -> tuple[str, str | None]:
        """Return step and run under the cursor (of a step: its head, else its newest run)."""
        row = self.steps.row
        if row is None:
            return "", None
        if row.key.startswith(RUN):
            return row.data["step"], row.data["run"]
        return row.data["step"], row.data["run"] or row.data["latest"]

    def is_run_meant(self) -> bool:
        """Tell whether the cursor is on a run, not on a step."""
        return self.steps.row is not None and self.steps.row.key.startswith(RUN)

    def marked_runs(self) -> list[str]:
        """Return the runs of marked lines."""
        found = []
        for row in self.steps.all_rows:
            if row.key in self.steps.marks:
                run = row.data["run"] if row.key.startswith(RUN) else row.data["run"] or row.data["latest"]
                found += [run] if run else []
        return found

    def action_unfold(self) -> None:
        """Show the runs of a step."""
        row = self.steps.row
        if row is not None and row.key.startswith(STEP):
            if not self.runs.get(row.data["step"]):
                self.say(f"{row.data['step']} has no runs yet")
                return
            self.unfolded.add(row.data["step"])
            self._show()

    def action_fold(self) -> None:
        """Hide the runs of a step."""
        row = self.steps.row
        if row is None:
            return
        step = row.data["step"]
        if step in self.unfolded:
            self.unfolded.discard(step)
            self._show()
        self.steps.go_to(STEP + step)

    def more_entries(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        """Return what the palette finds besides keys: each step, by its name and those of its values."""
        for step in (self.status or {}).get("steps", ()):
            name, values = step["step"], ", ".join(stage(step["stage"]).get("params", {}))
            yield f"go to {name}", "", partial(self.steps.go_to, STEP + name)
            words = f"run {name} again with other values: {values}"
            yield words, "", partial(self.sta.show, "rerun", step=name, run=None)

    def copies(self) -> dict[str, str]:
        """Return what can be copied of the line."""
        step, run = self.target()
        found = {"step": step} if step else {}
        if run:
            found |= {"run": run} | self.directory_to_copy(run)
        return found


@cache
def stage(name: str) -> Mapping[str, Any]:
    """Return the description of a stage."""
    return Project.stages(name)[0]
