"""Names of stages, their declarations, and those that plug-ins add.

``names()`` imports nothing, ``get(name)`` imports one declaration, ``all_stages()`` imports all of them.
Plug-ins register a ``StageSpec`` under the entry point group ``staproj.stages``.
"""

from __future__ import annotations

import difflib
import importlib
import os
import site
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from staproj.errors import UsageError
from staproj.stages.api import StageSpec

BUILT_IN = (
    "import_movies",
    "import_stack",
    "motion",
    "clean",
    "coarse_align",
    "fiducials",
    "fine_align",
    "position",
    "ctf",
    "gold",
    "reconstruct",
    "geometry",
    "seed",
    "initial_reference",
    "reorient",
    "match",
    "select",
    "refine",
    "average",
    "mask",
    "fsc",
    "postprocess",
)


_TEMPORARY: dict[str, StageSpec] = {}
_BARRED: set[str] = set()


def names() -> list[str]:
    """Return all stage names, built-in ones in pipeline order, then plug-ins."""
    return [*BUILT_IN, *sorted(_usable_plugins()), *_TEMPORARY]


def bar(directory: Path) -> None:
    """Never take a stage from ``directory``: a project brings no code with it, wherever Python looks for it.

    A Python environment that lies in it, and is the one running, stays what it is: installed.
    """
    if str(directory) not in _BARRED:
        _BARRED.add(str(directory))
        get.cache_clear()


@contextmanager
def temporarily(*specs: StageSpec) -> Iterator[None]:
    """Add stages to the registry for the length of a ``with`` block, as tests of the engine need."""
    for spec in specs:
        _TEMPORARY[spec.name] = spec
    get.cache_clear()
    try:
        yield
    finally:
        for spec in specs:
            _TEMPORARY.pop(spec.name, None)
        get.cache_clear()


@cache
def get(name: str) -> StageSpec:
    """Return the declaration of one stage.

    Raises
    ------
    UsageError
        If there is no such stage.
    """
    if name in _TEMPORARY:
        return _TEMPORARY[name]
    if name in BUILT_IN:
        spec: StageSpec = importlib.import_module(f"staproj.stages.{name}.declare").STAGE
        return spec
    plugins = _usable_plugins()
    if name in plugins:
        loaded: StageSpec = plugins[name].load()
        return loaded
    close = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UsageError(f"there is no stage {name!r}", hint=hint + "`staproj stages` lists them all")


def all_stages() -> list[StageSpec]:
    """Return every declaration."""
    return [get(name) for name in names()]


def _usable_plugins() -> dict[str, EntryPoint]:
    return {name: entry for name, (entry, place) in _plugins().items() if not _is_barred(place)}


def _is_barred(place: str) -> bool:
    installed = [sys.prefix, sys.base_prefix, *([site.USER_SITE] if site.USER_SITE else [])]
    if any(_below(place, os.path.realpath(directory)) for directory in installed):
        return False
    return any(_below(place, os.path.realpath(directory)) for directory in _BARRED)


def _below(place: str, directory: str) -> bool:
    return place == directory or place.startswith(directory.rstrip(os.sep) + os.sep)


@cache
def _plugins() -> dict[str, tuple[EntryPoint, str]]:
    """Return the plug-ins by name, each with the directory that its package was found in."""
    found = {}
    for entry in entry_points(group="staproj.stages"):
        place = str(entry.dist.locate_file("")) if entry.dist is not None else ""
        found[entry.name] = (entry, os.path.realpath(place))
    return found
