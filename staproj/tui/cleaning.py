"""What can be done about space: delete to the trash, prove, put back, delete for good. Each asks first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual.binding import Binding, BindingType

from staproj.errors import CheckError
from staproj.report.tables import size
from staproj.tui import storage_rows as rows_of
from staproj.tui.asking import whole_number
from staproj.tui.storage_rows import Level
from staproj.tui.task_watch import TaskWatch
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.tabs import Tabbed

PURGE, PURGE_ALL = "purge", "empty"


class MarkList(LineList):
    """A list that tells of marks as of moves."""

    def action_mark(self) -> None:
        """Mark the row, and tell."""
        super().action_mark()
        self.post_message(self.Moved(self, self.row))

    def clear_marks(self) -> None:
        """Take all marks away, and tell."""
        super().clear_marks()
        self.post_message(self.Moved(self, self.row))


class Cleaning(TaskWatch, Tabbed):
    """Actions of the screen of space and clean-up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+d", "delete", "delete (asks)", show=True),
        Binding("v", "prove", "prove some of it", show=True),
        Binding("u", "restore", "put back", show=True),
        Binding("ctrl+e", "empty_trash", "empty the trash (asks first)", show=False),
        Binding("ctrl+x", "cancel_proof", "stop the proof that goes on", show=False),
        Binding("p", "proof", "what the newest proof said", show=False),
    ]
    level: Level
    parts: list[dict[str, Any]]

    def changed(self) -> None:
        """Look at everything again: something was done."""
        raise NotImplementedError

    @property
    def plan_list(self) -> MarkList:
        """The list of what can go."""
        return self.query_one("#clean-up", MarkList)

    @property
    def trash_list(self) -> LineList:
        """The list of what is in the trash."""
        return self.query_one("#trash", LineList)

    def marked(self) -> list[str]:
        """Return the runs that are marked; clean-up is confined to them."""
        return rows_of.marked_runs(self.plan_list.all_rows, self.plan_list.marks)

    # ----------------------------------------------------------------------------------------------- delete
    def action_delete(self) -> None:
        """Ask, then move what can go to the trash; in the trash: delete it for good."""
        if self.sta.refuse_read_only():
            return
        if self.tab == "trash":
            part = self._part()
            if part is not None:
                self._ask_purge([part], part["trash"])
            return
        if self.tab != "clean-up":
            self.say("] goes to clean-up, which says what can go; deleting is there")
            return
        which, runs = self.level.asked(), self.marked() or None
        command = [*self.level.words(runs), "--yes"]
        storage = self.project.storage

        def ask(plan: Mapping[str, Any]) -> None:
            if not plan["runs"]:
                self.say("nothing of this can go; below stands why")
                return
            self.sta.confirm(
                f"delete {size(plan['bytes'])}, to the trash?",
                rows_of.delete_lines(plan),
                "delete",
                lambda: self.fetch(lambda: storage.clean(runs=runs, **which), done, name="clean"),
                command=command,
            )

        def done(told: Mapping[str, Any]) -> None:
            what = f"{size(told['bytes'])} are in the trash, u there puts them back"
            self.sta.did(command, what if told["trash"] else "nothing could go any more")
            self.plan_list.clear_marks()
            self.changed()

        self.fetch(lambda: storage.plan(runs=runs, **which), ask, name="plan to delete")

    # ------------------------------------------------------------------------------------------------ prove
    def action_prove(self) -> None:
        """Make some of what can go again, in scratch, and compare: a process of its own does it."""
        if self.tab != "clean-up":
            self.say("] goes to clean-up: what would be deleted there can be proven")
            return
        if self.sta.refuse_read_only():
            return
        runs = self.marked() or None

        def given(text: str) -> None:
            words = [word for word in self.level.words(runs) if word != "--attempts"]
            self.start_task([*words, "--prove", text.strip()])

        self.sta.ask(
            "how many outputs are to be made again?",
            "3",
            given,
            check=lambda text: "" if (whole_number(text) or 0) > 0 else "a number above 0",
            help_text="Drawn from what would go, made again in scratch, compared bit for bit.",
        )

    def proofs(self) -> list[dict[str, Any]]:
        """Return the proofs in the background, newest first."""
        return [task for task in self.tasks if task["command"][:1] == ["gc"]]

    def task_ended(self, task: dict[str, Any]) -> None:
        """Say what a proof came to."""
        if task in self.proofs():
            result = next((line for line in reversed(task["said"]) if " made again " in line), "")
            last = (task["problems"] or [task["state"]])[0]
            level = "" if task["state"] == "done" else "error"
            self.changed()
            self.say(f"{task['task']}: {result or last}; p shows all of it", level)

    def action_proof(self) -> None:
        """Show all that the newest proof said."""
        from staproj.report.background import task_lines

        found = self.proofs()
        if found:
            self.sta.read(f"proof {found[0]['task']}", task_lines(found[0]), wrap=False)
        else:
            self.say("nothing was proven yet: v makes some outputs again and compares")

    def action_cancel_proof(self) -> None:
        """Stop the proof that goes on."""
        found = self.proofs()
        if found:
            self.cancel_task(found[0])
        else:
            self.say("no proof goes on")

    # ------------------------------------------------------------------------------------------------ trash
    def _part(self) -> dict[str, Any] | None:
        row: Row | None = self.trash_list.row
        if row is None:
            self.say("the trash is empty")
            return None
        found: dict[str, Any] = row.data
        return found

    def action_restore(self) -> None:
        """Put back what one clean-up deleted, exactly as it was."""
        if self.tab != "trash":
            self.say("the tab trash shows what can be put back")
            return
        if self.sta.refuse_read_only():
            return
        part = self._part()
        if part is None:
            return
        name, storage = part["trash"], self.project.storage

        def done(told: Mapping[str, Any]) -> None:
            words = f"{told['files']} files ({size(told['bytes'])}) are back"
            self.sta.did(["trash", "restore", name], words)
            self.changed()

        self.fetch(lambda: storage.trash_restore(name), done, name="restore")

    def action_empty_trash(self) -> None:
        """Ask, then delete all of the trash for good."""
        if self.sta.refuse_read_only():
            return
        if self.tab != "trash":
            self.say("the tab trash shows what is in it; ctrl+e empties it there")
        elif self._part() is not None:
            self._ask_purge(self.parts, "all")

    def _ask_purge(self, parts: Sequence[Mapping[str, Any]], name: str) -> None:
        """Find out what a purge loses, then ask; the name has to be typed."""
        storage = self.project.storage

        def look() -> tuple[int, str]:
            try:
                return storage.trash_purge(name)["bytes"], ""
            except CheckError as error:
                return storage.trash_purge(name, force=True)["bytes"], error.message

        def ask(found: tuple[int, str]) -> None:
            n_bytes, lost = found
            one = [name] if name != "all" else []
            command = ["trash", "purge", *one, "--yes", *(["--force"] if lost else [])]
            force = bool(lost)

            def done(told: Mapping[str, Any]) -> None:
                self.sta.did(command, f"{size(told['bytes'])} freed")
                self.changed()

            self.sta.confirm(
                f"delete {name if one else 'all of the trash'} for good?",
                rows_of.purge_lines(parts, n_bytes, lost),
                "delete for good",
                lambda: self.fetch(
                    lambda: storage.trash_purge(name, dry_run=False, force=force), done, name="purge"
                ),
                must_type=PURGE if one else PURGE_ALL,
                command=command,
            )

        self.fetch(look, ask, name="look at a purge")
