"""Tilt series in a table; the views of one, with a sign each for keeping it or leaving it out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.widget import Widget

from staproj.tui import series_rows
from staproj.tui.base import WIDE
from staproj.tui.series_pictures import ViewPictures, look_at
from staproj.tui.series_rows import Choice, Shown
from staproj.tui.widgets.column_list import ColumnList
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.picture import PicturePane
from staproj.tui.widgets.text_pane import TextPane

KEYS_OF_SERIES = ("open", "open_run", "run_stale")
KEYS_OF_VIEWS = ("screen.toggle_view", "write", "leave_out_beyond", "undo", "keep_all", "open_run")


class ViewList(ColumnList):
    """Views; space changes whether one is used."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "screen.toggle_view", "keep or leave out", show=True),
    ]


class SeriesScreen(ViewPictures):
    """All tilt series, and one level down the views of one."""

    help_text = """
    One line a tilt series: views used, total exposure, residual of the alignment, defocus, thickness,
    particles, and flags in few words; the pane below says each in full, tab goes there. Left and right choose
    a column, s orders by it, S turns the order, / filters, o opens the run that made the numbers of the
    column. Enter shows the views of a series.

    There space leaves a view out or keeps it; x leaves out all beyond a tilt, a keeps all, z takes the last
    change back. Nothing is written before ctrl+s: then staproj.toml says it for this tilt series alone, and
    the steps named below the list become stale. r asks to run them. esc goes back to the series.
    """
    DEFAULT_CSS = """
    SeriesScreen #about { height: 7; border-top: solid ansi_bright_black; }
    SeriesScreen.-ascii #about { border-top: ascii ansi_bright_black; }
    SeriesScreen #detail { height: 1fr; }
    SeriesScreen.-picture #both { layout: horizontal; }
    SeriesScreen.-picture #about { width: 38; height: 1fr; border-top: none; }
    SeriesScreen.-picture #detail { height: 5; }
    SeriesScreen #picture { height: 2fr; }
    SeriesScreen.-wide #detail { height: 1fr; min-height: 12; }
    SeriesScreen.-wide #both { layout: horizontal; }
    SeriesScreen.-wide #lists { width: 2fr; }
    SeriesScreen.-wide #about { width: 1fr; height: 1fr; border-top: none;
                                border-left: solid ansi_bright_black; }
    SeriesScreen.-wide.-ascii #about { border-left: ascii ansi_bright_black; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "write", "write", show=True),
        Binding("a", "keep_all", "keep all views", show=True),
        Binding("x", "leave_out_beyond", "leave out beyond a tilt", show=True),
        Binding("z", "undo", "undo", show=True),
        Binding("o", "open_run", "open the run of this column", show=True),
        Binding("v", "picture", "pictures of views, or not", show=False),
        Binding("r", "rerun", "run the step that leaves views out again", show=False),
        Binding("R", "run_stale", "run stale", show=True),
        Binding("q", "leave_all", "quit; runs go on", show=False),
    ]

    def __init__(self, item: str = "") -> None:
        super().__init__()
        self.key_order = KEYS_OF_SERIES  # type: ignore[misc]
        self.first_item = item
        self.overview: list[dict[str, Any]] | None = None
        self.steps: list[dict[str, Any]] = []
        self.choice: Choice | None = None
        self.stale: list[str] | None = None

    # --------------------------------------------------------------------------------------------- parts
    def body(self) -> Iterable[Widget]:
        """Return both lists, one of them hidden, and the details."""
        columns = [series_rows.columns_of(self._columns(c)) for c in (series_rows.SERIES, series_rows.VIEWS)]
        series = ColumnList(columns[0], id="series", empty="looking at the project ...")
        views = ViewList(columns[1], id="views", empty="no views")
        views.display = False
        detail = TextPane(id="detail")
        about = Vertical(detail, PicturePane(id="picture"), id="about")
        yield Container(Container(series, views, id="lists"), about, id="both", classes="body")

    def _columns(self, columns: Sequence[Shown]) -> list[Shown]:
        return series_rows.shown(columns, self.size.width >= WIDE)

    @property
    def series_list(self) -> ColumnList:
        """The list of tilt series."""
        return self.query_one("#series", ColumnList)

    @property
    def view_list(self) -> ColumnList:
        """The list of views."""
        return self.query_one("#views", ColumnList)

    @property
    def here(self) -> ColumnList:
        """The list that is shown."""
        return self.series_list if self.choice is None else self.view_list

    def on_mount(self) -> None:
        """Begin with the tilt series, or with the views of the one asked for."""
        self.set_class(not self.sta.look.unicode, "-ascii")
        self.series_list.focus()
        if self.first_item:
            self.open_views(self.first_item)

    def on_resize(self) -> None:
        """Show as many columns as there is room for."""
        self.series_list.set_columns(series_rows.columns_of(self._columns(series_rows.SERIES)))
        self.view_list.set_columns(series_rows.columns_of(self._columns(series_rows.VIEWS)))
        self._show()

    def command(self) -> Sequence[str]:
        """Return the command that shows the same."""
        return ["series"] if self.choice is None else ["series", self.choice.item]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let what is of views be dim above the list of series."""
        if action in ("write", "keep_all", "leave_out_beyond", "undo"):
            return True if self.choice is not None else None
        return super().check_action(action, parameters)

    # ------------------------------------------------------------------------------------------- loading
    def reload(self) -> None:
        """Look at all series, and at the views of the one that is open."""
        project = self.project
        self.fetch(lambda: look_at(project), self._show_series, name="overview")
        if self.choice is not None:
            item = self.choice.item
            self.fetch(lambda: project.series.views(item), self._take_in, name="views")

    def _show_series(self, seen: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
        self.overview, self.steps = seen
        self.forget_pictures()
        self.series_list.empty = "no tilt series yet: R on the pipeline runs the step that reads them"
        self._show()

    def _take_in(self, data: dict[str, Any]) -> None:
        choice = self.choice
        if choice is None or choice.item != data["item"]:
            return
        if choice.take_in(data):
            self.say("staproj.toml was changed meanwhile; what is wanted here is as it was", "warning")
        self._show()

    def _show(self) -> None:
        if self.overview is not None:
            columns = self._columns(series_rows.SERIES)
            self.series_list.set_rows(series_rows.series_rows(self.overview, columns))
        if self.choice is not None:
            columns = self._columns(series_rows.VIEWS)
            self.view_list.set_rows(series_rows.view_rows(self.choice, columns, self.sta.look))
        self._tell()

    def _tell(self) -> None:
        flagged = sum(bool(row["flags"]) for row in self.overview or ())
        count = len(self.overview or ())
        self.place = f"{count} tilt series" + (f", {flagged} with flags" if flagged else "")
        if self.choice is not None:
            changed = "  (not written)" if self.choice.is_changed else ""
            left, views = len(self.choice.wanted), len(self.choice.views)
            self.place = f"{self.choice.item}: {views} views, {left} left out{changed}"
        self.tell_place()
        self._details(self.here.row)

    def _details(self, row: Row | None) -> None:
        lines: list[Any] = []
        picture: tuple[str, int | None] | None = None
        if self.choice is not None:
            change, *stale = series_rows.choice_lines(self.choice, self.stale)
            view = [series_rows.view_details(row.data)] if row is not None else []
            lines = [change, *view, *stale, *series_rows.notes_of(self.choice)]
            picture = (self.choice.item, row.data["view"]) if row is not None else None
        elif row is not None:
            lines = series_rows.series_details(row.data)
            picture = (row.key, None)
        self.query_one("#detail", TextPane).set_lines(lines)
        self.want_picture(picture)

    @on(LineList.Moved)
    def moved(self, event: LineList.Moved) -> None:
        """Show what stands behind the line under the cursor."""
        if event.list is self.here:
            self._details(event.row)

    # ---------------------------------------------------------------------------------------- the levels
    @on(LineList.Opened, "#series")
    def opened(self, event: LineList.Opened) -> None:
        """Show the views of a tilt series."""
        self.open_views(event.row.key)

    @on(LineList.Opened, "#views")
    def view_opened(self, event: LineList.Opened) -> None:
        """Say what can be done with a view."""
        self.say("space leaves this view out or keeps it; ctrl+s writes what was changed")

    def open_views(self, item: str) -> None:
        """Show the views of one tilt series."""
        project = self.project

        def show(data: dict[str, Any]) -> None:
            self.choice, self.stale = Choice(data), None
            self.view_list.set_filter("")
            self._levels()

        self.fetch(lambda: project.series.views(item), show, name="views")

    def _levels(self) -> None:
        """Show the list that is meant."""
        is_views = self.choice is not None
        self.series_list.display = not is_views
        self.view_list.display = is_views
        self.key_order = KEYS_OF_VIEWS if is_views else KEYS_OF_SERIES  # type: ignore[misc]
        self.here.focus()
        self._show()
        self.call_after_refresh(self.tell_keys)

    def leave(self) -> None:
        """Go from the views back to the series, from there back to the screen before."""
        if self.choice is None:
            super().leave()
        else:
            self._unless_changed(self._close_views)

    def _close_views(self) -> None:
        item = self.choice.item if self.choice is not None else ""
        self.choice = None
        self._levels()
        self.series_list.go_to(item)

    def _unless_changed(self, then: Callable[[], Any]) -> None:
        """Do something, but ask first where changes were not written."""
        choice = self.choice
        if choice is None or not choice.is_changed:
            then()
            return

        def chosen(value: str) -> None:
            if value == "write":
                self.action_write(then)
            elif value == "lose":
                choice.wanted = choice.saved
                then()

        self.sta.choose(
            f"views of {choice.item} were changed, but not written",
            [
                ("stay", "stay here"),
                ("write", "write them into staproj.toml"),
                ("lose", "forget the changes"),
            ],
            chosen,
        )

    def action_leave_all(self) -> None:
        """Leave the program, but ask first where changes were not written."""
        self._unless_changed(self.sta.action_leave)

    # ----------------------------------------------------------------------------------------- choosing
    def action_toggle_view(self) -> None:
        """Leave the view under the cursor out, or keep it; go on to the next."""
        row = self.view_list.row
        if row is None or not self._may_choose():
            return
        assert self.choice is not None
        if self.choice.is_dark(row.data) and row.data["view"] not in self.choice.wanted:
            self.say(
                "this view was left out as it is dark; dark_view_fraction of the step says how dark",
                "warning",
            )
        self.choice.toggle(row.data["view"])
        self.view_list.action_move(1)
        self._chosen()

    def action_keep_all(self) -> None:
        """Keep all views."""
        if self._may_choose() and self.choice is not None:
            self.choice.keep_all()
            self._chosen()

    def action_leave_out_beyond(self) -> None:
        """Ask for a tilt, and leave out what is tilted further."""
        if not self._may_choose():
            return

        def done(text: str) -> None:
            if self.choice is not None:
                more = self.choice.leave_out_beyond(float(text))
                self._chosen()
                self.say(f"{more} more views are left out; z takes it back")

        self.sta.ask(
            "leave out views tilted further than (degrees)", "", done, check=series_rows.tilt_problem,
            help_text="Views whose tilt is larger than this, to either side, are left out of everything.",
        )  # fmt: skip

    def action_undo(self) -> None:
        """Take the last change back."""
        if self.choice is None or not self.choice.undo():
            self.say("nothing was changed here")
            return
        self._chosen()

    def _may_choose(self) -> bool:
        if self.choice is None:
            self.say("enter shows the views of a tilt series; there space leaves one out")
            return False
        if self.choice.control is None:
            self.say("no step of this pipeline leaves views out", "warning")
            return False
        return not self.sta.refuse_read_only()

    def _chosen(self) -> None:
        self._show()
        choice, project = self.choice, self.project
        if choice is None or self.stale is not None or not choice.is_changed or choice.control is None:
            return
        sets = {choice.parameter: sorted(choice.wanted)}
        step = choice.control["step"]

        def told(found: dict[str, Any]) -> None:
            self.stale = found["stale"]
            self._details(self.view_list.row)

        self.fetch(lambda: project.settings.preview(step, sets, [choice.item]), told, name="stale")

    def action_write(self, then: Callable[[], Any] = lambda: None) -> None:
        """Write which views are left out, for this tilt series alone."""
        choice, project = self.choice, self.project
        if choice is None or not self._may_choose():
            return
        if not choice.is_changed:
            self.say("nothing was changed here")
            return
        wanted, command = choice.wanted, choice.command()
        sets = {choice.parameter: sorted(wanted)}

        def written(told: dict[str, Any]) -> None:
            choice.saved = wanted
            stale = f"stale now: {', '.join(told['stale'])}" if told["stale"] else "all is as it was made"
            self.reload()
            then()
            self.sta.did(command, stale)

        self.fetch(lambda: project.settings.set(sets, [choice.item]), written, name="write")

    # ------------------------------------------------------------------------------------------- the runs
    def action_picture(self) -> None:
        """Show pictures of views beside the list, or take them away."""
        if self.size.width >= WIDE:
            self.say("pictures are shown where there is room; v shows them in a narrow window")
            return
        self.with_picture = not self.with_picture
        self.set_class(self.with_picture, "-picture")
        self._tell()

    def action_open_run(self) -> None:
        """Open the run that made the numbers of the column under view."""
        level = series_rows.SERIES if self.choice is None else series_rows.VIEWS
        column = next(one for one in level if one.name == self.here.column.name)
        run = series_rows.run_of(column, self.here.row, self.steps)
        if run is None:
            self.say(f"no run says anything of {column.name} yet")
        else:
            self.sta.show("run", run=run)

    def action_rerun(self) -> None:
        """Open the form for another run of the step that leaves views out."""
        control = self.choice.control if self.choice is not None else None
        if control is None:
            self.say("enter shows the views of a tilt series; r there runs the step that leaves them out")
        elif not self.sta.refuse_read_only():
            self._unless_changed(lambda: self.sta.show("rerun", step=control["step"]))

    def action_run_stale(self) -> None:
        """Ask how to run what is to run."""
        if not self.sta.refuse_read_only():
            self._unless_changed(lambda: self.sta.show("start", step=""))

    def copies(self) -> dict[str, str]:
        """Return what can be copied of the line."""
        row = self.series_list.row
        item = self.choice.item if self.choice is not None else row.key if row is not None else ""
        found = {"tilt series": item} if item else {}
        if self.choice is not None and self.choice.is_changed:
            found["the change"] = shlex.join(["staproj", *self.choice.command()])
        return found
