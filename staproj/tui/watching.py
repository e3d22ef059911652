"""Looking on: once a second, in a thread, and only what changed is told to the screen on top."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from textual.screen import Screen

from staproj.api.changes import Changes, read_only
from staproj.tui.base import StaScreen

if TYPE_CHECKING:
    from staproj.tui.app import StaprojApp

LOOK_EVERY_S = 1.0


class Watching:
    """The part of the app that looks on."""

    jobs: list[dict[str, Any]]
    news: str
    _changes: Changes | None
    _looking: bool
    _turn: int
    _seen: dict[int, int]

    @property
    def _self(self) -> StaprojApp:
        return cast("StaprojApp", self)

    def look_on(self) -> None:
        """Look at the project, unless a look is under way."""
        if self._changes is None or self._looking:
            return
        self._looking = True
        self._self.run_worker(self._look_in_thread, thread=True, group="look", exit_on_error=False)

    def _look_in_thread(self) -> None:
        changes = self._changes
        try:
            changed = changes.look() if changes is not None else False
            jobs = changes.active() if changes is not None else []
            if changed and changes is not None:  # as when a schema was brought up to date meanwhile
                self._self.read_only = bool(read_only(changes.layout.root))
        except Exception as error:  # noqa: BLE001 - shown, and tried again in a second
            told = error
            with suppress(RuntimeError):
                self._self.call_from_thread(self._not_seen, told)
            return
        if changed or jobs or self.jobs:
            with suppress(RuntimeError):
                self._self.call_from_thread(self._seen_now, changed, jobs)
        else:
            self._looking = False

    def _not_seen(self, error: Exception) -> None:
        self._looking = False
        if isinstance(self._self.screen, StaScreen):
            self._self.screen.show_error(error)

    def _seen_now(self, changed: bool, jobs: list[dict[str, Any]]) -> None:
        self._looking = False
        changed = changed or {j["job"] for j in jobs} != {j["job"] for j in self.jobs}
        self.jobs = jobs
        running = sum(job["state"] in ("running", "starting") for job in jobs)
        queued = sum(job["state"] == "queued" for job in jobs)
        news = [f"{self._self.look.sign('running')}{running} running"] if running else []
        news += [f"{self._self.look.sign('queued')}{queued} waiting"] if queued else []
        self.news = " ".join(news)
        screen = self._self.screen
        if changed:
            self._turn += 1
        if not isinstance(screen, StaScreen) or not screen.is_mounted:  # it looks for itself once it is
            return
        screen.tell_place()
        if changed and self._seen.get(id(screen)) is not None:
            self._seen[id(screen)] = self._turn
            self._self.attempt(screen.reload)
        screen.progress(jobs)

    def changes_since(self, screen: Screen[Any]) -> bool:
        """Tell whether the project has changed since a screen last looked at it."""
        before = self._seen.get(id(screen))
        self._seen[id(screen)] = self._turn
        return before is not None and before != self._turn
