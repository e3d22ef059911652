"""Rows of the screen of jobs, from the plain values of the API: no widgets, no files."""

from __future__ import annotations

import datetime
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from rich.cells import cell_len

from staproj.report.background import clock
from staproj.report.jobs import how_far, time_left
from staproj.report.machine import bar, limit_words
from staproj.report.tables import duration, size
from staproj.tui import look as looks
from staproj.tui.gather import age, short_size
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Cell, Column, Row

JOB, TASK, OTHER = "job:", "task:", "other:"
ACTIVE = ("starting", "running", "queued", "unreachable")
ENDED_SHOWN = 50
MOST_LOAD_LINES = 4
NARROW = (
    Column(" ", 1),
    Column("job", most=6),
    Column("state", most=11),
    Column("run", most=7),
    Column("step", most=14),
    Column("done", most=13),
    Column("left", most=6, right=True),
    Column("age", 4, right=True),
    Column("what", flex=True),
)
WIDE = (
    Column(" ", 1),
    Column("job", most=6),
    Column("state", most=11),
    Column("run", most=8),
    Column("step", most=24),
    Column("done", most=34),
    Column("left", most=18, right=True),
    Column("age", 4, right=True),
    Column("host", most=18),
    Column("what", flex=True),
)


# ---------------------------------------------------------------------------------------------------- load
def load_lines(
    load: Mapping[str, Any],
    limits: Mapping[str, Any],
    queue: Sequence[Mapping[str, Any]],
    look: Look,
    width: int,
) -> list[str]:
    """Return how busy the machine is: processors, memory, disk and GPUs, two or more side by side."""
    columns = max(1, min((width + 2) // 40, 4))
    room = width // columns
    cells = load_cells(load, queue, look)
    cells.append(f"for runs: {_limits(limits)}")
    most = columns * MOST_LOAD_LINES
    if len(cells) > most:
        cells = [*cells[: most - 1], f"and {len(cells) - most + 1} more: staproj machine"]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    return ["".join(_padded(cell, room) for cell in row).rstrip() for row in rows]


def load_cells(load: Mapping[str, Any], queue: Sequence[Mapping[str, Any]], look: Look) -> list[str]:
    """Return one text for processors, memory, disk and each GPU."""
    one, cpus = load["load_1_min"], load["cpu_count"]
    average = "" if one is None else f", load {one:.1f} of {cpus}"
    used, total = load["memory_used_bytes"], load["memory_total_bytes"]
    free, disk = load["disk_free_bytes"], load["disk_total_bytes"]
    cells = [
        _cell("CPU", _share(load["cpu_percent"], 100.0), average, look),
        _cell("memory", _share(used, total), f", {_of(used, total)}", look),
        _cell("disk", _share(None if free is None else disk - free, disk), f", {_size(free)} free", look),
    ]
    for gpu in load["gpus"]:
        used, total = gpu["memory_used_bytes"], gpu["memory_total_bytes"]
        held = [row for row in queue if row["held"] and gpu["uuid"] in row["gpu_uuids"]]
        by = "".join(f" {row['job'] or row['pid']}" for row in held)
        name = f"GPU {gpu['index']}"
        cells.append(_cell(name, _share(gpu["busy_percent"], 100.0), f", {_of(used, total)}{by}", look))
    return cells


def _cell(name: str, share: float | None, words: str, look: Look) -> str:
    percent = "?" if share is None else f"{100.0 * share:.0f}"
    return f"{name:<6} {bar(share, 8, plain=not look.unicode)} {percent:>3} %{words}"


def _share(used: float | None, total: float | None) -> float | None:
    return None if used is None or not total else used / total


def _of(used: float | None, total: float | None) -> str:
    return "?" if used is None or total is None else f"{short_size(used)} of {short_size(total)}"


def _size(n_bytes: float | None) -> str:
    return "?" if n_bytes is None else size(n_bytes)


def _limits(limits: Mapping[str, Any]) -> str:
    return limit_words(limits).replace(" of memory", "")


def _padded(text: str, room: int) -> str:
    return text + " " * max(room - cell_len(text), 1)


# ---------------------------------------------------------------------------------------------------- jobs
def job_rows(
    jobs: Sequence[Mapping[str, Any]],
    queue: Sequence[Mapping[str, Any]],
    tasks: Sequence[Mapping[str, Any]],
    root: str,
    look: Look,
    *,
    wide: bool,
    now: datetime.datetime | None = None,
) -> list[Row]:
    """Return the jobs at work, those that wait in their order, what goes on beside them, and what ended.

    ``queue`` is of this machine, other projects included: these stand between the work and what has ended.
    """
    own = {row["job"]: row for row in queue if row["job"] and is_same(row["project"], root)}
    active = [job for job in jobs if job["state"] in ACTIVE]
    active.sort(key=lambda job: _order(job, own.get(job["job"])))
    ended = [job for job in jobs if job["state"] not in ACTIVE][:ENDED_SHOWN]
    others = [row for row in queue if not is_same(row["project"], root)]
    going = [task for task in tasks if task["state"] in ACTIVE]
    return [
        *(_job_row(job, own.get(job["job"]), look, wide, now) for job in active),
        *(_task_row(task, look, wide, now) for task in going),
        *(_other_row(row, look, wide, now) for row in others),
        *(_job_row(job, None, look, wide, now) for job in ended),
    ]


def is_same(project: str | None, root: str) -> bool:
    """Tell whether a project of the queue is the one at ``root``."""
    return project is not None and os.path.abspath(project) == os.path.abspath(root)


def _order(job: Mapping[str, Any], ticket: Mapping[str, Any] | None) -> tuple[int, int, str]:
    place = (ticket or {}).get("place")
    return (job["state"] == "queued", place if place is not None else 1 << 30, job["job"])


def _job_row(
    job: Mapping[str, Any],
    ticket: Mapping[str, Any] | None,
    look: Look,
    wide: bool,
    now: datetime.datetime | None,
) -> Row:
    sign, style = look.state(job["state"])
    place = (ticket or {}).get("place")
    state = f"queued {place}" if place and job["state"] == "queued" else job["state"]
    since = job["ended"] or job["created"]
    words = job["message"] or (shlex.join(["staproj", *job["command"]]) if job["command"] else "")
    progress = job["progress"] if job["state"] in ACTIVE else None
    cells: tuple[Cell, ...] = (
        (sign, style),
        job["job"],
        (state, style),
        job["run"] or "-",
        job["step"] or "-",
        done_words(progress, look, wide=wide),
        time_left(progress) if wide else short_left(progress),
        _age(since, now),
        *((str(job["host"] or "-"),) if wide else ()),
        words,
    )
    return Row(JOB + job["job"], cells, {**job, "ticket": dict(ticket) if ticket else None})


def _task_row(task: Mapping[str, Any], look: Look, wide: bool, now: datetime.datetime | None) -> Row:
    sign, style = look.state(task["state"])
    told = task["progress"]
    done = "" if told is None else f"{look.bar(told['share'], 16 if wide else 4)} {100 * told['share']:.0f} %"
    cells: tuple[Cell, ...] = (
        (sign, style),
        task["task"],
        (task["state"], style),
        "-",
        task["command"][0] if task["command"] else "-",
        done,
        "",
        _age(task["created"], now),
        *((str(task["host"] or "-"),) if wide else ()),
        shlex.join(["staproj", *task["command"]]),
    )
    return Row(TASK + task["task"], cells, dict(task))


def _other_row(ticket: Mapping[str, Any], look: Look, wide: bool, now: datetime.datetime | None) -> Row:
    state = "running" if ticket["held"] else "queued"
    sign, style = look.state(state)
    name = PurePath(ticket["project"]).name if ticket["project"] else f"process {ticket['pid']}"
    cells: tuple[Cell, ...] = (
        (sign, style),
        (ticket["job"] or "-", looks.DIM),
        (state if ticket["held"] else f"queued {ticket['place']}", style),
        ticket["run"] or "-",
        ticket["step"] or "-",
        "",
        "",
        _age(ticket["since"], now),
        *((str(ticket["host"] or "-"),) if wide else ()),
        (f"in {name}", looks.DIM),
    )
    return Row(OTHER + ticket["id"], cells, dict(ticket))


def done_words(progress: Mapping[str, Any] | None, look: Look, *, wide: bool) -> str:
    """Return how far a job is: which of its steps, and a bar of that one."""
    if not progress or not progress["steps_total"]:
        return ""
    share = progress["share"]
    if wide:
        return (f"{look.bar(share, 14)} " if share is not None else "") + how_far(progress)
    at = min(progress["steps_done"] + 1, progress["steps_total"])
    return f"{at}/{progress['steps_total']}" + ("" if share is None else f" {look.bar(share, 4)} {share:.0%}")


def short_left(progress: Mapping[str, Any] | None) -> str:
    """Return the time left in at most six characters.

    >>> short_left({"left_s": 75.4, "unknown": []}), short_left({"left_s": 7300.0, "unknown": ["fsc"]})
    ('1m', '2h+?')
    """
    if not progress:
        return ""
    left = progress["left_s"]
    if left is None:
        return "?"
    units = ((1, "s", 60), (60, "m", 3600), (3600, "h", 72 * 3600), (86400, "d", float("inf")))
    unit, word, _ = next(entry for entry in units if left < entry[2])
    return f"{left / unit:.0f}{word}" + ("+?" if progress["unknown"] else "")


def _age(seconds: float | None, now: datetime.datetime | None) -> str:
    if seconds is None:
        return ""
    return age(datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(), now)


# ------------------------------------------------------------------------------------------------- details
def details(row: Row | None) -> list[Any]:
    """Return what one wants to know of the line under the cursor."""
    if row is None:
        return []
    if row.key.startswith(JOB):
        return _job_details(row.data)
    if row.key.startswith(TASK):
        command = shlex.join(["staproj", *row.data["command"]])
        message = (row.data["progress"] or {}).get("message", "")
        return [(f"{row.data['task']}: {row.data['state']}", looks.BOLD), f"$ {command}", message]
    return _other_details(row.data)


def _job_details(job: Mapping[str, Any]) -> list[Any]:
    at = f" at {job['run']} ({job['step']})" if job["run"] else ""
    lines: list[Any] = [(f"{job['job']} is {job['state']}{at}", looks.BOLD)]
    if job["command"]:
        lines.append(f"$ {shlex.join(['staproj', *job['command']])}")
    ended = f", ended {clock(job['ended'])}" if job["ended"] else ""
    priority = f", priority {job['priority']}" if job["priority"] else ""
    lines.append(
        f"asked for {clock(job['created'])} by {job['user'] or '?'} on {job['host'] or '?'}{ended}{priority}"
    )
    progress = job["progress"] if job["state"] in ACTIVE else None
    if progress:
        left = time_left(progress)
        parts = [how_far(progress), f"{left} left" if left else "", progress["item"], progress["message"]]
        parts.append(f"for {duration(progress['elapsed_s'])}" if progress["elapsed_s"] else "")
        lines.append(", ".join(part for part in parts if part))
    if job["message"]:
        lines.append((job["message"], looks.STATE_STYLE.get(job["state"], looks.PLAIN)))
    if job["state"] in ("interrupted", "cancelled"):
        lines.append("u goes on with it")
    return lines


def _other_details(ticket: Mapping[str, Any]) -> list[Any]:
    what = f"{ticket['job'] or 'process ' + str(ticket['pid'])} in {ticket['project'] or '?'}"
    state = "at work" if ticket["held"] else f"waits, number {ticket['place']}"
    gpus = f", {ticket['gpus']} GPU" if ticket["gpus"] else ""
    memory = f", {size(ticket['memory_bytes'])} of memory" if ticket["memory_bytes"] else ""
    return [
        (f"{what}: {state}", looks.BOLD),
        f"{ticket['cpus']} CPU slots{memory}{gpus}, priority {ticket['priority']}, process {ticket['pid']}",
        "work of another project of yours on this machine: open that project to change it",
    ]
