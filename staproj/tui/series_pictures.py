"""What the screen of tilt series reads; pictures one at a time, always the one under the cursor last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from staproj.api import Project, pictures
from staproj.errors import StaprojError
from staproj.tui.base import WIDE, StaScreen
from staproj.tui.widgets.picture import PicturePane

STAGES = ("clean", "motion", "import_stack")
"""Who writes stacks of views, the best to look at first."""
HALVES = ("even.mrc", "odd.mrc")
MAX_PX = 256


def stack_of(root: Path, item: str, steps: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return run and name of the stack with the views of a tilt series; ``None``: none is on disk."""
    for stage in STAGES:
        runs = [step["run"] for step in steps if step["stage"] == stage and step["run"]]
        for run in reversed(runs):
            found = [
                row["name"]
                for row in pictures.listing(root, run)
                if row["kind"] == "stack" and row["item"] == item and row["there"] and row["shape"]
            ]
            if found:
                return run, min(found, key=lambda name: name in HALVES)
    return None


def look_at(project: Project) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of all tilt series, and the steps, copies of steps first."""
    copies = {step["step"] for one in project.variants.overview() for step in one["steps"]}
    steps = project.status()["steps"]
    return project.series.overview(), sorted(steps, key=lambda step: step["step"] not in copies)


class ViewPictures(StaScreen):
    """The part of the screen of tilt series that shows views."""

    steps: list[dict[str, Any]]

    def __init__(self) -> None:
        super().__init__()
        self.with_picture = False
        self._stacks: dict[str, tuple[str, str] | None] = {}
        self._wanted: tuple[str, int | None] | None = None
        self._shown: tuple[str, int | None] | None = None
        self._reading = False

    @property
    def has_picture(self) -> bool:
        """Tell whether pictures are shown: where there is room, or where asked for."""
        return self.with_picture or self.size.width >= WIDE

    def forget_pictures(self) -> None:
        """Look for stacks anew: runs may have come or gone."""
        self._stacks = {}
        self._shown = None

    def want_picture(self, wanted: tuple[str, int | None] | None) -> None:
        """Show a view of a tilt series (number ``None``: the middle one) as soon as it is read."""
        self.query_one(PicturePane).display = self.has_picture and wanted is not None
        self._wanted = wanted
        if wanted and self.steps and self.has_picture and not self._reading and wanted != self._shown:
            self._read(*wanted)

    def _read(self, item: str, view: int | None) -> None:
        root, steps, known = self.project.root, list(self.steps), self._stacks
        self._reading = True

        def work() -> dict[str, Any] | str:
            if item not in known:
                known[item] = stack_of(root, item, steps)
            stack = known[item]
            if stack is None:
                return f"{item}: no stack of views is on disk"
            run, name = stack
            try:
                return pictures.picture(root, run, name, item=item, section=view, max_px=MAX_PX)
            except StaprojError as error:
                return error.message

        def done(found: dict[str, Any] | str) -> None:
            self._reading = False
            self._shown = (item, view) if known is self._stacks else None
            self._show_picture(item, found)
            self.want_picture(self._wanted)

        def failed(error: Exception) -> None:
            self._reading = False
            self.show_error(error)

        self.fetch(work, done, name="picture", failed=failed)

    def _show_picture(self, item: str, found: dict[str, Any] | str) -> None:
        pane = self.query_one(PicturePane)
        if isinstance(found, str):
            pane.clear(found)
            return
        size = found["pixel_size_angstrom"]
        pixel = f", {size * found['reduced']:.3g} Å/px" if size else ""
        pane.show(found["pixels"], f"{item} view {found['section']} of {found['run']}{pixel}")
