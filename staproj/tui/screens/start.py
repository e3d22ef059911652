"""Run what is to run: which steps, why, what they take, how far; and going on with what was interrupted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from staproj.api.starting import How, Plan, options
from staproj.errors import StaprojError, UsageError
from staproj.tui import form_plan
from staproj.tui.form_work import MarkList, SayLine, WorkForm, side_panes
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.tabs import TabLine
from staproj.tui.widgets.text_pane import TextPane

STEPS, HOW = "steps", "how"


class StartScreen(WorkForm):
    """What is to run, all of it or a part, and how."""

    for_run = True
    place = "run what is to run"
    key_order = ("start", "up_to", "all_steps", "resume", "turn_tab(1)")
    key_words = {"open": "run it"}
    help_text = """
    Every step that is missing or stale, in the order in which they run, with what it takes and why. R (or
    enter) runs them as a job, which goes on when you leave. t: only up to the step under the cursor. Space
    marks steps: only those, with what they need. a: all again. u goes on with what was interrupted.

    Tab how: device, threads, tilt series at the same time, place in the queue, note, what a failure stops.
    Times and sizes come from earlier runs; a question mark where nobody knows.
    """
    DEFAULT_CSS = "StartScreen #resume { display: none; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "up_to", "up to here", show=True),
        Binding("a", "all_steps", "all", show=True),
        Binding("u", "resume", "go on with what was interrupted", show=True),
    ]

    def __init__(self, step: str = "") -> None:
        super().__init__()
        self.first = step
        self.until: str | None = None
        self.marked: list[str] = []
        self.whole: Plan | None = None
        self.chosen: Plan | None = None
        self.interrupted: Plan | None = None
        self.notes: list[str] = []

    def body(self) -> Iterable[Widget]:
        """Return the steps and how they are run."""
        yield TabLine([STEPS, HOW])
        yield SayLine(id="resume")
        yield SayLine(id="status")
        steps = MarkList(form_plan.COLUMNS, id="steps", empty="nothing to run")
        panes = Container(steps, self.how_list(), id="panes")
        yield Container(panes, Container(*side_panes("help"), id="side"), id="both", classes="body")

    def on_mount(self) -> None:
        """Begin with the steps."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self.show_tab(STEPS)
        self.draw()

    def command(self) -> Sequence[str]:
        """Return the command that starts the same."""
        until = ["--until", self.until] if self.until else []
        return ["run", *self.marked, *until, *options(None, None, self.how)]

    @property
    def plan(self) -> Plan | None:
        """What would be started."""
        return self.chosen or self.whole

    # ------------------------------------------------------------------------------------------- loading
    def reload(self) -> None:
        """Look at what is to run."""
        starter, how, project = self.starter, self.how, self.project
        steps, until = tuple(self.marked), self.until

        def work() -> tuple[Plan, Plan | None, Plan | None, dict[str, Any], list[str]]:
            mild = How(jobs=how.jobs)  # a device that is not there is told when the work is to begin
            whole = starter.run(how=mild)
            known = {step["step"] for step in whole.steps}
            marked = [step for step in steps if step in known]
            some = until if until in known else None
            part = starter.run(marked, until=some, how=mild) if marked or some else None
            notes = project.notes()
            try:
                interrupted = starter.resume()
            except StaprojError as error:
                interrupted = None
                notes.append(f"cannot go on with what was interrupted: {error.message}")
            return whole, part, interrupted, starter.room(how), notes

        self.fetch(work, self._show, name="plan")

    def _show(self, found: tuple[Plan, Plan | None, Plan | None, dict[str, Any], list[str]]) -> None:
        self.whole, self.chosen, self.interrupted, self.room, self.notes = found
        self.draw()
        shown = self.list_of("steps")
        self.marked = [name for name in self.marked if name in shown.marks]
        if self.first:
            shown.go_to(self.first)
            self.first = ""
        self.show_how()

    def draw(self) -> None:
        """Bring everything up to date; nothing is read."""
        if self.whole is not None:
            self.list_of("steps").set_rows(form_plan.plan_rows(self.whole, self.chosen, self.sta.look))
        status = form_plan.status_words(self.whole, self.chosen, self.marked, self.until)
        self.query_one("#status", SayLine).tell(*status)
        words = form_plan.resume_words(self.interrupted)
        line = self.query_one("#resume", SayLine)
        line.tell(words, "warning")
        line.display = bool(words)
        self._help()
        self.tell_place()

    def _help(self) -> None:
        if self.tab == HOW:
            lines = self.how_help()
        else:
            lines = form_plan.detail_lines(self.list_of("steps").row, self.plan, self.room, self.notes)
        self.query_one("#help", TextPane).set_lines(lines)

    def how_changed(self) -> None:
        """Look again at what it takes."""
        self.reload()

    # ---------------------------------------------------------------------------------------------- tabs
    def show_tab(self, name: str) -> None:
        """Show the pane of a tab and give it the keys."""
        self.query_one(TabLine).go_to(name)
        for pane in self.query_one("#panes").children:
            pane.display = pane.id == name
        self.query_one(f"#{name}").focus()
        self._help()
        self.tell_place()

    @on(LineList.Moved)
    def moved(self) -> None:
        """Say why the step under the cursor is to run."""
        self._help()

    @on(MarkList.Marked)
    def marks_changed(self) -> None:
        """Run only what is marked."""
        shown = self.list_of("steps")
        self.marked = [row.key for row in shown.all_rows if row.key in shown.marks]
        self.until = None
        self.reload()

    def action_up_to(self) -> None:
        """Run only up to the step under the cursor."""
        row = self.list_of("steps").row
        if self.tab != STEPS or row is None:
            self.say("put the cursor on a step of the tab steps")
            return
        self.until, self.marked = row.key, []
        self.list_of("steps").marks.clear()
        self.list_of("steps").refresh()
        self.reload()

    def action_all_steps(self) -> None:
        """Run all that is to run."""
        self.until, self.marked = None, []
        self.list_of("steps").marks.clear()
        self.list_of("steps").refresh()
        self.reload()

    def action_turn(self, by: int) -> None:
        """Take the next choice of the tab how."""
        if self.tab == HOW:
            self.turn_how(by)

    # ------------------------------------------------------------------------------------------- starting
    @on(LineList.Opened, "#steps")
    def steps_opened(self) -> None:
        """Run it: enter says so."""
        self.action_start()

    def action_start(self) -> None:
        """Start the job."""
        if self.sta.refuse_read_only():
            return
        plan, starter, how = self.plan, self.starter, self.how
        if plan is None or not plan.work:
            words = form_plan.status_words(self.whole, self.chosen, self.marked, self.until)[0]
            self.say(words if plan is None or not self.chosen else "nothing of this is to run: a takes all")
            return
        steps, until = tuple(self.marked), self.until
        self.start_work(lambda: starter.run(steps, until=until, how=how))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Show keys dim that can do nothing now."""
        if action == "resume" and self.interrupted is None:
            return None
        return super().check_action(action, parameters)

    def key_u(self) -> None:
        """Say why ``u`` is dim."""
        if self.interrupted is None:
            self.say("nothing was interrupted: there is nothing to go on with")

    def action_resume(self) -> None:
        """Go on with what was interrupted."""
        starter, how = self.starter, self.how

        def make_plan() -> Plan:
            plan = starter.resume(how=How(threads=how.threads, force=how.force))
            if plan is None:
                raise UsageError("nothing was interrupted: there is nothing to go on with")
            return plan

        self.start_work(make_plan)
