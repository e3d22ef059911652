"""Archive, verify, restore, export: each is a command that goes on in the background, with its progress."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from staproj.report.background import clock, state_words, task_lines
from staproj.report.tables import size
from staproj.tui import archive_menu as menu
from staproj.tui import look as looks
from staproj.tui.archive_menu import Errand
from staproj.tui.errand_form import ErrandForm
from staproj.tui.look import Look
from staproj.tui.task_watch import TaskWatch
from staproj.tui.widgets.lines import Column, LineList, Row
from staproj.tui.widgets.text_pane import TextPane

TASKS = (
    Column(" ", 1),
    Column("name", most=6),
    Column("state", most=22),
    Column("done", 14),
    Column("since", most=11),
    Column("command", flex=True),
)


def task_rows(tasks: Sequence[dict[str, Any]], look: Look) -> list[Row]:
    """Return a line for each command in the background, newest first."""
    rows = []
    for task in tasks:
        sign, style = look.state(task["state"])
        told = task["progress"] if task["ended"] is None else None
        done = f"{look.bar(told['share'], 8)} {100 * told['share']:3.0f} %" if told else ""
        since, command = clock(task["ended"] or task["created"]), shlex.join(task["command"])
        rows.append(
            Row(
                task["task"],
                ((sign, style), task["task"], (state_words(task), style), done, since, command),
                task,
            )
        )
    return rows


def errand_lines(errand: Errand) -> list[Any]:
    """Return what an errand is about."""
    command = shlex.join(["staproj", *errand.words({q.key: q.default for q in errand.questions})])
    return [(errand.title, looks.BOLD), "", errand.about, "", f"$ {command}", "", "enter asks for the rest"]


class ArchiveScreen(TaskWatch):
    """A menu, what each entry does, and what goes on."""

    place = "archive, export"
    key_order = ("open", "cancel", "go_on", "output")
    key_words = {"open": "go on"}
    help_text = """
    At the left what can be done: write an archive, verify it or the project, take a project out of one, and
    exports for other programs and for papers. Enter asks for what is needed and shows the command; it goes on
    when you leave this program, and A shows how far it is. Tab goes to the list below: what goes on and what
    came of it; enter shows all it said, ctrl+x stops it, u goes on with an archive that was cut off. Relative
    paths begin at the project. Whatever would be replaced is asked first.
    """
    DEFAULT_CSS = """
    ArchiveScreen #both { height: 1fr; }
    ArchiveScreen #menu { width: 30; height: 1fr; }
    ArchiveScreen #about { width: 1fr; height: 1fr; border-left: solid ansi_bright_black; }
    ArchiveScreen #tasks { height: 6; border-top: solid ansi_bright_black; }
    ArchiveScreen.-wide #tasks { height: 14; }
    ArchiveScreen.-ascii #about { border-left: ascii ansi_bright_black; }
    ArchiveScreen.-ascii #tasks { border-top: ascii ansi_bright_black; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "other", "menu, or what goes on", show=True, priority=True),
        Binding("ctrl+x", "cancel", "stop", show=True),
        Binding("u", "go_on", "go on with an archive", show=False),
        Binding("o", "output", "all it said", show=True),
    ]

    def __init__(self, task: str = "") -> None:
        super().__init__()
        self.first_task = task
        self.names: list[str] = []
        self.errands: list[Errand] = []

    def body(self) -> Iterable[Widget]:
        """Return menu, text and list."""
        about = TextPane(id="about")
        about.can_focus = False
        tasks = LineList(TASKS, id="tasks", empty="nothing goes on in the background", sortable=False)
        yield Vertical(
            Horizontal(
                LineList([Column("", flex=True)], id="menu", header=False, sortable=False), about, id="both"
            ),
            tasks,
            classes="body",
        )

    @property
    def menu(self) -> LineList:
        """The menu."""
        return self.query_one("#menu", LineList)

    @property
    def task_list(self) -> LineList:
        """The list of what goes on and what has ended."""
        return self.query_one("#tasks", LineList)

    @property
    def root(self) -> Path:
        """The project."""
        return self.project.root

    def on_mount(self) -> None:
        """Show the menu."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self._fill_menu("")
        (self.task_list if self.first_task else self.menu).focus()

    def command(self) -> Sequence[str]:
        """Return the command that shows or does the same."""
        if not self.is_mounted:
            return ["background"]
        row = self.task_list.row
        if self.focused is self.task_list and row is not None:
            return ["background", row.key]
        errand = self._errand()
        return errand.words({q.key: q.default for q in errand.questions}) if errand else ["background"]

    def _fill_menu(self, last_step: str) -> None:
        self.errands = menu.errands(self.root.name, last_step)
        self.menu.set_rows([Row(errand.key, (errand.title,), errand) for errand in self.errands])
        self._about()

    def _errand(self) -> Errand | None:
        row = self.menu.row
        found: Errand | None = row.data if row is not None else None
        return found

    # ------------------------------------------------------------------------------------------- loading
    def reload(self) -> None:
        """Look at steps and runs, for what can be typed, and at what goes on."""
        project = self.project

        def work() -> tuple[list[str], str]:
            runs = project.ls()
            steps = list(dict.fromkeys(run["step"] for run in runs))
            heads = [run["step"] for run in runs if run["head"] and run["state"] == "sealed"]
            return [*steps, *(run["run"] for run in runs)], heads[-1] if heads else ""

        def show(found: tuple[list[str], str]) -> None:
            self.names, last = found
            self._fill_menu(last)

        self.fetch(work, show, name="names")
        self.load_tasks()

    def show_tasks(self) -> None:
        """Show what goes on and what came of it."""
        self.task_list.set_rows(task_rows(self.tasks, self.sta.look))
        if self.first_task and self.task_list.go_to(self.first_task):
            self.first_task = ""
        going = sum(task["state"] in ("starting", "running") for task in self.tasks)
        place = f"archive, export: {going} going on" if going else "archive, export"
        if place != self.place:
            self.place = place
            self.tell_place()
        if self.focused is self.task_list:
            self._about()

    def task_begun(self, name: str) -> None:
        """Put the cursor on what was begun."""
        self.first_task = name

    def task_ended(self, task: dict[str, Any]) -> None:
        """Say what came of a command."""
        done = task["state"] == "done"
        lines = task["said"] if done or not task["problems"] else task["problems"]
        self.say(f"{task['task']} {state_words(task)}: {(lines or [''])[0]}", "" if done else "error")

    @on(LineList.Moved)
    def moved(self, event: LineList.Moved) -> None:
        """Show what the line under the cursor is about."""
        self._about()
        self.tell_place()

    def on_descendant_focus(self) -> None:
        """Show what the list in focus is about."""
        self._about()
        self.tell_place()

    def _about(self) -> None:
        row, errand = self.task_list.row, self._errand()
        lines: list[Any] = []
        if self.focused is self.task_list and row is not None:
            lines = task_lines(row.data)
        elif errand is not None:
            lines = errand_lines(errand)
        self.query_one("#about", TextPane).set_lines(lines)

    # ------------------------------------------------------------------------------------------- actions
    def action_other(self) -> None:
        """Go from the menu to what goes on, and back."""
        (self.menu if self.focused is self.task_list else self.task_list).focus()

    @on(LineList.Opened, "#menu")
    def errand_chosen(self, event: LineList.Opened) -> None:
        """Ask for what an errand needs."""
        self.ask(event.row.data)

    @on(LineList.Opened, "#tasks")
    def task_chosen(self, event: LineList.Opened) -> None:
        """Show all that a command said."""
        self.action_output()

    def ask(self, errand: Errand, values: dict[str, Any] | None = None) -> None:
        """Show the form of an errand, then begin it."""
        archives = self.project.archives

        def preview(given: dict[str, Any]) -> list[str]:
            from staproj.report.archives import expected_lines

            left = [key for key in ("intermediate", "scratch", "raw", "exports", "other") if given[key]]
            runs = [given["runs"]] if given["runs"].strip() else None
            return expected_lines(archives.expect(without=left, runs=runs, include_raw=given["include_raw"]))

        def answered(given: dict[str, Any] | None) -> None:
            if given is not None:
                self._check(errand, given)

        form = ErrandForm(
            errand,
            self.root,
            names=self.names,
            values=values,
            preview=preview if errand.key == "archive" else None,
        )
        self.sta.push_screen(form, lambda given: self.sta.attempt(answered, given))

    def _check(self, errand: Errand, values: dict[str, Any]) -> None:
        """Ask before a file is replaced, then begin."""
        if errand.key != "methods" and self.sta.refuse_read_only():
            command = shlex.join(["staproj", *errand.words(values)])
            self.say(f"read-only: nothing goes on in the background; in a shell: {command}", "warning")
            return
        root = self.root

        def ask(found: list[tuple[Path, int]]) -> None:
            if not found:
                self._begin(errand, values)
                return
            forced = {**values, "force": True} if errand.force else values
            if errand.force and values.get("force"):
                lines = ["Files of the same name are replaced:"]
            else:
                lines = ["This is there already; files of the same name are replaced:"]
            self.sta.confirm(
                "replace what is there?",
                [*lines, *(f"{path} ({size(n_bytes)})" for path, n_bytes in found)],
                "replace",
                lambda: self._begin(errand, forced),
                command=errand.words(forced),
            )

        self.fetch(lambda: _in_the_way(errand, root, values), ask, name="in the way")

    def _begin(self, errand: Errand, values: dict[str, Any]) -> None:
        if errand.key == "methods":
            self._methods(errand, values)
        else:
            self.start_task(errand.words(values))

    def _methods(self, errand: Errand, values: dict[str, Any]) -> None:
        """Show the methods section, and write its references where asked."""
        from staproj.report.methods import markdown_lines, text_lines

        provenance, root = self.project.provenance, self.root
        of, bibtex = values["of"].strip(), values["bibtex"].strip()
        if bibtex and self.sta.refuse_read_only():
            return

        def work() -> list[str]:
            told = provenance.methods([of] if of else ())
            if bibtex:
                provenance.write_bibtex(menu.at(root, bibtex), told["references"])
            return markdown_lines(told) if values["markdown"] else text_lines(told)

        def show(lines: list[str]) -> None:
            self.sta.did(errand.words(values), f"references are in {bibtex}" if bibtex else "")
            self.sta.read("methods", lines)

        self.fetch(work, show, name="methods")

    # -------------------------------------------------------------------------------------- what goes on
    def _chosen(self) -> dict[str, Any] | None:
        row = self.task_list.row
        if row is None:
            self.say("nothing goes on in the background, and nothing has ended")
            return None
        found: dict[str, Any] = row.data
        return found

    def action_output(self) -> None:
        """Show all that the command under the cursor said."""
        task = self._chosen()
        if task is not None:
            self.sta.read(task["task"], task_lines(task), wrap=False)

    def action_cancel(self) -> None:
        """Stop the command under the cursor."""
        task = self._chosen()
        if task is not None:
            self.cancel_task(task)

    def action_go_on(self) -> None:
        """Go on with an archive that was cut off."""
        task = self._chosen()
        if task is None:
            return
        if task["command"][:1] != ["archive"] or task["state"] not in ("cancelled", "interrupted", "failed"):
            self.say(f"{task['task']} is no archive that was cut off")
            return
        words = [word for word in task["command"] if word != "--resume"]
        self.start_task([*words, "--resume"])

    def copies(self) -> dict[str, str]:
        """Return what can be copied."""
        task = self.task_list.row
        if self.focused is not self.task_list or task is None:
            return {}
        return {"all it said": "\n".join(task_lines(task.data))}


def _in_the_way(errand: Errand, root: Path, values: dict[str, Any]) -> list[tuple[Path, int]]:
    """Return files (or a folder) that would be replaced, with their sizes."""
    found = []
    for path in errand.replaces(root, values):
        files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        found.append((path, sum(p.stat().st_size for p in files)))
    return found
