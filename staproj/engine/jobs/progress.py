"""How far a job is and how long it will still take: from its events, the heartbeat, and what was expected."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from staproj.engine.jobs import heartbeat, record
from staproj.errors import StaprojError
from staproj.project import atomic
from staproj.project.layout import JobDir, Layout

TRUST_RATE_SHARE = 0.3
TRUST_RATE_S = 3.0
MIN_SHARE = 0.02


@dataclass(frozen=True)
class Progress:
    """How far a job is. ``share`` (0 to 1) is of the step at work, ``item`` what it works on.

    ``step_left_s`` and ``left_s`` are ``None`` where nothing tells; ``unknown`` names the steps after this
    one whose time nobody knows: they come on top of ``left_s``.
    """

    steps_done: int = 0
    steps_total: int = 0
    items_done: int = 0
    items_total: int = 0
    share: float | None = None
    item: str = ""
    message: str = ""
    step_left_s: float | None = None
    left_s: float | None = None
    elapsed_s: float = 0.0
    step_elapsed_s: float = 0.0
    unknown: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**vars(self), "unknown": list(self.unknown)}


def of_job(layout: Layout, job: JobDir, *, now: float | None = None) -> Progress:
    """Return how far a job is; ``now`` is the time (Unix, s)."""
    now = time.time() if now is None else now
    expected: dict[str, Mapping[str, Any]] = {}
    with suppress(StaprojError):
        told = record.read(job).get("expected") or []
        known_steps = [step for step in told if isinstance(step, dict) and "step" in step]
        expected = {str(step["step"]): {"wall_s": number(step.get("wall_s"))} for step in known_steps}
    events = atomic.read_lines(job.events)
    total = next((int(number(e.get("total")) or 1) for e in events if e.get("kind") == "plan"), 1)
    over = [str(event.get("step")) for event in events if event.get("kind") in ("step-done", "step-failed")]
    last = events[-1] if events else {}
    current = str(last.get("step")) if last.get("step") and last.get("step") not in over else None
    later = {name: step for name, step in expected.items() if name not in over and name != current}
    known = [float(step["wall_s"]) for step in later.values() if step.get("wall_s") is not None]
    unknown = tuple(name for name, step in later.items() if step.get("wall_s") is None)
    elapsed = _since(events[0].get("time") if events else None, now)
    found = Progress(len(over), max(total, len(over)), unknown=unknown, elapsed_s=elapsed)
    if current is None:
        left = sum(known) if known or not later else None
        return _with(found, left_s=left if over or known else None)
    found = _at_work(layout, events, current, found)
    begins = [e.get("time") for e in events if e.get("kind") == "step" and e.get("step") == current]
    spent = _since(begins[-1] if begins else None, now)
    step_left = _step_left(found.share, spent, expected.get(current))
    left = None if step_left is None else step_left + sum(known)
    return _with(found, step_left_s=step_left, left_s=left, step_elapsed_s=spent)


def number(value: Any) -> float | None:
    """Return a number of a file that anybody may have written; ``None`` if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        return None
    return float(value)


def _with(progress: Progress, **facts: Any) -> Progress:
    return Progress(**{**vars(progress), **facts})


def _at_work(layout: Layout, events: list[dict[str, Any]], step: str, found: Progress) -> Progress:
    """Add items and share of the step at work, from its events and the heartbeat of its run."""
    done, total, run = 0, 0, None
    for event in events:
        if event.get("step") == step:
            run = event.get("run") or run
            if event.get("kind") in ("step", "item-done"):
                done, total = int(number(event.get("done")) or 0), int(number(event.get("total")) or 0)
    beat: dict[str, Any] = {}
    with suppress(StaprojError):
        beat = heartbeat.read(layout.find_run(str(run))) if run else {}
    share = done / total if total else None
    told = number(beat.get("share"))
    if total and told is not None and number(beat.get("items_done")) == done:
        share = min(max(told, 0.0), 1.0)
    item, message = str(beat.get("item") or ""), str(beat.get("message") or "")
    return _with(found, items_done=done, items_total=total, share=share, item=item, message=message)


def _since(then: Any, now: float) -> float:
    begun = number(then)
    return 0.0 if begun is None else max(now - begun, 0.0)


def _step_left(share: float | None, elapsed: float, expected: Mapping[str, Any] | None) -> float | None:
    """Return the seconds left: by history at first, by its own pace once there is one."""
    pace = None
    if share is not None and share > MIN_SHARE and elapsed > TRUST_RATE_S:
        pace = elapsed * (1.0 - share) / share
    past = (expected or {}).get("wall_s")
    if past is None or (pace is not None and (share or 0.0) >= TRUST_RATE_SHARE):
        return pace
    left = float(past) * (1.0 - (share or 0.0)) if share else float(past) - elapsed
    return max(left, 0.0)
