"""Rows and lines of what is to run: from a plan, without widgets or files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from staproj.api.starting import WORKS, Plan
from staproj.report.jobs import plan_reason, takes_lines
from staproj.report.runs import reason_line
from staproj.report.tables import duration, size
from staproj.tui import look as looks
from staproj.tui.form_how import when_words
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Cell, Column, Row

COLUMNS = (
    Column(" ", 3),
    Column("step", most=24),
    Column("time", 10, right=True, sort=lambda data: data["takes"].get("wall_s") or 0),
    Column("disk", 8, right=True, sort=lambda data: data["takes"].get("bytes") or 0),
    Column("why", flex=True),
)
WORDS = {
    "adopt": "an earlier run with the same values stands again",
    "kept": "cannot be compared: left alone",
}


def to_run(plan: Plan) -> list[dict[str, Any]]:
    """Return the steps of a plan that are not fresh."""
    return [step for step in plan.steps if step["action"] != "fresh"]


def plan_rows(whole: Plan, chosen: Plan | None, look: Look) -> list[Row]:
    """Return a row a step that is to run; ``chosen`` is the part of it that would be started."""
    takes = {step["step"]: step for step in whole.expected["steps"]}
    if chosen is not None:
        takes |= {step["step"]: step for step in chosen.expected["steps"]}
    now = whole.work if chosen is None else chosen.work
    rows = []
    for step in to_run(whole):
        name, own = step["step"], takes.get(step["step"], {})
        meant = name in now
        style = looks.PLAIN if meant else looks.DIM
        known = name in takes
        why = WORDS.get(step["action"], "") or plan_reason(step)
        cells: tuple[Cell, ...] = (
            (look.sign("on" if meant else "off") if step["action"] in WORKS else " -", style),
            (name, style),
            (_or_unknown(own.get("wall_s"), duration) if known else "", style),
            (_or_unknown(own.get("bytes"), size) if known else "", style),
            (why, style),
        )
        rows.append(Row(name, cells, {**step, "takes": dict(own)}))
    return rows


def _or_unknown(value: float | None, words: Any) -> str:
    return "?" if value is None else str(words(value))


def status_words(
    whole: Plan | None, chosen: Plan | None, marked: Collection[str], until: str | None
) -> tuple[str, str]:
    """Return what would be started in one line, and how loud that is."""
    if whole is None:
        return "looking at what is to run ...", ""
    if not whole.work:
        if to_run(whole):
            return "nothing can be run: these steps cannot be compared; r on a step runs it again", "warning"
        return "everything is fresh: nothing to do; r on a step runs it again with other values", "bold"
    plan = chosen or whole
    scope = f"all {len(whole.work)} steps" if len(whole.work) > 1 else f"step {whole.work[0]}"
    if marked:
        extra = [name for name in plan.work if name not in marked]
        needs = f", and what is needed for that: {', '.join(extra)}" if extra else ""
        scope = f"{', '.join(marked)} only{needs}"
    elif until:
        scope = f"up to {until}: {len(plan.work)} of {len(whole.work)} steps"
    return f"R runs {scope}", "bold"


def detail_lines(
    row: Row | None, plan: Plan | None, room: Mapping[str, Any] | None, notes: Iterable[str]
) -> list[Any]:
    """Return what all would take, and why the step under the cursor is to run."""
    lines: list[Any] = []
    if plan is not None and plan.work:
        style = looks.PLAIN if plan.expected["fits"] else looks.BAD
        lines += [(line, style) for line in takes_lines(plan.expected)]
    if room is not None and plan is not None and plan.work:
        value, words = when_words(room)
        lines.append(f"begins {value}: {words}")
    lines += [(note, looks.WARN) for note in notes]
    if row is not None:
        reasons = [reason for reason in row.data["reasons"] if reason["kind"] != "never-run"]
        lines.append((f"{row.key}: {row.cells[-1][0]}", looks.BOLD))
        lines += [f"  {reason_line(reason)}" for reason in reasons] if len(reasons) > 1 else []
    return lines


def resume_words(plan: Plan | None) -> str:
    """Return what can be gone on with ("" if nothing can)."""
    if plan is None:
        return ""
    run = plan.arguments.get("run")
    step = plan.arguments.get("step") or ", ".join(plan.work[:1])
    what = f"{run} was interrupted" if run else f"a run of {step} was interrupted" if step else ""
    what = what or "a job was stopped"
    left = f" ({len(plan.work)} steps were left)" if len(plan.work) > 1 else ""
    return f"{what}{left}: u goes on with it, what is finished is kept"
