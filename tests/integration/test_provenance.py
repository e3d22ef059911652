"""What made a file, from anywhere: inside the project, copied, renamed, linked, exported, project gone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.api.copies import export_files
from staproj.api.provenance import what_made
from staproj.cli.main import main
from staproj.engine import session, sidecar
from staproj.errors import CancelledError, CheckError, StorageError, UsageError
from staproj.report.provenance import record_lines
from tests.integration import toy_stages as toy

CHAIN = ["r0006", "r0004", "r0003", "r0002", "r0001"]


@pytest.fixture
def ran(project: Project) -> Project:
    """Return a project whose steps are all complete: import, shift, again, mean, other, copy."""
    project.run()
    return project


@pytest.fixture
def told(
    ran: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return a function that calls a command in the project and returns what it says."""
    monkeypatch.chdir(ran.root)

    def call(*words: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as left:
            main(words)
        said = capsys.readouterr()
        assert left.value.code == code, said
        return said.out if code == 0 else said.err

    return call


def runs_of(told: dict[str, Any]) -> list[str]:
    """Return the runs of a chain as they come."""
    return [node["run"] for node in told["chain"]]


def test_outputs_are_known_by_their_place(
    ran: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute and relative paths and links from outside lead to the run, with its chain down to raw data."""
    file = ran.root / "runs" / "r0006-copy" / "out" / "map.bin"
    (tmp_path / "link.bin").symlink_to(file)
    (tmp_path / "runs-of-it").symlink_to(ran.root / "runs")
    monkeypatch.chdir(tmp_path)
    for path in (file, "link.bin", "p/runs/r0006-copy/out/map.bin", "runs-of-it/r0006-copy/out/map.bin"):
        found = what_made(path, None)
        assert found["source"] == "run"
        assert (found["run"], found["changed"], found["artifact"]["port"]) == ("r0006", False, "map")
        assert runs_of(found) == CHAIN
        assert [Path(raw["path"]).name for raw in found["raw"]] == ["TS_01.txt", "TS_02.txt", "TS_03.txt"]
    (ran.root / "copy").mkdir()  # a folder called as a step is
    assert runs_of(what_made("copy", ran.root)) == CHAIN
    file.write_bytes(b"something else of other length")
    assert what_made(file, None)["changed"] is True
    file.unlink()
    assert (runs_of(what_made(file, None)), what_made(file, None)["gone"]) == (CHAIN, "missing")
    with pytest.raises(UsageError, match="none of this name"):
        what_made(file.with_name("never.bin"), None)
    with pytest.raises(UsageError, match="no such file"):
        what_made(ran.root / "runs" / "r0099-copy" / "out" / "map.bin", None)
    with pytest.raises(UsageError, match="no step, run or file 'coppy'") as unknown:
        ran.provenance.methods(["coppy"])
    assert "copy" in str(unknown.value.hint)


def test_a_map_that_left_is_known_when_its_project_is_gone(ran: Project, tmp_path: Path) -> None:
    """The record beside a copy says runs, parameters with layers, digests, software, command and raw data."""
    away = tmp_path / "away"
    away.mkdir()
    made = export_files(ran, "copy.map", away / "best.bin", maps_only=True)
    assert made["files"] == [str(away / "best.bin")]
    spec = json.loads((ran.root / "runs" / "r0002-shift" / "spec.json").read_text())
    content = (ran.root / "runs" / "r0006-copy" / "out" / "map.bin").read_bytes()
    shutil.rmtree(ran.root)
    assert (away / "best.bin").read_bytes() == content
    found = what_made(away / "best.bin", None)
    assert (found["source"], found["changed"], found["renamed"]) == ("sidecar", False, False)
    assert (found["run"], runs_of(found)) == ("r0006", CHAIN)
    assert found["artifact"]["sha256"] == "sha256:" + hashlib.sha256(content).hexdigest()
    shift = next(node for node in found["chain"] if node["step"] == "shift")
    assert shift["uuid"] == spec["uuid"]
    assert shift["params"]["offset_px"] == {"value": 2.0, "layer": "step"}
    assert shift["inputs"]["tilt_series"]["digest"] == spec["inputs"]["tilt_series"]["digest"]
    assert (shift["command"], shift["key"]) == (spec["command"], spec["key"])
    assert shift["software"]["staproj"] == spec["software"]["staproj"]
    record = json.loads((away / "best.bin.staproj.json").read_text())
    assert record["environments"][shift["environment"]]["packages"]["numpy"]
    assert [raw["fingerprint"][:2] for raw in found["raw"]] == ["q:"] * 3


def test_exports_are_known_after_renaming_linking_and_change(ran: Project, tmp_path: Path) -> None:
    """Renamed files, hard and symbolic links are found by digest; a changed file is said to be changed."""
    away = tmp_path / "away"
    export_files(ran, "copy", f"{away}/")
    (away / "map.bin").rename(away / "renamed.bin")
    found = what_made(away / "renamed.bin", None)
    assert (found["renamed"], found["entry"], found["run"], found["changed"]) == (
        True,
        "map.bin",
        "r0006",
        False,
    )
    os.link(away / "renamed.bin", away / "hard.bin")
    (tmp_path / "soft.bin").symlink_to(away / "renamed.bin")
    for path in (away / "hard.bin", tmp_path / "soft.bin"):
        assert what_made(path, None)["run"] == "r0006"
    (away / "map.bin").write_bytes(b"12345678")
    changed = what_made(away / "map.bin", None)
    assert (changed["changed"], changed["run"]) == (True, "r0006")
    folder = what_made(away, None)
    assert (runs_of(folder), folder["changed"]) == (CHAIN, True)
    assert folder["differing"] == ["map.bin"]
    (away / "deep" / "er").mkdir(parents=True)
    shutil.move(away / "renamed.bin", away / "deep" / "er" / "x.bin")
    assert what_made(away / "deep" / "er" / "x.bin", None)["run"] == "r0006"
    (away / "stranger.bin").write_bytes(b"none of these")
    with pytest.raises(UsageError, match="no staproj project"):
        what_made(away / "stranger.bin", None)


def test_copies_without_record_are_known_by_content(
    ran: Project, told: Callable[..., str], tmp_path: Path
) -> None:
    """A copy anywhere is known to the project by its bytes: from inside, or named with -C."""
    original = ran.root / "runs" / "r0006-copy" / "out" / "map.bin"
    shutil.copyfile(original, tmp_path / "copy.bin")
    found = json.loads(told("lineage", str(tmp_path / "copy.bin"), "-C", str(ran.root), "--json"))
    assert found["source"] == "content"
    assert {use["run"] for use in found["same_as"]} == {"r0006", "r0004"}  # equal bytes of mean and its copy
    assert "the same bytes as r0006 out/map.bin" in told("lineage", str(tmp_path / "copy.bin"))
    linked = tmp_path / "linked.bin"
    os.link(ran.root / "runs" / "r0004-mean" / "out" / "map.bin", linked)
    assert what_made(linked, ran.root)["run"] == "r0004"  # the file itself, not an equal one that is newer
    shutil.copyfile(original, ran.root / "runs" / "r0002-shift" / "out" / "misplaced.bin")
    assert what_made(ran.root / "runs" / "r0002-shift" / "out" / "misplaced.bin", None)["run"] == "r0006"
    (tmp_path / "copy.bin").write_bytes(b"other")
    assert "lies in no staproj project" in told("lineage", str(tmp_path / "copy.bin"), code=2)


HOSTILE = (
    "",
    "{",
    "[]",
    "[" * 100_000,
    '{"record": "staproj provenance"}',
    '{"record": "staproj provenance", "format": 1, "files": []}',
    '{"record": "staproj provenance", "format": 1, "files": {"map.bin": 3}, "runs": [1]}',
    '{"record": "staproj provenance", "format": 1e999, "files": {}, "runs": []}',
    '{"record": "staproj provenance", "format": 1, "files": {"map.bin": {"sha256": "sha256:0"}}, '
    '"runs": [{"run": "r1", "inputs": {"a": {"run": 7}}, "params": []}], "raw": {}}',
)


def test_a_sidecar_of_another_make_does_no_harm(ran: Project, tmp_path: Path) -> None:
    """A record that is damaged, hostile or somebody else's is passed over, or gives no runs."""
    shutil.copyfile(ran.root / "runs" / "r0006-copy" / "out" / "map.bin", tmp_path / "map.bin")
    for text in HOSTILE:
        (tmp_path / "provenance.json").write_text(text)
        assert what_made(tmp_path / "map.bin", ran.root)["source"] == "content"
        said = sidecar.find(tmp_path / "map.bin")
        assert said is None or (said["changed"] is True and said["chain"] == [])


def test_a_file_that_is_not_what_was_sealed_is_not_exported(ran: Project, tmp_path: Path) -> None:
    """A changed output is refused and leaves nothing; a missing one is told so; nothing is replaced."""
    file = ran.root / "runs" / "r0006-copy" / "out" / "map.bin"
    target = tmp_path / "new.bin"
    export_files(ran, "mean.map", target, maps_only=True)
    before = target.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        export_files(ran, "copy.map", target, maps_only=True)
    file.write_bytes(bytes(8))
    with pytest.raises(CheckError, match="not what its run made"):
        export_files(ran, "copy.map", target, maps_only=True, force=True)
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.glob("*.part")] == []
    file.unlink()
    with pytest.raises(StorageError, match="not there"):
        export_files(ran, "copy.map", tmp_path / "other.bin", maps_only=True)
    with pytest.raises(UsageError, match="among the runs"):
        export_files(ran, "mean.map", ran.root / "runs" / "x.bin", maps_only=True)
    with pytest.raises(UsageError, match="not one"):
        export_files(ran, "shift", tmp_path / "series.bin")


def test_nothing_that_leaves_names_this_machine(
    make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sidecars, crates and PROV hold no path of the project; --anonymous leaves user and host out too."""
    project = make_project("of-somebody")
    monkeypatch.setattr(
        "sys.argv", ["staproj", "run", "-C", str(project.root), "--x", str(tmp_path / "secret" / "a")]
    )
    project.run(["again", "other"], note=f"see {project.root}/notes.txt")
    toy.SWITCH["TS_02"] = lambda ctx: (_ for _ in ()).throw(ValueError(f"bad file {project.root}/raw/x"))
    with pytest.raises(Exception, match="bad file"):
        project.rerun("shift", sets={"offset_px": 9.0})
    for hide in (False, True):
        out = tmp_path / f"out{hide}"
        out.mkdir()
        project.provenance.crate(out / "crate.json", anonymous=hide)
        project.provenance.prov(out / "prov.json", anonymous=hide)
        export_files(project, "other", out / "maps", anonymous=hide)
        env = json.loads((project.root / "runs" / "r0001-import" / "env.json").read_text())
        for path in (out / "crate.json", out / "prov.json", out / "maps" / "provenance.json"):
            text = path.read_text()
            assert str(tmp_path) not in text
            assert "notes.txt" not in text if hide else "./notes.txt" in text or path.name != "crate.json"
            names = [f'"{env["user"]}"', f'"{env["host"]}"', f"person/{env['user']}"]
            assert not (hide and any(name in text for name in names))
        assert ("bad file ./raw/x" in (out / "crate.json").read_text()) is True


def test_cost_is_the_sum_of_the_chain(ran: Project, told: Callable[..., str]) -> None:
    """Wall and CPU time add up over the runs behind a map, each once; items taken over count too."""
    ledger = ran.provenance.cost("copy")
    assert sorted(row["run"] for row in ledger["runs"]) == sorted(CHAIN)
    rows = {row["run"]: row for row in ran.ls()}
    assert ledger["wall_s"] == pytest.approx(sum(rows[run]["wall_s"] for run in CHAIN), abs=2e-3)
    assert "in all" in told("lineage", "copy", "--cost")
    ran.rerun("shift", sets={"mode": "other"})  # a new key: nothing to take over
    (ran.root / "raw" / "TS_03.txt").write_text("77\n")
    ran.run(["shift"])
    newest = ran.provenance.facts("shift")
    assert set(newest["reused_from"]) == {"TS_01", "TS_02"}
    origin = newest["reused_from"]["TS_01"]["run"]
    assert origin == "r0007"
    both = ran.provenance.cost("shift")
    item = json.loads((ran.root / "runs" / "r0007-shift" / "items" / "TS_01" / "item.json").read_text())
    reused = next(row for row in both["runs"] if row["run"] == newest["run"])["reused"]
    assert [part["item"] for part in reused] == ["TS_01", "TS_02"]
    assert reused[0]["wall_s"] == item["wall_s"]


def test_cost_of_an_attempt_that_was_stopped_counts(project: Project) -> None:
    """A run that was interrupted and went on costs both attempts."""
    toy.SWITCH["TS_02"] = "interrupt"
    with pytest.raises(CancelledError):
        project.run(["shift"])
    toy.SWITCH.clear()
    session.run_steps(project.root, targets=["shift"], resume="r0002")
    facts = project.provenance.facts("shift")
    assert (facts["run"], facts["earlier"]["attempts"]) == ("r0002", 1)
    lines = (project.root / "runs" / "r0002-shift" / "state.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    stopped = next(event for event in events if event["event"] == "interrupted")
    sealed = next(event for event in events if event["event"] == "sealed")
    ledger = project.provenance.cost("shift")
    row = next(row for row in ledger["runs"] if row["run"] == "r0002")
    assert row["earlier"]["wall_s"] == stopped["wall_s"]
    other = next(row for row in ledger["runs"] if row["run"] == "r0001")
    assert ledger["wall_s"] == pytest.approx(stopped["wall_s"] + sealed["wall_s"] + other["wall_s"], abs=2e-3)


def test_the_whole_record_is_told(ran: Project, told: Callable[..., str]) -> None:
    """`show --provenance` says command, code, packages, machine, user, times, memory, layers and digests."""
    assert "offset_px = 2  (step)" in told("lineage", "shift")
    text = told("show", "shift", "--provenance")
    facts = json.loads(told("show", "shift", "--provenance", "--json"))
    env = facts["environment"]
    for word in (
        facts["uuid"],
        " ".join(facts["command"]),
        env["host"],
        env["cpu"],
        env["python"],
        facts["who"],
    ):
        assert word in text
    assert env["packages"]["numpy"] in text
    assert "peak memory" in text
    assert re.search(r"offset_px\s+2\s+step", text)
    assert re.search(r"rounded\s+no\s+default", text)
    for use in facts["inputs"].values():
        for value in use["digest"].values():
            assert value in text
    for file in facts["files"]:
        assert file["sha256"] in text


def test_devices_and_jobs_are_told_and_can_be_left_out(ran: Project) -> None:
    """GPUs with UUID and driver, and the scheduler's job, are told; --anonymous drops what names them."""
    path = ran.root / "runs" / "r0002-shift" / "env.json"
    env = json.loads(path.read_text())
    gpu = {"uuid": "GPU-77aa", "model": "H100", "driver": "570.1", "memory": "80 GiB", "visible": True}
    env |= {
        "gpus": [gpu, {**gpu, "uuid": "GPU-other", "visible": False}],
        "scheduler": {"SLURM_JOB_ID": "4711"},
    }
    path.write_text(json.dumps(env))
    facts = ran.provenance.facts("r0002")
    assert facts["gpus"] == ["H100, GPU-77aa, driver 570.1"]
    text = "\n".join(record_lines(facts))
    assert "H100, GPU-77aa, driver 570.1" in text
    assert "4711" in text
    hidden = json.dumps(ran.provenance.sidecar("files", {}, ["r0002"], anonymous=True))
    assert "H100" in hidden
    assert not [word for word in ("GPU-77aa", "GPU-other", "4711", env["host"]) if f'"{word}"' in hidden]


def test_graphs_have_the_edges_of_the_lineage(told: Callable[..., str]) -> None:
    """Graphviz and Mermaid text name every run and every input of the chain, and the raw data."""
    chain = json.loads(told("lineage", "copy", "--json"))["chain"]
    edges = {(use["run"], node["run"]) for node in chain for use in node["inputs"].values()}
    for flag, arrow in (("--dot", "->"), ("--mermaid", "-->")):
        lines = [line.split() for line in told("lineage", "copy", flag).splitlines() if arrow in line]
        if flag == "--dot":
            drawn = {(line[0], line[2].rstrip(";")) for line in lines if line[0] != "raw"}
        else:
            drawn = {(line[0], line[-1]) for line in lines if not line[0].startswith("raw")}
        assert drawn == edges
        assert any(line[0].startswith("raw") for line in lines)
