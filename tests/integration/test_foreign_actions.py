"""What changes a project from elsewhere stays inside of it, and touches no process it did not start."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.api.archives import restore
from staproj.engine import recover
from staproj.engine.jobs import record as job_record
from staproj.errors import StaprojError, StorageError
from staproj.project import atomic, journal, trash
from staproj.project.process import start_ticks, this_process


@pytest.fixture
def done(project: Project) -> Project:
    """Return a project that was run once."""
    project.run()
    return project


def test_cancel_signals_no_process_that_a_file_names(done: Project):
    """A job that claims a living process of this machine as its own gets a marker; the process lives on."""
    with subprocess.Popen(["sleep", "60"]) as victim:
        who = {**this_process(), "pid": victim.pid, "start_ticks": start_ticks(victim.pid)}
        job = job_record.create(done.layout, "run", {}, command=["staproj", "run"])
        for event in ("supervised", "working"):
            job_record.note(job, event, **who)
        assert job_record.state_of(job).state in ("running", "queued")
        done.jobs.cancel(job.id, grace_s=0.1)
        assert job.cancel.exists()
        assert victim.poll() is None
        victim.kill()


def test_a_job_directory_that_is_a_link_is_no_job(done: Project, tmp_path: Path):
    """A job that lies elsewhere is not listed, and no marker is laid there."""
    job = job_record.create(done.layout, "run", {}, command=[])
    job.path.rename(tmp_path / "elsewhere")
    job.path.symlink_to(tmp_path / "elsewhere")
    assert done.jobs.all() == []
    with pytest.raises(StaprojError):
        done.jobs.cancel(job.id)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["job.json"]


def test_the_trash_moves_nothing_out(done: Project, tmp_path: Path):
    """A clean-up in a foreign journal, with a trash that leads elsewhere, moves nothing there."""
    layout, run = done.layout, done.layout.find_run("r0002")
    file = next(run.out.glob("*/stack.bin"))
    entry = trash.Entry(layout.relative(file), "r0002", 1, "sha256:" + "0" * 64, "TS_01/stack.bin")
    part = trash.begin(layout, "gc", [entry], why="x")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (part.directory.path / "files").symlink_to(elsewhere)
    gone = {**this_process(), "boot_id": "another"}
    content = {"format": 1, "op": "gc", "facts": {"trash": part.name}, "who": gone, "left": True}
    layout.journal.mkdir(exist_ok=True)
    atomic.write_json(layout.journal / "20260101T000000Z-gc.json", content)
    assert journal.pending(layout)
    recover.recover(layout)
    assert list(elsewhere.iterdir()) == []
    assert file.is_file()


def test_a_record_of_the_trash_that_leads_astray_is_refused(done: Project, tmp_path: Path):
    """Paths of the trash lie below runs/; anything else is an error, and nothing is put back."""
    part = trash.begin(done.layout, "gc", [], why="x")
    data = json.loads(part.directory.record.read_text())
    for path in ("../../etc/x", "/etc/x", "staproj.toml", "runs/../staproj.toml", "runs"):
        entry = {"path": path, "run": "r0002", "size": 1, "sha256": "", "output": ""}
        part.directory.record.write_text(json.dumps({**data, "entries": [entry]}))
        with pytest.raises(StorageError, match="astray"):
            trash.read(part.directory)


def test_restoring_a_run_writes_through_no_link(done: Project, tmp_path: Path):
    """Where a directory of outputs is a link out, what an archive brings back does not go there."""
    done.archives.write(tmp_path / "a.tar")
    run = done.layout.find_run("r0002")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(run.out / "TS_01")
    (run.out / "TS_01").symlink_to(elsewhere)
    with pytest.raises(StorageError, match="link"):
        restore(tmp_path / "a.tar", done.root, run="r0002")
    assert list(elsewhere.iterdir()) == []


def test_a_foreign_run_with_links_is_not_gone_on_with(done: Project, tmp_path: Path):
    """An interrupted run whose directories lead elsewhere is not resumed into them."""
    run = done.layout.find_run("r0006")
    run.sealed.unlink()
    run.state.write_text('{"event": "interrupted"}\n')
    elsewhere = tmp_path / "elsewhere"
    (run.path / "items").rename(elsewhere)
    (run.path / "items").symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    with suppress(StaprojError):
        done.run()
    assert sorted(elsewhere.rglob("*")) == before


def test_secrets_of_the_environment_are_not_kept(project: Project, monkeypatch: pytest.MonkeyPatch):
    """Of the environment only a few named variables come into the record."""
    monkeypatch.setenv("CLOUD_TOKEN", "tell-nobody")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    project.run()
    texts = [path.read_bytes() for path in project.root.rglob("*") if path.is_file()]
    assert not [text for text in texts if b"tell-nobody" in text]
    env = json.loads(project.layout.find_run("r0002").env.read_text())
    assert env["environment"]["OMP_NUM_THREADS"] == "1"


def test_a_group_can_share_a_project(project: Project):
    """New runs have the permissions that the umask leaves, and the group of the directory."""
    before = os.umask(0o002)
    try:
        if os.geteuid() == 0:
            os.chown(project.root / "runs" if (project.root / "runs").exists() else project.root, -1, 4242)
        project.root.chmod(0o2775)
        for path in (project.layout.runs, project.layout.private):
            if path.exists():
                path.chmod(0o2775)
        project.run()
    finally:
        os.umask(before)
    run = project.layout.find_run("r0002")
    group = project.layout.runs.stat().st_gid
    for path in (run.path, run.out, run.path / "items", run.spec, run.state, run.sealed):
        found = path.stat()
        assert found.st_gid == group
        assert found.st_mode & (stat.S_IRGRP | stat.S_IWGRP) == stat.S_IRGRP | stat.S_IWGRP, path
