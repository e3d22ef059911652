"""Crates and PROV documents of a project, judged by readers that others wrote; the methods section."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from prov.model import ProvDocument, ProvEntity, ProvGeneration, ProvMembership, ProvUsage

from staproj.api import Project
from staproj.api.provenance import what_made
from staproj.cli.main import main
from staproj.errors import StaprojError, UsageError
from staproj.report.provenance import what_made_lines
from staproj.stages import registry
from tests import bibtex_reader
from tests.crate_context import Answer
from tests.integration import toy_stages as toy

pytestmark = pytest.mark.filterwarnings(
    "ignore:ConjunctiveGraph is deprecated"
)  # by the validator's own tools
HOME_UNKNOWN = {"process-run-crate-0.5_3.2", "process-run-crate-0.5_5.1"}
"""Recommended: an address of the software on the web. It has none, so it is named by a URN."""


@pytest.fixture
def ran(project: Project) -> Project:
    """Return a project with complete runs and one that failed."""
    project.run()
    toy.SWITCH["TS_02"] = "fail"
    with pytest.raises(StaprojError):
        project.rerun("shift", sets={"offset_px": 9.0})
    toy.SWITCH.clear()
    return project


@pytest.fixture
def validated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Return a function that has a crate judged by roc-validator, without a network."""
    from rocrate_validator import services
    from rocrate_validator.models import Severity, ValidationSettings
    from rocrate_validator.utils.http import HttpRequester

    monkeypatch.setattr(HttpRequester, "get", lambda self, url, **more: Answer(url), raising=False)

    def judge(root: Path, level: str) -> list[Any]:
        settings = ValidationSettings(
            rocrate_uri=str(root),  # type: ignore[arg-type]
            profile_identifier="process-run-crate-0.5",
            requirement_severity=Severity[level],
            offline=True,
            cache_path=tmp_path / "cache",
        )
        return [*services.validate(settings).get_issues()]

    return judge


def graph_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entities of a crate by id."""
    return {entity["@id"]: entity for entity in json.loads(path.read_text())["@graph"]}


def ids(value: Any) -> list[str]:
    """Return the ids that a property refers to (one or a list)."""
    return [part["@id"] for part in (value if isinstance(value, list) else [value] if value else [])]


def test_a_crate_of_the_whole_project_is_valid(ran: Project, validated: Callable[..., list[Any]]) -> None:
    """The profile's required and recommended rules hold, failed run and all; the validator finds a fault."""
    author = {"name": "A. Author", "affiliation": "Institute", "affiliation_url": "https://example.org/"}
    made = ran.provenance.crate(
        ran.root, author=author, license_="https://creativecommons.org/licenses/by/4.0/"
    )
    assert made["runs"] == [f"r{n:04d}" for n in range(1, 8)]
    issues = validated(ran.root, "RECOMMENDED")
    assert {issue.check.identifier for issue in issues} <= HOME_UNKNOWN, [str(i.message) for i in issues]
    path = ran.root / "ro-crate-metadata.json"
    content = json.loads(path.read_text())
    content["@graph"] = [e for e in content["@graph"] if e["@type"] != "SoftwareApplication"]
    path.write_text(json.dumps(content))
    assert any("instrument" in str(issue.message) for issue in validated(ran.root, "REQUIRED"))


def test_actions_are_the_runs(ran: Project) -> None:
    """Each run is one action: files by path and digest, parameters, times, person, software, outcome."""
    ran.provenance.crate(ran.root)
    graph = graph_of(ran.root / "ro-crate-metadata.json")
    actions = {
        entity["name"].split(":")[0]: entity for entity in graph.values() if entity["@type"] == "CreateAction"
    }
    assert set(actions) == {f"r{n:04d}" for n in range(1, 8)}
    for run, action in actions.items():
        facts = ran.provenance.facts(run)
        failed = run == "r0007"
        assert action["actionStatus"].endswith("FailedActionStatus" if failed else "CompletedActionStatus")
        assert ("this one is bad" in action.get("error", "")) is failed
        assert action["startTime"] <= action["endTime"]
        assert graph[ids(action["agent"])[0]]["name"] == facts["who"]
        assert facts["software"]["staproj"] in graph[ids(action["instrument"])[0]]["softwareVersion"]
        results = {unquote(name) for name in ids(action.get("result"))}
        outputs = {f"{facts['directory']}/out/{file['path']}" for file in facts["files"]}
        assert results == ({f"{facts['directory']}/log/log.txt"} if failed else outputs)
        values = {graph[i]["name"]: graph[i]["value"] for i in ids(action["object"]) if "/parameter/" in i}
        assert set(values) == {*facts["params"], "seed"}
    used = {unquote(name) for name in ids(actions["r0006"]["object"]) if name.startswith("runs/")}
    assert used == {"runs/r0004-mean/out/map.h5", "runs/r0004-mean/out/map.bin"}
    assert {"raw/TS_01.txt", "raw/TS_02.txt", "raw/TS_03.txt"} <= set(ids(actions["r0001"]["object"]))
    for name in ids(graph["./"]["hasPart"]):
        assert (ran.root / unquote(name)).is_file()


def test_files_that_are_not_there_are_no_part_of_a_crate(
    ran: Project, validated: Callable[..., list[Any]]
) -> None:
    """Cleared outputs and raw data elsewhere are described with digest; the crate stays valid."""
    gone = ran.root / "runs" / "r0003-again" / "out" / "TS_02" / "stack.bin"
    gone.unlink()
    (ran.root / "raw" / "TS_01.txt").rename(ran.root.parent / "TS_01.txt")
    ran.provenance.crate(ran.root, ["copy"])
    graph = graph_of(ran.root / "ro-crate-metadata.json")
    absent = {entity["name"]: entity for name, entity in graph.items() if name.startswith("#absent/")}
    assert set(absent) == {"stack.bin", "TS_01.txt"}
    assert len(absent["stack.bin"]["sha256"]) == 64
    assert absent["TS_01.txt"]["identifier"].startswith("q:")
    assert validated(ran.root, "REQUIRED") == []
    elsewhere = ran.root.parent / "away"
    elsewhere.mkdir()
    ran.provenance.crate(elsewhere, ["copy"])
    assert validated(elsewhere, "REQUIRED") == []
    assert "hasPart" not in graph_of(elsewhere / "ro-crate-metadata.json")["./"]


def test_prov_tells_the_same_graph_as_lineage(ran: Project, tmp_path: Path) -> None:
    """Another reader of PROV finds the edges of the lineage, each output once, and its digest."""
    ran.provenance.prov(tmp_path / "history.json", ["copy"])
    document = ProvDocument.deserialize(str(tmp_path / "history.json"), format="json")
    chain = ran.lineage("copy")["chain"]
    wanted = {(n["run"], f"{u['run']}.{u['port']}") for n in chain for u in n["inputs"].values()}
    wanted |= {("r0001", f"raw/raw/TS_0{n}.txt") for n in (1, 2, 3)}

    def ends(kind: type) -> list[tuple[str, str]]:
        found = []
        for relation in document.get_records(kind):
            first, second = (value for _, value in relation.formal_attributes[:2])
            found.append((first.localpart, second.localpart))
        return found

    assert set(ends(ProvUsage)) == wanted
    generated = ends(ProvGeneration)
    assert len(generated) == len(set(generated))
    files = {f"{n['run']}/out/{f['path']}" for n in chain for f in ran.provenance.facts(n["run"])["files"]}
    assert files <= {entity for entity, _ in generated}
    assert all(run == entity.partition("/")[0].partition(".")[0] for entity, run in generated)
    assert {member for _, member in ends(ProvMembership)} == files
    digests = {
        entity.identifier.localpart: str(next(iter(entity.get_attribute("staproj:sha256"))))
        for entity in document.get_records(ProvEntity)
        if entity.get_attribute("staproj:sha256")
    }
    facts = ran.provenance.facts("r0006")
    assert {f"r0006/out/{file['path']}": file["sha256"] for file in facts["files"]}.items() <= digests.items()
    assert set(ends_of(document, "wasDerivedFrom")) >= {("r0006.map", "r0004.map")}


def ends_of(document: Any, name: str) -> list[tuple[str, str]]:
    """Return generated and used entity of derivations."""
    from prov.model import ProvDerivation

    assert name == "wasDerivedFrom"
    pairs = []
    for relation in document.get_records(ProvDerivation):
        values = [value for _, value in relation.formal_attributes[:2]]
        pairs.append((values[0].localpart, values[1].localpart))
    return pairs


def test_methods_come_from_the_record(
    make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Sentences hold numbers of the runs behind a result and no others; references resolve; BibTeX parses."""
    spoken = dataclasses.replace(
        toy.SHIFT,
        group="align",
        methods=("{offset_px:.0f} px were added[, to a mean of {mean_px:.1f} px][, by {nobody} people].",),
        citations=("Rohou2015", "A. Author, in a drawer"),
    )
    with registry.temporarily(spoken):
        project = make_project("spoken")
        project.run()
        told = project.provenance.methods(["copy"])
        only = project.provenance.methods(["other"])
        monkeypatch.chdir(project.root)
        with pytest.raises(SystemExit):
            main(["methods", "copy", "--bibtex", str(tmp_path / "refs.bib")])
        with pytest.raises(SystemExit):
            main(["methods", "copy", "--markdown"])
    plain, _, markdown = capsys.readouterr().out.partition("## ")
    assert [p["title"] for p in told["paragraphs"]] == ["Alignment of tilt series"]
    texts = [part["text"] for part in told["paragraphs"][0]["sentences"]]
    assert texts == [
        "2 px were added, to a mean of 12.0 to 32.0 px.",
        "1 px were added, to a mean of 13.0 to 33.0 px.",
    ]
    assert only["paragraphs"] == []
    assert told["unsaid"] == ["r0001", "r0004", "r0006"]
    assert "2 px were added, to a mean of 12.0 to 32.0 px [1, 2]." in " ".join(plain.split())
    assert "[@Rohou2015; @A" not in markdown
    assert "[@Rohou2015]" in markdown
    assert {
        key for key in (e["key"] for e in told["references"]) if key and f"@{key}" not in markdown
    } == set()
    last = len(told["references"])
    assert re.search(rf"All steps were computed with [^\[]+ \[3, [\d, ]*{last}\]\.", " ".join(plain.split()))
    assert "A. Author, in a drawer" in plain
    entries = bibtex_reader.read((tmp_path / "refs.bib").read_text())
    assert {"Rohou2015", "Harris2020", "Virtanen2020"} <= set(entries)
    assert any(fields["title"].startswith("{staproj, version") for fields in entries.values())
    assert set(entries) == {entry["key"] for entry in told["references"] if entry["key"]}
    env = project.provenance.facts("copy")["environment"]
    assert f"numpy {env['packages']['numpy']}" in told["software"]
    shutil.rmtree(project.root / "runs" / "r0002-shift" / "items")
    with registry.temporarily(spoken):
        assert project.provenance.methods(["copy"])["paragraphs"]


def test_a_run_that_failed_is_no_part_of_a_paper(ran: Project) -> None:
    """Methods and outputs are those of complete runs; the lineage of another says that it is not complete."""
    with pytest.raises(UsageError, match="r0007 is not complete"):
        ran.provenance.methods(["r0007"])
    with pytest.raises(UsageError, match="r0007 is not complete"):
        ran.recipes.check("r0007")
    with pytest.raises(UsageError, match="r0007 is not complete"):
        ran.storage.bring_back("r0007")
    told = what_made("r0007", ran.root)
    assert told["state"] == "failed"
    assert any("not complete (failed)" in line for line in what_made_lines(told))


def test_exports_by_command(
    ran: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each export is one command; what is wrong is told before anything is written."""
    monkeypatch.chdir(ran.root)

    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(words)
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out + said.err

    assert call("export", "map", "copy", str(tmp_path / "m.bin"))[0] == 0
    assert call("export", "files", "shift.tilt_series", str(tmp_path / "ts"), "--item", "TS_02")[0] == 0
    assert sorted(p.name for p in (tmp_path / "ts").rglob("*.*")) == [
        "provenance.json", "stack.bin", "tilt_series.h5",
    ]  # fmt: skip
    assert call("export", "crate", str(tmp_path / "c.json"), "--of", "copy", "--author", "A. B.")[0] == 0
    assert graph_of(tmp_path / "c.json")["#author"]["name"] == "A. B."
    assert call("export", "prov", str(tmp_path / "h.json"), "--of", str(tmp_path / "m.bin"))[0] == 0
    assert set(json.loads((tmp_path / "h.json").read_text())["activity"]) == {
        f"p:r{n:04d}" for n in (1, 2, 3, 4, 6)
    }
    for words, hint in (
        (("export", "crate", "x.json", "--affiliation", "I"), "--author"),
        (("export", "map", "shift", "x.mrc"), "its outputs are tilt_series"),
        (("export", "files", "shift.map", "x"), "no output"),
        (("export", "files", "copies", "x"), "did you mean 'copy'"),
        (("export", "prov", "x.json", "--of", "raw/TS_01.txt"), "no run made this"),
    ):
        code, said = call(*words)
        assert code == 2, said
        assert hint in said
    assert not [*ran.root.glob("x*")]
