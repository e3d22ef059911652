"""``tui``: the terminal interface."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from staproj.cli.options import ProjectDir
from staproj.errors import ProjectError, UsageError


def tui(
    directory: Annotated[
        Path | None, Parameter(help="The project; here, or the nearest parent, without.")
    ] = None,
    /,
    *,
    ascii: Annotated[bool, Parameter(negative="", help="Draw with ASCII characters only.")] = False,
    project: ProjectDir = None,
) -> int:
    """Look at a project and work on it in the terminal; runs go on when you leave.

    Where there is no project, a wizard makes one. Keys: ? on every screen.
    """
    served = bool(os.environ.get("TEXTUAL_DRIVER"))  # textual-serve shows it in a browser, without a terminal
    if not served and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("this is for a terminal", hint="`staproj status --json` is for programs")
    from staproj.project.layout import find_root
    from staproj.tui.app import run

    place = directory or project
    root: Path | None
    try:
        root = find_root(place or Path())
    except ProjectError:
        if place is not None and place.exists() and not place.is_dir():
            raise
        root = None
    there = place is not None and place.is_dir()
    return run(
        root,
        ascii_only=ascii or None,
        start_in=place if there else None,
        directory="" if there or place is None else str(place),
    )
