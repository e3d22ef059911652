"""Commands that take minutes and compute no run (archive, export, verify ...), carried on without a terminal.

A command in the background is the very command line that a person would type, in a process of its own that
belongs to nobody: it goes on when whoever started it leaves. What it prints and how far it is stands in
small files below the private directory of the project, and anybody may look. Runs are never made this way.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from staproj.errors import CancelledError, StaprojError, StorageError, UsageError
from staproj.project import atomic, reading
from staproj.project.layout import Layout
from staproj.project.process import is_alive, this_process, user_name
from staproj.project.runs import is_recent
from staproj.project.taskdir import TASK_ID, TaskDir, task, task_numbers

FORMAT = 1
COMMANDS = ("archive", "verify", "restore", "export", "methods", "gc")
"""Commands that may go on in the background."""
ACTIVE = ("starting", "running", "unreachable")
ENDED = ("done", "failed", "cancelled", "interrupted")
SERVE = "_background"
KEPT = 50
_TAIL_BYTES = 1 << 17
_START_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.5
_TOUCH_EVERY_S = 10.0
_GRACE_S = 30.0


class Background:
    """Starts, lists and stops commands of one project that go on without a terminal."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(Path(os.path.abspath(root)))

    def start(self, words: Sequence[str]) -> str:
        """Start ``staproj WORDS`` in the directory of the project; return its name (``b0001``) at once.

        Raises
        ------
        UsageError
            If that command does not go on in the background.
        StorageError
            If the project cannot be written to.
        """
        from staproj.project.schema import require_writable

        _check(words)
        require_writable(self.layout)
        found = self._create(words)
        self._forget_old()
        _launch(self.layout, found)
        return found.id

    def all(
        self, newest: int | None = None, known: Mapping[str, dict[str, Any]] | None = None
    ) -> list[dict[str, Any]]:
        """Return the commands, newest first, as :meth:`describe` tells them.

        ``known`` holds by name what was told before of those that have ended: they are not read again.
        """
        numbers = list(reversed(task_numbers(self.layout)))[:newest]
        names = [task(self.layout, number).id for number in numbers]
        return [(known or {}).get(name) or self.describe(name) for name in names]

    def active(self) -> list[str]:
        """Return the names of those that go on, newest first."""
        return [
            found.id
            for number in reversed(task_numbers(self.layout))
            if _state(found := task(self.layout, number))[0] in ACTIVE
        ]

    def describe(self, name: str) -> dict[str, Any]:
        """Return one command as it is now.

        ``{"task", "command", "state", "exit_code", "created", "ended", "user", "host", "progress", "said",
        "problems"}``: ``command`` are the words after ``staproj``; ``state`` is starting, running, done,
        failed, cancelled, interrupted (its process is gone) or unreachable (another machine); ``progress`` is
        ``None`` or ``{"label", "done", "total", "share", "message"}``; ``said`` are the lines it printed and
        ``problems`` those that tell what went wrong.
        """
        found = self._find(name)
        facts: dict[str, Any] = {}
        with suppress(StaprojError):
            facts = atomic.read_json(found.request)
        state, ended = _state(found)
        progress, problems = _log(found)
        command, code = facts.get("command"), ended.get("exit_code")
        return {
            "task": found.id,
            "command": [str(word) for word in command] if isinstance(command, list) else [],
            "state": state,
            "exit_code": code if isinstance(code, int) else None,
            "created": _number(facts.get("created")),
            "ended": _number(ended.get("time")),
            "user": str(facts.get("user") or ""),
            "host": str(facts.get("host") or ""),
            "progress": progress,
            "said": _tail(found.out),
            "problems": problems,
        }

    def cancel(self, name: str) -> dict[str, Any]:
        """Ask a command to stop, as Ctrl-C does; return it as :meth:`describe` does.

        Raises
        ------
        UsageError
            If it has ended already.
        """
        found = self._find(name)
        state = _state(found)[0]
        if state in ENDED:
            raise UsageError(
                f"{found.id} does not go on: it is {state}", hint="`staproj background` lists all"
            )
        atomic.append_line(found.cancel, {"time": round(time.time(), 3), "by": user_name()})
        return self.describe(found.id)

    def wait(self, name: str, *, timeout_s: float) -> bool:
        """Wait until a command has ended; ``False`` if it has not by then."""
        found = self._find(name)
        deadline = time.monotonic() + timeout_s
        while _state(found)[0] not in ENDED:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _find(self, name: str) -> TaskDir:
        numbers = task_numbers(self.layout)
        known = TASK_ID.match(name)
        if known is None or int(known[1]) not in numbers:
            raise UsageError(
                f"no command {name!r} is in the background", hint="`staproj background` lists all"
            )
        return task(self.layout, int(known[1]))

    def _create(self, words: Sequence[str]) -> TaskDir:
        place = self.layout.background
        if place.is_symlink() or self.layout.private.is_symlink():
            raise StorageError("nothing is kept through a link", where=str(place), hint="remove the link")
        with atomic.storage_errors(place):
            place.mkdir(parents=True, exist_ok=True)
            number = max(task_numbers(self.layout), default=0) + 1
            while True:
                found = task(self.layout, number)
                try:
                    found.path.mkdir()
                    break
                except FileExistsError:
                    number += 1
        who = this_process()
        facts = {
            "format": FORMAT,
            "command": list(words),
            "created": round(time.time(), 3),
            "user": user_name(),
            "host": who["host"],
            "asked_by": who,
        }
        atomic.write_json(found.request, facts, sync_dir=False)
        return found

    def _forget_old(self) -> None:
        """Delete what is told of commands that ended long ago."""
        ended = [n for n in task_numbers(self.layout) if _state(task(self.layout, n))[0] in ENDED]
        for number in ended[:-KEPT]:
            shutil.rmtree(task(self.layout, number).path, ignore_errors=True)


def _check(words: Sequence[str]) -> None:
    if not words or words[0] not in COMMANDS:
        told = shlex.join(["staproj", *words])
        raise UsageError(
            f"`{told}` does not go on in the background", hint=f"these do: {', '.join(COMMANDS)}"
        )


def _launch(layout: Layout, found: TaskDir) -> None:
    from staproj.engine.jobs import launch

    environment = {**launch.environment(), "STAPROJ_PROGRESS": "lines", "PYTHONIOENCODING": "utf-8"}
    words = [sys.executable, "-P", "-m", "staproj", SERVE, str(layout.root), found.id]
    with atomic.storage_errors(found.log), found.out.open("ab") as out, found.log.open("ab") as log:
        first = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            cwd=layout.root,
            env=environment,
            start_new_session=True,
        )
        code = first.wait(_START_TIMEOUT_S)  # it forks at once: what goes on is nobody's child
    if code:
        raise StorageError(
            f"{found.id} could not be started (exit code {code})",
            where=str(found.log),
            hint="that file says why",
        )


def serve(root: str, name: str, call: Callable[[list[str]], Any]) -> int:
    """Leave the process that started this one, then do a command and write how it ended.

    ``call`` is given the words of the command, and returns an exit code or leaves with one.
    """
    found = TaskDir(Layout(Path(root)).background / name)
    if os.fork():
        os._exit(0)
    os.setsid()
    code = 1
    try:
        words = [str(word) for word in atomic.read_json(found.request).get("command") or ()]
        _check(words)
        atomic.write_json(found.process, this_process(), sync_dir=False)
        threading.Thread(target=_live, args=(found,), name="background", daemon=True).start()
        code = _called(call, words)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        _finish(found, code)
    return code


def _called(call: Callable[[list[str]], Any], words: list[str]) -> int:
    try:
        told = call(words)
    except SystemExit as left:
        told = left.code
    except KeyboardInterrupt:
        told = CancelledError.exit_code
    return told if isinstance(told, int) else int(told is not None)


def _finish(found: TaskDir, code: int) -> None:
    if not found.result.exists():
        stopped = code == CancelledError.exit_code
        state = "cancelled" if stopped else "failed" if code else "done"
        told = {"format": FORMAT, "state": state, "exit_code": code, "time": round(time.time(), 3)}
        atomic.write_json(found.result, told, sync_dir=False)


def _live(found: TaskDir) -> None:
    """Say that the command goes on, and stop it when asked: as Ctrl-C does, in the end by force."""
    touched = asked = 0.0
    while True:
        now = time.monotonic()
        with suppress(OSError, StaprojError):
            if not touched or now - touched >= _TOUCH_EVERY_S:
                touched = now
                atomic.touch(found.heartbeat)
            if not asked and found.cancel.exists():
                asked = now
                os.kill(os.getpid(), signal.SIGTERM)
            if asked and now - asked > _GRACE_S:
                _finish(found, CancelledError.exit_code)
                os._exit(CancelledError.exit_code)
        time.sleep(_LOOK_EVERY_S)


def _state(found: TaskDir) -> tuple[str, dict[str, Any]]:
    """Return what became of a command, by proof, and its last word."""
    ended = _ended(found)
    if ended:
        return str(ended["state"]), ended
    if not found.request.exists() and is_recent(found.path):
        return "starting", {}  # its directory is there, and what was asked for will be in a moment
    begun = found.process.exists()
    try:
        who = atomic.read_json(found.process if begun else found.request)
    except StaprojError:
        return "interrupted", {}
    who = who if begun else _table(who.get("asked_by"))
    alive = is_alive(who) if who.get("host") else False
    if alive is None:
        return ("running" if is_recent(found.heartbeat) else "unreachable"), {}
    if not alive:  # it may have said its last word since
        ended = _ended(found)
        return str(ended.get("state", "interrupted")), ended
    return "running" if begun else "starting", {}


def _ended(found: TaskDir) -> dict[str, Any]:
    """Return the last word of a command; empty as long as there is none."""
    with suppress(StaprojError):
        if found.result.exists():
            told = atomic.read_json(found.result)
            return told if told.get("state") in ENDED else {}
    return {}


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    """Return a time of a file that anybody may have written; ``None`` if it is none."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11
    return float(value) if good else None


def _tail(path: Path) -> list[str]:
    """Return the lines at the end of a file that a command writes."""
    try:
        raw, skipped = reading.read_end(path, _TAIL_BYTES)
    except (OSError, StaprojError):
        return []
    lines = raw.decode("utf-8", "replace").splitlines()
    return lines[1:] if skipped else lines


def _log(found: TaskDir) -> tuple[dict[str, Any] | None, list[str]]:
    """Return how far a command is, and its lines about what went wrong."""
    bars: dict[str, Any] = {}
    problems = []
    for line in _tail(found.log):
        told = _bars(line)
        if told is None:
            problems.append(line)
        else:
            bars = told
    return _progress(bars), problems


def _bars(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"progress"'):
        return None
    try:
        told = json.loads(line)["progress"]
    except (ValueError, KeyError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _progress(bars: dict[str, Any]) -> dict[str, Any] | None:
    """Return the first bar, which is of the whole, with what the last one is about."""
    good = {
        label: told
        for label, told in bars.items()
        if isinstance(told, list) and len(told) == 3 and all(isinstance(n, int | float) for n in told[:2])
    }
    if not good:
        return None
    label, (done, total, message) = next(iter(good.items()))
    last = list(good)[-1]
    if last != label:
        message = f"{last} {good[last][2]}".strip()
    share = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
    return {"label": label, "done": done, "total": total, "share": share, "message": str(message)}
