"""Compare every file of sealed runs with its digest, or every bit of an archive with what it must be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staproj.errors import StaprojError, StorageError, UsageError
from staproj.project import atomic, bag, checks, cleared, versions
from staproj.project.bag_read import Damage, read_all
from staproj.project.fingerprints import quick_fingerprint, sha256_file
from staproj.project.layout import Layout, RunDir
from staproj.project.tarball import name_problem

Tell = Callable[[int, int, str], None]


@dataclass
class Verified:
    """What was looked at, and what is wrong with it."""

    what: str
    files: int = 0
    n_bytes: int = 0
    runs: int = 0
    not_there: int = 0
    damage: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Task:
    stored: str
    path: Path
    digest: str
    size: int


def verify_archive(path: Path, tell: Tell = lambda done, total, what: None) -> Verified:
    """Read an archive from end to end and report every file that is not what it should be."""
    tell(0, 1, path.name)
    contents = read_all(path)
    notes = []
    if contents.problems:
        notes.append("files that differed from their record when archived are listed in problems.json")
    return Verified(
        what="archive",
        files=contents.n_files,
        n_bytes=contents.n_bytes,
        damage=list(dict.fromkeys(contents.damage)),
        notes=notes,
    )


def verify_project(
    layout: Layout,
    *,
    only: Sequence[str] | None = None,
    raw: bool = False,
    tell: Tell = lambda done, total, what: None,
) -> Verified:
    """Read every record and output of sealed runs; ``raw`` also compares raw data with its fingerprints.

    Raises
    ------
    UsageError
        If ``only`` names no complete run.
    """
    found = Verified("project")
    heads = versions.current_heads(layout) if only else {}
    chosen = (
        [layout.run(name) for name in sorted(layout.iter_runs())]
        if only is None
        else [layout.find_run(heads.get(text, text)) for text in only]
    )
    for run in chosen:
        if only is not None and not run.is_sealed():
            raise UsageError(f"run {run.id} is not complete", hint=f"`staproj log {run.id}` says why")
    if only is None:
        _check_versions(layout, found)
    done = 0
    sealed = [run for run in chosen if run.is_sealed()]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for place, run in enumerate(sealed):
            found.runs += 1
            tasks = list(_tasks(layout, run, found, raw=raw))
            for task, problem in zip(tasks, pool.map(_look, tasks), strict=True):
                found.files += 1
                found.n_bytes += task.size
                if problem:
                    found.damage.append(Damage(task.stored, problem))
            done = place + 1
            tell(done, len(sealed), run.id)
    return found


def _check_versions(layout: Layout, found: Verified) -> None:
    for number in versions.numbers(layout):
        try:
            versions.read(layout, number)
        except StaprojError as error:
            found.damage.append(Damage(layout.relative(layout.version(number)), error.message))


def _tasks(layout: Layout, run: RunDir, found: Verified, *, raw: bool) -> Iterator[_Task]:
    """Yield the files of a run whose digest is known."""
    try:
        proof = atomic.read_json(run.sealed).get("sha256")
        if not isinstance(proof, dict):
            raise UsageError("the seal holds no digests", where=str(run.sealed))
        listed = checks.outputs(atomic.read_json(run.outputs), str(run.outputs))["files"]
    except StaprojError as error:
        found.damage.append(Damage(layout.relative(run.outputs), error.message))
        return
    for path in (run.spec, run.env, run.record, run.outputs):
        if path.name in proof:
            yield _Task(layout.relative(path), path, str(proof[path.name]), 0)
        else:
            found.damage.append(Damage(layout.relative(path), "the seal holds no digest of it"))
    _check_items(layout, run, listed, found)
    gone = cleared.cleared_paths(run)
    for entry in listed:
        path = run.out / str(entry["path"])
        if entry["path"] in gone and not path.exists():
            found.not_there += 1
        else:
            yield _Task(layout.relative(path), path, str(entry["sha256"]), int(entry["size"]))
    if raw:
        yield from _raw_tasks(layout, run, found)


def _check_items(layout: Layout, run: RunDir, listed: Sequence[dict[str, Any]], found: Verified) -> None:
    """Compare the records of items, of which the seal holds no digest, with the list of outputs."""
    known = {str(entry["path"]): str(entry["sha256"]) for entry in listed}
    for path in run.finished_items():
        try:
            entry = checks.outputs(atomic.read_json(path), str(path))
            wrong = [f for f in entry["files"] if known.get(str(f["path"])) != f["sha256"]]
        except StaprojError as error:
            found.damage.append(Damage(layout.relative(path), error.message))
            continue
        if wrong:
            found.damage.append(Damage(layout.relative(path), "it lists other outputs than the run"))


def _raw_tasks(layout: Layout, run: RunDir, found: Verified) -> Iterator[_Task]:
    try:
        spec: dict[str, Any] = checks.spec(atomic.read_json(run.spec), str(run.spec), run.id)
    except StaprojError:
        return
    for data in spec["data"].values():
        for stored, fingerprint in data["files"]:
            path = layout.absolute(stored)
            if path.is_file():
                yield _Task(stored, path, fingerprint, path.stat().st_size)
            else:
                found.not_there += 1


def _look(task: _Task) -> str:
    """Return what is wrong with a file (empty: nothing)."""
    try:
        if not task.path.is_file() or task.path.is_symlink():
            return "it is missing" if not task.path.exists() else "it is not a regular file"
        if task.digest.startswith("q:"):
            return "" if quick_fingerprint(task.path) == task.digest else "raw data changed since it was read"
        if task.size and task.path.stat().st_size != task.size:
            return f"it has {task.path.stat().st_size} bytes, not {task.size}"
        return "" if sha256_file(task.path) == task.digest else "its content differs from its digest"
    except StorageError as error:
        return error.message
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def verify_bag(folder: Path, tell: Tell = lambda done, total, what: None) -> Verified:
    """Compare an unpacked archive with its manifests: files that changed, are missing, or were added.

    Raises
    ------
    UsageError
        If there are no manifests.
    """
    found = Verified("unpacked archive")
    listed: set[str] = set()
    for manifest in (bag.TAG_MANIFEST, bag.MANIFEST):
        try:
            lines = (folder / manifest).read_bytes().splitlines(keepends=True)
        except OSError as error:
            raise UsageError(f"{manifest} cannot be read: {error.strerror}", where=str(folder)) from error
        for place, raw in enumerate(lines):
            line = bag.parse_line(raw)
            if line is None or name_problem(line[1]):
                found.damage.append(Damage(manifest, f"line {place + 1} is damaged"))
                continue
            path = folder / line[1]
            listed.add(line[1])
            size = path.stat().st_size if path.is_file() else 0
            problem = _look(_Task(line[1], path, "sha256:" + line[0], 0))
            found.files, found.n_bytes = found.files + 1, found.n_bytes + size
            if problem:
                found.damage.append(Damage(line[1].removeprefix(bag.DATA), problem))
            tell(place, len(lines), line[1])
    caches = Layout(folder / bag.DATA).private  # looking at the project may have written some
    for path in sorted((folder / bag.DATA).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in listed and not path.is_relative_to(caches):
            found.damage.append(Damage(name.removeprefix(bag.DATA), "it is not in the manifest"))
    return found
