"""The page of the wizard with the facts of the microscope: what files say, what counts, what one types."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container

from staproj.api import stage_values
from staproj.report.tables import unit_of
from staproj.tui import wizard, wizard_rows
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.tabs import Tabbed
from staproj.tui.widgets.text_pane import TextPane
from staproj.tui.wizard import EXPOSURE, Draft, Inspected
from staproj.tui.wizard_rows import OF_SERIES


class FactPage(Tabbed):
    """The part of the wizard that reads headers and mdoc files and lets their values be corrected."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "files_value", "files' value", show=True),
        Binding("x", "default", "take back", show=True),
        Binding("backspace,delete", "default", "take back what was typed", show=False),
        Binding("z", "undo", "undo", show=True),
    ]
    draft: Draft

    def __init__(self) -> None:
        super().__init__()
        self.seen: Inspected | None = None
        self._seen_for = ""
        self._before: list[tuple[dict[str, str], dict[str, str]]] = []

    def fact_page(self, name: str) -> Container:
        """Return the page."""
        about = TextPane(id="fact-about")
        about.can_focus = False
        facts = LineList(wizard_rows.FACT_COLUMNS, id="facts", empty="no template is chosen", sortable=False)
        return Container(facts, about, id=name)

    # ------------------------------------------------------------------------------------------- reading
    def forget_files(self) -> None:
        """Read files anew when they are next looked at."""
        self._seen_for = ""

    def look(self) -> None:
        """Read headers and mdoc files, unless that was done for what stands there now."""
        draft = self.draft.copy()
        now = repr((draft.template, draft.data(), draft.values, draft.exposures))
        if self.seen is not None and now == self._seen_for:
            self.show_facts()
            self.looked(self.seen)
            return
        if draft.described is None:
            return
        if not self._is_only_typed(draft):
            self.seen = None
        self.show_facts()

        def done(seen: Inspected) -> None:
            self.seen, self._seen_for = seen, now
            self.show_facts()
            self.looked(seen)

        self.fetch(lambda: wizard.inspect(draft), done, name="inspect")

    def _is_only_typed(self, draft: Draft) -> bool:
        """Tell whether only values were typed since files were read: what files say still stands."""
        return self._seen_for.startswith(repr((draft.template, draft.data()))[:-1])

    def looked(self, seen: Inspected) -> None:
        """Go on with what was read."""

    # ------------------------------------------------------------------------------------------- showing
    @property
    def facts(self) -> LineList:
        """The list of facts."""
        return self.query_one("#facts", LineList)

    def show_facts(self) -> None:
        """Show the facts as they stand."""
        self.facts.set_rows(wizard_rows.fact_rows(self.draft, self.seen, self.sta.look))
        self._about(self.facts.row)

    def _about(self, row: Row | None) -> None:
        lines = wizard_rows.fact_lines(row.key, self.draft, self.seen) if row is not None else []
        self.query_one("#fact-about", TextPane).set_lines(lines)

    @on(LineList.Moved, "#facts")
    def fact_moved(self, event: LineList.Moved) -> None:
        """Say what the fact under the cursor is."""
        self._about(event.row)

    # ------------------------------------------------------------------------------------------- changing
    @on(LineList.Opened, "#facts")
    def fact_opened(self, event: LineList.Opened) -> None:
        """Ask for another value of the fact under the cursor."""
        key, draft = event.row.key, self.draft
        item = key.removeprefix(OF_SERIES) if key.startswith(OF_SERIES) else ""
        name = EXPOSURE if item else key
        was = draft.exposures.get(item, "") if item else draft.values.get(key, "")
        words = f"exposure of one view of {item}" if item else wizard_rows.WORDS[key]
        unit = unit_of(name)

        def check(text: str) -> str:
            if not text.strip():
                return ""
            if item and not _is_number(text):
                return "a number is meant"
            return stage_values.problem_of(draft.stage, name, text)

        self.sta.ask(
            f"{words}{f' in {unit}' if unit else ''}; empty: as before", was,
            lambda text: self._typed(key, text), check=check, help_text=draft.facts.get(name, ""),
        )  # fmt: skip

    def _typed(self, key: str, text: str) -> None:
        self._before.append((dict(self.draft.values), dict(self.draft.exposures)))
        values, name = self.draft.values, key
        if key.startswith(OF_SERIES):
            values, name = self.draft.exposures, key.removeprefix(OF_SERIES)
        if text.strip():
            values[name] = text.strip()
        else:
            values.pop(name, None)
        self.look()

    def action_default(self) -> None:
        """Take back what was typed for the fact under the cursor."""
        row = self.facts.row
        if row is None or not row.data["typed"]:
            self.say("nothing was typed here")
            return
        self._typed(row.key, "")

    def action_files_value(self) -> None:
        """Take for the fact under the cursor what the files say, whatever the template has."""
        row, seen = self.facts.row, self.seen
        if row is None or seen is None:
            return
        if row.key.startswith(OF_SERIES):
            said: Any = seen.exposure(row.key.removeprefix(OF_SERIES))
        else:
            said = seen.files["facts"].get(row.key, {}).get("value")
        if said is None:
            self.say("the files do not say it")
            return
        if not isinstance(said, dict):
            self._typed(row.key, f"{said:.6g}")
            return
        self._before.append((dict(self.draft.values), dict(self.draft.exposures)))
        self.draft.exposures.update({item: f"{value:.6g}" for item, value in said.items()})
        self.look()

    def action_undo(self) -> None:
        """Take the last change of a fact back."""
        if not self._before:
            self.say("nothing was changed here")
            return
        self.draft.values, self.draft.exposures = self._before.pop()
        self.look()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
