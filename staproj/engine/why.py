"""The one place that decides whether a step is fresh, and says why not.

The planner, the command line and the screens all ask :func:`assess`; it compares the pre-image stored with
the head of a step with the one its inputs and the manifest would give now, field by field.

A reason is ``{"kind", "field", "old", "new"}``:

=============== ======================= ===========================================================
kind            field                   meaning
=============== ======================= ===========================================================
param           ctf.defocus_max_um      a parameter of the step (or of one upstream that caused it)
item            ctf.TS_03[.name]        a tilt series came, went, or has another value of its own
data            import.movies           raw data changed
input           motion.tilt_series      an input has other content
upstream        motion                  a step it depends on is itself not fresh
cache_version   ctf                     the stage's numbers changed with the software
stage           ctf                     the step runs another stage
output          runs/…/out/…            a file of the head is gone or has another size
failed          ctf[.TS_03]             what the newest run said when it failed
interrupted     ctf                     the newest run stopped without a word
=============== ======================= ===========================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from staproj.engine import digest
from staproj.engine.view import Expected, View
from staproj.errors import StaprojError
from staproj.project import runs

ROOT_KINDS = ("param", "item", "data", "cache_version", "stage", "output")
FRESH, STALE, NEVER_RUN, MISSING = "fresh", "stale", "never-run", "missing"
_ABSENT = object()


@dataclass(frozen=True)
class Reason:
    """One difference between what is and what should be."""

    kind: str
    field: str
    old: Any
    new: Any

    def as_dict(self) -> dict[str, Any]:
        """Return the four keys every front end shows."""
        return {"kind": self.kind, "field": self.field, "old": self.old, "new": self.new}


@dataclass
class Verdict:
    """State of one step. ``run`` is its head; ``latest`` the newest run, whatever became of it."""

    step: str
    stage: str
    state: str
    run: str | None
    reasons: list[Reason] = field(default_factory=list)
    latest: str | None = None
    notes: list[str] = field(default_factory=list)
    expected: Expected | None = None

    @property
    def fresh(self) -> bool:
        """Tell whether there is nothing to do."""
        return self.state == FRESH

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of ``status --json``."""
        return {
            "step": self.step,
            "stage": self.stage,
            "state": self.state,
            "run": self.run,
            "reasons": [reason.as_dict() for reason in self.reasons],
        }


def assess_all(view: View) -> dict[str, Verdict]:
    """Judge every step, in order."""
    view.check()
    newest = runs.latest_by_step(view.layout)
    verdicts: dict[str, Verdict] = {}
    for name in view.graph.nodes:
        verdicts[name] = assess(view, name, verdicts, newest)
    view.prints.save()
    return verdicts


def assess(
    view: View,
    name: str,
    upstream: Mapping[str, Verdict],
    newest: Mapping[str, Any],
    *,
    only: Iterable[str] | None = None,
) -> Verdict:
    """Judge one step, given the verdicts on the steps before it.

    ``only`` confines the question to some tilt series.
    """
    expected = view.expected(name)
    head = view.heads.get(name)
    verdict = Verdict(name, expected.node.spec.name, NEVER_RUN, head, notes=notes_on(view, expected))
    verdict.expected = expected
    if head is not None:
        _compare(view, verdict, expected, head, upstream, only)
    _look_at_newest(view, verdict, newest.get(name))
    return verdict


def notes_on(view: View, expected: Expected) -> list[str]:
    """Return remarks that change nothing: raw data out of reach, values for unknown tilt series."""
    step = expected.node.step
    known = view.all_items() if step.items else set()
    strangers = sorted(set(step.items) - known) if known else []
    there = ", ".join(sorted(known))
    told = [f"[step.{step.name}.item.{i}] is for no tilt series of this project ({there})" for i in strangers]
    return [*expected.notes, *told]


def _compare(
    view: View,
    verdict: Verdict,
    expected: Expected,
    head: str,
    upstream: Mapping[str, Verdict],
    only: Iterable[str] | None,
) -> None:
    """Set state and reasons of a step that has a head."""
    name = verdict.step
    try:
        spec = view.spec(head)
        gone = missing_outputs(view, head)
    except StaprojError as error:
        verdict.state = MISSING
        verdict.reasons = [Reason("output", f"{name}: {head}", None, error.message)]
        return
    if expected.image is None:
        inputs = spec.get("inputs", {})
        by_source = {f"{use['step']}.{use['port']}": use["run"] for use in inputs.values()}
        verdict.reasons = [
            Reason("input", source, by_source.get(source), None) for source in expected.lacking
        ]
    else:
        old, new = spec["preimage"], expected.image
        if only is not None and expected.node.spec.scope == "item":
            old, new = digest.restrict(old, only), digest.restrict(new, only)
        new_inputs = {port: use.as_dict() for port, use in expected.inputs.items()}
        verdict.reasons = explain(view, name, old, new, spec.get("inputs", {}), new_inputs)
    for parent in dict.fromkeys(expected.node.parents()):
        above = upstream.get(parent)
        if above is not None and not above.fresh:
            verdict.reasons.append(Reason("upstream", parent, above.run, None))
            verdict.reasons += [r for r in above.reasons if r.kind in ROOT_KINDS]
    verdict.reasons = _unique(verdict.reasons)
    verdict.state = STALE if verdict.reasons else FRESH
    if gone:
        verdict.reasons = [*gone, *verdict.reasons]
        verdict.state = MISSING


def explain(
    view: View,
    step: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    old_inputs: Mapping[str, Any],
    new_inputs: Mapping[str, Any],
) -> list[Reason]:
    """Say what differs between two pre-images of a step, followed by what caused differing inputs."""
    reasons = own_differences(step, old, new)
    causes: list[Reason] = []
    if old.get("scope") == new.get("scope") == "item":
        both = set(old["items"]) & set(new["items"])  # items that came or went were said already
        old, new = digest.restrict(old, both), digest.restrict(new, both)
    for port in sorted({*old["inputs"], *new["inputs"]}):
        before, after = old_inputs.get(port), new_inputs.get(port)
        found = _input_differences(
            old["inputs"].get(port), new["inputs"].get(port), before, after, port, step
        )
        reasons += found
        if found and before and after:
            causes += causes_of(view, str(before["run"]), str(after["run"]), set())
    return _unique([*reasons, *causes])


def causes_of(view: View, old_run: str, new_run: str, seen: set[tuple[str, str]]) -> list[Reason]:
    """Follow two runs of an input upstream to the changes that made their outputs differ."""
    if old_run == new_run or (old_run, new_run) in seen:
        return []
    seen.add((old_run, new_run))
    try:
        old, new = view.spec(old_run), view.spec(new_run)
    except StaprojError:
        return []
    reasons = own_differences(str(new["step"]), old["preimage"], new["preimage"])
    for port, after in new["inputs"].items():
        before = old["inputs"].get(port)
        if before and before["digest"] != after["digest"]:
            reasons += causes_of(view, str(before["run"]), str(after["run"]), seen)
    return [reason for reason in reasons if reason.kind in ROOT_KINDS]


def own_differences(step: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Reason]:
    """Return differences of everything but the inputs."""
    reasons: list[Reason] = []
    if old["stage"] != new["stage"]:
        return [Reason("stage", step, old["stage"], new["stage"])]
    if old["cache_version"] != new["cache_version"]:
        reasons.append(Reason("cache_version", step, old["cache_version"], new["cache_version"]))
    if old["seed"] != new["seed"]:
        reasons.append(Reason("param", "project.seed", old["seed"], new["seed"]))
    reasons += _param_differences(step, old["params"], new["params"])
    changed = {reason.field.rpartition(".")[2] for reason in reasons if reason.kind in ("param", "data")}
    for item in sorted({*old["items"], *new["items"]}):
        if item not in new["items"]:
            reasons.append(Reason("item", f"{step}.{item}", "made", None))
        elif item not in old["items"]:
            reasons.append(Reason("item", f"{step}.{item}", None, "to be made"))
        else:
            reasons += _item_differences(step, item, old, new, changed)
    return reasons


def _param_differences(prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Reason]:
    reasons = []
    for name in sorted({*old, *new}):
        before, after = old.get(name, _ABSENT), new.get(name, _ABSENT)
        if before == after and type(before) is type(after):
            continue
        if _is_data(before) or _is_data(after):
            if _is_data(after) and after["data"] is None:
                continue  # out of reach now: nobody can say that it changed
            reasons.append(Reason("data", f"{prefix}.{name}", _show(before), _show(after)))
        else:
            reasons.append(Reason("param", f"{prefix}.{name}", _show(before), _show(after)))
    return reasons


def _item_differences(
    step: str, item: str, old: Mapping[str, Any], new: Mapping[str, Any], changed: set[str]
) -> list[Reason]:
    """Return parameters that differ for one item beyond what differs for all."""
    if item not in old["item_params"] and item not in new["item_params"]:
        return []
    before, after = digest.params_of_item(old, item), digest.params_of_item(new, item)
    own = {*old["item_params"].get(item, {}), *new["item_params"].get(item, {})}
    found = _param_differences(f"{step}.{item}", before, after)
    return [
        Reason("item", r.field, r.old, r.new)
        for r in found
        if (name := r.field.rpartition(".")[2]) in own or name not in changed
    ]


def _input_differences(
    old: Any,
    new: Any,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    port: str,
    step: str,
) -> list[Reason]:
    if old == new:
        return []
    use = after or before or {"step": step, "port": port}
    source = f"{use['step']}.{use['port']}"
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        both = sorted(set(old) & set(new))
        differing = [item for item in both if old[item] != new[item]]
        if not differing and set(old) == set(new):
            return []
        if differing and len(differing) < len(both):
            return [Reason("input", f"{use['step']}.{i}.{use['port']}", old[i], new[i]) for i in differing]
        if not differing:
            gone, come = sorted(set(old) - set(new)), sorted(set(new) - set(old))
            return [
                *(Reason("input", f"{use['step']}.{i}.{use['port']}", old[i], None) for i in gone),
                *(Reason("input", f"{use['step']}.{i}.{use['port']}", None, new[i]) for i in come),
            ]
    return [Reason("input", source, _one_digest(old), _one_digest(new))]


def missing_outputs(view: View, run: str) -> list[Reason]:
    """Return files of a sealed run that are gone or have another size (``stat`` only)."""
    directory = view.run(run)
    found = []
    for entry in view.outputs(run).get("files", []):
        path = directory.out / entry["path"]
        try:
            size: int | None = path.stat().st_size
        except OSError:
            size = None
        if size != entry["size"]:
            found.append(Reason("output", view.layout.relative(path), entry["size"], size))
    return found


def _look_at_newest(view: View, verdict: Verdict, newest: Any) -> None:
    """Let a newer run that is going on, failed or broke off show in the state."""
    if newest is None:
        return
    verdict.latest = newest.id
    if newest.id == verdict.run:
        return
    found = runs.state_of(view.layout.run(newest))
    if found.state in ("running", "unreachable"):
        verdict.state = found.state
    elif found.state == "failed" and not verdict.fresh:
        verdict.state = "failed"
        failed = found.event.get("items") or {}
        told = [Reason("failed", f"{verdict.step}.{item}", None, text) for item, text in failed.items()]
        told = told or [Reason("failed", verdict.step, None, found.event.get("message"))]
        verdict.reasons = [*told, *verdict.reasons]
    elif found.state == "interrupted" and not verdict.fresh:
        verdict.state = "interrupted"
        verdict.reasons = [Reason("interrupted", verdict.step, newest.id, None), *verdict.reasons]


def _is_data(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"data"}


def _show(value: Any) -> Any:
    if value is _ABSENT:
        return None
    return value["data"] if _is_data(value) else value


def _one_digest(value: Any) -> Any:
    return digest.digest_of(value) if isinstance(value, Mapping) else value


def _unique(reasons: Iterable[Reason]) -> list[Reason]:
    seen: dict[str, Reason] = {}
    for reason in reasons:
        seen.setdefault(repr(reason), reason)
    return list(seen.values())
