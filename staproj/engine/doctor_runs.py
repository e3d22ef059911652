"""Examination of runs: records against their digests, outputs against the records."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.errors import StaprojError
from staproj.project import atomic, checks, cleared, reading, runs
from staproj.project.findings import Finding
from staproj.project.layout import Layout, RunDir

_CHUNK = 4 << 20
_SHOWN = 3


@dataclass
class Looked:
    """How much was looked at."""

    runs: int = 0
    files: int = 0
    read_bytes: int = 0


def examine_runs(
    layout: Layout, looked: Looked, *, deep: bool, progress: Callable[[int, int], None]
) -> Iterator[Finding]:
    """Yield what is wrong with each run, in order; ``deep`` reads the outputs too."""
    names = sorted(layout.iter_runs(), key=lambda name: name.number)
    there = {name.id for name in names}
    for number, name in enumerate(names, start=1):
        run = layout.run(name)
        looked.runs += 1
        try:
            if run.path.is_symlink():
                continue  # said of the directory of runs
            if run.is_sealed():
                yield from _sealed(layout, run, looked, there, deep=deep)
            else:
                yield from _open(layout, run)
            yield from _lines(layout, run)
        except (OSError, StaprojError) as error:
            message = error.message if isinstance(error, StaprojError) else str(error)
            where = layout.relative(run.path)
            yield Finding("run", "damage", where, f"cannot be read: {message}", _remake(run))
        progress(number, len(names))


def _sealed(layout: Layout, run: RunDir, looked: Looked, there: set[str], *, deep: bool) -> Iterator[Finding]:
    where = layout.relative(run.path)
    damaged = list(_records(layout, run, looked))
    yield from damaged
    try:
        spec = checks.spec(atomic.read_json(run.spec), str(run.spec), run.id)
        outputs = checks.outputs(atomic.read_json(run.outputs), str(run.outputs))
    except StaprojError as error:
        if not damaged:
            yield Finding(
                "record",
                "damage",
                layout.relative(Path(str(error.where or run.path))),
                error.message,
                _remake(run),
            )
        return
    for port, use in spec["inputs"].items():
        if use["run"] not in there:
            words = f"its input {port!r} came from {use['run']}, which is gone: its history ends here"
            yield Finding("parent", "warning", where, words, f"restore {use['run']} from an archive")
    if run.attempts():
        words = "holds leftovers of tries, though it is complete"
        yield Finding("attempt", "note", where, words, "`staproj doctor --fix`", fixable=True)
    yield from _outputs(layout, run, outputs["files"], looked, deep=deep)


def _records(layout: Layout, run: RunDir, looked: Looked) -> Iterator[Finding]:
    """Compare the small files of a run with the digests in its marker."""
    try:
        proof = atomic.read_json(run.sealed).get("sha256")
    except StaprojError as error:
        yield Finding("sealed", "damage", layout.relative(run.sealed), error.message, _from_copy(run))
        return
    if not isinstance(proof, dict) or not proof:
        yield Finding("sealed", "damage", layout.relative(run.sealed), "holds no digests", _from_copy(run))
        return
    known = {path.name: path for path in (run.spec, run.env, run.record, run.outputs)}
    for name, wanted in sorted(proof.items()):
        path = known.get(name)
        if path is None:
            continue
        try:
            found = _sha256(path, looked)
        except (OSError, StaprojError) as error:
            words = f"is missing or cannot be read ({error.__class__.__name__})"
            yield Finding("record", "damage", layout.relative(path), words, _from_copy(run))
            continue
        if found != wanted:
            words = "is not what was sealed: its digest differs"
            yield Finding("record", "damage", layout.relative(path), words, _from_copy(run))


def _outputs(
    layout: Layout, run: RunDir, files: list[Mapping[str, Any]], looked: Looked, *, deep: bool
) -> Iterator[Finding]:
    """Compare outputs with the list of them: presence and size, and (``deep``) every byte."""
    gone_on_purpose = cleared.cleared_paths(run)
    lost: list[str] = []
    n_cleared = 0
    for entry in files:
        path = run.out / entry["path"]
        looked.files += 1
        try:
            size = reading.stat_regular(path).st_size
        except FileNotFoundError:
            n_cleared += entry["path"] in gone_on_purpose
            lost += [entry["path"]] if entry["path"] not in gone_on_purpose else []
            continue
        except (OSError, StaprojError) as error:
            words = error.message if isinstance(error, StaprojError) else str(error)
            yield Finding("output", "damage", layout.relative(path), words, _remake(run))
            continue
        if size != entry["size"]:
            words = f"has {size} bytes, {entry['size']} were sealed"
            yield Finding("output", "damage", layout.relative(path), words, _remake(run))
        elif deep and _sha256(path, looked) != entry["sha256"]:
            words = "is not what was sealed: its digest differs, though its size does not"
            yield Finding("output", "damage", layout.relative(path), words, _remake(run))
    if lost:
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        words = f"lost {len(lost)} of {len(files)} outputs: {', '.join(lost[:_SHOWN])}{more}"
        yield Finding("lost", "damage", layout.relative(run.out), words, _remake(run))
    if n_cleared:
        words = f"{n_cleared} outputs were deleted on purpose"
        remedy = f"nothing; `staproj remake {run.id}` brings them back"
        yield Finding("cleared", "note", layout.relative(run.out), words, remedy)


def _open(layout: Layout, run: RunDir) -> Iterator[Finding]:
    """Look at a run that is not complete."""
    where = layout.relative(run.path)
    found = runs.state_of(run)
    if found.state == "unreachable":
        host = found.event.get("host", "another machine")
        words = f"was begun on {host}; nobody can tell from here whether it goes on"
        yield Finding("unreachable", "note", where, words, f"look at {host}; `staproj resume` there goes on")
    elif found.state == "interrupted":
        if run.out.exists() or run.outputs.exists():
            words = "was stopped while it was sealed"
            yield Finding(
                "unsealed", "warning", where, words, "the next command that writes ends it", fixable=True
            )
        else:
            hint = f"`staproj resume {run.id}` goes on with it, if what it is made from is the same"
            yield Finding("interrupted", "note", where, "was interrupted", hint)


def _lines(layout: Layout, run: RunDir) -> Iterator[Finding]:
    """Count lines of the state that cannot be read (a power cut tears the last one)."""
    try:
        raw = reading.read_bytes(run.state)
    except FileNotFoundError:
        if run.is_sealed():
            words = "the events of this run are gone; its results are not touched by that"
            yield Finding("events", "warning", layout.relative(run.state), words, _from_copy(run))
        return
    lines = [line for line in raw.split(b"\n") if line.strip()]
    torn = len(lines) - len(atomic.read_lines(run.state))
    if torn > 0:
        words = f"{torn} of {len(lines)} lines are torn; they are left out"
        yield Finding("torn", "note", layout.relative(run.state), words, "nothing")


def _sha256(path: Path, looked: Looked) -> str:
    digest = hashlib.sha256()
    with reading.open_regular(path) as handle:
        looked.read_bytes += os.fstat(handle.fileno()).st_size
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return "sha256:" + digest.hexdigest()


def _remake(run: RunDir) -> str:
    return f"restore it from an archive, or `staproj rerun {run.name.step}` makes it anew"


def _from_copy(run: RunDir) -> str:
    return f"restore this file from a copy or an archive, or `staproj rerun {run.name.step}`"
