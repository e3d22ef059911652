"""Rows of the screen of space and clean-up, from the plain values of the API: no widgets, no files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from staproj.report.machine import bar
from staproj.report.tables import duration, size
from staproj.tui import look as looks
from staproj.tui.gather import age, short_size
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Cell, Column, Row

BY = ("step", "run", "class")
KINDS = ("final", "intermediate", "scratch", "records")
GROUP, RUN, REST = "group:", "run:", "rest:"
GOES, STAYS = "goes:", "stays:"
MOST_NAMED = 12

SPACE = (
    Column("", most=28, sort=lambda data: data.get("name")),
    Column("size", most=9, right=True, sort=lambda data: data.get("bytes")),
    Column("share", 13, sort=lambda data: data.get("bytes")),
    Column("final", 5, right=True, sort=lambda data: data.get("final")),
    Column("interm", 6, right=True, sort=lambda data: data.get("intermediate")),
    Column("scratch", 7, right=True, sort=lambda data: data.get("scratch")),
    Column("records", 7, right=True, sort=lambda data: data.get("records")),
    Column("", flex=True),
)
PLAN = (
    Column(" ", 1),
    Column("run", most=7, sort=lambda data: data.get("run")),
    Column("step", most=18, sort=lambda data: data.get("step")),
    Column("what", most=12, sort=lambda data: data.get("what")),
    Column("files", most=6, right=True, sort=lambda data: data.get("files")),
    Column("frees", most=8, right=True, sort=lambda data: data.get("bytes")),
    Column("to make again", most=13, right=True, sort=lambda data: data.get("wall_with_inputs_s")),
    Column("", flex=True),
)
TRASH = (
    Column("name", most=26, sort=lambda data: data.get("trash")),
    Column("age", 4, right=True, sort=lambda data: data.get("trash")),
    Column("who", most=10, sort=lambda data: data.get("who")),
    Column("files", most=6, right=True, sort=lambda data: data.get("files")),
    Column("frees", most=8, right=True, sort=lambda data: data.get("bytes")),
    Column("runs, and why", flex=True),
)


def count(number: int, word: str) -> str:
    """Return a number of things.

    >>> count(1, "run"), count(2, "run")
    ('1 run', '2 runs')
    """
    return f"{number} {word}{'' if number == 1 else 's'}"


# --------------------------------------------------------------------------------------------------- space
def space_rows(usage: Mapping[str, Any], by: str, opened: Iterable[str], look: Look) -> list[Row]:
    """Return where the space goes, largest first: steps or classes with what they hold beneath them, or runs.

    ``usage`` is what :meth:`Storage.usage` tells by run. ``opened`` are keys of lines that are unfolded.
    """
    shown = set(opened)
    whole = max(int(usage["total"]), 1)
    rows: list[Row] = []
    if by == "run":
        rows = [_run_line(run, whole, look, deep=False) for run in _largest(usage["rows"])]
    for group in _groups(usage["rows"], by) if by != "run" else ():
        key = GROUP + group["name"]
        is_open = key in shown
        fold = look.sign("open" if is_open else "closed") if group["below"] else " "
        rows.append(_line(key, f"{fold} {group['name']}", group, whole, look))
        for below in group["below"] if is_open else ():
            if by == "step":
                rows.append(_run_line(below, whole, look, deep=True))
            else:
                rows.append(_line(f"{key}:{below['name']}", f"    {below['name']}", below, whole, look))
    for name, words in (
        ("trash", "trash (ctrl+d there frees it)"),
        ("exports", "exports"),
        ("private", "indexes, jobs, caches"),
        ("other", "raw data and the rest"),
    ):
        if usage[name]:
            rows.append(_line(REST + name, f"  {words}", {"name": name, "bytes": usage[name]}, whole, look))
    return rows


def _groups(runs: Sequence[Mapping[str, Any]], by: str) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        if by == "step":
            group = found.setdefault(run["step"], _empty(run["step"]))
            _add(group, run)
            group["below"].append(run)
            continue
        for kind in KINDS:
            if run[kind]:
                group = found.setdefault(kind, _empty(kind))
                group["bytes"] += run[kind]
                step = next((b for b in group["below"] if b["name"] == run["step"]), None)
                if step is None:
                    step = {"name": run["step"], "bytes": 0, "files": 0, "cleared": 0}
                    group["below"].append(step)
                step["bytes"] += run[kind]
    for group in found.values():
        group["below"] = _largest(group["below"])
    return _largest(found.values())


def _empty(name: str) -> dict[str, Any]:
    return {"name": name, "bytes": 0, "files": 0, "cleared": 0, "below": []}


def _add(group: dict[str, Any], run: Mapping[str, Any]) -> None:
    for name in ("bytes", "files", "cleared", *KINDS):
        group[name] = group.get(name, 0) + run[name]


def _largest(rows: Iterable[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: -int(row["bytes"]))


def _run_line(run: Mapping[str, Any], whole: int, look: Look, *, deep: bool) -> Row:
    name = f"    {run['name']}" if deep else f"  {run['name']} {run['step']}"
    return _line(RUN + run["name"], name, {**run, "run": run["name"]}, whole, look)


def _line(key: str, name: str, data: Mapping[str, Any], whole: int, look: Look) -> Row:
    share = data["bytes"] / whole
    words = f"{bar(share, 8, plain=not look.unicode)} {100 * share:2.0f} %"
    parts = [count(data["runs"], "run")] if data.get("runs") else []
    parts += [count(len(data["below"]), "run")] if data.get("below") and "final" in data else []
    parts += [f"{size(data['cleared'])} cleared"] if data.get("cleared") else []
    kinds = tuple(short_size(data[kind]) if data.get(kind) else "" for kind in KINDS)
    return Row(key, (name, size(data["bytes"]), words, *kinds, (", ".join(parts), looks.DIM)), dict(data))


def space_words(usage: Mapping[str, Any]) -> str:
    """Return the sum, and how it was come by."""
    how = "" if usage["exact"] else ", from the records; looking at the files ..."
    return f"all of it {size(usage['total'])}{how}"


# ---------------------------------------------------------------------------------------------------- plan
@dataclass(frozen=True)
class Level:
    """What clean-up may take: classes of outputs, and more where asked for."""

    intermediate: bool = True
    scratch: bool = True
    superseded: bool = False
    attempts: bool = False
    tagged: bool = False

    @property
    def classes(self) -> list[str]:
        """Classes of outputs that may go."""
        return [name for name in ("intermediate", "scratch") if getattr(self, name)]

    def turned(self, name: str) -> Level:
        """Return the level with one thing on that was off, or off that was on."""
        return replace(self, **{name: not getattr(self, name)})

    def asked(self) -> dict[str, Any]:
        """Return the arguments of :meth:`Storage.plan` but for the runs."""
        more = {name: getattr(self, name) for name in ("superseded", "attempts", "tagged")}
        return {"classes": self.classes, **more}

    def words(self, runs: Sequence[str] | None = None) -> list[str]:
        """Return the words of ``staproj gc`` for the same."""
        found = ["gc"]
        if self.classes != ["intermediate", "scratch"]:
            found += ["--class", ",".join(self.classes)]
        found += ["--runs", ",".join(runs)] if runs else []
        return found + [f"--{name}" for name in ("superseded", "attempts", "tagged") if getattr(self, name)]


LEVEL_KEYS = {"intermediate": "i", "scratch": "c", "superseded": "o", "attempts": "a", "tagged": "t"}
LEVEL_WORDS = {
    "intermediate": "interm.",
    "scratch": "scratch",
    "superseded": "old runs",
    "attempts": "failed",
    "tagged": "tagged",
}
LEVEL_HELP = {
    "intermediate": "intermediate outputs may go, or not",
    "scratch": "scratch outputs may go, or not",
    "superseded": "all outputs of runs that nothing needs may go, or not",
    "attempts": "what failed runs left may go, or not",
    "tagged": "intermediate outputs of tagged versions may go, or not",
}


def level_line(level: Level, look: Look) -> str:
    """Return what clean-up may take, with the keys that turn it on and off."""
    parts = [
        f"{LEVEL_KEYS[name]} {look.sign('on' if getattr(level, name) else 'off')} {words}"
        for name, words in LEVEL_WORDS.items()
    ]
    return " ".join(parts)


def plan_rows(plan: Mapping[str, Any], look: Look) -> list[Row]:
    """Return a line for all that can go, largest first, then what cannot or shall not, with the reason."""
    rows = [_goes(entry) for entry in _largest(plan["runs"])]
    for sign, word, entries in (("error", "cannot go", plan["blocked"]), ("head", "kept", plan["kept"])):
        for (run, reason), n_bytes in _by_reason(entries).items():
            step = next((entry.get("step") for entry in entries if entry["run"] == run), None)
            cells: tuple[Cell, ...] = (
                (look.sign(sign), looks.DIM), (run, looks.DIM), (step or "", looks.DIM), (word, looks.DIM),
                "", (size(n_bytes), looks.DIM), "", (reason, looks.DIM),
            )  # fmt: skip
            data = {"run": run, "step": step, "what": word, "bytes": n_bytes, "reason": reason}
            rows.append(Row(f"{STAYS}{run}:{word}:{reason}", cells, data))
    return rows


def _goes(entry: Mapping[str, Any]) -> Row:
    what = "intermediate" if entry["what"] == "class" else entry["what"]
    items = entry["items"]
    few = ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
    again = "-" if entry["what"] == "attempts" else duration(entry["wall_with_inputs_s"])
    cells: tuple[Cell, ...] = (
        " ", entry["run"], entry["step"], what, str(entry["files"]), size(entry["bytes"]),
        again, (few, looks.DIM),
    )  # fmt: skip
    return Row(f"{GOES}{entry['run']}:{entry['what']}", cells, {**entry, "what": what})


def _by_reason(entries: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for entry in entries:
        key = (entry["run"], entry["reason"])
        found[key] = found.get(key, 0) + int(entry["bytes"])
    return found


def plan_words(plan: Mapping[str, Any]) -> str:
    """Return what would be freed next to what it costs to make it again."""
    if not plan["runs"]:
        return "nothing can go: turn more on, or look at what stays and why"
    again = duration(plan["wall_s"])
    return f"{size(plan['bytes'])} in {count(plan['files'], 'file')} can go; made again in about {again}"


def software_words(plan: Mapping[str, Any]) -> str:
    """Return what is to be known of runs that other software made."""
    others = plan["other_software"]
    return (
        f"{count(len(others), 'run')} made with other software: v proves that they come out the same"
        if others
        else ""
    )


def marked_runs(rows: Iterable[Row], marks: Iterable[str]) -> list[str]:
    """Return the runs of marked lines that can go, each once, in the order of the lines."""
    wanted = set(marks)
    return list(
        dict.fromkeys(row.data["run"] for row in rows if row.key in wanted and row.key.startswith(GOES))
    )


def marked_words(rows: Sequence[Row], runs: Sequence[str]) -> str:
    """Return what the marked runs free."""
    chosen = [row.data for row in rows if row.key.startswith(GOES) and row.data["run"] in runs]
    return f"marked: {count(len(runs), 'run')}, {size(sum(entry['bytes'] for entry in chosen))}"


def plan_details(row: Row | None) -> list[Any]:
    """Return what one line of the plan means."""
    if row is None:
        return []
    data = row.data
    if row.key.startswith(STAYS):
        return [f"{data['run']} ({size(data['bytes'])}) {data['what']}: {data['reason']}"]
    if data["what"] == "attempts":
        return [f"{data['run']}: what its failed or interrupted attempts left behind, {size(data['bytes'])}"]
    own = duration(data["wall_s"])
    return [
        f"{data['run']} {data['step']}: {size(data['bytes'])} in {data['files']} files, made in {own}; "
        f"with what it is made from and goes as well {duration(data['wall_with_inputs_s'])}"
    ]


def delete_lines(plan: Mapping[str, Any]) -> list[str]:
    """Return what is asked before a clean-up: what goes, what that costs, and the way back."""
    rows = sorted(plan["runs"], key=lambda entry: int(entry["run"][1:]))
    lines = [
        f"{entry['run']} {entry['step']}: {size(entry['bytes'])} in {count(entry['files'], 'file')}"
        for entry in rows[:MOST_NAMED]
    ]
    if len(rows) > MOST_NAMED:
        rest = rows[MOST_NAMED:]
        lines.append(f"and of {len(rest)} more runs, {size(sum(entry['bytes'] for entry in rest))}")
    runs = count(len({entry["run"] for entry in rows}), "run")
    again = duration(plan["wall_s"])
    return [
        *lines,
        f"In all {size(plan['bytes'])} of {runs}; to make it again takes about {again}.",
        "It goes to the trash, from where u puts it back until that is purged. Records stay.",
    ]


# --------------------------------------------------------------------------------------------------- trash
def trash_rows(parts: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return a line a clean-up that can be undone."""
    rows = []
    for part in parts:
        runs = part["runs"]
        few = ", ".join(runs[:5]) + (f" and {len(runs) - 5} more" if len(runs) > 5 else "")
        cells: tuple[Cell, ...] = (
            part["trash"], age(part["time"]), part["who"] or "", str(part["files"]), size(part["bytes"]),
            f"{few}: {part['why']}" if part["why"] else few,
        )  # fmt: skip
        rows.append(Row(part["trash"], cells, dict(part)))
    return rows


def purge_lines(parts: Sequence[Mapping[str, Any]], n_bytes: int, lost: str = "") -> list[str]:
    """Return what is asked before files are deleted for good."""
    runs = sorted({run for part in parts for run in part["runs"]}, key=lambda run: int(run[1:]))
    few = ", ".join(runs[:MOST_NAMED]) + (
        f" and {len(runs) - MOST_NAMED} more" if len(runs) > MOST_NAMED else ""
    )
    files = sum(part["files"] for part in parts)
    lines = [f"{count(files, 'file')} of {few or 'no run'} deleted for good; that frees {size(n_bytes)}."]
    if lost:
        return [*lines, lost, "These outputs are LOST then: nothing can make them again."]
    return [*lines, "After that they can only be made again."]
