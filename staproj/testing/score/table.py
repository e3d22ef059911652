"""Pass marks, and scores as a table for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mark:
    """A pass mark: where the number stands in the scores and what it must not cross."""

    label: str
    path: tuple[str, str]
    limit: float | bool
    at_least: bool = False
    unit: str = ""


MARKS = (
    Mark("alignment: reprojection rms", ("alignment", "reprojection_rms_px"), 1.0, unit="px"),
    Mark("defocus: median error", ("ctf", "defocus_error_median_percent"), 10.0, unit="%"),
    Mark("defocus: hand", ("ctf", "hand_correct"), True),
    Mark("particles: F1", ("particles", "f1"), 0.8, at_least=True),
    Mark("particles: median angular error", ("particles", "angular_error_median_deg"), 8.0, unit="deg"),
    Mark("map: FSC 0.5 to truth over oracle's", ("map", "ratio_to_oracle"), 1.5),
)

_MORE: tuple[tuple[str, tuple[str, str], str], ...] = (
    ("alignment: tilt axis error", ("alignment", "tilt_axis_error_deg"), "deg"),
    ("alignment: tilt error", ("alignment", "tilt_error_deg"), "deg"),
    ("alignment: fitted scale", ("alignment", "scale"), ""),
    ("drift: rms error", ("drift", "error_rms_px"), "px"),
    ("gold: precision", ("gold", "precision"), ""),
    ("gold: recall", ("gold", "recall"), ""),
    ("gold: F1", ("gold", "f1"), ""),
    ("particles: found", ("particles", "n_found"), ""),
    ("particles: true", ("particles", "n_true"), ""),
    ("particles: precision", ("particles", "precision"), ""),
    ("particles: recall", ("particles", "recall"), ""),
    ("particles: 90 % angular error", ("particles", "angular_error_p90_deg"), "deg"),
    ("particles: median shift error", ("particles", "shift_error_median_angstrom"), "Å"),
    ("map: FSC 0.5 to truth", ("map", "fsc05_angstrom"), "Å"),
    ("map: FSC 0.5 of its mirror image", ("map", "mirror_fsc05_angstrom"), "Å"),
    ("map: FSC 0.5 with oracle poses", ("map", "oracle_fsc05_angstrom"), "Å"),
    ("map: half-map FSC 0.143", ("map", "half_map_fsc0143_angstrom"), "Å"),
)


def look_up(score: dict[str, Any], path: tuple[str, str]) -> Any:
    """Return a number of the scores, ``None`` where its part is missing."""
    part = score.get(path[0])
    return part.get(path[1]) if isinstance(part, dict) else None


def judge(score: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one ``{"name", "value", "limit", …, "passed"}`` a mark; ``passed`` is None if not measured."""
    judged = []
    for mark in MARKS:
        value = look_up(score, mark.path)
        passed: bool | None = None
        if value is not None:
            if isinstance(mark.limit, bool):
                passed = value == mark.limit
            else:
                passed = bool(value >= mark.limit if mark.at_least else value <= mark.limit)
        judged.append(
            {
                "name": mark.label,
                "value": value,
                "limit": mark.limit,
                "at_least": mark.at_least,
                "unit": mark.unit,
                "passed": passed,
            }
        )
    return judged


def write_table(score: dict[str, Any]) -> str:
    """Return the scores as text: pass marks first, then everything else that was measured."""
    rows = [("", "measured", "pass mark", "")]
    words = {True: "pass", False: "FAIL", None: "not measured"}
    for mark in score["pass_marks"]:
        if isinstance(mark["limit"], bool):
            limit = "right"
            value = "-" if mark["value"] is None else ("right" if mark["value"] else "wrong")
        else:
            limit = f"{'>=' if mark['at_least'] else '<='} {mark['limit']:g} {mark['unit']}".rstrip()
            value = _number(mark["value"], mark["unit"])
        rows.append((mark["name"], value, limit, words[mark["passed"]]))
    for label, path, unit in _MORE:
        value = look_up(score, path)
        if value is not None:
            rows.append((label, _number(value, unit), "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].ljust(widths[2]), row[3]]
        ).rstrip()
        for row in rows
    ]
    lines += [f"note: {note}" for note in score.get("notes", [])]
    return "\n".join(lines)


def _number(value: Any, unit: str) -> str:
    if value is None:
        return "-"
    text = f"{value:d}" if isinstance(value, int) else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"
    return f"{text} {unit}".rstrip()
