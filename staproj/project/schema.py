"""Which schema a project has, and whether it may be written to.

The schema is a whole number in the manifest; docs/schema.md says what each one means. A project of an older
schema is read as it is, and brought up to date by ``staproj migrate`` before anything writes to it. One of a
newer schema is read as well as can be, and never written to.
"""

from __future__ import annotations

import os
import re
import tomllib
from contextlib import suppress
from pathlib import Path

from staproj.errors import ManifestError, ProjectError, StorageError
from staproj.project import reading
from staproj.project.layout import Layout
from staproj.project.manifest import MAX_BYTES, SCHEMA, Change, parse

_FIRST_TABLE = re.compile(r"(?m)^[ \t]*\[")
_LINE = re.compile(r"(?m)^([ \t]*schema[ \t]*=[ \t]*)(\d+)")


def of_text(text: str, where: str = "") -> int:
    """Return the schema that the text of a manifest declares.

    Raises
    ------
    ManifestError
        If it declares none, or is not TOML.
    """
    table = _FIRST_TABLE.search(text)
    if table:  # keys of no table stand above the first one; the rest may be long
        with suppress(tomllib.TOMLDecodeError, RecursionError):
            value = tomllib.loads(text[: table.start()]).get("schema")
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return parse(text, where).schema


def of_project(layout: Layout) -> int:
    """Return the schema of a project; only its manifest is read.

    Raises
    ------
    ProjectError
        If the manifest cannot be read.
    ManifestError
        If it declares no schema.
    """
    try:
        with reading.open_regular(layout.manifest, link=False) as handle:
            text = (handle.read(MAX_BYTES) or b"").decode("utf-8")
    except StorageError as error:
        raise ProjectError(
            f"cannot read the manifest: {error.message}", where=str(layout.manifest)
        ) from error
    except OSError as error:
        raise ProjectError(
            f"cannot read the manifest: {error.strerror}", where=str(layout.manifest)
        ) from error
    except UnicodeDecodeError as error:
        raise ManifestError("the manifest is not UTF-8 text", where=str(layout.manifest)) from error
    return of_text(text, str(layout.manifest))


def with_schema(text: str, schema: int) -> str:
    """Return the text of a manifest with another schema number and nothing else changed.

    Raises
    ------
    ManifestError
        If the line cannot be found.
    """
    table = _FIRST_TABLE.search(text)
    end = table.start() if table else len(text)
    head, count = _LINE.subn(rf"\g<1>{schema}", text[:end], count=1)
    new = head + text[end:]
    if count != 1 or tomllib.loads(new) != {**tomllib.loads(text), "schema": schema}:
        raise ManifestError(
            "the line with the schema cannot be changed", hint=f"write `schema = {schema}` at the top"
        )
    return new


def brought_up(text: str, uuid: str) -> str:
    """Return the text of an older manifest in today's schema, as that of the project ``uuid``."""
    from staproj.project import manifest_edit

    new = with_schema(text, SCHEMA)
    known = tomllib.loads(new).get("project", {}).get("uuid")
    return new if known or not uuid else manifest_edit.apply(new, [Change(("project", "uuid"), uuid)])


def unwritable(layout: Layout) -> Path | None:
    """Return the first directory of a project that cannot be written to (``None`` if all can)."""
    for path in (layout.root, layout.private, layout.runs, layout.versions):
        if not os.access(path, os.W_OK | os.X_OK) and (path == layout.root or path.exists()):
            return path
    return None


def may_write(layout: Layout) -> bool:
    """Tell whether caches of this project may be written: it is of no newer schema, and not read-only."""
    try:
        return of_project(layout) <= SCHEMA and unwritable(layout) is None
    except (ProjectError, ManifestError):
        return False


def require_writable(layout: Layout) -> None:
    """Refuse to write where nothing may be written; call it before anything is computed.

    Raises
    ------
    ProjectError
        If the project has an older schema (and must be migrated first) or a newer one.
    StorageError
        If a directory cannot be written to.
    """
    schema = of_project(layout)
    if schema > SCHEMA:
        raise ProjectError(
            f"this project has schema {schema}, this staproj knows up to {SCHEMA}: it is read-only here",
            where=str(layout.manifest),
            hint="change it with the newer staproj that wrote it",
        )
    closed = unwritable(layout)
    if closed is not None:
        raise StorageError(
            "the project is open for reading only: its directory cannot be written to",
            where=str(closed),
            hint="ask its owner for permission, or copy the project: nothing becomes stale by that",
        )
    if schema < SCHEMA:
        raise ProjectError(
            f"this project has schema {schema}; to change it, it must have schema {SCHEMA}",
            where=str(layout.manifest),
            hint="`staproj migrate` brings it up to date (`--dry-run` shows how); runs are not touched",
        )
