"""A project of which nothing was ever run: every command that looks has an answer, in words and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from staproj.api import Project
from staproj.cli.main import main
from staproj.errors import ManifestError

LOOKS = [
    ["status"],
    ["ls"],
    ["why", "mean"],
    ["run", "--dry-run"],
    ["du"],
    ["du", "--by", "class"],
    ["gc"],
    ["trash", "list"],
    ["methods"],
    ["methods", "--markdown"],
    ["version", "list"],
    ["variant", "list"],
    ["accept", "--list"],
    ["jobs"],
    ["doctor"],
    ["verify"],
    ["export", "crate", "crate"],
    ["export", "prov", "history.json"],
]


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_commands_that_look_have_an_answer(
    project: Project, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Exit code 0, at least one line that is not empty first, and one JSON document with --json."""
    monkeypatch.chdir(project.root)
    for extra in ([], ["--json"]):
        with pytest.raises(SystemExit) as end:
            main([*words, *extra])
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert out.split("\n")[0].strip()
    json.loads(out)


@pytest.mark.parametrize(
    "words",
    [
        ["show"],
        ["diff", "shift"],
        ["lineage"],
        ["log"],
        ["reproduce"],
        ["methods"],
        ["remake"],
        ["rate", "3"],
    ],
    ids=lambda words: words[0],
)
def test_commands_on_runs_say_that_there_is_none(
    project: Project, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """A step that was never run gives exit code 2 and a hint, never a fault."""
    monkeypatch.chdir(project.root)
    with pytest.raises(SystemExit) as end:
        main([words[0], "mean", *words[1:], "--json"])
    assert end.value.code == 2
    told = json.loads(capsys.readouterr().out)
    assert "no complete run" in told["message"]


def test_a_wrong_name_for_one_tilt_series_is_looked_for_where_it_stands(project: Project) -> None:
    """The place named is the table of that tilt series, not that of the step."""
    text = project.layout.manifest.read_text()
    project.layout.manifest.write_text(text + "\n[step.shift.item.TS_01]\nofset_px = 3.0\n")
    with pytest.raises(ManifestError) as error:
        project.status()
    assert str(error.value.where).endswith("[step.shift.item.TS_01]")
