"""``annot/accepted.toml``: runs whose outputs may stand for those of other runs.

::

    [[accepted]]
    new = "r0057"
    old = "r0042"
    why = "FSC the same to 0.001"
    who = "anna"
    when = "2026-01-31T12:00:00Z"
    outputs = [["map", "", "sha256:…new", "sha256:…old"], …]    # port, tilt series, digests
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from staproj.errors import StorageError, UsageError
from staproj.project import toml_file, versions
from staproj.project.layout import Layout
from staproj.project.lock import project_lock
from staproj.project.process import user_name

_TEXTS = ("new", "old", "why", "who", "when")


@dataclass(frozen=True)
class Pair:
    """One output of two runs: port, tilt series ("" where there is one for all), digest of each."""

    port: str
    item: str
    new: str
    old: str


@dataclass(frozen=True)
class Accepted:
    """One entry: the outputs of ``new`` may stand for those of ``old``."""

    new: str
    old: str
    why: str
    who: str
    when: str
    pairs: tuple[Pair, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what lists show."""
        outputs = [f"{p.item}.{p.port}" if p.item else p.port for p in self.pairs]
        return {**{key: getattr(self, key) for key in _TEXTS}, "outputs": outputs}


def entry(new: str, old: str, *, why: str, pairs: tuple[Pair, ...]) -> Accepted:
    """Return an entry made now by this person."""
    return Accepted(new, old, " ".join(why.split()), user_name(), versions.now(), pairs)


def read(layout: Layout) -> list[Accepted]:
    """Return all entries.

    Raises
    ------
    StorageError
        If the file is damaged.
    """
    found = toml_file.read(layout.accepted).get("accepted", [])
    try:
        return [_entry(table) for table in found]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise StorageError(
            f"an entry does not have its form: {error}",
            where=str(layout.accepted),
            hint="correct it, or move the file aside",
        ) from error


def add(layout: Layout, new: Accepted) -> None:
    """Add an entry; one on the same two runs is replaced."""

    def edit(document: Any) -> None:
        import tomlkit

        entries = _without(document, new.new, new.old)
        table = tomlkit.table()
        for key in _TEXTS:
            table.add(key, getattr(new, key))
        outputs = tomlkit.array()
        for pair in new.pairs:
            outputs.add_line([pair.port, pair.item, pair.new, pair.old])
        outputs.add_line(indent="")
        table.add("outputs", outputs)
        entries.append(table)
        document["accepted"] = entries

    with project_lock(layout.lock, purpose="accepting a run"):
        toml_file.change(layout.accepted, edit)


def remove(layout: Layout, new: str, old: str | None = None) -> list[Accepted]:
    """Take entries on ``new`` (for ``old``, or all) back and return them.

    Raises
    ------
    UsageError
        If there is none.
    """
    taken = [e for e in read(layout) if e.new == new and old in (None, e.old)]
    if not taken:
        words = f"{new} for {old}" if old else new
        raise UsageError(f"nothing was accepted of {words}", hint="`staproj accept --list` shows all")

    def edit(document: Any) -> None:
        entries = document["accepted"]
        for gone in taken:
            entries = _without(document, gone.new, gone.old)
            document["accepted"] = entries
        if not entries:
            del document["accepted"]

    with project_lock(layout.lock, purpose="taking an acceptance back"):
        toml_file.change(layout.accepted, edit)
    return taken


def _without(document: Any, new: str, old: str) -> Any:
    import tomlkit

    entries = document.get("accepted", tomlkit.aot())
    for index in reversed(range(len(entries))):
        if (entries[index].get("new"), entries[index].get("old")) == (new, old):
            del entries[index]
    return entries


def _entry(table: Any) -> Accepted:
    new, old = str(table["new"]), str(table["old"])
    why, who, when = (str(table.get(key, "")) for key in _TEXTS[2:])
    pairs = []
    for row in table["outputs"]:
        port, item, now, then = (str(part) for part in row)
        pairs.append(Pair(port, item, now, then))
    return Accepted(new, old, why, who, when, tuple(pairs))
