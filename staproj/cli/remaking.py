"""Progress of outputs that are made again: a bar for all of them, one for the one at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staproj.cli.diagnostics import Bars

if TYPE_CHECKING:
    from staproj.engine.events import ProgressEvent


class Remaking(Bars):
    """Draws what the engine tells while it makes outputs again."""

    def __call__(self, event: ProgressEvent) -> None:
        """Take one event of the engine."""
        label = " ".join(word for word in (event.run, event.step, event.item) if word)
        if event.kind == "plan":
            self.update("all", 0, event.total)
        elif event.kind == "progress":
            self.update(label, event.done, event.total, event.message)
        elif event.kind == "item-done":
            self.remove(label)
            self.update("all", event.done, event.total)
