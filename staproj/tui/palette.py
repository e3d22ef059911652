"""What ``:`` and ctrl+p find: every screen, every action of the screen on top, every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from staproj.tui.base import StaScreen

if TYPE_CHECKING:
    from staproj.tui.app import StaprojApp

PLACES = (
    ("pipeline", "pipeline: all steps and their runs"),
    ("jobs", "jobs: what is running and waiting, load of this machine"),
    ("series", "tilt series: one line each, views to keep and exclude"),
    ("versions", "versions: list, compare, name, go back"),
    ("clean_up", "space and clean-up: what can be deleted, trash"),
    ("archive", "archive, verify, restore, export"),
    ("importing", "import data into this project"),
    ("new", "new project from a template"),
    ("commands", "commands: what was done here, as command lines"),
)


class StaprojCommands(Provider):
    """Everything that can be done from here."""

    def _all(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        app = cast("StaprojApp", self.app)
        screen = self.screen
        if isinstance(screen, StaScreen):
            for active in screen.active_bindings.values():
                binding = active.binding
                if active.enabled and binding.description and not binding.action.startswith("app.show"):
                    run = partial(self.app.run_action, binding.action, active.node)
                    yield binding.description, f"key {binding.key.split(',')[0]}", run
            for words, run in getattr(screen, "palette", list)():
                yield words, "", run
        for name, words in PLACES:
            yield words, "", partial(app.action_show, name)

    async def search(self, query: str) -> Hits:
        """Return what matches."""
        matcher = self.matcher(query)
        for words, help_text, run in self._all():
            score = matcher.match(words)
            if score > 0:
                yield Hit(score, matcher.highlight(words), run, help=help_text, text=words)

    async def discover(self) -> Hits:
        """Return everything, before one types."""
        for words, help_text, run in self._all():
            yield DiscoveryHit(words, run, help=help_text, text=words)
