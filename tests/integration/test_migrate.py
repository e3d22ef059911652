"""Schemas: older projects are read, and brought up to date wherever that is stopped; newer ones only read."""

from __future__ import annotations

import hashlib
import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.errors import LockedError, ManifestError, ProjectError, StaprojError, StorageError
from staproj.project import journal, migrate, schema, versions
from tests.integration.conftest import edit, states


class PowerCutError(BaseException):
    """Stands for a process that is gone at once: nothing after it reaches the disk."""


@pytest.fixture
def old(project: Project) -> Project:
    """Return a project as a staproj of schema 1 left it, with runs, a remark and a file of somebody else."""
    project.run()
    for path in (project.layout.manifest, *project.layout.versions.glob("*.toml")):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("uuid")]
        path.write_text("\n".join(lines).replace("schema = 2", "schema = 1   # from long ago") + "\n")
    shutil.rmtree(project.layout.annotations)
    shutil.rmtree(project.layout.private)
    project.layout.readme.write_text("an older text\n")
    (project.root / "mine.txt").write_text("mine\n")
    return project


def sums(root: Path) -> dict[str, str]:
    """Return digests of all files of runs and of strangers."""
    found = [*root.joinpath("runs").rglob("*"), root / "mine.txt"]
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found if p.is_file()
    }


def facts(root: Path) -> dict[str, Any]:
    """Return what a migrated project must show, however it came there."""
    data = tomllib.loads((root / "staproj.toml").read_text())
    return {
        "schema": data["schema"],
        "has uuid": len(data["project"]["uuid"]),
        "other": {key: value for key, value in data.items() if key not in ("schema", "project")},
        "annot": (root / "annot").is_dir(),
        "readme": "annot/" in (root / "README.staproj.txt").read_text(),
        "comment": "# from long ago" in (root / "staproj.toml").read_text(),
        "states": states(Project(root)),
        "versions": [v["why"] for v in Project(root).versions()],
        "counter": (root / ".staproj" / "last-run").read_text().split()[0],
        "journal": journal.pending(Project(root).layout),
    }


def test_an_older_project_is_read_and_asks_for_migration_when_written(old: Project):
    """Status, list, reasons and lineage work; what writes is refused with exit code 2 and changes nothing."""
    before = sums(old.root)
    assert set(states(old).values()) == {"fresh"}
    assert len(old.ls()) == 6
    assert old.why("mean")["state"] == "fresh"
    assert old.lineage("r0004")["chain"]
    for write in (old.run, lambda: old.rerun("mean"), lambda: old.annotations.note("r0001", "x")):
        with pytest.raises(ProjectError, match="schema 1") as info:
            write()
        assert "staproj migrate" in info.value.hint
        assert info.value.exit_code == 2
    assert sums(old.root) == before
    assert {path.name for path in old.layout.private.iterdir()} <= {"index.jsonl", "fingerprints.json"}


def test_dry_run_says_everything_and_writes_nothing(old: Project):
    """What a dry run lists is what is done then."""
    before = sorted((p, p.stat().st_mtime_ns) for p in old.root.rglob("*"))
    told = old.care.migrate(dry_run=True)
    assert sorted((p, p.stat().st_mtime_ns) for p in old.root.rglob("*")) == before
    done = old.care.migrate()
    assert (told["from"], told["to"], done["to"]) == (1, 2, 2)
    assert done["actions"] == told["actions"]
    assert any("schema = 2" in action for action in told["actions"])


def test_migration_keeps_runs_comments_and_strangers(old: Project):
    """Only the schema and the identity change in the manifest; no byte of a run changes; copies are kept."""
    before, text = sums(old.root), (old.root / "staproj.toml").read_text()
    done = old.care.migrate()
    assert sums(old.root) == before
    new = (old.root / "staproj.toml").read_text()
    gained = [line for line in new.splitlines() if line not in text.splitlines()]
    assert [line.split(" = ")[0] for line in gained] == ["schema", "uuid"]
    assert facts(old.root)["counter"] == "6"
    assert (old.root / done["backup"] / "staproj.toml").read_text() == text
    assert (old.root / done["backup"] / "README.staproj.txt").read_text() == "an older text\n"
    assert set(states(old).values()) == {"fresh"}
    assert all(result["action"] == "fresh" for result in old.run())
    assert old.care.migrate()["actions"] == []


def test_a_version_from_before_a_migration_can_be_gone_back_to(old: Project):
    """The manifest of an old version comes back in today's schema, with the identity of the project."""
    old.care.migrate()
    identity = tomllib.loads((old.root / "staproj.toml").read_text())["project"]["uuid"]
    edit(old, "offset_px = 2.0", "offset_px = 3.0")
    old.history.checkout("2")
    data = tomllib.loads((old.root / "staproj.toml").read_text())
    assert (data["schema"], data["project"]["uuid"]) == (2, identity)
    assert data["step"]["shift"]["params"]["offset_px"] == 2.0
    assert set(states(old).values()) == {"fresh"}


CALLS = [("fsync", os), ("replace", os), ("rename", os), ("mkdir", os), ("unlink", os), ("write", os)]


def cut_power(monkeypatch: pytest.MonkeyPatch, after: int) -> list[str]:
    """Let every call that changes the disk fail from the ``after``-th on; return what was called."""
    done: list[str] = []

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            done.append(name)
            if len(done) > after:
                raise PowerCutError
            return real(*args, **kwargs)

        return call

    for name, module in CALLS:
        monkeypatch.setattr(module, name, wrapped(name, getattr(os, name)))
    real_open = Path.open

    def opened(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if set(mode) & set("wxa+"):
            done.append("open")
            if len(done) > after:
                raise PowerCutError
        return real_open(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)
    return done


def test_power_cut_at_every_write(old: Project, tmp_path: Path):
    """Stopped before any single change of the disk, the project opens, and migrating again ends the same."""
    whole = tmp_path / "whole"
    shutil.copytree(old.root, whole)
    Project(whole).care.migrate()
    wanted, runs = facts(whole), sums(old.root)
    points = 0
    while True:
        copy = tmp_path / f"cut{points}"
        shutil.copytree(old.root, copy)
        project = Project(copy)
        with pytest.MonkeyPatch.context() as patch:
            cut_power(patch, points)
            try:
                project.care.migrate()
            except PowerCutError:
                ended = False
            else:
                ended = True
        if ended:
            break
        points += 1
        shutil.rmtree(project.layout.lock, ignore_errors=True)  # its owner is gone: see test_care
        for path in project.layout.journal.glob("*.json"):  # and so is that of the entry
            path.write_text(path.read_text().replace(f'"pid": {os.getpid()}', '"pid": 999999999'))
        assert set(states(project).values()) == {"fresh"}
        assert schema.of_project(project.layout) in (1, 2)
        project.care.migrate()
        assert facts(copy) == wanted, points
        assert sums(copy) == runs
        assert project.care.migrate()["actions"] == []
        shutil.rmtree(copy)
    assert points > 25


def test_an_unfinished_migration_is_ended_by_the_next_command(old: Project, monkeypatch: pytest.MonkeyPatch):
    """When only the version is lacking, any command that writes carries the migration to its end."""
    real = versions.write

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise StorageError("the disk is full")

    monkeypatch.setattr(versions, "write", fail)
    with pytest.raises(StorageError):
        old.care.migrate()
    monkeypatch.setattr(versions, "write", real)
    assert schema.of_project(old.layout) == 2
    assert [entry.op for entry in journal.pending(old.layout)] == ["migrate"]
    assert any(f["kind"] == "journal" for f in old.care.doctor()["findings"])
    old.run()
    assert journal.pending(old.layout) == []
    assert any("migrated" in version["why"] for version in old.versions())


def test_migration_waits_for_nobody_it_could_harm(old: Project, monkeypatch: pytest.MonkeyPatch):
    """A run that goes on, and a manifest saved at the same moment, are reasons not to."""
    run = old.layout.run(max(old.layout.iter_runs()))
    run.sealed.unlink()
    with pytest.raises(LockedError, match=run.id):
        old.care.migrate()
    run.sealed.write_text("{}")
    real = schema.with_schema

    def meanwhile(text: str, number: int) -> str:
        with old.layout.manifest.open("a") as handle:
            handle.write("# saved by a person\n")
        return real(text, number)

    monkeypatch.setattr(schema, "with_schema", meanwhile)
    with pytest.raises(LockedError, match="changed"):
        old.care.migrate()
    assert "# saved by a person" in old.layout.manifest.read_text()
    assert schema.of_project(old.layout) == 1


def test_newer_projects_are_not_migrated(project: Project):
    """There is no way back in time; reading works."""
    edit(project, "schema = 2", "schema = 7\n[future]\nx = 1\n")
    with pytest.raises(ProjectError, match="newer"):
        project.care.migrate()
    assert states(project)["import"] == "never-run"
    assert project.ls() == []
    assert not project.layout.fingerprints.exists()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("schema = 1\n[project]\nschema = 5\n", 1),
        ("# x\n\n  schema=3 # y\r\n[project]\r\n", 3),
        ('note = """\nschema = 9\n[x]\n"""\nschema = 2\n', 2),
    ],
)
def test_schema_is_the_key_above_all_tables(text: str, number: int):
    """Keys of tables and lines inside texts are not the schema; changing it changes nothing else."""
    try:
        assert schema.of_text(text) == number
    except ManifestError:
        assert "note" in text, "only keys nobody knows may be refused"
        return
    new = schema.with_schema(text, 4)
    assert tomllib.loads(new) == {**tomllib.loads(text), "schema": 4}
    assert len(new) == len(text)


@pytest.mark.parametrize("text", ["", "schema = true\n", "schema = 'x'\n", "schema = -1\n", "schema = [\n"])
def test_no_schema_is_an_error_of_ours(text: str):
    """Anything else gives a ManifestError with a remedy."""
    with pytest.raises(ManifestError):
        schema.of_text(text)
    with pytest.raises((StaprojError, tomllib.TOMLDecodeError)):
        schema.with_schema(text, 2)


def test_steps_of_migration_are_complete():
    """There is a way from every older schema to today's."""
    from staproj.project.manifest import OLDEST_SCHEMA, SCHEMA

    assert sorted(migrate.STEPS) == list(range(OLDEST_SCHEMA, SCHEMA))
