"""Types of parameters that several import stages share; nothing heavy is imported here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Patterns = Annotated[list[str], BeforeValidator(_as_list)]
"""One or more file patterns; a single text is a list of one."""

Positive = Annotated[float, Field(gt=0)]

Exposure = Positive | dict[str, Positive] | None
"""One exposure for all tilt series, or ``{series = exposure}``, or nothing."""
