"""What the forms that start work share: the tab "how", starting once, errors in full, and back again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message

from staproj.api.starting import How, Plan, Starting
from staproj.errors import StaprojError, StorageError
from staproj.report.visible import one_line
from staproj.tui import form_how
from staproj.tui import look as looks
from staproj.tui.base import StaScreen
from staproj.tui.widgets.bars import Line
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.tabs import Tabbed
from staproj.tui.widgets.text_pane import TextPane

_STYLES = {"error": looks.BAD, "warning": looks.WARN, "": looks.DIM, "bold": looks.BOLD}


class SayLine(Line):
    """One line that says what stands in a form."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.text = ""
        self.level = ""

    def tell(self, text: str, level: str = "") -> None:
        """Say something else; ``level``: "", "bold", "warning" or "error"."""
        if (text, level) != (self.text, self.level):
            self.text, self.level = text, level
            self.refresh()

    def segments(self, width: int) -> list[Segment]:
        """Return the line, cut where there is no room."""
        style: Style = _STYLES.get(self.level, looks.PLAIN)
        sign = f"{self.look.sign(self.level)} " if self.level in ("error", "warning") and self.text else ""
        text = self.look.plain(one_line(sign + self.text))
        return [Segment(text if len(text) <= width else text[: width - 1] + self.look.sign("more"), style)]


class MarkList(LineList):
    """A list that says when its marks change."""

    class Marked(Message):
        """Other rows are marked now."""

    def action_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away."""
        super().action_mark()
        self.post_message(self.Marked())

    def clear_marks(self) -> None:
        """Take all marks away."""
        super().clear_marks()
        self.post_message(self.Marked())


class WorkForm(Tabbed, StaScreen):
    """A form that starts a job. ``for_run``: of several steps (``keep going`` can be chosen)."""

    for_run: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "turn_tab(1)", "tabs", show=True, key_display="[ ]"),
        Binding("R", "start", "run it", show=True),
        Binding("ctrl+s", "start", "run it", show=False),
        Binding("left", "turn(-1)", "choice before, smaller number", show=False),
        Binding("right", "turn(1)", "next choice, larger number", show=False),
        Binding("n", "note", "note, kept with the run", show=False),
    ]
    DEFAULT_CSS = """
    WorkForm #both { height: 1fr; }
    WorkForm #panes { height: 1fr; }
    WorkForm #panes > * { height: 1fr; }
    WorkForm #side { height: 6; border-top: solid ansi_bright_black; }
    WorkForm.-ascii #side { border-top: ascii ansi_bright_black; }
    WorkForm.-wide #both { layout: horizontal; }
    WorkForm.-wide #panes { width: 3fr; }
    WorkForm.-wide #side { width: 2fr; height: 1fr; border-top: none;
                           border-left: solid ansi_bright_black; }
    WorkForm.-wide.-ascii #side { border-left: ascii ansi_bright_black; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.how = How()
        self.room: dict[str, Any] | None = None
        self.starting = False

    @property
    def starter(self) -> Starting:
        """What plans and begins work."""
        return Starting(self.project.root)

    def list_of(self, name: str) -> LineList:
        """Return a list by its name."""
        return self.query_one(f"#{name}", LineList)

    # ----------------------------------------------------------------------------------------- tab "how"
    def how_list(self) -> LineList:
        """Return the list of the tab."""
        return LineList(form_how.HOW_COLUMNS, id="how", sortable=False, header=False)

    def show_how(self) -> None:
        """Bring the tab up to date."""
        rows = form_how.rows(self.how, self.room, self.sta.look, run=self.for_run)
        self.list_of("how").set_rows([*rows, *self.more_how()])

    def more_how(self) -> list[Row]:
        """Return further rows of the tab."""
        return []

    def how_help(self) -> list[Any]:
        """Return what the line under the cursor means."""
        row = self.list_of("how").row
        if row is None:
            return []
        lines: list[Any] = [form_how.HELP[row.key]]
        if row.key == "when" and self.room is not None:
            lines.append(": ".join(form_how.when_words(self.room)))
        return lines

    def how_changed(self) -> None:
        """Look again at what depends on how work is done."""
        raise NotImplementedError

    @on(LineList.Opened, "#how")
    def how_opened(self, event: LineList.Opened) -> None:
        """Change how work is done."""
        self.edit_how(event.row.key)

    def edit_how(self, name: str) -> None:
        """Ask for another choice."""
        label = form_how.LABELS[name]
        if name in ("where", "when"):
            self.say(form_how.HELP[name])
        elif found := form_how.options(name):
            self.sta.choose(
                label, [(one, one) for one in found], lambda text: self._take_how(name, text),
                note=form_how.HELP[name],
            )  # fmt: skip
        else:
            self.sta.ask(
                label,
                form_how.text_of(self.how, name),
                lambda text: self._take_how(name, text),
                check=lambda text: form_how.problem(name, text),
                help_text=form_how.HELP[name],
            )

    def _take_how(self, name: str, text: str) -> None:
        self._put_how(form_how.changed(self.how, name, text))

    def _put_how(self, how: How) -> None:
        if how != self.how:
            self.how = how
            self.show_how()
            self.how_changed()

    def turn_how(self, by: int) -> None:
        """Take the next choice of the line under the cursor, or a number one larger."""
        row = self.list_of("how").row
        if row is not None and row.key not in ("where", "when", "note", "until"):
            self._put_how(form_how.turned(self.how, row.key, by))
        elif row is not None:
            self.say("enter changes it" if row.key in ("note", "until") else form_how.HELP[row.key])

    def action_note(self) -> None:
        """Write the note that is kept with the run."""
        self.edit_how("note")

    # ------------------------------------------------------------------------------------------- starting
    def start_work(self, make_plan: Callable[[], Plan]) -> None:
        """Start a job, once, and go back to the pipeline; what was typed stays where it cannot begin."""
        if self.sta.refuse_read_only():
            return
        if self.starting:
            self.say("it is being started")
            return
        self.starting = True
        self.say("starting ...")
        found: dict[str, Any] = {}
        starter = self.starter

        def work() -> Plan:
            plan = make_plan()
            found["room"] = starter.room(plan.how)
            return plan

        def begun(job: dict[str, Any]) -> None:
            self.starting = False
            typed = shlex.join(self.sta.commands[-1][1]) if self.sta.commands else ""
            words = f"{form_how.started_words(job, found.get('room'))}: {typed}"
            while len(self.app.screen_stack) > 2:
                self.app.pop_screen()
            self.sta.say(words, "warning" if job.get("notes") else "")

        self.sta.begin(work, begun)

    def show_error(self, error: Exception) -> None:
        """Show an error; one that kept work from beginning in full, with what helps."""
        super().show_error(error)
        if not self.starting:
            return
        self.starting = False
        self.sta.read("not started", refusal_lines(error))

    def leave_if(self, typed: int, then: Callable[[], Any]) -> None:
        """Leave, after a question if something was typed that would be lost."""
        if not typed:
            then()
            return
        words = "1 value was typed" if typed == 1 else f"{typed} values were typed"
        lines = [f"{words} here and neither run nor written (w writes into staproj.toml)."]
        self.sta.confirm("throw away what was typed?", lines, "throw it away", then)


def refusal_lines(error: Exception) -> list[Any]:
    """Return an error that kept work from beginning, with what can be done about it."""
    if not isinstance(error, StaprojError):
        return [(f"{type(error).__name__}: {error}", looks.BAD), "", "esc, then ! shows all of it"]
    lines: list[Any] = [(error.message, looks.BAD)]
    lines += [f"at: {error.where}"] if error.where else []
    lines += ["", ("what helps", looks.BOLD), f"  {error.hint}"] if error.hint else []
    if isinstance(error, StorageError):
        lines.append("  in this form: the tab how has force")
    return [*lines, "", "Nothing was begun; what was typed is still there."]


def side_panes(*names: str) -> Iterable[TextPane]:
    """Return panes of text that are only looked at."""
    for name in names:
        pane = TextPane(id=name)
        pane.can_focus = False
        yield pane
