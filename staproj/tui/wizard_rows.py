"""Rows and lines of the wizard for a new project, from plain values: no widgets, no files."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.raw_data import count, finding_lines, inspection
from staproj.report.tables import number, table, unit_of
from staproj.tui import look as looks
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Cell, Column, Row
from staproj.tui.wizard import EXPOSURE, Draft, Inspected

WORDS = {
    "pixel_size_angstrom": "pixel size",
    EXPOSURE: "exposure of a view",
    "tilt_axis_deg": "tilt axis",
    "voltage_kv": "voltage",
    "spherical_aberration_mm": "spherical aberration",
    "amplitude_contrast": "amplitude contrast",
}
TEMPLATE_COLUMNS = (Column("template", most=24), Column("takes", most=28), Column("what for", flex=True))
FACT_COLUMNS = (
    Column("", 1),
    Column("fact", most=24),
    Column("counts", 10, right=True),
    Column("unit", 5),
    Column("from", 10),
    Column("files say", 10, right=True),
    Column("where", flex=True),
)
OF_SERIES = "series:"
TAKE_FILES = "if the files are right: f, on the line of this fact (page 3)"


def template_rows(found: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return one row a template."""
    return [Row(one["name"], (one["name"], ", ".join(one["takes"]), one["help"]), dict(one)) for one in found]


def template_lines(described: Mapping[str, Any]) -> list[Any]:
    """Return what a template is for: its data, its steps, and its text with the comments."""
    lines: list[Any] = [(f"{described['name']}: {described['help']}", looks.BOLD)]
    lines += [f"  {name}: {one['help']}" for name, one in described["takes"].items()]
    steps = [[step["step"], step["summary"]] for step in described["steps"]]
    lines += ["", (f"{len(steps)} steps", looks.BOLD), *table(["step", ""], steps, indent=2)[1:]]
    return [*lines, "", ("its text", looks.BOLD), *described["text"].rstrip().splitlines()]


# --------------------------------------------------------------------------------------------- microscope
def fact_rows(draft: Draft, seen: Inspected | None, look: Look) -> list[Row]:
    """Return one row a fact of the microscope session, and one a tilt series for its exposure."""
    rows = [_fact_row(name, draft, seen, look) for name in draft.facts]
    series = seen.items if seen is not None and EXPOSURE in draft.facts else ()
    return rows + [_exposure_row(item, draft, seen, look) for item in series]


def _fact_row(name: str, draft: Draft, seen: Inspected | None, look: Look) -> Row:
    template = draft.described["microscope"].get(name) if draft.described is not None else None
    said = seen.files["facts"].get(name) if seen is not None else None
    typed = draft.values.get(name)
    if typed is not None:
        value, source = typed, "typed"
    elif template is not None:
        value, source = _several(template), "template"
    elif said is not None:
        value, source = _several(said["value"]), said["from"]
    else:
        value, source = "-", "not known" if seen is not None and seen.files["files"] else ""
    differs = seen is not None and any(f"{draft.step}.{name}" in one["sets"] for one in seen.used["findings"])
    files = _several(said["value"]) if said is not None else "-"
    cells = (value, unit_of(name), source, files, _where(name, "", seen))
    return _row(name, WORDS[name], cells, typed is not None, differs, look)


def _where(name: str, item: str, seen: Inspected | None) -> str:
    """Return the file that says a fact, or the exposure of one tilt series ("": none does)."""
    if seen is None:
        return ""
    if item:
        return next((str(s["where"]) for s in seen.files["series"] if s["item"] == item), "")
    said = seen.files["facts"].get(name)
    return str(said["where"]) if said is not None else ""


def _exposure_row(item: str, draft: Draft, seen: Inspected | None, look: Look) -> Row:
    typed = draft.exposures.get(item)
    said = seen.exposure(item) if seen is not None else None
    used = next((s["exposure"] for s in seen.used["series"] if s["item"] == item), None) if seen else None
    template = draft.described["microscope"].get(EXPOSURE) if draft.described is not None else None
    if typed is not None:
        value, source = typed, "typed"
    elif used is None:
        value, source = "-", "not known"
    else:
        of_template = item in template if isinstance(template, Mapping) else template is not None
        value = number(used)
        source = "typed" if EXPOSURE in draft.values else "template" if of_template else "mdoc"
    cells = (value, unit_of(EXPOSURE), source, number(said), _where(EXPOSURE, item, seen))
    return _row(OF_SERIES + item, f"  of {item}", cells, typed is not None, False, look)


def _row(key: str, words: str, cells: Sequence[str], typed: bool, differs: bool, look: Look) -> Row:
    missing = cells[2] == "not known"
    style = looks.LIVE if typed else looks.BAD if missing else looks.WARN if differs else looks.PLAIN
    sign = (
        look.sign("error")
        if missing
        else look.sign("differs")
        if differs
        else look.sign("mark")
        if typed
        else ""
    )
    value, unit, source, files, where = cells
    shown: tuple[Cell, ...] = (
        (sign, style),
        words,
        (value, style),
        unit,
        (source, style),
        files,
        (where.rpartition("/")[2], looks.DIM),
    )
    return Row(key, shown, {"differs": differs, "missing": missing, "typed": typed})


def _several(value: Any) -> str:
    """Return a value, of several the range."""
    if isinstance(value, Mapping):
        numbers = sorted({float(one) for one in value.values()})
        return number(numbers[0]) if len(numbers) == 1 else f"{number(numbers[0])}-{number(numbers[-1])}"
    return number(value)


def fact_lines(key: str, draft: Draft, seen: Inspected | None) -> list[Any]:
    """Return what a fact is, and what was found about it and the files."""
    item = key.removeprefix(OF_SERIES) if key.startswith(OF_SERIES) else ""
    lines: list[Any] = [
        f"exposure of one view of {item} alone"
        if item
        else f"{WORDS.get(key, key)}: {draft.facts.get(key, '')}"
    ]
    if seen is None:
        return [*lines, "reading headers and mdoc files ..."]
    if not seen.files["files"]:
        return [*lines, ("no files are named: what they say is not known", looks.WARN)]
    if where := _where(key, item, seen):
        lines.append((f"the files: {where}", looks.DIM))
    return [*lines, *styled_findings(seen.used["findings"], TAKE_FILES)]


def styled_findings(findings: Sequence[Mapping[str, Any]], key_hint: str = "") -> list[Any]:
    """Return findings, errors and warnings in their colours.

    ``key_hint`` stands instead of the command where taking what the files say would help.
    """
    lines: list[Any] = []
    for one in findings:
        hint = key_hint if key_hint and one.get("sets") else one["hint"]
        style = {"error": looks.BAD, "warning": looks.WARN}.get(one["level"], looks.PLAIN)
        first, *rest = finding_lines([{**one, "hint": hint}])
        lines += [(first, style), *rest]
    return lines


# -------------------------------------------------------------------------------------------------- check
def check_lines(plan: Mapping[str, Any] | None, seen: Inspected | None, draft: Draft) -> list[Any]:
    """Return what is wrong, what would be made, the command that does the same, and the manifest."""
    if plan is None and not draft.place:
        found = styled_findings(seen.used["findings"], TAKE_FILES) if seen is not None else []
        return [("no directory is named yet: page 4 asks for one", looks.BAD), *found]
    if plan is None:
        return ["checking ..."]
    errors = [one for one in plan["problems"] if one["level"] == "error"]
    found = list(seen.used["findings"]) if seen is not None else []
    stops = sum(one["level"] == "error" for one in found)
    lines: list[Any] = []
    if errors:
        lines.append((f"it cannot be made like this: {_things(len(errors))} to correct", looks.BAD))
    else:
        lines.append((f"ctrl+s makes {plan['project']}; nothing is copied or computed", looks.GOOD))
    if stops:
        lines.append((f"the first step would stop: {_things(stops)} in the files to correct", looks.BAD))
    lines += [*styled_findings(plan["problems"]), *styled_findings(found, TAKE_FILES)]
    lines += ["", ("the same as a command", looks.BOLD), f"$ {shlex.join(plan['command'])}"]
    data = [one for entry in plan["importers"] for one in entry["params"] if one["given"]]
    lines += ["", ("data", looks.BOLD)]
    lines += [f"  {one['name']}: {count(one)}  {', '.join(one['given'])}" for one in data] or ["  none yet"]
    if seen is not None and seen.used["series"]:
        lines += ["", *inspection({**seen.used, "files": {}, "findings": [], "facts": {}})[1:-2]]
    lines += ["", ("staproj.toml as it would be", looks.BOLD), *plan["manifest"].rstrip().splitlines()]
    return lines


def _things(count: int) -> str:
    return "1 thing" if count == 1 else f"{count} things"
