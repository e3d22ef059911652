"""Small TOML files that people may edit too: read strictly, changed without losing comments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from staproj.errors import StorageError
from staproj.project import atomic, reading

MAX_BYTES = 4_000_000


def read(path: Path) -> dict[str, Any]:
    """Return the content of a file (empty where there is none).

    Raises
    ------
    StorageError
        If it is not TOML, or too large to have been written by a person.
    """
    try:
        with reading.open_regular(path, link=False) as handle:
            raw = handle.read(MAX_BYTES + 1) or b""
    except StorageError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise StorageError(f"cannot read: {error.strerror}", where=str(path)) from error
    return parse(raw, path)


def parse(raw: bytes, path: Path) -> dict[str, Any]:
    """Read TOML; ``path`` names it in messages."""
    if len(raw) > MAX_BYTES:
        raise StorageError("this file is larger than 4 MB", where=str(path), hint="move it aside")
    try:
        return reading.parse_toml(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise StorageError(
            f"not valid TOML: {error}", where=str(path), hint="correct this line, or move the file aside"
        ) from error


def change(path: Path, edit: Callable[[Any], None]) -> None:
    """Let ``edit`` change the document (a ``tomlkit`` document; comments stay) and replace the file.

    The caller holds the project lock.

    Raises
    ------
    StorageError
        If what stands there now is damaged; it is left as it is.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    with atomic.storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if path.is_file() else b""
    parse(before, path)
    try:
        document = tomlkit.parse(before.decode("utf-8"))
        edit(document)
        text = tomlkit.dumps(document)
    except (TOMLKitError, TypeError, AttributeError, KeyError, ValueError) as error:
        raise StorageError(
            f"this file cannot be changed: {error}", where=str(path), hint="correct it by hand"
        ) from error
    parse(text.encode(), path)
    if text.encode() != before:
        atomic.write_text(path, text)
