"""The form of a line of the index: it is a cache, but one that may come from anywhere with its project."""

from __future__ import annotations

from typing import Any

from staproj.project.layout import RUN_NAME

_LARGEST = 2**63
_TEXT, _OR_NONE, _REAL, _WHOLE = (str,), (str, type(None)), (float, int, type(None)), (int, type(None))
_TYPES: tuple[tuple[type, ...], ...] = (
    *(_TEXT, _TEXT, _TEXT, _OR_NONE, _TEXT, _OR_NONE, _OR_NONE, _TEXT, (list,), _REAL, _REAL, _WHOLE),
    *(_TEXT, (bool, type(None)), _TEXT, _OR_NONE, (dict,), (int,), (list,), (bool,), _REAL, (list,)),
)
_DIRECTORY, _RUN, _STEP, _ITEMS, _BYTES, _FILES, _PARENTS, _STAMP = 0, 1, 2, 8, 16, 17, 18, 21
_REALS = (9, 10, 11, 20)
_SEEN: set[tuple[type, ...]] = set()


def fits(values: list[Any]) -> bool:
    """Tell whether the values of a line, in the order of ``index.Row``, have the types of a row."""
    kinds = tuple(map(type, values))
    if kinds not in _SEEN:
        if not all(kind in allowed for kind, allowed in zip(kinds, _TYPES, strict=True)):
            return False
        _SEEN.add(kinds)
    directory, sizes = values[_DIRECTORY], values[_BYTES]
    numbers = [*sizes.values(), *values[_STAMP], values[_FILES]]
    return (
        directory == f"{values[_RUN]}-{values[_STEP]}"
        and RUN_NAME.match(directory) is not None
        and all(type(text) is str for text in (*values[_ITEMS], *values[_PARENTS]))
        and all(type(number) is int and abs(number) < _LARGEST for number in numbers)
        and all(values[i] is None or -_LARGEST < values[i] < _LARGEST for i in _REALS)
    )
