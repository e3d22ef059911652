"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from staproj.errors import UsageError

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document instead of text.")]
ProjectDir = Annotated[
    Path | None,
    Parameter(name=["--project", "-C"], help="Project directory; default: here, or the nearest parent."),
]
Sets = Annotated[
    list[str] | None,
    Parameter(
        name="--set",
        negative="",
        help="Set a parameter: STEP.PARAM=VALUE, the value as in TOML (text without quotes). Repeatable.",
    ),
]
Seed = Annotated[int, Parameter(help="Seed of every random draw.")]
Quiet = Annotated[bool, Parameter(name="--quiet", negative="", help="No progress bars.")]


def parse_sets(texts: list[str] | None, *, default_step: str | None = None) -> dict[str, str]:
    """Return ``{"step.parameter": value}`` from texts ``step.parameter=value``; values stay text.

    ``default_step`` is used where a text names no step.

    Raises
    ------
    UsageError
        If a text is not an assignment or names no step.
    """
    sets: dict[str, str] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        step, dot, name = key.strip().rpartition(".")
        if not equals or not name or (dot and not step):
            raise UsageError(
                f"{text!r} does not set a parameter",
                where="--set",
                hint="write --set STEP.PARAM=VALUE, e.g. --set ctf.defocus_max_um=6",
            )
        if not step and default_step is None:
            raise UsageError(
                f"{text!r} does not say which step",
                where="--set",
                hint=f"write --set STEP.{key.strip()}={value}",
            )
        sets[f"{step or default_step}.{name}"] = value.strip()
    return sets
