"""Values written into the manifest without a run: checked, looked at, previewed, set and reset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from pydantic import model_validator

from staproj.api import Project, settings
from staproj.cli.main import main
from staproj.errors import LockedError, ManifestError, StaprojError, UsageError
from staproj.kinds import ArtifactKind as Kind
from staproj.project import versions
from staproj.stages import registry
from staproj.stages.api import Params, Port, StageSpec, param
from staproj.units import Unit
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, states


class RangeParams(Params):
    """A range."""

    low_um: float = param(1.0, unit=Unit.MICROMETRE, gt=0, le=20, help="Least.")
    high_um: float = param(8.0, unit=Unit.MICROMETRE, gt=0, le=20, help="Most.")
    limit_px: float | None = param(None, unit=Unit.PIXEL, ge=0, help="None: no limit.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high_um <= self.low_um:
            raise ValueError("high_um must be larger than low_um")
        return self


RANGE = StageSpec(
    "toy_range",
    "A toy.",
    RangeParams,
    {"tilt_series": toy.IN},
    {"tilt_series": Port(Kind.TILT_SERIES, "Series.", per_item=True)},
    f"{toy.HERE}:run_shift",
)
RANGE_STEP = """
[step.range]
stage = "toy_range"
inputs = { tilt_series = "import" }
[step.range.params]
limit_px = 5.0
"""


@pytest.fixture
def ranged(ran: Project) -> Iterator[Project]:
    """Return a project with a step whose parameters must fit together; that step was never run."""
    with registry.temporarily(RANGE):
        ran.layout.manifest.write_text(ran.layout.manifest.read_text() + RANGE_STEP)
        yield ran


def manifest(project: Project) -> str:
    """Return the text of the manifest."""
    return project.layout.manifest.read_text()


def test_a_value_is_written_and_nothing_is_run(ran: Project) -> None:
    """One line of the manifest differs, its comment stays; the steps that depend on it are to do."""
    before, runs = manifest(ran), [run["run"] for run in ran.ls()]
    told = ran.settings.set({"shift.offset_px": "3.5"})
    assert told["changes"] == [{"field": "shift.offset_px", "item": None, "old": 2.0, "new": 3.5}]
    assert told["stale"] == ["shift", "again", "mean", "copy"]
    assert manifest(ran) == before.replace("offset_px = 2.0   # two", "offset_px = 3.5   # two")
    assert [run["run"] for run in ran.ls()] == runs
    assert states(ran)["shift"] == "stale"


def test_each_change_is_a_version_and_what_stood_is_kept(ran: Project) -> None:
    """A version holds the new manifest; one more holds what a person had written and nobody had kept."""
    count = len(ran.versions())
    ran.settings.set({"shift.offset_px": 3.0})
    assert len(ran.versions()) == count + 1
    assert ran.versions()[0]["why"] == "set shift.offset_px"
    edit(ran, "offset_px = 3.0", "offset_px = 7.0")
    mine = manifest(ran)
    ran.settings.set({"shift.offset_px": 4.0})
    kept = [versions.read(ran.layout, number).manifest for number in versions.numbers(ran.layout)]
    assert kept[-2:] == [mine, manifest(ran)]


def test_what_stands_already_is_not_written_again(ran: Project) -> None:
    """The same value changes nothing: no version, no byte."""
    before, count = ran.layout.manifest.stat(), len(ran.versions())
    assert ran.settings.set({"shift.offset_px": 2}) == {"changes": [], "stale": []}
    assert ran.settings.set({}, reset=["again.offset_px"])["changes"] == []
    assert len(ran.versions()) == count
    assert ran.layout.manifest.stat().st_mtime_ns == before.st_mtime_ns


def test_one_tilt_series_gets_a_value_and_loses_it_again(ran: Project) -> None:
    """With items only theirs is stale; reset leaves the manifest as it was, without an empty table."""
    before = manifest(ran)
    told = ran.settings.set({"shift.offset_px": 9}, ["TS_02"])
    assert told["changes"] == [{"field": "shift.offset_px", "item": "TS_02", "old": 2.0, "new": 9.0}]
    assert "[step.shift.item.TS_02]\noffset_px = 9" in manifest(ran)
    values = {item: ran.settings.resolved("shift", item)["params"][0] for item in ("TS_01", "TS_02")}
    assert [values[item]["value"] for item in values] == [2.0, 9.0]
    assert [values[item]["layer"] for item in values] == ["step", "item"]
    told = ran.settings.set({}, ["TS_02"], ["shift.offset_px"])
    assert told == {
        "changes": [{"field": "shift.offset_px", "item": "TS_02", "old": 9.0, "new": 2.0}],
        "stale": [],
    }
    assert manifest(ran) == before


def test_a_reset_of_the_step_takes_those_of_its_tilt_series_along(ran: Project) -> None:
    """The default holds for every tilt series; a table with a remark stays, whatever is left in it."""
    ran.settings.set({"shift.offset_px": 9}, ["TS_01"])
    edit(ran, "[step.shift.item.TS_01]\n", "[step.shift.item.TS_01]\n# bad ice\n")
    told = ran.settings.set({}, reset=["shift.offset_px"])
    assert [(change["item"], change["new"]) for change in told["changes"]] == [(None, 1.0), ("TS_01", 1.0)]
    text = manifest(ran)
    assert "[step.shift.params]" not in text or "# two" in text
    assert "[step.shift.item.TS_01]\n# bad ice" in text
    assert "offset_px" not in text


def test_a_value_for_the_step_holds_for_all(ran: Project) -> None:
    """Without items the value takes the place of those of single tilt series."""
    ran.settings.set({"shift.offset_px": 9}, ["TS_01"])
    told = ran.settings.set({"shift.offset_px": 4})
    assert [(c["item"], c["old"], c["new"]) for c in told["changes"]] == [
        (None, 2.0, 4.0),
        ("TS_01", 9.0, 4.0),
    ]


@pytest.mark.parametrize(
    ("sets", "items", "reset", "words"),
    [
        ({"shift.offset_px": "far"}, None, (), "must be a number"),
        ({"shift.offset_px": 101}, None, (), "must be <= 100 px"),
        ({"shift.offset": 1}, None, (), "no parameter 'offset'"),
        ({"shfit.offset_px": 1}, None, (), "no step 'shfit'"),
        ({"offset_px": 1}, None, (), "does not say which step"),
        ({"shift.offset_px": 1}, ["TS_09"], (), "no tilt series 'TS_09'"),
        ({"shift.mode": "x"}, ["TS_01"], (), "cannot differ between tilt series"),
        ({"mean.weight": 2}, ["TS_01"], (), "runs once for the whole project"),
        ({"shift.rounded": "none"}, None, (), "must be true or false"),
        ({"shift.offset_px": 1}, None, ["shift.offset_px"], "both set and reset"),
        ({}, None, ["shift.offset"], "no parameter 'offset'"),
        ({}, None, ["shift"], "does not say which step"),
        ({}, None, ["import.movies"], "movies: must be set"),
        ({"range.low_um": 9}, None, (), "high_um must be larger than low_um"),
        ({"range.limit_px": "none"}, ["TS_01"], (), "step says 5.0"),
    ],
)
def test_what_does_not_fit_changes_nothing(
    ranged: Project, sets: dict[str, Any], items: list[str] | None, reset: list[str], words: str
) -> None:
    """A bad name or value is refused with its reason; neither the manifest nor the versions change."""
    before, count = manifest(ranged), len(ranged.versions())
    with pytest.raises(StaprojError, match=words):
        ranged.settings.set(sets, items, reset)
    assert manifest(ranged) == before
    assert len(ranged.versions()) == count


def test_values_that_fit_together_are_written_together(ranged: Project) -> None:
    """Two values of which each alone would break the range are fine in one go."""
    assert ranged.settings.check_all("range", {"low_um": 9}) != ""
    assert ranged.settings.check_all("range", {"low_um": 9, "high_um": 10}) == ""
    ranged.settings.set({"range.low_um": 9, "range.high_um": 10})
    with pytest.raises(ManifestError):
        ranged.settings.set({}, reset=["range.high_um"])
    ranged.settings.set({}, reset=["range.high_um", "range.low_um", "range.limit_px"])
    assert "[step.range.params]" not in manifest(ranged)


def test_none_is_written_by_leaving_the_key_out(ranged: Project) -> None:
    """None for the whole step takes the key out."""
    told = ranged.settings.set({"range.limit_px": "none"})
    assert told["changes"] == [{"field": "range.limit_px", "item": None, "old": 5.0, "new": None}]
    assert "limit_px" not in manifest(ranged)


def test_a_file_that_changed_since_is_not_written(ran: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person saved meanwhile stays: between form and writing, and within the writing too."""
    since = ran.settings.resolved("shift")["manifest"]
    edit(ran, "# two", "# zwei")
    mine = manifest(ran)
    with pytest.raises(LockedError):
        ran.settings.set({"shift.offset_px": 3}, since=since)
    assert manifest(ran) == mine

    def saved_meanwhile(text: str, edits: Any) -> str:
        edit(ran, "# zwei", "# deux")
        return text

    monkeypatch.setattr(settings, "without_empty", saved_meanwhile)
    with pytest.raises(LockedError):
        ran.settings.set({"shift.offset_px": 3})
    assert manifest(ran) == mine.replace("zwei", "deux")


def test_a_form_has_what_it_needs(ran: Project) -> None:
    """A parameter comes with type, unit, bounds, layer, default, and the value of the head."""
    ran.settings.set({"shift.offset_px": 3})
    found = ran.settings.resolved("shift")
    assert (found["step"], found["stage"], found["items"]) == (
        "shift",
        "toy_shift",
        ["TS_01", "TS_02", "TS_03"],
    )
    assert found["problem"] == ""
    offset, rounded, mode = found["params"]
    assert {name: offset[name] for name in ("name", "type", "unit", "value", "text", "default", "last")} == {
        "name": "offset_px",
        "type": "float",
        "unit": "px",
        "value": 3.0,
        "text": "3.0",
        "default": 1.0,
        "last": 2.0,
    }
    assert (offset["bounds"], offset["layer"], offset["per_item"]) == ({"ge": -100, "le": 100}, "step", True)
    assert (rounded["type"], rounded["layer"], mode["type"], mode["per_item"]) == (
        "bool",
        "default",
        "text",
        False,
    )
    movies, voltage, pixel = ran.settings.resolved("import")["params"]
    assert (movies["data_path"], movies["required"], voltage["layer"]) == (True, True, "microscope")
    assert (pixel["optional"], pixel["text"]) == (True, "none")


def test_a_broken_manifest_shows_in_the_form_and_can_be_mended(ran: Project) -> None:
    """A value out of bounds is shown with its problem, and setting a good one is possible."""
    edit(ran, "offset_px = 2.0", "offset_px = 500.0")
    found = ran.settings.resolved("shift")
    assert found["params"][0]["value"] == 500.0
    assert "must be <= 100" in found["problem"]
    told = ran.settings.set({"shift.offset_px": 2.0})
    assert told["changes"][0]["old"] == 500.0
    assert told["stale"] == []
    edit(ran, "offset_px = 2.0", "offset_px = 2.0\nofset_px = 2.0")
    ran.settings.set({}, reset=["shift.ofset_px"])
    assert ran.settings.resolved("shift")["problem"] == ""


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("low_um", "3", ""),
        ("low_um", " 3.5 ", ""),
        ("low_um", "0", "must be > 0 µm"),
        ("low_um", "", "must be a number > 0 and <= 20 µm"),
        ("low_um", "a  b", "must be a number > 0 and <= 20 µm"),
        ("low_um", "none", "must be a number > 0 and <= 20 µm"),
        ("limit_px", "none", ""),
        ("limit_px", "nan", "limit_px is nan, which is not a number to compute with"),
        ("deep", "1", "stage 'toy_range' has no parameter 'deep'"),
    ],
)
def test_text_is_checked_as_it_is_typed(ranged: Project, name: str, text: str, problem: str) -> None:
    """A value alone gives nothing, or one line that says what is wrong."""
    assert ranged.settings.check("range", name, text) == problem


def test_a_preview_says_what_a_rerun_does(ran: Project) -> None:
    """Changes and stale steps of a preview are those of the rerun after it; the preview writes nothing."""
    before, count = manifest(ran), len(ran.ls())
    told = ran.settings.preview("again", {"offset_px": "5", "rounded": True}, ["TS_01"])
    assert told["changes"] == [
        {"field": "again.offset_px", "item": "TS_01", "old": 1.0, "new": 5.0},
        {"field": "again.rounded", "item": "TS_01", "old": False, "new": True},
    ]
    assert told["command"] == [
        "staproj",
        "rerun",
        "again",
        "--set",
        "offset_px=5",
        "--set",
        "rounded=true",
        "--item",
        "TS_01",
    ]
    assert [step["step"] for step in told["expected"]["steps"]] == ["again"]
    assert (manifest(ran), len(ran.ls())) == (before, count)
    ran.rerun("again", sets={"offset_px": 5, "rounded": True}, items=["TS_01"])
    assert [step["step"] for step in ran.status()["steps"] if step["to_do"]] == told["stale"]


def test_a_preview_starts_from_a_run(ran: Project) -> None:
    """Parameters of an earlier run count as changes; the command names the run."""
    first = ran.status()["steps"][1]["run"]
    ran.rerun("shift", sets={"offset_px": 6})
    told = ran.settings.preview(first, {"rounded": "true"})
    assert {(c["field"], c["old"], c["new"]) for c in told["changes"]} == {
        ("shift.offset_px", 6.0, 2.0),
        ("shift.rounded", False, True),
    }
    assert told["command"] == ["staproj", "rerun", first, "--set", "rounded=true"]


def test_a_preview_of_what_cannot_run_yet(project: Project) -> None:
    """Where an input was never made there is no estimate but a reason; bad values still raise."""
    told = project.settings.preview("shift", {"offset_px": 5})
    assert (told["expected"], told["stale"]) == (None, [])
    assert "cannot run yet" in told["problem"]
    with pytest.raises(UsageError):
        project.settings.preview("shift", {"offset_px": "far"})


def test_an_older_schema_is_not_written(ran: Project) -> None:
    """A project that has to be migrated first is refused, untouched."""
    edit(ran, "schema = 2", "schema = 1")
    before = manifest(ran)
    with pytest.raises(StaprojError):
        ran.settings.set({"shift.offset_px": 3})
    assert manifest(ran) == before


@pytest.fixture
def told(
    ran: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return a function that calls ``staproj set`` in a project that was run, and returns what it says."""
    monkeypatch.chdir(ran.root)

    def call(*words: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as left:
            main(["set", *words])
        said = capsys.readouterr()
        assert left.value.code == code, said
        return said.out if code == 0 else said.err

    return call


def test_the_command_says_old_and_new(told: Callable[..., str]) -> None:
    """A line a value, then what is to be run."""
    assert told("shift.offset_px=3", "again.rounded=true").splitlines() == [
        "shift.offset_px: 2 -> 3",
        "again.rounded: no -> yes",
        "to run now: shift, again, mean, copy; `staproj run` does it",
    ]
    found = json.loads(told("shift.offset_px=4", "--item", "TS_01", "--item", "TS_03", "--json"))
    assert [change["item"] for change in found["changes"]] == ["TS_01", "TS_03"]
    assert told("--reset", "shift.offset_px", "--item", "TS_01").startswith(
        "shift.offset_px of TS_01: 4 -> 3\n"
    )
    assert told("shift.offset_px=3", "--item", "TS_02").splitlines()[0] == "shift.offset_px of TS_02: 3 -> 3"


def test_the_command_refuses_in_its_own_words(told: Callable[..., str]) -> None:
    """Hints show how this command is written."""
    assert "staproj set STEP.PARAM=VALUE" in told(code=2)
    said = told("shift.offset_px=far", code=2)
    assert "staproj set shift.offset_px=" in said
    assert "--set" not in said
    assert "--set" not in told("shift", code=2)


def test_everything_is_fresh_again_after_going_back(told: Callable[..., str], ran: Project) -> None:
    """Setting the old value again leaves nothing to do."""
    told("shift.offset_px=3")
    assert told("shift.offset_px=2").splitlines()[-1] == "everything is as it was made"
    assert set(states(ran).values()) == {"fresh"}


def test_a_link_in_place_of_the_manifest_is_refused(ran: Project, tmp_path: Path) -> None:
    """Nothing is written through a link that leads out of the project."""
    real = tmp_path / "elsewhere.toml"
    ran.layout.manifest.rename(real)
    ran.layout.manifest.symlink_to(real)
    before = real.read_text()
    with pytest.raises(StaprojError):
        ran.settings.set({"shift.offset_px": 3})
    assert real.read_text() == before
