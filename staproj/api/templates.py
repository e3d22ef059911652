"""Templates to choose from: what each is for, its steps, and the data it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from staproj.api.create import load_template, template_names


def templates() -> list[dict[str, Any]]:
    """Return ``{"name", "help", "steps", "takes"}`` of all templates (``steps``: their number)."""
    found = []
    for name in template_names():
        told = template(name)
        found.append(
            {"name": name, "help": told["help"], "steps": len(told["steps"]), "takes": [*told["takes"]]}
        )
    return found


def template(name: str) -> dict[str, Any]:
    """Describe a template (a name, or a ``.toml`` file).

    Returns ``{"name", "help", "text", "steps", "takes", "microscope"}``: ``text`` is the TOML with its
    comments, ``steps`` are ``{"step", "stage", "summary"}`` in order, ``takes`` is ``{name: {"step", "help",
    "value"}}`` of the parameters that name raw data, ``microscope`` the facts of the data that are set.

    Raises
    ------
    UsageError
        If there is none of that name.
    ManifestError
        If it is not one.
    """
    from staproj.engine import params, plan

    made = load_template(name)
    nodes = plan.build(made).nodes
    takes: dict[str, dict[str, Any]] = {}
    for node in nodes.values():
        if node.spec.inputs:
            continue
        for key in params.data_parameters(node.spec):
            about = node.spec.params.model_fields[key].description or ""
            value = node.step.params.get(key)
            takes.setdefault(key, {"step": node.name, "help": about, "value": value})
    return {
        "name": Path(name).stem if name.endswith(".toml") else name,
        "help": made.template_help,
        "text": made.text,
        "steps": [
            {"step": node.name, "stage": node.spec.name, "summary": node.spec.summary}
            for node in nodes.values()
        ],
        "takes": takes,
        "microscope": dict(made.microscope),
    }
