"""What stands in the form for another run: values, what was typed over them, undo. No widgets, no files.

Texts are what one types; every text is read anew whenever it is asked for, so nothing that was typed is lost
because it does not fit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from staproj.api.starting import read_values, typed, wanted
from staproj.tui import look as looks
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Cell, Column, Row

VALUE_COLUMNS = (
    Column(" ", 1),
    Column("parameter", most=27),
    Column("value", flex=True),
    Column("unit", most=6),
    Column("default", most=9),
    Column("from", most=9),
    Column("last", most=9),
)
SERIES_COLUMNS = (Column("tilt series", most=30), Column("values of its own", flex=True))
MOST_VARIANTS = 64


class Form:
    """The values of one step: as they stand, and what was typed over them."""

    def __init__(self, step: str, run: str | None = None) -> None:
        self.step = step
        self.run = run
        self.stage = ""
        self.head: str | None = None
        self.params: dict[str, Mapping[str, Any]] = {}
        self.base: dict[str, Any] = {}
        self.edits: dict[str, str] = {}
        self.items: list[str] = []
        """The tilt series for which values are meant; none: all."""
        self._before: list[dict[str, str]] = []

    # ------------------------------------------------------------------------------------------- content
    def take(self, resolved: Mapping[str, Any], of_run: Mapping[str, Any] | None = None) -> None:
        """Take the values as they stand now (or, ``of_run``, those of a run) beneath what was typed."""
        self.stage, self.head = resolved["stage"], resolved["head"]
        self.params = {param["name"]: param for param in resolved["params"]}
        self.base = {name: param["value"] for name, param in self.params.items()}
        if of_run is not None:
            own: Mapping[str, Any] = of_run["items"].get(resolved["item"], {}) if resolved["item"] else {}
            made = {**of_run["values"], **own}
            self.base |= {name: value for name, value in made.items() if name in self.params}
        self.edits = {name: text for name, text in self.edits.items() if name in self.params}

    def text(self, name: str) -> str:
        """Return the value of a parameter as one types it."""
        return self.edits[name] if name in self.edits else self.base_text(name)

    def base_text(self, name: str) -> str:
        """Return the value beneath what was typed."""
        if self.base[name] is None and self.params[name]["required"]:
            return ""
        return typed(self.stage, name, self.base[name])

    def values(self, name: str) -> list[Any]:
        """Return the value that is meant, or several; nothing where the text does not fit."""
        if name not in self.edits:
            return [self.base[name]]
        return read_values(self.stage, name, self.edits[name])[0]

    def problem(self, name: str, text: str | None = None) -> str:
        """Return "" or what is wrong with a text for a parameter (without, with what stands)."""
        given = self.edits.get(name) if text is None else text
        if given is None:
            lacking = self.params[name]["required"] and self.base[name] is None
            return "must be set" if lacking else ""
        if not given.strip() and self.params[name]["type"] != "text":
            return f"takes {wanted(self.stage, name)}"
        if self.items and not self.params[name]["per_item"]:
            return "cannot differ between tilt series: it holds for all (tab tilt series, esc)"
        return read_values(self.stage, name, given)[1]

    def problems(self) -> dict[str, str]:
        """Return what does not fit, by parameter."""
        return {name: words for name in self.params if (words := self.problem(name))}

    # ------------------------------------------------------------------------------------------- editing
    def put(self, name: str, text: str) -> None:
        """Type a text over a value; the value that stands beneath it takes it away again."""
        self._before.append(dict(self.edits))
        values, problem = read_values(self.stage, name, text)
        if not problem and values == [self.base[name]]:
            self.edits.pop(name, None)
        else:
            self.edits[name] = text.strip()
        if self._before[-1] == self.edits:
            self._before.pop()

    def default(self, name: str) -> str:
        """Return the default as one types it ("" where there is none)."""
        param = self.params[name]
        return "" if param["required"] else typed(self.stage, name, param["default"])

    def undo(self) -> bool:
        """Take the last edit back; tell whether there was one."""
        if not self._before:
            return False
        self.edits = self._before.pop()
        return True

    def forget(self) -> None:
        """Throw away all that was typed."""
        self.edits.clear()
        self._before.clear()

    def options(self, name: str) -> list[str]:
        """Return the texts that a parameter can be chosen from; nothing where it is typed."""
        param = self.params[name]
        if param["type"] == "bool":
            found = ["true", "false"]
        elif param["type"] == "choice":
            found = [typed(self.stage, name, value) for value in param["choices"]]
        else:
            return []
        return [*found, *(["none"] if param["optional"] and "none" not in found else [])]

    def turned(self, name: str, by: int) -> str | None:
        """Return the next (or previous) choice of a parameter; ``None`` where it is typed."""
        options = self.options(name)
        if not options:
            return None
        now = self.text(name)
        return options[(options.index(now) + by) % len(options)] if now in options else options[0]

    # ---------------------------------------------------------------------------------------- what is asked
    def asked(self) -> dict[str, str]:
        """Return what was typed, as ``--set`` wants it."""
        return dict(self.edits)

    def over_manifest(self) -> dict[str, str]:
        """Return every value that is not what the manifest says, as ``--set`` wants it."""
        found = {}
        for name, param in self.params.items():
            if name in self.edits or self.base[name] != param["value"]:
                found[name] = self.text(name)
        return found

    def sweep(self) -> dict[str, list[Any]]:
        """Return the parameters that have several values."""
        return {name: values for name in self.edits if len(values := self.values(name)) > 1}

    def combinations(self) -> list[dict[str, Any]]:
        """Return what each variant would be: one value for every parameter that was typed."""
        asked = {name: self.values(name) for name in self.over_manifest()}
        made = itertools.islice(itertools.product(*asked.values()), MOST_VARIANTS + 1)
        return [dict(zip(asked, chosen, strict=True)) for chosen in made]

    def differing(self) -> list[tuple[str, Any, str]]:
        """Return ``(name, value of the last run, text now)`` where they are not the same."""
        found = []
        for name, param in self.params.items():
            if not self.has_last():
                break
            if self.values(name) != [param["last"]]:
                found.append((name, param["last"], self.text(name)))
        return found

    def has_last(self) -> bool:
        """Tell whether there is a last run whose values are known."""
        return self.head is not None and any(param["last"] is not None for param in self.params.values())


def value_rows(form: Form, look: Look) -> list[Row]:
    """Return a row a parameter: what was typed is marked."""
    rows = []
    for name, param in form.params.items():
        edited, problem = name in form.edits, form.problem(name)
        sign: Cell = (look.sign("differs"), looks.WARN) if edited else " "
        if problem:
            sign = (look.sign("error"), looks.BAD)
        values = form.values(name)
        text = form.text(name) + (f"  ({len(values)} values)" if len(values) > 1 else "")
        style = looks.BAD if problem else looks.WARN if edited else looks.PLAIN
        last = typed(form.stage, name, param["last"]) if form.has_last() else ""
        other = form.has_last() and values != [param["last"]]
        cells: tuple[Cell, ...] = (
            sign,
            name,
            (text, style),
            param["unit"],
            (form.default(name) or "-", looks.DIM),
            (_layer(form, name), looks.DIM),
            (last, looks.WARN if other else looks.DIM),
        )
        rows.append(Row(name, cells, dict(param), search=param["help"]))
    return rows


def _layer(form: Form, name: str) -> str:
    """Return where a value comes from."""
    if name in form.edits:
        return "typed"
    if form.run is not None and form.base[name] != form.params[name]["value"]:
        return form.run
    return str(form.params[name]["layer"])


def help_lines(form: Form, name: str, own: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """Return what one wants to know of the parameter under the cursor; ``own``: tables of tilt series."""
    param = form.params[name]
    unit = f" {param['unit']}" if param["unit"] else ""
    lines: list[Any] = [(param["help"], looks.BOLD)]
    if problem := form.problem(name):
        lines.append((f"{form.text(name)}: {problem}".removeprefix(": "), looks.BAD))
    default = f"default {_with_unit(form.default(name), unit)}" if not param["required"] else "has no default"
    lines.append(f"takes {wanted(form.stage, name)}; {default}")
    several = form.values(name)
    if len(several) > 1:
        lines.append((sweep_words(form), looks.WARN))
    mine = {item: table[name] for item, table in own.items() if name in table}
    if mine:
        told = ", ".join(f"{item}: {typed(form.stage, name, value)}" for item, value in mine.items())
        more = ""
        if name in form.edits and not form.items:
            more = " (typed for all, so theirs are replaced too)"
        lines.append((f"values of their own: {told}{more}", looks.WARN if more else looks.PLAIN))
    if not param["per_item"] and form.items:
        lines.append("holds for all tilt series")
    return lines


def _with_unit(text: str, unit: str) -> str:
    """Return a number with its unit, a word as it is."""
    return text if text[:1].isalpha() else text + unit


def sweep_words(form: Form) -> str:
    """Return what several values come to."""
    found = form.sweep()
    count = 1
    for values in found.values():
        count *= len(values)
    each = " x ".join(f"{len(values)} values of {name}" for name, values in found.items())
    if len(found) == 1:
        each = f"{count} values"
    if count > MOST_VARIANTS:
        return f"{each}: makes {count} variants, more than {MOST_VARIANTS}"
    return f"{each}: makes {count} variants side by side, each with all that depends on it"


def asking_words(form: Form, name: str) -> str:
    """Return the help above the line on which a value is typed."""
    param = form.params[name]
    default = f"; default {form.default(name)}" if not param["required"] else ""
    return "\n".join(
        [
            param["help"],
            f"takes {wanted(form.stage, name)}{default}",
            "several values with commas between them make variants side by side: 20,15,12",
        ]
    )


def status_words(form: Form, n_items: int) -> tuple[str, str]:
    """Return what stands in the form in one line, and how loud that is ("", "warning" or "error")."""
    problems = form.problems()
    if problems:
        name, words = next(iter(problems.items()))
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return f"{name}: {words}{more}", "error"
    parts = []
    if form.run is not None:
        parts.append(f"from the values of {form.run}")
    if form.edits:
        parts.append(f"{len(form.edits)} typed")
    if form.has_last():
        other = len(form.differing())
        verb = "differs" if other == 1 else "differ"
        parts.append(f"{other or 'none'} of {len(form.params)} {verb} from {form.head}")
    elif not form.edits:
        parts.append("never run yet")
    if form.items:
        shown = ", ".join(form.items[:3]) + (f" and {len(form.items) - 3} more" * (len(form.items) > 3))
        parts.append(f"for {shown} only")
    elif n_items:
        parts.append(f"for all {n_items} tilt series" if n_items > 1 else "for the tilt series")
    if form.sweep():
        parts = [sweep_words(form).partition(", each with")[0], *parts[len(parts) - bool(form.items) :]]
    return "; ".join(parts), "warning" if form.edits else ""


def series_rows(items: Iterable[str], own: Mapping[str, Mapping[str, Any]], form: Form) -> list[Row]:
    """Return a row a tilt series with the values of its own, and what is typed for it."""
    known = list(items)
    rows = []
    for item in [*known, *(name for name in own if name not in known)]:
        table = own.get(item, {})
        meant = not form.items or item in form.items
        words = []
        for name in [*table, *(name for name in form.edits if name not in table and form.items and meant)]:
            now = _shown(form, name, table[name]) if name in table else ""
            if name in form.edits and meant:
                words.append(f"{name} = {now + ' -> ' if now else ''}{form.edits[name]}")
            else:
                words.append(f"{name} = {now}")
        text = ", ".join(words) or "as the step"
        rows.append(Row(item, (item, (text, looks.PLAIN if words else looks.DIM)), {"own": dict(table)}))
    return rows


def _shown(form: Form, name: str, value: Any) -> str:
    return typed(form.stage, name, value) if name in form.params else str(value)
