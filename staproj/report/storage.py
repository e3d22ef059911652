"""Clean-up, the trash and disk use as lines of text, from the plain values that ``staproj.api`` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.tables import duration, size, table

_MOST = 25


def plan_lines(data: Mapping[str, Any], command: str) -> list[str]:
    """Say what could be deleted, and how; ``command`` is the one that would do it."""
    lines = _victims(data)
    if not data["runs"]:
        lines = ["nothing to delete", *_reasons(data)]
        return [*lines, "", "look further with --superseded or --attempts; `staproj du` shows the space"]
    total = (
        f"{size(data['bytes'])} in {data['files']} files can go; all of it was made in "
        f"{duration(data['wall_s'])} ({duration(data['cpu_s'])} of CPU time)"
    )
    return [
        *lines,
        *_reasons(data),
        "",
        total,
        *_software_note(data),
        "",
        "nothing was deleted. Next:",
        f"  {command} --prove 5    make 5 of these outputs again in scratch and compare, bit for bit",
        f"  {command} --yes        move all of it to the trash, where it can be restored from",
    ]


def cleaned_lines(data: Mapping[str, Any]) -> list[str]:
    """Say what was moved to the trash, and how to undo it."""
    if not data["trash"]:
        return ["nothing to delete", *_reasons(data)]
    return [
        *_victims(data),
        *_reasons(data),
        "",
        f"{data['files']} files, {size(data['bytes'])}, are in the trash now ({data['trash']}). Next:",
        "  staproj trash restore          put all of it back",
        "  staproj trash purge --yes      delete it for good, which frees the space",
    ]


def proof_lines(data: Mapping[str, Any]) -> list[str]:
    """Show each output that was made again, and whether it is the same."""
    units = data["units"]
    if not units:
        return ["no output can be made again, so nothing can be proven"]
    rows = [
        [
            "✓" if unit["equal"] else "✗",
            unit["run"],
            unit["step"],
            unit["item"] or "-",
            unit["files"],
            size(unit["bytes"]),
            duration(unit["wall_s"]),
            _result(unit),
        ]
        for unit in units
    ]
    lines = table([" ", "run", "step", "tilt series", "files", "size", "took", "result"], rows)
    asked = [unit for unit in units if unit["asked"]]
    also = len(units) - len(asked)
    on_the_way = f"; {also} more on the way to them" if also else ""
    lines += ["", f"{data['proven']} of {len(asked)} made again bit for bit{on_the_way}"]
    if len(asked) < data["asked"]:
        lines.append(f"({data['asked']} were asked for; there are no more that can be made again)")
    return lines


def trash_rows(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line a clean-up that can be undone."""
    if not parts:
        return ["the trash is empty"]
    rows = [[p["trash"], p["who"], p["files"], size(p["bytes"]), _few(p["runs"]), p["why"]] for p in parts]
    lines = table(["name", "who", "files", "frees", "runs", "why"], rows)
    hint = "`staproj trash restore NAME` puts it back, `staproj trash purge --yes` frees the space"
    return [*lines, "", hint]


def restored_lines(data: Mapping[str, Any]) -> list[str]:
    """Say what was put back."""
    return [f"{data['files']} files ({size(data['bytes'])}) of {_few(data['runs']) or 'no run'} are back"]


def purged_lines(data: Mapping[str, Any]) -> list[str]:
    """Say what was or would be deleted for good."""
    if not data["trash"]:
        return ["the trash is empty"]
    names = ", ".join(data["trash"])
    if data["dry_run"]:
        told = f"{size(data['bytes'])} would be freed ({names}); nothing was deleted"
        return [told, "`staproj trash purge --yes` deletes it for good; then it can only be made again"]
    return [f"{size(data['bytes'])} freed ({names})"]


def remade_lines(run: str, paths: Sequence[str]) -> list[str]:
    """Say which outputs are there again."""
    if not paths:
        return [f"nothing of {run} is missing"]
    return [f"{len(paths)} outputs of {run} are back, the same as they were sealed"]


def usage_lines(data: Mapping[str, Any]) -> list[str]:
    """Show where the space goes, largest first."""
    rows = data["rows"]
    if data["by"] == "class":
        lines = table(["class", "size"], [[row["name"], size(row["bytes"])] for row in rows])
    else:
        shown = rows[:_MOST]
        head = ["run", "step"] if data["by"] == "run" else ["step", "runs"]
        kinds = ("final", "intermediate", "scratch", "records")
        body = [
            [row["name"], row["step"] if data["by"] == "run" else row["runs"]]
            + [size(row[kind]) if row[kind] else "-" for kind in kinds]
            + [size(row["bytes"]), f"{size(row['cleared'])} cleared" if row["cleared"] else ""]
            for row in shown
        ]
        lines = table([*head, *kinds, "all", ""], body)
        if len(rows) > len(shown):
            rest = sum(row["bytes"] for row in rows[_MOST:])
            lines.append(f"... and {len(rows) - len(shown)} more, {size(rest)} (--json lists all)")
    names = ("runs", "trash", "exports", "other")
    parts = [f"{name} {size(data[name])}" for name in names if data[name]]
    how = "" if data["exact"] else " (from the records: hard links, records and the trash are not looked at)"
    gap = [""] if lines else []
    return [*lines, *gap, f"all of it {size(data['total'])}: {', '.join(parts) or 'nothing'}{how}"]


def _victims(data: Mapping[str, Any]) -> list[str]:
    shown = sorted(data["runs"], key=lambda row: -row["bytes"])[:_MOST]
    rows = [
        [
            row["run"],
            row["step"],
            {"class": "intermediate"}.get(row["what"], row["what"]),
            row["files"],
            size(row["bytes"]),
            duration(row["wall_s"]) if row["what"] != "attempts" else "-",
            duration(row["wall_with_inputs_s"]) if row["what"] != "attempts" else "-",
        ]
        for row in sorted(shown, key=lambda row: int(row["run"][1:]))
    ]
    lines = table(["run", "step", "what", "files", "frees", "to make again", "with its inputs"], rows)
    more = len(data["runs"]) - len(shown)
    return [*lines, f"... and {more} more runs (--json lists all)"] if more else lines


def _software_note(data: Mapping[str, Any]) -> list[str]:
    runs = data["other_software"]
    if not runs:
        return []
    return [f"{len(runs)} of these runs were made with other software; --prove tells if it gives the same"]


def _reasons(data: Mapping[str, Any]) -> list[str]:
    lines = []
    for title, entries in (("cannot go", data["blocked"]), ("kept", data["kept"])):
        groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for entry in entries:
            groups.setdefault((entry["run"], entry["reason"]), []).append(entry)
        if groups:
            lines += ["", f"{title}:"]
        for (run, reason), members in list(groups.items())[:_MOST]:
            items = _few([str(entry["item"]) for entry in members if entry.get("item")])
            name = f"{run} ({items})" if items else run
            lines.append(f"  {name}, {size(sum(entry['bytes'] for entry in members))}: {reason}")
        if len(groups) > _MOST:
            lines.append(f"  ... and {len(groups) - _MOST} more")
    return lines


def _result(unit: Mapping[str, Any]) -> str:
    if unit["error"]:
        return str(unit["error"])
    if unit["equal"]:
        return "bit for bit" if unit["asked"] else "bit for bit (on the way)"
    differing = unit["differing"]
    told = f"{len(differing)} differ, first {differing[0]['path']}"
    return told + (" (same content, other bytes)" if all(d["same_content"] for d in differing) else "")


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown
