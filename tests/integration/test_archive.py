"""Archive, verify, restore: what goes in comes out, is readable without staproj, and knows what it lacks."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.api.archives import restore, verify_path
from staproj.errors import CheckError, UsageError
from tests.integration.conftest import states
from tests.integration.toy_stages import SWITCH, TEMPLATE


def tree(root: Path) -> dict[str, bytes]:
    """Return all files of a project but its caches."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and (".staproj" not in path.parts or path.name == "last-run")
    }


def unpack(archive: Path, into: Path) -> Path:
    """Unpack with the tar of the system; return the bag."""
    into.mkdir()
    subprocess.run(["tar", "xf", str(archive), "-C", str(into)], check=True)
    (only,) = into.iterdir()
    return only


@pytest.mark.parametrize("zstd", [False, True])
def test_what_goes_in_comes_out(done: Project, tmp_path: Path, zstd: bool) -> None:
    """A restored project has the same files with the same bytes, times of outputs, and nothing is stale."""
    archive = tmp_path / ("a.tar.zst" if zstd else "a.tar")
    before = {path: path.stat().st_mtime_ns for path in done.root.rglob("*")}
    made = done.archives.write(archive, zstd=zstd)
    assert made["left_out"] == []
    assert verify_path(archive)["ok"]
    assert before == {path: path.stat().st_mtime_ns for path in done.root.rglob("*")}
    restore(archive, tmp_path / "b")
    assert tree(tmp_path / "b") == tree(done.root)
    back = Project.open(tmp_path / "b")
    assert set(states(back).values()) == {"fresh"}
    assert back.archives.verify()["ok"]
    first = sorted(done.root.glob("runs/*/out/**/*.h5"))[0]
    twin = tmp_path / "b" / first.relative_to(done.root)
    assert (twin.stat().st_mtime_ns, twin.stat().st_mode) == (first.stat().st_mtime_ns, first.stat().st_mode)
    assert not [p for p in tmp_path.iterdir() if ".part" in p.name]


def test_zstd_holds_the_same_tar(done: Project, tmp_path: Path) -> None:
    """What a zstd program unpacks is bit for bit the uncompressed archive, whenever it was written."""
    zstandard = pytest.importorskip("zstandard")
    done.archives.write(tmp_path / "a.tar.zst", zstd=True)
    done.archives.write(tmp_path / "a.tar")
    with (tmp_path / "a.tar.zst").open("rb") as handle:
        reader = zstandard.ZstdDecompressor().stream_reader(handle, read_across_frames=True)
        assert reader.read() == (tmp_path / "a.tar").read_bytes()
    for wrong in ("b.tar.gz", "b.tar.zst"):
        with pytest.raises(UsageError, match="compressed"):
            done.archives.write(tmp_path / wrong)


def test_the_next_run_of_a_restored_project_has_a_new_number(done: Project, tmp_path: Path) -> None:
    """Numbers given out before archiving are not given out again, and a new run becomes head."""
    done.archives.write(tmp_path / "a.tar")
    highest = max(row["run"] for row in done.ls())
    restore(tmp_path / "a.tar", tmp_path / "b")
    back = Project.open(tmp_path / "b")
    made = back.rerun("mean", sets={"weight": 2.0})
    assert made["run"] > highest
    assert back.why("mean")["run"] == made["run"]


def test_readable_without_staproj(done: Project, tmp_path: Path) -> None:
    """`tar xf` unpacks it; bagit and sha256sum accept it; data/ is a project directory."""
    bagit = pytest.importorskip("bagit")
    done.archives.write(tmp_path / "my archive.tar")
    found = unpack(tmp_path / "my archive.tar", tmp_path / "x")
    assert found.name == "p"
    opened = bagit.Bag(str(found))
    opened.validate()
    assert opened.info["Payload-Oxum"] == opened.info["Payload-Oxum"]
    total = sum(path.stat().st_size for path in (found / "data").rglob("*") if path.is_file())
    assert int(opened.info["Payload-Oxum"].split(".")[0]) == total
    for name in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        subprocess.run(["sha256sum", "--quiet", "-c", name], cwd=found, check=True)
    plain = {k: v for k, v in tree(found / "data").items() if k != "ro-crate-metadata.json"}
    assert plain == tree(done.root)
    assert set(states(Project.open(found / "data")).values()) == {"fresh"}
    assert verify_path(found)["ok"]


def test_an_unpacked_archive_is_compared_with_its_manifests(done: Project, tmp_path: Path) -> None:
    """A changed, a missing and an added file of an unpacked bag are all named."""
    done.archives.write(tmp_path / "a.tar")
    found = unpack(tmp_path / "a.tar", tmp_path / "x")
    (found / "data" / "notes.txt").write_text("changed\n")
    (found / "data" / "raw" / "TS_01.txt").unlink()
    (found / "data" / "new.txt").write_text("new\n")
    damage = {d["file"]: d["problem"] for d in verify_path(found)["damage"]}
    assert set(damage) == {"notes.txt", "raw/TS_01.txt", "new.txt"}


def test_damage_in_a_project_is_named(done: Project) -> None:
    """A changed output, a missing one, damaged records and versions: each is reported with its run."""
    mean = done.layout.find_run(done.why("mean")["run"])
    other = done.layout.find_run(done.why("other")["run"])
    (mean.out / "map.bin").chmod(0o644)
    (mean.out / "map.bin").write_bytes(b"87654321")
    (other.out / "map.h5").unlink()
    other.env.write_text(other.env.read_text().replace("python", "pythom", 1))
    item = mean.finished_items()[0]
    item.write_text(item.read_text().replace("sha256:", "sha255:"))
    done.layout.version(1).write_text("[version")
    found = done.archives.verify()
    names = {(d["run"], d["file"].rpartition("/")[2]) for d in found["damage"]}
    expected = {(mean.id, "map.bin"), (mean.id, "item.json"), (other.id, "map.h5"), (other.id, "env.json")}
    assert names == {*expected, (None, "0001.toml")}
    assert {d["run"] for d in done.archives.verify(runs=["mean"])["damage"]} == {mean.id}


def test_links_odd_names_and_the_archive_itself(done: Project, tmp_path: Path) -> None:
    """Links are not followed but named; raw data behind a link comes with --include-raw; DEST is no part."""
    (tmp_path / "secret").write_text("not yours\n")
    (done.root / "link").symlink_to(tmp_path / "secret")
    (done.root / "odd\nname").write_text("x")
    (tmp_path / "moved.txt").write_bytes((done.root / "raw" / "TS_01.txt").read_bytes())
    (done.root / "raw" / "TS_01.txt").unlink()
    (done.root / "raw" / "TS_01.txt").symlink_to(tmp_path / "moved.txt")
    for number in (1, 2):
        made = done.archives.write(done.root / f"a{number}.tar")
        assert {e["path"] for e in made["left_out"]} == {"link", "odd\nname", "raw/TS_01.txt"}
    listed = subprocess.run(["tar", "tf", done.root / "a2.tar"], capture_output=True, text=True, check=True)
    assert "p/data/a1.tar" in listed.stdout
    assert "a2.tar" not in listed.stdout
    made = done.archives.write(tmp_path / "b.tar", include_raw=True)
    assert {e["path"] for e in made["left_out"]} >= {"link"}
    restore(tmp_path / "b.tar", tmp_path / "b")
    assert (tmp_path / "b" / "raw" / "TS_01.txt").read_text() == "10\n"
    assert not (tmp_path / "b" / "link").exists()


def test_the_crate_of_an_archive_is_valid(done: Project, tmp_path: Path) -> None:
    """Every file that the RO-Crate metadata names is in the archive with that size and digest."""
    done.archives.write(tmp_path / "a.tar", without=["intermediate"])
    found = unpack(tmp_path / "a.tar", tmp_path / "x") / "data"
    graph = json.loads((found / "ro-crate-metadata.json").read_text())["@graph"]
    files = [e for e in graph if e["@type"] == "File"]
    assert len(files) > 5
    for entry in files:
        raw = (found / entry["@id"]).read_bytes()
        assert "sha256" not in entry or entry["sha256"] == hashlib.sha256(raw).hexdigest()
    absent = [e for e in graph if e["@id"].startswith("#absent/") and "stack.bin" in e["@id"]]
    assert absent
    assert all("sha256" in e for e in absent)


def test_the_commands(done: Project, tmp_path: Path) -> None:
    """archive, verify and restore on the command line: words, one JSON document, exit codes."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "staproj", *words]
        return subprocess.run(line, cwd=done.root, capture_output=True, text=True, check=False)

    made = call("archive", "../a.tar", "--without", "intermediate,raw", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["files"] > 10
    assert call("archive", "../a.tar").returncode == 2
    assert call("archive", "../b.tar", "--without", "everything").returncode == 2
    assert "every bit" in call("verify", "../a.tar").stdout
    assert json.loads(call("verify", "--json").stdout)["ok"] is True
    assert "restored" in call("restore", "../a.tar", "../back").stdout
    assert call("restore", "../a.tar", "../back").returncode == 2
    assert call("restore", "staproj.toml", "../other").returncode == 1
    victim = next((tmp_path / "back").glob("runs/*-mean/out/map.bin"))
    victim.chmod(0o644)
    victim.write_bytes(b"12345678")
    found = call("verify", "../back")
    assert found.returncode == 4
    assert victim.relative_to(tmp_path / "back").as_posix() in found.stdout


def test_metadata_come_first(done: Project, tmp_path: Path) -> None:
    """The bag's own files, then records, then outputs, then the rest, then the manifests."""
    done.archives.write(tmp_path / "a.tar")
    listed = subprocess.run(
        ["tar", "tf", str(tmp_path / "a.tar")], capture_output=True, text=True, check=True
    )
    names = [line.partition("/")[2] for line in listed.stdout.splitlines()]
    assert names[:4] == ["bagit.txt", "bag-info.txt", "README.txt", "stubs.json"]
    assert names[-3:] == ["manifest-sha256.txt", "tagmanifest-sha256.txt", "archive-sha256.txt"]
    last_record = max(i for i, name in enumerate(names) if name.endswith(("/SEALED", "/spec.json", ".toml")))
    first_output = min(i for i, name in enumerate(names) if "/out/" in name)
    assert last_record < first_output


def test_what_stays_behind_is_listed_and_honest(done: Project, tmp_path: Path) -> None:
    """Left-out classes are stubs with size and digest: in CLEARED, in stubs.json, not in the manifest."""
    made = done.archives.write(tmp_path / "a.tar", without=["intermediate,raw"])
    found = unpack(tmp_path / "a.tar", tmp_path / "x")
    stubs = json.loads((found / "stubs.json").read_text())["stubs"]
    listed = {line.split("  ", 1)[1] for line in (found / "manifest-sha256.txt").read_text().splitlines()}
    outputs = [stub for stub in stubs if stub["class"] == "intermediate"]
    assert outputs
    for stub in outputs:
        original = (done.root / stub["path"]).read_bytes()
        assert (stub["size"], stub["sha256"]) == (len(original), hashlib.sha256(original).hexdigest())
        assert "data/" + stub["path"] not in listed
    raw = {stub["path"] for stub in stubs if stub["class"] == "raw"}
    assert raw == {"raw/TS_01.txt", "raw/TS_02.txt", "raw/TS_03.txt"}
    assert made["files"] == len(listed)
    restored = restore(tmp_path / "a.tar", tmp_path / "b")
    assert restored["cleared_files"] == len(outputs)
    back = Project.open(tmp_path / "b")
    assert back.archives.verify()["ok"]
    assert back.archives.verify()["not_there"] == len(outputs)
    assert "stale" not in set(states(back).values())
    for marker in (tmp_path / "b").glob("runs/*/CLEARED"):
        content = json.loads(marker.read_text())
        assert (content["format"], content["why"]) == (1, "not in the archive")


def test_one_run_comes_back_alone(done: Project, tmp_path: Path) -> None:
    """`restore --run` brings one run: into a new directory with all records, or into a project lacking it."""
    done.archives.write(tmp_path / "full.tar")
    done.archives.write(tmp_path / "light.tar", without=["intermediate"])
    head = done.why("shift")["run"]
    restore(tmp_path / "full.tar", tmp_path / "one", run=head)
    assert {p.parts[-4][:5] for p in (tmp_path / "one").glob("runs/*/out/*/*")} == {head}
    restore(tmp_path / "light.tar", tmp_path / "b")
    run = Project.open(tmp_path / "b").layout.find_run(head)
    assert run.cleared.is_file()
    restored = restore(tmp_path / "full.tar", tmp_path / "b", run=head)
    assert restored["files"] > 0
    assert not run.cleared.exists()
    original = done.layout.find_run(head)
    assert tree(run.path) == tree(original.path)
    assert restore(tmp_path / "full.tar", tmp_path / "b", run=head)["files"] == 0
    damaged = next(path for path in run.out.rglob("*.h5"))
    size, content = damaged.stat().st_size, damaged.read_bytes()
    damaged.chmod(0o644)
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert restore(tmp_path / "full.tar", tmp_path / "b", run=head)["n_bytes"] == size
    assert (tree(run.path), damaged.read_bytes()) == (tree(original.path), content)
    with pytest.raises(UsageError, match="not in the archive"):
        restore(tmp_path / "full.tar", tmp_path / "c", run="r0999")
    assert not (tmp_path / "c").exists()


def test_a_part_takes_the_records_it_comes_from(done: Project, tmp_path: Path) -> None:
    """An archive of one run holds its outputs, records of all ancestors, and nothing of other runs."""
    head = done.why("mean")["run"]
    done.archives.write(tmp_path / "a.tar", runs=["mean"])
    restore(tmp_path / "a.tar", tmp_path / "b")
    back = Project.open(tmp_path / "b")
    chain = {str(node["run"]) for node in done.lineage(head)["chain"]}
    assert {row["run"] for row in back.ls()} >= chain
    assert done.why("other")["run"] not in {row["run"] for row in back.ls()}
    assert [n["run"] for n in back.lineage(head)["chain"]] == [n["run"] for n in done.lineage(head)["chain"]]
    payload = {path.parts[-3] for path in (tmp_path / "b").glob("runs/*/out/*.h5")}
    assert payload == {done.layout.find_run(head).path.name}
    found = states(back)
    assert (found["other"], found["copy"]) == ("never-run", "never-run")


def test_raw_data_from_outside(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """Raw data outside the project is listed with fingerprints, and taken along when asked for."""
    far = tmp_path / "far"
    far.mkdir()
    (far / "TS_09.txt").write_text("7\n")
    text = TEMPLATE.replace('movies = "raw/*.txt"', f'movies = "{far}/*.txt"')
    project = make_project("q", text)
    project.run()
    project.archives.write(tmp_path / "a.tar")
    found = unpack(tmp_path / "a.tar", tmp_path / "x")
    (stub,) = [s for s in json.loads((found / "stubs.json").read_text())["stubs"] if s.get("class") == "raw"]
    assert stub["path"] == str(far / "TS_09.txt")
    assert stub["fingerprint"].startswith("q:")
    assert stub["archived_as"] is None
    project.archives.write(tmp_path / "c.tar", include_raw=True)
    found = unpack(tmp_path / "c.tar", tmp_path / "y")
    (stub,) = [s for s in json.loads((found / "stubs.json").read_text())["stubs"] if s.get("class") == "raw"]
    assert (found / stub["archived_as"]).read_text() == "7\n"
    (far / "TS_09.txt").unlink()
    restore(tmp_path / "a.tar", tmp_path / "b")
    assert "stale" not in states(Project.open(tmp_path / "b")).values()


def test_a_file_that_differs_from_its_record_stops_it(done: Project, tmp_path: Path) -> None:
    """A changed output is not archived in silence; --keep-going archives it and lists it for good."""
    victim = sorted(done.root.glob("runs/*-mean/out/map.bin"))[0]
    victim.chmod(0o644)
    raw = bytearray(victim.read_bytes())
    raw[0] ^= 1
    victim.write_bytes(bytes(raw))
    with pytest.raises(CheckError, match="differs from its record") as caught:
        done.archives.write(tmp_path / "a.tar")
    assert str(victim) in str(caught.value)
    assert not (tmp_path / "a.tar").exists()
    made = done.archives.write(tmp_path / "a.tar", resume=True, keep_going=True)
    assert [p["path"] for p in made["problems"]] == ["data/" + victim.relative_to(done.root).as_posix()]
    assert verify_path(tmp_path / "a.tar")["ok"]
    assert verify_path(tmp_path / "a.tar")["notes"]
    restored = restore(tmp_path / "a.tar", tmp_path / "b")
    assert len(restored["problems"]) == 1
    found = Project.open(tmp_path / "b").archives.verify()
    assert [d["run"] for d in found["damage"]] == [victim.parts[-3][:5]]


def test_runs_that_are_not_complete(project: Project, tmp_path: Path) -> None:
    """Records of failed runs go in, without half-made outputs; a run that is going on is left out."""
    SWITCH["TS_02"] = "fail"
    with pytest.raises(Exception, match="shift"):
        project.run()
    going = project.layout.runs / "r0090-mean"
    going.mkdir()
    from staproj.project import runs
    from staproj.project.layout import RunDir

    runs.note_started(RunDir(going), 1)
    made = project.archives.write(tmp_path / "a.tar")
    assert [e["path"] for e in made["left_out"]] == ["runs/r0090-mean"]
    restore(tmp_path / "a.tar", tmp_path / "b")
    rows = {row["step"]: row["state"] for row in Project.open(tmp_path / "b").ls()}
    assert rows["shift"] == "failed"
    assert not list((tmp_path / "b").glob("runs/*/attempt-*"))
