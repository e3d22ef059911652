"""The wizard for a new project: template, files, microscope, place, and a last look before it is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from staproj.api import Project, templates
from staproj.tui import wizard, wizard_rows
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.path_input import Field
from staproj.tui.widgets.tabs import TabLine
from staproj.tui.widgets.text_pane import TextPane
from staproj.tui.wizard import Draft, Inspected
from staproj.tui.wizard_facts import FactPage
from staproj.tui.wizard_files import INPUT_ID, SESSION, FilePage

TEMPLATE, FILES, MICROSCOPE, PLACE, CHECK = PAGES = ("template", "files", "microscope", "place", "check")


class NewScreen(FilePage, FactPage):
    """Five pages; nothing is written before ctrl+s on the last one."""

    key_order = ("create", "turn_tab(1)", "open", "files_value", "default", "undo")
    help_text = """
    A new project in five pages: a template (the steps), the files, the facts of the microscope, the place,
    and a last look. Tab and shift+tab turn the pages, ctrl+n and ctrl+b do so everywhere, [ and ] outside of
    lines to type on. On a line for a path, tab completes; what matches is counted while one types; several
    patterns stand with "; " between them; right at the end of a line takes what is suggested.

    ctrl+s shows the last look, and there makes the project. Files are not copied and nothing is computed: the
    project keeps the patterns, and runs read the files where they lie.
    """
    DEFAULT_CSS = """
    NewScreen #pages > * { height: 1fr; }
    NewScreen #templates { height: auto; max-height: 8; min-height: 3; }
    NewScreen #about, NewScreen #fact-about { border-top: solid ansi_bright_black; height: 1fr; }
    NewScreen.-ascii #about, NewScreen.-ascii #fact-about { border-top: ascii ansi_bright_black; }
    NewScreen #facts { height: 1fr; }
    NewScreen #fact-about { height: 8; }
    NewScreen.-wide #template, NewScreen.-wide #microscope { layout: horizontal; }
    NewScreen.-wide #templates { width: 2fr; height: 1fr; max-height: 100%; }
    NewScreen.-wide #facts { width: 2fr; }
    NewScreen.-wide #about, NewScreen.-wide #fact-about { width: 3fr; height: 1fr; border-top: none;
                                                        border-left: solid ansi_bright_black; }
    NewScreen.-wide #fact-about { width: 1fr; }
    NewScreen.-wide.-ascii #about { border-left: ascii ansi_bright_black; }
    NewScreen.-wide.-ascii #fact-about { border-left: ascii ansi_bright_black; }
    NewScreen .said { height: auto; padding: 0 1; text-style: dim; }
    NewScreen Field { margin-bottom: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "create", "check, make", show=True),
        Binding("ctrl+n", "turn_tab(1)", "next page", show=True),
        Binding("ctrl+b", "turn_tab(-1)", "page before", show=False),
        Binding("tab", "turn_tab(1)", "next page", show=False),
        Binding("shift+tab", "turn_tab(-1)", "page before", show=False),
        Binding("t", "own_template", "take a template of your own", show=False),
        Binding("f1", "help_here", "help, also while typing", show=False),
        Binding("q", "quit_wizard", "quit; runs go on", show=False),
    ]

    def __init__(self, template: str = "", directory: str = "") -> None:
        super().__init__()
        self.place = "new project"
        self.draft = Draft(Path.cwd(), template, directory=directory)
        self.first = self.draft.copy()
        self.plan: dict[str, Any] | None = None
        self.own: list[str] = []
        self._descriptions: dict[str, dict[str, Any]] = {}

    # --------------------------------------------------------------------------------------------- parts
    def body(self) -> Iterable[Widget]:
        """Return the pages."""
        self.draft.base = self.first.base = self.sta.start_in
        base = self.sta.start_in
        about = TextPane(id="about")
        about.can_focus = False
        chosen = LineList(wizard_rows.TEMPLATE_COLUMNS, id="templates", empty="reading the templates ...")
        directory = Field(
            "directory",
            "of the project; it is made if it is not there",
            self.draft.directory,
            see=lambda text: wizard.see_directory(text, base),
            complete=lambda text: wizard.complete_directories(text, base),
            placeholder="a name, or a path",
            id="directory",
        )
        name = Field("name", "of the project; without, that of the directory", self.draft.name, id="name")
        keys = "Tab completes, enter and arrows go on, f1 helps."
        said = "Nothing is copied: the project keeps the patterns. Several of them: a; b"
        fields = Container(id="fields")
        fields.styles.height = "auto"
        yield TabLine(PAGES)
        yield Container(
            Container(chosen, about, id=TEMPLATE),
            VerticalScroll(Static(f"{said}\n{keys}", classes="said"), fields, id=FILES, can_focus=False),
            self.fact_page(MICROSCOPE),
            VerticalScroll(Static(keys, classes="said"), directory, name, id=PLACE, can_focus=False),
            TextPane(id=CHECK),
            id="pages",
            classes="body",
        )

    def on_mount(self) -> None:
        """Begin with the templates."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self.show_tab(TEMPLATE)
        self._list_templates()

    def command(self) -> Sequence[str]:
        """Return the command that shows the same as this page; on the last one what makes the project."""
        tab = self.tab if self.is_mounted else TEMPLATE
        if tab in (FILES, MICROSCOPE) and self.draft.data():
            return self.draft.inspect_command()
        if tab == CHECK and self.plan is not None:
            return list(self.plan["command"][1:])
        if tab in (PLACE, CHECK) and self.draft.place:
            return ["new", self.draft.place, "--template", self.draft.template, "--dry-run"]
        return ["templates", self.draft.template] if self.draft.template else ["templates"]

    def reload(self) -> None:
        """Look at the files again; what was typed stays."""
        for field in self.query(Field):
            field.look_again()
        self.forget_files()
        if self.tab in (MICROSCOPE, CHECK):
            self.look()

    def action_help_here(self) -> None:
        """Show the help; ``?`` cannot while one types."""
        self.sta.action_help()

    # --------------------------------------------------------------------------------------------- pages
    def show_tab(self, name: str) -> None:
        """Show a page and put the cursor where one goes on."""
        self.query_one(TabLine).go_to(name)
        for page in PAGES:
            self.query_one(f"#{page}").display = page == name
        focus: dict[str, Callable[[], Widget | None]] = {
            TEMPLATE: lambda: self.query_one("#templates"),
            FILES: lambda: next(iter(self.shown_fields(FILES)), None),
            MICROSCOPE: lambda: self.query_one("#facts"),
            PLACE: lambda: self.query_one("#directory"),
            CHECK: lambda: self.query_one(f"#{CHECK}"),
        }
        target = focus[name]()
        if target is not None:
            target.focus()
        else:
            self.set_focus(None)  # the lines are still to come: keys wait for them
        if name in (MICROSCOPE, CHECK):
            self.look()
        self.tell_place()
        self.call_after_refresh(self.tell_keys)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keep keys of one page from the others."""
        if action in ("files_value", "default", "undo") and self.is_mounted and self.tab != MICROSCOPE:
            return False
        if action == "own_template" and self.is_mounted and self.tab != TEMPLATE:
            return False
        return super().check_action(action, parameters)

    # ----------------------------------------------------------------------------------------- templates
    def _list_templates(self) -> None:
        self.fetch(templates.templates, self._show_templates, name="templates")

    def _show_templates(self, found: list[dict[str, Any]]) -> None:
        shown = self.query_one("#templates", LineList)
        shown.set_rows(wizard_rows.template_rows(found))
        wanted = self.draft.template
        if wanted and not shown.go_to(wanted):
            self._take_own(wanted)
        elif shown.row is not None:
            self._choose(shown.row.key)

    @on(LineList.Moved, "#templates")
    def template_moved(self, event: LineList.Moved) -> None:
        """Take the template under the cursor."""
        if event.list.row is not None:
            self._choose(event.list.row.key)

    @on(LineList.Opened, "#templates")
    def template_opened(self, event: LineList.Opened) -> None:
        """Show the template in full."""
        told = self._descriptions.get(event.row.key)
        if told is not None:
            self.sta.read(f"template {told['name']}", wizard_rows.template_lines(told), wrap=False)

    def _choose(self, name: str) -> None:
        self.draft.template = name
        if name in self._descriptions:
            self._described(name, self._descriptions[name])
        else:
            self.fetch(
                lambda: wizard.describe(name), lambda told: self._described(name, told), name="describe"
            )

    def _described(self, name: str, told: dict[str, Any]) -> None:
        self._descriptions[name] = told
        if name != self.draft.template:
            return
        before = list(self.draft.takes)
        self.draft.described = told
        self.query_one("#about", TextPane).set_lines(wizard_rows.template_lines(told))
        if before != list(told["takes"]):
            self.make_fields()
            if self.tab == FILES and self.focused is None:
                self.call_after_refresh(self.show_tab, FILES)
        self.tell_place()

    def action_own_template(self) -> None:
        """Ask for a template of one's own."""
        self.sta.ask(
            "a template of your own (a .toml file)", "", self._take_own,
            help_text="staproj.toml of another project is one too: its steps and values are taken.",
        )  # fmt: skip

    def _take_own(self, text: str) -> None:
        if not text.strip():
            return
        path = wizard.full_path(text.strip(), self.draft.base)

        def known(told: dict[str, Any]) -> None:
            shown = self.query_one("#templates", LineList)
            entry = {"name": path, "help": told["help"] or "of your own", "takes": [*told["takes"]]}
            others = [row for row in shown.all_rows if row.key != path]
            self._descriptions[path] = told
            shown.set_rows([*others, *wizard_rows.template_rows([entry])])
            shown.go_to(path)
            self._choose(path)

        self.fetch(lambda: wizard.describe(path), known, name="own template")

    # --------------------------------------------------------------------------------------------- files
    @on(Field.Changed)
    def field_changed(self, event: Field.Changed) -> None:
        """Keep what was typed."""
        name = event.field.id or ""
        if name == "directory":
            self.draft.directory = event.field.value
        elif name == "name":
            self.draft.name = event.field.value
        elif name.startswith(INPUT_ID.format("")):
            self.draft.patterns[name.removeprefix(INPUT_ID.format(""))] = event.field.value
        if not event.typed:
            self.tell_place()

    @on(Field.Left)
    def field_left(self, event: Field.Left) -> None:
        """Go on to the next line, from the last one to the next page."""
        if event.field.id == SESSION and event.taken and event.by > 0 and event.field.value.strip():
            self.find_files(event.field.value.strip())
        fields = self.shown_fields(self.tab)
        place = fields.index(event.field) + event.by
        if 0 <= place < len(fields):
            fields[place].focus()
        elif event.taken:
            self.action_turn_tab(event.by)

    # ------------------------------------------------------------------------------------------ the end
    def looked(self, seen: Inspected) -> None:
        """Show what the files say; on the last page all of what would be made."""
        if self.tab != CHECK:
            return
        draft, items = self.draft.copy(), seen.items
        self.plan = None
        if not draft.place:
            self._show_check(seen)
            return

        def planned(plan: dict[str, Any]) -> None:
            self.plan = plan
            self._show_check(seen)
            self.tell_place()

        self.fetch(lambda: draft.plan(items), planned, name="plan")

    def _show_check(self, seen: Inspected | None) -> None:
        self.query_one(f"#{CHECK}", TextPane).set_lines(wizard_rows.check_lines(self.plan, seen, self.draft))

    def action_create(self) -> None:
        """Show the last look; from there make the project."""
        if self.tab != CHECK:
            self.show_tab(CHECK)
            self.say("look it over; ctrl+s again makes the project")
            return
        plan = self.plan
        if plan is None:
            self.say("name a directory first: page 4" if not self.draft.place else "still looking ...")
            return
        if not plan["ok"]:
            first = next(one for one in plan["problems"] if one["level"] == "error")
            self.say(f"not like this: {first['text']}", "error")
            return
        draft, items = self.draft.copy(), self.seen.items if self.seen is not None else []

        def make() -> Project:
            place = os.path.expanduser(draft.place)  # noqa: PTH111
            return Project.create(place, draft.template, **draft.arguments(items))

        def made(project: Project) -> None:
            self.first = self.draft.copy()
            app, words = self.sta, f"made {project.root.name}; nothing is computed yet, R runs it"
            app.open_project(project.root)
            app.screen.call_after_refresh(lambda: app.did(list(plan["command"][1:]), words))

        self.fetch(make, made, name="create")

    # ---------------------------------------------------------------------------------------- leaving it
    @property
    def is_touched(self) -> bool:
        """Tell whether something was typed that would be lost."""
        now, first = self.draft, self.first
        typed = [
            text for text in (*now.patterns.values(), *now.values.values(), *now.exposures.values()) if text
        ]
        return bool(typed) or (now.directory, now.name) != (first.directory, first.name)

    def _unless_touched(self, then: Callable[[], Any]) -> None:
        if not self.is_touched:
            then()
            return
        self.sta.choose(
            "leave this page? no project was made yet",
            [("stay", "stay here"), ("lose", "leave; what was typed is lost")],
            lambda value: then() if value == "lose" else None,
        )

    def leave(self) -> None:
        """Go back to the screen before; ask first where something would be lost."""
        if len(self.app.screen_stack) > 2:
            self._unless_touched(super().leave)
        else:
            super().leave()

    def action_quit_wizard(self) -> None:
        """Leave the program; ask first where something would be lost."""
        self._unless_touched(self.sta.action_leave)
