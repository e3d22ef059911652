"""Values given on the command line, as edits of the manifest.

``--set`` is intent, and intent has one home: the value is used for the run, recorded there with the layer
"command line", and written into the manifest in the same step that seals the run (a run that fails changes
nothing). See docs/decisions/001-command-line-values.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from staproj.engine import params
from staproj.engine.view import View
from staproj.errors import UsageError
from staproj.project.manifest import Change, Step
from staproj.stages.api import StageSpec

_MISSING = object()


def changes_for(view: View, sets: Mapping[str, Any], items: Iterable[str] | None = None) -> list[Change]:
    """Return the edits that ``{"step.param": value}`` asks for.

    Without ``items`` a value holds for the whole step: tables of single tilt series that set the same
    parameter are changed too, for the command line is the topmost layer. With ``items`` it is written for
    those only.

    Raises
    ------
    UsageError
        On a name without a step, an unknown step or parameter, or a value that does not fit.
    """
    changes: list[Change] = []
    for full, value in sets.items():
        step_name, dot, name = full.partition(".")
        if not dot:
            raise UsageError(f"{full!r} does not say which step", hint=f"write --set STEP.{full}=VALUE")
        if step_name == "microscope" and step_name not in view.graph.nodes:
            raise _facts_of_data(view, name, value)
        node = view.graph.node(step_name)
        parsed = params.parse_value(node.spec, name, value, step=step_name)
        changes += _changes(node.step, node.spec, name, parsed, items)
    return changes


def changes_to_match(view: View, run: str) -> list[Change]:
    """Return the edits after which the manifest gives its step the parameters of ``run``."""
    spec = view.spec(run)
    name = str(spec["step"])
    node = view.graph.node(name)
    if node.spec.name != spec["stage"]:
        raise UsageError(
            f"run {run} was made by stage {spec['stage']!r}, step {name!r} now runs {node.spec.name!r}",
            hint="make a step of its own for it",
        )
    changes: list[Change] = []
    now = view.expected(name).common.values
    made = {key: entry["value"] for key, entry in spec["params"].items() if key in now}
    for key, value in made.items():
        if value != now[key]:
            changes.append(_change(node.spec, ("step", name, "params", key), key, value))
    own = {item: {k: e["value"] for k, e in table.items()} for item, table in spec["item_params"].items()}
    for item in sorted({*own, *node.step.items}):
        written = node.step.items.get(item, {})
        for key in sorted({*own.get(item, {}), *written}):
            wanted = own.get(item, {}).get(key, made.get(key, _MISSING))
            if wanted is _MISSING:
                continue
            keys = ("step", name, "item", item, key)
            if wanted == made.get(key, _MISSING):
                changes += [Change(keys, None)] if key in written else []
            elif wanted != written.get(key, _MISSING):
                changes.append(_change(node.spec, keys, key, wanted))
    return changes


def _facts_of_data(view: View, name: str, value: Any) -> UsageError:
    """Say where facts of the microscope are set: in their table, or at the step that reads the data."""
    readers = [
        n for n in view.graph.nodes.values() if not n.spec.inputs and name in n.spec.params.model_fields
    ]
    sets = " or ".join(f"--set {node.name}.{name}={value}" for node in readers)
    return UsageError(
        "[microscope] is a table of staproj.toml, not a step",
        where=f"--set microscope.{name}",
        hint=f"write {sets}, or edit the table" if sets else f"see {view.manifest.where} [microscope]",
    )


def of_step(changes: Iterable[Change], step: str) -> list[Change]:
    """Return the edits that concern one step."""
    return [change for change in changes if change.keys[:2] == ("step", step)]


def _changes(step: Step, spec: StageSpec, name: str, value: Any, items: Iterable[str] | None) -> list[Change]:
    if items is not None and spec.scope == "item":
        return [_change(spec, ("step", step.name, "item", item, name), name, value) for item in items]
    changes = [_change(spec, ("step", step.name, "params", name), name, value)]
    for item, table in step.items.items():
        if name in table:
            changes.append(_change(spec, ("step", step.name, "item", item, name), name, value))
    return changes


def _change(spec: StageSpec, keys: tuple[str, ...], name: str, value: Any) -> Change:
    """TOML has no "none": a value that is none is written by leaving the key out."""
    if value is None and spec.params.model_fields[name].default is not None:
        raise UsageError(
            f"{name} cannot be set to none: its default is {spec.params.model_fields[name].default!r}",
            where=".".join(keys),
            hint="give a value",
        )
    return Change(keys, value)
