"""Files that a pattern of raw data matches: as ``glob`` finds them, but never searching without end.

A manifest from elsewhere may say ``/**/*``; what such a pattern costs is bounded.
"""

from __future__ import annotations

import fnmatch
import math
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from staproj.errors import InputError

MAX_ENTRIES = 500_000
MAX_FILES = 250_000
MAGIC = re.compile(r"[*?\[]")


def match_files(root: Path, pattern: str) -> list[Path]:
    """Return the files a pattern matches, sorted, absolute; relative patterns start at the project.

    Raises
    ------
    InputError
        If half a million directory entries had to be looked at, or a quarter of a million files match.
    """
    found: set[Path] = set()
    for path in search_files(root, pattern):
        if os.path.isfile(path):  # noqa: PTH113 - links to data on other disks are meant
            found.add(Path(os.path.abspath(path)))
            if len(found) > MAX_FILES:
                raise _Search(pattern).too_much()
    return sorted(found)


def search_files(
    root: Path, pattern: str, *, max_entries: int | None = None, seconds: float = math.inf
) -> Iterator[str]:
    """Yield the paths a pattern matches as they are found: unsorted, some perhaps twice or no files.

    Raises
    ------
    InputError
        If it takes longer, or more than ``max_entries`` (half a million) directory entries had to be seen.
    """
    if "\0" in pattern or pattern.endswith("/"):
        return
    full = os.path.join(root, os.path.expanduser(pattern))  # noqa: PTH111, PTH118 - wildcards stay
    if not MAGIC.search(full):
        yield full
        return
    start = os.sep if full.startswith(os.sep) else "."
    search = _Search(pattern, max_entries or MAX_ENTRIES, time.monotonic() + seconds)
    yield from search.below(start, [part for part in full.split(os.sep) if part])  # noqa: PTH206
    if search.spent:
        raise search.too_much()


class _Search:
    """Walks the directories a pattern needs, and counts what it looks at."""

    def __init__(self, pattern: str, max_entries: int = MAX_ENTRIES, until: float = math.inf) -> None:
        self._pattern = pattern
        self._left = max_entries
        self._until = until
        self.spent = False

    def too_much(self) -> InputError:
        return InputError(
            "this pattern of raw data matches or searches more than any dataset has",
            where=self._pattern,
            hint="name the directories the files are in",
        )

    def below(self, base: str, parts: list[str], above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
        """Yield the paths that ``parts`` match below ``base``; ``**`` came by the directories ``above``."""
        if not parts:
            yield base
            return
        part, rest = parts[0], parts[1:]
        if part == "**":
            here = _identity(base)
            if here in above:  # a link back to where the search came from
                return
            yield from self.below(base, rest) if rest else ()
            for name, is_dir in self._entries(base):
                if name.startswith("."):
                    continue
                inner = os.path.join(base, name)  # noqa: PTH118
                if is_dir:
                    yield from self.below(inner, parts, (*above, here))
                elif not rest:
                    yield inner
        elif not MAGIC.search(part):
            inner = os.path.join(base, part)  # noqa: PTH118
            if os.path.lexists(inner):
                yield from self.below(inner, rest)
        else:
            fits = re.compile(fnmatch.translate(part)).match
            for name, is_dir in self._entries(base):
                if fits(name) and (not name.startswith(".") or part.startswith(".")) and (is_dir or not rest):
                    yield from self.below(os.path.join(base, name), rest)  # noqa: PTH118

    def _entries(self, directory: str) -> list[tuple[str, bool]]:
        """Return the names in a directory (those seen before all was spent), and which are directories."""
        if self.spent:
            raise self.too_much()
        found: list[tuple[str, bool]] = []
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    self._left -= 1
                    if self._left < 0 or (self._left % 256 == 0 and time.monotonic() > self._until):
                        self.spent = True
                        break
                    found.append((entry.name, entry.is_dir()))
        except OSError:
            return []
        return found


def _identity(directory: str) -> tuple[int, int]:
    try:
        found = os.stat(directory)  # noqa: PTH116
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)
