"""What is wrong with the value of a parameter, in words: bounds with their unit, and a value that does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from staproj.stages.api import StageSpec
from staproj.units import Unit

_BOUNDS = {
    "greater_than_equal": (">=", "ge"),
    "greater_than": (">", "gt"),
    "less_than_equal": ("<=", "le"),
    "less_than": ("<", "lt"),
}
_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_TYPES = {"number": "a number", "integer": "a whole number", "boolean": "true or false", "string": "text"}
_TYPES |= {"array": "a list", "object": "a table { TS_01 = ... }"}


def problem(spec: StageSpec, name: str, parts: Sequence[Mapping[str, Any]]) -> str:
    """Return what pydantic found wrong with one parameter; a bound that is broken says most."""
    for part in parts:
        if part["type"] in _BOUNDS:
            sign, key = _BOUNDS[part["type"]]
            return f"must be {sign} {_with_unit(spec, name, part['ctx'][key])}"
    if parts[0]["type"] == "missing":
        return "must be set"
    if parts[0]["type"] == "value_error":
        return plain(parts[0])
    return f"must be {wanted(spec, name)}"


def plain(part: Mapping[str, Any]) -> str:
    """Return the message of a check that a stage wrote itself."""
    return str(part["msg"]).removeprefix("Value error, ")


def wanted(spec: StageSpec, name: str) -> str:
    """Return what a parameter takes, e.g. ``a number > 0 and <= 20 µm, or "auto"``."""
    schema = spec.params.model_json_schema()
    entry = schema["properties"][name]
    unit = Unit[entry["unit"]].value
    kinds = [_kind(_resolve(part, schema), unit) for part in entry.get("anyOf", [entry])]
    return ", or ".join(dict.fromkeys(kinds))


def remedy(spec: StageSpec, name: str, *, step: str | None) -> str:
    """Return what the parameter takes and how to write a value that does.

    ``step`` is set on the command line; ``None`` writes as in the manifest.
    """
    example = _example(spec, name)
    shown = ""
    if example is not None:
        written = example if isinstance(example, str) and step else json.dumps(example)
        shown = f", e.g. --set {step}.{name}={written}" if step else f", e.g. {name} = {written}"
    return f"{name} takes {wanted(spec, name)}{shown}"


def named_in(message: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that a message about several of them names, with their values."""
    return {name: values[name] for name in re.findall(r"\w+", message) if name in values}


def _with_unit(spec: StageSpec, name: str, value: Any) -> str:
    extra = spec.params.model_fields[name].json_schema_extra
    unit = Unit[str(extra["unit"])].value if isinstance(extra, dict) else ""
    return f"{_number(value)} {unit}".rstrip()


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _resolve(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = part.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[-1]] if reference else part


def _kind(part: Mapping[str, Any], unit: str) -> str:
    if "const" in part or "enum" in part:
        choices = part.get("enum", [part.get("const")])
        return ("one of " if len(choices) > 1 else "") + ", ".join(f'"{choice}"' for choice in choices)
    if part.get("type") == "null":
        return "none"
    limits = [f"{sign} {_number(part[key])}" for key, sign in _LIMITS.items() if key in part]
    kind = _TYPES.get(str(part.get("type")), "a value")
    if not limits:
        return f"{kind} in {unit}" if unit and part.get("type") in ("number", "integer") else kind
    return f"{kind} {' and '.join(limits)} {unit}".rstrip()


def _example(spec: StageSpec, name: str) -> bool | float | str | None:
    """Return the default, or the middle of the bounds."""
    entry = spec.params.model_json_schema()["properties"][name]
    default = entry.get("default")
    if isinstance(default, bool | int | float | str) and default != "":
        return default
    for part in entry.get("anyOf", [entry]):
        low = part.get("minimum", part.get("exclusiveMinimum"))
        high = part.get("maximum", part.get("exclusiveMaximum"))
        if low is not None and high is not None:
            middle = (low + high) / 2
            return int(middle) if part.get("type") == "integer" else float(middle)
    return None
