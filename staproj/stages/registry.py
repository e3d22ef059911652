"""Names of stages, their declarations, and those that plug-ins add.

``names()`` imports nothing, ``get(name)`` imports one declaration, ``all_stages()`` imports all of them.
Plug-ins register a ``StageSpec`` under the entry point group ``staproj.stages``.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points

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


def names() -> list[str]:
    """Return all stage names, built-in ones in pipeline order, then plug-ins."""
    return [*BUILT_IN, *sorted(_plugins()), *_TEMPORARY]


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
    plugins = _plugins()
    if name in plugins:
        loaded: StageSpec = plugins[name].load()
        return loaded
    close = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UsageError(f"there is no stage {name!r}", hint=hint + "`staproj stages` lists them all")


def all_stages() -> list[StageSpec]:
    """Return every declaration."""
    return [get(name) for name in names()]


@cache
def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="staproj.stages")}
