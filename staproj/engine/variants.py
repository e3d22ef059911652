"""Variants: a step and what depends on it, several times side by side with different parameters.

A variant is nothing but steps in the manifest, each marked ``variant = { of, name, copy }``: the step varied,
the name of the variant, and which step this one is a copy of. So status, run, diff and show know them without
being told. Finished items are found by key, whatever the step is called: what is the same costs nothing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.engine import params, plan
from staproj.engine.view import View
from staproj.errors import ManifestError, UsageError
from staproj.project import manifest, manifest_edit, manifest_steps, schema, versions
from staproj.project.layout import Layout
from staproj.project.lock import project_lock
from staproj.project.manifest import Manifest, Ref, Step, suggestion

MOST = 64
NAME_LENGTH = 64
_LABEL_AT_LEAST = 16


@dataclass(frozen=True)
class Planned:
    """A variant to be: its name, its steps ``{copy: original}``, and the values that make it different.

    ``new`` is false where the manifest has it already.
    """

    of: str
    name: str
    steps: Mapping[str, str]
    values: Mapping[str, Any]
    new: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return what front ends show."""
        return {
            "variant": self.name,
            "of": self.of,
            "steps": list(self.steps),
            "values": dict(self.values),
            "new": self.new,
        }


def is_series(view: View, step: str, sets: Mapping[str, Any]) -> bool:
    """Tell whether some parameter is given several values (``20,15,12``)."""
    return any(len(values) > 1 for values in _read(view, step, sets).values())


def create(
    root: Path, step: str, sets: Mapping[str, Any], *, until: str | None = None, name: str | None = None
) -> list[Planned]:
    """Write the variants of ``step`` into the manifest, one for each combination of the values in ``sets``.

    ``sets`` is ``{"param" or "step.param": text with one or several values, or a list of values}``; ``until``
    is the last step to copy; ``name`` begins the names of the variants. Variants that are there already are
    not written again.

    Raises
    ------
    UsageError
        If a name is unknown, a value does not fit, or there would be more than 64 variants.
    ManifestError
        If values that fit one by one do not fit together.
    """
    layout = Layout(root)
    schema.require_writable(layout)
    view = View.open(root)
    chain = chain_of(view, step, until)
    planned = _plan(view, step, chain, _read(view, step, sets, chain), name)
    fresh = [one for one in planned if one.new]
    if fresh:
        steps, remarks = _tables(view, fresh)
        with project_lock(layout.lock, purpose="writing variants"):
            text = manifest_edit.rewrite(layout.manifest, lambda old: _appended(view, old, steps, remarks))
            why = f"variants of {step}: {', '.join(one.name for one in fresh)}"
            versions.write(layout, manifest=text, heads=versions.current_heads(layout), why=why)
    return planned


def remove(root: Path, names: Collection[str]) -> list[str]:
    """Take variants out of the manifest and return the steps that went; their runs stay.

    Raises
    ------
    UsageError
        If there is no such variant, or a step that stays takes an input from one.
    """
    layout = Layout(root)
    schema.require_writable(layout)
    view = View.open(root)
    found = groups(view.manifest)
    for name in names:
        if name not in found:
            raise UsageError(f"there is no variant {name!r}", hint=suggestion(name, found, "variants"))
    gone = {step for name in names for step in found[name]}
    for other in view.manifest.steps.values():
        users = [ref.text for ref in other.inputs.values() if ref.step in gone]
        if users and other.name not in gone:
            raise UsageError(
                f"step {other.name!r} takes {', '.join(users)} from it",
                where=f"{view.manifest.where} [step.{other.name}.inputs]",
                hint="remove that one too, or give it another input first",
            )
    with project_lock(layout.lock, purpose="removing variants"):
        before = layout.manifest.read_text(encoding="utf-8")
        heads = versions.current_heads(layout)
        last = versions.latest(layout)
        if last is None or last.manifest != before:
            versions.write(layout, manifest=before, heads=heads, why="before variants were removed")
        text = manifest_edit.rewrite(layout.manifest, lambda old: manifest_steps.remove(old, gone))
        why = f"variants removed: {', '.join(names)}"
        versions.write(layout, manifest=text, heads=heads, why=why)
    return sorted(gone)


def groups(found: Manifest) -> dict[str, dict[str, str]]:
    """Return ``{variant: {step: the step it is a copy of}}`` of a manifest, in its order."""
    told: dict[str, dict[str, str]] = {}
    for step in found.steps.values():
        if step.variant is not None:
            told.setdefault(step.variant.name, {})[step.name] = step.variant.copy
    return told


def base_of(found: Manifest, name: str) -> str:
    """Return the step that a variant varies."""
    return next(s.variant.of for s in found.steps.values() if s.variant and s.variant.name == name)


def chain_of(view: View, step: str, until: str | None = None) -> list[str]:
    """Return ``step`` and what depends on it, in order, up to ``until``; other variants are left out."""
    mark = _mark(view.graph.node(step).step)
    chain = [step]
    for name in view.graph.nodes:
        node = view.graph.nodes[name]
        if name != step and _mark(node.step) == mark and set(chain).intersection(node.parents()):
            chain.append(name)
    if until is None:
        return chain
    if until not in chain:
        view.graph.node(until)
        raise UsageError(
            f"step {until!r} does not depend on {step!r}",
            where="--until",
            hint=f"it must be one of {', '.join(chain)}",
        )
    needed = view.graph.needed_for([until])
    return [name for name in chain if name in needed]


def _read(
    view: View, step: str, sets: Mapping[str, Any], chain: Sequence[str] | None = None
) -> dict[str, list[Any]]:
    """Return ``{"step.param": values}``, each value checked alone."""
    found = {}
    for key, value in sets.items():
        of, _, name = key.rpartition(".")
        node = view.graph.node(of or step)
        if chain is not None and node.name not in chain:
            raise UsageError(
                f"{node.name!r} is not part of the variants of {step!r}",
                where=f"--set {key}",
                hint=f"parameters of {', '.join(chain)} can be varied",
            )
        found[f"{node.name}.{name}"] = params.parse_values(node.spec, name, value, step=node.name)
    return found


def _plan(
    view: View, step: str, chain: Sequence[str], values: Mapping[str, list[Any]], name: str | None
) -> list[Planned]:
    count = 1
    for choices in values.values():
        count *= len(choices)
    if count > MOST:
        raise UsageError(
            f"these values make {count} variants, more than {MOST}",
            where=", ".join(f"{key}: {len(choices)} values" for key, choices in values.items()),
            hint="vary fewer values at a time",
        )
    varied = [key for key, choices in values.items() if len(choices) > 1] or list(values)
    taken = set(view.manifest.steps) | set(groups(view.manifest))
    planned: list[Planned] = []
    for chosen in itertools.product(*values.values()):
        own = dict(zip(values, chosen, strict=True))
        there = _existing(view, step, chain, own)
        if there is None:
            label = _label(step, {key: own[key] for key in varied}, name)
            label, steps = _free_names(chain, label, taken)
            taken |= {*steps, label}
            planned.append(Planned(step, label, steps, own))
        elif there.name not in {one.name for one in planned}:
            planned.append(there)
    return planned


def _existing(view: View, step: str, chain: Sequence[str], own: Mapping[str, Any]) -> Planned | None:
    """Return the variant of the manifest that is written just as this one would be."""
    for name, steps in groups(view.manifest).items():
        if base_of(view.manifest, name) != step or sorted(steps.values()) != sorted(chain):
            continue
        copies = {original: copy for copy, original in steps.items()}
        if all(
            _table(view.manifest.steps[original], copies, own, step, name)
            == _table(view.manifest.steps[copy], {}, {}, step, name, as_is=True)
            for original, copy in copies.items()
        ):
            return Planned(step, name, steps, own, new=False)
    return None


def _tables(view: View, planned: Sequence[Planned]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    tables: dict[str, dict[str, Any]] = {}
    remarks = {}
    for one in planned:
        copies = {original: copy for copy, original in one.steps.items()}
        for copy, original in one.steps.items():
            step = view.manifest.steps[original]
            tables[copy] = _table(step, copies, one.values, one.of, one.name)
        remarks[next(iter(one.steps))] = f"{one.name} of {one.of}; `staproj variant remove` takes it out"
    return tables, remarks


def _table(
    step: Step,
    copies: Mapping[str, str],
    values: Mapping[str, Any],
    of: str,
    name: str,
    *,
    as_is: bool = False,
) -> dict[str, Any]:
    """Return the table of one copied step (``as_is``: of a step that is a copy already)."""
    own = {key.rpartition(".")[2]: v for key, v in values.items() if key.rpartition(".")[0] == step.name}
    params_now = {key: v for key, v in {**dict(step.params), **own}.items() if v is not None}
    items = {
        item: {key: own.get(key, value) for key, value in table.items() if own.get(key, value) is not None}
        for item, table in step.items.items()
    }
    copied = step.variant.copy if as_is and step.variant else step.name
    return {
        "stage": step.stage,
        "inputs": {port: _redirected(ref, copies) for port, ref in step.inputs.items()},
        "variant": {"of": of, "name": name, "copy": copied},
        **({"params": params_now} if params_now else {}),
        **({"item": items} if items else {}),
    }


def _redirected(ref: Ref, copies: Mapping[str, str]) -> str:
    if ref.step not in copies:
        return ref.text
    return copies[str(ref.step)] + (f".{ref.port}" if ref.port else "")


def _appended(
    view: View, old: str, steps: Mapping[str, Mapping[str, Any]], remarks: Mapping[str, str]
) -> str:
    """Return the manifest with the steps, checked as a whole."""
    new = manifest_steps.append(old, steps, remarks=remarks)
    parsed = manifest.parse(new, view.manifest.where)
    graph = plan.build(parsed, lambda run: str(view.spec(run)["stage"]))
    for name in steps:
        node = graph.node(name)
        for item in (None, *node.step.items):
            try:
                params.resolve(parsed, node.step, node.spec, item=item)
            except ManifestError as error:
                raise UsageError(error.message, where=error.where, hint=error.hint) from error
    return new


def _label(step: str, values: Mapping[str, Any], name: str | None) -> str:
    if name is not None:
        if not re.match(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$", name):
            raise UsageError(f"{name!r} is not a usable name", hint="use letters, digits, - and _")
        return "-".join([name, *(_slug(value) for value in values.values())])
    parts = []
    for key, value in values.items():
        of, _, param = key.rpartition(".")
        parts += [param if of == step else f"{of}_{param}", _slug(value)]
    return "-".join(parts) or "copy"


def _slug(value: Any) -> str:
    """Return a value as part of a name: 1.5 as 1p5, -3 as m3."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.6g}".replace("-", "m").replace(".", "p").replace("+", "")
    if isinstance(value, list | tuple):
        return "_".join(_slug(part) for part in value)[:24] or "none"
    if isinstance(value, Mapping):
        return "_".join(f"{k}_{_slug(v)}" for k, v in value.items())[:24] or "none"
    return re.sub(r"[^A-Za-z0-9]+", "_", str(value)).strip("_")[:24] or "empty"


def _free_names(chain: Sequence[str], label: str, taken: Collection[str]) -> tuple[str, dict[str, str]]:
    """Return a variant's name and its steps' names, short enough and not in use."""
    for number in itertools.count(1):
        end = "" if number == 1 else f"-{number}"
        names = {_fitted(step, label, end): step for step in chain}
        whole = label[: NAME_LENGTH - len(end)] + end
        if len(names) == len(chain) and not {*names, whole}.intersection(taken):
            return whole, names
    raise AssertionError  # pragma: no cover - the count has no end


def _fitted(step: str, label: str, end: str) -> str:
    room = NAME_LENGTH - 1 - len(end)
    tail = label[: max(_LABEL_AT_LEAST, room - len(step))]
    return f"{step[: room - len(tail)]}-{tail}{end}"


def _mark(step: Step) -> str | None:
    return step.variant.name if step.variant else None
