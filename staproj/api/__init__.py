"""The one door for command line, screens, report and scripts: :class:`Project`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from staproj.api.project import Project

__all__ = ["Project"]


def __getattr__(name: str) -> Any:
    if name == "Project":
        from staproj.api.project import Project

        return Project
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
