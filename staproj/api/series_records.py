"""What heads have on record of tilt series, read in part: the numbers and columns of a table, no curves.

What cannot be read is remembered, and nothing comes of it: a damaged record is a remark, not an end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from staproj.engine.plan import Node
from staproj.engine.view import View
from staproj.errors import StaprojError, StorageError
from staproj.project import atomic
from staproj.project.layout import WHOLE, RunDir

if TYPE_CHECKING:
    from staproj.formats import hdf5

Columns = Mapping[str, list[Any]]
Wanted = Mapping[str, Sequence[str]]
"""Columns to read, by table; a name that ends in ``*`` stands for all tables that begin so."""
TEXTS = ("tilt_series", "tilt_series_id")
"""Columns that hold text; all others hold numbers."""


@dataclass(frozen=True)
class Part:
    """Numbers of one item (or of a whole run), and some columns of its tables; NaN is ``None``."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, Columns] = field(default_factory=dict)

    def metric(self, name: str) -> float | None:
        """Return a number, ``None`` if it is not there."""
        return _plain(self.metrics.get(name))

    def column(self, table: str, name: str) -> list[Any]:
        """Return a column, empty if it is not there."""
        return self.tables.get(table, {}).get(name, [])


@dataclass(frozen=True)
class Said:
    """How one item went in the words of its step."""

    verdict: str = ""
    warning: bool = False
    fallbacks: tuple[str, ...] = ()


class Records:
    """Records of the heads of a project, each read once. ``damaged`` says of which steps what is wrong."""

    def __init__(self, view: View, wanted: Mapping[str, Wanted], only: str | None = None) -> None:
        self.view = view
        self.damaged: dict[str, str] = {}
        self._wanted, self._only = wanted, only
        self._parts: dict[str, dict[str | None, Part]] = {}
        self._items: dict[str, tuple[str, ...]] = {}

    def find(self, stages: Sequence[str], item: str) -> Node | None:
        """Return the last step of the first of ``stages`` whose head has this item; variants come last."""
        for stage in stages:
            found = [node for node in self.view.graph.nodes.values() if node.spec.name == stage][::-1]
            for node in sorted(found, key=lambda node: node.step.variant is not None):
                if self.view.heads.get(node.name) and item in (self.items(node) or (item,)):
                    return node
        return None

    def items(self, node: Node) -> tuple[str, ...]:
        """Return the tilt series of the head of a step (none where it cannot be read, or has none)."""
        if node.name not in self._items:
            found = self.spec(node).get("items")
            names = {str(name) for name in found} if isinstance(found, list) else set()
            if node.spec.scope != "item":
                try:
                    for artifact in self.view.outputs(self.view.heads[node.name])["artifacts"].values():
                        names.update(artifact.get("items", ()))
                except StaprojError as error:
                    self.note(node, error)
            self._items[node.name] = tuple(sorted(names))
        return self._items[node.name]

    def all_items(self) -> set[str]:
        """Return the tilt series of all heads of steps that run once a tilt series."""
        nodes = [
            n for n in self.view.graph.nodes.values() if n.spec.scope == "item" and n.name in self.view.heads
        ]
        return {item for node in nodes for item in self.items(node)}

    def spec(self, node: Node) -> Mapping[str, Any]:
        """Return what the head of a step was made from (empty where it cannot be read)."""
        try:
            return self.view.spec(self.view.heads[node.name])
        except StaprojError as error:
            self.note(node, error)
            return {}

    def parameter(self, node: Node, item: str, name: str) -> Any:
        """Return a parameter that the head of a step was made with."""
        spec = self.spec(node)
        for table in (spec.get("item_params", {}).get(item, {}), spec.get("params", {})):
            entry = table.get(name)
            if isinstance(entry, Mapping):
                return entry.get("value")
        return None

    def part(self, node: Node | None, item: str) -> Part:
        """Return what the head of a step recorded of an item (empty where it did not)."""
        if node is None:
            return Part()
        if node.name not in self._parts:
            try:
                run = self.view.run(self.view.heads[node.name])
                self._parts[node.name] = self._read(run, self._wanted.get(node.spec.name, {}))
            except StaprojError as error:
                self.note(node, error)
                self._parts[node.name] = {}
        return self._parts[node.name].get(item if node.spec.scope == "item" else None, Part())

    def said(self, node: Node, item: str | None) -> Said:
        """Return verdict, warning and fallbacks of an item of the head of a step."""
        try:
            path = self.view.run(self.view.heads[node.name]).item_done(item)
            if not path.is_file():
                return Said()
            entry = atomic.read_json(path)
        except StaprojError as error:
            self.note(node, error)
            return Said()
        told = entry.get("fallbacks")
        fallbacks = tuple(map(str, told)) if isinstance(told, list) else ()
        return Said(str(entry.get("verdict") or ""), entry.get("warning") is True, fallbacks)

    def note(self, node: Node, error: StaprojError) -> None:
        """Remember that a record of a step cannot be read."""
        self.damaged.setdefault(node.name, " ".join(error.message.split()))

    def _read(self, run: RunDir, wanted: Wanted) -> dict[str | None, Part]:
        """Read the record of a run; its bytes are compared with the seal first."""
        from staproj.formats import hdf5
        from staproj.project import record

        proof = atomic.read_json(run.sealed).get("sha256")
        digest = proof.get(run.record.name) if isinstance(proof, dict) else None
        if not isinstance(digest, str):
            raise StorageError("the seal does not say what the record is", where=str(run.sealed))
        record.check_item(run.record, digest)
        found: dict[str | None, Part] = {}
        try:
            with hdf5.open_file(run.record, max_bytes=record.MAX_BYTES) as handle:
                items = handle.group("items")
                for name in items.names():
                    if self._only is None or name in (self._only, WHOLE):
                        found[None if name == WHOLE else name] = _part(items.group(name), wanted)
        except (*hdf5.DAMAGE, RecursionError) as error:
            raise StorageError(f"the record cannot be read: {error}", where=str(run.record)) from error
        return found


def _part(group: hdf5.Group, wanted: Wanted) -> Part:
    tables = group.group("tables")
    found: dict[str, Columns] = {}
    for pattern, columns in wanted.items():
        start = pattern.removesuffix("*")
        names = [name for name in tables.names() if name.startswith(start)] if start != pattern else [pattern]
        for name in names:
            if name in tables:
                table = tables.group(name)
                found[name] = {column: _column(table, column) for column in columns if column in table}
    return Part({name: float(value) for name, value in group.group("metrics").attributes().items()}, found)


def _column(table: hdf5.Group, name: str) -> list[Any]:
    values = table.array(name)
    if values.ndim != 1:
        raise ValueError(f"column {name!r} is not a column")
    if (values.dtype.kind == "S") != (name in TEXTS):
        raise ValueError(f"column {name!r} holds {values.dtype}")
    if name in TEXTS:
        return [value.decode("utf-8", "replace") for value in values.tolist()]
    return [_plain(value) for value in values.tolist()]


def _plain(value: Any) -> Any:
    """Return a plain number; what is not finite becomes ``None``."""
    if value is None or isinstance(value, bool | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
