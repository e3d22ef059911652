"""Versions: what stood when, what changed from one to the next, names, and going back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from staproj.report.history import checkout_lines, preview_lines, version_lines
from staproj.tui import look as looks
from staproj.tui import version_rows as rows
from staproj.tui.base import StaScreen
from staproj.tui.version_rows import NOW
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.text_pane import TextPane

MOST_HEADS = 8
"""Of more steps whose runs would change, the rest is counted: a question must fit a small terminal."""


class VersionsScreen(StaScreen):
    """All versions, newest first, and what each changed."""

    place = "versions"
    key_order = ("open", "compare", "name_version", "check_out")
    key_words = {"open": "in full"}
    help_text = """
    A version is staproj.toml and which run stood for each step, kept whenever one of them changed. Below (or
    at the side) stands what changed from the version before. enter shows a version in full; space marks two,
    then d shows what differs; without marks d compares the version with what stands now.
    t gives a version a name: what it needs is then safe from clean-up. ctrl+o goes back to a version: first
    one sees what would change. Nothing is lost by that; what stood is kept as a version, and no run is
    touched.
    """
    DEFAULT_CSS = """
    VersionsScreen #detail { height: 9; border-top: solid ansi_bright_black; }
    VersionsScreen.-ascii #detail { border-top: ascii ansi_bright_black; }
    VersionsScreen.-wide #both { layout: horizontal; }
    VersionsScreen.-wide #versions { width: 1fr; }
    VersionsScreen.-wide #detail { width: 1fr; height: 1fr; border-top: none;
                                   border-left: solid ansi_bright_black; }
    VersionsScreen.-wide.-ascii #detail { border-left: ascii ansi_bright_black; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "compare", "what differs", show=True),
        Binding("t", "name_version", "give a name", show=True),
        Binding("ctrl+t", "take_name", "take a name away", show=False),
        Binding("ctrl+o", "check_out", "go back to it", show=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.versions: list[dict[str, Any]] = []
        self._diffs: dict[tuple[int, int | None], dict[str, Any]] = {}

    def body(self) -> Iterable[Widget]:
        """Return the list and what changed."""
        shown = LineList(rows.VERSION_COLUMNS, id="versions", empty="looking ...", sortable=False)
        yield Container(shown, TextPane(id="detail"), id="both", classes="body")

    @property
    def shown(self) -> LineList:
        """The list."""
        return self.query_one("#versions", LineList)

    def on_mount(self) -> None:
        """Give the list the keys."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self.shown.focus()

    def command(self) -> Sequence[str]:
        """Return the command that shows the same."""
        return ["version", "list"]

    # ------------------------------------------------------------------------------------------- loading
    def reload(self) -> None:
        """List the versions again."""
        project = self.project

        def work() -> tuple[list[dict[str, Any]], dict[str, Any] | None, int]:
            found = project.history.versions()
            newest = next((one["version"] for one in found if one["created"] is not None), None)
            is_newest = bool(found) and found[0]["version"] == newest
            since = project.version_diff(newest) if newest is not None and is_newest else None
            heads = dict(found[0]["heads"]) if is_newest else {}
            for head in since["heads"] if since else ():
                heads.pop(head["step"], None)
                heads |= {head["step"]: head["new"]} if head["new"] else {}
            return found, since, len(heads)

        self.fetch(work, lambda found: self._show(*found), name="versions")

    def _show(self, found: list[dict[str, Any]], since: dict[str, Any] | None, heads_now: int) -> None:
        self.versions = found
        self._diffs = {pair: diff for pair, diff in self._diffs.items() if pair[1] is not None}
        if since is not None:
            self._diffs[found[0]["version"], None] = since
        names = sum(bool(version["tags"]) for version in found)
        self.place = f"versions: {len(found)}" + (f", {names} with a name" if names else "")
        self.shown.set_rows(rows.version_rows(found, since, heads_now, self.sta.look))
        self._details(self.shown.row)
        self.tell_place()

    @on(LineList.Moved)
    def moved(self, event: LineList.Moved) -> None:
        """Show what the version under the cursor changed."""
        self._details(event.row)

    def _details(self, row: Row | None) -> None:
        if row is None:
            self._put([])
        elif row.key == NOW:
            newest = self.versions[0]["version"] if self.versions else None
            since = self._diffs.get((newest, None)) if newest is not None else None
            told = rows.diff_lines(since) if since else []
            self._put([("what stands now" + (f", since v{newest}:" if since else ""), looks.BOLD), *told])
        elif row.data["created"] is None:
            self._put([(row.data["why"], looks.BAD)])
        else:
            self._changes_of(row.data)

    def _put(self, lines: list[Any]) -> None:
        self.query_one("#detail", TextPane).set_lines(lines)

    def _before(self, number: int) -> int | None:
        """Return the version before one that can be read."""
        earlier = [one["version"] for one in self.versions if one["version"] < number and one["created"]]
        return max(earlier, default=None)

    def _changes_of(self, version: dict[str, Any]) -> None:
        number = version["version"]
        before = self._before(number)
        if before is None or (before, number) in self._diffs:
            self._put(rows.version_details(version, before, self._diffs.get((before or 0, number))))
            return
        self._put(rows.version_details(version, before, None))
        project = self.project

        def show(diff: dict[str, Any]) -> None:
            self._diffs[before, number] = diff
            if self.shown.row is not None and self.shown.row.key == f"v{number}":
                self._put(rows.version_details(version, before, diff))

        self.fetch(lambda: project.version_diff(before, number), show, name="changes")

    # -------------------------------------------------------------------------------------- one and two
    def _version(self, *, what: str) -> dict[str, Any] | None:
        """Return the version under the cursor; say so where there is none."""
        row = self.shown.row
        if row is None or row.key == NOW:
            self.say(f"put the cursor on a version to {what}")
            return None
        return dict(row.data)

    @on(LineList.Opened)
    def opened(self, event: LineList.Opened) -> None:
        """Show a version in full; of what stands now, what changed since the newest version."""
        if event.row.key == NOW:
            self._read_diff(self.versions[0]["version"] if self.versions else None, None)
            return
        number, history = event.row.data["version"], self.project.history

        def show(version: dict[str, Any]) -> None:
            self.sta.read(f"version {number}", version_lines(version, manifest=True), wrap=False)

        self.fetch(lambda: history.show(str(number)), show, name="version")

    def action_compare(self) -> None:
        """Show what differs between two marked versions, else between the one under the cursor and now."""
        marked = [None if key == NOW else int(key[1:]) for key in self.shown.marked]
        row = self.shown.row
        here = None if row is None or row.key == NOW else row.data["version"]
        chosen = marked[:2] if len(marked) > 1 else [*marked, here]
        if len(chosen) == 1:
            chosen.append(None)
        numbers = sorted(number for number in chosen if number is not None)
        if not numbers:
            self.say("put the cursor on a version: d shows how it differs from now; space marks two")
        elif len(numbers) == 2 and numbers[0] == numbers[1]:
            self._read_diff(numbers[0], None)
        else:
            self._read_diff(numbers[0], numbers[1] if len(numbers) == 2 else None)

    def _read_diff(self, old: int | None, new: int | None) -> None:
        if old is None:
            self.say("there is no version yet")
            return
        project = self.project
        command = f"$ staproj version diff {old}" + (f" {new}" if new is not None else "")

        def show(diff: dict[str, Any]) -> None:
            lines = [(command, looks.DIM), "", *rows.diff_lines(diff)]
            self.sta.read(f"version {old} -> {f'version {new}' if new is not None else 'now'}", lines)

        self.fetch(lambda: project.version_diff(old, new), show, name="diff")

    # --------------------------------------------------------------------------------------------- names
    def action_name_version(self) -> None:
        """Give the version under the cursor (or what stands now) a name."""
        row = self.shown.row
        if row is None or self.sta.refuse_read_only():
            return
        number = None if row.key == NOW else int(row.data["version"])
        what = f"version {number}" if number is not None else "what stands now (it is kept as a version)"
        self.sta.ask(
            f"name of {what}",
            "",
            lambda name: self._give_name(name.strip(), number),
            help_text="Letters, digits, . _ and -. What the version needs is then safe from clean-up.",
        )

    def _give_name(self, name: str, number: int | None) -> None:
        if not name:
            return
        has_it = next((one["version"] for one in self.versions if name in one["tags"]), None)
        which = [] if number is None else [str(number)]
        if has_it is None or has_it == number:
            self._put_name(name, which, move=False)
            return
        self.sta.confirm(
            f"take the name {name} from version {has_it}?",
            [f"Version {has_it} is called {name} now; it stays, without the name."],
            "move the name",
            lambda: self._put_name(name, which, move=True),
            command=["version", "tag", name, *which, "--move"],
        )

    def _put_name(self, name: str, which: list[str], *, move: bool) -> None:
        history = self.project.history
        command = ["version", "tag", name, *which, *(["--move"] if move else [])]

        def done(told: dict[str, Any]) -> None:
            self.sta.did(command, f"version {told['version']} is called {name}")
            self.reload()

        self.fetch(lambda: history.tag(name, which[0] if which else None, move=move), done, name="name")

    def action_take_name(self) -> None:
        """Take a name of the version under the cursor away."""
        version = self._version(what="take a name of it away")
        if version is None or self.sta.refuse_read_only():
            return
        tags = version["tags"]
        if not tags:
            self.say(f"version {version['version']} has no name")
        elif len(tags) == 1:
            self._confirm_take(tags[0], version["version"])
        else:
            options = [(tag, tag) for tag in tags]
            self.sta.choose("which name?", options, lambda tag: self._confirm_take(tag, version["version"]))

    def _confirm_take(self, name: str, number: int) -> None:
        history = self.project.history
        command = ["version", "untag", name]

        def done(told: dict[str, Any]) -> None:
            self.sta.did(command, f"version {told['version']} is no longer called {name}")
            self.reload()

        self.sta.confirm(
            f"take the name {name} of version {number} away?",
            [f"Version {number} stays. What only it needs is no longer safe from clean-up."],
            "take it away",
            lambda: self.fetch(lambda: history.untag(name), done, name="name"),
            command=command,
        )

    # ----------------------------------------------------------------------------------------- going back
    def action_check_out(self) -> None:
        """Go back to the version under the cursor, once a person has seen what would change."""
        version = self._version(what="go back to it")
        if version is None or self.sta.refuse_read_only():
            return
        number, history = str(version["version"]), self.project.history
        self.fetch(lambda: history.preview(number), self._confirm_check_out, name="preview")

    def _confirm_check_out(self, told: dict[str, Any]) -> None:
        number = str(told["version"])
        lines = preview_lines(told, most=MOST_HEADS)
        if not told["changed"]:
            self.say(lines[0])
            return
        history = self.project.history
        command = ["version", "checkout", number]

        def done(done: dict[str, Any]) -> None:
            self.sta.did(command, checkout_lines(done)[0])
            self.reload()

        self.sta.confirm(
            f"make everything as in version {number}?",
            lines,
            "go back",
            lambda: self.fetch(lambda: history.checkout(number), done, name="checkout"),
            command=command,
        )

    def copies(self) -> dict[str, str]:
        """Return what can be copied."""
        row = self.shown.row
        if row is None or row.key == NOW:
            return {}
        found = {"version": str(row.data["version"])}
        found |= {f"name {tag}": tag for tag in row.data["tags"]}
        heads = row.data["heads"]
        return found | {"its runs": "\n".join(f"{step}\t{run}" for step, run in heads.items())}
