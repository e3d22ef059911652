"""Commands in the background: looked at once a second while one goes on and the screen is on top."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from staproj.api.background import ACTIVE, ENDED, Background
from staproj.tui.base import StaScreen

LOOK_EVERY_S = 1.0
FIRST_LOOK_S, YOUNG_S = 0.3, 1.0
"""Many commands end within a second: what was just begun is looked at sooner."""
NEWEST = 20


class TaskWatch(StaScreen):
    """A screen that shows archives, exports, checks and proofs that go on."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[dict[str, Any]] = []
        self._task_timer = False
        self._begun: set[str] = set()

    def show_tasks(self) -> None:
        """Show :attr:`tasks`: they have changed."""

    def task_begun(self, name: str) -> None:
        """Hear of a command that was begun here."""

    def task_ended(self, task: dict[str, Any]) -> None:
        """Hear of a command that went on a moment ago and does not any more."""

    def load_tasks(self) -> None:
        """Look at what goes on in the background."""
        found = Background(self.project.root)
        known = {task["task"]: task for task in self.tasks if task["ended"] is not None}
        self.fetch(lambda: found.all(NEWEST, known), self._tasks_seen, name="tasks")

    def _tasks_seen(self, tasks: list[dict[str, Any]]) -> None:
        went_on = {task["task"] for task in self.tasks if task["state"] in ACTIVE} | self._begun
        before, self.tasks = self.tasks, tasks
        if tasks != before:
            self.show_tasks()
        for task in tasks:
            if task["task"] in went_on and task["state"] in ENDED:
                self._begun.discard(task["task"])
                self.task_ended(task)
        going = [task for task in tasks if task["state"] in ("starting", "running")]
        if going and not self._task_timer:
            self._task_timer = True
            young = any(time.time() - (task["created"] or 0.0) < YOUNG_S for task in going)
            self.set_timer(FIRST_LOOK_S if young else LOOK_EVERY_S, self._look_again)

    def _look_again(self) -> None:
        self._task_timer = False
        if self.app.screen is self:
            self.load_tasks()

    def on_screen_resume(self) -> None:
        """Look again when the screen comes back to the top."""
        if self.is_mounted:
            self.load_tasks()

    def start_task(self, words: Sequence[str], outcome: str = "") -> None:
        """Begin a command in the background; it goes on when the person leaves."""
        if self.sta.refuse_read_only():
            return
        found = Background(self.project.root)

        def begun(name: str) -> None:
            self._begun.add(name)  # it may have ended before anybody looked
            self.task_begun(name)
            self.sta.did(list(words), f"{name} has begun, it goes on when you leave{outcome}")
            self.load_tasks()

        self.fetch(lambda: found.start(words), begun, name="start task")

    def cancel_task(self, task: dict[str, Any]) -> None:
        """Ask, then stop a command."""
        name = task["task"]
        found = Background(self.project.root)
        if task["state"] in ENDED:
            self.say(f"{name} does not go on: it is {task['state']}")
            return
        if self.sta.refuse_read_only():
            return

        def asked(told: dict[str, Any]) -> None:
            self.sta.did(["background", name, "--cancel"], f"{name} was asked to stop")
            self.load_tasks()

        self.sta.confirm(
            f"stop {name}?",
            [
                f"staproj {' '.join(task['command'])}",
                "It stops as with Ctrl-C; an archive keeps what is written, so that it can go on.",
            ],
            "stop it",
            lambda: self.fetch(lambda: found.cancel(name), asked, name="cancel task"),
            command=["background", name, "--cancel"],
        )
