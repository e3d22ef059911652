"""What headers and metadata of raw data say, read with what the import stages read them with.

Headers only: of all mdoc and angle files, and of a few movies or stacks, those first whose size is odd.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from staproj.errors import StaprojError
from staproj.formats.angles import read_angles
from staproj.formats.mdoc import Mdoc, read_mdoc, series_id
from staproj.formats.movie import MRC_SUFFIXES, Movie
from staproj.formats.mrc import read_info

T = TypeVar("T")
MOST_HEADERS = 8
MOST_TEXTS = 5000
_MOST_BYTES_OF_TEXT = 20_000_000
_MOST_NAMED = 3


@dataclass
class Findings:
    """What is wrong, or to be known; names files from the place that patterns start at."""

    base: Path
    found: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, level: str, text: str, *, where: Any = "", hint: str = "", sets: Mapping[str, Any] | None = None
    ) -> None:
        """Keep one finding; ``level`` is error (the import will stop), warning or note."""
        finding = {"level": level, "text": text, "where": self.named(where), "hint": hint}
        self.found.append(finding | {"sets": dict(sets or {})})

    def refuse(self, error: StaprojError) -> None:
        """Keep what the import will say."""
        self.add("error", error.message, where=error.where or "", hint=error.hint)

    def named(self, where: Any) -> str:
        """Return a path as it is shown: from the base on where it lies below."""
        if str(self.base) == "/":
            return str(where)
        return str(where).replace(f"{self.base}/", "")

    def sorted(self) -> list[dict[str, Any]]:
        """Return the findings, the worst first; where many files have the same fault, as one."""
        by_text: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for finding in self.found:
            by_text.setdefault((finding["level"], finding["text"]), []).append(finding)
        joined = []
        for (_, text), alike in by_text.items():
            if len(alike) > _MOST_NAMED:
                where = f"{alike[0]['where']} (first of them)"
                joined.append(alike[0] | {"text": f"{len(alike)} files: {text}", "where": where})
            else:
                joined += alike
        order = ("error", "warning", "note")
        return sorted(joined, key=lambda one: order.index(one["level"]))


@dataclass(frozen=True)
class Header:
    """Header of one movie, stack or gain reference; ``pixel_size_angstrom`` is 0 where it does not say."""

    path: Path
    n_frames: int
    shape_yx: tuple[int, int]
    data_type: str
    pixel_size_angstrom: float


def read_mdocs(files: Mapping[str, int], findings: Findings) -> dict[str, Mdoc]:
    """Return the readable mdoc files by tilt series."""
    return _by_series(files, "mdoc", read_mdoc, findings)


def read_all_angles(files: Mapping[str, int], findings: Findings) -> dict[str, tuple[Path, list[float]]]:
    """Return the readable angle files by tilt series."""

    def read(path: Path) -> tuple[Path, list[float]]:
        return path, [float(value) for value in read_angles(path)]

    return _by_series(files, "angles", read, findings)


def read_header(path: Path, *, stack: bool = False) -> Header:
    """Read one header as the import does (stacks are MRC whatever their name says).

    Raises
    ------
    InputError, FormatError
        If the file is damaged, cut off, or of another format.
    """
    if stack:
        info = read_info(path)
        n, ny, nx = info.shape_zyx
        return Header(path, n, (ny, nx), str(info.dtype), info.pixel_size_angstrom)
    with Movie(path) as movie:
        return Header(path, movie.n_frames, movie.shape_yx, str(movie.dtype), movie.pixel_size_angstrom)


def read_headers(
    files: Mapping[str, int], groups: Iterable[Sequence[str]], findings: Findings, *, stack: bool = False
) -> list[Header]:
    """Read a few headers: files of odd size, then the first of each group (tilt series), then the last."""
    odd = _odd_sizes(files, findings)
    groups = [group for group in groups if group]
    chosen = [*odd[: MOST_HEADERS // 2], *(one[0] for one in groups), *(one[-1] for one in groups), *files]
    headers, damaged = [], []
    for path in list(dict.fromkeys(chosen))[:MOST_HEADERS]:
        if not files.get(path, 1):
            continue
        try:
            headers.append(read_header(Path(path), stack=stack))
        except StaprojError as error:
            damaged.append(path)
            findings.refuse(error)
        except (OSError, ValueError) as error:
            damaged.append(path)
            findings.add("error", f"the file cannot be read: {error}", where=path)
    left = [path for path in odd[MOST_HEADERS // 2 :] if files[path]]
    if left and set(damaged) & set(odd):
        text = f"{len(left)} more files are smaller than the others, and may be cut off too"
        findings.add("warning", text, where=few(left), hint="compare them with those at the microscope")
    return headers


def _odd_sizes(files: Mapping[str, int], findings: Findings) -> list[str]:
    """Return files that look cut off by their size, the smallest first; empty ones are told of."""
    empty = [path for path, size in files.items() if size == 0]
    if empty:
        findings.add(
            "error",
            f"{len(empty)} of {len(files)} files are empty",
            where=few(empty),
            hint="copy them again from the microscope",
        )
    by_suffix: dict[str, dict[str, int]] = {}
    for path, size in files.items():
        if size:
            by_suffix.setdefault(Path(path).suffix.lower(), {})[path] = size
    odd: list[str] = []
    for suffix, sizes in by_suffix.items():
        usual, count = Counter(sizes.values()).most_common(1)[0]
        if suffix in MRC_SUFFIXES and count > len(sizes) / 2:
            odd += [path for path, size in sizes.items() if size < usual]
        else:  # compressed, or of several kinds
            middle = statistics.median(sizes.values())
            odd += [path for path, size in sizes.items() if size < 0.4 * middle]
    return sorted(odd, key=lambda path: files[path])


def few(names: Sequence[Any]) -> str:
    """Return the first names of a list, and how many more there are."""
    shown = ", ".join(str(name) for name in names[:_MOST_NAMED])
    return shown + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")


def _by_series(
    files: Mapping[str, int], what: str, read: Callable[[Path], T], findings: Findings
) -> dict[str, T]:
    found: dict[str, T] = {}
    taken: dict[str, str] = {}
    for path, size in list(files.items())[:MOST_TEXTS]:
        name = series_id(Path(path))
        if name in taken:
            findings.add(
                "error",
                f"two files stand for tilt series {name}",
                where=f"{taken[name]} and {path}",
                hint=f"narrow the pattern {what!r} so that each series has one file",
            )
            continue
        taken[name] = path
        if size > _MOST_BYTES_OF_TEXT:
            findings.add("error", "the file is too large to be one of this kind", where=path)
            continue
        try:
            found[name] = read(Path(path))
        except StaprojError as error:
            findings.refuse(error)
    if len(files) > MOST_TEXTS:
        findings.add("note", f"only the first {MOST_TEXTS} of {len(files)} {what} files were read")
    return found
