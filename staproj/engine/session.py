"""Bring steps up to date, rerun one, or set its head: what `staproj run` and `staproj rerun` do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staproj.engine import attempts, bring_back, digest, heads, intent, why
from staproj.engine.events import ProgressEvent
from staproj.engine.execute import Options, Outcome, Request, execute
from staproj.engine.recover import recover
from staproj.engine.view import Expected, View
from staproj.errors import (
    CancelledError,
    LockedError,
    ManifestError,
    StageError,
    StaprojError,
    StorageError,
    UsageError,
)
from staproj.project import probe, schema, versions
from staproj.project.layout import Layout, RunDir
from staproj.project.lock import project_lock
from staproj.project.manifest import Change, suggestion


@dataclass
class StepResult:
    """What was (or, in a dry run, would be) done for one step.

    ``action``: "fresh" nothing to do; "run"; "adopt" an earlier run with the same key stands again; "kept"
    this version cannot tell whether it is up to date, so it is left; "skipped" something it needs failed.
    ``brings_back`` (dry run): runs whose outputs were cleared and are made again first, as it reads them.
    """

    step: str
    action: str
    run: str | None = None
    reused: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    verdict: str = ""
    reasons: list[dict[str, Any]] = field(default_factory=list)
    brings_back: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``run --json`` shows."""
        return {
            "step": self.step,
            "action": self.action,
            "run": self.run,
            "reused": self.reused,
            "wall_s": self.wall_s,
            "verdict": self.verdict,
            "reasons": self.reasons,
            "brings_back": self.brings_back,
        }


def run_steps(
    root: Path,
    *,
    targets: Sequence[str] | None = None,
    items: Sequence[str] | None = None,
    sets: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    note: str = "",
    options: Options | None = None,
    resume: str | None = None,
    keep_going: bool = False,
) -> list[StepResult]:
    """Run what is not fresh among ``targets`` and everything they need (``None``: all steps), in order.

    ``items`` confines item-scope steps to some tilt series; others that are finished are kept beside them.
    ``resume`` is an interrupted run that its step goes on with, in place. ``keep_going`` lets steps that do
    not depend on one that failed run all the same.

    Raises
    ------
    StageError
        If a step failed; steps before it stay done (with ``keep_going`` all that do not need it).
    UsageError
        If ``resume`` is not interrupted, or would be made from something else now.
    """
    options = options or Options()
    if not dry_run:
        schema.require_writable(Layout(root))
        recover(Layout(root))
    view = View.open(root)
    changes = intent.changes_for(view, sets or {}, items)
    view = View.open(root, changes, with_template=True)
    view.check()
    order = list(view.graph.nodes) if targets is None else view.graph.needed_for(targets)
    for change in changes:
        if change.keys[1] not in order:
            raise UsageError(
                f"step {change.keys[1]!r} is not among those to run", hint="leave out this --set"
            )
    if dry_run:
        return _dry_run(view, order, items)
    probe.first_from_here(view.layout)
    begun = _resumable(view, resume) if resume else None
    options.progress(ProgressEvent("plan", total=len(order)))
    results: list[StepResult] = []
    failures: dict[str, StaprojError] = {}
    try:
        for name in order:
            broken = [p for p in view.graph.node(name).parents() if p in failures]
            if broken:
                failures[name] = failures[broken[0]]
                results.append(StepResult(name, "skipped", verdict=f"needs {broken[0]}"))
                continue
            own = begun if begun is not None and begun.name.step == name else None
            try:
                result = _bring_up_to_date(view, name, items, note, options, own)
            except (CancelledError, LockedError, StorageError):
                raise
            except StaprojError as error:
                if not keep_going:
                    raise
                failures[name] = error
                result = StepResult(name, "failed", verdict=error.message)
            results.append(result)
            if result.action in ("run", "adopt", "failed"):
                view = view.again()
    except BaseException:
        with suppress(OSError, StaprojError):  # the first error is the one to show
            _record_version(root, results, note or _why(targets, items, sets))
        raise
    _record_version(root, results, note or _why(targets, items, sets))
    if failures:
        raise _summary(results, failures)
    return results


def _summary(results: Sequence[StepResult], failures: Mapping[str, StaprojError]) -> StaprojError:
    """Return one error for all steps that failed while others went on."""
    failed = [result.step for result in results if result.action == "failed"]
    if len(failed) == 1:
        return failures[failed[0]]
    told = "; ".join(f"{name}: {failures[name].message}" for name in failed)
    return StageError(
        f"{len(failed)} of {len(results)} steps failed, the others went on: {told}",
        where=", ".join(failed),
        hint="`staproj log STEP` has the details of each",
    )


def rerun_step(
    root: Path,
    name: str,
    *,
    from_run: str | None = None,
    sets: Mapping[str, Any] | None = None,
    items: Sequence[str] | None = None,
    note: str = "",
    options: Options | None = None,
    resume: str | None = None,
) -> StepResult:
    """Run one step again, whether fresh or not; the old run is kept, steps downstream are not run.

    ``from_run`` gives the parameters to start from (else the manifest does). Values in ``sets`` are written
    to the manifest once the run is sealed. Without a change everything is computed anew. ``resume`` is an
    interrupted run that is gone on with instead of making a new one.
    """
    options = options or Options()
    schema.require_writable(Layout(root))
    recover(Layout(root))
    view = View.open(root)
    full = {key if "." in key else f"{name}.{key}": value for key, value in (sets or {}).items()}
    for key in full:
        if key.partition(".")[0] != name:
            raise UsageError(f"{key!r} is of another step than {name!r}", hint="rerun one step at a time")
    start = intent.changes_to_match(view, from_run) if from_run else []
    changes = [*start, *intent.changes_for(View.open(root, start), full, items)]
    view = View.open(root, changes, with_template=True)
    view.check()
    expected = view.expected(name)
    _check_items(view, name, expected, items)
    same = heads.is_made_from(view, view.heads.get(name), expected)
    begun = _resumable(view, resume) if resume else None
    outcome = _execute(view, expected, items, note, options, reuse=not same, resume=begun)
    result = _result(outcome, [], name)
    _record_version(root, [result], note or _why_rerun(name, from_run, full))
    return result


def _resumable(view: View, run: str) -> RunDir:
    """Return an interrupted run, having checked that it would be made from the same now."""
    directory = view.run(run)
    expected = view.expected(directory.name.step)
    image: Mapping[str, Any] = expected.image or {}
    if expected.image is not None and expected.node.spec.scope == "item":
        try:
            begun = set(view.spec(directory.id)["items"])
        except StaprojError:
            begun = set()  # the check below refuses it
        image = digest.restrict(expected.image, [unit for unit in expected.items if unit in begun])
    attempts.check_resumable(view, directory, image)
    return directory


def _bring_up_to_date(
    view: View,
    name: str,
    items: Sequence[str] | None,
    note: str,
    options: Options,
    resume: RunDir | None = None,
) -> StepResult:
    changes = intent.of_step(view.changes, name)
    verdict = why.assess(view, name, {}, only=items)
    expected = verdict.expected
    assert expected is not None
    _check_items(view, name, expected, items)
    reasons = [reason.as_dict() for reason in verdict.reasons]
    view.prints.save()
    if verdict.fresh:
        options.progress(ProgressEvent("step-done", name, verdict.run, message="fresh"))
        _persist(view, changes)
        kept = verdict.state == why.UNKNOWN
        return StepResult(name, "kept" if kept else "fresh", verdict.run, reasons=reasons)
    if verdict.state in (why.RUNNING, why.QUEUED):
        raise busy(name, verdict.latest)
    earlier = heads.find_adoptable(view, name, expected) if items is None and resume is None else None
    if earlier is not None:
        heads.adopt(view, name, earlier, changes)
        options.progress(ProgressEvent("step-done", name, earlier.id, message="same as an earlier run"))
        return StepResult(name, "adopt", earlier.id, reasons=reasons)
    outcome = _execute(view, expected, items, note, options, reuse=True, resume=resume)
    return _result(outcome, reasons, name)


def _execute(
    view: View,
    expected: Expected,
    items: Sequence[str] | None,
    note: str,
    options: Options,
    *,
    reuse: bool,
    resume: RunDir | None = None,
) -> Outcome:
    own = intent.of_step(view.changes, expected.node.name)
    bring_back.bring_back_inputs(view, expected, items, options, reuse=reuse)
    request = Request(
        view,
        expected,
        items=items,
        reuse=reuse,
        note=note,
        before_seal=lambda: _persist(view, own),
        resume=resume,
    )
    return execute(request, options)


def _result(outcome: Outcome, reasons: list[dict[str, Any]], name: str) -> StepResult:
    return StepResult(name, "run", outcome.run, outcome.reused, outcome.wall_s, outcome.verdict, reasons)


def _dry_run(view: View, order: Sequence[str], items: Sequence[str] | None) -> list[StepResult]:
    verdicts: dict[str, why.Verdict] = {}
    results = []
    for name in order:
        verdicts[name] = verdict = why.assess(view, name, verdicts, only=items)
        expected = verdict.expected
        if expected is not None:
            _check_items(view, name, expected, items)
        parents = view.graph.node(name).parents()
        above_fresh = not any(verdicts[p].outdated for p in parents if p in verdicts)
        action = "kept" if verdict.state == why.UNKNOWN else "fresh" if verdict.fresh else "run"
        if not verdict.fresh and above_fresh and expected is not None and items is None:
            action = "adopt" if heads.find_adoptable(view, name, expected) else "run"
        reasons = [reason.as_dict() for reason in verdict.reasons]
        gone = bring_back.inputs_gone(view, expected, items) if action == "run" and expected else []
        stays = {p for p in parents if p not in verdicts or not verdicts[p].outdated}
        back = sorted({unit[0] for unit in gone if view.run(unit[0]).name.step in stays})
        results.append(StepResult(name, action, verdict.run, reasons=reasons, brings_back=back))
    view.prints.save()
    return results


def busy(step: str, run: str | None) -> LockedError:
    """Return the error of a step that cannot be run because somebody does so already."""
    hint = f"`staproj watch {run}` follows it, `staproj cancel {run}` stops it"
    return LockedError(f"step {step!r} is being run right now ({run})", hint=hint)


def _persist(view: View, changes: Sequence[Change]) -> None:
    if changes:
        with project_lock(view.layout.lock, purpose="writing values into the manifest"):
            heads.write_changes(view, changes)


def _record_version(root: Path, results: Sequence[StepResult], reason: str) -> None:
    """Write a version if runs were made or the manifest is not that of the last one."""
    view = View.open(root)
    last = versions.latest(view.layout)
    text = view.layout.manifest.read_text(encoding="utf-8")
    if any(r.action == "run" for r in results) or last is None or last.manifest != text:
        with project_lock(view.layout.lock, purpose="writing a version"):
            versions.write(view.layout, manifest=text, heads=versions.current_heads(view.layout), why=reason)


def _check_items(view: View, name: str, expected: Expected, items: Iterable[str] | None) -> None:
    """Refuse names of tilt series that do not exist, asked for or overridden."""
    if expected.lacking or expected.node.spec.scope != "item":
        return
    for item in items or ():
        if item not in expected.items:
            raise UsageError(
                f"step {name!r} has no tilt series {item!r}",
                hint=f"it has {', '.join(expected.items)}",
            )
    written = set(expected.node.step.items) - set(expected.items)
    for item in sorted(written - view.all_items() if written else ()):
        raise ManifestError(
            f"step {name!r} has values for {item!r}, but there is no such tilt series",
            where=f"{view.manifest.where} [step.{name}.item.{item}]",
            hint=suggestion(item, expected.items, "tilt series"),
        )


def _why(targets: Sequence[str] | None, items: Sequence[str] | None, sets: Mapping[str, Any] | None) -> str:
    named = list(targets or [])
    words = ["run", *named[:4], *([f"… ({len(named)} steps)"] if len(named) > 4 else [])]
    words += [f"--item {item}" for item in items or []]
    words += [f"--set {key}={value}" for key, value in (sets or {}).items()]
    return " ".join(words)


def _why_rerun(name: str, from_run: str | None, sets: Mapping[str, Any]) -> str:
    return " ".join(["rerun", from_run or name, *(f"--set {key}={value}" for key, value in sets.items())])
