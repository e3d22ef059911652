"""Facts of one run, by name, and sentences that are filled with them.

A stage declares sentences (``StageSpec.methods``) such as::

    "Gold beads were found ({n_beads:.0f} per series)[, to {residual_px:.2f} px][robust?, robustly]."

``{name}`` or ``{name:format}``
    A metric, else a parameter; ``table.column`` of the record; ``out.port.field`` of an output. Several
    values (one a tilt series) are written as a range. ``.sum .min .max .median .percent`` and ``.total``
    (the sum within each tilt series) may follow.
``[...]``
    Left out where a fact in it is not on record. A whole sentence is left out where a fact outside of
    brackets is not: nothing is ever invented.
``[name? ...]``, ``[!name? ...]``, ``[name=value? ...]``
    Only where this is so; ``in.port`` asks whether an optional input was there.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from staproj.engine.view import View
from staproj.errors import StaprojError

_FIELD = re.compile(r"\{([A-Za-z_][\w.]*)(?::([^{}]*))?\}")
_PART = re.compile(r"\[(?:(!?[A-Za-z_][\w.]*(?:=[^?\[\]{}]*)?)\?)?([^\[\]]*)\]")
_UNITED: dict[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "min": min,
    "max": max,
    "median": statistics.median,
}


class Unknown(Exception):  # noqa: N818 - not an error: a fact that is not on record
    """A fact is not on record."""


@dataclass
class Facts:
    """What is known of one run; values are lists, one entry a tilt series (or one)."""

    view: View
    told: Mapping[str, Any]
    params: Mapping[str, list[Any]] = field(init=False)

    def __post_init__(self) -> None:
        own = self.told["item_params"] or {}
        items = self.told["items"] or [None]
        self.params = {
            name: [own.get(item, {}).get(name, entry).get("value") for item in items]
            for name, entry in self.told["params"].items()
        }

    @cached_property
    def parts(self) -> list[Any]:
        """Metrics and tables of the run, one part an item; empty where there is no record."""
        from staproj.project.record import read_run

        if self.told["state"] != "sealed":
            return []
        try:
            return [*read_run(self.view.run(self.told["run"]).record).items.values()]
        except StaprojError:
            return []

    def values(self, name: str) -> list[Any]:
        """Return the values of a fact.

        Raises
        ------
        Unknown
            If it is not on record.
        """
        name, _, way = _split(name)
        found = self._find(name)
        if way == "total":
            found = [math.fsum(_flat([value])) for value in found]
        flat = [value for value in _flat(found) if value is not None]
        if way == "percent":
            flat = [100.0 * value for value in flat]
        if not flat or any(isinstance(v, float) and not math.isfinite(v) for v in flat):
            raise Unknown(name)
        return [_UNITED[way](flat)] if way in _UNITED else flat

    def _find(self, name: str) -> list[Any]:
        metrics = [part.metrics[name] for part in self.parts if name in part.metrics]
        if metrics:
            return metrics
        if name in self.params:
            return self.params[name]
        if name.startswith("out."):
            return self._outputs(name.split(".")[1:])
        table, point, column = name.partition(".")
        columns = [part.tables[table][column] for part in self.parts if column in part.tables.get(table, {})]
        if point and columns:
            return [list(value) for value in columns]
        raise Unknown(name)

    def _outputs(self, names: list[str]) -> list[Any]:
        from staproj.engine.inputs import load_port

        port, *fields = names
        try:
            loaded = load_port(self.view, self.told["run"], port)
        except StaprojError:
            raise Unknown(port) from None
        found = [*loaded.values()] if isinstance(loaded, dict) else [loaded]
        for name in fields:
            found = [getattr(value, name, None) for value in found]
        return found

    def holds(self, condition: str) -> bool:
        """Tell whether a condition is so; what is not on record is not so, either way."""
        wanted = not condition.startswith("!")
        name, equals, value = condition.removeprefix("!").partition("=")
        if name.startswith("in."):
            return (name[3:] in self.told["inputs"]) is wanted
        try:
            found = self._find(name)
        except Unknown:
            return False
        if equals:
            return all(str(part) == value for part in found)
        return all(bool(part) is wanted for part in found)

    def fill(self, sentence: str) -> str:
        """Return a sentence with its facts; empty where one is not on record or nothing of it holds."""

        def part(found: re.Match[str]) -> str:
            if found[1] and not self.holds(found[1]):
                return ""
            try:
                return self._filled(found[2])
            except Unknown:
                return ""

        try:
            outside = [self._filled(text) for text in _PART.split(sentence)[0::3]]
        except Unknown:
            return ""
        inside = [part(found) for found in _PART.finditer(sentence)]
        text = "".join(a + b for a, b in zip(outside, [*inside, ""], strict=True))
        return " ".join(text.split())

    def _filled(self, text: str) -> str:
        return _FIELD.sub(lambda found: _written(self.values(found[1]), found[2] or ""), text)


def names_in(sentence: str) -> set[str]:
    """Return the facts and conditions that a sentence asks for, without what follows them."""
    found = {_split(name)[0] for name, _ in _FIELD.findall(sentence)}
    conditions = {condition.removeprefix("!").partition("=")[0] for condition, _ in _PART.findall(sentence)}
    return found | (conditions - {""})


def _split(name: str) -> tuple[str, str, str]:
    before, point, way = name.rpartition(".")
    return (before, point, way) if way in (*_UNITED, "percent", "total") else (name, "", "")


def _flat(values: Any) -> list[Any]:
    found: list[Any] = []
    for value in values:
        plain = value.tolist() if hasattr(value, "tolist") else value
        found += _flat(plain) if isinstance(plain, list | tuple) else [plain]
    return found


def _written(values: list[Any], form: str) -> str:
    """Return values as text; several different numbers as a range, several different words as a list."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        low, high = (f"{v:{form or '.4g'}}" for v in (min(values), max(values)))
        low, high = (
            text.replace("-", "\N{MINUS SIGN}", 1) if text[:1] == "-" else text for text in (low, high)
        )
        return low if low == high else f"{low} to {high}"
    return ", ".join(dict.fromkeys(str(v) for v in values))
