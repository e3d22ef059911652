"""Lists and summaries behind :class:`~staproj.api.Project`: plain values, ready for text or JSON."""

from __future__ import annotations

import difflib
from typing import Any

from staproj.engine import lineage, why
from staproj.engine.view import View
from staproj.errors import StaprojError, UsageError
from staproj.project import annotations as said
from staproj.project import atomic, runs, versions
from staproj.project.cleared import cleared_paths
from staproj.project.layout import RUN_ID, RUN_NAME, Layout
from staproj.project.manifest import suggestion


def is_run(text: str) -> bool:
    """Tell whether text names a run (``r0042`` or ``r0042-ctf``)."""
    return bool(RUN_ID.match(text) or RUN_NAME.match(text))


def head_or_run(view: View, text: str) -> str:
    """Return the run that text names: itself, or the head of a step.

    Raises
    ------
    UsageError
        If there is no such run, or the step was never run.
    """
    if text in view.heads:
        return view.heads[text]
    if is_run(text):
        return view.run(text).id
    if text in view.graph.nodes:
        raise UsageError(f"step {text!r} has no complete run", hint=f"`staproj run {text}` makes one")
    raise UsageError(f"there is no step or run {text!r}", hint=suggestion(text, view.graph.nodes, "steps"))


def newest_run(view: View, text: str) -> str:
    """Return the run that text names: itself, or the newest run of a step, complete or not."""
    newest = runs.latest_by_step(view.layout)
    return newest[text].id if text in newest else head_or_run(view, text)


def notes(view: View) -> list[str]:
    """Return remarks on all steps, and on files that people edit, that make nothing stale."""
    told = [note for name in view.graph.nodes for note in why.notes_on(view, view.expected(name))]
    return [*told, *view.remarks()]


def why_of(view: View, text: str) -> dict[str, Any]:
    """Return the verdict on a step with its reasons; for a run, on its step, seen from that run."""
    name = view.run(text).name.step if is_run(text) and text not in view.graph.nodes else text
    if name not in view.graph.nodes:
        head_or_run(view, name)
        view.graph.node(name)
    verdict = why.assess_all(view)[name]
    run = view.run(text).id if is_run(text) and text != name else verdict.run
    found = verdict.as_dict()
    found["latest"] = verdict.latest
    found["notes"] = verdict.notes
    found["previous"], found["changes"] = None, []
    if run is not None:
        found["previous"], found["changes"] = _changes_from_previous(view, run)
    if run is not None and run != verdict.run:
        found |= _seen_from_head(view, run, verdict.run)
    return found


def _seen_from_head(view: View, run: str, head: str | None) -> dict[str, Any]:
    """Return what is to be said of a run that does not stand for its step: its state, and how it differs."""
    found: dict[str, Any] = {"asked": run, "asked_state": runs.state_of(view.run(run)).state, "from_head": []}
    if head is not None:
        old, new = view.spec(run), view.spec(head)
        reasons = why.explain(
            view, new["step"], old["preimage"], new["preimage"], old["inputs"], new["inputs"]
        )
        found["from_head"] = [reason.as_dict() for reason in reasons]
    return found


def show(view: View, run: str) -> dict[str, Any]:
    """Return everything known about a run but its arrays."""
    directory = view.run(run)
    found = runs.state_of(directory)
    told = lineage.describe(view, directory.id)
    told.pop("data_files")
    told |= {"state": found.state, "directory": view.layout.relative(directory.path)}
    told |= {key: found.event.get(key) for key in ("wall_s", "cpu_s", "peak_rss_bytes")}
    told["said"] = said.read_or_problem(view.layout, directory.id).as_dict()
    if found.state == "failed":
        told["error"] = {"message": found.event.get("message"), "items": found.event.get("items", {})}
    told["environment"] = atomic.read_json(directory.env) if directory.env.is_file() else {}
    told["results"] = _item_results(view, directory)
    if directory.is_sealed():
        from staproj.project.record import read_run

        outputs = view.outputs(directory.id)
        told["outputs"] = outputs["artifacts"]
        gone = {path for path in cleared_paths(directory) if not (directory.out / path).is_file()}
        told["files"] = [{**entry, "cleared": entry["path"] in gone} for entry in outputs["files"]]
        record = read_run(directory.record)
        for item, part in record.items.items():
            result = told["results"].setdefault(item or "", {})
            result["metrics"] = part.metrics
            result["units"] = part.units
            result["tables"] = {name: list(columns) for name, columns in part.tables.items()}
            result["curves"], result["previews"] = sorted(part.curves), sorted(part.previews)
    return told


def versions_list(layout: Layout) -> list[dict[str, Any]]:
    """Return all versions, newest first."""
    return [versions.read(layout, number).summary() for number in reversed(versions.numbers(layout))]


def version_diff(view: View, old: int, new: int | None) -> dict[str, Any]:
    """Return changed manifest lines (unified) and heads of two versions."""
    first = versions.read(view.layout, old)
    if new is None:
        text, heads, label = view.manifest.text, dict(versions.current_heads(view.layout)), "now"
    else:
        second = versions.read(view.layout, new)
        text, heads, label = second.manifest, dict(second.heads), f"version {new}"
    lines = difflib.unified_diff(
        first.manifest.splitlines(), text.splitlines(), f"version {old}", label, lineterm="", n=1
    )
    steps = [*dict.fromkeys([*first.heads, *heads])]
    return {
        "versions": [old, new],
        "manifest": list(lines),
        "heads": [
            {"step": step, "old": first.heads.get(step), "new": heads.get(step)}
            for step in steps
            if first.heads.get(step) != heads.get(step)
        ],
    }


def stages(name: str | None) -> list[dict[str, Any]]:
    """Describe stages with parameters (unit, default, bounds, help) and ports."""
    from staproj.stages import registry

    specs = [registry.get(name)] if name else registry.all_stages()
    described = []
    for spec in specs:
        schema = spec.params.model_json_schema()
        described.append(
            {
                "stage": spec.name,
                "summary": spec.summary,
                "group": spec.group,
                "scope": spec.scope,
                "cache_version": spec.cache_version,
                "doc": spec.doc,
                "citations": list(spec.citations),
                "inputs": {port: _port(value) for port, value in spec.inputs.items()},
                "outputs": {port: _port(value) for port, value in spec.outputs.items()},
                "params": schema.get("properties", {}),
                "required": schema.get("required", []),
            }
        )
    return described


def _port(port: Any) -> dict[str, Any]:
    return {"kind": port.kind.value, "doc": port.doc, "optional": port.optional, "per_item": port.per_item}


def _changes_from_previous(view: View, run: str) -> tuple[str | None, list[dict[str, Any]]]:
    """Return the run that was head before and what differs from it, by the same function as reasons."""
    spec = view.spec(run)
    previous = spec.get("previous")
    if previous is None:
        return None, []
    try:
        before = view.spec(previous)
    except StaprojError:
        return previous, []
    reasons = why.explain(
        view, spec["step"], before["preimage"], spec["preimage"], before["inputs"], spec["inputs"]
    )
    return previous, [reason.as_dict() for reason in reasons]


def _item_results(view: View, directory: Any) -> dict[str, dict[str, Any]]:
    results: dict[str, dict[str, Any]] = {}
    keys = ("verdict", "warning", "fallbacks", "wall_s", "cpu_s", "peak_rss_bytes", "reused_from")
    for item in view.spec(directory.id)["items"] or [None]:
        try:
            entry = atomic.read_json(directory.item_done(item))
        except StaprojError:
            continue
        results[item or ""] = {key: entry.get(key) for key in keys}
    return results
