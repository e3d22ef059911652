"""The states of a step, each with its reason: fresh, soft, unknown, missing …; and no payload is read."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.engine import environment, recreate, why
from staproj.engine.view import View
from staproj.errors import LockedError, UsageError
from staproj.project import cleared, runs
from staproj.project.layout import Layout
from staproj.project.process import this_process
from staproj.report import runs as report
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, reasons, states

OPENED: list[str] = []
WATCHING = [False]


def _note_opened(event: str, arguments: tuple[object, ...]) -> None:
    if WATCHING[0] and event == "open" and isinstance(arguments[0], str | bytes):
        OPENED.append(str(arguments[0]))


sys.addaudithook(_note_opened)


@pytest.fixture
def project(ran: Project) -> Project:
    """Return a project that was run already; `run` finds nothing to do in it."""
    return ran


def change_spec(project: Project, run: str, change: Callable[[dict], None]) -> None:
    """Write another ``spec.json``, as another version of the software would have."""
    path = project.layout.find_run(run).spec
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def clear(project: Project, run: str) -> int:
    """Delete all outputs of a run on purpose, as gc does; return how many files that were."""
    directory = project.layout.find_run(run)
    files = json.loads(directory.outputs.read_text())["files"]
    cleared.add(directory, files, why="a test")
    for entry in files:
        (directory.out / entry["path"]).unlink()
    return len(files)


def step_of(project: Project, name: str) -> dict:
    """Return one step of the status."""
    return next(step for step in project.status()["steps"] if step["step"] == name)


def test_other_software_is_soft_and_nothing_is_to_do(project: Project, monkeypatch: pytest.MonkeyPatch):
    """Made with another version: the state says so with both versions, and `run` does nothing."""
    project.run()
    now = environment.software()
    monkeypatch.setattr(environment, "software", lambda: {**now, "staproj": "99.1", "git": "abc"})
    step = step_of(project, "shift")
    assert (step["state"], step["to_do"]) == ("soft", False)
    found = {r["field"]: (r["kind"], r["old"], r["new"]) for r in step["reasons"]}
    assert found["staproj"] == ("software", now["staproj"], "99.1")
    assert set(states(project).values()) == {"soft"}
    toy.CALLS.clear()
    assert {d["action"] for d in project.run()} == {"fresh"}
    assert toy.CALLS == []
    edit(project, "offset_px = 2.0", "offset_px = 7.0")
    assert reasons(project, "shift") == [("param", "shift.offset_px", 2.0, 7.0)]


@pytest.mark.parametrize("field", ["record_format", "preimage.format"])
@pytest.mark.parametrize("value", [0, 7])
def test_records_that_cannot_be_compared_are_unknown_and_left(project: Project, field: str, value: int):
    """An older or newer form of record gives unknown, never a silent rerun; `rerun` makes it anew."""
    project.run()

    def change(data: dict) -> None:
        table = data if field == "record_format" else data["preimage"]
        table[field.rpartition(".")[2]] = value

    change_spec(project, "r0002", change)
    edit(project, "offset_px = 2.0", "offset_px = 7.0")
    step = step_of(project, "shift")
    assert (step["state"], step["to_do"]) == ("unknown", False)
    assert step["reasons"] == [{"kind": "unknown", "field": field, "old": value, "new": 1}]
    assert states(project)["again"] == "fresh"
    toy.CALLS.clear()
    assert {d["step"]: d["action"] for d in project.run()}["shift"] == "kept"
    assert toy.CALLS == []
    project.rerun("shift")
    assert states(project)["shift"] == "fresh"
    assert states(project)["again"] == "stale"


def test_a_newer_record_without_the_parts_we_know_is_unknown_too(project: Project):
    """What a later version may have left out or renamed does not make it damage."""
    project.run()
    change_spec(project, "r0004", lambda data: (data.clear(), data.update(record_format=9, run="r0004")))
    assert step_of(project, "mean")["state"] == "unknown"
    assert step_of(project, "copy")["state"] == "fresh"


def test_cleared_outputs_stay_fresh_and_are_made_again_when_needed(project: Project):
    """Cleared on purpose: nothing to do, consumers fresh; a consumer that must run brings them back."""
    project.run()
    count = clear(project, "r0002")
    step = step_of(project, "shift")
    assert (step["state"], step["to_do"]) == ("missing-recreatable", False)
    assert [(r["kind"], r["field"], r["old"]) for r in step["reasons"]] == [
        ("cleared", "runs/r0002-shift", count)
    ]
    assert states(project)["again"] == "fresh"
    toy.CALLS.clear()
    assert {d["action"] for d in project.run()} == {"fresh"}
    assert toy.CALLS == []
    project.run(sets={"mean.weight": 2})
    assert not project.layout.find_run("r0002").artifact("tilt_series", "TS_01").exists()
    project.run(sets={"again.offset_px": 4})
    assert states(project)["shift"] == "fresh"
    assert project.layout.find_run("r0002").artifact("tilt_series", "TS_01").exists()


def test_files_that_cannot_be_made_again_are_lost(project: Project):
    """Raw data gone and the import's outputs gone: lost, and it says what blocks it."""
    project.run()
    shutil.rmtree(project.root / "raw")
    (project.layout.find_run("r0001").out / "TS_02" / "stack.bin").unlink()
    step = step_of(project, "import")
    assert step["state"] == "missing-lost"
    assert step["reasons"][0]["kind"] == "lost"
    assert step["reasons"][0]["new"]
    assert states(project)["shift"] == "fresh"
    view = View.open(project.root)
    assert recreate.recreatable(view, "r0001")[0] is False


def test_files_lost_by_accident_are_made_again(project: Project):
    """Deleted by hand, not cleared: recreatable and to do; many files are not listed one by one."""
    project.run()
    for path in (project.layout.find_run("r0002").out).rglob("stack.bin"):
        path.unlink()
    step = step_of(project, "shift")
    assert (step["state"], step["to_do"]) == ("missing-recreatable", True)
    assert {r["kind"] for r in step["reasons"]} == {"output"}
    project.run()
    assert set(states(project).values()) == {"fresh"}


def test_a_run_elsewhere_does_not_make_a_fresh_step_run(project: Project):
    """The newest run is on another machine and the head is fresh: unreachable, and nothing to do."""
    project.run()
    run = runs.reserve(Layout(project.root), "shift")
    run.state.write_text(json.dumps({"event": "started", **this_process(), "host": "elsewhere"}) + "\n")
    step = step_of(project, "shift")
    assert (step["state"], step["to_do"]) == ("unreachable", False)
    assert {d["action"] for d in project.run()} == {"fresh"}


@pytest.mark.parametrize("event", ["started", "queued"])
def test_a_run_that_is_going_on_says_how_far_it_is(project: Project, event: str):
    """Running says items done and the last message, queued what it waits for; neither is started twice."""
    project.run()
    edit(project, "offset_px = 2.0", "offset_px = 7.0")
    run = runs.reserve(Layout(project.root), "shift")
    runs.note(run, event, message="waits for 2 slots", **this_process())
    beat = {"items_done": 1, "items_total": 3, "item": "TS_02", "message": "adding"}
    run.heartbeat.write_text(json.dumps(beat))
    step = step_of(project, "shift")
    assert step["state"] == {"started": "running", "queued": "queued"}[event]
    assert step["latest"] == "r0007"
    told = {"started": "r0007: 1 of 3 done, TS_02, adding", "queued": "r0007: waits for 2 slots"}
    assert step["going_on"] == told[event]
    assert told[event] in "\n".join(report.status_lines(project.status()))
    with pytest.raises(LockedError):
        project.run()


def test_a_rerun_that_is_going_on_does_not_keep_the_rest_from_running(project: Project):
    """The head of the step is good meanwhile: other steps are brought up to date beside it."""
    project.run()
    run = runs.reserve(Layout(project.root), "shift")
    runs.note_started(run, 1)
    assert (step_of(project, "shift")["state"], step_of(project, "shift")["to_do"]) == ("running", False)
    done = {d["step"]: d["action"] for d in project.run(sets={"other.weight": 2})}
    assert (done["shift"], done["other"]) == ("fresh", "run")


def test_every_state_has_a_word_of_the_list(project: Project):
    """Only words of the list are ever given as a state."""
    assert set(states(project).values()) <= set(why.STATES)
    project.run(["shift"])
    assert set(states(project).values()) <= set(why.STATES)


def test_an_unchanged_project_opens_no_payload(project: Project):
    """Status, why and a run with nothing to do open small records only: no file below out/, no raw data."""
    project.run()
    project.status()
    OPENED.clear()
    WATCHING[0] = True
    try:
        project.status()
        project.why("copy")
        project.run()
    finally:
        WATCHING[0] = False
    inside = [Path(name) for name in OPENED if name.startswith(str(project.root))]
    assert inside
    assert [p for p in inside if "out" in p.parts or "raw" in p.parts or p.suffix == ".h5"] == []
    assert sum(p.stat().st_size for p in inside if p.name in ("spec.json", "outputs.json")) > 0


def test_each_record_is_opened_once(project: Project):
    """Status reads the records of heads, each once, however many runs there are."""
    project.run()
    for value in (3, 4, 5):
        project.rerun("mean", sets={"weight": value})
    OPENED.clear()
    WATCHING[0] = True
    try:
        project.status()
    finally:
        WATCHING[0] = False
    specs = [name for name in OPENED if name.endswith("spec.json")]
    assert len(specs) == len(set(specs)) <= 7


def test_accept_keeps_what_was_made_fresh_and_can_be_taken_back(project: Project):
    """Consumers of OLD are fresh with NEW as their input, why says so; after --undo they are stale again."""
    project.run()
    project.rerun("shift", sets={"offset_px": 2.5})
    assert states(project)["again"] == "stale"
    told = project.history.accept("r0007", "r0002", why="a quarter of a pixel")
    assert told["outputs"] == [f"TS_0{n}.tilt_series" for n in (1, 2, 3)]
    assert {m["field"]: (m["old"], m["new"]) for m in told["metrics"]}["mean_px"] == (22.0, 22.5)
    assert set(states(project).values()) == {"fresh"}
    assert project.why("again")["notes"] == ["accepted: r0007 may stand for r0002 (a quarter of a pixel)"]
    assert {d["action"] for d in project.run()} == {"fresh"}
    assert [e["new"] for e in project.history.accepted()] == ["r0007"]
    with pytest.raises(UsageError, match="nothing was accepted"):
        project.history.unaccept("r0007", "r0001")
    project.history.unaccept("r0007", "r0002")
    assert project.history.accepted() == []
    assert states(project)["again"] == "stale"


def test_accept_of_one_tilt_series_holds_for_that_one(project: Project):
    """With --item the others stay stale."""
    project.run()
    project.rerun("shift", sets={"offset_px": 2.5})
    project.history.accept("r0007", "r0002", items=["TS_02"])
    fields = [r[1] for r in reasons(project, "again") if r[0] == "input"]
    assert fields == ["shift.TS_01.tilt_series", "shift.TS_03.tilt_series"]
    with pytest.raises(UsageError, match="TS_09"):
        project.history.accept("r0007", "r0002", items=["TS_09"])


def test_accept_chains_and_refuses_what_makes_no_sense(project: Project):
    """r8 for r7 and r7 for r2: r8 for r2. Equal runs, other outputs and unknown runs are refused."""
    project.run()
    project.rerun("shift", sets={"offset_px": 2.5})
    project.rerun("shift", sets={"offset_px": 2.6})
    project.history.accept("r0007", "r0002")
    project.history.accept("r0008", "r0007")
    assert states(project)["again"] == "fresh"
    for new, old, word in (
        ("r0002", "r0002", "itself"),
        ("r0004", "r0002", "in common"),
        ("r0099", "r0002", "r0099"),
    ):
        with pytest.raises(UsageError, match=word):
            project.history.accept(new, old)
    same = project.rerun("shift")["run"]
    with pytest.raises(UsageError, match="equal"):
        project.history.accept(same, "r0008")


def test_a_damaged_list_of_accepted_runs_is_said_and_stops_nothing(project: Project):
    """Nothing counts as accepted then; the warning names the file; a comment in a good one survives."""
    project.run()
    project.rerun("shift", sets={"offset_px": 2.5})
    path = project.layout.accepted
    path.parent.mkdir(exist_ok=True)
    path.write_text("# ours\n")
    project.history.accept("r0007", "r0002")
    assert path.read_text().startswith("# ours\n")
    path.write_text(path.read_text() + "[[accepted")
    assert states(project)["again"] == "stale"
    assert any("accepted.toml" in note for note in project.notes())
