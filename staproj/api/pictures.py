"""Pictures of a run: previews in its records, and sections of the volumes and stacks it wrote.

Grey values come out as arrays of bytes, the top row of the picture first, as other programs show MRC files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from staproj.api.listing import head_or_run, is_run
from staproj.errors import FormatError, InputError, StorageError, UsageError
from staproj.project import atomic, checks, reading
from staproj.project.cleared import cleared_paths
from staproj.project.layout import WHOLE, Layout, RunDir
from staproj.project.manifest import suggestion

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from staproj.formats.mrc_section import Axis
    from staproj.project.record import ItemRecord

SUFFIXES = frozenset({".mrc", ".mrcs", ".map", ".rec", ".st", ".ali"})
STACKS = frozenset({"tilt_series", "movies"})
LOW_PERCENT, HIGH_PERCENT = 1.0, 99.0
MAX_PX = 4096
_FROM_TOP = frozenset({"score_histogram", "seeds_xy", "selected_xy"})
"""Previews that were drawn as they are to be seen; all others begin, as arrays do, with the lowest row."""


def listing(root: Path, step_or_run: str) -> list[dict[str, Any]]:
    """Return all pictures of a run (of a step: of its head): previews, then volumes and stacks on disk.

    One ``{"name", "item", "kind", "artifact", "shape", "pixel_size_angstrom", "n_sections", "file", "bytes",
    "there", "note"}`` each. ``kind``: "preview", "volume" or "stack" (of views); ``artifact`` is the kind of
    output a file belongs to, ``None`` where to none; ``shape`` is ``[y, x]`` or ``[z, y, x]``; ``n_sections``
    counts them by axis; ``file`` is relative to the outputs of the run. A file that is not ``there`` or
    cannot be read has no shape, and ``note`` says why. Of an incomplete run, what is finished is listed.

    Raises
    ------
    UsageError
        If there is no such run.
    """
    run = _find(root, step_or_run)
    rows = [
        _preview_row(name, item, picture)
        for item, record in _records(run, whole=True)
        for name, picture in sorted(record.previews.items())
    ]
    return [*rows, *(_file_row(run, entry) for entry in _files(run))]


def picture(
    root: Path,
    step_or_run: str,
    name: str,
    *,
    item: str | None = None,
    axis: str = "z",
    section: int | None = None,
    max_px: int = 256,
) -> dict[str, Any]:
    """Return one picture, averaged down to at most ``max_px`` pixels a side.

    ``name`` is one of :func:`listing` (the suffix of a file may be left out), ``item`` a tilt series
    (without, the first that has it), ``section`` counts from 0 across ``axis`` (without, the middle one).
    Returns ``{"run", "step", "name", "item", "kind", "pixels", "shape", "axis", "section", "n_sections",
    "pixel_size_angstrom", "reduced", "row_step", "low", "high", "range"}``: ``pixels`` are bytes ``[row,
    column]``, top row first, of which 0 stands for ``low`` and 255 for ``high``, chosen as ``range`` says;
    ``pixel_size_angstrom`` is that of the file (``None``: unknown), of which ``reduced`` pixels became one;
    only every ``row_step``-th row was looked at. Only the bytes of the section are read, a band at a time.

    Raises
    ------
    UsageError
        If there is no such picture or section.
    FormatError
        If the file or record is damaged.
    InputError
        If the file is not there.
    """
    if axis not in ("z", "y", "x"):
        raise UsageError(f"there is no axis {axis!r}", where="--axis", hint="x, y or z")
    if not 1 <= max_px <= MAX_PX:
        raise UsageError(f"a picture has 1 to {MAX_PX} pixels a side, not {max_px}")
    run = _find(root, step_or_run)
    files = [entry for entry in _files(run) if item is None or entry.item in (None, item)]
    _check_item(run, item, files)
    told: dict[str, Any] = {"run": run.id, "step": run.name.step}
    exact = next((entry for entry in files if entry.name == name), None)
    if exact is not None:
        return told | _of_file(run, exact, axis, section, max_px)
    known: set[str] = set()
    for owner, record in _records(run, item):
        if name in record.previews:
            return told | _of_preview(name, owner, record.previews[name], axis, section, max_px)
        known |= set(record.previews)
    short = next((entry for entry in files if PurePosixPath(entry.name).stem == name), None)
    if short is not None:
        return told | _of_file(run, short, axis, section, max_px)
    known |= {entry.name for entry in files}
    raise UsageError(f"{run.id} has no picture {name!r}", hint=suggestion(name, sorted(known), "pictures"))


# ------------------------------------------------------------------------------------------- what there is
@dataclass(frozen=True)
class _File:
    """One MRC file among the outputs of a run; ``path`` is relative to ``out``."""

    name: str
    item: str | None
    artifact: str | None
    path: str
    size: int
    out: Path

    @property
    def place(self) -> Path:
        return self.out / self.path


def _find(root: Path, text: str) -> RunDir:
    layout = Layout(root)
    if is_run(text):
        return layout.find_run(text)
    from staproj.engine.view import View

    return layout.find_run(head_or_run(View.open(root), text))


def _records(
    run: RunDir, item: str | None = None, *, whole: bool = False
) -> Iterator[tuple[str | None, ItemRecord]]:
    """Yield the records of items: of one, or of all; ``whole``: from the record of the run, once it is."""
    from staproj.project.record import read_item, read_run

    done = run.finished_items()
    if run.is_sealed() and (whole or not done):
        found = read_run(run.record).items
        yield from ((owner, found[owner]) for owner in found if item is None or owner in (None, item))
        return
    for path in done:
        owner = None if path.parent.name == WHOLE else path.parent.name
        if item is None or owner in (None, item):
            digest = atomic.read_json(path).get("record_sha256")
            yield owner, read_item(run.item_record(owner), digest)


def _files(run: RunDir) -> list[_File]:
    """Return the MRC files that a run lists as outputs, sorted; of an incomplete run those of its items."""
    if run.is_sealed():
        lists = [(run.outputs, [run.out])]
    else:
        outs = [attempt.out for attempt in run.attempt_dirs()]
        lists = [(path, outs) for path in run.finished_items()]
    found = []
    for path, outs in lists:
        told = checks.outputs(atomic.read_json(path), str(path))
        owners = dict(_owners(told["artifacts"]))
        for entry in told["files"]:
            if PurePosixPath(entry["path"]).suffix.lower() not in SUFFIXES:
                continue
            artifact, item = owners.get(entry["path"], (None, None))
            first, slash, rest = entry["path"].partition("/")
            item = item or (first if slash else None)
            name = rest if slash and first == item else entry["path"]
            out = next((one for one in outs if (one / entry["path"]).is_file()), outs[0] if outs else run.out)
            found.append(_File(name, item, artifact, entry["path"], entry["size"], out))
    return sorted(found, key=lambda entry: entry.path)


def _owners(artifacts: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str | None, str | None]]]:
    """Yield path, kind and tilt series of every file that an artifact refers to."""
    for artifact in artifacts.values():
        parts = artifact.get("items") or {None: artifact}
        for item, part in parts.items():
            refers = part.get("refers")
            for path in refers if isinstance(refers, list) else []:
                yield str(path), (artifact["kind"], item)


def _check_item(run: RunDir, item: str | None, files: list[_File]) -> None:
    if item is None or any(entry.item == item for entry in files) or run.item_done(item).is_file():
        return
    known = {path.parent.name for path in run.finished_items()} | {e.item for e in _files(run) if e.item}
    names = sorted(known - {WHOLE})
    hint = f"it has {', '.join(names)}" if names else "it was made once for all tilt series"
    raise UsageError(f"{run.id} has no tilt series {item!r}", where="--item", hint=hint)


def _preview_row(name: str, item: str | None, pixels: NDArray[np.uint8]) -> dict[str, Any]:
    return {
        "name": name,
        "item": item,
        "kind": "preview",
        "artifact": None,
        "shape": list(pixels.shape),
        "pixel_size_angstrom": None,
        "n_sections": {"z": 1},
        "file": None,
        "bytes": None,
        "there": True,
        "note": "",
    }


def _file_row(run: RunDir, entry: _File) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": entry.name,
        "item": entry.item,
        "kind": "stack" if entry.artifact in STACKS else "volume",
        "artifact": entry.artifact,
        "shape": None,
        "pixel_size_angstrom": None,
        "n_sections": {},
        "file": entry.path,
        "bytes": entry.size,
        "there": True,
        "note": "",
    }
    try:
        info = _info(run, entry)
    except (FormatError, StorageError) as error:
        return row | {"note": error.message}
    except InputError as error:
        return row | {"there": False, "note": error.message}
    sections = dict(zip("zyx", info.shape_zyx, strict=True))
    size = info.pixel_size_angstrom or None
    return row | {"shape": list(info.shape_zyx), "pixel_size_angstrom": size, "n_sections": sections}


def _info(run: RunDir, entry: _File) -> Any:
    """Return what the header of a file says; a link, or anything but a regular file, is not opened."""
    from staproj.formats.mrc import read_info

    try:
        reading.stat_regular(entry.place)
    except StorageError:
        raise
    except FileNotFoundError as error:
        cleared = entry.path in cleared_paths(run)
        raise InputError(
            "the file was deleted in a clean-up" if cleared else "there is no such file",
            where=str(entry.place),
            hint=f"`staproj remake {run.id}` makes it again"
            if cleared
            else "`staproj doctor` looks for damage",
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot read the file: {error.strerror or error}", where=str(entry.place)
        ) from error
    return read_info(entry.place)


# ---------------------------------------------------------------------------------------------- one picture
def _of_preview(
    name: str, item: str | None, pixels: NDArray[Any], axis: str, section: int | None, max_px: int
) -> dict[str, Any]:
    import numpy as np

    from staproj.formats.mrc_section import averaged

    if axis != "z" or section not in (None, 0):
        raise UsageError(
            f"{name!r} is one picture: it has no sections", hint="leave out --axis and --section"
        )
    factor = max(1, -(-max(pixels.shape) // max_px))
    low: float | None = 0.0
    high: float | None = 255.0
    if factor == 1:
        shown, words = np.clip(pixels, 0, 255).astype(np.uint8), "as recorded"
    else:  # averaging leaves less of noise: greys are chosen anew
        shown, low, high, words = _grey(averaged(pixels.astype(np.float32), factor))
    return {
        "name": name,
        "item": item,
        "kind": "preview",
        "pixels": np.ascontiguousarray(shown if name in _FROM_TOP else shown[::-1]),
        "shape": list(pixels.shape),
        "axis": "z",
        "section": 0,
        "n_sections": 1,
        "pixel_size_angstrom": None,
        "reduced": factor,
        "row_step": 1,
        "low": low,
        "high": high,
        "range": words,
    }


def _of_file(run: RunDir, entry: _File, axis: str, section: int | None, max_px: int) -> dict[str, Any]:
    from staproj.formats.mrc_section import AXES, read_section

    info = _info(run, entry)
    chosen: Axis = next(one for one in AXES if one == axis)
    count = info.shape_zyx[AXES.index(chosen)]
    index = count // 2 if section is None else section
    if not 0 <= index < count:
        raise UsageError(
            f"{entry.name} has no section {index} across {axis}", where="--section", hint=f"0 to {count - 1}"
        )
    found = read_section(info, chosen, index, max_px=max_px)
    pixels, low, high, words = _grey(found.values[::-1])
    return {
        "name": entry.name,
        "item": entry.item,
        "kind": "stack" if entry.artifact in STACKS else "volume",
        "pixels": pixels,
        "shape": list(info.shape_zyx),
        "axis": axis,
        "section": index,
        "n_sections": count,
        "pixel_size_angstrom": info.pixel_size_angstrom or None,
        "reduced": found.reduced,
        "row_step": found.row_step,
        "low": low,
        "high": high,
        "range": words,
    }


def _grey(values: NDArray[np.float32]) -> tuple[NDArray[np.uint8], float | None, float | None, str]:
    """Return values as bytes, the two values that became black and white, and how these were chosen."""
    import numpy as np

    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.zeros(values.shape, dtype=np.uint8), None, None, "no finite value"
    low, high = (float(value) for value in np.percentile(finite, [LOW_PERCENT, HIGH_PERCENT]))
    words = f"{LOW_PERCENT:g} % to {HIGH_PERCENT:g} % of this section"
    if not high > low:
        low, high, words = float(finite.min()), float(finite.max()), "least to most of this section"
    if not high > low:
        return np.full(values.shape, 128, dtype=np.uint8), low, high, "one value only"
    filled = np.where(np.isfinite(values), values.astype(np.float64), low)
    scaled = np.clip((filled - low) / (high - low), 0.0, 1.0)
    return np.round(255.0 * scaled).astype(np.uint8), low, high, words
