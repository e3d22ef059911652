"""Rows of the tables of tilt series and of views, from the plain values of the API: no widgets, no files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from staproj.report.series import note_line, rounded, tilt_range, used
from staproj.report.tables import number
from staproj.tui import look as looks
from staproj.tui.look import Look
from staproj.tui.widgets.lines import Cell, Column, Row

IMPORTS = ("import_stack", "import_movies")


@dataclass(frozen=True)
class Shown:
    """One column: its name, the value of a row it shows, who made it, and whether a narrow screen has it."""

    name: str
    value: str
    made_by: tuple[str, ...] = ()
    narrow: bool = True
    words: Callable[[Mapping[str, Any]], str] | None = None


SERIES = (
    Shown("series", "item", IMPORTS),
    Shown("views", "n_views", ("clean", *IMPORTS), words=used),
    Shown("tilt deg", "tilt_min_deg", IMPORTS, False, words=tilt_range),
    Shown("e/Å²", "exposure_e_per_angstrom2", IMPORTS),
    Shown("Å/px", "pixel_size_angstrom", IMPORTS, False),
    Shown("beads", "n_beads", ("fine_align", "fiducials"), False),
    Shown("fit px", "residual_px", ("fine_align",)),
    Shown("leave-out px", "leave_out_px", ("fine_align",), False),
    Shown("defocus µm", "defocus_um", ("ctf",)),
    Shown("astig µm", "astigmatism_um", ("ctf",), False),
    Shown("thick Å", "thickness_angstrom", ("position",)),
    Shown("particles", "n_particles", ("select", "match", "seed")),
    Shown("flags", "flags", ("clean",)),
)
"""Columns of tilt series."""
VIEWS = (
    Shown("use", "excluded", ("clean",)),
    Shown("view", "view", IMPORTS),
    Shown("tilt", "stage_tilt_deg", IMPORTS),
    Shown("order", "acquisition_index", IMPORTS, False),
    Shown("e/Å²", "pre_exposure_e_per_angstrom2", IMPORTS),
    Shown("drift px", "drift_px", ("motion",)),
    Shown("X-rays", "n_pixels_replaced", ("clean",), False),
    Shown("beads", "n_beads", ("fine_align",), False),
    Shown("fit px", "residual_px", ("fine_align",)),
    Shown("U µm", "defocus_u_um", ("ctf",)),
    Shown("V µm", "defocus_v_um", ("ctf",)),
    Shown("astig deg", "astigmatism_deg", ("ctf",), False),
    Shown("rings Å", "fit_resolution_angstrom", ("ctf",)),
    Shown("set µm", "nominal_defocus_um", IMPORTS, False),
)
"""Columns of views."""


def shown(columns: Sequence[Shown], wide: bool) -> list[Shown]:
    """Return the columns for which there is room."""
    return [column for column in columns if wide or column.narrow]


def columns_of(columns: Sequence[Shown]) -> list[Column]:
    """Return columns as a list takes them; the one with flags takes the rest."""
    found = []
    for one in columns:
        flexible = one.value == "flags"
        found.append(
            Column(
                one.name,
                flex=flexible,
                right=one.value not in ("item", "flags", "excluded"),
                most=16,
                sort=_sorting(one.value),
            )
        )
    return found


def _sorting(value: str) -> Callable[[Any], Any]:
    def key(data: Mapping[str, Any]) -> Any:
        found = data.get(value)
        return len(found) if isinstance(found, list) else found

    return key


def series_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[Shown]) -> list[Row]:
    """Return one row a tilt series."""
    found = []
    for row in rows:
        cells: list[Cell] = []
        for one in columns:
            if one.value == "flags":
                cells.append((", ".join(row["flags"]), looks.WARN))
            elif one.words is not None:
                cells.append(one.words(row))
            else:
                cells.append(_text(row[one.value]))
        found.append(Row(row["item"], tuple(cells), dict(row), search=" ".join(row["flags"])))
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else number(rounded(value))


def _degrees(view: Mapping[str, Any]) -> str:
    tilt = view["stage_tilt_deg"]
    return "-" if tilt is None else f"{tilt + 0.0:.1f}"


def series_details(row: Mapping[str, Any]) -> list[Any]:
    """Return what one wants to know of a tilt series under the cursor."""
    about = [f"{used(row)} views", f"{tilt_range(row)} degrees"]
    for words, name in (
        ("{} e/Å²", "exposure_e_per_angstrom2"),
        ("{} Å/px", "pixel_size_angstrom"),
        ("{} beads", "n_beads"),
        ("leave-out error {} px", "leave_out_px"),
        ("astigmatism {} µm", "astigmatism_um"),
    ):
        if row[name] is not None:
            about.append(words.format(_text(row[name])))
    if row["particles_from"]:
        about.append(f"{number(row['n_particles'])} particles ({row['particles_from']})")
    lines: list[Any] = [(row["item"], looks.BOLD), ", ".join(about)]
    return [*lines, *((note_line(row["item"], note), looks.WARN) for note in row["notes"])]


# ------------------------------------------------------------------------------------------------ choosing
class Choice:
    """Which views of a tilt series are left out: as the manifest says, and as wanted now; with a way back."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.item = str(data["item"])
        self.control: Mapping[str, Any] | None = data["control"]
        self.saved: frozenset[int] = frozenset()
        self.made: frozenset[int] | None = None
        self.wanted: frozenset[int] = frozenset()
        self.data: Mapping[str, Any] = {"views": []}
        self._before: list[frozenset[int]] = []
        self.take_in(data)
        self.wanted = self.saved

    def take_in(self, data: Mapping[str, Any]) -> bool:
        """Take what the project says now; tell whether others changed what is being changed here."""
        was, changed = self.saved, self.is_changed
        self.data = data
        self.control = data["control"]
        self.saved = frozenset(data["excluded_now"] or ())
        self.made = None if data["excluded_made"] is None else frozenset(data["excluded_made"])
        if not changed:
            self.wanted = self.saved
        return changed and was != self.saved

    @property
    def views(self) -> Sequence[Mapping[str, Any]]:
        """The views, by rising tilt."""
        found: Sequence[Mapping[str, Any]] = self.data["views"]
        return found

    @property
    def is_changed(self) -> bool:
        """Tell whether there is something to write."""
        return self.wanted != self.saved

    def is_dark(self, view: Mapping[str, Any]) -> bool:
        """Tell whether a view was left out for another reason than this list (a blank view)."""
        return bool(view["excluded"]) and self.made is not None and view["view"] not in self.made

    def toggle(self, view: int) -> None:
        """Keep a view that is left out, leave one out that is kept."""
        self._set(self.wanted ^ {view})

    def keep_all(self) -> None:
        """Keep all views."""
        self._set(frozenset())

    def leave_out_beyond(self, tilt_deg: float) -> int:
        """Leave out views tilted further; return how many more these are."""
        far = {v["view"] for v in self.views if abs(v["stage_tilt_deg"] or 0.0) > tilt_deg}
        more = len(far - self.wanted)
        self._set(self.wanted | far)
        return more

    def undo(self) -> bool:
        """Go one change back; tell whether there was one."""
        if not self._before:
            return False
        self.wanted = self._before.pop()
        return True

    def _set(self, wanted: frozenset[int]) -> None:
        if wanted != self.wanted:
            self._before.append(self.wanted)
            self.wanted = wanted

    # ------------------------------------------------------------------------------------- as a command
    @property
    def parameter(self) -> str:
        """The parameter that holds the list."""
        return f"{self.control['step']}.{self.control['param']}" if self.control else ""

    def command(self) -> list[str]:
        """Return the command that writes the same."""
        value = json.dumps(sorted(self.wanted))
        return ["set", f"{self.parameter}={value}", "--item", self.item]


def view_rows(choice: Choice, columns: Sequence[Shown], look: Look) -> list[Row]:
    """Return one row a view."""
    rows = []
    for view in choice.views:
        number_of = view["view"]
        out = number_of in choice.wanted
        dark = choice.is_dark(view)
        change = look.sign("differs") if out != (number_of in choice.saved) else " "
        style = looks.LIVE if change != " " else looks.DIM if out or dark else looks.PLAIN
        words = "left out" if out else "dark" if dark else "keep"
        cells: list[Cell] = []
        for one in columns:
            if one.value == "excluded":
                sign = look.sign("off" if out or dark else "on")
                cells.append((f"{change}{sign} {words.ljust(8)}", style))
            else:
                text = _degrees(view) if one.value == "stage_tilt_deg" else _text(view[one.value])
                cells.append((text, looks.DIM if out or dark else looks.PLAIN))
        rows.append(Row(str(number_of), tuple(cells), {**view, "excluded": out or dark, "dark": dark}))
    return rows


def choice_lines(choice: Choice, stale: Sequence[str] | None) -> list[Any]:
    """Return what is changed and what becomes stale by it; ``stale`` is ``None`` until that is known."""
    if choice.control is None:
        return [("no step of this pipeline leaves views out", looks.WARN)]
    if not choice.is_changed:
        now = ", ".join(map(str, sorted(choice.saved))) or "none"
        return [f"left out by {choice.parameter}: {now}. space changes a view, x leaves out beyond a tilt"]
    out, back = sorted(choice.wanted - choice.saved), sorted(choice.saved - choice.wanted)
    parts = [f"leave out {', '.join(map(str, out))}"] if out else []
    parts += [f"keep {', '.join(map(str, back))}"] if back else []
    lines: list[Any] = [(f"{'; '.join(parts)}: ctrl+s writes it, z takes it back", looks.LIVE)]
    step = choice.control["step"]
    if choice.made is not None and choice.wanted == choice.made:
        lines.append(f"{step} was made like this: nothing becomes stale by it")
    elif stale is None:
        lines.append("looking what becomes stale ...")
    else:
        names = [step, *stale]
        lines.append((f"stale then ({len(names)} steps): {', '.join(names)}", looks.WARN))
    return lines


def view_details(view: Mapping[str, Any]) -> str:
    """Return what one wants to know of a view under the cursor, in one line."""
    parts = [f"view {view['view']} at {_degrees(view)}°"]
    for words, name in (
        ("number {} in order of recording", "acquisition_index"),
        ("{} e/Å² before", "pre_exposure_e_per_angstrom2"),
        ("{} beads", "n_beads"),
        ("set to {} µm", "nominal_defocus_um"),
        ("{} pixels of X-rays", "n_pixels_replaced"),
    ):
        if view[name] is not None:
            parts.append(words.format(_text(view[name])))
    return ", ".join(parts)


def run_of(column: Shown, row: Row | None, steps: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the run that made the numbers of a column; of a flag the run it is about.

    ``steps`` are those of ``Project.status``; of several steps of a stage the last one with a head counts.
    """
    heads = [step for step in steps if step["run"]]
    if row is not None and column.value == "flags":
        return next((note["run"] for note in row.data["notes"] if note["run"]), None)
    if row is not None and column.value == "n_particles" and row.data["particles_from"]:
        return next((s["run"] for s in heads if s["step"] == row.data["particles_from"]), None)
    for stage in column.made_by:
        found = [step["run"] for step in heads if step["stage"] == stage]
        if found:
            return str(found[-1])
    return None


def notes_of(choice: Choice) -> list[Any]:
    """Return the remarks on the tilt series whose views are shown."""
    return [(note_line(choice.item, note), looks.WARN) for note in choice.data["notes"]]


def tilt_problem(text: str) -> str:
    """Say what is wrong with a tilt ("" if nothing is).

    >>> tilt_problem("50"), tilt_problem("-3")
    ('', 'a tilt from 0 to 90 degrees is meant')
    """
    try:
        tilt = float(text)
    except ValueError:
        return "a number of degrees is meant"
    return "" if 0 <= tilt <= 90 else "a tilt from 0 to 90 degrees is meant"
