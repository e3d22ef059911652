"""The page of the wizard with the files: a line for each kind of data that the template takes."""

from __future__ import annotations

from staproj.tui import wizard
from staproj.tui.widgets.path_input import Field
from staproj.tui.widgets.tabs import Tabbed
from staproj.tui.wizard import Draft

SESSION = "session"
EXAMPLES = {
    "movies": "e.g. /data/session/frames/*.tif",
    "mdoc": "e.g. /data/session/mdoc/*.mdoc",
    "gain": "e.g. /data/session/gain.mrc",
    "stacks": "e.g. /data/tilt_series/*.st",
    "angles": "e.g. /data/tilt_series/*.rawtlt",
}
INPUT_ID = "role-{}"


class FilePage(Tabbed):
    """The part of the wizard that asks for files."""

    draft: Draft

    def make_fields(self) -> None:
        """Show a line for each kind of data that the template takes; lines and what was typed stay."""
        place = self.query_one("#fields")
        if not place.children:
            place.mount(self._session_field())
        there = {field.label: field for field in place.query(Field) if field.id != SESSION}
        for role, about in self.draft.takes.items():
            if role not in there:
                there[role] = self._field(role, about["help"])
                place.mount(there[role])
            else:
                there[role].tell_words(about["help"])
                place.move_child(there[role], after=len(place.children) - 1)
        for role, field in there.items():
            field.display = role in self.draft.takes

    def _session_field(self) -> Field:
        base = self.draft.base
        return Field(
            "look in",
            "a directory of the session: enter finds the files in it",
            see=lambda text: wizard.see_session(text, base),
            complete=lambda text: wizard.complete_directories(text, base),
            placeholder="optional, e.g. /data/session",
            id=SESSION,
        )

    def _field(self, role: str, words: str) -> Field:
        base = self.draft.base
        return Field(
            role,
            words,
            self.draft.patterns.get(role, ""),
            see=lambda text: wizard.see_patterns(text, base),
            complete=lambda text: wizard.complete_patterns(text, base),
            suggestions=wizard.suggested,
            placeholder=EXAMPLES.get(role, ""),
            id=INPUT_ID.format(role),
        )

    def shown_fields(self, page: str) -> list[Field]:
        """Return the lines of a page that can be typed on."""
        return [field for field in self.query_one(f"#{page}").query(Field) if field.display]

    def find_files(self, directory: str) -> None:
        """Put patterns of the files in a directory on the lines that are still empty."""
        draft = self.draft.copy()

        def fill(found: dict[str, str]) -> None:
            filled = []
            for role, text in found.items():
                field = self.query_one(f"#{INPUT_ID.format(role)}", Field)
                if not field.value.strip():
                    field.value = text
                    filled.append(role)
            names = ", ".join(filled)
            self.say(f"found {names}: look whether they are right" if filled else "found nothing new in it")

        self.fetch(lambda: wizard.find_files(draft, directory), fill, name="find")
