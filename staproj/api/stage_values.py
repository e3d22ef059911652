"""Values of a stage before there is a project to put them in: read as typed, and checked."""

from __future__ import annotations

from typing import Any

from staproj.engine import params
from staproj.errors import StaprojError
from staproj.stages import registry


def value_of(stage: str, name: str, text: str) -> Any:
    """Return a value that was typed as the stage takes it.

    Raises
    ------
    UsageError
        If there is no such parameter, or the value does not fit.
    """
    return params.parse_value(registry.get(stage), name, text.strip(), step=stage)


def problem_of(stage: str, name: str, text: str) -> str:
    """Return "" if ``text`` is a value for a parameter, else what is wrong with it, in one line.

    >>> problem_of("import_movies", "voltage_kv", "300"), problem_of("import_movies", "voltage_kv", "-1")
    ('', 'must be > 0 kV')
    """
    try:
        value_of(stage, name, text)
    except StaprojError as error:
        return " ".join(error.message.split()).removeprefix(f"{name} = {' '.join(text.split())}: ")
    return ""
