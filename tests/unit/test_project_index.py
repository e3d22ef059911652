"""The index of runs is a cache: whatever happens to it, lists say what the files say."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import zlib
from pathlib import Path

import pytest

from staproj.project import index, schema
from staproj.project.layout import Layout, RunDir, RunName
from staproj.project.process import this_process


def add_run(layout: Layout, number: int, step: str = "ctf", *, end: str = "sealed") -> RunDir:
    """Write the files of a run by hand; ``end`` is its last word ("" for none)."""
    run = layout.run(RunName(number, step))
    run.path.mkdir(parents=True)
    spec = {"run": run.id, "stage": step, "created": "2026-01-01T00:00:00Z", "who": "anna", "note": "Å"}
    spec |= {"items": ["TS_01"], "parents": ["r0001"], "data": {}, "key": f"k{number}", "software": {}}
    run.spec.write_text(json.dumps(spec))
    events = [{"time": 5.0, "event": "started", **this_process()}]
    if end == "sealed":
        events.append({"time": 6.0, "event": "sealed", "wall_s": number / 2, "verdict": f"fine {number}"})
        files = [{"path": "a", "size": 10, "class": "final"}, {"path": "b", "size": 5, "class": "scratch"}]
        run.outputs.write_text(json.dumps({"files": files, "artifacts": {}}))
    elif end:
        events.append({"time": 6.0, "event": end, "wall_s": 1.0, "message": "no"})
    run.state.write_text("".join(json.dumps(event) + "\n" for event in events))
    if end == "sealed":
        run.sealed.write_text("{}")
    return run


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a project of six runs."""
    made = Layout(tmp_path / "p")
    for directory in (made.runs, made.versions, made.private):
        directory.mkdir(parents=True)
    made.manifest.write_text("schema = 2\n")
    for number in range(1, 5):
        add_run(made, number)
    add_run(made, 5, "gold", end="failed")
    add_run(made, 6, "gold", end="")
    return made


def said(layout: Layout) -> list[tuple[object, ...]]:
    """Return what is listed, without what the index keeps for itself."""
    return [(r.run, r.step, r.state, r.verdict, r.wall_s, r.note, r.bytes) for r in index.rows(layout)]


SIZES = {"final": 10, "scratch": 5}
TRUTH = [
    *((f"r000{n}", "ctf", "sealed", f"fine {n}", n / 2, "Å", SIZES) for n in range(1, 5)),
    ("r0005", "gold", "failed", "no", 1.0, "Å", {}),
    ("r0006", "gold", "running", "", None, "Å", {}),
]  # fmt: skip


def test_rows_are_what_the_files_say(layout: Layout):
    """First and second reading, with and without writing, give the same; a run that goes on is not kept."""
    assert [row.state for row in index.rows(layout, write=False)][-1] == "running"
    assert not layout.index.exists()
    assert said(layout) == TRUTH
    assert layout.index.read_bytes().count(b"\n") == 5
    assert said(layout) == TRUTH
    row = index.rows(layout)[0]
    assert (row.number, row.total_bytes, row.files, row.who, row.key) == (1, 15, 2, "anna", "k1")
    assert (row.items, row.parents, row.started, row.warning) == (["TS_01"], ["r0001"], 5.0, None)


def test_known_runs_are_not_opened_again(layout: Layout, monkeypatch: pytest.MonkeyPatch):
    """With an index nothing of a run that is at its end is read."""
    index.rows(layout)
    opened = []
    real = index._read
    monkeypatch.setattr(index, "_read", lambda run, stamp: opened.append(run.id) or real(run, stamp))
    assert said(layout) == TRUTH
    assert opened == ["r0006"]


def test_anything_done_to_the_index_costs_time_only(layout: Layout):
    """Cut anywhere, bytes changed anywhere, lines doubled, shuffled or foreign: the list stays the truth."""
    index.rows(layout)
    good = layout.index.read_bytes()
    rng = random.Random(3)
    for turn in range(120):
        data = bytearray(good)
        kind = turn % 4
        if kind == 0:
            data = data[: rng.randrange(len(data))]
        elif kind == 1:
            for _ in range(rng.randrange(1, 5)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        elif kind == 2:
            lines = bytes(data).split(b"\n")
            data = bytearray(b"\n".join(rng.choices(lines, k=9)))
        else:
            data = bytearray(rng.randbytes(rng.randrange(500)) + good[rng.randrange(len(good)) :])
        layout.index.write_bytes(bytes(data))
        assert said(layout) == TRUTH, (turn, bytes(data))
    for bad in (b"", b"[" * 100_000, b"\0" * 1000, b'["%08x",[]]\n' % zlib.crc32(b"[]")):
        layout.index.write_bytes(bad)
        assert said(layout) == TRUTH
    layout.index.unlink()
    layout.index.mkdir()
    assert said(layout) == TRUTH


def test_a_whole_line_about_other_files_does_not_count(layout: Layout):
    """A line with a right check sum that was made from other files is not believed."""
    row = index.rows(layout)[0]
    for stamp in ([*row.stamp[:3], row.stamp[3] - 1], [], [0, 0, 0, 0], None):
        lie = row._replace(verdict="a lie", stamp=stamp)
        layout.index.write_bytes(index._line(lie) + b"\n")
        assert said(layout) == TRUTH


def test_an_index_that_was_copied_along_is_made_again(layout: Layout, tmp_path: Path):
    """A copy of the project with all times kept lists its own files, also where they differ."""
    index.rows(layout)
    copy = Layout(tmp_path / "copy")
    shutil.copytree(layout.root, copy.root)
    state = copy.run(RunName(2, "ctf")).state
    state.write_text(state.read_text().replace("fine 2", "other"))
    assert [row.verdict for row in index.rows(copy)][:3] == ["fine 1", "other", "fine 3"]
    moved = Layout(tmp_path / "moved")
    layout.root.rename(moved.root)
    before = moved.index.read_bytes()
    assert said(moved) == TRUTH
    assert moved.index.read_bytes() == before


def test_rows_follow_what_happens_to_runs(layout: Layout):
    """A marker that goes, a run that goes on after it failed, runs that come and go."""
    index.rows(layout)
    layout.run(RunName(1, "ctf")).sealed.unlink()
    failed = layout.run(RunName(5, "gold"))
    with failed.state.open("a") as handle:
        handle.write(json.dumps({"time": 9.0, "event": "started", **this_process()}) + "\n")
    shutil.rmtree(layout.run(RunName(2, "ctf")).path)
    add_run(layout, 7)
    found = {row.run: row.state for row in index.rows(layout)}
    assert found["r0005"] == "running"
    assert found["r0007"] == "sealed"
    assert found["r0001"] != "sealed"
    assert "r0002" not in found


def test_note_adds_a_line_below_a_torn_one(layout: Layout):
    """A run that has come to its end is added without a reader; a torn last line does not swallow it."""
    index.rows(layout)
    layout.index.write_bytes(layout.index.read_bytes()[:-7])
    index.note(layout, add_run(layout, 7))
    known, _ = index._load(layout)
    assert "r0007-ctf" in known
    index.note(layout, layout.run(RunName(6, "gold")))
    assert "r0006-gold" not in index._load(layout)[0]


def test_many_writers_at_once(layout: Layout):
    """Threads that list, add and delete the index at the same time never see anything but the truth."""
    wrong: list[object] = []

    def work(turn: int) -> None:
        for number in range(25):
            if (turn + number) % 7 == 0:
                index.drop(layout)
            index.note(layout, layout.run(RunName(1 + number % 4, "ctf")))
            if said(layout) != TRUTH:
                wrong.append(turn)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert said(layout) == TRUTH


def test_superseded_lines_are_cleared_away(layout: Layout):
    """The index does not grow for ever."""
    for _ in range(400):
        index.note(layout, layout.run(RunName(1, "ctf")))
    assert layout.index.read_bytes().count(b"\n") >= 400
    index.rows(layout)
    index.rows(layout)
    assert layout.index.read_bytes().count(b"\n") == 5


@pytest.mark.parametrize("why", ["newer schema", "read-only"])
def test_readers_without_permission_do_not_write(layout: Layout, monkeypatch: pytest.MonkeyPatch, why: str):
    """In a project of a newer schema, or one that cannot be written to, no index appears."""
    if why == "newer schema":
        layout.manifest.write_text("schema = 99\n")
    else:
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    assert said(layout) == TRUTH
    assert not layout.index.exists()
    assert not schema.may_write(layout)


@pytest.mark.parametrize(
    "spec",
    ["", "[]", '{"run": "r0009"}', '{"run": "r0001", "stage": 5, "items": [1], "note": null}', "[" * 9999],
)
def test_damaged_records_leave_gaps_not_errors(layout: Layout, spec: str):
    """What cannot be read is empty; the other runs are listed as ever."""
    layout.run(RunName(1, "ctf")).spec.write_text(spec)
    rows = index.rows(layout)
    assert rows[0].stage is None
    assert (rows[0].items, rows[0].note) == ([], "")
    assert [row.verdict for row in rows[:2]] == ["fine 1", "fine 2"]


def test_odd_numbers_do_not_spoil_the_index(layout: Layout):
    """Infinite times, sizes beyond all disks and half characters in a record leave the other lines alone."""
    run = layout.run(RunName(1, "ctf"))
    run.state.write_text('{"event": "sealed", "wall_s": Infinity, "verdict": "\\ud800", "cpu_s": 1e999}\n')
    run.outputs.write_text('{"files": [{"path": "a", "size": 1' + "0" * 300 + "}]}")
    assert index.rows(layout)[0].wall_s is None
    assert layout.index.read_bytes().count(b"\n") >= 4
    assert said(layout)[1:] == TRUTH[1:]


def test_check_names_lines_that_lie(layout: Layout):
    """A line that counts but says something else than the files is found."""
    row = index.rows(layout)[0]
    assert index.check(layout)["wrong"] == []
    layout.index.write_bytes(index._line(row._replace(verdict="a lie")) + b"\n")
    assert index.check(layout)["wrong"] == ["r0001"]
