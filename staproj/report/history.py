"""Versions, heads and accepted runs as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.runs import when
from staproj.report.tables import number, table


def version_rows(versions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the list of versions."""
    rows = [
        [f"v{v['version']}", when(v["created"]), v["who"], str(len(v["heads"])), _named(v) + v["why"]]
        for v in versions
    ]
    return table(["version", "made", "by", "heads", "why"], rows)


def _named(version: Mapping[str, Any]) -> str:
    return "".join(f"[{tag}] " for tag in version.get("tags", ()))


def version_lines(version: Mapping[str, Any], *, manifest: bool = False) -> list[str]:
    """Return one version: who, when, why, which run stood for each step and what became of it."""
    lines = [
        f"version {version['version']}  {_named(version)}made {when(version['created'])} by {version['who']}",
        f"  {version['why']}",
    ]
    rows = [[head["step"], head["run"], head["state"]] for head in version["heads"]]
    lines += (
        ["", *table(["step", "run", "its files"], rows, indent=2)] if rows else ["", "  no run stood then"]
    )
    if manifest:
        lines += ["", "manifest", *("  " + line for line in version["manifest"].splitlines())]
    return lines


def version_diff_lines(diff: Mapping[str, Any]) -> list[str]:
    """Return changed lines of the manifest and changed heads."""
    rows = [[entry["step"], entry["old"] or "-", entry["new"] or "-"] for entry in diff["heads"]]
    lines = [*diff["manifest"], *table(["step", "was", "is"], rows)]
    return lines or ["no difference"]


def preview_lines(told: Mapping[str, Any], *, most: int | None = None) -> list[str]:
    """Return what going back to a version would change, and that nothing is lost by it.

    Of more than ``most`` heads the rest is counted.
    """
    number = told["version"]
    if not told["changed"]:
        return [f"nothing would change: everything is as in version {number} already"]
    lines = ["What stands now is kept as a version. No run is changed or deleted."]
    lines.append(f"staproj.toml: {_line_count(told['manifest'])}")
    words = {"gone": "gone, so none stands", "cleared": "its files were cleared, made again when needed",
             "files missing": "files of it are missing, made again"}  # fmt: skip
    rows = [
        [head["step"], head["old"] or "-", head["new"] or "-", words.get(head["state"] or "", "")]
        for head in told["heads"]
    ]
    shown = rows if most is None else rows[:most]
    lines += table(["step", "now", "then", ""], shown) if rows else ["the same run stands for each step"]
    lines += [f"and {len(rows) - len(shown)} steps more"] if len(rows) > len(shown) else []
    fresh = [step for step in told["to_run_now"] if step not in told["to_run"]]
    stale = [step for step in told["to_run"] if step not in told["to_run_now"]]
    lines += [f"to run then, not now: {', '.join(stale)}"] if stale else []
    lines += [f"fresh then, not now: {', '.join(fresh)}"] if fresh else []
    lines += [] if told["to_run"] else ["nothing would be to run then"]
    return lines + [f"{run} is going on and would stand for its step when it ends" for run in told["going"]]


def _line_count(diff: Sequence[str]) -> str:
    """Return how many lines a unified difference adds and takes away."""
    more = sum(line.startswith("+") for line in diff[2:])
    less = sum(line.startswith("-") for line in diff[2:])
    return f"{more} lines come, {less} go" if more or less else "the same"


def checkout_lines(done: Mapping[str, Any]) -> list[str]:
    """Return what going back to a version did."""
    if not done["changed"]:
        return [f"everything is as in version {done['from']} already"]
    lines = [f"as in version {done['from']} again (this is version {done['version']})"]
    lines.append(f"what stood before is version {done['kept']}: `staproj version checkout {done['kept']}`")
    lines += [f"  {run} is going on and will stand for its step when it ends" for run in done["going"]]
    for head in done["heads"]:
        if head["state"] != "there":
            words = {
                "cleared": "its files were cleared; they are made again when needed",
                "gone": "the run is gone; `staproj run` makes a new one",
                "files missing": "files of it are missing; `staproj run` makes them again",
            }
            lines.append(f"  {head['step']}: {head['run']}: {words[head['state']]}")
    return lines


def head_lines(done: Mapping[str, Any]) -> list[str]:
    """Return what setting a head did."""
    before = f", {done['before']} stood before" if done["before"] not in (None, done["run"]) else ""
    lines = [f"{done['run']} stands for {done['step']} now{before}; the manifest has its parameters"]
    if done["stale"]:
        lines.append(f"stale now: {', '.join(done['stale'])}; `staproj run` brings them up to date")
    return lines


def accepted_rows(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return everything that was accepted."""
    rows = [
        [e["new"], e["old"], when(e["when"]), e["who"], ", ".join(e["outputs"][:3]) + _more(e), e["why"]]
        for e in entries
    ]
    return table(["run", "stands for", "since", "by", "outputs", "why"], rows) or ["nothing was accepted"]


def _more(entry: Mapping[str, Any]) -> str:
    return f" (+{len(entry['outputs']) - 3})" if len(entry["outputs"]) > 3 else ""


def accept_lines(done: Mapping[str, Any]) -> list[str]:
    """Return what was accepted, with the numbers and curves of both runs to judge by."""
    lines = [f"{done['new']} may stand for {done['old']}: {', '.join(done['outputs'][:8])}" + _more_of(done)]
    lines += agreement_lines(done)
    undo = f"staproj accept --undo {done['new']} --for {done['old']}"
    return [*lines, "", f"what was made from {done['old']} stays fresh; `{undo}` takes it back"]


def agreement_lines(told: Mapping[str, Any]) -> list[str]:
    """Return how well two runs agree: numbers side by side, and how alike their curves are."""
    rows = [[m["field"], m["old"], m["new"]] for m in told["metrics"]]
    lines = ["", *table(["", told["old"], told["new"]], rows, indent=2)] if rows else []
    rows = []
    for curve in told["curves"]:
        name = f"{curve['item']}.{curve['curve']}" if curve["item"] else curve["curve"]
        found = [number(curve["correlation"]), number(curve["largest_difference"])]
        rows.append([name, *found, *(f"{number(r)} Å" for r in curve["resolution_angstrom"])])
    if rows:
        header = ["curve", "correlation", "largest difference", told["old"], told["new"]]
        lines += ["", *table(header, rows, indent=2)]
    return lines


def _more_of(done: Mapping[str, Any]) -> str:
    return f" and {len(done['outputs']) - 8} more" if len(done["outputs"]) > 8 else ""
