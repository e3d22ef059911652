"""Notes, ratings, titles and tags: kept beside the runs, readable and editable by hand."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from staproj.api import Project
from staproj.cli.main import main
from staproj.errors import StaprojError, StorageError, UsageError
from staproj.project import annotations as said
from tests.integration.conftest import states

HAND = """# my thoughts
rating = 2   # too low?
other = "kept"

[[note]]
text = "first"  # by hand
"""


@pytest.fixture
def project(ran: Project) -> Project:
    """Return a project that was run already; `run` finds nothing to do in it."""
    return ran


@pytest.fixture
def told(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    """Return a function that calls a command in a project that was run and returns what it says."""
    project.run()
    monkeypatch.chdir(project.root)

    def call(*words: str, code: int = 0) -> Any:
        with pytest.raises(SystemExit) as left:
            main(words)
        found = capsys.readouterr()
        assert left.value.code == code, found
        said_on_stdout = json.loads(found.out) if "--json" in words and code == 0 else found.out
        return said_on_stdout if code == 0 else found.err

    return call


def test_everything_that_is_said_comes_back(project: Project):
    """Title, rating, tags and notes of a run, by its id or its step; no run changes."""
    project.run()
    notes = project.annotations
    sealed = (project.run_dir("shift") / "SEALED").stat().st_mtime_ns
    notes.note("shift", "the hand was checked\nagainst the map")
    notes.note("r0002", "again")
    notes.rate("shift", 4)
    notes.title("shift", "  a good   one ")
    notes.tag("shift", "final", "figure-3")
    found = notes.tag("shift", "final")
    assert found["run"] == "r0002"
    assert (found["title"], found["rating"], found["tags"]) == ("a good one", 4, ["final", "figure-3"])
    assert [note["text"] for note in found["notes"]] == ["the hand was checked\nagainst the map", "again"]
    assert all(note["who"] and note["when"].endswith("Z") for note in found["notes"])
    assert notes.untag("shift", "figure-3")["tags"] == ["final"]
    assert notes.rate("shift", None)["rating"] is None
    assert notes.title("shift", "")["title"] == ""
    assert project.show("shift")["said"]["tags"] == ["final"]
    assert (project.run_dir("shift") / "SEALED").stat().st_mtime_ns == sealed
    assert set(states(project).values()) == {"fresh"}


def test_a_file_edited_by_hand_keeps_its_comments_and_other_keys(project: Project):
    """Comments, unknown keys and order stay; only what was asked for changes."""
    project.run()
    path = project.layout.annotation("r0002")
    path.parent.mkdir(exist_ok=True)
    path.write_text(HAND)
    project.annotations.rate("r0002", 5)
    assert path.read_text() == HAND.replace("rating = 2 ", "rating = 5 ")
    project.annotations.tag("r0002", "final")
    project.annotations.note("r0002", "second")
    text = path.read_text()
    for line in ("# my thoughts", "rating = 5   # too low?", 'other = "kept"', 'text = "first"  # by hand'):
        assert line in text
    data = tomllib.loads(text)
    assert data["tags"] == ["final"]
    assert [note["text"] for note in data["note"]] == ["first", "second"]


DAMAGES = {
    "cut": "rating = ",
    "too high": "rating = 9",
    "true": "rating = true",
    "text for a list": "tags = 'final'",
    "numbers": "tags = [1]",
    "number for a table": "note = 3",
    "no text": "[[note]]\nx = 1",
    "title": "title = 4",
    "zero byte": "\x00",
    "deep": "a = " + "[" * 5000,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_stops_nothing(told: Callable, project: Project, damage: str):
    """Listing and showing work and say it; changing it is refused with file and remedy."""
    path = project.layout.annotation("r0002")
    path.parent.mkdir(exist_ok=True)
    path.write_text(DAMAGES[damage])
    assert len(project.ls()) == 6
    assert "r0002.toml" in project.annotations.problems()[0]
    assert "cannot be read" in told("show", "r0002")
    assert told("status")
    said_then = told("rate", "r0002", "3", code=1)
    assert "r0002.toml" in said_then
    with pytest.raises(StorageError):
        project.annotations.of("r0002")
    assert path.read_text() == DAMAGES[damage]


def test_what_makes_no_sense_is_refused(project: Project):
    """Ratings beyond 0 to 5, empty notes, strange tags, unknown runs and tags that are not there."""
    project.run(["import"])
    notes = project.annotations
    for action in (
        lambda: notes.rate("r0001", 6),
        lambda: notes.rate("r0001", -1),
        lambda: notes.note("r0001", "  "),
        lambda: notes.note("r0001", "x" * 10_001),
        lambda: notes.tag("r0001", "two words"),
        lambda: notes.tag("r0001", "\x1b[31m"),
        lambda: notes.untag("r0001", "final"),
        lambda: notes.title("r0001", "x" * 201),
        lambda: notes.note("r0009", "x"),
        lambda: notes.note("../r0001", "x"),
    ):
        with pytest.raises(UsageError):
            action()
    assert not project.layout.annotation("r0001").exists()


def test_commands_and_filters(told: Callable):
    """Every command answers; ls shows ratings and tags, and leaves out what was not asked for."""
    assert told("rate", "shift", "4", "--json")["rating"] == 4
    assert told("rate", "mean", "2", "--json")["run"] == "r0004"
    assert told("tag", "shift", "final", "best", "--json")["tags"] == ["final", "best"]
    assert told("title", "mean", "the mean", "--json")["title"] == "the mean"
    assert "looks good" in told("note", "shift", "looks good")
    assert [row["run"] for row in told("ls", "--tag", "final", "--json")] == ["r0002"]
    assert [row["run"] for row in told("ls", "--rating", "2", "--json")] == ["r0004", "r0002"]
    assert [row["run"] for row in told("ls", "--rating", "3", "--step", "shift", "--json")] == ["r0002"]
    assert told("ls", "--rating", "3", "--step", "mean", "--json") == []
    assert len(told("ls", "--state", "sealed", "--json")) == 6
    assert told("ls", "--state", "failed", "--json") == []
    assert "did you mean 'failed'" in told("ls", "--state", "faild", code=2)
    text = told("ls")
    assert "4/5" in text
    assert "[final] [best]" in text
    assert "the mean" in text
    shown = told("show", "shift")
    assert "rated: 4/5  tags: final, best" in shown
    assert "looks good" in shown
    assert "final, best" in told("untag", "shift", "nothing", code=2)
    assert "no run has the tag" in told("ls", "--tag", "fnal", code=2)
    assert "0 to 5" in told("rate", "shift", "excellent", code=2)
    assert told("rate", "shift", "none", "--json")["rating"] is None


TAG = r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,10}"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    text=st.text(min_size=1, max_size=200),
    rating=st.integers(0, 5),
    tags=st.lists(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,10}", fullmatch=True), max_size=4, unique=True
    ),
)
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, text: str, rating: int, tags: list[str]
):
    """Whatever is written as a note is read as it was; in any order of writing, the rest stays."""
    from staproj.project.layout import Layout, RunDir

    layout = Layout(tmp_path_factory.mktemp("said"))
    run = RunDir(layout.runs / "r0001-x")
    try:
        said.add_note(layout, run, text)
    except StaprojError:
        return
    said.set_rating(layout, run, rating)
    said.set_tags(layout, run, add=tuple(tags))
    found = said.read(layout, "r0001")
    assert found.notes[0].text == text.strip()
    assert (found.rating, found.tags) == (rating, tuple(tags))
