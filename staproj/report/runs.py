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
    "soft": "✓",
    "stale": "~",
    "never-run": "·",
    "unknown": "?",
    "missing-recreatable": "!",
    "missing-lost": "‼",
    "failed": "✗",
    "interrupted": "‖",
    "running": "▶",
    "queued": "»",
    "unreachable": "?",
    "sealed": "✓",
}
SHORT_STATE = {"missing-recreatable": "recreatable", "missing-lost": "lost"}
SHORT = 12
MAX_NAMES = 8


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """Return one line a step; what is to do says why, what is not says how it went."""
    rows = []
    for step in status["steps"]:
        good = step["state"] in {"fresh", "soft"}
        words = step["verdict"] if good else step["going_on"] or reasons_in_short(step["reasons"])
        if step["state"] == "soft":
            words = f"{words} ({reasons_in_short(step['reasons'])})".strip()
        mark, state = MARK.get(step["state"], " "), SHORT_STATE.get(step["state"], step["state"])
        rows.append([mark, step["step"], state, step["run"] or "-", clip(words, 90)])
    lines = [f"project {status['project']}", *table(["", "step", "state", "run", ""], rows)]
    return [*lines, _count(status["steps"])]


def _count(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return how much is to do, in one line."""
    left = sum(step["to_do"] and step["state"] != "running" for step in steps)
    unknown = sum(step["state"] == "unknown" for step in steps)
    cleared = sum(step["state"] == "missing-recreatable" and not step["to_do"] for step in steps)
    told = f"{left} of {len(steps)} steps to run; `staproj why STEP`" if left else "nothing is to run"
    states = {step["state"] for step in steps}
    if not left and states <= {"fresh", "soft"}:
        told = "everything is fresh" + (" (soft: made with other software)" if "soft" in states else "")
    if unknown:
        told += f"; {unknown} cannot be compared, `staproj rerun STEP` if in doubt"
    if cleared:
        told += f"; {cleared} cleared, made again when needed"
    return told


def reasons_in_short(reasons: Sequence[Mapping[str, Any]]) -> str:
    """Return the first cause of a state in a few words."""
    if not reasons:
        return ""
    order = [
        "running",
        "queued",
        "failed",
        "interrupted",
        "unreachable",
        "lost",
        "unknown",
        "param",
        "item",
        "data",
        "cache_version",
        "stage",
    ]
    order += ["output", "input", "upstream", "cleared", "software", "never-run"]
    first = min(reasons, key=lambda r: order.index(r["kind"]) if r["kind"] in order else len(order))
    more = f" (+{len(reasons) - 1})" if len(reasons) > 1 else ""
    return reason_line(first) + more


def reason_line(reason: Mapping[str, Any]) -> str:
    """Return one reason as a sentence with the old and the new value."""
    kind, field, old, new = (
        reason["kind"],
        reason["field"],
        value_text(reason["old"]),
        value_text(reason["new"]),
    )
    words = {
        "input": f"input {field} has other content",
        "upstream": f"{field} upstream is out of date",
        "never-run": f"{field} was never run",
        "running": f"{new} is going on",
        "queued": f"{new} waits for its turn",
        "unreachable": f"{new} was begun on another machine that does not answer",
        "data": f"raw data of {field} changed",
        "cache_version": f"numbers of {field} changed with the software: version {old} -> {new}",
        "output": f"{field} is gone or has another size",
        "failed": f"{field} failed: {new}",
        "interrupted": f"{field} was interrupted; `staproj resume` goes on with it",
        "software": f"made with {field} {old}, now {new}",
        "unknown": f"its record has {field} {old}, this version compares {new}: nobody can tell",
        "lost": f"cannot be made again: {new}",
    }
    if kind == "output" and isinstance(reason["new"], str):
        return f"{field}: {new}"
    if kind == "cleared":
        return (
            f"{reason['old']} files of {field} ({size(reason['new'])}) were cleared; made again when needed"
        )
    return words.get(kind, f"{field}: {old} -> {new}")


def why_lines(why: Mapping[str, Any]) -> list[str]:
    """Return state and reasons of a step, and what set its head apart from the run before."""
    lines = _why_older(why) if why.get("asked") else []
    lines += [
        f"{why['step']} ({why['stage']}) is {why['state']}" + (f", head {why['run']}" if why["run"] else "")
    ]
    lines += ["  " + why["going_on"]] if why.get("going_on") else []
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
    """Return the list of runs, one line each; rating and tags where people gave some."""
    rated = any(run.get("rating") is not None or run.get("tags") for run in runs)
    header = ["", "run", "step", "state", "made", "took", *(["rated"] if rated else []), ""]
    rows = []
    for run in runs:
        own = [_stars(run.get("rating"))] if rated else []
        tags = "".join(f"[{tag}] " for tag in run.get("tags") or ())
        words = tags + (run.get("title") or run["verdict"] or run["note"] or "")
        first = ["*" if run["head"] else "", run["run"], run["step"], run["state"]]
        rows.append([*first, when(run["created"]), duration(run["wall_s"]), *own, clip(words, 80)])
    return [*table(header, rows), "* stands for its step now"] if rows else ["no run"]


def _stars(rating: int | None) -> str:
    return "" if rating is None else f"{rating}/5"


def result_rows(results: Sequence[Mapping[str, Any]], *, dry: bool = False) -> list[str]:
    """Return what `run` did (or would do), one line a step, and a count."""
    rows = []
    for result in results:
        words = reasons_in_short(result["reasons"]) if dry else result["verdict"]
        if result["action"] == "kept":
            words = reasons_in_short(result["reasons"]) + f"; `staproj rerun {result['step']}` makes it anew"
        took = "" if dry or result["action"] != "run" else duration(result["wall_s"])
        rows.append([result["step"], result["action"], result["run"] or "-", took, clip(words, 90)])
    made = sum(result["action"] in {"run", "adopt"} for result in results)
    verb = "would run" if dry else "ran"
    kept = sum(result["action"] == "kept" for result in results)
    end = f"{verb} {made} of {len(results)} steps" if made else "everything is fresh: nothing to do"
    if kept and not made:
        end = f"nothing was run; {kept} of {len(results)} steps cannot be compared"
    return [*table(["step", "", "run", "took", ""], rows), end]


def show_lines(run: Mapping[str, Any], *, params: bool = True, metrics: bool = True) -> list[str]:
    """Return everything a person asks about one run."""
    lines = [
        f"{run['run']}  step {run['step']} (stage {run['stage']})  {run['state']}",
        f"  made {when(run['created'])} by {run['who']} in {duration(run['wall_s'])}",
        f"  command: {shlex.join(run['command'])}",
    ]
    if run["note"]:
        lines.append(f"  note: {run['note']}")
    lines += said_lines(run.get("said") or {})
    if run.get("error"):
        lines.append(f"  failed: {run['error']['message']}")
    if metrics:
        lines += _result_lines(run["results"])
    if params:
        rows = [[name, value_text(entry["value"]), entry["layer"]] for name, entry in run["params"].items()]
        for item, entries in run.get("item_params", {}).items():
            rows += [[f"{item}.{name}", value_text(e["value"]), e["layer"]] for name, e in entries.items()]
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
            [
                entry["path"],
                size(entry["size"]),
                entry["sha256"].rpartition(":")[2][:SHORT],
                "deleted in a clean-up" if entry.get("cleared") else "",
            ]
            for entry in run["files"]
        ]
        head = ["file", "size", "sha256", ""]
        lines += ["", f"files in {run['directory']}/out", *table(head, rows, indent=2)]
    return lines


def said_lines(said: Mapping[str, Any]) -> list[str]:
    """Return what people said about a run."""
    lines = [f"  title: {said['title']}"] if said.get("title") else []
    if said.get("rating") is not None or said.get("tags"):
        tags = f"  tags: {', '.join(said['tags'])}" if said.get("tags") else ""
        lines.append(f"  rated: {_stars(said['rating']) or '-'}{tags}")
    for note in said.get("notes", []):
        by = f"{note['who']}, {when(note['when'])}".strip(", ")
        lines.append(f"  said ({by}): {note['text']}")
    return lines + ([f"  its notes cannot be read: {said['problem']}"] if said.get("problem") else [])


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
            f"  {node['run']}  {node['step']} ({node['stage']}) from {sources}, {when(node['created'])}"
        )
        own = {name: e for name, e in node["params"].items() if e["layer"] != "default"}
        lines += [f"        {n} = {clip(value_text(e['value']), 80)}  ({e['layer']})" for n, e in own.items()]
    raw = [entry["path"] for entry in lineage["raw"]]
    shown = raw if len(raw) <= 6 else [*raw[:3], f"... {len(raw) - 6} more ...", *raw[-3:]]
    return [*lines, f"  raw data: {len(raw)} files", *("        " + path for path in shown)]


def value_text(value: Any) -> str:
    """Return a value as it is shown: digests and commits shortened."""
    if isinstance(value, str):
        digest, _, dirty = value.rpartition(":")[2].partition("+")
        if len(digest) in (40, 64) and set(digest) <= set("0123456789abcdef"):
            return digest[:SHORT] + (f"+{dirty}" if dirty else "")
        return value
    if isinstance(value, Mapping) and len(json.dumps(value, default=str)) > 200:
        return "{...}"
    return number(value)


def when(text: str | None) -> str:
    """Return a time as it is shown."""
    return (text or "-").replace("T", " ").replace("Z", "")


def clip(text: str, width: int) -> str:
    """Return text on one line, cut at a width."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"
