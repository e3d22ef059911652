"""Tilt series and their views as lines of text, from the plain values that ``staproj.api`` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.tables import number, table

HEADER = (
    "series",
    "views",
    "tilt deg",
    "e/Å²",
    "Å/px",
    "beads",
    "fit px",
    "leave-out px",
    "defocus µm",
    "astig µm",
    "thick Å",
    "particles",
    "",
)
COLUMNS = (
    "exposure_e_per_angstrom2",
    "pixel_size_angstrom",
    "n_beads",
    "residual_px",
    "leave_out_px",
    "defocus_um",
    "astigmatism_um",
    "thickness_angstrom",
    "n_particles",
)
VIEW_HEADER = ("", "view", "tilt", "e/Å²", "drift px", "X-rays", "beads", "fit px", "U µm", "V µm", "rings Å")
VIEW_COLUMNS = (
    "view",
    "stage_tilt_deg",
    "pre_exposure_e_per_angstrom2",
    "drift_px",
    "n_pixels_replaced",
    "n_beads",
    "residual_px",
    "defocus_u_um",
    "defocus_v_um",
    "fit_resolution_angstrom",
)
NONE_YET = "no tilt series yet; `staproj run` reads them"


def series_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line a tilt series, and below them what the flags mean."""
    if not rows:
        return [NONE_YET]
    cells = [
        [
            row["item"],
            used(row),
            tilt_range(row),
            *(rounded(row[name]) for name in COLUMNS),
            ", ".join(row["flags"]),
        ]
        for row in rows
    ]
    return [*table(HEADER, cells), *(note_line(row["item"], note) for row in rows for note in row["notes"])]


def view_lines(data: Mapping[str, Any]) -> list[str]:
    """Return one line a view of a tilt series, and how views are left out."""
    rows = [
        ["x" if row["excluded"] else "", *(rounded(row[name]) for name in VIEW_COLUMNS)]
        for row in data["views"]
    ]
    lines = [f"{data['item']}: {number(data['n_views'])} views", *table(VIEW_HEADER, rows)]
    lines += [note_line(data["item"], note) for note in data["notes"]]
    control = data["control"]
    if control is None:
        return lines
    name = f"{control['step']}.{control['param']}"
    now = data["excluded_now"]
    lines.append(f"x: left out. {name} of {data['item']} is {number(now)}")
    return [*lines, f"`staproj set '{name}=[0, 1]' --item {data['item']}` leaves views 0 and 1 out"]


def used(row: Mapping[str, Any]) -> str:
    """Return how many views are used, of how many where some are left out.

    >>> used({"n_views": 41, "n_excluded": 2}), used({"n_views": 41, "n_excluded": 0})
    ('39/41', '41')
    """
    views, out = row["n_views"], row["n_excluded"]
    if views is None:
        return "-"
    return f"{views - out}/{views}" if out else str(views)


def tilt_range(row: Mapping[str, Any]) -> str:
    """Return the range of tilts in whole degrees.

    >>> tilt_range({"tilt_min_deg": -59.98, "tilt_max_deg": 60.02})
    '-60 to 60'
    """
    low, high = row["tilt_min_deg"], row["tilt_max_deg"]
    return "-" if low is None or high is None else f"{low:.0f} to {high:.0f}"


def rounded(value: Any) -> Any:
    """Return a number with three figures, whole ones as they are.

    >>> rounded(0.11238), rounded(1185.18), rounded(5.4), rounded(41), rounded(None)
    (0.112, 1185.0, 5.4, 41, None)
    """
    if not isinstance(value, float):
        return value
    return round(value) * 1.0 if abs(value) >= 100 else float(f"{value:.3g}")


def note_line(item: str, note: Mapping[str, Any]) -> str:
    """Return a remark on a tilt series: what is flagged, in which run, in full."""
    run = f" ({note['run']})" if note["run"] else ""
    return f"{item}: {note['flag']}{run}: {' '.join(note['text'].split())}"
