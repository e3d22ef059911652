"""Rows of the pipeline, from the plain values of the API: no widgets, no files."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from staproj.report.jobs import time_left
from staproj.report.runs import SHORT_STATE, reason_line, reasons_in_short
from staproj.report.tables import duration
from staproj.tui import look as looks
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Cell, Column, Row

STEP, RUN = "step:", "run:"
COLUMNS = (
    Column(" ", 1),
    Column("step", most=24, sort=lambda data: data.get("step")),
    Column("state", most=11, sort=lambda data: data.get("state")),
    Column("run", sort=lambda data: data.get("run")),
    Column("age", 4, right=True, sort=lambda data: data.get("created") or ""),
    Column("size", 4, right=True, sort=lambda data: data.get("bytes")),
    Column("result, or why it is to run", flex=True),
)


def age(created: str | None, now: datetime.datetime | None = None) -> str:
    """Return how long ago something was made, in at most four characters (``m``: minutes, ``y``: years).

    >>> age("2026-01-01T00:00:00Z", datetime.datetime(2026, 1, 3, tzinfo=datetime.timezone.utc))
    '48h'
    """
    if not created:
        return ""
    try:
        then = datetime.datetime.fromisoformat(created)
    except ValueError:
        return ""
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    seconds = ((now or datetime.datetime.now(datetime.UTC)) - then).total_seconds()
    for unit, word, most in ((1, "s", 60), (60, "m", 60), (3600, "h", 72), (86400, "d", 1000)):
        if seconds / unit < most:
            return f"{max(int(seconds // unit), 0)}{word}"
    return f"{int(seconds // 31557600)}y"


def short_size(n_bytes: float | None) -> str:
    """Return a number of bytes in at most four characters.

    >>> short_size(27_600), short_size(241_900_000), short_size(9_460), short_size(None)
    ('28k', '242M', '9.5k', '')
    """
    if n_bytes is None:
        return ""
    value = float(n_bytes)
    for unit in ("B", "k", "M", "G", "T"):
        if value < 999.5:
            return f"{value:.1f}{unit}" if value < 9.95 and unit != "B" else f"{value:.0f}{unit}"
        value /= 1000
    return f"{value:.0f}P"


_COUNT = re.compile(r"^\d+ tilt series; ")


def short_verdict(verdict: str) -> str:
    """Return a verdict for one line: how many tilt series there are is told elsewhere."""
    return _COUNT.sub("", verdict)


def pipeline_rows(
    status: Mapping[str, Any] | None,
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    jobs: Iterable[Mapping[str, Any]],
    opened: Iterable[str],
    look: Look,
) -> list[Row]:
    """Return a row a step, and one a run beneath the steps that are opened.

    ``runs`` is ``{step: runs, newest first}`` (empty as long as nobody has looked).
    """
    at_work = {job["step"]: job for job in jobs if job.get("step")}
    shown = set(opened)
    rows: list[Row] = []
    for step in (status or {}).get("steps", ()):
        own = runs.get(step["step"], ())
        rows.append(_step_row(step, own, at_work.get(step["step"]), step["step"] in shown, look))
        if step["step"] in shown:
            rows += [_run_row(run, i == len(own) - 1, look) for i, run in enumerate(own)]
    return rows


def _step_row(
    step: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    job: Mapping[str, Any] | None,
    is_open: bool,
    look: Look,
) -> Row:
    state = step["state"]
    sign, style = look.state(state)
    head = next((run for run in runs if run["run"] == step["run"]), {})
    words: Cell = words_of(step, job, look)
    fold = look.sign("open" if is_open else "closed") if runs else " "
    cells: tuple[Cell, ...] = (
        (sign, style),
        f"{fold} {step['step']}",
        (SHORT_STATE.get(state, state), style),
        step["run"] or step["latest"] or "-",
        age(head.get("created")),
        short_size(head.get("bytes")),
        words,
    )
    data = {**step, "created": head.get("created"), "bytes": head.get("bytes"), "n_runs": len(runs)}
    return Row(STEP + step["step"], cells, data)


def words_of(step: Mapping[str, Any], job: Mapping[str, Any] | None, look: Look) -> Cell:
    """Return what a step came to, why it is to run, or how far it is."""
    state = step["state"]
    if state in ("running", "queued", "starting") and job is not None:
        return (progress_words(job, look), looks.LIVE)
    if state in ("running", "queued", "unreachable"):
        return (step["going_on"], looks.LIVE)
    if state in ("fresh", "soft"):
        return short_verdict(step["verdict"])
    if state == "never-run":
        return ("never run", looks.DIM)
    return (reasons_in_short(step["reasons"]), looks.STATE_STYLE.get(state, looks.PLAIN))


def progress_words(job: Mapping[str, Any], look: Look, width: int = 10) -> str:
    """Return how far a job is at its step: a bar, percent, time left, and what it works on."""
    if job["state"] == "queued":
        return job["message"] or "waits for its turn"
    told = job.get("progress") or {}
    share = told.get("share")
    parts = [f"{look.bar(share, width)} {share:.0%}"] if share is not None else ["at work"]
    left = time_left({"left_s": told.get("step_left_s"), "unknown": []})
    parts += [f"{left} left"] if left not in ("", "?") else []
    parts += [told["item"]] if told.get("item") else []
    parts += [told["message"]] if told.get("message") else []
    return ", ".join(parts)


def _run_row(run: Mapping[str, Any], is_last: bool, look: Look) -> Row:
    sign, style = look.state(run["state"])
    branch = look.sign("last" if is_last else "branch")
    said = "".join(f"[{tag}] " for tag in run.get("tags") or ())
    rated = f"{run['rating']}/5 " if run.get("rating") is not None else ""
    words = rated + said + (run.get("title") or short_verdict(run["verdict"]) or run["note"] or "")
    cells: tuple[Cell, ...] = (
        (sign, style),
        (f"  {branch}{look.sign('head') if run['head'] else ' '}", looks.DIM),
        ("head" if run["head"] and run["state"] == "sealed" else run["state"], style),
        run["run"],
        age(run["created"]),
        short_size(run.get("bytes")),
        words,
    )
    return Row(RUN + run["run"], cells, dict(run), search=run["step"])


def step_details(step: Mapping[str, Any], stage: Mapping[str, Any], look: Look) -> list[Any]:
    """Return what one wants to know of a step under the cursor."""
    sign, style = look.state(step["state"])
    lines: list[Any] = [(f"{sign} {step['step']}: {stage.get('summary', step['stage'])}", looks.BOLD)]
    names = [*stage.get("params", {})]
    if names:
        lines.append(f"r: run it again with other values of {_some(names)}")
    if step["state"] in ("fresh", "soft"):
        lines.append((f"{step['run']} is {step['state']}: {step['verdict']}".rstrip(": "), style))
    elif step["state"] == "never-run":
        lines.append(("never run: R runs what is missing, up to here", style))
    else:
        head = f"{step['run']} is the head" if step["run"] else "no complete run"
        lines.append((f"{step['state']} ({head}), because", style))
    lines += [f"  {reason_line(reason)}" for reason in step["reasons"] if reason["kind"] != "never-run"]
    return lines


def _some(names: list[str], room: int = 40) -> str:
    """Return as many names as have room on the line, and how many more there are.

    >>> _some(["defocus_min_um", "defocus_max_um", "defocus_hand", "astigmatism_max_um"])
    'defocus_min_um, defocus_max_um and 2 more'
    """
    count = 1
    while count < len(names) and len(", ".join(names[: count + 1])) <= room:
        count += 1
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more else "")


def run_details(run: Mapping[str, Any]) -> list[Any]:
    """Return what one wants to know of a run under the cursor."""
    head = ", stands for the step" if run["head"] else ""
    lines: list[Any] = [
        (f"{run['run']} of {run['step']}: {run['state']}{head}", looks.BOLD),
        f"made {(run['created'] or '-').replace('T', ' ').replace('Z', '')} by {run['who'] or '?'} "
        f"in {duration(run['wall_s'])}",
    ]
    lines += [run["verdict"]] if run["verdict"] else []
    lines += [f"title: {run['title']}"] if run.get("title") else []
    lines += [f"note: {run['note']}"] if run["note"] else []
    count = run.get("n_notes")
    lines += [f"{count} notes, enter shows them"] if count else []
    return lines


def by_step(runs: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return runs by step, the order kept."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        found.setdefault(run["step"], []).append(run)
    return found


def summary(status: Mapping[str, Any]) -> str:
    """Return how much is to do, in one line."""
    steps = status["steps"]
    left = sum(step["to_do"] and step["state"] not in ("running", "queued") for step in steps)
    failed = sum(step["state"] == "failed" for step in steps)
    words = f"{left} of {len(steps)} to run" if left else f"all {len(steps)} fresh"
    return words + (f", {failed} failed" if failed else "")
