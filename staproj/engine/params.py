"""Parameters in layers, each value keeping the layer it came from.

stage default < site < template < [microscope] (stages that read data) < [step.X.params] < [step.X.item.TS]
< command line. Site values were copied into the manifest when the project was made, so that moving it to
another laboratory changes nothing. Template values are written into [step.X.params] too; they are called
"template" as long as nobody changed them.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from staproj.engine import values
from staproj.errors import ManifestError, UsageError
from staproj.project.manifest import Manifest, Step, suggestion
from staproj.stages.api import Params, StageSpec

DEFAULT, SITE, TEMPLATE, MICROSCOPE = "default", "site", "template", "microscope"
STEP, ITEM, COMMAND_LINE = "step", "item", "command line"


@dataclass(frozen=True)
class Resolved:
    """Parameters of one step (or of one item of it): plain JSON values, layers, and the checked object."""

    values: Mapping[str, Any]
    layers: Mapping[str, str]
    model: Params

    def table(self) -> dict[str, dict[str, Any]]:
        """Return ``{name: {"value", "layer"}}`` as records keep it."""
        return {name: {"value": self.values[name], "layer": self.layers[name]} for name in self.values}


def resolve(
    manifest: Manifest,
    step: Step,
    spec: StageSpec,
    *,
    item: str | None = None,
    template: Mapping[str, Any] | None = None,
    marked: Collection[tuple[str, ...]] = (),
) -> Resolved:
    """Put the layers on top of each other and check the result.

    ``template`` holds the values its template gave to this step, ``marked`` the keys of the manifest that
    the command line has set: both only name the layer.

    Raises
    ------
    ManifestError
        If a name is unknown, or a value has the wrong type or is out of bounds.
    """
    given: dict[str, Any] = {}
    layers: dict[str, str] = {}

    def put(layer: str, table: Mapping[str, Any]) -> None:
        for name, value in table.items():
            given[name], layers[name] = value, layer

    names = tuple(spec.params.model_fields)
    put(SITE, manifest.site.get(spec.name, {}))
    if not spec.inputs:
        put(MICROSCOPE, {k: v for k, v in manifest.microscope.items() if k in names})
    put(STEP, step.params)
    for name, value in (template or {}).items():
        if layers.get(name) == STEP and step.params[name] == value:
            layers[name] = TEMPLATE
    for name in step.params:
        if ("step", step.name, "params", name) in marked:
            layers[name] = COMMAND_LINE
    if item is not None:
        _check_per_item(manifest, step, spec, item)
        put(ITEM, step.items.get(item, {}))
        for name in step.items.get(item, {}):
            if ("step", step.name, "item", item, name) in marked:
                layers[name] = COMMAND_LINE
    _check_names(manifest, step, names, layers, item)
    model = _validate(manifest, step, spec, given, layers, item)
    plain = json.loads(model.model_dump_json())
    return Resolved(
        values={name: plain[name] for name in names},
        layers={name: layers.get(name, DEFAULT) for name in names},
        model=model,
    )


def parse_value(spec: StageSpec, name: str, value: Any, *, step: str) -> Any:
    """Return a value from the command line as what the parameter wants: text is read as TOML if it can be.

    Raises
    ------
    UsageError
        If the stage has no such parameter, or the value does not fit.
    """
    fields = spec.params.model_fields
    if name not in fields:
        raise UsageError(
            f"stage {spec.name!r} has no parameter {name!r}",
            where=f"--set {step}.{name}",
            hint=suggestion(name, fields, "parameters"),
        )
    candidates = [value]
    if isinstance(value, str):
        try:
            candidates = [tomllib.loads(f"value = {value}")["value"], value]
        except (ValueError, RecursionError):  # no TOML, or more digits than a number may have
            candidates = [value]
        if value.strip().lower() in ("none", "null"):
            candidates = [None, value]
    problems = []
    for candidate in candidates:
        problem = _problem_of(spec, name, candidate)
        if not problem:
            return candidate
        problems.append(problem)
    raise UsageError(  # the value as TOML is what was meant; that it is no text either says nothing
        f"{name} = {value}: {problems[0]}",
        where=f"--set {step}.{name}",
        hint=values.remedy(spec, name, step=step),
    )


def parse_values(spec: StageSpec, name: str, value: Any, *, step: str) -> list[Any]:
    """Return one or several values of a parameter: a list of values, or text with commas between them.

    ``;`` stands between values that hold commas themselves, ``[1, 2]; [3, 4]``. Text that is one value as it
    stands (of a parameter that takes any text) is one value.

    Raises
    ------
    UsageError
        If the stage has no such parameter, or a value does not fit.
    """
    if isinstance(value, list | tuple):
        parts = list(value)
    elif isinstance(value, str) and ";" in value:
        parts = [part.strip() for part in value.split(";") if part.strip()]
    else:
        try:
            return [parse_value(spec, name, value, step=step)]
        except UsageError:
            if name not in spec.params.model_fields or not isinstance(value, str) or "," not in value:
                raise
        parts = [part.strip() for part in value.split(",") if part.strip()]
    found: list[Any] = []
    for part in parts:
        one = parse_value(spec, name, part, step=step)
        if one not in found:
            found.append(one)
    if not found:
        raise UsageError(f"{name} is given no value", where=f"--set {step}.{name}")
    return found


def data_parameters(spec: StageSpec) -> tuple[str, ...]:
    """Return the names of parameters that are paths or patterns of raw data."""
    return tuple(name for name in spec.params.model_fields if _extra(spec, name).get("data_path"))


def _extra(spec: StageSpec, name: str) -> Mapping[str, Any]:
    extra = spec.params.model_fields[name].json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _problem_of(spec: StageSpec, name: str, value: Any) -> str:
    """Check one value alone; problems of other (required) parameters are not this one's."""
    try:
        spec.params.model_validate_json(_to_json({name: value}), strict=True)
    except ValidationError as error:
        own = [part for part in error.errors() if part["loc"] and part["loc"][0] == name]
        return values.problem(spec, name, own) if own else ""
    except ValueError as error:
        return str(error)
    return ""


def _check_names(
    manifest: Manifest, step: Step, names: tuple[str, ...], layers: Mapping[str, str], item: str | None
) -> None:
    for name, layer in layers.items():
        if name not in names:
            raise ManifestError(
                f"stage {step.stage!r} has no parameter {name!r}",
                where=f"{manifest.where} [{_place(step, layer, item)}]",
                hint=suggestion(name, names, "parameters"),
            )


def _check_per_item(manifest: Manifest, step: Step, spec: StageSpec, item: str) -> None:
    for name in step.items.get(item, {}):
        if name in spec.params.model_fields and _extra(spec, name).get("per_item") is False:
            raise ManifestError(
                f"{name} cannot differ between tilt series",
                where=f"{manifest.where} [step.{step.name}.item.{item}]",
                hint=f"move it to [step.{step.name}.params]",
            )


def _validate(
    manifest: Manifest,
    step: Step,
    spec: StageSpec,
    given: Mapping[str, Any],
    layers: Mapping[str, str],
    item: str | None,
) -> Params:
    place = f"{manifest.where} [{_place(step, STEP, item)}]"
    try:
        return spec.params.model_validate_json(_to_json(given), strict=True)
    except ValidationError as error:
        raise _refused(manifest, step, spec, error.errors(), given, layers, item) from None
    except ValueError as error:
        raise ManifestError(
            f"step {step.name!r}: {error}", where=place, hint="write a finite value"
        ) from None


def _refused(
    manifest: Manifest,
    step: Step,
    spec: StageSpec,
    problems: Sequence[Any],
    given: Mapping[str, Any],
    layers: Mapping[str, str],
    item: str | None,
) -> ManifestError:
    """Say which parameters are wrong, where the first of them was written, and what would do."""
    by_name: dict[str, list[Any]] = {}
    for part in problems:
        by_name.setdefault(str(part["loc"][0]) if part["loc"] else "", []).append(part)
    told, concerned = [], []
    for name, parts in by_name.items():
        if name in spec.params.model_fields:
            value = f" (is {json.dumps(given[name], default=str)})" if name in given else ""
            told.append(f"{name}: {values.problem(spec, name, parts)}{value}")
            concerned.append(name)
            continue
        message = values.plain(parts[0])  # about several parameters together
        defaults = {key: entry.default for key, entry in spec.params.model_fields.items()}
        named = values.named_in(message, {**defaults, **given})
        told.append(
            message + "".join(f"; {key} is {json.dumps(value, default=str)}" for key, value in named.items())
        )
        concerned += named
    written = [name for name in concerned if name in layers]
    chosen = next((n for n in written if layers[n] == COMMAND_LINE), written[0] if written else None)
    layer = layers.get(chosen or "", STEP)
    place = f"{manifest.where} [{_place(step, layer, item)}] {chosen or ''}".rstrip()
    if layer == COMMAND_LINE:
        place = f"--set {step.name}.{chosen}"
    hint = f"see `staproj stages {spec.name}`"
    if concerned:
        hint = values.remedy(spec, chosen or concerned[0], step=step.name if layer == COMMAND_LINE else None)
    return ManifestError(f"step {step.name!r}: " + "; ".join(told), where=place, hint=hint)


def _to_json(table: Mapping[str, Any]) -> str:
    """Return JSON; numbers that are not finite, dates and the like are refused by name."""
    for name, value in table.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} is {value}, which is not a number to compute with")
    try:
        return json.dumps(table, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"a value has a type that no parameter takes ({error})") from None


def _place(step: Step, layer: str, item: str | None) -> str:
    if layer == SITE:
        return f"site.{step.stage}"
    if layer == MICROSCOPE:
        return "microscope"
    if layer == ITEM and item is not None:
        return f"step.{step.name}.item.{item}"
    return f"step.{step.name}.params" if layer != COMMAND_LINE else f"--set {step.name}"
