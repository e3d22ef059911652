"""Words for templates, raw data and new projects before they are made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.tables import number, size, table, unit_of

SIGN = {"error": "!!", "warning": "! ", "note": "  "}
_MOST_SERIES = 40
_NAMES = {
    "pixel_size_angstrom": "pixel size",
    "voltage_kv": "voltage",
    "exposure_e_per_angstrom2": "exposure of a view",
    "tilt_axis_deg": "tilt axis",
    "binning": "binning in the mdoc",
    "nominal_defocus_um": "defocus aimed at",
    "image_shape_yx": "image",
    "data_type": "stored as",
    "n_frames": "frames of a movie",
    "gain_shape_yx": "gain reference",
}


def template_list(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line a template."""
    rows = [[one["name"], ", ".join(one["takes"]), one["steps"], one["help"]] for one in found]
    lines = table(["template", "takes", "steps", "what for"], rows)
    return [
        *lines,
        "",
        "`staproj templates NAME` shows one; `staproj new DIR --template NAME` makes a project",
    ]


def template_page(found: Mapping[str, Any]) -> list[str]:
    """Return what a template is for, the data it takes, its steps, and its text."""
    lines = [f"{found['name']}: {found['help']}", "", "data"]
    lines += table(
        ["parameter", ""], [[f"{t['step']}.{n}", t["help"]] for n, t in found["takes"].items()], indent=2
    )
    if found["microscope"]:
        lines += ["", "facts of the data that it sets"]
        lines += [f"  {name} = {number(value)}" for name, value in found["microscope"].items()]
    lines += ["", "steps"]
    lines += table(["step", "stage", ""], [list(step.values()) for step in found["steps"]], indent=2)
    return [*lines, "", *found["text"].rstrip().splitlines()]


def count(found: Mapping[str, Any]) -> str:
    """Say how many files there are, and their size: "41 files, 30.6 MB"."""
    more = "more than " if found["more"] else ""
    files = "1 file" if found["count"] == 1 and not more else f"{more}{found['count']} files"
    return f"{files}, {size(found['bytes'])}" if found["count"] else "no file"


def match_line(found: Mapping[str, Any]) -> str:
    """Say in one line what a pattern matches, or why nothing, and what would."""
    if not found["count"]:
        also = f" Try {', '.join(found['suggest'][:3])}" if found["suggest"] else ""
        return f"no file: {found['problem']}.{also}"
    names = [*found["first"][:2], *(["..."] if found["count"] > 3 else [])]
    names += [found["last"]] if found["last"] not in names else []
    return f"{count(found)}: {', '.join(names)}"


def fact(name: str, entry: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return a fact as name, value with unit, and where it comes from."""
    value = entry["value"]
    if name.endswith("_shape_yx"):
        text = f"{value[1]} x {value[0]}"
    elif name == "nominal_defocus_um":
        text = number(value[0]) if value[0] == value[1] else f"{number(value[0])} to {number(value[1])}"
    elif isinstance(value, Mapping):  # one a tilt series
        low, high = number(min(value.values())), number(max(value.values()))
        text = low if low == high else f"{low} to {high}"
    else:
        text = number(value)
    return _NAMES.get(name, name), f"{text} {unit_of(name)}".rstrip(), entry["where"] or entry["from"]


def finding_lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong, the worst first, each with the place and what to do."""
    lines = []
    for finding in found:
        lines.append(f"{SIGN[finding['level']]} {finding['text']}")
        if finding["where"]:
            lines.append(f"     where: {finding['where']}")
        if finding["hint"]:
            lines.append(f"     try:   {finding['hint']}")
    return lines


def inspection(found: Mapping[str, Any]) -> list[str]:
    """Return what raw data hold and what is wrong with them."""
    lines = []
    for role, one in found["files"].items():
        lines.append(f"{role.ljust(7)} {count(one)}  {', '.join(one['patterns'])}")
    if found["facts"]:
        facts = [fact(name, found["facts"][name]) for name in _NAMES if name in found["facts"]]
        lines += ["", *table(["", "", "from"], facts)[1:]]
    if found["series"]:
        header = ["tilt series", "views", "tilt deg", "e/Å² a view", "missing", "recorded"]
        lines += ["", *table(header, [_row(one) for one in found["series"][:_MOST_SERIES]])]
        if len(found["series"]) > _MOST_SERIES:
            lines.append(f"and {len(found['series']) - _MOST_SERIES} more (all with --json)")
    lines += [""] if lines else []
    lines += finding_lines(found["findings"])
    errors = sum(one["level"] == "error" for one in found["findings"])
    warnings = sum(one["level"] == "warning" for one in found["findings"])
    if errors:
        lines.append(f"{_things(errors)} would stop the import")
    else:
        looks = "can be imported"
        lines.append(f"{looks}; {_things(warnings)} to look at" if warnings else looks)
    return lines


def plan_lines(found: Mapping[str, Any]) -> list[str]:
    """Return what a new project would be: its data, what is wrong, and the command."""
    steps = f"{len(found['steps'])} steps: {', '.join(found['steps'])}"
    lines = [f"would make {found['project']} with {steps}"] if found["steps"] else []
    data = [one for entry in found["importers"] for one in entry["params"] if one["given"]]
    lines += [f"  {one['name'].ljust(7)} {count(one)}  {', '.join(one['given'])}" for one in data]
    lines += finding_lines(found["problems"])
    lines.append("nothing was written" + ("" if found["ok"] else ", and it cannot be made like this"))
    return [*lines, f"command: {shlex.join(found['command'])}"]


def _row(one: Mapping[str, Any]) -> list[Any]:
    return [
        one["item"],
        one["views"],
        _range(one),
        one["exposure"],
        len(one["missing_movies"]),
        one["scheme"],
    ]


def _range(series: Mapping[str, Any]) -> str:
    if series["tilt_min_deg"] is None:
        return "-"
    return f"{series['tilt_min_deg']:.1f} to {series['tilt_max_deg']:.1f}"


def _things(count: int) -> str:
    return "1 thing" if count == 1 else f"{count} things"
