"""Finding what is wrong with a project, saying what to do, and doing what is safe.

A finding is ``{"kind", "severity", "where", "message", "fix", "fixable"}``; severities are "damage"
(something is lost or cannot be read), "warning" (it will cause trouble) and "note" (nothing is wrong).
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.engine import doctor_runs
from staproj.engine.view import View
from staproj.errors import StaprojError, UsageError
from staproj.project import (
    accepted,
    atomic,
    index,
    journal,
    lock,
    manifest,
    probe,
    schema,
    version_tags,
    versions,
)
from staproj.project import annotations as said
from staproj.project.findings import Finding
from staproj.project.layout import RUN_NAME, Layout

_OLD_S = 3600.0


@dataclass
class Examined:
    """What ``doctor`` found; ``capabilities`` are of the file system (empty where it was not tried out)."""

    findings: list[Finding]
    capabilities: dict[str, Any]
    fixed: list[str]
    runs: int
    files: int
    read_bytes: int

    @property
    def sound(self) -> bool:
        """Tell whether nothing is wrong."""
        return all(finding.severity == "note" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``doctor --json`` shows."""
        return {
            "sound": self.sound,
            "findings": [finding.as_dict() for finding in self.findings],
            "fixed": self.fixed,
            "file_system": self.capabilities,
            "runs": self.runs,
            "files": self.files,
            "read_bytes": self.read_bytes,
        }


def examine(
    root: Path,
    *,
    deep: bool = False,
    full_probe: bool = False,
    fix: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Examined:
    """Look at everything; ``deep`` reads every byte of every output and compares digests.

    The file system is tried out quickly, with ``full_probe`` also how long it takes to make a file safe.
    ``fix`` first does what is safe: finishes what a crash left half done, sweeps temporaries, breaks locks of
    processes that are gone, makes caches again.

    Raises
    ------
    StaprojError
        If ``fix`` is asked for and the project cannot be written to.
    """
    layout = Layout(root)
    fixed = _fix(layout) if fix else []
    capabilities: dict[str, Any] = {}
    findings = [*_manifest(layout), *_state_of_writing(layout)]
    if schema.unwritable(layout) is None:
        with suppress(StaprojError, OSError):
            capabilities = probe.probe(layout, quick=not full_probe)
            if schema.may_write(layout):
                probe.remember(layout, capabilities)
        findings += _disk(layout, capabilities)
    looked = doctor_runs.Looked()
    findings += doctor_runs.examine_runs(layout, looked, deep=deep, progress=progress)
    findings += [*_names(layout), *_versions(layout), *_private(layout), *_words(layout)]
    return Examined(findings, capabilities, fixed, looked.runs, looked.files, looked.read_bytes)


def _manifest(layout: Layout) -> Iterator[Finding]:
    where = layout.manifest.name
    try:
        found = manifest.load(layout.manifest)
    except StaprojError as error:
        yield Finding("manifest", "damage", where, error.message, _manifest_remedy(layout))
        return
    if found.schema < manifest.SCHEMA:
        words = f"schema {found.schema}; this staproj writes schema {manifest.SCHEMA}"
        yield Finding("schema", "note", where, words, "`staproj migrate` before anything is changed")
    elif found.schema > manifest.SCHEMA:
        words = f"schema {found.schema} is newer than this staproj knows: open for reading only"
        yield Finding("schema", "note", where, words, "use a newer staproj to change it")
    elif not found.uuid:
        words = "the project has no identity (project.uuid)"
        yield Finding("uuid", "warning", where, words, "`staproj doctor --fix` gives it one", fixable=True)
    try:
        view = View.open(layout.root)
        view.check()
    except StaprojError as error:
        place = error.where or where
        yield Finding("manifest", "warning", place, error.message, error.hint or "edit staproj.toml")


def _manifest_remedy(layout: Layout) -> str:
    for number in reversed(versions.numbers(layout)):
        with suppress(StaprojError):
            versions.read(layout, number)
            return f"correct it, or go back: `staproj version show {number}` prints the last good one"
    return "correct it"


def _state_of_writing(layout: Layout) -> Iterator[Finding]:
    closed = schema.unwritable(layout)
    if closed is not None:
        words = "cannot be written to from here: the project is open for reading only"
        yield Finding(
            "read-only", "note", layout.relative(closed), words, "nothing, unless you want to write"
        )
    if not layout.lock.exists():
        return
    owner, dead = lock.owner_of(layout.lock), lock.is_proven_dead(layout.lock)
    who = f"{owner.get('user', 'somebody')} on {owner.get('host', 'an unknown host')}"
    where = layout.relative(layout.lock)
    age = lock.age_s(layout.lock) or 0.0
    if dead:
        words = f"left by a process that is gone ({who}, {age:.0f} s ago)"
        yield Finding("lock", "warning", where, words, "the next command that writes breaks it", fixable=True)
    elif dead is None and age > _OLD_S:
        words = f"held by {who} for {age / 3600:.1f} h; nobody can tell from here whether that process lives"
        yield Finding("lock", "warning", where, words, "look there, then `staproj unlock --i-checked`")
    else:
        yield Finding("lock", "note", where, f"held by {who} for {age:.0f} s", "wait a moment")


def _disk(layout: Layout, found: dict[str, Any]) -> Iterator[Finding]:
    for serious, name, words in probe.complaints(found):
        severity = "warning" if serious or name == "clock_skew_s" else "note"
        remedy = (
            "choose another disk for this project"
            if name in probe.ESSENTIAL
            else "nothing, or see docs/care.md"
        )
        yield Finding(f"disk:{name}", severity, layout.relative(layout.root), words, remedy)


def _names(layout: Layout) -> Iterator[Finding]:
    """Look at what lies in ``runs/``: numbers given out twice, links, things that are no runs."""
    try:
        entries = sorted(os.scandir(layout.runs), key=lambda entry: entry.name)
    except OSError:
        words = "the directory of runs is missing or cannot be listed"
        if layout.versions.is_dir() and versions.numbers(layout)[1:]:
            yield Finding("runs", "damage", layout.runs.name, words, "restore it from a copy or an archive")
        return
    numbers = Counter(name.number for name in layout.iter_runs())
    for number, count in numbers.items():
        if count > 1:
            words = f"{count} runs have the number {number}"
            remedy = "find out which is right; move the other out of runs/"
            yield Finding("number", "damage", f"{layout.runs.name}/r{number:04d}-*", words, remedy)
    for entry in entries:
        where = f"{layout.runs.name}/{entry.name}"
        if entry.is_symlink():
            words = "a link stands where a run should be; it is not followed"
            yield Finding("link", "damage", where, words, "put the directory itself there")
        elif not RUN_NAME.match(entry.name) and not entry.name.startswith("."):
            yield Finding("stranger", "note", where, "is no run", "move it if you miss it elsewhere")


def _versions(layout: Layout) -> Iterator[Finding]:
    numbers = versions.numbers(layout)
    for number in numbers:
        try:
            found = versions.read(layout, number)
        except (StaprojError, UsageError) as error:
            where = layout.relative(layout.version(number))
            remedy = "restore this file from a copy; later versions are not touched by it"
            yield Finding("version", "damage", where, error.message, remedy)
            continue
        if number == numbers[-1]:
            yield from _heads(layout, found.heads)
    if not numbers:
        words = "there is no version: heads are the newest complete runs"
        yield Finding("version", "note", layout.versions.name, words, "the next `staproj run` writes one")


def _heads(layout: Layout, recorded: Any) -> Iterator[Finding]:
    there = {name.id: name for name in layout.iter_runs()}
    now = versions.current_heads(layout)
    for step, run in sorted({**recorded, **now}.items()):
        name = there.get(run)
        if name is None:
            words = f"stands for step {step!r}, but is gone"
            remedy = f"restore it, or `staproj run {step}` makes it again"
            yield Finding("head", "damage", run, words, remedy)
        elif not layout.run(name).is_sealed():
            words = f"stands for step {step!r}, but is not complete (no SEALED)"
            yield Finding("head", "damage", run, words, f"`staproj run {step}`")


def _private(layout: Layout) -> Iterator[Finding]:
    for entry in journal.pending(layout):
        where = layout.relative(entry.path)
        if entry.left:
            words = f"{entry.op!r} was begun and not ended"
            yield Finding(
                "journal", "warning", where, words, "the next command that writes ends it", fixable=True
            )
        else:
            yield Finding("journal", "note", where, f"{entry.op!r} is going on", "wait for it")
    readable = {entry.path for entry in journal.pending(layout)}
    for path in sorted(layout.journal.glob("*.json")):
        if path not in readable:
            words = "an entry of the journal cannot be read"
            yield Finding("journal", "warning", layout.relative(path), words, "look at it, then delete it")
    for path in [*lock.leftovers(layout.private), *_temporaries(layout)]:
        words = "left behind by a process that is gone"
        yield Finding(
            "temporary", "note", layout.relative(path), words, "`staproj doctor --fix`", fixable=True
        )
    wrong = index.check(layout)
    if wrong["wrong"]:
        words = f"says something else than the files about {', '.join(wrong['wrong'][:5])}"
        where = layout.relative(layout.index)
        yield Finding("index", "warning", where, words, "`staproj doctor --fix` makes it again", fixable=True)
    yield from _counter(layout)


def _counter(layout: Layout) -> Iterator[Finding]:
    highest = max((name.number for name in layout.iter_runs()), default=0)
    try:
        counted = int(layout.counter.read_text().split()[0])
    except FileNotFoundError:
        return
    except (OSError, ValueError, IndexError):
        counted = -1
    if counted < highest:
        words = "the counter of runs is behind: it is worked out again from the runs"
        yield Finding("counter", "note", layout.relative(layout.counter), words, "nothing", fixable=True)


def _temporaries(layout: Layout) -> Iterator[Path]:
    for directory in (layout.root, layout.private, layout.versions, layout.annotations):
        for path in directory.glob(".*.part"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _OLD_S:
                    yield path
    for path in layout.private.glob("probe-*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _OLD_S:
                yield path


def _words(layout: Layout) -> Iterator[Finding]:
    """Look at what people wrote: notes, tags of versions, accepted runs."""
    readers: list[tuple[Path, Callable[[], Any]]] = [
        (path, lambda run=path.stem: said.read(layout, run))  # type: ignore[misc]
        for path in sorted(layout.annotations.glob("r*.toml"))
    ]
    readers.append((layout.accepted, lambda: accepted.read(layout)))
    readers.append((layout.version_tags, lambda: version_tags.read(layout)))
    for path, read in readers:
        try:
            read()
        except StaprojError as error:
            yield Finding("words", "damage", layout.relative(path), error.message, error.hint or "edit it")


def _fix(layout: Layout) -> list[str]:
    from staproj.engine.recover import recover

    schema.require_writable(layout)
    told = recover(layout)
    swept = [*lock.leftovers(layout.private), *_temporaries(layout)]
    for path in swept:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if swept:
        told.append(f"swept {len(swept)} leftovers")
    if index.check(layout)["wrong"]:
        index.drop(layout)
        told.append("made the index again")
    index.rows(layout)
    if any(finding.kind == "counter" for finding in _counter(layout)):
        with lock.project_lock(layout.lock, purpose="counter of runs"):
            highest = max((name.number for name in layout.iter_runs()), default=0)
            atomic.write_text(layout.counter, str(highest))
        told.append("counted the runs again")
    told += _identity(layout)
    return told


def _identity(layout: Layout) -> list[str]:
    """Give a project whose manifest lost its uuid one."""
    import uuid

    from staproj.project import manifest_edit

    if manifest.load(layout.manifest).uuid:
        return []
    with lock.project_lock(layout.lock, purpose="identity of the project"):
        manifest_edit.edit(layout.manifest, [manifest.Change(("project", "uuid"), str(uuid.uuid4()))])
    return ["gave the project an identity"]
