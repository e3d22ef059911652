"""The load and the queue of a machine as lines of text, from the plain values that ``staproj.api`` gives."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from staproj.report.tables import number, size, table

FULL, EMPTY = "█", "░"
PLAIN_FULL, PLAIN_EMPTY = "#", "-"
WIDTH = 20
_NAME = 7


def bar(share: float | None, width: int, *, plain: bool = False) -> str:
    """Return how full something is (0 to 1) as a bar of ``width`` characters; ``plain``: in ASCII.

    A bar is full only where all is used, and empty only where next to nothing is.

    >>> bar(0.5, 8), bar(0.999, 4), bar(0.5, 8, plain=True)
    ('████░░░░', '███░', '####----')
    """
    full, empty = (PLAIN_FULL, PLAIN_EMPTY) if plain else (FULL, EMPTY)
    part = 0.0 if share is None or math.isnan(share) else min(max(share, 0.0), 1.0)
    cells = round(part * width)
    if cells == width and part < 1.0:
        cells = width - 1
    elif cells == 0 and part > 0.01 and width > 1:
        cells = 1
    return full * cells + empty * (width - cells)


def machine_lines(told: Mapping[str, Any], *, plain: bool = False) -> list[str]:
    """Return what a machine has, how busy it is, and its queue."""
    limits, load = told["limits"], told["load"]
    lines = [
        f"{load['host']}: {_count(load['cpu_count'], 'CPU')}, {_size(load['memory_total_bytes'])} of memory",
        *load_lines(load, told["queue"], plain=plain),
        f"runs may use {limit_words(limits)} (limits of {limits['where']})",
    ]
    if told.get("note"):
        lines.append(str(told["note"]))
    return [*lines, "", *queue_rows(told["queue"])]


def limit_words(limits: Mapping[str, Any]) -> str:
    """Return what runs may use, in a few words.

    >>> limit_words({"cpu_slots": 4, "memory_bytes": 8_000_000_000, "gpus": ["GPU-a"]})
    '4 CPU slots, 8.0 GB of memory, 1 GPU'
    """
    parts = [_count(limits["cpu_slots"], "CPU slot"), f"{size(limits['memory_bytes'])} of memory"]
    return ", ".join([*parts, _count(len(limits["gpus"]), "GPU") if limits["gpus"] else "no GPU"])


def load_lines(
    load: Mapping[str, Any],
    queue: Sequence[Mapping[str, Any]] = (),
    *,
    width: int = WIDTH,
    plain: bool = False,
) -> list[str]:
    """Return one line each for processors, memory, swap, disk and every GPU, each with a bar."""
    average = [load[f"load_{minutes}_min"] for minutes in (1, 5, 15)]
    words = "" if None in average else f"load {' '.join(f'{value:.2f}' for value in average)} (1, 5, 15 min)"
    lines = [_line("CPU", _share(load["cpu_percent"], 100.0), words, width, plain)]
    for name in ("memory", "swap"):
        used, total = load[f"{name}_used_bytes"], load[f"{name}_total_bytes"]
        if total or name == "memory":
            lines.append(_line(name, _share(used, total), f"{_size(used)} of {_size(total)}", width, plain))
    free, total = load["disk_free_bytes"], load["disk_total_bytes"]
    used = None if free is None or total is None else total - free
    words = f"{_size(free)} of {_size(total)} free at {load['disk_path']}"
    lines.append(_line("disk", _share(used, total), words, width, plain))
    for gpu in load["gpus"]:
        holders = [_who(row) for row in queue if row["held"] and gpu["uuid"] in row["gpu_uuids"]]
        used, total = gpu["memory_used_bytes"], gpu["memory_total_bytes"]
        words = f"{_size(used)} of {_size(total)}, {gpu['name']}"
        words += f", held by {', '.join(holders)}" if holders else ""
        lines.append(_line(f"GPU {gpu['index']}", _share(gpu["busy_percent"], 100.0), words, width, plain))
    return lines


def queue_rows(queue: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line for all that holds or waits for slots: those who hold first, then in order."""
    rows = [
        [
            "holds" if row["held"] else f"waits ({row['place']})",
            row["job"] or "-",
            row["run"] or "-",
            row["step"] or "-",
            PurePath(row["project"]).name if row["project"] else "-",
            row["cpus"],
            size(row["memory_bytes"]) if row["memory_bytes"] else "-",
            row["gpus"],
            row["priority"],
            _when(row["since"]),
            row["pid"],
        ]
        for row in queue
    ]
    if not rows:
        return ["nothing holds or waits for slots of this machine"]
    head = ["", "job", "run", "step", "project", "CPUs", "memory", "GPUs", "priority", "since", "process"]
    return table(head, rows)


def moved_lines(moved: Mapping[str, Any]) -> list[str]:
    """Return where a job stands after it was moved.

    >>> moved_lines({"job": "j0003", "priority": 0, "place": 1, "waiting": 3, "waits": True, "changed": True})
    ['j0003 is now number 1 of 3 that wait, with priority 0']
    """
    now = "is now" if moved["changed"] else "stays"
    if moved["waits"]:
        where = f"{now} number {moved['place']} of {moved['waiting']} that wait"
        return [f"{moved['job']} {where}, with priority {moved['priority']}"]
    words = f"with priority {moved['priority']}, before all but {moved['place'] - 1} of those that wait"
    return [f"{moved['job']} does not wait now; its next run will stand {words}"]


def _line(name: str, share: float | None, words: str, width: int, plain: bool) -> str:
    percent = "?" if share is None else f"{100.0 * share:.0f}"
    return f"{name:<{_NAME}} {bar(share, width, plain=plain)} {percent:>3} %  {words}".rstrip()


def _share(used: float | None, total: float | None) -> float | None:
    return None if used is None or not total else used / total


def _size(n_bytes: float | None) -> str:
    return "?" if n_bytes is None else size(n_bytes)


def _count(count: int, word: str) -> str:
    return f"{number(count)} {word}{'' if count == 1 else 's'}"


def _who(row: Mapping[str, Any]) -> str:
    project = PurePath(row["project"]).name if row["project"] else "?"
    return f"{row['job'] or 'process ' + str(row['pid'])} in {project}"


def _when(seconds: float) -> str:
    """Return a time of day, with the day where it was another one."""
    then = time.localtime(seconds)
    today = time.strftime("%Y-%m-%d", then) == time.strftime("%Y-%m-%d")
    return time.strftime("%H:%M" if today else "%m-%d %H:%M", then)
