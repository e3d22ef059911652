"""One item of a run, from its inputs to its finished record: the piece of work that goes to a worker.

:func:`compute_item` needs nothing but an :class:`ItemTask`, which can be sent to another process; what it
finds out it returns and leaves on the disk. Where it runs in the engine's own process, :class:`Hooks` save it
from reading again what is known there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.engine import inputs, outputs, resources, runlog
from staproj.engine.checkpoints import Checkpoints
from staproj.engine.context import RunContext
from staproj.engine.meter import Meter
from staproj.engine.view import InputUse, View
from staproj.errors import CancelledError
from staproj.project import record, runs
from staproj.project.layout import AttemptDir, RunDir
from staproj.stages.api import Params, StageSpec

Report = Callable[[float, float, str], None]
_REPORT_EVERY_S = 0.5


@dataclass(frozen=True)
class ItemTask:
    """Everything one item is made from.

    ``threads`` are those of this item alone. ``key`` is the item's key. ``said`` are remarks to record (a
    device that was asked for and is not used).
    """

    root: Path
    run: Path
    attempt: int
    spec: StageSpec
    params: Params
    uses: dict[str, InputUse]
    item: str | None
    key: str
    seed: int
    threads: int
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hooks:
    """What the engine's own process lends: its view of the project, and direct ways to stop and to report."""

    view: View
    cancelled: Callable[[], bool]
    report: Report


def compute_item(task: ItemTask, hooks: Hooks | None = None) -> dict[str, Any]:
    """Compute one item and return its entry (what ``item.json`` holds).

    Raises
    ------
    StageError
        If the stage failed (or any other error that it raised).
    CancelledError
        If it was asked to stop.
    """
    run, item = RunDir(task.run), task.item
    attempt = run.attempt_dir(task.attempt)
    hooks = hooks or _hooks_of_worker(task, run, attempt)
    hooks.report(0.0, 0.0, "")
    runs.note(run, "item-started", item=item)
    runlog.write(run.log, "begins", item)
    meter = Meter()
    inputs.check_unchanged(hooks.view, task.uses, item)
    context = _context(task, run, attempt, hooks)
    for said in task.said:
        context.fallback(said)
    loaded = inputs.load_inputs(hooks.view, task.uses, item)
    function = task.spec.load()
    with resources.limited_threads(task.threads):  # what the stage has loaded by now
        returned = function(loaded, task.params, context)
    made = outputs.write_artifacts(hooks.view, task.spec, attempt.out, item, returned)
    shutil.rmtree(context.scratch, ignore_errors=True)
    if run.attempt(task.attempt + 1).exists():  # this one was taken for dead, and another goes on
        raise CancelledError("another process has taken this run over", where=run.path.name)
    entry = _finish(task, run, made, context.record, meter)
    context.checkpoint.clear()
    return entry


def _finish(
    task: ItemTask, run: RunDir, made: Mapping[str, Any], notes: record.ItemRecord, meter: Meter
) -> dict[str, Any]:
    item = task.item
    notes.wall_s, notes.cpu_s, notes.peak_rss_bytes = meter.wall_s, meter.cpu_s, meter.peak_rss_bytes
    image = record.item_bytes(notes)
    entry = {
        "item": item,
        "key": task.key,
        "run": run.id,
        "reused_from": None,
        **made,
        "verdict": notes.verdict,
        "warning": notes.warning,
        "fallbacks": notes.fallbacks,
        "wall_s": notes.wall_s,
        "cpu_s": notes.cpu_s,
        "peak_rss_bytes": notes.peak_rss_bytes,
        "record_sha256": "sha256:" + hashlib.sha256(image).hexdigest(),
    }
    outputs.keep(run, run.attempt_dir(task.attempt).out, item, entry, image)
    runs.note(run, "item-finished", item=item, wall_s=notes.wall_s, verdict=notes.verdict)
    runlog.write_result(run.log, item, entry)
    return entry


def _context(task: ItemTask, run: RunDir, attempt: AttemptDir, hooks: Hooks) -> RunContext:
    kept = attempt.checkpoints(task.item)
    needs = [run.spec, run.env, kept.parent, attempt.path, run.path, run.path.parent]
    return RunContext(
        root=task.root,
        out=attempt.out,
        scratch=attempt.scratch(task.item),
        log=run.log,
        item=task.item,
        seed=task.seed,
        threads=task.threads,
        cancelled=hooks.cancelled,
        progress=hooks.report,
        checkpoint=Checkpoints(kept, task.key, needs),
    )


def _hooks_of_worker(task: ItemTask, run: RunDir, attempt: AttemptDir) -> Hooks:
    """Stop when a marker appears; report into a small file that the engine looks at."""
    place = attempt.progress(task.item)
    last = 0.0

    def report(done: float, total: float, message: str) -> None:
        nonlocal last
        now = time.monotonic()
        if last and now - last < _REPORT_EVERY_S and done < total:
            return
        last = now
        with suppress(OSError):
            place.parent.mkdir(exist_ok=True)
            temporary = place.with_name(f".{place.name}.part")
            temporary.write_text(json.dumps([done, total, message]))
            temporary.replace(place)

    return Hooks(View.open(task.root), lambda: run.cancel.exists() or attempt.stop.exists(), report)


class Watched:
    """Reads what worker processes report, once each time it changes."""

    def __init__(self, attempt: AttemptDir) -> None:
        self._attempt = attempt
        self._seen: dict[str | None, bytes] = {}

    def news(self, item: str | None) -> tuple[float, float, str] | None:
        """Return ``(done, total, message)`` of an item if it is new; a total of 0 means that it began."""
        try:
            raw = self._attempt.progress(item).read_bytes()
            if raw == self._seen.get(item):
                return None
            done, total, message = json.loads(raw)
            self._seen[item] = raw
            return float(done), float(total), str(message)
        except (OSError, ValueError, TypeError):
            return None
