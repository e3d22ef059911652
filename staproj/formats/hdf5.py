"""HDF5 files of unknown origin: only plain groups, numbers and text come out, bounded by the file.

What HDF5 (and h5py on top) would do with a file made to do harm, and what is refused here:

* external links, soft links, virtual datasets and external storage read *other* files;
* object, reference, opaque and compound types: an opaque type tagged ``NUMPY:O`` makes h5py take the bytes
  of the file for addresses of Python objects;
* text of variable length in arrays, chunks larger than their array, huge declared shapes with nothing stored:
  gigabytes in memory from a few bytes;
* filters other than deflate, shuffle and fletcher32: they load plug-ins;
* a FIFO or a device in place of the file: opening it may never return.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5o, h5s, h5t, h5z
from numpy.typing import NDArray

MAX_OBJECTS = 500_000
MAX_TEXT_BYTES = 16 << 20
_DEFLATE_MOST = 1100
"""Deflate cannot pack better than 1032 to 1."""

DAMAGE = (
    OSError,
    KeyError,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    OverflowError,
    MemoryError,
    SystemError,
)
"""What h5py and a reader built on it raise on a damaged file."""

_PLAIN = {h5t.INTEGER: (1, 2, 4, 8), h5t.FLOAT: (2, 4, 8), h5t.ENUM: (1, 2, 4, 8)}
_FILTERS = (h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32)
_LAYOUTS = (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED)


class _Budget:
    """What one file may still cost: bytes in memory, objects."""

    def __init__(self, n_bytes: int) -> None:
        self._bytes = n_bytes
        self._objects = MAX_OBJECTS

    def take(self, n_bytes: int, n_objects: int = 1) -> None:
        self._bytes -= n_bytes
        self._objects -= n_objects
        if self._bytes < 0 or self._objects < 0:
            raise ValueError("it declares more data than it can hold")


class Group:
    """A group of an open file."""

    def __init__(self, group: h5py.Group, budget: _Budget) -> None:
        self._group = group
        self._budget = budget

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a member called ``name``."""
        return name not in {"", ".", ".."} and "/" not in name and name in self._group

    def names(self) -> list[str]:
        """Return the names of all members."""
        found = [str(name) for name in self._group]
        self._budget.take(sum(map(len, found)), len(found))
        return found

    def is_group(self, name: str) -> bool:
        """Tell whether member ``name`` is a group."""
        return isinstance(self._open(name), h5g.GroupID)

    def group(self, name: str) -> Group:
        """Return a member that is a group.

        Raises
        ------
        KeyError
            If there is none.
        TypeError
            If it is a link to another place, or not a group.
        """
        found = self._open(name)
        if not isinstance(found, h5g.GroupID):
            raise TypeError(f"{name!r} is not a group")
        return Group(h5py.Group(found), self._budget)

    def array(self, name: str) -> NDArray[Any]:
        """Return a member that is an array of numbers or of text (as bytes) of fixed length.

        Raises
        ------
        KeyError
            If there is none.
        ValueError, TypeError
            If it is anything but plain data in this file.
        """
        found = self._open(name)
        if not isinstance(found, h5d.DatasetID):
            raise TypeError(f"{name!r} is not an array")
        kind, space, plan = found.get_type(), found.get_space(), found.get_create_plist()
        _check_type(kind, name)
        if space.get_simple_extent_type() not in (h5s.SCALAR, h5s.SIMPLE):
            raise ValueError(f"{name!r} is empty")
        layout = plan.get_layout()
        if layout not in _LAYOUTS or plan.get_external_count():
            raise ValueError(f"the data of {name!r} is not in this file")
        filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
        if not set(filters) <= set(_FILTERS):
            raise ValueError(f"{name!r} needs a filter that staproj does not use")
        declared = math.prod(space.shape) * kind.get_size()
        stored = found.get_storage_size()
        if layout == h5d.CHUNKED:
            chunk = math.prod(plan.get_chunk()) * kind.get_size()
            most = stored * _DEFLATE_MOST if filters else stored
            if declared > most or chunk > max(most, 1):
                raise ValueError(f"{name!r} declares more data than is stored")
            self._budget.take(chunk)
        elif declared > stored:
            raise ValueError(f"{name!r} declares more data than is stored")
        self._budget.take(declared)
        return np.asarray(h5py.Dataset(found)[()])

    def attribute(self, name: str) -> Any:
        """Return an attribute: a number, true or false, or text.

        Raises
        ------
        KeyError
            If there is none.
        ValueError
            If it is anything but a single number or text.
        """
        found = h5a.open(self._group.id, name.encode())
        kind = found.get_type()
        _check_type(kind, name, variable=True)
        if found.get_space().get_simple_extent_type() != h5s.SCALAR:
            raise ValueError(f"attribute {name!r} is not a single value")
        value = self._group.attrs[name]
        text = value.encode() if isinstance(value, str) else value  # halves of characters raise here
        self._budget.take(len(text) if isinstance(text, bytes) else 8)
        return text.decode() if isinstance(text, bytes) else text

    def has_attribute(self, name: str) -> bool:
        """Tell whether there is an attribute called ``name``."""
        return name in self._group.attrs

    def attributes(self) -> dict[str, Any]:
        """Return all attributes."""
        names = [str(name) for name in self._group.attrs]
        self._budget.take(sum(map(len, names)), len(names))
        return {name: self.attribute(name) for name in names}

    def _open(self, name: str) -> Any:
        """Open a member that really lies here: links lead to other places, in this file or out of it."""
        if name not in self:
            raise KeyError(f"{name!r} is missing")
        if not isinstance(self._group.get(name, getlink=True), h5py.HardLink):
            raise TypeError(f"{name!r} is a link to another place")
        return h5o.open(self._group.id, name.encode())


@contextmanager
def open_file(path: Path, *, max_bytes: int) -> Iterator[Group]:
    """Open a file and give its root; all that is read from it together is at most ``max_bytes`` in memory.

    Raises
    ------
    OSError
        If it is not a regular file, or not HDF5.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # before anything opens it: a FIFO would wait for ever
        raise OSError("not a regular file")
    with h5py.File(path, "r", locking=False) as handle:
        yield Group(handle, _Budget(max_bytes))


def _check_type(kind: h5t.TypeID, name: str, *, variable: bool = False) -> None:
    family = kind.get_class()
    if family == h5t.STRING:
        good = variable if kind.is_variable_str() else 0 < kind.get_size() <= MAX_TEXT_BYTES
    else:
        good = kind.get_size() in _PLAIN.get(family, ())
    if not good:
        raise ValueError(f"{name!r} is neither numbers nor text")
