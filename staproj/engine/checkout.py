"""Versions as places to go back to: what stood then, and making it stand again. No run is ever touched."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from typing import Any

from staproj.engine.view import View
from staproj.engine.why import QUEUED, RUNNING, absent, assess_all
from staproj.errors import StaprojError, UsageError
from staproj.project import atomic, manifest, runs, schema, version_tags, versions
from staproj.project.layout import Layout
from staproj.project.lock import project_lock
from staproj.project.manifest import suggestion
from staproj.project.versions import Version


def find(layout: Layout, text: str) -> int:
    """Return the number of the version called ``3``, ``v3`` or by a name.

    Raises
    ------
    UsageError
        If there is no such version.
    """
    digits = text.removeprefix("v")
    known = versions.numbers(layout)
    if digits.isdigit():
        number = int(digits)
    else:
        tags = version_tags.read(layout)
        if text not in tags:
            raise UsageError(
                f"{text!r} is not a version",
                hint=suggestion(text, tags, "names") + "; `staproj version list` shows all",
            )
        number = tags[text]
    if number not in known:
        raise UsageError(f"there is no version {number}", hint="`staproj version list` shows them")
    return number


def describe(view: View, number: int) -> dict[str, Any]:
    """Return a version with its names, manifest, and what became of the runs that stood then."""
    version = versions.read(view.layout, number)
    tags = [name for name, n in version_tags.read(view.layout).items() if n == number]
    heads = [
        {"step": step, "run": run, "state": state_of_head(view, run)} for step, run in version.heads.items()
    ]
    return {**version.summary(), "tags": tags, "heads": heads, "manifest": version.manifest}


def state_of_head(view: View, run: str) -> str:
    """Return what became of a run that stood once: "there", "cleared", "files missing", "gone"."""
    try:
        missing = absent(view, run) if view.run(run).is_sealed() else None
    except StaprojError:
        missing = None
    if missing is None:
        return "gone"
    return "files missing" if missing.gone else "cleared" if missing.n_cleared else "there"


def checkout(root: Path, number: int, *, note: str = "") -> dict[str, Any]:
    """Make manifest and heads as in a version, as a new version.

    Returns ``{"version", "from", "kept", "heads", "going", "changed"}``. What stood until now is kept:
    ``kept`` is the version that holds it. Runs that are gone are left out. ``going`` are runs that are going
    on: each will stand for its step when it ends.

    Raises
    ------
    ManifestError, ProjectError
        If this staproj cannot read the manifest of that version.
    """
    layout = Layout(root)
    schema.require_writable(layout)
    wanted = _in_todays_schema(layout, number)
    view = View.open(root)
    heads, there = _heads_of(view, wanted)
    going = _going_on(view)
    with project_lock(layout.lock, purpose="going back to a version"):
        text = layout.manifest.read_text(encoding="utf-8")
        now = versions.current_heads(layout)
        kept = _kept(layout, text, now, number)
        if text == wanted.manifest and now == there:
            return {
                "version": kept,
                "from": number,
                "kept": kept,
                "heads": heads,
                "going": going,
                "changed": False,
            }
        atomic.write_text(layout.manifest, wanted.manifest)
        made = versions.write(
            layout, manifest=wanted.manifest, heads=there, why=note or f"as in version {number} again"
        )
    return {
        "version": made.number,
        "from": number,
        "kept": kept,
        "heads": heads,
        "going": going,
        "changed": True,
    }


def preview(root: Path, number: int) -> dict[str, Any]:
    """Say what :func:`checkout` would do; nothing is written.

    Returns ``{"version", "changed", "manifest", "heads", "to_run", "to_run_now", "going"}``: changed lines of
    the manifest (unified, from now to then), heads that would change (``{"step", "old", "new", "state"}``,
    ``new`` is ``None`` where none stood or its run is gone), the steps that `run` would make then, and those
    that it would make now.
    """
    layout = Layout(root)
    wanted = _in_todays_schema(layout, number)
    view = View.open(root)
    heads, there = _heads_of(view, wanted)
    states = {head["step"]: head["state"] for head in heads}
    now = view.heads
    then = View.open(root)
    then.__dict__["manifest"] = manifest.parse(wanted.manifest, f"version {number}")
    then.__dict__["heads"] = there
    lines = difflib.unified_diff(
        view.manifest.text.splitlines(),
        wanted.manifest.splitlines(),
        "now",
        f"version {number}",
        lineterm="",
        n=1,
    )
    return {
        "version": number,
        "changed": view.manifest.text != wanted.manifest or dict(now) != there,
        "manifest": list(lines),
        "heads": [
            {"step": step, "old": now.get(step), "new": there.get(step), "state": states.get(step)}
            for step in dict.fromkeys([*now, *wanted.heads])
            if now.get(step) != there.get(step) or states.get(step) == "gone"
        ],
        "to_run": [step for step, verdict in assess_all(then).items() if verdict.to_do],
        "to_run_now": [step for step, verdict in assess_all(view).items() if verdict.to_do],
        "going": _going_on(view),
    }


def _in_todays_schema(layout: Layout, number: int) -> Version:
    """Return a version; one from before a migration with the same steps in today's schema."""
    wanted = versions.read(layout, number)
    then = manifest.parse(wanted.manifest, f"version {number}").schema
    if then > manifest.SCHEMA:
        raise UsageError(
            f"version {number} has a manifest of a newer schema",
            where=str(layout.version(number)),
            hint="`staproj version show` prints it; copy what you need by hand",
        )
    if then < manifest.SCHEMA:
        uuid = manifest.load(layout.manifest).uuid
        wanted = replace(wanted, manifest=schema.brought_up(wanted.manifest, uuid))
    return wanted


def _heads_of(view: View, wanted: Version) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Return what became of the runs that stood in a version, and those that are still there."""
    heads = [{"step": s, "run": r, "state": state_of_head(view, r)} for s, r in wanted.heads.items()]
    return heads, {head["step"]: head["run"] for head in heads if head["state"] != "gone"}


def _going_on(view: View) -> list[str]:
    """Return the newest runs of their steps that are going on."""
    newest = [run for run in map(view.layout.run, view.newest.values()) if not run.is_sealed()]
    return [run.id for run in newest if runs.state_of(run).state in (RUNNING, QUEUED)]


def keep_now(layout: Layout, why: str) -> int:
    """Return the version that holds what stands now, writing one if none does."""
    with project_lock(layout.lock, purpose="writing a version"):
        text = layout.manifest.read_text(encoding="utf-8")
        return _keep(layout, text, versions.current_heads(layout), why)


def _kept(layout: Layout, text: str, heads: dict[str, str], number: int) -> int:
    return _keep(layout, text, heads, f"what stood before going back to version {number}")


def _keep(layout: Layout, text: str, heads: dict[str, str], why: str) -> int:
    last: Version | None = versions.latest(layout)
    if last is not None and last.manifest == text and dict(last.heads) == heads:
        return last.number
    return versions.write(layout, manifest=text, heads=heads, why=why).number
