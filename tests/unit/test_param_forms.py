"""Forms made from declarations: types, choices and bounds, and values as text that reads the same."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from staproj.api import param_forms
from staproj.api.tidy import without_empty
from staproj.engine import params
from staproj.project.manifest import Change
from staproj.report.series import COLUMNS, note_line, rounded, series_lines, tilt_range, used
from staproj.stages import registry
from staproj.stages.api import Params, StageSpec, param
from staproj.units import Unit


class AllParams(Params):
    """One of each kind."""

    must: str = param(help="Text.", data_path=True, per_item=False)
    size_px: float = param(1.5, unit=Unit.PIXEL, gt=0, lt=9, help="Number.")
    count: int | None = param(None, ge=2, le=7, help="Whole number.")
    on: bool = param(True, help="Switch.")
    word: Literal["auto", -1, 1] = param("auto", help="Choice.")
    knots: Annotated[int, Field(ge=0, le=500)] | Literal["auto"] = param("auto", help="Number or word.")
    views: list[int] = param([], help="List.")
    bins: tuple[Annotated[int, Field(ge=1)], ...] | None = param(None, help="List or none.")
    dose: float | dict[str, float] | None = param(None, help="Several.")
    names: dict[str, int] = param({}, help="Table.")


ALL = StageSpec("all", "A toy.", AllParams, {}, {}, "nowhere:run")


@pytest.fixture(scope="module")
def forms() -> dict[str, dict[str, Any]]:
    """Return the forms of the toy."""
    return param_forms.describe(ALL)


def test_types_and_choices(forms: dict[str, dict[str, Any]]) -> None:
    """Each annotation has one word; single words beside a type are choices."""
    assert {name: form["type"] for name, form in forms.items()} == {
        "must": "text",
        "size_px": "float",
        "count": "int",
        "on": "bool",
        "word": "choice",
        "knots": "int",
        "views": "list",
        "bins": "list",
        "dose": "any",
        "names": "table",
    }
    assert forms["word"]["choices"] == ["auto", -1, 1]
    assert forms["knots"]["choices"] == ["auto"]
    assert (forms["views"]["element"], forms["bins"]["element"], forms["on"]["element"]) == (
        "int",
        "int",
        None,
    )


def test_bounds_units_and_marks(forms: dict[str, dict[str, Any]]) -> None:
    """Bounds, unit, none, required, per item and raw data come from the declaration."""
    assert forms["size_px"]["bounds"] == {"gt": 0, "lt": 9}
    assert forms["count"]["bounds"] == {"ge": 2, "le": 7}
    assert forms["knots"]["bounds"] == {"ge": 0, "le": 500}
    assert (forms["size_px"]["unit"], forms["size_px"]["default"], forms["size_px"]["help"]) == (
        "px",
        1.5,
        "Number.",
    )
    assert [name for name, form in forms.items() if form["optional"]] == ["count", "bins", "dose"]
    assert [name for name, form in forms.items() if form["required"]] == ["must"]
    assert [name for name, form in forms.items() if not form["per_item"]] == ["must"]
    assert [name for name, form in forms.items() if form["data_path"]] == ["must"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("must", "raw/*.mrc", "raw/*.mrc"),
        ("must", " a", '" a"'),
        ("must", "", '""'),
        ("must", "7", "7"),
        ("size_px", 2.0, "2.0"),
        ("count", None, "none"),
        ("on", False, "false"),
        ("word", -1, "-1"),
        ("knots", "auto", "auto"),
        ("views", [0, 40], "[0, 40]"),
        ("dose", {"TS_01": 3.0}, "{TS_01 = 3.0}"),
    ],
)
def test_a_value_is_text_and_back(name: str, value: Any, text: str) -> None:
    """The text is what a person would type, and reads as the same value."""
    assert param_forms.as_text(ALL, name, value) == text
    assert params.parse_value(ALL, name, text, step="all") == value


def test_every_default_of_every_stage_can_be_typed() -> None:
    """The text of a default is accepted and gives that default again."""
    for spec in registry.all_stages():
        for name, form in param_forms.describe(spec).items():
            if not form["required"]:
                text = param_forms.as_text(spec, name, form["default"])
                assert params.parse_value(spec, name, text, step=spec.name) == form["default"], (
                    spec.name,
                    name,
                )
            assert form["type"] in {"float", "int", "bool", "choice", "text", "list", "table", "any"}


MANIFEST = """schema = 2

[step.clean]
stage = "clean"

[step.clean.item.TS_01]

[step.clean.item.TS_02]

[step.ctf]   # rings
stage = "ctf"

[step.ctf.params]   # a remark
"""


def gone(*keys: str) -> Change:
    """Return the edit that takes a key out of a table."""
    return Change(("step", *keys), None)


def test_an_empty_table_goes_alone() -> None:
    """Only the table that an edit has emptied goes, and nothing but its heading."""
    text = without_empty(MANIFEST, [gone("clean", "item", "TS_01", "exclude_views")])
    assert text == MANIFEST.replace("[step.clean.item.TS_01]\n\n", "")
    text = without_empty(text, [gone("clean", "item", "TS_02", "exclude_views")])
    assert "item" not in text
    assert text.count("\n[step.") == 3


def test_a_table_with_a_remark_or_a_key_stays() -> None:
    """A heading with a remark stays, a table with a key, and the table of the step whatever happens."""
    assert without_empty(MANIFEST, [gone("ctf", "params", "defocus_max_um")]) == MANIFEST
    full = MANIFEST.replace("TS_01]\n", "TS_01]\npeak_sd = 9.0\n")
    assert without_empty(full, [gone("clean", "item", "TS_01", "exclude_views")]) == full
    assert without_empty(MANIFEST, [gone("none", "params", "x")]) == MANIFEST


def test_words_of_a_row() -> None:
    """Numbers of three figures, dashes for what is missing, escape sequences as codes."""
    assert [rounded(value) for value in (0.112384, 1185.18, 5.4, 41, None)] == [0.112, 1185.0, 5.4, 41, None]
    assert used({"n_views": 41, "n_excluded": 2}) == "39/41"
    assert used({"n_views": 41, "n_excluded": 0}) == "41"
    assert used({"n_views": None, "n_excluded": None}) == "-"
    assert tilt_range({"tilt_min_deg": -59.98, "tilt_max_deg": 60.02}) == "-60 to 60"
    note = {"flag": "warning ctf", "run": None, "text": "two\nlines"}
    assert note_line("TS_01", note) == "TS_01: warning ctf: two lines"
    names = ["n_views", "n_excluded", "tilt_min_deg", "tilt_max_deg", *COLUMNS]
    empty = dict.fromkeys(names)
    lines = series_lines([{**empty, "item": "TS\x1b[2J", "flags": [], "notes": []}])
    assert lines[1].split() == ["TS\\x1b[2J", *["-"] * 11]
