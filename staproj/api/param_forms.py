"""Parameters of a stage as a form needs them: type, choices, bounds and help, from the declaration alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staproj.engine import params
from staproj.errors import StaprojError
from staproj.project.manifest import Change
from staproj.stages.api import StageSpec
from staproj.units import Unit

_KINDS = {
    "number": "float",
    "integer": "int",
    "boolean": "bool",
    "string": "text",
    "array": "list",
    "object": "table",
}
_BOUNDS = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt"}


def describe(spec: StageSpec) -> dict[str, dict[str, Any]]:
    """Return ``{name: {"name", "type", "element", "choices", "bounds", ...}}``, in order of declaration.

    ``type`` is float, int, bool, text, list (of ``element``), table, choice (one of ``choices``), or any
    (several of them: written as in TOML). ``choices`` of another type than choice are words that do as well.
    """
    schema = spec.params.model_json_schema()
    required = set(schema.get("required", ()))
    found = {}
    for name, entry in schema.get("properties", {}).items():
        parts = [_resolved(part, schema) for part in entry.get("anyOf", [entry])]
        found[name] = {
            "name": name,
            "type": _type(parts),
            "element": _element(parts, schema),
            "choices": [value for part in parts for value in _choices(part)],
            "bounds": _bounds(parts),
            "optional": any(part.get("type") == "null" for part in parts),
            "required": name in required,
            "default": entry.get("default"),
            "unit": Unit[entry["unit"]].value,
            "help": entry.get("description", ""),
            "per_item": bool(entry.get("per_item", True)) and spec.scope == "item",
            "data_path": bool(entry.get("data_path", False)),
        }
    return found


def as_text(spec: StageSpec, name: str, value: Any) -> str:
    """Return a value as a person types it, so that it is read as that value again.

    >>> from staproj.stages import registry
    >>> clean = registry.get("clean")
    >>> as_text(clean, "exclude_views", [0, 3]), as_text(clean, "remove_xrays", True)
    ('[0, 3]', 'true')
    """
    from staproj.project import manifest_edit

    if value is None:
        return "none"
    if isinstance(value, str) and value and value == value.strip():
        try:
            if params.parse_value(spec, name, value, step=spec.name) == value:
                return value
        except StaprojError:  # another value than the parameter takes is shown all the same
            return value
    return manifest_edit.describe(Change((name,), value)).partition(" = ")[2]


def _resolved(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = part.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[-1]] if reference else part


def _choices(part: Mapping[str, Any]) -> list[Any]:
    return [part["const"]] if "const" in part else list(part.get("enum", ()))


def _type(parts: list[Mapping[str, Any]]) -> str:
    """Return the one type that is left beside none and single words."""
    kinds = [_KINDS.get(str(part.get("type")), "any") for part in parts if _is_open(part)]
    kinds = list(dict.fromkeys(kinds))
    if not kinds:
        return "choice"
    return kinds[0] if len(kinds) == 1 else "any"


def _is_open(part: Mapping[str, Any]) -> bool:
    return part.get("type") != "null" and not _choices(part)


def _element(parts: list[Mapping[str, Any]], schema: Mapping[str, Any]) -> str | None:
    for part in parts:
        if part.get("type") == "array" and isinstance(part.get("items"), Mapping):
            return _type([_resolved(part["items"], schema)])
    return None


def _bounds(parts: list[Mapping[str, Any]]) -> dict[str, float]:
    return {word: part[key] for part in parts for key, word in _BOUNDS.items() if key in part}
