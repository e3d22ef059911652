"""``versions/tags.toml``: names of versions, ``[tags] name = number``. A version with a name is kept."""

from __future__ import annotations

import re
from typing import Any

from staproj.errors import StorageError, UsageError
from staproj.project import toml_file
from staproj.project.layout import Layout
from staproj.project.lock import project_lock
from staproj.project.manifest import suggestion

_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")
_NUMBER = re.compile(r"^v?[0-9]+$")


def read(layout: Layout) -> dict[str, int]:
    """Return ``{name: version}``.

    Raises
    ------
    StorageError
        If the file is damaged.
    """
    table = toml_file.read(layout.version_tags).get("tags", {})
    if not isinstance(table, dict):
        raise StorageError("[tags] is not a table", where=str(layout.version_tags), hint="correct it")
    for name, number in table.items():
        if not isinstance(number, int) or isinstance(number, bool):
            raise StorageError(f"tag {name!r} is not the number of a version", where=str(layout.version_tags))
    return dict(table)


def put(layout: Layout, name: str, number: int, *, move: bool = False) -> None:
    """Give a version a name.

    Raises
    ------
    UsageError
        If the name is not usable, or another version has it (unless ``move``).
    """
    if not _NAME.match(name) or _NUMBER.match(name):
        raise UsageError(
            f"{name!r} is not a usable name of a version",
            hint="use letters, digits, . _ and -, a letter first",
        )
    before = read(layout).get(name)
    if before == number:
        return
    if before is not None and not move:
        raise UsageError(
            f"version {before} is called {name!r} already", hint="--move gives the name to another version"
        )

    def edit(document: Any) -> None:
        import tomlkit

        if "tags" not in document:
            document["tags"] = tomlkit.table()
        document["tags"][name] = number

    with project_lock(layout.lock, purpose="naming a version"):
        toml_file.change(layout.version_tags, edit)


def drop(layout: Layout, name: str) -> int:
    """Take a name away and return the version that had it."""
    tags = read(layout)
    if name not in tags:
        raise UsageError(f"no version is called {name!r}", hint=suggestion(name, tags, "names"))

    def edit(document: Any) -> None:
        del document["tags"][name]

    with project_lock(layout.lock, purpose="taking the name of a version away"):
        toml_file.change(layout.version_tags, edit)
    return tags[name]
