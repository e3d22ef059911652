"""The form for another run: typing, choosing, tilt series, how, the preview, and what comes of a start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import model_validator

from staproj.api import Project
from staproj.engine import estimate, machine
from staproj.engine.slots import Need, Slots
from staproj.stages import registry
from staproj.stages.api import Params, StageSpec, param
from staproj.tui.app import StaprojApp
from staproj.tui.dialogs import Ask, Choose, Confirm, Reading
from staproj.tui.form_work import SayLine
from staproj.tui.screens.pipeline import PipelineScreen
from staproj.tui.screens.rerun import RerunScreen
from staproj.tui.widgets.bars import MessageLine
from staproj.tui.widgets.lines import LineList
from staproj.tui.widgets.text_pane import TextPane
from tests.integration import toy_stages as toy
from tests.integration.conftest import states
from tests.tui_screen import SIZES, drive, open_app, press, screen_text, settle, until

both_sizes = pytest.mark.parametrize("size", SIZES, ids=["80x24", "200x60"])


def values(pilot: Any) -> dict[str, list[str]]:
    """Return the rows of the values as words."""
    rows = pilot.app.screen.query_one("#values", LineList).rows
    return {row.key: [c if isinstance(c, str) else c[0] for c in row.cells] for row in rows}


def status(pilot: Any) -> str:
    """Return what the form says of itself."""
    return pilot.app.screen.query_one("#status", SayLine).text


def message(pilot: Any) -> str:
    """Return what was said last."""
    return pilot.app.screen.query_one(MessageLine).message


def preview(pilot: Any) -> str:
    """Return the text of the preview."""
    return pilot.app.screen.query_one("#preview", TextPane).text


async def shown(pilot: Any, step: str = "shift", **more: Any) -> RerunScreen:
    """Open the form."""
    pilot.app.show("rerun", step=step, **more)
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, RerunScreen)
    return screen


async def typed(pilot: Any, text: str) -> None:
    """Type a value for the parameter under the cursor."""
    await press(pilot, "enter")
    assert isinstance(pilot.app.screen, Ask)
    await press(pilot, "ctrl+u", *({"-": "minus", ".": "full_stop", ",": "comma"}.get(c, c) for c in text))
    await press(pilot, "enter")


async def ended(pilot: Any, project: Project) -> dict[str, Any]:
    """Wait until the newest job has ended well, and return it."""
    await until(pilot, lambda: project.jobs.all() and project.jobs.all()[0]["state"] == "done")
    await settle(pilot)
    return project.jobs.all()[0]


def commands(app: StaprojApp) -> list[str]:
    """Return the commands that were given so far."""
    return [" ".join(words) for _, words, _ in app.commands]


@pytest.fixture
def busy(toys: None) -> Iterator[None]:
    """Hold all slots of the machine, as a run of another project does."""
    slots = Slots(machine.limits(), machine.state_dir())
    about = {"project": "/somewhere/other", "run": "r0042", "step": "motion"}
    ticket = slots.enter(Need(machine.cpu_count()), about)
    assert slots.try_claim(ticket) == ""
    yield
    slots.leave(ticket)


@both_sizes
def test_the_form_shows_what_the_declaration_says(done: Project, size: tuple[int, int]) -> None:
    """From the pipeline r opens it: value, unit, default, layer, last run, and help for the one meant."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "j", "r")
        assert isinstance(pilot.app.screen, RerunScreen)
        assert values(pilot)["offset_px"] == [" ", "offset_px", "3.0", "px", "1.0", "step", "3.0"]
        head = next(row["run"] for row in done.ls("shift") if row["head"])
        assert status(pilot) == f"none of 3 differ from {head}; for all 3 tilt series"
        screen = screen_text(pilot.app)
        assert "Number added to every pixel." in screen
        assert "takes a number >= -100 and <= 100 px; default 1.0 px" in screen
        assert "$ staproj rerun shift" in screen
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PipelineScreen)

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_a_value_is_checked_as_one_types(done: Project, size: tuple[int, int]) -> None:
    """A value out of bounds is told at once and not taken; a good one is marked, undone, and reset."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        await press(pilot, "enter", "ctrl+u", *"300")
        assert "must be <= 100 px" in screen_text(pilot.app)
        assert "Number added to every pixel." in screen_text(pilot.app)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Ask)
        await press(pilot, "ctrl+u", *"5", "enter")
        assert values(pilot)["offset_px"][:3] == ["≠", "offset_px", "5"]
        assert "1 typed; 1 of 3 differs" in status(pilot)
        assert "staproj rerun shift --set offset_px=5" in screen_text(pilot.app)
        await press(pilot, "x")
        assert values(pilot)["offset_px"][2] == "1.0"
        await press(pilot, "z")
        assert values(pilot)["offset_px"][2] == "5"
        await press(pilot, "z")
        assert values(pilot)["offset_px"][0] == " "
        await press(pilot, "z")
        assert "nothing was typed" in message(pilot)

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_choices_are_chosen_or_turned(done: Project, size: tuple[int, int]) -> None:
    """Enter shows the choices, left and right go through them, v types."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot, focus_param="rounded")
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Choose)
        await press(pilot, "g", "enter")
        assert values(pilot)["rounded"][2] == "true"
        await press(pilot, "right")
        assert values(pilot)["rounded"][2] == "false"
        await press(pilot, "left")
        assert values(pilot)["rounded"][2] == "true"
        await press(pilot, "v", "ctrl+u", *"true", "comma", *"false", "enter")
        assert values(pilot)["rounded"][2] == "true,false  (2 values)"
        await press(pilot, "backspace")
        assert values(pilot)["rounded"][2] == "false"
        await press(pilot, "g", "right")
        assert "enter types offset_px" in message(pilot)

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_a_run_is_started_and_seen_on_the_pipeline(done: Project, size: tuple[int, int]) -> None:
    """R starts a job with the value, goes back to the pipeline, and the manifest has the value in the end."""

    async def scenario(pilot: Any) -> None:
        await press(pilot, "j", "r")
        await typed(pilot, "7")
        await press(pilot, "n", *"bigger", "enter")
        await press(pilot, "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelineScreen))
        assert "j0001 has begun" in message(pilot)
        assert "staproj rerun shift --set offset_px=7 --note bigger --detach" in commands(pilot.app)[-1]
        await ended(pilot, done)
        newest = done.ls("shift")[0]
        assert (newest["head"], newest["note"]) == (True, "bigger")
        assert "offset_px = 7" in done.layout.manifest.read_text()
        assert states(done)["mean"] == "stale"

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_values_are_written_without_a_run(done: Project, size: tuple[int, int]) -> None:
    """W writes into staproj.toml, names the command, and the form goes on from there."""
    before = len(done.ls())

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        await press(pilot, "w")
        assert "says all this already" in message(pilot)
        await typed(pilot, "8")
        await press(pilot, "w")
        assert commands(pilot.app)[-1] == "staproj set shift.offset_px=8"
        assert "to run now: shift, again" in message(pilot)
        assert "offset_px = 8" in done.layout.manifest.read_text()
        assert values(pilot)["offset_px"] == [" ", "offset_px", "8.0", "px", "1.0", "step", "3.0"]
        assert len(done.ls()) == before
        assert done.jobs.all() == []

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_several_values_make_variants(done: Project, size: tuple[int, int]) -> None:
    """Values with commas are told as variants, previewed, written and computed side by side."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot, step="again")
        await typed(pilot, "4,500")
        assert isinstance(pilot.app.screen, Ask)
        assert "500: must be <= 100 px" in screen_text(pilot.app)
        await press(pilot, "escape")
        await typed(pilot, "4,5,6")
        assert "3 values: makes 3 variants side by side" in status(pilot)
        assert "copies again, mean, copy" in preview(pilot)
        await press(pilot, "w")
        assert "R makes variants" in message(pilot)
        await press(pilot, "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelineScreen))
        await ended(pilot, done)
        found = done.variants.overview()
        assert [one["values"] for one in found] == [{"again.offset_px": n} for n in (4, 5, 6)]
        assert {step["state"] for one in found for step in one["steps"]} <= {"fresh", "soft"}
        assert "staproj rerun again --set offset_px=4,5,6" in commands(pilot.app)[-1]

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_variants_go_as_far_as_asked(done: Project, size: tuple[int, int]) -> None:
    """With several values the tab how says up to which step the copies go; that alone is computed."""

    async def scenario(pilot: Any) -> None:
        screen = await shown(pilot, step="again")
        await press(pilot, "3")
        assert "variants up to" not in screen_text(pilot.app)
        await press(pilot, "1")
        await typed(pilot, "4,5")
        await press(pilot, "3", "G", "right")
        assert "enter changes it" in message(pilot)
        await press(pilot, "enter", "j", "enter")
        assert screen.until == "again"
        assert list(screen.command())[-2:] == ["--until", "again"]
        assert "; copies again" in preview(pilot)
        assert "mean" not in preview(pilot)
        await press(pilot, "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelineScreen))
        await ended(pilot, done)
        assert [step["copy"] for one in done.variants.overview() for step in one["steps"]] == ["again"] * 2

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_values_hold_for_chosen_tilt_series(done: Project, size: tuple[int, int]) -> None:
    """Space on the tab of tilt series confines values to those marked; x takes values of their own away."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        await press(pilot, "right_square_bracket")
        assert "TS_01       as the step" in screen_text(pilot.app)
        await press(pilot, "j", "space", "left_square_bracket")
        assert status(pilot).endswith("for TS_02 only")
        await typed(pilot, "9")
        assert "staproj rerun shift --set offset_px=9 --item TS_02" in screen_text(pilot.app)
        await press(pilot, "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelineScreen))
        await ended(pilot, done)
        assert "[step.shift.item.TS_02]" in done.layout.manifest.read_text()
        assert done.show("shift")["results"]["TS_02"]["metrics"]["mean_px"] == 29.0
        assert done.show("shift")["results"]["TS_01"]["metrics"]["mean_px"] == 13.0
        await shown(pilot)
        assert "values of their own: TS_02: 9" in screen_text(pilot.app)
        await press(pilot, "2", "j", "x")
        assert isinstance(pilot.app.screen, Confirm)
        await press(pilot, "right", "enter")
        assert commands(pilot.app)[-1] == "staproj set --reset shift.offset_px --item TS_02"
        assert "TS_02" not in done.layout.manifest.read_text()
        await press(pilot, "k", "x")
        assert "no values of its own" in message(pilot)

    drive(open_app(done.root), scenario, size)


def test_enter_on_a_tilt_series_means_it_alone(done: Project) -> None:
    """Enter confines the values to one, esc takes that back; what is for all cannot be typed then."""

    async def scenario(pilot: Any) -> None:
        screen = await shown(pilot)
        await press(pilot, "2", "G", "enter")
        assert screen.form.items == ["TS_03"]
        assert screen.tab == "values"
        await press(pilot, "G", "enter", *"x")
        assert "cannot differ between tilt series" in screen_text(pilot.app)
        await press(pilot, "escape", "2", "escape")
        assert screen.form.items == []
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PipelineScreen)

    drive(open_app(done.root), scenario)


def test_a_step_of_the_whole_project_has_no_tilt_series(done: Project) -> None:
    """The tab says so."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot, step="mean")
        await press(pilot, "2")
        assert "runs once for the whole project" in screen_text(pilot.app)
        assert "values cannot differ" in screen_text(pilot.app)
        await press(pilot, "space", "x", "enter")
        assert isinstance(pilot.app.screen, RerunScreen)

    drive(open_app(done.root), scenario)


@both_sizes
def test_the_preview_says_what_will_come_of_it(done: Project, size: tuple[int, int]) -> None:
    """Differences old and new, steps that become stale, time, disk, free slots, the command."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        await typed(pilot, "6")
        await press(pilot, "d")
        text = screen_text(pilot.app)
        assert "differs from r0007, the last run" in text
        for words in ("offset_px: 3 -> 6 px", "shift.offset_px: 3 -> 6", "again, mean, copy", "time: about"):
            assert words in text
        for words in ("are free", "begins: at once", "staproj rerun shift --set offset_px=6"):
            assert words in text

    drive(open_app(done.root), scenario, size)


def test_from_an_old_run_the_form_has_its_values(done: Project) -> None:
    """A run under the cursor gives its values; the new run has them, and the manifest too."""
    first = done.ls("shift")[-1]["run"]

    async def scenario(pilot: Any) -> None:
        await press(pilot, "j", "right", "j", "j", "r")
        assert values(pilot)["offset_px"] == [" ", "offset_px", "2.0", "px", "1.0", first, "3.0"]
        assert f"from the values of {first}" in status(pilot)
        assert f"staproj rerun {first}" in screen_text(pilot.app)
        await press(pilot, "j", "right", "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelineScreen))
        await ended(pilot, done)
        text = done.layout.manifest.read_text()
        assert "offset_px = 2" in text
        assert "rounded = true" in text

    drive(open_app(done.root), scenario)


def test_values_of_an_old_run_are_written_or_varied_whole(done: Project) -> None:
    """W writes all of them that differ; variants start from them as well."""
    first = done.ls("shift")[-1]["run"]

    async def scenario(pilot: Any) -> None:
        screen = await shown(pilot, run=first, focus_param="rounded")
        await press(pilot, "v", "ctrl+u", *"true", "comma", *"false", "enter")
        assert list(screen.command()) == [
            *("rerun", "shift", "--set", "offset_px=2.0", "--set", "rounded=true,false"),
        ]
        await press(pilot, "z", "w")
        assert commands(pilot.app)[-1] == "staproj set shift.offset_px=2.0"
        assert screen.form.run is None

    drive(open_app(done.root), scenario)


def test_a_step_that_was_never_run_gets_what_it_needs(project: Project) -> None:
    """On a fresh project the form says that what the step needs is run first, and does so with the value."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot, step="again")
        assert "never run yet" in status(pilot)
        await typed(pilot, "4")
        assert "what it needs" in preview(pilot)
        assert "staproj run --until again --set again.offset_px=4" in screen_text(pilot.app)
        await press(pilot, "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelineScreen))
        await ended(pilot, project)
        assert states(project)["again"] in ("fresh", "soft")
        assert states(project)["mean"] == "never-run"
        assert project.show("again")["results"]["TS_01"]["metrics"]["mean_px"] == 16.0

    drive(open_app(project.root), scenario)


class PairParams(Params):
    """Two values that must be in order."""

    low: float = param(1.0, help="The smaller one.")
    high: float = param(2.0, help="The larger one.")

    @model_validator(mode="after")
    def ordered(self) -> PairParams:
        """Refuse them in the wrong order."""
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


def test_values_that_do_not_fit_together_are_told_before_anything_starts(
    make_project: Callable[..., Project],
) -> None:
    """Each fits alone, together they do not: said as soon as typed, and nothing starts; typed values stay."""
    pair = StageSpec(
        "toy_pair", "Pair.", PairParams, {"tilt_series": toy.IN}, {"tilt_series": toy.OUT}, toy.SHIFT.run
    )
    text = toy.TEMPLATE + '\n[step.pair]\nstage = "toy_pair"\ninputs = { tilt_series = "import" }\n'
    with registry.temporarily(*toy.ALL, pair):
        project = make_project(text=text)

        async def scenario(pilot: Any) -> None:
            await shown(pilot, step="pair")
            await typed(pilot, "3")
            assert "low must be below high" in status(pilot)
            assert "cannot be started like this" in preview(pilot)
            await press(pilot, "R")
            assert "low must be below high" in message(pilot)
            await press(pilot, "w")
            assert isinstance(pilot.app.screen, RerunScreen)
            assert values(pilot)["low"][2] == "3"
            assert project.jobs.all() == []
            await press(pilot, "j")
            await typed(pilot, "4,5")
            assert "2 values" in status(pilot)
            await typed(pilot, "2,5")
            assert "low must be below high" in status(pilot)

        drive(open_app(project.root), scenario)


@both_sizes
def test_a_full_disk_is_told_with_a_remedy_and_can_be_forced(
    done: Project, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """Nothing starts, the message has the sizes and what helps, values stay; with force it starts."""
    monkeypatch.setattr(estimate, "free_bytes", lambda root: 10)

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        await typed(pilot, "6")
        assert "the disk cannot hold this" in preview(pilot)
        await press(pilot, "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, Reading))
        text = screen_text(pilot.app)
        assert "the disk cannot hold this" in text
        assert "make room" in text
        assert "force" in text
        await press(pilot, "escape")
        assert values(pilot)["offset_px"][2] == "6"
        assert done.jobs.all() == []
        await press(pilot, "3", "G", "right", "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelineScreen))
        assert "begun with --force" in message(pilot)
        await ended(pilot, done)
        assert "begun with --force" in done.ls("shift")[0]["note"]

    drive(open_app(done.root), scenario, size)


def test_a_missing_gpu_is_told_with_a_remedy(done: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is not there keeps work from beginning; the message says what to do."""
    monkeypatch.setattr("staproj.engine.resources._gpu_is_usable", lambda: False)

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        await press(pilot, "3", "j", "j", "enter")
        assert isinstance(pilot.app.screen, Choose)
        await press(pilot, "G", "enter")
        assert "--device gpu" in screen_text(pilot.app)
        await press(pilot, "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, Reading))
        assert "a GPU was asked for" in screen_text(pilot.app)
        assert "use --device cpu" in screen_text(pilot.app)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, RerunScreen)
        assert done.jobs.all() == []

    drive(open_app(done.root), scenario)


@both_sizes
def test_how_it_is_run_is_chosen_and_checked(done: Project, size: tuple[int, int]) -> None:
    """Threads are checked as one types; numbers turn; the command has what is not as usual."""

    async def scenario(pilot: Any) -> None:
        screen = await shown(pilot)
        await press(pilot, "3")
        assert "this machine" in screen_text(pilot.app)
        assert "at once" in screen_text(pilot.app)
        await press(pilot, "enter")
        assert "a process of its own" in message(pilot)
        await press(pilot, "j", "j", "j", "enter", *"0", "enter")
        assert "must be 1 or more" in screen_text(pilot.app)
        await press(pilot, "ctrl+u", *"1", "enter", "j", "right", "j", "left")
        words = ["rerun", "shift", "--threads", "1", "--jobs", "2", "--priority", "-1"]
        assert list(screen.command()) == words
        await press(pilot, "right", "k", "left", "k", "left")
        assert list(screen.command()) == ["rerun", "shift"]

    drive(open_app(done.root), scenario, size)


@both_sizes
def test_on_a_busy_machine_the_run_is_queued_and_says_so(
    done: Project, busy: None, size: tuple[int, int]
) -> None:
    """Before and after the start one reads that it waits, and for whom."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        assert "begins: waits for its turn" in preview(pilot)
        assert "r0042 motion" in preview(pilot)
        await press(pilot, "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelineScreen))
        assert "j0001 is queued" in message(pilot)
        await until(pilot, lambda: done.jobs.all()[0]["state"] == "queued")
        done.jobs.stop("j0001")

    drive(open_app(done.root), scenario, size)


def test_leaving_asks_when_something_was_typed(done: Project) -> None:
    """Esc and q ask before typed values are lost, and Cancel is the default."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        await typed(pilot, "6")
        for key in ("escape", "q"):
            await press(pilot, key)
            assert isinstance(pilot.app.screen, Confirm)
            await press(pilot, "enter")
            assert isinstance(pilot.app.screen, RerunScreen)
        assert values(pilot)["offset_px"][2] == "6"
        await press(pilot, "escape", "right", "enter")
        assert isinstance(pilot.app.screen, PipelineScreen)

    drive(open_app(done.root), scenario)


def test_what_was_typed_survives_changes_underneath(done: Project) -> None:
    """Somebody else edits staproj.toml: the form shows the new values, with the typed ones on top."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        await typed(pilot, "6")
        text = done.layout.manifest.read_text()
        done.layout.manifest.write_text(text.replace("offset_px = 3.0", "offset_px = 4.0\nrounded = true"))
        await until(pilot, lambda: values(pilot)["rounded"][2] == "true")
        await settle(pilot)
        assert values(pilot)["offset_px"][2] == "6"
        assert "shift.offset_px: 4 -> 6" in preview(pilot)
        await press(pilot, "z")
        assert values(pilot)["offset_px"][2] == "4.0"

    drive(open_app(done.root), scenario)


def test_a_form_on_a_broken_manifest_can_repair_it(done: Project) -> None:
    """A value that does not fit stands in staproj.toml: the form says so, and another value repairs it."""
    text = done.layout.manifest.read_text()
    done.layout.manifest.write_text(text.replace("offset_px = 3.0", "offset_px = 3000.0"))

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        assert "must be <= 100 px" in status(pilot)
        await typed(pilot, "3")
        assert "must be" not in status(pilot)
        await press(pilot, "w")
        assert "offset_px = 3" in done.layout.manifest.read_text()
        assert "3000" not in done.layout.manifest.read_text()

    drive(open_app(done.root), scenario)


def test_nothing_is_written_where_nothing_may_be(done: Project) -> None:
    """On a read-only project R and w say so."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot)
        await typed(pilot, "6")
        pilot.app.read_only = True
        await press(pilot, "R")
        await press(pilot, "w")
        assert isinstance(pilot.app.screen, RerunScreen)
        assert done.jobs.all() == []
        assert "offset_px = 3.0" in done.layout.manifest.read_text()

    drive(open_app(done.root), scenario)


def test_a_step_that_is_gone_is_told(done: Project) -> None:
    """The step was taken out of staproj.toml: an error is shown, the form stays empty and can be left."""

    async def scenario(pilot: Any) -> None:
        await shown(pilot, step="nonsense")
        assert "nonsense" in message(pilot)
        await press(pilot, "R", "w", "x", "z", "d", "escape", "escape")
        assert isinstance(pilot.app.screen, PipelineScreen)

    drive(open_app(done.root), scenario)
