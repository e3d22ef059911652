"""Results as text."""

from __future__ import annotations

import math

from staproj.report.jobs import plan_lines
from staproj.report.plots import bars, plot
from staproj.report.runs import reasons_in_short
from staproj.report.tables import duration, number, size, table, unit_of


def test_table_columns_line_up() -> None:
    """Numbers end in one column, text starts in one."""
    lines = table(["step", "rms_px", "note"], [["a", 1.25, "x"], ["long name", 12.0, "y"]])
    assert lines == ["step       rms_px  note", "a            1.25  x", "long name      12  y"]


def test_numbers_are_short_and_gaps_are_dashes() -> None:
    """Four figures are shown; missing values and not-a-number are a dash."""
    assert [number(v) for v in (0.123456, 2.0, None, math.nan, False)] == ["0.1235", "2", "-", "-", "no"]
    assert number({"TS_01": 3.0}) == "{TS_01 = 3}"


def test_units_come_from_names() -> None:
    """The longest suffix decides: exposure is not a length."""
    assert unit_of("exposure_e_per_angstrom2") == "e/Å²"
    assert unit_of("pixel_size_angstrom") == "Å"
    assert unit_of("frequency_per_angstrom") == "1/Å"
    assert unit_of("count") == ""


def test_spans_and_sizes_read_well() -> None:
    """Time spans and file sizes are shown in the unit a person would take."""
    assert duration(59.94) == "59.9 s"
    assert duration(60) == "1 min 00 s"
    assert size(999) == "999 B"
    assert size(2.5e9) == "2.5 GB"


def test_plot_puts_points_where_they_are() -> None:
    """A rising line goes from bottom left to top right, and points that are no numbers are left out."""
    lines = plot([0, 1, 2, math.nan], [0, 1, 2, 5], x_label="x", y_label="y", width=3, height=3)
    assert all(line.count("•") == 1 for line in lines[1:4])
    columns = [line.index("•") for line in lines[1:4]]
    assert columns == sorted(columns, reverse=True)
    assert "0" in lines[-1]
    assert "2" in lines[-1]


def test_flat_and_empty_curves_are_drawn() -> None:
    """A constant curve and an empty one give text, not an error."""
    assert any("•" in line for line in plot([0, 1], [3, 3], x_label="x", y_label="y"))
    assert plot([], [], x_label="x", y_label="y") == ["y: nothing to draw"]
    assert bars([]) == ""
    assert len(bars(list(range(1000)))) <= 60


def test_that_outputs_were_cleared_is_said_before_who_made_them() -> None:
    """Of a run that was cleared and made with other software, the line of `status` tells what is missing."""
    reasons = [
        {"kind": "software", "field": "git", "old": "a", "new": "b"},
        {"kind": "cleared", "field": "runs/r0002-motion", "old": 8, "new": 4000},
    ]
    assert "were cleared" in reasons_in_short(reasons)


def test_a_plan_of_steps_that_cannot_be_compared_does_not_call_them_fresh() -> None:
    """Where nothing would run because records are unknown, the last line says so."""
    reason = {"kind": "unknown", "field": "record_format", "old": 99, "new": 1}
    kept = {"step": "mask", "run": "r0002", "action": "kept", "reasons": [reason]}
    lines = plan_lines([kept], {"steps": []})
    assert "cannot be compared" in lines[-1]
    assert "fresh" not in lines[-1]
