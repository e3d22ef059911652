"""What a stage does and what can be set, from its declaration alone."""

from __future__ import annotations

import textwrap
from typing import Any

from staproj.report.tables import number, table
from staproj.stages import references
from staproj.stages.api import StageSpec
from staproj.units import Unit

WIDTH = 100


def describe(spec: StageSpec) -> dict[str, Any]:
    """Return a declaration as plain data: ports, and type, unit, default, bounds, help of each parameter."""
    schema = spec.params.model_json_schema()
    return {
        "name": spec.name,
        "group": spec.group,
        "summary": spec.summary,
        "doc": spec.doc,
        "scope": spec.scope,
        "cache_version": spec.cache_version,
        "inputs": {
            name: {"kind": port.kind.value, "doc": port.doc, "optional": port.optional}
            for name, port in spec.inputs.items()
        },
        "outputs": {
            name: {"kind": port.kind.value, "doc": port.doc, "per_item": port.per_item}
            for name, port in spec.outputs.items()
        },
        "params": {name: _parameter(schema, name, spec) for name in spec.params.model_fields},
        "citations": list(spec.citations),
    }


def stage_page(spec: StageSpec) -> list[str]:
    """Return the help page of a stage: what it does, its ports and its parameters."""
    facts = describe(spec)
    each = "once for each tilt series" if spec.scope == "item" else "once for the whole project"
    lines = [f"{spec.name}: {spec.summary}", f"runs {each}", ""]
    lines += _paragraphs(spec.doc)
    for title, ports in (("takes", facts["inputs"]), ("gives", facts["outputs"])):
        if ports:
            lines += ["", title]
            rows = [
                [name, port["kind"] + (" (optional)" if port.get("optional") else ""), port["doc"]]
                for name, port in ports.items()
            ]
            lines += table(["name", "kind", ""], rows, indent=2)
    if facts["params"]:
        lines += ["", f"parameters (set with --set STEP.NAME=VALUE, or under [step.{spec.name}.params])"]
        for name, entry in facts["params"].items():
            lines += _parameter_lines(name, entry)
    if spec.citations:
        lines += ["", "cite", *("  " + references.say(text) for text in spec.citations)]
    return lines


def stage_list(specs: list[StageSpec]) -> list[str]:
    """Return one line a stage, in pipeline order."""
    return table(["stage", "group", "what it does"], [[s.name, s.group, s.summary] for s in specs])


def _parameter(schema: dict[str, Any], name: str, spec: StageSpec) -> dict[str, Any]:
    entry = schema["properties"][name]
    parts = [entry, *entry.get("anyOf", [])]
    return {
        "type": _type(entry, schema.get("$defs", {})),
        "unit": Unit[entry["unit"]].value,
        "default": entry.get("default"),
        "required": name in schema.get("required", []),
        "minimum": _first(parts, "minimum", "exclusiveMinimum"),
        "maximum": _first(parts, "maximum", "exclusiveMaximum"),
        "choices": next((part["enum"] for part in parts if "enum" in part), None),
        "per_item": bool(entry.get("per_item", True)),
        "help": entry["description"],
    }


def _first(parts: list[dict[str, Any]], *keys: str) -> Any:
    return next((part[key] for part in parts for key in keys if key in part), None)


def _type(entry: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "anyOf" in entry:
        names = [_type(part, definitions) for part in entry["anyOf"]]
        return " or ".join("automatic" if n == "null" else n for n in dict.fromkeys(names))
    if "$ref" in entry:
        return _type(definitions[entry["$ref"].rsplit("/", 1)[-1]], definitions)
    if "const" in entry:
        return repr(entry["const"])
    if "enum" in entry:
        return "one of " + ", ".join(str(value) for value in entry["enum"])
    kind = str(entry.get("type", "any"))
    if kind == "array":
        inner = entry.get("items")
        return f"list of {_type(inner, definitions)}" if isinstance(inner, dict) else "list"
    if kind == "object":
        return "table"
    return {"number": "number", "integer": "whole number", "string": "text", "boolean": "true or false"}.get(
        kind, kind
    )


def _parameter_lines(name: str, entry: dict[str, Any]) -> list[str]:
    facts = [entry["type"]]
    if entry["unit"]:
        facts.append(entry["unit"])
    low, high = entry["minimum"], entry["maximum"]
    if low is not None and high is not None:
        facts.append(f"{number(low)} to {number(high)}")
    elif low is not None:
        facts.append(f"from {number(low)}")
    elif high is not None:
        facts.append(f"up to {number(high)}")
    default = (
        "no default"
        if entry["required"]
        else "automatic"
        if entry["default"] is None
        else number(entry["default"])
    )
    head = f"  {name} = {default}" if not entry["required"] else f"  {name} (must be set)"
    body = textwrap.wrap(f"{entry['help']} [{', '.join(facts)}]", WIDTH - 6)
    return [head, *("      " + line for line in body)]


def _paragraphs(text: str) -> list[str]:
    lines: list[str] = []
    for block in textwrap.dedent(text).strip().split("\n\n"):
        lines += [*textwrap.wrap(" ".join(block.split()), WIDTH), ""]
    return lines[:-1]
