"""Variants: several values of a parameter side by side, with all that depends on the step."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable

import pytest

from staproj.api import Project
from staproj.cli.main import main
from staproj.errors import StageError, UsageError
from staproj.project import manifest_steps
from staproj.project.manifest import STEP_NAME
from staproj.report import compare as report
from tests.integration import toy_stages as toy
from tests.integration.conftest import states

CHAIN = ("shift", "again", "mean", "copy")


@pytest.fixture
def project(ran: Project) -> Project:
    """Return a project that was run already; `run` finds nothing to do in it."""
    return ran


def text_of(project: Project) -> str:
    """Return the manifest."""
    return (project.root / "staproj.toml").read_text()


def totals(project: Project, names: tuple[str, ...]) -> list[float]:
    """Return what the last mean of each variant came to."""
    return [project.record(f"mean-{name}").item().metrics["total"] for name in names]


def test_three_values_make_three_chains_and_the_one_that_is_there_costs_nothing(project: Project):
    """Each variant has the results of its value; what equals the base is taken over, not computed."""
    project.run()
    before = text_of(project)
    toy.CALLS.clear()
    done = project.variants.rerun("shift", {"offset_px": "2,5,7"})
    names = ("offset_px-2", "offset_px-5", "offset_px-7")
    assert [one["variant"] for one in done["variants"]] == list(names)
    assert [s["step"] for s in done["steps"]][1:5] == [f"{step}-offset_px-2" for step in CHAIN]
    assert totals(project, names) == [6 * 69, 6 * 78, 6 * 84]
    assert toy.CALLS.count(("toy_shift", "TS_01")) == 4  # two steps of two variants
    assert toy.CALLS.count(("toy_mean", None)) == 2
    assert set(states(project).values()) == {"fresh"}
    assert text_of(project).startswith(before.rstrip("\n"))
    again = project.variants.rerun("shift", {"offset_px": ["7", "5"]})
    assert [one["new"] for one in again["variants"]] == [False, False]
    assert {s["action"] for s in again["steps"]} == {"fresh"}


def test_remove_gives_the_manifest_back_and_keeps_runs(project: Project):
    """After remove the file is as it was, byte for byte; runs are there; making it again computes nothing."""
    project.run()
    before = text_of(project)
    project.variants.rerun("shift", {"offset_px": "5,7"})
    runs = len(project.ls())
    project.variants.remove("offset_px-5")
    assert "offset_px-5" not in text_of(project)
    project.variants.remove("offset_px-7")
    assert text_of(project) == before
    assert len(project.ls()) == runs
    assert set(states(project)) == {"import", "shift", "again", "mean", "other", "copy"}
    toy.CALLS.clear()
    done = project.variants.rerun("shift", {"offset_px": "5,7"})
    assert {s["action"] for s in done["steps"]} == {"fresh"}
    assert toy.CALLS == []


def test_several_parameters_combine_and_until_ends_the_chain(project: Project):
    """Two parameters of two steps: four variants, named after both; ``until`` copies no further."""
    project.run()
    made = project.variants.create("shift", {"offset_px": "1,2", "again.offset_px": "3,4"}, until="again")
    assert [one["variant"] for one in made] == [
        f"offset_px-{a}-again_offset_px-{b}" for a in (1, 2) for b in (3, 4)
    ]
    assert all([s.split("-")[0] for s in one["steps"]] == ["shift", "again"] for one in made)
    data = tomllib.loads(text_of(project))["step"]
    last = data["again-offset_px-2-again_offset_px-4"]
    assert last["params"] == {"offset_px": 4}
    assert last["inputs"] == {"tilt_series": "shift-offset_px-2-again_offset_px-4"}
    assert last["variant"] == {"of": "shift", "name": "offset_px-2-again_offset_px-4", "copy": "again"}


def test_lists_take_semicolons_and_words_take_commas(project: Project):
    """``;`` stands between values with commas in them; text that any text parameter takes is one value."""
    project.run()
    made = project.variants.create(
        "import", {"movies": '["raw/TS_01.txt"]; ["raw/TS_02.txt", "raw/TS_03.txt"]'}
    )
    assert [one["values"]["import.movies"] for one in made] == [
        ["raw/TS_01.txt"],
        ["raw/TS_02.txt", "raw/TS_03.txt"],
    ]
    assert not project.variants.asked_for("shift", {"mode": "a,b"})
    assert project.variants.asked_for("shift", {"mode": "a;b"})
    assert project.variants.asked_for("shift", {"rounded": "true,false"})


@pytest.mark.parametrize(
    ("step", "sets", "word"),
    [
        ("shift", {"ofset_px": "1,2"}, "offset_px"),
        ("shft", {"offset_px": "1,2"}, "shift"),
        ("shift", {"offset_px": "1,200"}, "takes a number"),
        ("shift", {"offset_px": "1,two"}, "takes a number"),
        ("shift", {"import.voltage_kv": "200,300"}, "can be varied"),
        ("shift", {"offset_px": ",".join(str(n) for n in range(65))}, "fewer"),
        ("shift", {"offset_px": "1,2,3,4,5,6,7,8,9", "again.offset_px": "1,2,3,4,5,6,7,8"}, "fewer"),
    ],
)
def test_refusals_say_what_would_do_and_write_nothing(project: Project, step: str, sets: dict, word: str):
    """Unknown names, values that do not fit, and too many variants are refused before anything is written."""
    project.run(["shift"])
    before = text_of(project)
    with pytest.raises(UsageError) as info:
        project.variants.create(step, sets)
    assert word in f"{info.value.message} {info.value.hint}"
    assert text_of(project) == before


def test_until_must_depend_on_the_step(project: Project):
    """Another branch, or a step that does not exist, is named."""
    for until, word in (("other", "does not depend"), ("men", "no step")):
        with pytest.raises(UsageError, match=word):
            project.variants.create("shift", {"offset_px": "1,2"}, until=until)


def test_variants_of_variants_and_long_names(project: Project):
    """A variant can be varied again; names stay usable step names of at most 64 characters."""
    project.run()
    project.variants.create("shift", {"offset_px": "5,6"}, name="a-rather-long-name-for-a-set-of-values")
    deep = "shift-a-rather-long-name-for-a-set-of-values-5"
    made = project.variants.create(deep, {"mode": "plain;other", "offset_px": "7,8"})
    assert len(made) == 4
    steps = [step for one in made for step in one["steps"]]
    assert len(set(steps)) == 16
    assert all(STEP_NAME.match(step) for step in steps)
    assert {one["of"] for one in made} == {deep}
    base = project.variants.create("shift", {"offset_px": "1,3"})
    assert len(base[0]["steps"]) == len(CHAIN)  # variants that hang below are not copied along


def test_names_that_are_taken_get_a_number(project: Project):
    """A step that happens to be called so already stays as it is."""
    with (project.root / "staproj.toml").open("a") as manifest:
        manifest.write('\n[step.mean-offset_px-5]\nstage = "toy_mean"\ninputs = { tilt_series = "import" }\n')
    made = project.variants.create("shift", {"offset_px": "5,6"})
    assert [one["variant"] for one in made] == ["offset_px-5-2", "offset_px-6"]


def test_one_variant_that_fails_does_not_stop_the_others(project: Project, monkeypatch: pytest.MonkeyPatch):
    """The error names what failed; the other chain is complete."""
    project.run()

    def fail_five(ctx: object) -> None:
        if "offset_px-5" in str(ctx.out_dir()):  # type: ignore[attr-defined]
            raise ValueError("not with five")

    toy.SWITCH["TS_02"] = fail_five
    with pytest.raises(StageError, match="not with five"):
        project.variants.rerun("shift", {"offset_px": "5,7"})
    found = states(project)
    assert found["shift-offset_px-5"] == "failed"
    assert found["mean-offset_px-5"] == "never-run"
    assert found["copy-offset_px-7"] == "fresh"


def test_overrides_of_items_and_outside_inputs(project: Project):
    """Values of one tilt series go along; a step outside that uses a variant keeps it from being removed."""
    with (project.root / "staproj.toml").open("a") as manifest:
        manifest.write("\n[step.shift.item.TS_02]\nrounded = true\noffset_px = 9.0\n")
    project.run()
    project.variants.create("shift", {"offset_px": "5,6"}, until="shift")
    data = tomllib.loads(text_of(project))["step"]
    assert data["shift-offset_px-5"]["item"] == {"TS_02": {"rounded": True, "offset_px": 5}}
    with (project.root / "staproj.toml").open("a") as manifest:
        manifest.write('\n[step.final]\nstage = "toy_mean"\ninputs = { tilt_series = "shift-offset_px-6" }\n')
    with pytest.raises(UsageError, match="'final' takes shift-offset_px-6"):
        project.variants.remove("offset_px-6")
    with pytest.raises(UsageError, match="no variant"):
        project.variants.remove("offset_px-9")


def test_compare_shows_values_numbers_and_curves(project: Project):
    """One row a variant and one for the step as it is; numbers that differ come to the front."""
    project.run()
    project.variants.rerun("shift", {"offset_px": "5,7"})
    found = project.variants.compare()
    assert [row["variant"] for row in found["rows"]] == ["(as it is)", "offset_px-5", "offset_px-7"]
    assert [row["values"]["shift.offset_px"] for row in found["rows"]] == [2.0, 5.0, 7.0]
    assert [row["metrics"]["mean.total"] for row in found["rows"]] == [414.0, 468.0, 504.0]
    lines = report.compare_lines(found)
    assert lines[1].split() == ["variant", "state", "offset_px", "shift.mean_px", "again.mean_px", "total"]
    assert project.variants.compare("shift", ["offset_px-7"])["rows"][1]["variant"] == "offset_px-7"
    with pytest.raises(UsageError, match="no variants"):
        project.variants.compare("mean")
    with pytest.raises(UsageError, match="no variant"):
        project.variants.compare(None, ["offset_px-8"])


def test_a_manifest_of_windows_stays_one(make_project: Callable[..., Project]):
    """Line ends stay as they were; what is removed leaves the rest byte for byte."""
    project = make_project()
    path = project.root / "staproj.toml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    before = path.read_bytes()
    project.variants.create("shift", {"offset_px": "5,7"})
    after = path.read_bytes()
    assert after.count(b"\n") == after.count(b"\r\n")
    project.variants.remove("offset_px-5", "offset_px-7")
    assert path.read_bytes() == before


TEXT = """# top
[step.a]
stage = "x" # why

# about b
[step.b]
stage = "y"
[step.b.params]
p = 1 # gone

# about c
[step.c]
stage = "z"
"""


def test_removing_steps_keeps_comments_of_others():
    """Comments and order of the other steps survive, those above the next step too."""
    assert manifest_steps.remove(TEXT, {"b"}) == TEXT.replace(
        '[step.b]\nstage = "y"\n[step.b.params]\np = 1 # gone\n', ""
    )
    assert manifest_steps.remove(TEXT, {"b", "c"}) == TEXT[: TEXT.index("[step.b]")]
    odd = TEXT.replace("p = 1", "p = [\n[1],\n]")  # a line that looks like a header
    left = tomllib.loads(manifest_steps.remove(odd, {"b"}))
    assert left == {"step": {"a": {"stage": "x"}, "c": {"stage": "z"}}}


def test_the_command_makes_variants_and_compares_them(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """`rerun` with several values computes the chains as a job; runs are refused."""
    monkeypatch.chdir(project.root)

    def call(*words: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as left:
            main(words)
        said = capsys.readouterr()
        assert left.value.code == code, said
        return said.out if code == 0 else said.err

    words = ["rerun", "shift", "--set", "offset_px=2,5", "--until", "mean", "--json"]
    found = json.loads(call(*words))
    assert [one["variant"] for one in found["variants"]] == ["offset_px-2", "offset_px-5"]
    assert [s["step"] for s in found["steps"] if s["action"] == "run"][-1] == "mean-offset_px-5"
    assert {s["action"] for s in json.loads(call(*words))["steps"]} == {"fresh"}
    table = [line.split() for line in call("variant", "compare", "shift").splitlines()]
    assert ["offset_px-5", "5"] in [[words[0], words[2]] for words in table if len(words) > 5]
    assert json.loads(call("variant", "list", "--json"))[1]["values"] == {"shift.offset_px": 5.0}
    assert "not of a run" in call("rerun", "r0002", "--set", "offset_px=1,2", code=2)
    assert "--until is for variants" in call("rerun", "shift", "--until", "mean", code=2)
    assert "removed offset_px-2, offset_px-5" in call("variant", "remove", "--all")
