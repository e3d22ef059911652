"""Differences between what a run was made from and what a step would be made from now, field by field.

See :mod:`staproj.engine.why` for the kinds of reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from staproj.engine import digest
from staproj.engine.view import View
from staproj.errors import StaprojError

ROOT_KINDS = ("param", "item", "data", "cache_version", "stage", "output")
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
    return unique([*reasons, *causes])


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


def _is_data(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"data"}


def _show(value: Any) -> Any:
    if value is _ABSENT:
        return None
    return value["data"] if _is_data(value) else value


def _one_digest(value: Any) -> Any:
    return digest.digest_of(value) if isinstance(value, Mapping) else value


def unique(reasons: Iterable[Reason]) -> list[Reason]:
    """Return reasons without repetition, in order."""
    seen: dict[str, Reason] = {}
    for reason in reasons:
        seen.setdefault(repr(reason), reason)
    return list(seen.values())
