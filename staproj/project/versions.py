"""Versions: manifest + heads at one moment, with who, when and why. Text files, never changed."""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from staproj.errors import StorageError, UsageError
from staproj.project import atomic, reading
from staproj.project.layout import Layout, RunName
from staproj.project.process import user_name

_NAME = re.compile(r"^([0-9]{4,9})\.toml\Z")


@dataclass(frozen=True)
class Version:
    """One version.

    ``last_run`` is the highest run number there was and ``open_runs`` those not sealed by then: runs beyond
    the one, or among the other, that are sealed now became heads after this version.
    """

    number: int
    created: str
    who: str
    why: str
    last_run: int
    heads: Mapping[str, str]
    manifest: str
    open_runs: tuple[int, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return what lists show."""
        return {
            "version": self.number,
            "created": self.created,
            "who": self.who,
            "why": self.why,
            "heads": dict(self.heads),
        }


def now() -> str:
    """Return the time as text, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def numbers(layout: Layout) -> list[int]:
    """Return the numbers of all versions, rising."""
    if not layout.versions.is_dir():
        return []
    return sorted(int(found[1]) for name in _listed(layout) if (found := _NAME.match(name)))


def _listed(layout: Layout) -> list[str]:
    with os.scandir(layout.versions) as entries:
        return [entry.name for entry in entries]


def read(layout: Layout, number: int) -> Version:
    """Read one version.

    Raises
    ------
    UsageError
        If there is no such version.
    StorageError
        If its file is damaged.
    """
    path = layout.version(number)
    try:
        data = reading.parse_toml(reading.read_bytes(path, link=False).decode("utf-8"))
        head = data["version"]
        return Version(
            number=int(head["number"]),
            created=str(head["created"]),
            who=str(head["who"]),
            why=str(head["why"]),
            last_run=int(head["last_run"]),
            heads={str(k): str(v) for k, v in data.get("heads", {}).items()},
            manifest=str(data["manifest"]["text"]),
            open_runs=tuple(int(n) for n in head.get("open_runs", [])),
        )
    except FileNotFoundError:
        raise UsageError(f"there is no version {number}", hint="`staproj version list` shows them") from None
    except StorageError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise StorageError(f"a version cannot be read: {error}", where=str(path)) from error


def latest(layout: Layout) -> Version | None:
    """Return the newest version that can be read (``None`` in a project that has none)."""
    for number in reversed(numbers(layout)):
        try:
            return read(layout, number)
        except StorageError:
            continue
    return None


def write(layout: Layout, *, manifest: str, heads: Mapping[str, str], why: str) -> Version:
    """Write the next version (the caller holds the project lock)."""
    layout.versions.mkdir(parents=True, exist_ok=True)
    number = max(numbers(layout), default=0) + 1
    last = max((name.number for name in layout.iter_runs()), default=0)
    open_runs = tuple(n.number for n in _after(layout, latest(layout)) if not layout.run(n).is_sealed())
    version = Version(number, now(), user_name(), why, last, dict(heads), manifest, open_runs)
    atomic.write_text(layout.version(number), to_toml(version))
    return version


def current_heads(layout: Layout) -> dict[str, str]:
    """Return ``{step: run}``: the last version's heads, replaced by runs that were sealed after it."""
    version = latest(layout)
    heads = dict(version.heads) if version else {}
    for name in _after(layout, version):
        if layout.run(name).is_sealed():
            heads[name.step] = name.id
    return heads


def _after(layout: Layout, version: Version | None) -> list[RunName]:
    """Return the runs that were not sealed when ``version`` was written."""
    return sorted(name for name in layout.iter_runs() if is_after(version, name.number))


def is_after(version: Version | None, number: int) -> bool:
    """Tell whether a run was not sealed when ``version`` was written: if it is now, it became a head."""
    return version is None or number > version.last_run or number in version.open_runs


def to_toml(version: Version) -> str:
    """Return the text of a version as its file holds it."""
    lines = ["# A moment of this project: its manifest and which run stood for each step.", "[version]"]
    lines += [
        f"{key} = {_toml(getattr(version, key))}" for key in ("number", "created", "who", "why", "last_run")
    ]
    lines += [f"open_runs = {list(version.open_runs)}", "", "[heads]"]
    lines += [f"{_toml(step)} = {_toml(run)}" for step, run in version.heads.items()]
    lines += ["", "[manifest]"]
    return "\n".join(lines) + "\ntext = " + _block(version.manifest) + "\n"


def _toml(value: str | int) -> str:
    return (
        str(value)
        if isinstance(value, int)
        else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    )


def _block(text: str) -> str:
    """Write text so that people can read it: a literal block where TOML allows it."""
    clean = "'''" not in text and "\r" not in text and not text.endswith("'")
    if clean and all(c >= " " or c in "\n\t" for c in text) and "\x7f" not in text:
        return "'''\n" + text + "'''"
    return _toml(text)
