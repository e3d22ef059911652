"""Several items at the same time: hand tasks to an executor, pass on what is heard, stop all when asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from staproj.engine.executors import InlineExecutor, ProcessExecutor, make_executor
from staproj.engine.items import Hooks, ItemTask, Watched, compute_item
from staproj.engine.view import View
from staproj.errors import CancelledError
from staproj.project.layout import AttemptDir

_POLL_S = 0.2
STOP_GRACE_S = 10.0


@dataclass(frozen=True)
class Listener:
    """Whom the crew tells. ``failed`` may raise, which stops the others."""

    progress: Callable[[str | None, float, float, str], None]
    finished: Callable[[str | None, dict[str, Any]], None]
    failed: Callable[[str | None, Exception], None]


@dataclass(frozen=True)
class Crew:
    """``jobs`` items of one try at the same time."""

    view: View
    attempt: AttemptDir
    jobs: int
    cancelled: Callable[[], bool]
    listener: Listener

    def run(self, tasks: Sequence[ItemTask]) -> None:
        """Compute all tasks; one that fails does not stop the others.

        Raises
        ------
        CancelledError
            If it was asked to stop; whatever was finished by then is kept.
        """
        workers = min(self.jobs, len(tasks))
        executor = make_executor("processes" if workers > 1 else "inline", workers)
        waiting, working = deque(tasks), dict[Future[Any], ItemTask]()
        watched = Watched(self.attempt)
        try:
            while waiting or working:
                while waiting and len(working) < max(1, workers):
                    task = waiting.popleft()
                    working[self._submit(executor, task)] = task
                finished, _ = wait(working, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                if workers > 1:
                    self._pass_on(watched, working)
                for future in finished:
                    self._settle(working.pop(future), future)
                if (waiting or working) and self.cancelled():
                    raise CancelledError("stopped as asked", hint="`staproj resume` goes on")
            executor.shutdown()
        except BaseException:
            self._stop(executor, working)
            raise

    def _submit(self, executor: InlineExecutor | ProcessExecutor, task: ItemTask) -> Future[Any]:
        if isinstance(executor, ProcessExecutor):
            return executor.submit(compute_item, task)

        def report(done: float, total: float, message: str) -> None:
            self.listener.progress(task.item, done, total, message)

        return executor.submit(compute_item, task, Hooks(self.view, self.cancelled, report))

    def _settle(self, task: ItemTask, future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            self.listener.finished(task.item, future.result())
        elif isinstance(error, CancelledError) or not isinstance(error, Exception):
            raise error
        else:
            self.listener.failed(task.item, error)

    def _pass_on(self, watched: Watched, working: dict[Future[Any], ItemTask]) -> None:
        for task in working.values():
            news = watched.news(task.item)
            if news is not None:
                self.listener.progress(task.item, *news)

    def _stop(self, executor: InlineExecutor | ProcessExecutor, working: dict[Future[Any], ItemTask]) -> None:
        """Ask the processes to stop, wait a little, end those that did not; what was finished counts."""
        try:
            if working:
                with suppress(OSError):
                    self.attempt.stop.touch()
                wait(working, timeout=STOP_GRACE_S)
        finally:
            executor.kill()
            for future, task in working.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    self.listener.finished(task.item, future.result())
            with suppress(OSError):
                self.attempt.stop.unlink(missing_ok=True)
