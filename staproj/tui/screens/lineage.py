"""What made a run or a file, down to the raw data, and what was made from it; one walks from run to run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from staproj.api.graph import asked, facts, graph
from staproj.report.provenance import what_made_lines
from staproj.tui import lineage_rows as rows
from staproj.tui.actions import RunActions
from staproj.tui.lineage_rows import FILE, PART, RAW, RUN
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.text_pane import TextPane


class LineageScreen(RunActions):
    """The runs before and after one run, and its files."""

    place = "lineage"
    key_order = ("open", "walk_back", "paste", "open_run", "compare")
    key_words = {"open": "walk to it"}
    help_text = """
    In the middle one run. Above it everything that it was made from, oldest first, up to the raw data; below
    it everything that was made from it; then its files. What hangs together with it directly is bright and
    names the input; of what is farther off stands who uses it, or what it was made from.
    enter walks: the run under the cursor comes to the middle; left or backspace walks back. p takes the path
    of any file (a copy that left the project, an export, raw data) and says what made it. [ and ] go to the
    next part. A star: this run stands for its step.
    """
    DEFAULT_CSS = """
    LineageScreen #detail { height: 8; border-top: solid ansi_bright_black; }
    LineageScreen.-ascii #detail { border-top: ascii ansi_bright_black; }
    LineageScreen.-wide #both { layout: horizontal; }
    LineageScreen.-wide #graph { width: 3fr; }
    LineageScreen.-wide #detail { width: 2fr; height: 1fr; border-top: none;
                                  border-left: solid ansi_bright_black; }
    LineageScreen.-wide.-ascii #detail { border-left: ascii ansi_bright_black; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "walk_back", "walk back", show=True),
        Binding("backspace", "walk_back", "walk back", show=False),
        Binding("o", "open_run", "open the run", show=True),
        Binding("p", "paste", "what made a file", show=True),
        Binding("left_square_bracket", "part(-1)", "part before", show=False),
        Binding("right_square_bracket", "part(1)", "next part", show=False),
        Binding("c", "to_middle", "to the run in the middle", show=False),
    ]

    def __init__(self, of: str = "") -> None:
        super().__init__()
        self.of = of
        self.graph: dict[str, Any] | None = None
        self.files: list[dict[str, Any]] = []
        self.directory = ""
        self.way: list[str] = []
        self._facts: dict[tuple[str, str], dict[str, Any]] = {}

    def body(self) -> Iterable[Widget]:
        """Return the list and the details."""
        shown = LineList(rows.COLUMNS, id="graph", empty="looking ...", sortable=False, header=False)
        yield Container(shown, TextPane(id="detail"), id="both", classes="body")

    @property
    def shown(self) -> LineList:
        """The list."""
        return self.query_one("#graph", LineList)

    def on_mount(self) -> None:
        """Begin with the run, step or file that was asked for."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self.shown.focus()

    def command(self) -> Sequence[str]:
        """Return the command that shows the same."""
        if self.graph is None:
            return ["lineage", self.of] if self.of else []
        run = self.graph["run"]
        is_below = self._is_below(self.shown.row) if self.is_mounted else False
        return ["lineage", run, "--down"] if is_below else ["lineage", run]

    def _is_below(self, row: Row | None) -> bool:
        if row is None or self.graph is None:
            return False
        run = row.data.get("run", "") if row.key.startswith(RUN) else ""
        return row.key == PART + "down" or (len(run), run) > (len(self.graph["run"]), self.graph["run"])

    # ------------------------------------------------------------------------------------------- loading
    def reload(self) -> None:
        """Look at the runs again."""
        self._look_at(self.graph["run"] if self.graph else self.of)

    def _look_at(self, of: str, *, to_middle: bool = False) -> None:
        root = self.project.root
        is_first = self.graph is None

        def work() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]:
            told = None
            name = of
            if is_first and "/" in of:
                told = asked(root, of)
                name = told["here"] or ""
            found = graph(root, name)
            return found, facts(root, found["run"]), told

        def show(found: tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]) -> None:
            self._show(found[0], found[1], to_middle=to_middle or is_first)
            if found[2] is not None:
                self._say_what_made(found[2])

        self.fetch(work, show, name="graph")

    def _show(self, found: dict[str, Any], told: dict[str, Any], *, to_middle: bool) -> None:
        self.graph, self.files, self.directory = found, told["files"], told["directory"]
        self._facts = {(found["run"], found["state"]): told}
        before = len(found["nodes"])
        self.place = f"lineage of {found['run']} {found['step']}"
        self.shown.set_rows(rows.lineage_rows(found, self.files, self.sta.look))
        if to_middle:
            self.shown.set_filter("")
            self._to_middle()
        self._details(self.shown.row)
        self.tell_place()
        if before == 1 and not self.files:
            self.say("it was made from raw data only, and nothing was made from it")

    def _to_middle(self) -> None:
        if self.graph is None:
            return
        self.shown.go_to(RUN + self.graph["run"])
        room = max(self.shown.size.height, 1)
        self.shown.scroll_to(
            y=max(0, self.shown.cursor - room // 2), animate=False, immediate=True, force=True
        )
        self.shown.refresh()

    # ------------------------------------------------------------------------------------------- details
    @on(LineList.Moved)
    def moved(self, event: LineList.Moved) -> None:
        """Show what the line under the cursor means."""
        self._details(event.row)
        self.tell_place()

    def _details(self, row: Row | None) -> None:
        if self.graph is None or row is None:
            self._put([])
        elif row.key.startswith(RUN):
            self._run_details(row.data)
        elif row.key.startswith(FILE):
            self._put(rows.file_in_short(row.data, self.directory))
        elif row.key.startswith(RAW):
            self._put([f"{row.data['run']} reads files that no run made; enter lists them"])
        else:
            said = {
                "up": "Above the run: what it was made from, oldest first. enter on a run walks to it.",
                "down": "Below the run: what was made from it. enter on a run walks to it.",
                "files": f"{self.directory}/out; enter shows size, digest and class of a file.",
            }
            self._put([said[row.data["part"]]])

    def _put(self, lines: list[Any]) -> None:
        self.query_one("#detail", TextPane).set_lines(lines)

    def _run_details(self, node: dict[str, Any]) -> None:
        assert self.graph is not None
        key = (node["run"], node["state"])
        known = self._facts.get(key)
        self._put(rows.run_details(node, self.graph, known))
        if known is not None or node["state"] == "gone":
            return
        root = self.project.root

        def show(told: dict[str, Any]) -> None:
            self._facts[key] = told
            row = self.shown.row
            if row is not None and row.key == RUN + node["run"] and self.graph is not None:
                self._put(rows.run_details(node, self.graph, told))

        self.fetch(lambda: facts(root, node["run"]), show, name="details")

    # ------------------------------------------------------------------------------------------- walking
    @on(LineList.Opened)
    def opened(self, event: LineList.Opened) -> None:
        """Walk to a run; open a file."""
        row = event.row
        if row.key.startswith(FILE):
            self.sta.read(row.data["path"], rows.file_details(row.data, self.directory))
        elif row.key.startswith(RAW):
            self._read_raw(row.data["run"])
        elif row.key.startswith(RUN) and self.graph is not None:
            if row.data["state"] == "gone":
                self.say(f"the record of {row.data['run']} is gone", "warning")
            elif row.data["run"] == self.graph["run"]:
                self.action_open_run()
            else:
                self.way.append(self.graph["run"])
                self._look_at(row.data["run"], to_middle=True)

    def action_walk_back(self) -> None:
        """Go back to the run that was in the middle before."""
        if self.way:
            self._look_at(self.way.pop(), to_middle=True)
        else:
            self.say("here one began; esc goes back to the screen before")

    def action_lineage(self) -> None:
        """Walk to the run under the cursor."""
        self.shown.action_open()

    def action_to_middle(self) -> None:
        """Put the cursor on the run in the middle."""
        self._to_middle()

    def action_part(self, by: int) -> None:
        """Go to the next part of the list, or to the one before."""
        places = [i for i, row in enumerate(self.shown.rows) if row.key.startswith(PART)]
        after = [i for i in places if (i > self.shown.cursor if by > 0 else i < self.shown.cursor)]
        if after:
            self.shown.action_jump(after[0] if by > 0 else after[-1])

    def action_open_run(self) -> None:
        """Open the run under the cursor with everything in it."""
        run = self.target()[1]
        if run:
            self.sta.show("run", run=run)

    def _read_raw(self, run: str) -> None:
        provenance = self.project.provenance

        def work() -> list[str]:
            data = provenance.facts(run)["data"]
            return [
                line
                for pattern, entry in data.items()
                for line in (
                    f"{pattern}: {len(entry['files'])} files",
                    *(f"  {f[0]}" for f in entry["files"]),
                )
            ]

        self.fetch(work, lambda lines: self.sta.read(f"raw data of {run}", lines), name="raw")

    # ------------------------------------------------------------------------------------ what made a file
    def action_paste(self) -> None:
        """Ask for the path of a file and say what made it."""
        self.sta.ask(
            "path of a file",
            "",
            self._asked,
            help_text="Any file: below runs/, a copy of an output, an export, raw data. Paste its path.",
        )

    def _asked(self, text: str) -> None:
        path = rows.pasted(text)
        if path:
            root = self.project.root
            self.fetch(lambda: asked(root, path), self._say_what_made, name="asked")

    def _say_what_made(self, told: dict[str, Any]) -> None:
        here = told["here"]
        lines: list[Any] = list(what_made_lines(told))
        if here is None:
            lines = [
                "This was made in another project; what is known of it came along with the file.",
                "",
                *lines,
            ]
        elif self.graph is not None and here != self.graph["run"]:
            self.way.append(self.graph["run"])
            self._look_at(here, to_middle=True)
        self.sta.read(f"what made {told.get('file') or told.get('run')}", lines)

    # --------------------------------------------------------------------------------------- what is meant
    def target(self) -> tuple[str, str | None]:
        """Return step and run under the cursor, else those in the middle."""
        row = self.shown.row
        if row is not None and row.key.startswith(RUN):
            return row.data["step"], row.data["run"]
        return (self.graph["step"], self.graph["run"]) if self.graph else ("", None)

    def marked_runs(self) -> list[str]:
        """Return the runs that are marked."""
        return [key.removeprefix(RUN) for key in self.shown.marked if key.startswith(RUN)]

    def copies(self) -> dict[str, str]:
        """Return what can be copied."""
        run = self.target()[1]
        found = {"run": run} if run else {}
        row = self.shown.row
        if row is not None and row.key.startswith(FILE):
            path = self.project.root / self.directory / "out" / row.data["path"]
            found |= {"path of this file": str(path), "digest": str(row.data.get("sha256") or "")}
        elif run and row is not None and row.data.get("state") != "gone":
            found |= self.directory_to_copy(run)
        return found
