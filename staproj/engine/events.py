"""What a running engine tells those who watch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["plan", "step", "item", "progress", "item-done", "step-done", "step-failed"]


@dataclass(frozen=True)
class ProgressEvent:
    """One moment of a run.

    ``plan``: ``total`` steps are looked at. ``step``: a run begins, ``total`` items. ``item``: the stage
    is called. ``progress``: ``done`` of ``total`` within the item. ``item-done``: ``done`` of ``total`` items
    of the run. ``step-done`` (``message``: verdict, or "fresh"), ``step-failed``.
    """

    kind: Kind
    step: str = ""
    run: str | None = None
    item: str | None = None
    done: float = 0.0
    total: float = 0.0
    message: str = ""


Progress = Callable[[ProgressEvent], None]


def ignore(event: ProgressEvent) -> None:
    """Tell nobody."""
