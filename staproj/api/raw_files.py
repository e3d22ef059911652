"""Raw data by pattern: what a pattern matches, what could be typed next.

Patterns mean here what they mean to the import stages. Everything is bounded in time and number, so that it
may be asked while a person types, also on directories of a whole facility.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from staproj.errors import InputError
from staproj.project.patterns import MAGIC, search_files

MOST_FILES = 100_000
"""A count goes no further: "more than 100000"."""
MOST_SECONDS = 2.0
_MOST_NAMES = 200_000
_MOST_DIRECTORIES = 20
_NAMES_SECONDS = 0.7
_RAW_SUFFIXES = (
    *(".mdoc", ".tif", ".tiff", ".eer", ".mrc", ".mrcs", ".st", ".ali", ".map", ".rec"),
    *(".rawtlt", ".tlt", ".dm4", ".gain"),
)
_ESCAPED = re.compile(r"\[([*?\[])\]")


def matches(pattern: str, base: str | Path, most: int = 5) -> dict[str, Any]:
    """Say what a pattern matches; relative ones start at ``base``. Never raises, never takes seconds.

    Returns ``{"pattern", "count", "more", "bytes", "directory", "first", "last", "problem", "suggest",
    "patterns"}``. ``more``: counting stopped at ``count``. ``first`` (``most`` of them) and ``last``: names
    below ``directory``, sorted. ``problem`` is empty where something matches. ``suggest``: patterns that
    would match, as ``"/data/*.tif (41)"``; ``patterns``: the same as ``{"pattern", "count"}``.
    """
    text = pattern.strip()
    files, problem, more = _search(text, Path(base)) if text else ({}, "no file is named", False)
    names = sorted(files)
    directory = _directory_of(names)
    shown = [os.path.relpath(name, directory) for name in (*names[:most], *names[-1:])]
    suggested = [] if names else suggestions(text, base)
    if not names and not problem:
        problem = _why_nothing(text, Path(base))
    return {
        "pattern": pattern,
        "count": len(names),
        "more": more,
        "bytes": sum(files.values()),
        "directory": directory,
        "first": shown[:-1],
        "last": shown[-1] if shown else "",
        "problem": problem,
        "suggest": [f"{one['pattern']} ({one['count']})" for one in suggested],
        "patterns": suggested,
    }


def files_of(patterns: str | Iterable[str] | None, base: str | Path) -> dict[str, Any]:
    """Return ``{"files": {path: bytes}, "more", "problems": {pattern: text}}`` of several patterns."""
    given = [patterns] if isinstance(patterns, str) else list(patterns or ())
    found: dict[str, int] = {}
    problems: dict[str, str] = {}
    more = False
    for pattern in given:
        files, problem, cut = _search(pattern.strip(), Path(base))
        found |= files
        more = more or cut
        if problem or not files:
            problems[pattern] = problem or _why_nothing(pattern.strip(), Path(base))
    return {"files": dict(sorted(found.items())), "more": more, "problems": problems}


def completions(text: str, base: str | Path, most: int = 50) -> list[str]:
    """Return what ``text`` could go on as: paths that begin like it, directories with ``/`` at the end.

    ``~`` stays as it was typed; hidden names come where the name begins with a dot. Names with wildcards in
    them are given as the pattern that means just them. Never raises.
    """
    try:
        if text == "~" or (text.startswith("~") and "/" not in text):
            return [text + "/"] if os.path.isdir(os.path.expanduser(text)) else []  # noqa: PTH111, PTH112
        head, slash, begun = text.rpartition("/")
        literal = _literal(head + slash)
        directory = os.path.join(base, os.path.expanduser(literal))  # noqa: PTH111, PTH118
        entries, _ = _entries(directory)
        wanted = _literal(begun)
        found = [name for name in entries if name.startswith(wanted)]
        if not found:
            found = [name for name in entries if name.lower().startswith(wanted.lower())]
        shown = sorted(name for name in found if wanted.startswith(".") or not name.startswith("."))
        typed = glob.escape(literal) if MAGIC.search(literal) else literal
        return [typed + glob.escape(name) + "/" * entries[name] for name in shown[:most]]
    except (OSError, ValueError):
        return []


def suggestions(text: str, base: str | Path, most: int = 8) -> list[dict[str, Any]]:
    """Return patterns that would match, the kinds of raw data first, as ``{"pattern", "count"}``.

    Looks into the directory that ``text`` is or begins with, and into the first directories in it. Other
    files than raw data are told of only where ``text`` is that directory.
    """
    try:
        typed, directory = _deepest(text, Path(base))
        entries, _ = _entries(directory)
        found = _by_suffix(typed, entries)
        below = [name for name, is_dir in entries.items() if is_dir and not name.startswith(".")]
        until = time.monotonic() + _NAMES_SECONDS
        for name in sorted(below)[:_MOST_DIRECTORIES]:
            inner = os.path.join(typed, glob.escape(name))  # noqa: PTH118
            found += _by_suffix(inner, _entries(os.path.join(directory, name))[0])  # noqa: PTH118
            if time.monotonic() > until:
                break
    except (OSError, ValueError):
        return []
    raw = [one for one in found if os.path.splitext(one["pattern"])[1].lower() in _RAW_SUFFIXES]  # noqa: PTH122
    if not raw and _literal(typed).rstrip("/") != _literal(text).rstrip("/"):
        return []
    return sorted(raw or found, key=lambda one: -one["count"])[:most]


def _search(pattern: str, base: Path) -> tuple[dict[str, int], str, bool]:
    """Return ``{absolute path: bytes}``, what went wrong, and whether there may be more."""
    found: dict[str, int] = {}
    until = time.monotonic() + MOST_SECONDS
    try:
        for number, path in enumerate(search_files(base, pattern, seconds=MOST_SECONDS)):
            try:
                about = os.stat(path)  # noqa: PTH116 - links to data on other disks are meant
            except OSError:
                continue
            if not stat.S_ISREG(about.st_mode):
                continue
            full = os.path.abspath(path)
            if len(found) >= MOST_FILES and full not in found:
                return found, "", True
            found[full] = about.st_size
            if number % 256 == 0 and time.monotonic() > until:
                return found, "", True
    except InputError:
        if not found:
            return {}, "this pattern searches too much: name the directories the files are in", True
        return found, "", True
    except (OSError, ValueError) as error:
        return found, f"the pattern cannot be searched for: {error}", False
    return found, "", False


def _why_nothing(pattern: str, base: Path) -> str:
    """Say why a pattern matches no file."""
    full = os.path.join(base, os.path.expanduser(pattern))  # noqa: PTH111, PTH118
    try:
        if os.path.isdir(full):  # noqa: PTH112
            return "this is a directory: give a pattern of the files in it"
        typed, directory = _deepest(pattern, base)
        entries, problem = _entries(directory)
    except (OSError, ValueError):
        return "no file matches"
    if problem:
        return f"{typed or directory} cannot be read: {problem}"
    rest = os.path.relpath(full, directory).split(os.sep)  # noqa: PTH206
    if MAGIC.search(rest[0]):
        return f"no file matches ({len(entries)} names in {typed or directory})"
    if rest[0] in entries:
        return f"{rest[0]!r} in {typed or directory} is not a directory"
    close = difflib.get_close_matches(rest[0], list(entries), n=1, cutoff=0.6)
    what = "file or directory" if len(rest) == 1 else "directory"
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"there is no {what} {rest[0]!r} in {typed or directory}{hint}"


def _deepest(pattern: str, base: Path) -> tuple[str, str]:
    """Return the directory that a pattern begins with and that exists: as typed, and in full."""
    typed = pattern
    while True:
        full = os.path.join(base, os.path.expanduser(_literal(typed)))  # noqa: PTH111, PTH118
        if os.path.isdir(full):  # noqa: PTH112
            return (glob.escape(_literal(typed)) if MAGIC.search(typed) else typed), os.path.abspath(full)
        if typed in ("", "/"):
            return typed, os.path.abspath(base)
        head, slash, _ = typed.rstrip("/").rpartition("/")
        typed = head or slash


def _by_suffix(typed: str, entries: dict[str, bool]) -> list[dict[str, Any]]:
    counts: dict[str, int] = {}
    for name, is_dir in entries.items():
        suffix = os.path.splitext(name)[1]  # noqa: PTH122
        if not is_dir and suffix and not name.startswith("."):
            counts[suffix] = counts.get(suffix, 0) + 1
    return [
        {"pattern": os.path.join(typed, "*" + glob.escape(suffix)), "count": count}  # noqa: PTH118
        for suffix, count in counts.items()
    ]


def _entries(directory: str) -> tuple[dict[str, bool], str]:
    """Return ``{name: is it a directory}``, of a huge directory the first names, and what went wrong.

    Names that no text file can hold (not UTF-8) are left out.
    """
    until = time.monotonic() + _NAMES_SECONDS
    found: dict[str, bool] = {}
    try:
        with os.scandir(directory) as entries:
            for number, entry in enumerate(entries):
                if number >= _MOST_NAMES or (number % 256 == 0 and time.monotonic() > until):
                    break
                if entry.name.isascii() or entry.name.encode("utf-8", "replace").decode() == entry.name:
                    found[entry.name] = entry.is_dir()
    except OSError as error:
        return found, error.strerror or str(error)
    return found, ""


def _literal(text: str) -> str:
    """Undo ``glob.escape``."""
    return _ESCAPED.sub(r"\1", text)


def _directory_of(names: list[str]) -> str:
    if not names:
        return ""
    first, last = os.path.dirname(names[0]), os.path.dirname(names[-1])  # noqa: PTH120
    return os.path.commonpath([first, last])
