"""What an examination of a project finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SEVERITIES = ("damage", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing: ``where`` in the project, what it is, and what to do (``fix``).

    ``fixable`` tells that ``staproj doctor --fix`` does it.
    """

    kind: str
    severity: str
    where: str
    message: str
    fix: str
    fixable: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return what ``doctor --json`` shows."""
        return asdict(self)
