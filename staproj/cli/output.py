"""The only place that writes to stdout: text for people, or one JSON document for programs.

What stands in a project may come from anywhere: characters that act on a terminal are shown as their codes.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from staproj.report.visible import json_safe, visible

_LONG = 200


def emit(data: Any, text: str | Iterable[str], *, as_json: bool, fit: bool = False) -> None:
    """Print ``data`` as one JSON document, or ``text`` (lines) for a person.

    With ``fit`` lines are cut at the width of the terminal, so that a table stays one; a pipe gets all.
    """
    if as_json:
        _write(json_safe(_document(data)) + "\n", as_json=True)
    else:
        lines = [text] if isinstance(text, str) else list(text)
        columns = shutil.get_terminal_size().columns if fit and is_terminal() else 0
        shown = visible("\n".join(lines))
        if columns:
            cut = [line if len(line) <= columns else line[: columns - 1] + "…" for line in shown.split("\n")]
            shown = "\n".join(cut)
        if lines:
            _write(shown + "\n")
    sys.stdout.flush()


def _document(data: Any) -> str:
    """Return JSON: indented, or one entry a line for a list of hundreds, which nobody reads by eye."""
    if isinstance(data, list) and len(data) > _LONG:
        return "[\n" + ",\n".join(map(_entry, data)) + "\n]"
    return json.dumps(plain(data), ensure_ascii=False, indent=2, allow_nan=False)


def _entry(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


def stream(text: str) -> None:
    """Print text as it comes (log files)."""
    _write(visible(text))
    sys.stdout.flush()


def _write(text: str, *, as_json: bool = False) -> None:
    """Write text; what the encoding of stdout lacks (a locale without Unicode) is written as its code."""
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        safe = json.dumps(json.loads(text), indent=2) + "\n" if as_json else text
        sys.stdout.write(safe.encode("ascii", "backslashreplace").decode())


def draw(lines: Iterable[str]) -> None:
    """Print drawings as they are: only for what ``staproj.report`` made of numbers, never for text."""
    _write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def has_unicode() -> bool:
    """Tell whether stdout takes more than ASCII."""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def is_terminal() -> bool:
    """Tell whether a person is looking at stdout."""
    return sys.stdout.isatty()


def plain(value: Any) -> Any:
    """Return ``value`` as JSON types: not-a-number becomes null, paths and enums become text."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # arrays and their scalars
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return str(value)
