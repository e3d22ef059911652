"""Check a value against a JSON schema: the keywords that schemas shipped with staproj use, and no others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_KNOWN = {
    "type", "properties", "items", "required", "enum", "pattern", "format", "minLength", "maxLength",
    "minimum", "maximum", "minItems",
}  # fmt: skip
_SILENT = {"$id", "$schema", "title", "description", "default", "examples", "definitions"}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def load(name: str) -> dict[str, Any]:
    """Return a schema that is shipped with staproj."""
    path = Path(__file__).with_name("schemas") / f"{name}.schema.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def problems(value: Any, schema: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, str]]:
    """Yield (place, problem) for everything in ``value`` that the schema does not allow.

    Raises
    ------
    NotImplementedError
        If the schema uses a keyword that is not checked here: then silence would mean nothing.
    """
    strange = set(schema) - _KNOWN - _SILENT
    if strange:
        raise NotImplementedError(f"keyword {sorted(strange)[0]!r} of a JSON schema")
    kinds = schema.get("type", [])
    wanted = [kinds] if isinstance(kinds, str) else list(kinds)
    if wanted and not any(_is(value, kind) for kind in wanted):
        yield where, f"must be {' or '.join(wanted)}, is {_shown(value)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        told = ", ".join(map(str, schema["enum"][:20])) + (", ..." if len(schema["enum"]) > 20 else "")
        yield where, f"must be one of {told}, is {_shown(value)}"
    if isinstance(value, str):
        yield from _text_problems(value, schema, where)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            yield where, f"must be {schema.get('minimum')} to {schema.get('maximum')}, is {value}"
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield where, f"needs at least {schema['minItems']}"
        for number, part in enumerate(value):
            yield from problems(part, schema.get("items", {}), f"{where}[{number}]")
    elif isinstance(value, dict):
        for name in schema.get("required", []):
            if name not in value:
                yield _join(where, name), "is missing"
        for name, part in value.items():
            if name in schema.get("properties", {}):
                yield from problems(part, schema["properties"][name], _join(where, name))


def _text_problems(value: str, schema: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    if len(value) < schema.get("minLength", 0):
        yield where, f"needs at least {schema['minLength']} characters"
    if len(value) > schema.get("maxLength", len(value)):
        yield where, f"may have {schema['maxLength']} characters, has {len(value)}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield where, f"has not the form wanted ({schema['pattern']}): {_shown(value)}"
    if schema.get("format") == "email" and not _EMAIL.fullmatch(value):
        yield where, f"is no e-mail address: {_shown(value)}"


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _shown(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
