"""How work is done: device, threads, order in the queue. Rows and changes; no widgets, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from staproj.api.starting import DEVICES, How
from staproj.tui import look as looks
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Column, Row

HOW_COLUMNS = (Column(" ", 1), Column("how", 20), Column("value", most=24), Column("", flex=True))
MAX_PRIORITY = 1_000_000
_ON_OFF = ("keep_going", "force")
_NUMBERS = ("threads", "jobs", "priority")

LABELS = {
    "where": "executor",
    "when": "begins",
    "device": "device",
    "threads": "threads",
    "jobs": "at the same time",
    "priority": "priority",
    "note": "note",
    "keep_going": "keep going",
    "force": "force",
    "until": "variants up to",
}
HELP = {
    "where": "A job on this machine: a process of its own that goes on when you leave. No other exists yet.",
    "when": "A run that finds no room on this machine waits for its turn by itself; J shows who is in front.",
    "device": "auto takes a GPU where a stage can use one that is there; gpu insists on one, cpu wants none.",
    "threads": "CPU threads; all are taken without a number. Fewer leave room for other runs beside it.",
    "jobs": "Tilt series worked on at the same time; they share the threads, each needs its own memory.",
    "priority": "In the queue of this machine: higher goes first; 0 is usual, below 0 lets others pass.",
    "note": "Why, in your words; it is kept with the run and shown in every list.",
    "keep_going": "After a step has failed, go on with those that do not need it.",
    "force": "Begin although the disk or the memory may not hold it; that is noted with the run.",
    "until": "Variants are copies of the step and of all that depends on it, up to this step.",
}


def names(*, run: bool) -> tuple[str, ...]:
    """Return what can be chosen; ``run``: for several steps, where one may fail and the others go on."""
    return tuple(name for name in LABELS if name != "until" and (run or name != "keep_going"))


def text_of(how: How, name: str) -> str:
    """Return a choice as one types it."""
    value = getattr(how, name)
    if name in _ON_OFF:
        return "yes" if value else "no"
    return "" if value is None else str(value)


def options(name: str) -> tuple[str, ...]:
    """Return what one chooses from; nothing where it is typed."""
    return DEVICES if name == "device" else ("no", "yes") if name in _ON_OFF else ()


def problem(name: str, text: str) -> str:
    """Return "" or what is wrong with a text.

    >>> problem("threads", "0"), problem("threads", ""), problem("priority", "-2")
    ('must be 1 or more', '', '')
    """
    text = text.strip()
    if options(name):
        return "" if text in options(name) else f"one of {', '.join(options(name))}"
    if name not in _NUMBERS or (name == "threads" and not text):
        return ""
    try:
        value = int(text)
    except ValueError:
        return "must be a whole number" + (", or nothing: all" if name == "threads" else "")
    if name == "priority":
        return "" if abs(value) <= MAX_PRIORITY else f"must be between -{MAX_PRIORITY} and {MAX_PRIORITY}"
    return "" if value >= 1 else "must be 1 or more"


def changed(how: How, name: str, text: str) -> How:
    """Return how work is done after a text was typed that fits."""
    text = text.strip()
    value: Any = text
    if name in _ON_OFF:
        value = text == "yes"
    elif name in _NUMBERS:
        value = int(text) if text else None
    return replace(how, **{name: value})


def turned(how: How, name: str, by: int) -> How:
    """Return how work is done with the next (or previous) choice; numbers go up and down."""
    if name in _NUMBERS:
        now = getattr(how, name)
        text = str((0 if now is None else now) + by)
        if name == "threads" and int(text) < 1:
            text = ""
        return changed(how, name, text) if not problem(name, text) else how
    if not options(name):
        return how
    place = options(name).index(text_of(how, name)) + by
    return changed(how, name, options(name)[place % len(options(name))])


def rows(how: How, room: Mapping[str, Any] | None, look: Look, *, run: bool) -> list[Row]:
    """Return a row a choice; ``room`` is what :meth:`Starting.room` says (``None``: not looked yet)."""
    found = []
    for name in names(run=run):
        if name == "where":
            value, words = "this machine", f"{room['host']}, in a job" if room else "in a job"
        elif name == "when":
            value, words = when_words(room) if room else ("...", "")
        else:
            value, words = text_of(how, name), _beside(name, how, room)
        usual = name in ("where", "when") or getattr(how, name) == getattr(How(), name)
        sign = " " if usual else (look.sign("differs"), looks.WARN)
        style = looks.PLAIN if usual else looks.WARN
        found.append(Row(name, (sign, LABELS[name], (value or "-", style), (words, looks.DIM))))
    return found


def until_row(until: str | None, look: Look) -> Row:
    """Return the row that says up to which step variants go."""
    sign = (look.sign("differs"), looks.WARN) if until else " "
    value = (until or "the end", looks.WARN if until else looks.PLAIN)
    return Row("until", (sign, LABELS["until"], value, ("of all that depends on it", looks.DIM)))


def _beside(name: str, how: How, room: Mapping[str, Any] | None) -> str:
    if name == "threads":
        slots = f" of {room['cpu_slots']} CPU slots" if room else ""
        return f"all{slots}" if how.threads is None else slots.strip()
    if name == "device" and room is not None:
        return f"{room['gpus_free']} of {room['gpus']} GPUs free" if room["gpus"] else "no GPU here"
    return {
        "jobs": "tilt series",
        "priority": "higher goes first",
        "note": "kept with the run",
        "keep_going": "past a step that fails",
        "force": "although the disk may not hold it",
    }.get(name, "")


def when_words(room: Mapping[str, Any]) -> tuple[str, str]:
    """Return whether work begins at once, and what it waits for otherwise."""
    slots = f"{room['cpus_free']} of {room['cpu_slots']} CPU slots free"
    if room["now"]:
        return "at once", slots
    holders = [f"{one['run']} {one['step']}".strip() or "a process" for one in room["holders"]]
    held = f", held by {', '.join(holders[:2])}" if holders else ""
    more = f" and {len(holders) - 2} more" if len(holders) > 2 else ""
    before = f"; {room['waiting']} wait in front" if room["waiting"] else ""
    return "waits for its turn", f"needs {room['cpus_needed']}, {slots}{held}{more}{before}"


def started_words(job: Mapping[str, Any], room: Mapping[str, Any] | None) -> str:
    """Return what became of a start, in one line."""
    words = f"{job['job']} has begun, it goes on when you leave"
    if room is not None and not room["now"]:
        words = f"{job['job']} is queued: {', '.join(when_words(room)[::-1])}"
    return "; ".join([words, *job.get("notes", ())])
