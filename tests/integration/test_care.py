"""Examination of damaged projects, the lock, projects that cannot be written to, moving and copying."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.errors import LockedError, StaprojError, StorageError
from staproj.project import journal, lock, probe, runs
from staproj.project.layout import Layout
from staproj.project.process import this_process
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, states
from tests.trials import registrations


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return where a project whose pipeline was run is kept, once it was made."""
    return {"": tmp_path_factory.mktemp("ready") / "p"}


@pytest.fixture
def done(make_project: Callable[..., Project], ready: dict[str, Path], tmp_path: Path) -> Project:
    """Return a project whose pipeline was run: a copy of the first one, times kept."""
    if not ready[""].exists():
        made = make_project("first")
        made.run()
        shutil.copytree(made.root, ready[""])
    return Project(Path(shutil.copytree(ready[""], tmp_path / "p")))


def found(project: Project, **options: bool) -> dict[str, tuple[str, str]]:
    """Return ``{kind: (severity, where)}`` of what is wrong."""
    told = project.care.doctor(**options)["findings"]
    return {one["kind"]: (one["severity"], one["where"]) for one in told}


def test_a_sound_project_has_no_findings(done: Project):
    """Nothing is wrong, nothing is changed by looking, every record and output was looked at."""
    told = done.care.doctor(deep=True, probe=True)
    assert told["findings"] == []
    assert told["sound"]
    assert told["runs"] == 6
    assert told["files"] == 24
    assert told["file_system"]["fsync_ms"] >= 0
    assert done.ls()[0]["run"] == "r0006"


def spoil_version(root: Path) -> None:
    """Tear the newest version."""
    path = max((root / "versions").glob("0*.toml"))
    path.write_text(path.read_text()[:40])


def spoil_head(root: Path) -> None:
    """Lose the run that stands for a step."""
    shutil.rmtree(root / "runs" / "r0003-again")


def rewrite(path: Path, work: Callable[[bytes], bytes]) -> None:
    """Change a file in place, also one that is read-only."""
    path.chmod(0o644)
    path.write_bytes(work(path.read_bytes()))


def misspell(text: bytes) -> bytes:
    """Write the name of a parameter wrong."""
    return text.replace(b"offset_px", b"ofset_px")


def link_run(root: Path) -> None:
    """Put a link where a run should be."""
    (root / "elsewhere").mkdir()
    (root / "runs" / "r0009-ctf").symlink_to(root / "elsewhere")


def link_output(root: Path) -> None:
    """Let an output lead out of the project."""
    path = root / "runs" / "r0004-mean" / "out" / "map.bin"
    target = root.parent / "outside.bin"
    target.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(target)


FIRST, MEAN = "runs/r0002-shift", "runs/r0004-mean"
DAMAGE: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "spec torn": (lambda r: rewrite(r / FIRST / "spec.json", lambda b: b[:50]), "record", "spec"),
    "spec edited": (lambda r: rewrite(r / FIRST / "spec.json", lambda b: b + b" "), "record", "spec"),
    "outputs gone": (lambda r: (r / FIRST / "outputs.json").unlink(), "record", "outputs"),
    "meta bit": (lambda r: rewrite(r / MEAN / "meta.h5", lambda b: b[:-1] + b"!"), "record", "meta"),
    "marker torn": (lambda r: rewrite(r / MEAN / "SEALED", lambda b: b[:9]), "sealed", "r0004"),
    "marker empty": (lambda r: rewrite(r / MEAN / "SEALED", lambda b: b"{}"), "sealed", "r0004"),
    "output lost": (lambda r: (r / MEAN / "out" / "map.bin").unlink(), "lost", "r0004"),
    "output short": (lambda r: rewrite(r / MEAN / "out" / "map.bin", lambda b: b[:3]), "output", "map"),
    "output links out": (link_output, "output", "map.bin"),
    "manifest torn": (lambda r: (r / "staproj.toml").write_text("schema = 2\n[x"), "manifest", "toml"),
    "manifest wrong": (lambda r: rewrite(r / "staproj.toml", misspell), "manifest", "shift"),
    "version torn": (spoil_version, "version", "versions/"),
    "head gone": (spoil_head, "head", "r0003"),
    "history gone": (lambda r: shutil.rmtree(r / "runs" / "r0001-import"), "parent", "r000"),
    "number twice": (lambda r: (r / "runs" / "r0002-other").mkdir(), "number", "r0002"),
    "run is a link": (link_run, "link", "r0009"),
    "notes torn": (lambda r: (r / "annot" / "r0001.toml").write_text("[x"), "words", "annot"),
    "events gone": (lambda r: (r / FIRST / "state.jsonl").unlink(), "events", "r0002"),
    "no runs at all": (lambda r: (r / "runs").rename(r / "somewhere"), "runs", "runs"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_says_what_to_do(done: Project, name: str):
    """Each kind of damage gives a finding at the right place with a remedy, and looking changes nothing."""
    spoil, kind, where = DAMAGE[name]
    spoil(done.root)
    before = sorted(p for p in done.root.rglob("*") if ".staproj" not in p.parts)
    told = done.care.doctor()
    assert not told["sound"]
    hits = [f for f in told["findings"] if f["kind"] == kind and where in f["where"]]
    assert hits, told["findings"]
    assert all(f["severity"] in ("damage", "warning") and len(f["fix"]) > 5 for f in hits)
    assert sorted(p for p in done.root.rglob("*") if ".staproj" not in p.parts) == before


def test_only_deep_examination_sees_changed_bytes_of_outputs(done: Project):
    """A changed byte of the same size is found by digest."""
    rewrite(done.root / MEAN / "out" / "map.bin", lambda b: bytes([b[0] ^ 1]) + b[1:])
    assert "output" not in found(done)
    assert found(done, deep=True)["output"] == ("damage", "runs/r0004-mean/out/map.bin")


def test_what_is_no_damage_is_said_gently(done: Project):
    """Torn lines, strangers, cleared outputs and interrupted runs are notes: the project is sound."""
    with (done.root / FIRST / "state.jsonl").open("a") as handle:
        handle.write('{"event": "sea')
    (done.root / "runs" / "old-notes").mkdir()
    runs.note(runs.reserve(done.layout, "mean"), "interrupted")
    told = done.care.doctor()
    kinds = {one["kind"]: one["severity"] for one in told["findings"]}
    assert kinds == {"torn": "note", "stranger": "note", "interrupted": "note"}
    assert told["sound"]


def test_fix_does_what_is_safe(done: Project):
    """A dead lock, leftovers, a lying index and a lost counter go away; nothing else is touched."""
    layout = done.layout
    dead = {**this_process(), "pid": 999_999_999, "token": "t", "user": "anna", "purpose": "x", "since": 1.0}
    for name in ("lock", "lock-wait-1-abc"):
        (layout.private / name).mkdir()
        (layout.private / name / "owner.json").write_text(json.dumps(dead))
    litter = layout.versions / ".0001.toml.999999999.part"
    litter.write_text("x")
    os.utime(litter, (1, 1))
    layout.counter.write_text("2")
    before = {p: p.read_bytes() for p in (done.root / "runs").rglob("*") if p.is_file()}
    assert {"lock", "temporary", "counter"} <= set(found(done))
    told = done.care.doctor(fix=True)
    assert told["fixed"]
    assert told["findings"] == []
    assert not layout.lock.exists()
    assert not litter.exists()
    assert {p: p.read_bytes() for p in (done.root / "runs").rglob("*") if p.is_file()} == before
    assert runs.reserve(layout, "mean").id == "r0007"


def test_journal_entries_are_shown(done: Project):
    """An operation that was begun and not ended is a warning; one that goes on is not."""
    with journal.entry(done.layout, "nothing", {}):
        assert found(done)["journal"][0] == "note"
        assert done.care.doctor()["sound"]
    with pytest.raises(KeyError), journal.entry(done.layout, "nothing", {}):
        raise KeyError
    assert found(done)["journal"][0] == "warning"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"mkdir_exclusive": False}, "disk:mkdir_exclusive"),
        ({"clock_skew_s": -400.0}, "disk:clock_skew_s"),
        ({"free_bytes": 1000}, "disk:free_bytes"),
        ({"free_inodes": 3}, "disk:free_inodes"),
    ],
)
def test_a_bad_disk_is_said(
    done: Project, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], kind: str
):
    """What the file system cannot do is told in plain words, and kept by host."""
    real = probe.probe(done.layout)
    monkeypatch.setattr(probe, "probe", lambda layout, quick=False: {**real, **answer})
    assert found(done)[kind][0] == "warning"
    name = next(iter(answer))
    kept = json.loads(done.layout.capabilities.read_text())["hosts"][str(this_process()["host"])]
    assert kept[name] == answer[name]


def test_clock_skew_is_measured(done: Project, monkeypatch: pytest.MonkeyPatch):
    """A machine whose clock is an hour behind the file server's sees that, and runs do not become stale."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    assert 3590 < probe.probe(done.layout)["clock_skew_s"] < 3610
    assert set(states(done).values()) == {"fresh"}
    assert done.run()[0]["action"] == "fresh"


def hold(layout: Layout, **facts: Any) -> None:
    """Leave a lock with a record."""
    owner = {**this_process(), "token": "t", "user": "anna", "purpose": "a test", "since": time.time() - 60}
    layout.lock.mkdir(parents=True)
    (layout.lock / "owner.json").write_text(json.dumps({**owner, **facts}))


def test_unlock_needs_proof(done: Project):
    """A live owner keeps the lock, a dead one loses it, another machine's needs a person who looked."""
    assert done.care.unlock() == {
        "locked": False, "owner": {}, "age_s": None, "owner_is_gone": None, "broken": False
    }  # fmt: skip
    hold(done.layout)
    for checked in (False, True):
        with pytest.raises(LockedError, match="alive"):
            done.care.unlock(i_checked=checked)
    shutil.rmtree(done.layout.lock)
    hold(done.layout, pid=999_999_999)
    told = done.care.unlock()
    assert (told["broken"], told["owner"]["user"]) == (True, "anna")
    assert 59 < told["age_s"] < 70
    hold(done.layout, host="elsewhere")
    with pytest.raises(LockedError, match="another machine") as info:
        done.care.unlock()
    assert "--i-checked" in info.value.hint
    assert done.layout.lock.exists()
    assert done.care.unlock(i_checked=True)["broken"]
    assert not done.layout.lock.exists()


def test_a_stale_lock_of_this_machine_is_gone_within_a_second(done: Project):
    """The next writer breaks it by itself."""
    hold(done.layout, pid=999_999_999)
    began = time.monotonic()
    runs.reserve(done.layout, "mean")
    assert time.monotonic() - began < 1.0


def test_breaking_dead_locks_never_lets_two_in(tmp_path: Path):
    """Threads that take the lock while dead ones are planted again and again: no addition is lost."""
    path, number = tmp_path / "s" / "lock", tmp_path / "n"
    path.parent.mkdir()
    number.write_text("0")
    inside, worst = [], [0]
    dead = json.dumps({**this_process(), "pid": 999_999_999, "token": "dead"})
    stop = threading.Event()

    def plant() -> None:
        for turn in range(10_000):
            if stop.is_set():
                return
            ready = path.with_name(f"plant{turn}")
            ready.mkdir()
            (ready / "owner.json").write_text(dead)
            try:
                ready.rename(path)
            except OSError:
                shutil.rmtree(ready)
            time.sleep(0.001)

    def add() -> None:
        for _ in range(25):
            with lock.project_lock(path, purpose="adding", timeout_s=30):
                inside.append(1)
                worst[0] = max(worst[0], len(inside))
                number.write_text(str(int(number.read_text()) + 1))
                inside.pop()

    planter = threading.Thread(target=plant)
    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in (planter, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    planter.join()
    assert (number.read_text(), worst[0]) == ("100", 1)


def test_processes_register_runs_at_once(tmp_path: Path):
    """Three processes, eight numbers each: none lost, none doubled."""
    result = registrations.trial(tmp_path, processes=3, each=8)
    assert (result["registrations"], result["lost"], result["doubled"]) == (24, 0, 0)


READING = """
import sys
from pathlib import Path
from staproj.api import Project
from staproj.stages import registry
from tests.integration import toy_stages as toy
keep = registry.temporarily(*toy.ALL)
keep.__enter__()
p = Project(Path(sys.argv[1]))
assert {s["state"] for s in p.status()["steps"]} == {"fresh"}, p.status()
assert len(p.ls()) == 6
p.show("mean"), p.why("mean"), p.lineage("copy"), p.log("mean"), p.diff("r0004", "r0005"), p.versions()
p.care.lock()
assert p.care.doctor(deep=True)["sound"], p.care.doctor()
for write in (p.run, lambda: p.rerun("mean"), lambda: p.annotations.note("r0001", "x"), p.care.migrate,
              lambda: p.set_head("mean", "r0004"), lambda: p.care.doctor(fix=True)):
    try:
        found = write()
    except OSError as error:
        assert "read" in str(error) or "cannot" in str(error), error
    else:
        assert found == {"from": 2, "to": 2, "actions": [], "backup": None, "dry_run": False}, found
print("all read", toy.CALLS)
"""


def test_a_read_only_mount_is_read_and_not_written(done: Project, repository: Path):
    """On a real read-only mount everything that reads works; what writes refuses before computing."""
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -c "$3" "$1"'
    start = ["unshare", "--map-root-user", "--mount"]
    command = [*start, "sh", "-ec", script, "sh", str(done.root), sys.executable]
    try:
        subprocess.run([*start, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no mount namespaces here")
    answer = subprocess.run(
        [*command, READING], cwd=repository, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(repository), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "all read []"


def test_a_directory_without_permission_is_read_and_not_written(
    done: Project, monkeypatch: pytest.MonkeyPatch
):
    """Where no file can be made, readers make none, and writers say so at once."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and real(path, mode))
    done.layout.index.unlink(missing_ok=True)
    before = sorted((p, p.stat().st_mtime_ns) for p in done.root.rglob("*"))
    toy.CALLS.clear()
    assert set(states(done).values()) == {"fresh"}
    assert len(done.ls()) == 6
    edit_free = [done.run, lambda: done.rerun("mean"), lambda: done.care.doctor(fix=True)]
    for write in edit_free:
        with pytest.raises(StorageError, match="reading only"):
            write()
    assert toy.CALLS == []
    assert sorted((p, p.stat().st_mtime_ns) for p in done.root.rglob("*")) == before


@pytest.mark.parametrize("how", ["mv", "cp -r", "cp -a", "cp -r, half of .staproj lost"])
def test_moving_and_copying_make_nothing_stale(done: Project, tmp_path: Path, how: str):
    """A project that moves, or is copied with or without its times, is fresh, whole, and computes nothing."""
    new = tmp_path / "new place" / "q"
    new.parent.mkdir()
    if how == "mv":
        done.root.rename(new)
    else:
        subprocess.run(["cp", how[3:5], str(done.root), str(new)], check=True)
    if "lost" in how:
        for path in (new / ".staproj").glob("[a-i]*"):
            path.unlink()
    moved = Project(new)
    toy.CALLS.clear()
    assert set(states(moved).values()) == {"fresh"}
    assert [row["state"] for row in moved.ls()] == ["sealed"] * 6
    assert moved.care.doctor(deep=True)["sound"]
    assert moved.lineage(new / MEAN / "out" / "map.bin")["run"] == "r0004"
    assert {result["action"] for result in moved.run()} == {"fresh"}
    assert toy.CALLS == []
    edit(moved, "offset_px = 2.0", "offset_px = 5.0")
    assert moved.run(["shift"])[-1]["run"] == "r0007"


def test_an_error_while_fixing_is_an_error_of_ours(done: Project):
    """What cannot be fixed (a manifest that is not TOML) is said."""
    (done.root / "staproj.toml").write_text("schema = 2\n[x")
    with pytest.raises(StaprojError):
        done.care.doctor(fix=True)
