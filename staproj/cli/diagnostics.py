"""The only place that writes to stderr: errors with exit codes, and progress bars on long work."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from staproj.cli import output
from staproj.errors import CancelledError, StaprojError, StorageError
from staproj.report.visible import one_line, visible

if TYPE_CHECKING:
    from staproj.engine.events import ProgressEvent


def guarded(work: Callable[[], int | None], *, as_json: bool) -> int:
    """Call ``work`` and return the exit code, having explained whatever went wrong.

    With ``as_json`` the error is also the JSON document on stdout, so that a program reads one document
    whichever way it went.
    """
    try:
        with _termination_as_interrupt():
            return work() or 0
    except KeyboardInterrupt:
        stopped = CancelledError("interrupted", hint="finished work is kept: run the same command again")
        return _explain(stopped, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except StaprojError as error:
        return _explain(error, as_json)
    except OSError as error:
        return _explain(_storage(error), as_json)
    except Exception as error:  # noqa: BLE001 - the last resort: one line and a place to look, never a wall of text
        return _explain(_unexpected(error), as_json)


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let a lost connection (SIGHUP) or a scheduler's end (SIGTERM) stop work as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def open_closed_streams() -> None:
    """Let what is written go nowhere where the caller has closed stdout or stderr (``>&-``)."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # else the next file opened would get its number
            nowhere = Path(os.devnull).open("r+", encoding="utf-8")  # noqa: SIM115 - open to the end
            setattr(sys, name, nowhere)


def note(text: str) -> None:
    """Tell the person something that is not the result."""
    _write(text + "\n")


def warn(texts: Iterable[str]) -> None:
    """Tell the person what looks wrong but stops nothing."""
    for text in texts:
        _write(f"staproj: warning: {text}\n")


def _explain(error: StaprojError, as_json: bool) -> int:
    if as_json:
        output.emit(error.as_dict(), "", as_json=True)
    _write(f"staproj: {error}\n")
    return error.exit_code


def _storage(error: OSError) -> StaprojError:
    where = str(error.filename) if error.filename else None
    if error.errno == errno.ENOSPC:
        return StorageError(
            "the disk is full", where=where, hint="make room, then call the same command again"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return StorageError(f"not allowed: {error.strerror}", where=where, hint="check owner and permissions")
    if error.errno == errno.ENOENT:
        return StorageError("no such file or directory", where=where, hint="check the path")
    if error.filename or error.errno:
        return StorageError(error.strerror or str(error), where=where)
    return _unexpected(error)


def _unexpected(error: BaseException) -> StaprojError:
    lines = traceback.format_exception(error)
    try:
        handle, name = tempfile.mkstemp(prefix="staproj-traceback-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(["command: " + " ".join(sys.argv) + "\n", *lines])
    except OSError:  # no place at all for temporary files: the last lines are better than none
        name = "".join(lines[-2:]).strip()
    kind = type(error).__name__
    return StaprojError(
        f"unexpected {kind}: {str(error).splitlines()[0] if str(error) else 'no message'}",
        where=f"details in {name}",
        hint="this is a fault in staproj; please report it with that file",
    )


def _write(text: str) -> None:
    try:
        sys.stderr.write(visible(text))  # Python writes what the locale lacks as codes, here
        sys.stderr.flush()
    except OSError:
        return


ALL = "all steps"


PROGRESS = "STAPROJ_PROGRESS"
"""Environment variable: ``lines`` writes progress as JSON lines, one a second, for programs that look on."""
LINE_EVERY_S = 1.0


class _Lines:
    """Progress for programs: ``{"progress": {label: [done, total, message]}}``, the whole first."""

    def __init__(self) -> None:
        self._bars: dict[str, tuple[float, float, str]] = {}
        self._next = 0.0

    def update(self, label: str, done: float, total: float, message: str) -> None:
        self._bars[label] = (done, total, message)
        if time.monotonic() >= self._next:
            self.write()

    def remove(self, label: str) -> None:
        self._bars.pop(label, None)

    def write(self) -> None:
        self._next = time.monotonic() + LINE_EVERY_S
        if self._bars:
            _write(json.dumps({"progress": self._bars}) + "\n")


class Bars:
    """Bars with percentage, elapsed time and ETA, one a label; silent where nobody is looking."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._live = None if quiet or not sys.stderr.isatty() else _bars()
        self._lines = _Lines() if os.environ.get(PROGRESS) == "lines" and not quiet else None
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Start drawing."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing and leave the terminal clean."""
        if self._live is not None:
            self._live.stop()
        if self._lines is not None:
            self._lines.write()

    def update(self, label: str, done: float, total: float, message: str = "") -> None:
        """Say how far the work called ``label`` is."""
        if self._lines is not None and total > 0:
            self._lines.update(label, min(done, total), total, message)
        if self._live is None or total <= 0:
            return
        if label not in self._tasks:
            self._tasks[label] = self._live.add_task(
                one_line(label), total=total, message="", left=None, began=None
            )
        shown = one_line(message)
        self._live.update(self._tasks[label], completed=min(done, total), total=total, message=shown)

    def remove(self, label: str) -> None:
        """Take a bar away."""
        if self._lines is not None:
            self._lines.remove(label)
        if self._live is not None and label in self._tasks:
            self._live.remove_task(self._tasks.pop(label))

    def times(self, label: str, elapsed_s: float, left: str) -> None:
        """Say how long the work called ``label`` has taken and will take, whenever the looking began."""
        if self._live is not None and label in self._tasks:
            self._live.update(self._tasks[label], left=left, began=time.monotonic() - elapsed_s)

    def say(self, text: str, *, fit: bool = False) -> None:
        """Write a line above the bars; with ``fit`` it is cut at the width of the terminal."""
        if self._live is not None:
            how: Any = {"no_wrap": True, "overflow": "ellipsis"} if fit else {"soft_wrap": True}
            self._live.console.print(visible(text), highlight=False, markup=False, **how)


class RunProgress(Bars):
    """Draws what a running engine tells: a bar for all steps, one for the step at work."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._steps, self._steps_done = 0.0, 0
        self._items, self._items_done = 1.0, 0.0
        self._shares: dict[str | None, float] = {}
        self._step = ""

    def __call__(self, event: ProgressEvent) -> None:
        """Take one event of the engine."""
        if event.kind == "plan":
            self._steps = event.total
        elif event.kind == "step":
            self._items, self._items_done = max(event.total, 1.0), 0.0
            self._shares.clear()
            self.update(event.step, 0.0, self._items)
        elif event.kind == "progress":
            self._shares[event.item] = min(event.done / event.total, 1.0) if event.total > 0 else 0.0
            words = " ".join(word for word in (event.item, event.message) if word)
            self.update(event.step, self._items_done + sum(self._shares.values()), self._items, words)
        elif event.kind == "item-done":
            self._items_done = event.done
            self._shares.pop(event.item, None)
            self.update(event.step, event.done, event.total)
        elif event.kind in {"step-done", "step-failed"}:
            self.remove(event.step)
            self._steps_done += 1
            self._items_done = 0.0
            self._shares.clear()
            if event.message != "fresh":
                self.say(f"{event.run or '-'}  {event.step}: {event.message}", fit=True)
        self._step = event.step
        self._all(event.step)

    def expect(self, step: tuple[float, str], everything: tuple[float, str], waits_for: str = "") -> None:
        """Take the time spent (s) and left (words) of the step at work and in all; what is waited for."""
        self.times(self._step, *step)
        self._all(waits_for or self._step)
        self.times(ALL, *everything)

    def _all(self, words: str) -> None:
        """Draw the bar of all steps; the one at work counts for what is done of it."""
        share = min((self._items_done + sum(self._shares.values())) / self._items, 1.0)
        self.update(ALL, self._steps_done + share, max(self._steps, 1.0), words)


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeElapsedColumn as Watch
    from rich.progress import TimeRemainingColumn as Pace
    from rich.text import Text

    class Left(Pace):
        """Time left: as somebody said who knows the history, else by the pace so far."""

        def render(self, task: Any) -> Text:
            told = task.fields.get("left")
            return super().render(task) if told is None else Text(told)

    class Elapsed(Watch):
        """Time since the work began, also where the looking began later."""

        def render(self, task: Any) -> Text:
            began = task.fields.get("began")
            if began is None:
                return super().render(task)
            return Text(str(timedelta(seconds=int(time.monotonic() - began))))

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        Elapsed(),
        TextColumn("left"),
        Left(),
        TextColumn("{task.fields[message]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
