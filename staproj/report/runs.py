"""Runs, states and reasons as lines of text, from the plain values that ``staproj.api`` gives."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from staproj.report.tables import duration, number, pairs, size, table

MARK = {
    "fresh": "✓",
    "stale": "~",
    "never-run": "·",
    "missing": "!",
    "failed": "✗",
    "interrupted": "‖",
    "running": "▶",
    "unreachable": "?",
    "sealed": "✓",
}
SHORT = 12
MAX_NAMES = 8


def status_lines(status: Mapping[str, Any], verdicts: Mapping[str, str]) -> list[str]:
    """Return one line a step; what is not fresh says why, what is fresh says how it went."""
    rows = []
    for step in status["steps"]:
        fresh = step["state"] == "fresh"
        words = verdicts.get(step["run"] or "", "") if fresh else reasons_in_short(step["reasons"])
        rows.append(
            [MARK.get(step["state"], " "), step["step"], step["state"], step["run"] or "-", _clip(words, 90)]
        )
    lines = [f"project {status['project']}", *table(["", "step", "state", "run", ""], rows)]
    states = [step["state"] for step in status["steps"]]
    left = sum(state not in {"fresh", "running"} for state in states)
    lines.append(
        "everything is fresh" if not left else f"{left} of {len(states)} steps to run; `staproj why STEP`"
    )
    return lines


def reasons_in_short(reasons: Sequence[Mapping[str, Any]]) -> str:
    """Return the first cause of a state in a few words."""
    if not reasons:
        return ""
    order = ["failed", "interrupted", "param", "item", "data", "cache_version", "stage", "output", "input"]
    first = min(reasons, key=lambda r: order.index(r["kind"]) if r["kind"] in order else len(order))
    more = f" (+{len(reasons) - 1})" if len(reasons) > 1 else ""
    return reason_line(first) + more


def reason_line(reason: Mapping[str, Any]) -> str:
    """Return one reason as a sentence with the old and the new value."""
    kind, field, old, new = reason["kind"], reason["field"], _value(reason["old"]), _value(reason["new"])
    words = {
        "input": f"input {field} has other content",
        "upstream": f"{field} upstream is not fresh",
        "data": f"raw data of {field} changed",
        "cache_version": f"numbers of {field} changed with the software: version {old} -> {new}",
        "output": f"{field} is gone or has another size",
        "failed": f"{field} failed: {new}",
        "interrupted": f"{field} was interrupted",
    }
    return words.get(kind, f"{field}: {old} -> {new}")


def why_lines(why: Mapping[str, Any]) -> list[str]:
    """Return state and reasons of a step, and what set its head apart from the run before."""
    lines = _why_older(why) if why.get("asked") else []
    lines += [
        f"{why['step']} ({why['stage']}) is {why['state']}" + (f", head {why['run']}" if why["run"] else "")
    ]
    lines += ["  " + reason_line(reason) for reason in why["reasons"]]
    lines += ["  note: " + note for note in why.get("notes", [])]
    if why.get("previous"):
        lines.append(f"{why.get('asked') or why['run']} differs from {why['previous']} before it in")
        lines += ["  " + reason_line(reason) for reason in why["changes"]] or ["  nothing (made anew)"]
    return lines


def _why_older(why: Mapping[str, Any]) -> list[str]:
    """Say of a run that does not stand for its step which one does, and how the two differ."""
    asked, head = why["asked"], why["run"]
    if head is None:
        return [f"{asked} is a run of {why['step']} that is {why['asked_state']}; no run stands for the step"]
    order = "an older" if int(asked[1:]) < int(head[1:]) else "a newer"
    state = "" if why["asked_state"] == "sealed" else f" ({why['asked_state']})"
    lines = [f"{asked} is {order} run of {why['step']}{state}; {head} stands for the step now. It differs in"]
    return [*lines, *(["  " + reason_line(reason) for reason in why["from_head"]] or ["  nothing"])]


def families(names: Sequence[str], most: int = MAX_NAMES) -> list[str]:
    """Return names with those that differ by a number put together.

    >>> families(["drift", "fit_view_000", "fit_view_001", "fit_view_002", "psd"])
    ['drift', 'fit_view_000 … fit_view_002 (3)', 'psd']
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"\d+", "#", name), []).append(name)
    shown: list[str] = []
    for members in groups.values():
        shown += [f"{members[0]} … {members[-1]} ({len(members)})"] if len(members) > 2 else members
    return shown if len(shown) <= most else [*shown[:most], f"... ({len(names)} in all)"]


def run_rows(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the list of runs, one line each."""
    header = ["", "run", "step", "state", "made", "took", ""]
    rows = [
        [
            "*" if run["head"] else "",
            run["run"],
            run["step"],
            run["state"],
            _when(run["created"]),
            duration(run["wall_s"]),
            _clip(run["verdict"] or run["note"] or "", 80),
        ]
        for run in runs
    ]
    return [*table(header, rows), "* stands for its step now"] if rows else ["no run yet"]


def result_rows(results: Sequence[Mapping[str, Any]], *, dry: bool = False) -> list[str]:
    """Return what `run` did (or would do), one line a step, and a count."""
    rows = []
    for result in results:
        words = reasons_in_short(result["reasons"]) if dry else result["verdict"]
        took = "" if dry or result["action"] != "run" else duration(result["wall_s"])
        rows.append([result["step"], result["action"], result["run"] or "-", took, _clip(words, 90)])
    made = sum(result["action"] != "fresh" for result in results)
    verb = "would run" if dry else "ran"
    end = f"{verb} {made} of {len(results)} steps" if made else "everything is fresh: nothing to do"
    return [*table(["step", "", "run", "took", ""], rows), end]


def show_lines(run: Mapping[str, Any], *, params: bool = True, metrics: bool = True) -> list[str]:
    """Return everything a person asks about one run."""
    lines = [
        f"{run['run']}  step {run['step']} (stage {run['stage']})  {run['state']}",
        f"  made {_when(run['created'])} by {run['who']} in {duration(run['wall_s'])}",
        f"  command: {shlex.join(run['command'])}",
    ]
    if run["note"]:
        lines.append(f"  note: {run['note']}")
    if run.get("error"):
        lines.append(f"  failed: {run['error']['message']}")
    if metrics:
        lines += _result_lines(run["results"])
    if params:
        rows = [[name, _value(entry["value"]), entry["layer"]] for name, entry in run["params"].items()]
        for item, entries in run.get("item_params", {}).items():
            rows += [[f"{item}.{name}", _value(e["value"]), e["layer"]] for name, e in entries.items()]
        lines += ["", "parameters", *table(["name", "value", "from"], rows, indent=2)]
    rows = [
        [port, use["kind"], f"{use['run']} ({use['step']}.{use['port']})"]
        for port, use in run["inputs"].items()
    ]
    lines += ["", "inputs", *table(["port", "kind", "from"], rows, indent=2)] if rows else []
    if run["data"]:
        lines += ["", "raw data", *("  " + pattern for pattern in run["data"])]
    if run.get("files"):
        rows = [
            [entry["path"], size(entry["size"]), entry["sha256"].rpartition(":")[2][:SHORT]]
            for entry in run["files"]
        ]
        lines += ["", f"files in {run['directory']}/out", *table(["file", "size", "sha256"], rows, indent=2)]
    return lines


def _result_lines(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines: list[str] = []
    for item, result in results.items():
        head = f"{item}: " if item else ""
        lines += ["", head + (result.get("verdict") or "no verdict")]
        if result.get("warning"):
            lines[-1] += "  [warning]"
        lines += [f"  instead: {text}" for text in result.get("fallbacks") or []]
        units = result.get("units", {})
        metrics = {
            name: f"{number(value)} {units.get(name, '')}".rstrip()
            for name, value in result.get("metrics", {}).items()
        }
        lines += pairs(metrics)
        for kind in ("tables", "curves", "previews"):
            if result.get(kind):
                lines.append(f"  {kind}: {', '.join(families(result[kind]))}")
    return lines


def diff_lines(diff: Mapping[str, Any]) -> list[str]:
    """Return what differs between two runs, group by group."""
    old, new = diff["runs"]
    lines = [f"{old} ({diff['steps'][0]}) -> {new} ({diff['steps'][1]})"]
    for group in ("stage", "params", "inputs", "data", "items", "software", "metrics", "outputs"):
        entries = diff[group]
        if not entries:
            continue
        header, rows = ["", old, new], []
        for entry in entries:
            layer = f" ({entry['new_layer']})" if entry.get("new_layer") else ""
            rows.append([entry["field"], _value(entry["old"]), _value(entry["new"]) + layer])
        lines += ["", group, *table(header, rows, indent=2)]
    return lines if len(lines) > 1 else [*lines, "no difference"]


def lineage_lines(lineage: Mapping[str, Any]) -> list[str]:
    """Return the chain behind a file, newest first, with parameters that are not defaults, and raw data."""
    if lineage.get("raw_data"):
        readers = [
            f"  read by {use['run']} (step {use['step']}{', its head' if use['head'] else ''})"
            for use in lineage["read_by"]
        ]
        return [f"{lineage['file']} is raw data", *readers]
    lines = [lineage["file"] or lineage["run"]]
    for node in lineage["chain"]:
        sources = ", ".join(sorted({use["run"] for use in node["inputs"].values()})) or "raw data"
        lines.append(
            f"  {node['run']}  {node['step']} ({node['stage']}) from {sources}, {_when(node['created'])}"
        )
        own = {name: e["value"] for name, e in node["params"].items() if e["layer"] != "default"}
        lines += [f"        {name} = {_clip(_value(value), 90)}" for name, value in own.items()]
    raw = [entry["path"] for entry in lineage["raw"]]
    shown = raw if len(raw) <= 6 else [*raw[:3], f"... {len(raw) - 6} more ...", *raw[-3:]]
    return [*lines, f"  raw data: {len(raw)} files", *("        " + path for path in shown)]


def version_rows(versions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the list of versions."""
    rows = [
        [f"v{v['version']}", _when(v["created"]), v["who"], str(len(v["heads"])), v["why"]] for v in versions
    ]
    return table(["version", "made", "by", "heads", "why"], rows)


def version_diff_lines(diff: Mapping[str, Any]) -> list[str]:
    """Return changed lines of the manifest and changed heads."""
    rows = [[entry["step"], entry["old"] or "-", entry["new"] or "-"] for entry in diff["heads"]]
    lines = [*diff["manifest"], *table(["step", "was", "is"], rows)]
    return lines or ["no difference"]


def _value(value: Any) -> str:
    if isinstance(value, str):
        digest = value.rpartition(":")[2]
        return digest[:SHORT] if len(digest) == 64 and set(digest) <= set("0123456789abcdef") else value
    if isinstance(value, Mapping) and len(json.dumps(value, default=str)) > 200:
        return "{...}"
    return number(value)


def _when(text: str | None) -> str:
    return (text or "-").replace("T", " ").replace("Z", "")


def _clip(text: str, width: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"
