"""By how much two files differ: numbers of MRC and HDF5 files, else bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.errors import StaprojError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from staproj.formats import hdf5

_CHUNK = 1 << 20
_MOST_BYTES = 512 << 20


def amount(old: Path, new: Path) -> dict[str, Any]:
    """Return ``{"told", "max_abs_difference"}`` of two files; the number is ``None`` where there is none.

    ``told`` says it in words. A file that cannot be read as what its name promises is compared by bytes.
    """
    if not old.is_file() or not new.is_file():
        gone = "the sealed file" if not old.is_file() else "the new file"
        return {"told": f"{gone} is not there to compare with", "max_abs_difference": None}
    try:
        if new.suffix in (".h5", ".hdf5"):
            return _hdf5(old, new)
        if new.suffix in (".mrc", ".mrcs", ".st", ".rec", ".ali"):
            return _mrc(old, new)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, MemoryError, StaprojError):
        pass
    return _bytes(old, new)


def _hdf5(old: Path, new: Path) -> dict[str, Any]:
    from staproj.formats import hdf5, vetted

    vetted.vet([old, new], max_bytes=_MOST_BYTES)
    with hdf5.open_file(old, max_bytes=_MOST_BYTES) as a, hdf5.open_file(new, max_bytes=_MOST_BYTES) as b:
        first, second = dict(_values(a)), dict(_values(b))
    only = sorted(set(first) ^ set(second))
    if only:
        return {"told": f"only in one of them: {', '.join(only[:5])}", "max_abs_difference": None}
    worst, differing = 0.0, []
    for name in sorted(first):
        found = _arrays(first[name], second[name])
        if found is not None:
            differing.append(name)
            worst = max(worst, found)
    if not differing:
        return {"told": "the same values, other bytes", "max_abs_difference": 0.0}
    return {"told": f"{', '.join(differing[:5])} differ", "max_abs_difference": worst}


def _values(group: hdf5.Group, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield name and value of every array, and of every attribute of a group."""
    for key, value in group.attributes().items():
        yield f"{above}@{key}", value
    for name in group.names():
        if group.is_group(name):
            yield from _values(group.group(name), f"{above}{name}/")
        else:
            yield f"{above}{name}", group.array(name)


def _mrc(old: Path, new: Path) -> dict[str, Any]:
    import mrcfile

    with mrcfile.mmap(old, "r", permissive=True) as a, mrcfile.mmap(new, "r", permissive=True) as b:
        if a.data is None or b.data is None:
            raise ValueError("no data")
        if a.data.shape != b.data.shape:
            return {"told": f"shape {a.data.shape} and {b.data.shape}", "max_abs_difference": None}
        worst, count = 0.0, 0
        for first, second in zip(_planes(a.data), _planes(b.data), strict=True):
            found = _arrays(first, second)
            if found is not None:
                worst, count = max(worst, found), count + 1
    if not count:
        return {"told": "the same grey values, another header", "max_abs_difference": 0.0}
    return {"told": f"grey values differ in {count} sections", "max_abs_difference": worst}


def _planes(data: NDArray[Any]) -> Iterator[NDArray[Any]]:
    yield from data if data.ndim > 2 else [data]


def _arrays(first: Any, second: Any) -> float | None:
    """Return the largest difference, ``None`` where there is none, infinity where it is no number."""
    import numpy as np

    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.dtype.kind not in "biufc" or b.dtype.kind not in "biufc":
        return None if a.shape == b.shape and bool(np.all(a == b)) else float("inf")
    if a.tobytes() == b.tobytes():
        return None
    kind: type[np.inexact[Any]] = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    apart = np.abs(a.astype(kind) - b.astype(kind))
    one_is_nan = np.isnan(a.astype(kind)) ^ np.isnan(b.astype(kind))
    if one_is_nan.any():
        return float("inf")
    return float(np.nanmax(apart, initial=0.0))


def _bytes(old: Path, new: Path) -> dict[str, Any]:
    if old.stat().st_size != new.stat().st_size:
        told = f"{old.stat().st_size} and {new.stat().st_size} bytes"
        return {"told": told, "max_abs_difference": None}
    count, first, position = 0, -1, 0
    with old.open("rb") as a, new.open("rb") as b:
        while chunk := a.read(_CHUNK):
            other = b.read(_CHUNK)
            if chunk != other:
                places = [i for i, (x, y) in enumerate(zip(chunk, other, strict=True)) if x != y]
                count += len(places)
                first = position + places[0] if first < 0 else first
            position += len(chunk)
    return {"told": f"{count} bytes differ, the first at {first}", "max_abs_difference": None}
