"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from staproj.errors import UsageError

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document instead of text.")]
ProjectDir = Annotated[
    Path | None,
    Parameter(name=["--project", "-C"], help="Project directory; default: here, or the nearest parent that is one."),
]
Sets = Annotated[
    list[str] | None,
    Parameter(
        name="--set",
        negative="",
        help="Set a parameter: STEP.PARAM=VALUE, the value as in TOML (text may go without quotes). Repeatable.",
    ),
]
Seed = Annotated[int, Parameter(help="Seed of every random draw.")]
Quiet = Annotated[bool, Parameter(name="--quiet", negative="", help="No progress bars.")]


def parse_value(text: str) -> Any:
    """Return the TOML value that ``text`` spells; anything that is not TOML is taken as text."""
    if "\n" in text:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def parse_sets(texts: list[str] | None, *, default_step: str | None = None) -> dict[str, dict[str, Any]]:
    """Return ``{step: {parameter: value}}`` from texts ``step.parameter=value``.

    ``default_step`` is used where a text names no step.

    Raises
    ------
    UsageError
        If a text is not an assignment or names no step.
    """
    sets: dict[str, dict[str, Any]] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        step, dot, name = key.strip().rpartition(".")
        if not equals or not name or (dot and not step):
            raise UsageError(
                f"{text!r} does not set a parameter",
                where="--set",
                hint="write STEP.PARAM=VALUE, e.g. --set ctf.defocus_max_um=6",
            )
        if not step:
            if default_step is None:
                raise UsageError(
                    f"{text!r} does not say which step", where="--set", hint=f"write --set STEP.{key.strip()}={value}"
                )
            step = default_step
        sets.setdefault(step, {})[name] = parse_value(value.strip())
    return sets
