"""The log of a run on its screen: only new bytes are read, the end stays in sight while it grows."""

from __future__ import annotations

from staproj.api.logs import read_log
from staproj.tui.base import StaScreen
from staproj.tui.run_rows import log_of
from staproj.tui.widgets.text_pane import TextPane


class RunLog(StaScreen):
    """The part of the screen of a run that reads its log."""

    run: str
    item: str | None
    _log_end: int = 0
    _log_rest: str = ""

    def __init__(self) -> None:
        super().__init__()
        self.log_lines: list[str] = []

    @property
    def _pane(self) -> TextPane:
        return self.query_one("#log", TextPane)

    def forget_log(self) -> None:
        """Begin anew (another run)."""
        self.log_lines, self._log_end, self._log_rest = [], 0, ""
        self._pane.set_lines([])

    def reload_log(self) -> None:
        """Read what was added to the log."""
        run, start = self.run, self._log_end
        layout = self.project.layout

        def work() -> tuple[str, str, int, int]:
            text, end = read_log(layout.find_run(run), start)
            return run, text, start, end

        self.fetch(work, self._add, name="log")

    def _add(self, found: tuple[str, str, int, int]) -> None:
        run, text, start, end = found
        if run != self.run or start != self._log_end:
            return
        self._log_end = end
        *whole, self._log_rest = (self._log_rest + text).split("\n")
        if whole:
            first = not self.log_lines
            self.log_lines += whole
            if first:
                self._pane.set_lines(log_of(whole, self.item))
            else:
                self._pane.add_lines(log_of(whole, self.item))
        if not self.log_lines and not self._log_rest:
            self._pane.set_lines(["nothing was written to the log yet"])

    def show_log(self) -> None:
        """Show the log of the tilt series that is chosen, or all of it."""
        self._pane.set_lines(log_of(self.log_lines, self.item))

    def action_follow(self) -> None:
        """Follow the end of the log, or stay."""
        pane = self._pane
        pane.follow = not pane.follow
        if pane.follow:
            pane.action_jump(-1)
        self.say("following the log" if pane.follow else "the log stays where it is; f follows again")
