"""What a start would do, as lines: what differs, what becomes stale, time and disk, the command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.jobs import takes_lines
from staproj.report.runs import value_text
from staproj.report.settings import change_line
from staproj.report.tables import number
from staproj.tui import look as looks
from staproj.tui.form_how import when_words
from staproj.tui.forms import Form, sweep_words


def preview_lines(form: Form, judged: Mapping[str, Any], command: Sequence[str]) -> list[Any]:
    """Return what the run that this form asks for would be.

    ``judged``: ``{"problem", "preview", "sweep", "room"}``; what is not known is ``None``.
    """
    lines: list[Any] = []
    problems = [f"{name}: {words}" for name, words in form.problems().items()]
    problems += [judged["problem"]] if judged.get("problem") and not problems else []
    if problems:
        lines += [
            ("cannot be started like this", looks.BAD),
            *((f"  {one}", looks.BAD) for one in problems),
            "",
        ]
    lines += _heading(form, judged)
    lines += ["", *_differing(form)]
    lines += _written(form, judged)
    preview, sweep = judged.get("preview"), judged.get("sweep")
    expected = (sweep or preview or {}).get("expected")
    if sweep is None and preview is not None:
        stale = ", ".join(preview["stale"])
        lines += ["", ("becomes stale", looks.BOLD), f"  {stale}" if stale else "  nothing"]
    lines += ["", ("takes", looks.BOLD)]
    if expected is not None:
        style = looks.PLAIN if expected["fits"] else looks.BAD
        lines += [(f"  {line}", style) for line in takes_lines(expected)]
        if not expected["fits"]:
            lines.append(("  the tab how has force, which begins all the same", looks.WARN))
    else:
        lines.append("  nobody knows yet" if preview is not None or problems else "  looking ...")
    if room := judged.get("room"):
        value, words = when_words(room)
        lines.append(f"  begins: {value} ({words})")
    return [*lines, "", ("the same as a command", looks.BOLD), f"  {shlex.join(['staproj', *command])}"]


def _heading(form: Form, judged: Mapping[str, Any]) -> list[Any]:
    step, preview = form.step, judged.get("preview") or {}
    only = f", for {', '.join(form.items)} only" if form.items else ""
    sweep = judged.get("sweep")
    if form.sweep():
        copies = f"; copies {', '.join(sweep['steps'])}" if sweep else ""
        lines: list[Any] = [(f"{sweep_words(form)}{copies}{only}", looks.BOLD)]
        made = form.combinations()
        for values in made[:16]:
            lines += ["  " + ", ".join(f"{name} = {number(values[name])}" for name in form.sweep())]
        lines += [f"  ... and {len(made) - 16} more"] if len(made) > 16 else []
        return [*lines, "  `staproj variant compare` compares them; the step as it is stays"]
    if preview.get("problem"):
        return [
            (f"runs {step} and what it needs{only}", looks.BOLD),
            f"  {preview['problem']}: that is done first",
        ]
    return [(f"makes a new run of {step}{only}; the old ones stay", looks.BOLD)]


def _differing(form: Form) -> list[Any]:
    if not form.has_last():
        return [("there is no last run to compare with", looks.BOLD)]
    found = form.differing()
    lines: list[Any] = [(f"differs from {form.head}, the last run", looks.BOLD)]
    for name, old, text in found:
        unit = form.params[name]["unit"]
        lines.append(f"  {name}: {value_text(old)} -> {text} {unit}".rstrip())
    return [*lines, *([] if found else ["  nothing: all is computed anew with the same values"])]


def _written(form: Form, judged: Mapping[str, Any]) -> list[Any]:
    """Return what staproj.toml will say afterwards."""
    changes = (judged.get("preview") or {}).get("changes") or []
    if form.sweep() or not changes:
        return []
    return [
        "",
        ("written into staproj.toml when the run is complete", looks.BOLD),
        *(f"  {change_line(change)}" for change in changes),
    ]
