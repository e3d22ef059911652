"""The forms that start work, without a terminal: what was typed, what it means, what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from staproj.api import param_forms
from staproj.api.starting import How, Plan, read_values, typed
from staproj.errors import LockedError, StorageError
from staproj.stages import registry
from staproj.tui import form_how, form_plan, forms
from staproj.tui.form_preview import preview_lines
from staproj.tui.form_work import refusal_lines
from staproj.tui.forms import Form
from staproj.tui.look import Look

LOOK = Look()
ROOM = {
    "host": "vm",
    "cpu_slots": 4,
    "cpus_free": 4,
    "cpus_needed": 4,
    "gpus": 0,
    "gpus_free": 0,
    "now": True,
    "holders": [],
    "waiting": 0,
}


def resolved(stage: str, last: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    """Return values of a step as the API does: defaults, but for ``values``; a head that had ``last``."""
    described = param_forms.describe(registry.get(stage))
    return {
        "step": stage,
        "stage": stage,
        "item": None,
        "items": ["TS_01", "TS_02"],
        "head": "r0007" if last is not None else None,
        "manifest": "",
        "problem": "",
        "params": [
            {
                **entry,
                "value": values.get(name, entry["default"]),
                "layer": "step" if name in values else "default",
                "last": None if last is None else last.get(name, entry["default"]),
            }
            for name, entry in described.items()
        ],
    }


def form(stage: str = "ctf", run: str | None = None, **more: Any) -> Form:
    """Return a form of a stage."""
    made = Form(stage, run)
    made.take(resolved(stage, **more))
    return made


def cells(made: Form, name: str) -> list[str]:
    """Return the words of one row."""
    row = next(row for row in forms.value_rows(made, LOOK) if row.key == name)
    return [cell if isinstance(cell, str) else cell[0] for cell in row.cells]


def texts(lines: list[Any]) -> str:
    """Return lines as one text."""
    return "\n".join(line if isinstance(line, str) else line[0] for line in lines)


def test_what_is_typed_stands_over_the_value_until_it_is_taken_back() -> None:
    """A typed value is marked, counted and undone; typing what stands beneath it takes the mark away."""
    made = form(last={"defocus_max_um": 6.0})
    assert made.text("defocus_max_um") == "8.0"
    made.put("defocus_max_um", "6")
    assert (made.text("defocus_max_um"), made.asked()) == ("6", {"defocus_max_um": "6"})
    assert cells(made, "defocus_max_um") == ["≠", "defocus_max_um", "6", "µm", "8.0", "typed", "6.0"]
    made.put("fit_low_angstrom", "40")
    assert made.undo()
    assert set(made.edits) == {"defocus_max_um"}
    made.put("defocus_max_um", "8")
    assert made.edits == {}
    assert made.undo()
    assert made.edits == {"defocus_max_um": "6"}
    assert made.undo()
    assert made.edits == {}
    assert not made.undo()


def test_how_many_values_differ_from_the_last_run() -> None:
    """Values of the manifest that the last run did not have count, as those that were typed do."""
    made = form(last={"defocus_max_um": 6.0})
    assert forms.status_words(made, 2) == ("1 of 9 differs from r0007; for all 2 tilt series", "")
    made.put("fit_low_angstrom", "40")
    made.put("defocus_max_um", "6.0")
    words, level = forms.status_words(made, 2)
    assert (words, level) == ("2 typed; 1 of 9 differs from r0007; for all 2 tilt series", "warning")
    assert [name for name, _, _ in made.differing()] == ["fit_low_angstrom"]
    assert forms.status_words(form(), 2)[0].startswith("never run yet")


def test_what_does_not_fit_stays_as_typed_and_is_named() -> None:
    """A wrong value is kept, marked and explained with bound and unit."""
    made = form()
    made.put("defocus_max_um", "30")
    assert made.text("defocus_max_um") == "30"
    assert made.problems() == {"defocus_max_um": "must be <= 20 µm"}
    assert cells(made, "defocus_max_um")[0] == "✗"
    assert forms.status_words(made, 0) == ("defocus_max_um: must be <= 20 µm", "error")
    assert "30: must be <= 20 µm" in texts(forms.help_lines(made, "defocus_max_um", {}))
    made.put("defocus_max_um", "")
    assert "number" in made.problem("defocus_max_um")


def test_reset_goes_to_the_default_of_the_stage() -> None:
    """The default is what the declaration says, not what the manifest says."""
    made = form(defocus_max_um=5.0)
    assert (made.text("defocus_max_um"), made.default("defocus_max_um")) == ("5.0", "8.0")
    made.put("defocus_max_um", made.default("defocus_max_um"))
    assert made.asked() == {"defocus_max_um": "8.0"}
    assert made.default("fit_high_angstrom") == "none"


def test_choices_turn_and_numbers_are_typed() -> None:
    """Booleans and choices go round; a number that also takes a word is typed."""
    made = form()
    assert made.options("defocus_hand") == ["auto", "-1", "1"]
    assert made.turned("defocus_hand", 1) == "-1"
    assert made.turned("defocus_hand", -1) == "1"
    assert made.turned("defocus_max_um", 1) is None
    clean = form("clean")
    assert (clean.options("remove_xrays"), clean.turned("remove_xrays", 1)) == (["true", "false"], "false")
    assert form("position").options("thickness_angstrom") == []


def test_several_values_are_variants() -> None:
    """Each value is checked; combinations are counted; more than 64 are refused in words."""
    made = form()
    made.put("defocus_max_um", "6, 8,10")
    assert made.sweep() == {"defocus_max_um": [6, 8, 10]}
    assert "3 values: makes 3 variants side by side" in forms.status_words(made, 2)[0]
    made.put("defocus_hand", "auto,1")
    assert "makes 6 variants" in forms.sweep_words(made)
    assert len(made.combinations()) == 6
    assert made.combinations()[0] == {"defocus_max_um": 6, "defocus_hand": "auto"}
    made.put("fit_low_angstrom", ",".join(str(20 + n) for n in range(12)))
    assert "72 variants, more than 64" in forms.sweep_words(made)
    made.put("defocus_max_um", "6,80")
    assert made.problems() == {"defocus_max_um": "80: must be <= 20 µm"}


def test_a_form_that_starts_from_a_run_has_its_values() -> None:
    """Values of an old run stand beneath; the manifest gets all that differs, a rerun what was typed."""
    made = Form("ctf", "r0003")
    made.take(
        resolved("ctf", last={}),
        {"values": {"defocus_max_um": 4.0, "of_old": 1}, "items": {"TS_01": {"defocus_max_um": 3.0}}},
    )
    assert made.text("defocus_max_um") == "4.0"
    assert cells(made, "defocus_max_um")[-2] == "r0003"
    made.put("fit_low_angstrom", "40")
    assert made.asked() == {"fit_low_angstrom": "40"}
    assert made.over_manifest() == {"defocus_max_um": "4.0", "fit_low_angstrom": "40"}
    assert "from the values of r0003" in forms.status_words(made, 2)[0]


def test_values_for_some_tilt_series() -> None:
    """What cannot differ between tilt series is refused for some; their own values are told and replaced."""
    made = form("motion")
    made.items = ["TS_02"]
    made.put("hot_pixel_sd", "9")
    rows = forms.series_rows(["TS_01", "TS_02"], {"TS_01": {"hot_pixel_sd": 7.0}}, made)
    told = {row.key: row.cells[1][0] for row in rows}
    assert told == {"TS_01": "hot_pixel_sd = 7.0", "TS_02": "hot_pixel_sd = 9"}
    assert forms.status_words(made, 2)[0].endswith("for TS_02 only")
    made.items = []
    told = {
        row.key: row.cells[1][0]
        for row in forms.series_rows(["TS_01"], {"TS_01": {"hot_pixel_sd": 7.0}}, made)
    }
    assert told == {"TS_01": "hot_pixel_sd = 7.0 -> 9"}
    lines = texts(forms.help_lines(made, "hot_pixel_sd", {"TS_01": {"hot_pixel_sd": 7.0}}))
    assert "TS_01: 7.0 (typed for all, so theirs are replaced too)" in lines
    whole = form("import_movies")
    whole.items = ["TS_01"]
    assert "cannot differ between tilt series" in whole.problem("amplitude_contrast", "0.1")


def test_new_values_beneath_keep_what_was_typed() -> None:
    """When the manifest changes meanwhile, edits stay on top of the new values."""
    made = form()
    made.put("defocus_max_um", "6")
    made.take(resolved("ctf", defocus_max_um=7.0, fit_low_angstrom=30.0))
    assert (made.text("defocus_max_um"), made.text("fit_low_angstrom")) == ("6", "30.0")


def test_values_are_read_as_the_command_line_reads_them() -> None:
    """Commas part values, semicolons those that hold commas; none only where the default is none."""
    assert read_values("reconstruct", "binning", "[4, 2]; [4]") == ([[4, 2], [4]], "")
    assert read_values("ctf", "fit_high_angstrom", "none") == ([None], "")
    assert read_values("ctf", "defocus_max_um", "none")[0] == []
    assert read_values("ctf", "nonsense", "1")[1].startswith("stage 'ctf' has no parameter")
    for name, value in (("defocus_hand", -1), ("fit_high_angstrom", None), ("fit_low_angstrom", 12.5)):
        assert read_values("ctf", name, typed("ctf", name, value)) == ([value], "")


@pytest.mark.parametrize(
    ("name", "text", "good"),
    [
        ("threads", "", True),
        ("threads", "3", True),
        ("threads", "0", False),
        ("threads", "two", False),
        ("jobs", "", False),
        ("jobs", "2", True),
        ("priority", "-5", True),
        ("priority", "10000000", False),
        ("device", "tpu", False),
        ("note", "why not", True),
    ],
)
def test_how_is_checked_as_one_types(name: str, text: str, good: bool) -> None:
    """Numbers that mean nothing are refused before a job is made of them."""
    assert (form_how.problem(name, text) == "") is good


def test_how_changes_and_turns() -> None:
    """Choices go round, numbers go up and down but not below what makes sense, no threads means all."""
    how = form_how.changed(How(), "threads", "2")
    assert how == How(threads=2)
    assert form_how.turned(form_how.turned(how, "threads", -1), "threads", -1) == How()
    assert form_how.turned(How(), "jobs", -1) == How()
    assert form_how.turned(How(), "device", -1).device == "gpu"
    assert form_how.turned(How(), "force", 1).force
    assert form_how.turned(How(), "note", 1) == How()
    told = {row.key: row.cells for row in form_how.rows(How(note="x"), ROOM, LOOK, run=True)}
    assert told["note"][2][0] == "x"
    assert told["threads"][3][0] == "all of 4 CPU slots"
    assert told["device"][3][0] == "no GPU here"
    assert "keep_going" not in form_how.names(run=False)


def test_now_or_in_the_queue() -> None:
    """A busy machine says who holds it; the start says that it waits."""
    assert form_how.when_words(ROOM) == ("at once", "4 of 4 CPU slots free")
    holder = {"run": "r0002", "step": "motion", "project": "p", "cpus": 4}
    busy = {**ROOM, "now": False, "cpus_free": 0, "holders": [holder], "waiting": 1}
    value, words = form_how.when_words(busy)
    assert value == "waits for its turn"
    assert words == "needs 4, 0 of 4 CPU slots free, held by r0002 motion; 1 wait in front"
    job = {"job": "j0003", "notes": ["begun with --force"]}
    assert (
        form_how.started_words(job, ROOM) == "j0003 has begun, it goes on when you leave; begun with --force"
    )
    assert form_how.started_words(job, busy).startswith("j0003 is queued: needs 4")


def expected(**more: Any) -> dict[str, Any]:
    """Return what work takes, as the API does."""
    return {
        "steps": [],
        "wall_s": 75.0,
        "bytes": 2_000_000,
        "unknown_time": [],
        "unknown_bytes": [],
        "free_bytes": 10_000_000_000,
        "fits": True,
        **more,
    }


def test_the_preview_says_what_will_come_of_it() -> None:
    """What differs, what becomes stale, time, disk, when it begins, and the command."""
    made = form(last={})
    made.put("defocus_max_um", "6")
    change = {"field": "ctf.defocus_max_um", "item": None, "old": 8.0, "new": 6}
    preview = {"changes": [change], "stale": ["mask", "fsc"], "expected": expected(), "problem": ""}
    lines = preview_lines(made, {"preview": preview, "room": ROOM}, ["rerun", "ctf", "--set", "a=1 2"])
    said = texts(lines)
    for words in (
        "differs from r0007, the last run\n  defocus_max_um: 8 -> 6 µm",
        "becomes stale\n  mask, fsc",
        "time: about 1 min 15 s",
        "10.0 GB are free",
        "begins: at once",
        "staproj rerun ctf --set 'a=1 2'",
    ):
        assert words in said
    full = {**preview, "expected": expected(fits=False), "problem": "clean was never made"}
    said = texts(preview_lines(made, {"preview": full, "problem": "no", "room": None}, ["run"]))
    assert "cannot be started like this\n  no" in said
    assert "the tab how has force" in said
    assert "runs ctf and what it needs\n  clean was never made: that is done first" in said


def test_the_preview_of_a_sweep_lists_the_variants() -> None:
    """Each variant has a line with its value; the steps that are copied are named."""
    made = form(last={})
    made.put("defocus_max_um", "6,10")
    sweep = {"count": 2, "steps": ["ctf", "mask"], "expected": expected()}
    said = texts(preview_lines(made, {"sweep": sweep}, ["rerun", "ctf"]))
    assert "2 values: makes 2 variants side by side" in said
    assert "copies ctf, mask" in said
    assert "  defocus_max_um = 6\n  defocus_max_um = 10" in said
    assert "becomes stale" not in said


def plan(actions: dict[str, str], work: list[str], **more: Any) -> Plan:
    """Return a plan with steps in order and their actions."""
    steps = [
        {"step": name, "action": action, "run": None, "reasons": [], "brings_back": []}
        for name, action in actions.items()
    ]
    takes = [{"step": name, "wall_s": None, "bytes": 2_000_000} for name in work]
    return Plan("run", {}, expected(steps=takes), ["run"], steps, work, **more)


def test_a_plan_shows_what_is_to_run_and_what_of_it_is_meant() -> None:
    """Fresh steps are left out, steps outside the chosen part not ticked; what nobody knows is a "?"."""
    actions = {"a": "fresh", "b": "run", "c": "run", "d": "kept"}
    whole = plan(actions, ["b", "c"])
    part = plan({"b": "run"}, ["b"])
    rows = form_plan.plan_rows(whole, part, LOOK)
    assert [row.key for row in rows] == ["b", "c", "d"]
    assert [row.cells[0][0] for row in rows] == ["[x]", "[ ]", " -"]
    assert [cell[0] for cell in rows[0].cells[2:]] == ["?", "2.0 MB", "never run"]
    assert form_plan.status_words(whole, None, [], None)[0] == "R runs all 2 steps"
    assert form_plan.status_words(whole, part, [], "b")[0] == "R runs up to b: 1 of 2 steps"
    needs = plan({"b": "run", "c": "run"}, ["b", "c"])
    assert form_plan.status_words(whole, needs, ["c"], None)[0].endswith("needed for that: b")


def test_nothing_to_run_is_said_in_clear_words() -> None:
    """All fresh is one sentence, steps that cannot be compared another."""
    fresh = plan({"a": "fresh"}, [])
    assert form_plan.status_words(fresh, None, [], None)[0].startswith("everything is fresh: nothing to do")
    kept = plan({"a": "kept"}, [])
    assert "cannot be compared" in form_plan.status_words(kept, None, [], None)[0]
    assert form_plan.resume_words(None) == ""


def test_a_refusal_has_place_and_remedy() -> None:
    """An error that kept work from beginning is shown whole; a full disk names the tab that can force it."""
    said = texts(refusal_lines(LockedError("taken", where="r0001", hint="wait")))
    assert said.splitlines()[:2] == ["taken", "at: r0001"]
    assert "  wait" in said
    assert "force" not in said
    assert "the tab how has force" in texts(refusal_lines(StorageError("full", hint="make room")))
    assert "ValueError: odd" in texts(refusal_lines(ValueError("odd")))
