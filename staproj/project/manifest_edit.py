"""Changes to a manifest that keep its comments, order and spacing.

Every change is checked before it replaces the file: the new text must parse, and must differ from the old
one in the asked-for values only.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable

from staproj.errors import LockedError, ManifestError
from staproj.project import atomic, manifest
from staproj.project.manifest import Change


def apply(text: str, changes: Sequence[Change]) -> str:
    """Return the text with ``changes`` made.

    Raises
    ------
    ManifestError
        If the text is not TOML, or a change meets a value where a table is needed.
    """
    wanted = tomllib.loads(text)
    try:
        document = tomlkit.parse(text)
        for change in changes:
            _set_plain(wanted, change)
            _set_toml(document, change)
        new = tomlkit.dumps(document)
    except (TOMLKitError, TypeError, AttributeError) as error:
        raise ManifestError(f"cannot edit the manifest: {error}", hint="make this change by hand") from error
    new = new.rstrip("\n") + "\n"
    if "\r\n" in text:
        new = new.replace("\r\n", "\n").replace("\n", "\r\n")
    if tomllib.loads(new) != wanted:
        raise ManifestError(
            "editing would have changed more than was asked for",
            hint="make this change by hand: " + "; ".join(describe(c) for c in changes),
        )
    return new


def edit(path: Path, changes: Sequence[Change]) -> str:
    """Make ``changes`` in the file and return the new text (the caller holds the project lock).

    Raises
    ------
    LockedError
        If a person saved the file at the same moment; nothing is written then.
    """
    return rewrite(path, lambda text: apply(text, changes))


def rewrite(path: Path, transform: Callable[[str], str]) -> str:
    """Replace the text of the file by ``transform(text)``, with the checks of :func:`edit`, and return it."""
    before = path.read_bytes()
    new = transform(before.decode("utf-8"))
    if manifest.parse(new, str(path)).schema != manifest.SCHEMA:
        raise ManifestError(
            f"a manifest of another schema than {manifest.SCHEMA} is not edited",
            where=str(path),
            hint="`staproj migrate` brings an older project up to date",
        )
    if path.read_bytes() != before:
        raise LockedError(
            "the manifest changed while it was being edited", where=str(path), hint="run this again"
        )
    if new.encode() != before:
        atomic.write_text(path, new)
    return new


def describe(change: Change) -> str:
    """Say a change as one would write it."""
    where = ".".join(change.keys)
    return f"remove {where}" if change.value is None else f"{where} = {in_toml(change.value)}"


def in_toml(value: Any) -> str:
    """Return a value as it is written in the manifest, on one line."""
    return str(_inline(value).as_string())


def _set_plain(data: dict[str, Any], change: Change) -> None:
    table = data
    for key in change.keys[:-1]:
        if change.value is None and key not in table:
            return
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ManifestError(f"{key!r} is a value, not a table", where=".".join(change.keys))
    if change.value is None:
        table.pop(change.keys[-1], None)
    else:
        table[change.keys[-1]] = copy.deepcopy(_plain(change.value))


def _set_toml(document: Any, change: Change) -> None:
    table = document
    for depth, key in enumerate(change.keys[:-1]):
        if key not in table:
            if change.value is None:
                return
            if isinstance(table, tomlkit.items.InlineTable):
                table[key] = tomlkit.inline_table()
            else:
                last = depth == len(change.keys) - 2
                table.append(key, tomlkit.table(is_super_table=not last))
        table = table[key]
    name = change.keys[-1]
    if change.value is None:
        if name in table:
            table.remove(name)
        return
    new = _inline(change.value)
    if name in table and hasattr(table[name], "trivia") and not isinstance(table[name], AbstractTable):
        trivia = table[name].trivia
        new.trivia.comment_ws, new.trivia.comment = trivia.comment_ws, trivia.comment
    if name in table:
        table[name] = new
    else:
        _add_after_last(table, name, new)


def _add_after_last(table: Any, name: str, new: Any) -> None:
    """Put a new key under the last plain key of a table, above blank lines and comments that end it."""
    container = getattr(table, "value", table)
    last = None
    if not isinstance(table, tomlkit.items.InlineTable):
        for key, item in getattr(container, "body", ()):
            if key is not None and not isinstance(item, AbstractTable | tomlkit.items.AoT):
                last = key
    if last is None:
        if not isinstance(table, tomlkit.items.InlineTable):
            new.trivia.trail = "\n\n"
        table[name] = new
        return
    previous = container.item(last)
    new.trivia.trail = previous.trivia.trail or "\n"
    previous.trivia.trail = "\n"
    container._insert_after(last, name, new)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _inline(value: Any) -> Any:
    plain = _plain(value)
    if isinstance(plain, dict):
        table = tomlkit.inline_table()
        for key, part in plain.items():
            table.append(key, _inline(part))
        return table
    return tomlkit.item(plain)
