"""Lock, versions, fingerprints, records and events: the small files of a project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import tomllib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from staproj.errors import FormatError, LockedError, ProjectError, StaprojError, StorageError, UsageError
from staproj.project import atomic, checks, process, record, versions
from staproj.project.fingerprints import Fingerprints, quick_fingerprint
from staproj.project.layout import Layout, RunDir, RunName, find_root
from staproj.project.lock import project_lock


def test_lock_excludes_and_is_released(tmp_path: Path):
    """A second holder waits and gets LockedError with owner; afterwards the lock is free, also on error."""
    path = tmp_path / "s" / "lock"
    with project_lock(path, purpose="a test"):
        with (
            pytest.raises(LockedError, match="a test") as info,
            project_lock(path, purpose="b", timeout_s=0.1),
        ):
            pass
        assert info.value.exit_code == 3
    with pytest.raises(KeyError), project_lock(path, purpose="c"):
        raise KeyError
    assert not path.exists()


def test_lock_of_a_dead_process_is_broken_and_of_another_host_is_not(tmp_path: Path):
    """Only proof breaks a lock."""
    path = tmp_path / "lock"
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    owner = {**process.this_process(), "pid": int(dead.stdout), "start_ticks": 1, "token": "t"}
    path.mkdir()
    (path / "owner.json").write_text(json.dumps(owner))
    with project_lock(path, purpose="next", timeout_s=1):
        assert json.loads((path / "owner.json").read_text())["purpose"] == "next"
    path.mkdir()
    (path / "owner.json").write_text(json.dumps({**owner, "host": "elsewhere"}))
    with pytest.raises(LockedError, match="elsewhere"), project_lock(path, purpose="next", timeout_s=0.1):
        pass


def test_lock_counts_under_contention(tmp_path: Path):
    """Eight threads add to a number in a file: no addition is lost."""
    number = tmp_path / "n"
    number.write_text("0")

    def add() -> None:
        for _ in range(5):
            with project_lock(tmp_path / "lock", purpose="adding"):
                number.write_text(str(int(number.read_text()) + 1))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert number.read_text() == "40"


def test_liveness_needs_start_time_and_boot():
    """A number used again, or another boot, is not the process that was recorded."""
    me = process.this_process()
    assert process.is_alive(me) is True
    assert process.is_alive({**me, "start_ticks": (me["start_ticks"] or 0) + 1}) is False
    assert process.is_alive({**me, "boot_id": "other"}) is (not process.boot_id())
    assert process.is_alive({**me, "host": "elsewhere"}) is None
    assert process.is_alive({**me, "pid": "7"}) is False


def test_versions_round_trip_and_damaged_ones_are_passed_over(tmp_path: Path):
    """Any manifest text comes back; a torn newest file falls back to the one before."""
    layout = Layout(tmp_path)
    text = "# Å\nname = '''x'''\n"
    versions.write(layout, manifest="a = 1\n", heads={"ctf": "r0001"}, why='say "why"\n')
    versions.write(layout, manifest=text, heads={}, why="second")
    first, second = versions.read(layout, 1), versions.read(layout, 2)
    assert (first.why, first.heads, first.manifest) == ('say "why"\n', {"ctf": "r0001"}, "a = 1\n")
    assert second.manifest == text
    layout.version(2).write_text("[versi")
    latest = versions.latest(layout)
    assert latest is not None
    assert latest.number == 1
    with pytest.raises(StorageError):
        versions.read(layout, 2)
    with pytest.raises(UsageError):
        versions.read(layout, 9)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"])), st.text(max_size=10))
def test_any_manifest_text_survives_a_version(text, why):
    """The writer of versions quotes whatever people type."""
    version = versions.Version(1, "t", "w", why.encode("utf-8", "ignore").decode(), 0, {"a": "r0001"}, text)
    data = tomllib.loads(versions.to_toml(version))
    if "\r" not in text:
        assert data["manifest"]["text"] == text
    assert data["version"]["why"] == version.why


def test_heads_follow_runs_sealed_after_the_version(tmp_path: Path):
    """Runs sealed after the last version are heads, also those that were under way when it was written."""
    layout = Layout(tmp_path)

    def add(number: int, step: str, sealed: bool) -> RunDir:
        run = layout.run(RunName(number, step))
        run.path.mkdir(parents=True)
        if sealed:
            run.sealed.touch()
        return run

    add(1, "ctf", sealed=True)
    under_way = add(2, "ctf", sealed=False)
    add(3, "gold", sealed=True)
    versions.write(layout, manifest="", heads={"ctf": "r0001"}, why="x")
    assert versions.current_heads(layout) == {"ctf": "r0001"}
    under_way.sealed.touch()
    add(4, "motion", sealed=True)
    assert versions.current_heads(layout) == {"ctf": "r0002", "motion": "r0004"}


def test_fingerprints_follow_content_and_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Touching a file re-reads it and finds the same; unchanged files are not opened again."""
    layout = Layout(tmp_path)
    layout.manifest.write_text("schema = 2\n")
    path = tmp_path / "big.mrc"
    path.write_bytes(os.urandom(3 << 20))
    prints = Fingerprints(layout)
    value = prints.quick(path)
    prints.save()
    os.utime(path, ns=(5, 5))
    again = Fingerprints(layout)
    assert again.quick(path) == value
    again.save()
    monkeypatch.setattr("staproj.project.fingerprints.quick_fingerprint", lambda p: pytest.fail("read again"))
    assert Fingerprints(layout).quick(path) == value
    monkeypatch.undo()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert Fingerprints(layout).quick(path) != value
    layout.fingerprints.write_text("[[]")
    assert Fingerprints(layout).full(path).startswith("sha256:")


def test_quick_fingerprint_sees_size_head_and_tail(tmp_path: Path):
    """Sizes around one and two MiB: each byte that is promised to count does."""
    for size in (0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 1):
        path = tmp_path / str(size)
        path.write_bytes(bytes(size))
        seen = {quick_fingerprint(path)}
        for place in {0, size - 1} if size else set():
            data = bytearray(size)
            data[place] = 1
            path.write_bytes(data)
            seen.add(quick_fingerprint(path))
        path.write_bytes(bytes(size + 1))
        seen.add(quick_fingerprint(path))
        assert len(seen) == {0: 2, 1: 3}.get(size, 4)


def test_records_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A write that dies leaves the old file and no litter."""
    path = tmp_path / "x.json"
    atomic.write_json(path, {"a": 1})
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="disk is full"):
        atomic.write_json(path, {"a": 2})
    assert atomic.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@given(st.lists(st.one_of(st.binary(max_size=30), st.just(b'{"event": "x"}'))))
def test_torn_lines_are_left_out(lines):
    """Any bytes between whole lines: the whole ones come back."""
    import tempfile

    clean = [line for line in lines if b"\n" not in line and b"\r" not in line]
    with tempfile.NamedTemporaryFile() as handle:
        Path(handle.name).write_bytes(b"\n".join([*clean, b'{"event": "last"}', b'{"event": "to']))
        events = atomic.read_lines(Path(handle.name))
    assert events[-1] == {"event": "last"}


def test_item_records_join_into_the_record_of_the_run(tmp_path: Path):
    """Arrays, text and numbers of every item come back from one file; damage gives FormatError."""
    part = record.ItemRecord(
        metrics={"residual_px": 0.5},
        units={"residual_px": "px"},
        tables={"views": {"tilt_deg": np.array([1.5, 2.5]), "name": np.array(["Å", ""])}},
        table_docs={"views": "One row a view."},
        curves={"fsc": record.Curve(np.arange(3.0), np.ones(3), "frequency_per_angstrom", "fsc")},
        previews={"central": np.zeros((3, 5), np.uint8)},
        verdict="fine",
        fallbacks=["no gold"],
    )
    record.write_item(tmp_path / "a.h5", part)
    record.write_item(tmp_path / "b.h5", record.ItemRecord(verdict="also"))
    record.write_run(
        tmp_path / "meta.h5",
        attributes={"run": "r0001", "step": "ctf", "stage": "ctf", "key": "k"},
        params={"x_um": {"value": [1, None], "layer": "default"}},
        items={"TS_01": tmp_path / "a.h5", "TS_02": tmp_path / "b.h5"},
    )
    read = record.read_run(tmp_path / "meta.h5")
    assert (read.params, read.layers) == ({"x_um": [1, None]}, {"x_um": "default"})
    found = read.item("TS_01")
    assert found.tables["views"]["name"].tolist() == ["Å", ""]
    assert list(found.tables["views"]) == ["tilt_deg", "name"]
    assert found.curves["fsc"].x_label == "frequency_per_angstrom"
    assert (found.metrics, found.fallbacks, found.verdict) == (part.metrics, ["no gold"], "fine")
    assert read.item("TS_02").verdict == "also"
    data = (tmp_path / "meta.h5").read_bytes()
    (tmp_path / "meta.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError):
        record.read_run(tmp_path / "meta.h5")
    with pytest.raises(FormatError):
        record.read_run(tmp_path / "absent.h5")


def test_equal_records_are_equal_bytes(tmp_path: Path):
    """No times are in a record."""
    for name in ("a.h5", "b.h5"):
        record.write_item(tmp_path / name, record.ItemRecord(metrics={"a": 1.0, "b": 2.0}, verdict="x"))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["files", "artifacts", "path", "kind", "items"]), JSON))
def test_strange_records_are_refused_by_name(data):
    """Whatever JSON stands in a record, only StorageError comes out."""
    for check in (checks.outputs, checks.spec):
        with suppress(StorageError):
            check(data, "here")


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "", "a\0b"])
def test_paths_may_not_leave(path: str):
    """Paths in records stay below their directory."""
    data = {"files": [{"path": path, "size": 1, "mtime_ns": 1, "sha256": "s"}], "artifacts": {}}
    with pytest.raises(StorageError, match="leads out"):
        checks.outputs(data, "here")


def test_layout_finds_runs_and_roots(tmp_path: Path):
    """Runs by number or full name; the project from any directory below it."""
    layout = Layout(tmp_path)
    layout.manifest.touch()
    layout.run(RunName(42, "refine_bin4")).path.mkdir(parents=True)
    (layout.runs / "notes").mkdir()
    assert layout.find_run("r0042").name.step == "refine_bin4"
    assert layout.find_run("r42").id == "r0042"
    assert layout.find_run("r0042-refine_bin4").id == "r0042"
    for wrong in ("r0043", "r0042-ctf", "../x", "42"):
        with pytest.raises(UsageError):
            layout.find_run(wrong)
    assert [n.id for n in layout.iter_runs()] == ["r0042"]
    assert find_root(layout.runs / "notes") == tmp_path
    with pytest.raises(ProjectError):
        find_root(tmp_path.parent / "elsewhere")


def test_errors_of_ours_only():
    """The base class is what front ends catch."""
    assert issubclass(LockedError, StaprojError)
