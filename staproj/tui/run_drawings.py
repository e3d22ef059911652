"""Curves and pictures of a run on its screen."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from textual import on
from textual.app import SuspendNotSupported

from staproj.api import drawings, pictures
from staproj.report.pictures import best_style, shown_px
from staproj.tui import run_rows
from staproj.tui.base import StaScreen
from staproj.tui.editing import aside
from staproj.tui.widgets.lines import LineList, Row
from staproj.tui.widgets.picture import PicturePane
from staproj.tui.widgets.plot import PlotPane


class Drawings(StaScreen):
    """The part of the screen of a run that draws."""

    run: str
    item: str | None
    told: dict[str, Any] | None

    def __init__(self) -> None:
        super().__init__()
        self._has_curves = self._has_pictures = False
        self._axis = "z"
        self._section: int | None = None
        self._picture: dict[str, Any] | None = None

    def forget_drawings(self) -> None:
        """Read lists of curves and pictures anew when they are next shown."""
        self._has_curves = self._has_pictures = False

    def _sealed(self) -> bool:
        return self.told is not None and self.told["state"] == "sealed"

    # --------------------------------------------------------------------------------------------- curves
    def load_curves(self) -> None:
        """List the curves, once."""
        if self._has_curves or self.told is None:
            return
        if not self._sealed():
            self.query_one("#curve-list", LineList).set_rows([])
            self.query_one(PlotPane).clear("curves are there when the run is complete")
            return
        root, run = self.project.root, self.run
        self.fetch(lambda: drawings.listing(root, run), self._list_curves, name="curves")

    def _list_curves(self, found: list[dict[str, Any]]) -> None:
        self._has_curves = True
        mine = [entry for entry in found if self.item in (None, entry["item"]) or entry["item"] is None]
        shown = self.query_one("#curve-list", LineList)
        shown.set_rows(run_rows.curve_rows(mine, self.sta.look))
        self._draw_curve(shown.row)

    @on(LineList.Moved, "#curve-list")
    def curve_moved(self, event: LineList.Moved) -> None:
        """Draw the curve under the cursor."""
        self._draw_curve(event.row)
        self.tell_place()

    @on(LineList.Opened, "#curve-list")
    @on(LineList.Opened, "#picture-list")
    def enlarge(self, event: LineList.Opened) -> None:
        """Give the drawing all of the screen, or the list its place again."""
        event.list.toggle_class("-narrow")
        self.say("enter brings the list back" if event.list.has_class("-narrow") else "")

    def _draw_curve(self, row: Row | None) -> None:
        if row is None:
            self.query_one(PlotPane).clear("this run recorded no curves")
            return
        root, run, name, item = self.project.root, self.run, row.data["name"], row.data["item"]
        self.fetch(lambda: drawings.curve(root, run, name, item), self._plot, name="curve")

    def _plot(self, found: dict[str, Any]) -> None:
        title = f"{found['item']} {found['name']}" if found["item"] else found["name"]
        line = {"name": title, "x": found["x"], "y": found["y"]}
        self.query_one(PlotPane).show(
            [line], found["x_label"], found["y_label"], level=found["level"], title=f"{self.run} {title}"
        )

    def curve_command(self) -> list[str]:
        """Return the command that draws the curve under the cursor."""
        row = self.query_one("#curve-list", LineList).row
        if row is None:
            return ["show", self.run]
        item = ["--item", row.data["item"]] if row.data["item"] else []
        return ["show", self.run, "--curve", row.data["name"], *item]

    # ------------------------------------------------------------------------------------------- pictures
    def load_pictures(self) -> None:
        """List the pictures and volumes, once."""
        if self._has_pictures or self.told is None:
            return
        root, run = self.project.root, self.run
        self.fetch(lambda: pictures.listing(root, run), self._list_pictures, name="pictures")

    def _list_pictures(self, found: list[dict[str, Any]]) -> None:
        self._has_pictures = True
        mine = [entry for entry in found if self.item in (None, entry.get("item")) or not entry.get("item")]
        shown = self.query_one("#picture-list", LineList)
        shown.set_rows(run_rows.picture_rows(mine))
        self._draw_picture(shown.row)

    @on(LineList.Moved, "#picture-list")
    def picture_moved(self, event: LineList.Moved) -> None:
        """Draw the picture under the cursor."""
        self._section, self._axis = None, "z"
        self._draw_picture(event.row)
        self.tell_place()

    def _draw_picture(self, row: Row | None) -> None:
        if row is None:
            self.query_one(PicturePane).clear("this run made no pictures")
            return
        root, run, data = self.project.root, self.run, row.data
        axis, section = self._axis, self._section
        room = self.query_one(PicturePane).size

        def work() -> dict[str, Any]:
            most = max(shown_px(1, 1, max(room.width, 20), max(room.height - 1, 10)))
            item = data.get("item")
            return pictures.picture(
                root, run, data["name"], item=item, axis=axis, section=section, max_px=most
            )

        self.fetch(work, self._show_picture, name="picture")

    def _show_picture(self, found: dict[str, Any]) -> None:
        self._picture = found
        title = str(found["name"])
        if found.get("n_sections", 1) > 1:
            self._section = found["section"]
            title += (
                f"  {found['axis']} {found['section']} of {found['n_sections']}  (, . sections, x b z turn)"
            )
        if found.get("pixel_size_angstrom"):
            title += f"  {found['pixel_size_angstrom']:.4g} Å/px"
        self.query_one(PicturePane).show(found["pixels"], title)
        self.tell_place()

    def action_section(self, by: int) -> None:
        """Go to another section of a volume."""
        if self._picture is None or self._picture.get("n_sections", 1) < 2:
            self.say("this is one picture, without sections")
            return
        count = self._picture["n_sections"]
        jump = max(1, count // 40)
        self._section = max(0, min((self._picture["section"] or 0) + by * jump, count - 1))
        self._draw_picture(self.query_one("#picture-list", LineList).row)

    def action_axis(self, axis: str) -> None:
        """Look at a volume along another axis."""
        if self._picture is not None and self._picture.get("n_sections", 1) > 1:
            self._axis, self._section = axis, None
            self._draw_picture(self.query_one("#picture-list", LineList).row)

    def action_picture_outside(self) -> None:
        """Draw the picture with the graphics of the terminal itself (kitty, sixel), if it has any."""
        look = self.sta.look
        style = best_style(os.environ, terminal=True, has_unicode=look.unicode)
        if style not in ("kitty", "sixel"):
            self.say(
                "this terminal is not known to draw pictures (kitty, sixel); half blocks are all there is"
            )
            return
        words = [*self.picture_command(), "--style", style, "-C", str(self.project.root)]

        def draw() -> None:
            subprocess.run([sys.executable, "-P", "-m", "staproj", *words], check=False)
            input("enter goes back")

        try:
            aside(self.sta, draw)
        except (SuspendNotSupported, EOFError):
            self.say("pictures cannot be drawn from here", "warning")

    def picture_command(self) -> list[str]:
        """Return the command that draws the picture under the cursor."""
        row = self.query_one("#picture-list", LineList).row
        if row is None:
            return ["show", self.run, "--pictures"]
        words = ["show", self.run, "--picture", row.data["name"]]
        words += ["--item", row.data["item"]] if row.data.get("item") else []
        if self._section is not None:
            words += ["--section", str(self._section), *(["--axis", self._axis] if self._axis != "z" else [])]
        return words
