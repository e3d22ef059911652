"""Jobs and plans as lines of text, from the plain values that ``staproj.api`` gives."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.runs import reasons_in_short
from staproj.report.tables import duration, size, table

ACTIVE = ("starting", "queued", "running", "unreachable")
MOST_ENDED = 10
MARK = {
    "starting": "▶",
    "running": "▶",
    "queued": "…",
    "done": "✓",
    "failed": "✗",
    "cancelled": "‖",
    "interrupted": "‖",
    "unreachable": "?",
}


def recent(jobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the jobs at work and the newest that have ended."""
    ended = [job for job in jobs if job["state"] not in ACTIVE][:MOST_ENDED]
    return [job for job in jobs if job["state"] in ACTIVE or job in ended]


def job_rows(jobs: Sequence[Mapping[str, Any]], *, hidden: int = 0) -> list[str]:
    """Return one line a job: state, run, step, how far, time left, where, and what it waits for."""
    rows = [
        [
            MARK.get(job["state"], " "),
            job["job"],
            job["state"],
            job["run"] or "-",
            job["step"] or "-",
            how_far(job["progress"]),
            time_left(job["progress"]),
            _when(job["ended"] or job["created"]),
            str(job["host"] or "-"),
            job["message"],
        ]
        for job in jobs
    ]
    if not rows:
        return ["no job yet; `staproj run` starts one"]
    header = ["", "job", "state", "run", "step", "done", "left", "since", "on", ""]
    lines = table(header, rows)
    if any(job["state"] in {"interrupted", "cancelled"} for job in jobs[:1]):
        lines.append("`staproj resume` goes on with what was stopped last")
    return [*lines, *([f"{hidden} older ones: `staproj jobs --all`"] if hidden else [])]


def how_far(progress: Mapping[str, Any] | None) -> str:
    """Return how far a job is: the step it is at, and how much of that is done.

    >>> how_far({"steps_done": 2, "steps_total": 9, "share": 0.4512})
    'step 3 of 9, 45 %'
    """
    if not progress or not progress["steps_total"]:
        return ""
    at = min(progress["steps_done"] + 1, progress["steps_total"])
    share = progress["share"]
    return f"step {at} of {progress['steps_total']}" + (
        "" if share is None else f", {share:.0%}".replace("%", " %")
    )


def time_left(progress: Mapping[str, Any] | None) -> str:
    """Return the time left in a few words; steps whose time nobody knows are a question mark.

    >>> time_left({"left_s": 75.4, "unknown": []}), time_left({"left_s": 75.4, "unknown": ["fsc"]})
    ('1 min 15 s', '1 min 15 s + ?')
    >>> time_left({"left_s": None, "unknown": []})
    '?'
    """
    if not progress:
        return ""
    if progress["left_s"] is None:
        return "?"
    left = progress["left_s"]
    words = f"{left:.0f} s" if left < 59.5 else duration(left)
    return words + (" + ?" if progress["unknown"] else "")


def plan_lines(results: Sequence[Mapping[str, Any]], expected: Mapping[str, Any]) -> list[str]:
    """Return what would run, why, and what it is expected to take, one line a step, and the sums."""
    by_step = {step["step"]: step for step in expected["steps"]}
    rows = []
    for result in [result for result in results if result["action"] != "fresh"]:
        step = by_step.get(result["step"])
        takes = (
            ["", ""]
            if step is None
            else [_or_unknown(step["wall_s"], duration), _or_unknown(step["bytes"], size)]
        )
        rows.append([result["step"], result["action"], *takes, plan_reason(result)])
    made = sum(result["action"] in {"run", "adopt"} for result in results)
    lines = table(["step", "", "time", "disk", "why"], rows)
    kept = sum(result["action"] == "kept" for result in results)
    if not made and kept:
        return [*lines, f"nothing would be run; {kept} of {len(results)} steps cannot be compared"]
    if not made:
        return [*lines, "everything is fresh: nothing to do"]
    fresh = len(results) - len(rows)
    others = f"; the other {f'{fresh} are' if fresh > 1 else 'is'} fresh" if fresh else ""
    return [
        *lines,
        f"would run {made} of {len(results)} steps" + others,
        *takes_lines(expected),
    ]


def plan_reason(result: Mapping[str, Any]) -> str:
    """Return why a step would run, in a few words, and what is made again before it."""
    why = reasons_in_short(result["reasons"])
    if not why and result["action"] in {"run", "adopt"} and result["run"] is None:
        why = "never run"
    if result.get("brings_back"):
        why = f"{why}; makes deleted outputs of {', '.join(result['brings_back'])} again first"
    return why


def takes_lines(expected: Mapping[str, Any]) -> list[str]:
    """Return what work is expected to take: time, disk and what is free, and whether that fits.

    >>> takes_lines({"wall_s": 75.0, "unknown_time": [], "bytes": 2e6, "unknown_bytes": ["fsc"],
    ...              "free_bytes": 1e9, "fits": True})
    ['time: about 1 min 15 s', 'disk: unknown for fsc; the others about 2.0 MB; 1.0 GB are free']
    """
    disk = _sum_line("disk", expected["bytes"], expected["unknown_bytes"], size)
    lines = [_sum_line("time", expected["wall_s"], expected["unknown_time"], duration)]
    lines.append(f"{disk}; {size(expected['free_bytes'])} are free")
    if not expected["fits"]:
        lines.append("the disk cannot hold this: `staproj run` refuses, unless with --force")
    return lines


def _sum_line(name: str, value: float, unknown: Sequence[str], words: Any) -> str:
    """Return one sum; what is not known is said, not left out."""
    if not unknown:
        return f"{name}: about {words(value)}"
    some = ", ".join(unknown[:4]) + (f" and {len(unknown) - 4} more" if len(unknown) > 4 else "")
    return f"{name}: unknown for {some}" + (f"; the others about {words(value)}" if value else "")


def _or_unknown(value: float | None, words: Any) -> str:
    return "?" if value is None else str(words(value))


def detached_lines(job: Mapping[str, Any]) -> list[str]:
    """Return what to say of a job that was started and left alone."""
    run = f" with run {job['run']} ({job['step']})" if job["run"] else ""
    return [
        f"{job['job']} has begun{run}; it goes on when you leave",
        f"  staproj watch {job['job']}     follows it",
        f"  staproj cancel {job['job']}    stops it",
    ]


def ended_lines(job: Mapping[str, Any]) -> list[str]:
    """Return the line that says of a job which is not at work any more when it ended."""
    return (
        [f"{job['job']} has ended already, at {_when(job['ended'])}: {job['state']}"] if job["ended"] else []
    )


def cancel_lines(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what became of jobs that were asked to stop."""
    lines = []
    for job in jobs:
        at = f" at {job['run']} ({job['step']})" if job["run"] and job["job"] else ""
        over = job["state"] not in ACTIVE
        words = f"is {job['state']}{at}" if over else "was asked to stop, and still runs"
        lines.append(f"{job['job'] or job['run']} {words}")
    return lines or ["nothing is running"]


def _when(seconds: float | None) -> str:
    """Return a time of day, with the day where it was another one."""
    if seconds is None:
        return "-"
    then = time.localtime(seconds)
    today = time.strftime("%Y-%m-%d", then) == time.strftime("%Y-%m-%d")
    return time.strftime("%H:%M" if today else "%m-%d %H:%M", then)
