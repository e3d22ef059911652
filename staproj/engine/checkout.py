"""Versions as places to go back to: what stood then, and making it stand again. No run is ever touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from staproj.engine.view import View
from staproj.engine.why import QUEUED, RUNNING, absent
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
    wanted = versions.read(layout, number)
    then = manifest.parse(wanted.manifest, f"version {number}").schema
    if then > manifest.SCHEMA:
        raise UsageError(
            f"version {number} has a manifest of a newer schema",
            where=str(layout.version(number)),
            hint="`staproj version show` prints it; copy what you need by hand",
        )
    if then < manifest.SCHEMA:  # from before a migration: the same steps, in today's schema
        uuid = manifest.load(layout.manifest).uuid
        wanted = replace(wanted, manifest=schema.brought_up(wanted.manifest, uuid))
    view = View.open(root)
    heads = [{"step": s, "run": r, "state": state_of_head(view, r)} for s, r in wanted.heads.items()]
    there = {head["step"]: head["run"] for head in heads if head["state"] != "gone"}
    newest = [run for run in map(layout.run, view.newest.values()) if not run.is_sealed()]
    going = [run.id for run in newest if runs.state_of(run).state in (RUNNING, QUEUED)]
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
