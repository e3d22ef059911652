"""Runs side by side: values that differ, numbers, curves over each other, inputs and software, verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from staproj.api.comparing import comparison, overlaid
from staproj.report.history import agreement_lines
from staproj.tui import compare_rows as rows
from staproj.tui.actions import RunActions
from staproj.tui.compare_rows import TABS
from staproj.tui.screens.pipeline import stage
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.plot import PlotPane
from staproj.tui.widgets.tabs import Tabbed, TabLine
from staproj.tui.widgets.text_pane import TextPane

LISTS = ("parameters", "metrics", "inputs")


class CompareScreen(Tabbed, RunActions):
    """Two or more runs, of one step or of several."""

    place = "compare"
    key_order = ("turn_tab(1)", "open", "swap", "accept_run", "log")
    key_words = {"open": "in full"}
    help_text = """
    Runs side by side; only what is not the same in all is listed. parameters: values with the layer that each
    comes from. metrics: numbers, their difference and how much that is of the first. curves: those that all
    runs have, drawn over each other, an FSC with the resolution of each run at 0.143. inputs: what they were
    made from, outputs and software. verdicts: how each went. enter shows a line in full.
    x turns the order of the runs. a accepts one run instead of another: what was made from that one then
    counts as fresh; before it asks, one sees how well the two agree.
    """
    DEFAULT_CSS = """
    CompareScreen #panes { height: 1fr; }
    CompareScreen #panes > * { height: 1fr; }
    CompareScreen #curve-list { height: 6; border-bottom: solid ansi_bright_black; }
    CompareScreen.-ascii #curve-list { border-bottom: ascii ansi_bright_black; }
    CompareScreen.-wide #curves { layout: horizontal; }
    CompareScreen.-wide #curve-list { width: 46; height: 1fr; border-bottom: none;
                                      border-right: solid ansi_bright_black; }
    CompareScreen.-wide.-ascii #curve-list { border-right: ascii ansi_bright_black; }
    CompareScreen #curves.-large #curve-list { height: 3; }
    CompareScreen.-wide #curves.-large #curve-list { height: 1fr; width: 16; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "turn_tab(1)", "tabs", show=True, key_display="[ ]"),
        Binding("x", "swap", "turn the order", show=True),
        Binding("a", "accept_run", "accept one for another", show=True),
    ]

    def __init__(self, runs: Sequence[str], tab: str = "parameters") -> None:
        super().__init__()
        self.runs = list(runs)
        self.first_tab = tab
        self.found: dict[str, Any] | None = None

    def body(self) -> Iterable[Widget]:
        """Return the tabs and their panes."""
        yield TabLine(TABS, self.first_tab)
        curves = Container(
            LineList(
                rows.CURVE_COLUMNS, id="curve-list", empty="no curve that all of them have", header=False
            ),
            PlotPane(id="plot", empty=""),
            id="curves",
        )
        about = [{"run": run, "step": ""} for run in self.runs]
        lists = {
            tab: LineList(rows.columns(tab, about), id=tab, empty="looking ...", sortable=False)
            for tab in LISTS
        }
        yield Container(
            lists["parameters"],
            lists["metrics"],
            curves,
            lists["inputs"],
            TextPane(id="verdicts"),
            id="panes",
            classes="body",
        )

    def on_mount(self) -> None:
        """Show the first tab."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self.show_tab(self.first_tab)

    def command(self) -> Sequence[str]:
        """Return the command that shows the same."""
        if self.is_mounted and self.tab == "curves":
            row = self.query_one("#curve-list", LineList).row
            if row is not None and row.data["source"] == "curve":
                return ["diff", *self.runs, "--curve", row.data["name"]]
        return ["diff", *self.runs]

    # ------------------------------------------------------------------------------------------- loading
    def reload(self) -> None:
        """Look at the runs again."""
        root, runs = self.project.root, list(self.runs)
        self.fetch(lambda: comparison(root, runs), self._show, name="comparison")

    def _show(self, found: dict[str, Any]) -> None:
        self.found = found
        self.runs = [run["run"] for run in found["runs"]]
        self.place = f"{' | '.join(self.runs)}: {rows.in_short(found)}"
        for tab in LISTS:
            shown = self.query_one(f"#{tab}", LineList)
            shown.columns = rows.columns(tab, found["runs"])
            shown.empty = rows.EMPTY[tab] if found["rows"] else "nothing differs"
            shown.set_rows(rows.value_rows(tab, found))
            shown.refresh()
        curves = self.query_one("#curve-list", LineList)
        curves.set_rows(rows.curve_rows(found))
        self._draw(curves.row)
        self.query_one("#verdicts", TextPane).set_lines(rows.verdict_lines(found, self.sta.look))
        self.tell_place()

    def show_tab(self, name: str) -> None:
        """Show the pane of a tab and give it the keys."""
        self.query_one(TabLine).go_to(name)
        for pane in self.query_one("#panes").children:
            pane.display = pane.id == name
        self.query_one("#curve-list" if name == "curves" else f"#{name}").focus()
        self.tell_place()

    # -------------------------------------------------------------------------------------------- curves
    @on(LineList.Moved, "#curve-list")
    def curve_moved(self, event: LineList.Moved) -> None:
        """Draw the curve under the cursor."""
        self._draw(event.row)
        self.tell_place()

    @on(LineList.Opened, "#curve-list")
    def enlarge(self) -> None:
        """Give the drawing nearly all of the screen, or the list its place again."""
        self.query_one("#curves").toggle_class("-large")

    def _draw(self, row: Row | None) -> None:
        plot = self.query_one(PlotPane)
        if row is None:
            unfinished = (
                [r["run"] for r in self.found["runs"] if r["state"] != "sealed"] if self.found else []
            )
            plot.clear(f"{', '.join(unfinished)}: not complete, so without curves" if unfinished else "")
            return
        root, runs, name, item = self.project.root, list(self.runs), row.data["name"], row.data["item"]

        def draw(curve: dict[str, Any]) -> None:
            if self.runs == runs:
                plot.show(
                    rows.plot_lines(curve),
                    curve["x_label"],
                    curve["y_label"],
                    curve["level"],
                    rows.plot_title(curve),
                )

        self.fetch(lambda: overlaid(root, runs, name, item), draw, name="curve")

    # ------------------------------------------------------------------------------------- values in full
    @on(LineList.Opened, "#parameters, #metrics, #inputs")
    def opened(self, event: LineList.Opened) -> None:
        """Show a line with its whole values."""
        if self.found is not None:
            lines = rows.value_lines(event.row.data, self.found["runs"], self._about(event.row.data))
            self.sta.read(event.row.data["field"], lines)

    def _about(self, row: Mapping[str, Any]) -> str:
        """Return the help of a parameter, from whichever stage has it."""
        if row["group"] != "params" or self.found is None:
            return ""
        name = row["field"].rpartition(".")[2]
        for run in self.found["runs"]:
            found = stage(run["stage"])["params"].get(name) if run["stage"] else None
            if found:
                return str(found.get("description") or "")
        return ""

    # -------------------------------------------------------------------------------------------- actions
    def target(self) -> tuple[str, str | None]:
        """Return step and run of the last run: the one that the others are compared with."""
        if self.found is None:
            return "", None
        last = self.found["runs"][-1]
        return last["step"], last["run"]

    def action_compare(self) -> None:
        """Say how to compare others."""
        self.say("these are compared; mark other runs with space on another screen, then d")

    def action_swap(self) -> None:
        """Turn the order of the runs."""
        self.runs.reverse()
        self.reload()

    def action_accept_run(self) -> None:
        """Let one run stand for another, once a person has seen how well they agree."""
        if self.found is None or self.sta.refuse_read_only():
            return
        if any(run["state"] != "sealed" for run in self.found["runs"]):
            self.say("only runs that are complete can stand for each other", "warning")
            return
        pairs = sorted(permutations(self.runs, 2), key=lambda pair: pair[0] < pair[1])
        options = [(f"{new} {old}", f"{new} may stand for {old}") for new, old in pairs]
        note = (
            "What was made from the one that is stood for stays fresh. No run changes; it can be taken back."
        )
        self.sta.choose("which may stand for which?", options, self._look_at_agreement, note=note)

    def _look_at_agreement(self, pair: str) -> None:
        new, old = pair.split()
        history = self.project.history
        self.fetch(lambda: history.compare(new, old), self._ask_why, name="agreement")

    def _ask_why(self, told: dict[str, Any]) -> None:
        self.sta.ask(
            f"why may {told['new']} stand for {told['old']}?",
            "",
            lambda why: self._confirm(told, why.strip()),
            help_text="Kept with it, for those who ask later. It may be empty.",
        )

    def _confirm(self, told: dict[str, Any], why: str) -> None:
        new, old = told["new"], told["old"]
        command = ["accept", new, "--for", old, *(["--why", why] if why else [])]
        lines = [line for line in agreement_lines(told) if line]
        undo = f"staproj accept --undo {new} --for {old} takes it back."
        history = self.project.history

        def done(entry: dict[str, Any]) -> None:
            self.sta.did(command, f"{new} may stand for {old}: {', '.join(entry['outputs'][:3])}")
            self.reload()

        self.sta.confirm(
            f"accept {new} instead of {old}?",
            [*(lines or ["They have no number and no curve in common to judge by."]), "", undo],
            "accept it",
            lambda: self.fetch(lambda: history.accept(new, old, why=why), done, name="accept"),
            command=command,
        )

    def copies(self) -> dict[str, str]:
        """Return what can be copied."""
        found = {"runs": " ".join(self.runs)}
        if self.tab == "curves" and self.query_one("#curve-list", LineList).row is not None:
            found["this curve as a drawing"] = self.query_one(PlotPane).text()
        return found
