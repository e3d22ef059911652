"""The commands of clean-up and recipes, and a fault at every point where files move."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.cli.main import main
from staproj.engine.recover import recover
from staproj.errors import StorageError, UsageError
from staproj.project import atomic
from tests.integration import toy_stages as toy
from tests.integration.conftest import edit, states
from tests.integration.test_gc import tree

Call = Callable[..., str]


@pytest.fixture
def call(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that calls a command in a project that was run and returns what it says."""
    project.run()
    monkeypatch.chdir(project.root)

    def call(*words: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as left:
            main(words)
        told = capsys.readouterr()
        assert (left.value.code or 0) == code, told.out + told.err
        return told.out + told.err

    return call


def test_gc_says_what_goes_and_what_to_do_next(call: Call, project: Project):
    """Without --yes nothing is deleted; the answer has a table, the sum and the next commands."""
    before = tree(project.root)
    text = call("gc")
    assert "r0002  shift" in text
    assert "staproj gc --yes" in text
    assert "nothing was deleted" in text
    assert tree(project.root) == before
    data = json.loads(call("gc", "--json", "--runs", "shift"))
    assert [row["run"] for row in data["runs"]] == ["r0002"]
    assert data["runs"][0]["items"] == ["TS_01", "TS_02", "TS_03"]
    assert "exclude each other" in call("gc", "--yes", "--dry-run", code=2)
    assert "no run" in call("gc", "--runs", "r0099", code=2)
    assert "not deleted" in call("gc", "--class", "final", code=2)


def test_the_whole_way_there_and_back(call: Call, project: Project):
    """Delete with proof, restore, delete, purge, make one again: the words and the files agree."""
    before = tree(project.root)
    text = call("gc", "--prove", "2", "--yes", "--quiet")
    assert "2 of 2 made again bit for bit" in text
    assert "staproj trash restore" in text
    assert "gc" in call("trash", "list")
    assert "are back" in call("trash", "restore")
    assert tree(project.root) == before
    call("gc", "--yes")
    assert "would be freed" in call("trash", "purge")
    assert json.loads(call("trash", "list", "--json"))
    assert "freed" in call("trash", "purge", "--yes")
    assert call("trash", "list").startswith("the trash is empty")
    with pytest.raises(UsageError, match="the trash is empty"):
        project.storage.trash_restore()
    with pytest.raises(StorageError, match="deleted in a clean-up"):
        project.artifact("shift")
    assert "6 outputs of r0001 are back" in call("remake", "import", "--quiet")
    imported = {path: told for path, told in before.items() if path.startswith("runs/r0001-")}
    assert tree(project.root).items() >= imported.items()
    assert "cleared" in call("du")
    assert json.loads(call("du", "--by", "step", "--json"))["rows"]


def test_a_proof_that_fails_gives_exit_code_4_and_deletes_nothing(
    call: Call, project: Project, monkeypatch: pytest.MonkeyPatch
):
    """With other numbers the proof says which file differs, and --yes does not go on."""
    original = toy.tilt_series
    monkeypatch.setattr(toy, "tilt_series", lambda ctx, name, data: original(ctx, name, data + 1))
    before = tree(project.root)
    text = call("gc", "--prove", "3", "--yes", "--quiet", code=4)
    assert "differ" in text
    assert tree(project.root) == before
    text = call("reproduce", "shift", "--check", "--quiet", code=4)
    assert "stack.bin" in text
    assert "does not come out the same" in text
    assert json.loads(call("reproduce", "shift", "--check", "--json", code=4))["equal"] is False


def test_reproduce_prints_recipe_and_script(call: Call):
    """The recipe names command, parameters and digests; the script is a shell script."""
    text = call("reproduce", "mean")
    assert "staproj rerun r0004" in text
    assert "[step.mean.params]" in text
    assert call("reproduce", "mean", "--script").startswith("#!/usr/bin/env bash")
    assert "bit for bit" in call("reproduce", "r0004", "--check", "--quiet")
    assert "exclude each other" in call("reproduce", "mean", "--check", "--script", code=2)


class _Stop(BaseException):
    """The process ends here, as if its power were cut."""


@pytest.mark.parametrize("what", ["gc", "restore", "back"])
def test_a_stop_at_any_point_loses_nothing(project: Project, monkeypatch: pytest.MonkeyPatch, what: str):
    """Cut off at each rename and each write in turn; what is left can be finished, and all comes back."""
    project.run(["again"])
    before = tree(project.root)
    real_rename, real_replace, real_unlink = Path.rename, Path.replace, Path.unlink
    count = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def move(*arguments: object, **options: object) -> object:
            nonlocal count
            if "lock" in str(arguments[0]):  # this process lives on, so nobody may break its lock
                return real(*arguments, **options)
            count += 1
            if count == stop_at:
                raise _Stop
            return real(*arguments, **options)

        return move

    stop_at = -1
    for stop_at in range(1, 200, 3 if what == "gc" else 4):  # noqa: B007 - read in the function above
        if what == "restore":
            project.storage.clean()
        if what == "back":
            project.storage.clean(runs=["r0002"])
            project.storage.trash_purge(dry_run=False)
        count, ended = 0, False
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", counted(real_rename))
            patch.setattr(Path, "replace", counted(real_replace))
            patch.setattr(Path, "unlink", counted(real_unlink))
            try:
                if what == "gc":
                    project.storage.clean()
                elif what == "restore":
                    project.storage.trash_restore()
                else:
                    project.storage.bring_back("r0002", items=["TS_02"])
                ended = True
            except _Stop:
                pass
        assert not {"missing-lost", "stale"} & set(states(project).values())
        recover(project.layout)
        for run in ("r0001", "r0002", "r0003"):
            project.storage.bring_back(run)
        now = tree(project.root)
        hidden = [path for path in now if ".part" in path]
        assert {path: now[path] for path in now if path not in hidden} == before
        for path in hidden:
            (project.root / path).unlink()
        if ended:
            return
    raise AssertionError("never came to its end")


def test_cleared_inputs_are_named_before_a_run(call: Call, project: Project):
    """A plan of a run says which deleted outputs will be made again for it."""
    call("gc", "--yes")
    edit(
        project,
        'inputs = { tilt_series = "again" }',
        'inputs = { tilt_series = "again" }\nparams.weight = 2.0',
    )
    steps = {step["step"]: step for step in project.run(dry_run=True)}
    assert steps["mean"]["brings_back"] == ["r0003"]
    assert steps["again"].get("brings_back", []) == []
    assert "makes deleted outputs of r0003 again first" in call("run", "--dry-run")
    assert atomic.read_json(project.root / "runs" / "r0003-again" / "CLEARED")["format"] == 1


def test_show_names_what_was_deleted(call: Call):
    """The list of files of a run says which of them went in a clean-up."""
    assert "deleted in a clean-up" not in call("show", "shift")
    call("gc", "--yes", "--runs", "shift")
    assert call("show", "shift").count("deleted in a clean-up") == 6


def test_a_project_that_must_not_be_written_to_can_still_be_planned_and_checked(call: Call, project: Project):
    """With a schema of the future gc plans and reproduce checks without a trace; deleting is refused."""
    manifest = project.root / "staproj.toml"
    text = manifest.read_text()
    schema = next(line for line in text.splitlines() if line.startswith("schema"))
    manifest.write_text(text.replace(schema, "schema = 99"))
    before = sorted((path, path.lstat().st_mtime_ns) for path in project.root.rglob("*"))
    assert "r0002" in call("gc")
    assert "comes out the same" in call("reproduce", "shift", "--check", "--quiet")
    assert "schema" in call("gc", "--yes", code=2)
    assert "schema" in call("remake", "shift", code=2)
    assert sorted((path, path.lstat().st_mtime_ns) for path in project.root.rglob("*")) == before
