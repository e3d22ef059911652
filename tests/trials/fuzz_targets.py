"""What the fuzzing trial damages and how it is read: one entry a kind of file, and whole projects."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staproj.api import Project
from staproj.api.archives import restore, verify_path
from staproj.api.copies import export_files
from staproj.api.provenance import what_made
from staproj.engine import recover, sidecar
from staproj.engine.jobs import heartbeat, progress
from staproj.engine.jobs import record as job_record
from staproj.engine.view import View
from staproj.errors import StaprojError
from staproj.formats.artifact import read_artifact
from staproj.model.tilt_series import TiltSeries
from staproj.project import (
    accepted,
    annotations,
    atomic,
    checks,
    cleared,
    index,
    journal,
    lock,
    manifest_edit,
    record,
    runs,
    trash,
    version_tags,
    versions,
)
from staproj.project.fingerprints import Fingerprints
from staproj.project.layout import SIDECAR, TrashDir
from staproj.project.manifest import Change
from staproj.report.provenance import dot_lines, mermaid_lines, what_made_lines
from tests.integration import toy_stages as toy
from tests.trials import fuzz_mutations as mutate

Mutate = Callable[[random.Random, bytes, bytes], bytes]
CANARY = "canary"


@dataclass
class Target:
    """A kind of file: where it lies, how it is changed, how it is read; ``share`` of all inputs it gets."""

    name: str
    path: Path
    change: Mutate
    read: Callable[[Path], Any]
    share: int
    corpus: list[bytes] = field(default_factory=list)
    fresh: Callable[[], None] = lambda: None

    def make(self, draw: random.Random) -> bytes:
        """Return one damaged file."""
        data, other = draw.choice(self.corpus), draw.choice(self.corpus)
        return self.change(draw, data, other)


def make_project(root: Path) -> Project:
    """Make a finished project of toy stages with one of everything that has a file."""
    (root / "raw").mkdir(parents=True)
    for number in (1, 2):
        (root / "raw" / f"TS_0{number}.txt").write_text(f"{number}\n")
    (root / "toy.toml").write_text(toy.TEMPLATE)
    project = Project.create(root, str(root / "toy.toml"))
    project.run()
    project.rerun("shift", sets={"offset_px": 5})
    layout = project.layout
    run = layout.find_run("r0002")
    annotations.add_note(layout, run, "looks good\nsecond line")
    annotations.set_rating(layout, run, 4)
    annotations.set_title(layout, run, "the good one")
    annotations.set_tags(layout, run, add=["keep", "paper"])
    version_tags.put(layout, "first", 1)
    accepted.add(layout, accepted.entry("r0007", "r0002", why="same", pairs=()))
    entry = View.open(root).outputs("r0002")["files"][0]
    other = layout.find_run("r0003")
    cleared.add(other, View.open(root).outputs("r0003")["files"][:1], why="not needed")
    job = job_record.create(layout, "run", {"steps": ["shift"]}, command=["staproj", "run"])
    job_record.note(job, "supervised", **atomic_process())
    atomic.append_line(job.events, {"kind": "step", "step": "shift", "run": "r0002", "time": 1.0})
    job_record.finish(job, "done", steps=[])
    atomic.write_json(run.heartbeat, {"time": 1.0, "run": "r0002", "item": "TS_01", "done": 1, "total": 2})
    moved = trash.Entry(f"runs/{run.path.name}/out/{entry['path']}", "r0002", entry["size"], entry["sha256"])
    trash.begin(layout, "gc", [moved], why="not needed")
    layout.journal.mkdir(parents=True, exist_ok=True)
    for op, facts in JOURNAL.items():
        content = {"format": journal.FORMAT, "op": op, "facts": facts, "who": atomic_process(), "left": True}
        atomic.write_json(layout.journal / f"20260101T000000Z-{op}.json", content)
    index.rows(layout)
    project.status()
    return project


JOURNAL: dict[str, dict[str, Any]] = {
    "gc": {"trash": "20260101T000000Z-gc", "name": "20260101T000000Z-gc", "runs": ["r0002"]},
    "migrate": {"from": 1, "to": 2, "backup": "20260101T000000Z-migrate", "steps": [1]},
    "checkout": {"version": 1, "manifest": "schema = 2\n"},
}


def atomic_process() -> dict[str, Any]:
    """Return a process that is gone."""
    return {"host": os.uname().nodename, "boot_id": "gone", "pid": 2**22 - 3, "start_ticks": 1}


def targets(base: Project, work: Path) -> list[Target]:
    """Return all targets; files are damaged in the project at ``work``, a copy of ``base``."""
    shutil.copytree(base.root, work, symlinks=True)
    layout = Project.open(work).layout
    run, item = layout.find_run("r0002"), layout.find_run("r0002").item("TS_01")
    job, tree, rows, toml = layout.job(1), mutate.json_bytes, mutate.lines, mutate.toml_bytes
    journals = sorted(layout.journal.glob("*.json"))

    def again() -> None:
        shutil.rmtree(work)
        shutil.copytree(base.root, work, symlinks=True)

    def whole(path: Path) -> None:
        look_at_all(Project(work))

    archive, packed = work.parent / "a.tar", work.parent / "a.tar.zst"
    export = work.parent / "exported"
    shutil.rmtree(export, ignore_errors=True)
    export_files(base, "shift", f"{export}/")
    found = [
        Target("manifest", layout.manifest, toml, lambda p: manifest(work), 12),
        Target("spec.json", run.spec, tree, lambda p: View.open(work).spec("r0002"), 10),
        Target("outputs.json", run.outputs, tree, lambda p: digests(work), 8),
        Target(
            "item.json", item / "item.json", tree, lambda p: checks.outputs(atomic.read_json(p), str(p)), 4
        ),
        Target("env.json", run.env, tree, atomic.read_json, 1),
        Target("state.jsonl", run.state, rows, lambda p: (runs.state_of(run), index.row(layout, run)), 8),
        Target(
            "SEALED", run.sealed, tree, lambda p: (record.read_run(run.record), index.row(layout, run)), 3
        ),
        Target("CLEARED", run.cleared, tree, lambda p: cleared.cleared_paths(run), 3),
        Target("heartbeat", run.heartbeat, rows, lambda p: heartbeat.read(run), 2),
        Target("meta.h5", item / "meta.h5", mutate.any_bytes, item_record, 14),
        Target(
            "artifact.h5",
            run.artifact("tilt_series", "TS_01"),
            mutate.any_bytes,
            lambda p: artifact(p, work),
            8,
        ),
        Target("version", layout.version(2), toml, lambda p: version(work), 5),
        Target("tags", layout.version_tags, toml, lambda p: version_tags.read(layout), 2),
        Target(
            "annotation", layout.annotation("r0002"), toml, lambda p: annotations.read(layout, "r0002"), 3
        ),
        Target("accepted", layout.accepted, toml, lambda p: accepted.read(layout), 3),
        Target("index", layout.index, rows, lambda p: index.rows(layout, write=False), 4),
        Target("fingerprints", layout.fingerprints, tree, lambda p: Fingerprints(layout), 2),
        Target("job", job.request, tree, lambda p: (job_record.read(job), job_record.state_of(job)), 2),
        Target("job events", job.events, rows, lambda p: progress.of_job(layout, job), 2),
        Target("job state", job.state, rows, lambda p: job_record.state_of(job), 2),
        Target("job result", job.result, tree, lambda p: job_record.state_of(job), 1),
        Target("trash", trash_record(layout.trash), tree, lambda p: trash.all_trash(layout), 2),
        Target("lock", layout.lock / "owner.json", tree, lambda p: lock.is_proven_dead(layout.lock), 1),
        Target("journal", journals[0], tree, lambda p: recover.recover(layout), 1, fresh=again),
        Target("archive", archive, mutate.any_bytes, lambda p: archived(p, work.parent), 6),
        Target("archive zstd", packed, mutate.any_bytes, lambda p: archived(p, work.parent), 3),
        Target("sidecar", export / SIDECAR, tree, lambda p: provenance_of(export), 4),
        Target("project", work, anything, whole, 1, fresh=again),
    ]
    for target in found:
        target.corpus = corpus(target, base)
    return found


def corpus(target: Target, base: Project) -> list[bytes]:
    """Return files of the kind as they should be, from all runs."""
    layout = base.layout
    same = {
        "spec.json": "runs/*/spec.json",
        "outputs.json": "runs/*/outputs.json",
        "item.json": "runs/*/items/*/item.json",
        "state.jsonl": "runs/*/state.jsonl",
        "meta.h5": "runs/*/items/*/meta.h5",
        "CLEARED": "runs/*/CLEARED",
        "artifact.h5": "runs/*/out/*/tilt_series.h5",
        "version": "versions/0*.toml",
        "journal": ".staproj/journal/*.json",
    }
    pattern = same.get(target.name)
    found = sorted(layout.root.glob(pattern)) if pattern else [target.path]
    if target.name == "lock":
        return [b'{"token": "x", "host": "h", "pid": 1, "start_ticks": 1, "boot_id": "b", "since": 1.0}']
    if target.name == "project":
        return [b""]
    return [path.read_bytes() for path in found]


def trash_record(directory: Path) -> Path:
    """Return the record of the only directory of the trash."""
    return TrashDir(next(iter(sorted(directory.iterdir())))).record


def manifest(root: Path) -> None:
    """Read a manifest, resolve every parameter, and change a value in it."""
    view = View.open(root)
    view.check()
    changes = [Change(("step", "shift", "params", "offset_px"), 7.0)]
    manifest_edit.apply(view.manifest.text, changes)


def digests(root: Path) -> None:
    """Read the outputs of a run and their digests."""
    view = View.open(root)
    for port in view.outputs("r0002")["artifacts"]:
        view.digests("r0002", port)


def artifact(path: Path, root: Path) -> None:
    """Read an artifact."""
    read_artifact(path, TiltSeries, project_root=root)


def item_record(path: Path) -> None:
    """Read the record of an item as one from elsewhere, without a digest of it, and join it into a run's."""
    record.read_item(path)
    record.run_bytes(attributes={}, params={}, items={"TS_01": path})


def provenance_of(export: Path) -> None:
    """Read what a sidecar says of an exported folder, and of a file in it."""
    sidecar.read(export / SIDECAR)
    sidecar.find(export)
    for path in (*sorted(export.rglob("*.h5")), export):
        told = what_made(path, None)
        for lines in (what_made_lines, dot_lines, mermaid_lines):
            lines(told)


def version(root: Path) -> None:
    """Read a version, and which runs stand for the steps."""
    layout = Project(root).layout
    with suppress(StaprojError):
        versions.read(layout, 2)
    versions.current_heads(layout)


def archived(path: Path, place: Path) -> None:
    """Verify an archive and restore it; whatever comes of it lies below the new directory."""
    verify_path(path)
    target = place / "restored"
    try:
        restore(path, target)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def anything(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """Return the name of a file and what to do with it, as one line (see :func:`damage`)."""
    return f"{draw.randrange(1 << 30)}".encode()


def damage(root: Path, data: bytes) -> None:
    """Damage one file of a project, or put something else in its place."""
    draw = random.Random(int(data))
    files = sorted(p for p in root.rglob("*") if p.is_file() and "raw" not in p.parts)
    path = draw.choice(files)
    how = draw.randrange(12)
    before = path.read_bytes()
    path.unlink()
    if how == 0:
        os.mkfifo(path)
    elif how == 1:
        path.symlink_to(root.parent / CANARY)
    elif how == 2:
        path.symlink_to("/dev/zero")
    elif how == 3:
        path.mkdir()
    elif how > 4:
        kind = {".json": mutate.json_bytes, ".jsonl": mutate.lines, ".toml": mutate.toml_bytes}
        change = kind.get(path.suffix, mutate.any_bytes)
        path.write_bytes(change(draw, before, b""))


def look_at_all(project: Project) -> None:
    """Ask a project everything that only looks; each answer is one, or an error of ours."""
    out = project.root / "runs" / "r0002-shift" / "out" / "TS_01" / "tilt_series.h5"
    for ask in (
        project.status,
        project.ls,
        project.notes,
        lambda: project.why("shift"),
        lambda: project.why("r0002"),
        lambda: project.show("shift"),
        lambda: project.show("r0002"),
        lambda: project.diff("r0002", "r0007"),
        lambda: project.lineage("mean"),
        lambda: project.lineage(out),
        lambda: project.log("shift"),
        lambda: project.artifact("shift"),
        project.versions,
        lambda: project.version_diff(1),
        lambda: project.run(dry_run=True),
        project.archives.verify,
        project.jobs.all,
    ):
        with suppress(StaprojError):
            ask()
