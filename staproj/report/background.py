"""Commands in the background as lines of text, from the plain values that ``staproj.api`` gives."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.tables import size, table

MARK = {
    "starting": "▶",
    "running": "▶",
    "done": "✓",
    "failed": "✗",
    "cancelled": "‖",
    "interrupted": "‖",
    "unreachable": "?",
}


def task_rows(tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line a command: state, how far, since when, and the command itself."""
    if not tasks:
        return ["nothing goes on in the background"]
    rows = [
        [
            MARK.get(task["state"], " "),
            task["task"],
            state_words(task),
            how_far(task["progress"]) if task["ended"] is None else "",
            clock(task["ended"] or task["created"]),
            shlex.join(["staproj", *task["command"]]),
        ]
        for task in tasks
    ]
    return table(["", "name", "state", "done", "since", "command"], rows)


def task_lines(task: Mapping[str, Any]) -> list[str]:
    """Return the command, what became of it, and all it said."""
    lines = [f"$ {shlex.join(['staproj', *task['command']])}"]
    who = f" by {task['user']} on {task['host']}" if task["user"] else ""
    lines.append(f"{task['task']}, begun {clock(task['created'])}{who}: {state_words(task)}")
    if task["ended"] is not None:
        lines[-1] += f" at {clock(task['ended'])}"
    elif task["progress"]:
        lines.append(progress_words(task["progress"]))
    lines += [""] * bool(task["problems"] or task["said"])
    return [*lines, *task["problems"], *task["said"]]


def state_words(task: Mapping[str, Any]) -> str:
    """Return what became of a command; one that found something wrong is told apart from one that broke.

    >>> state_words({"state": "failed", "exit_code": 4}), state_words({"state": "done", "exit_code": 0})
    ('failed (exit code 4)', 'done')
    """
    return f"failed (exit code {task['exit_code']})" if task["state"] == "failed" else str(task["state"])


def how_far(progress: Mapping[str, Any] | None) -> str:
    """Return how much is done, in a word.

    >>> how_far({"share": 0.4512}), how_far(None)
    ('45 %', '')
    """
    return "" if not progress else f"{progress['share']:.0%}".replace("%", " %")


def progress_words(progress: Mapping[str, Any]) -> str:
    """Return how far it is in a line: share, amount (bytes, or a count of outputs), and what is at work."""
    done, total = progress["done"], progress["total"]
    amount = f"{size(done)} of {size(total)}" if total >= 10_000 else f"{done:g} of {total:g}"
    parts = [how_far(progress), amount, progress["message"]]
    return ", ".join(part for part in parts if part)


def clock(seconds: float | None) -> str:
    """Return a time of day, with the day where it was another one."""
    if seconds is None:
        return "-"
    then = time.localtime(seconds)
    today = time.strftime("%Y-%m-%d", then) == time.strftime("%Y-%m-%d")
    return time.strftime("%H:%M" if today else "%m-%d %H:%M", then)
