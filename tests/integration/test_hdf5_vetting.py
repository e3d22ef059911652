"""HDF5 files not written here are read by another process first; none can hold up or end ours."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pytest

from staproj.api import Project
from staproj.engine import differences, outputs
from staproj.engine.inputs import load_port
from staproj.engine.view import View
from staproj.errors import FormatError
from staproj.formats import vetted
from staproj.project import record
from staproj.project.layout import RunDir
from staproj.stages import registry
from tests.integration import toy_stages as toy

NEVER_RETURNS = Path(__file__).parent.parent / "golden" / "data" / "hdf5" / "never_returns.h5"
LIMIT_S = 40.0


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a project that was run once."""
    root = tmp_path_factory.mktemp("original")
    (root / "raw").mkdir()
    (root / "raw" / "TS_01.txt").write_text("10\n")
    (root / "toy.toml").write_text(toy.TEMPLATE)
    with registry.temporarily(*toy.ALL), mock.patch.object(os, "fsync"):
        Project.create(root, str(root / "toy.toml")).run()
    return root


@pytest.fixture
def made(toys: None, original: Path, tmp_path: Path) -> Project:
    """Return a copy of it that a test may damage."""
    shutil.copytree(original, tmp_path / "p")
    return Project.open(tmp_path / "p")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let this process be of somebody who has written none of the files; yield where the list is."""
    vetted.end()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(vetted, "_here", vetted._Here())
    yield tmp_path / "cache" / "staproj"
    vetted.end()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each process that is started to read files."""
    found: list[int] = []
    real = vetted._Child.__init__

    def count(self: vetted._Child) -> None:
        real(self)
        found.append(1)

    monkeypatch.setattr(vetted._Child, "__init__", count)
    return found


def _item(made: Project) -> tuple[RunDir, Path]:
    run = made.layout.find_run("r0002")
    return run, run.item_record("TS_01")


def test_a_file_that_never_returns_is_an_error_of_ours(tmp_path: Path, elsewhere: Path):
    """The library stays in this file for ever; as the record of an item it is refused in time."""
    path = tmp_path / "meta.h5"
    shutil.copy(NEVER_RETURNS, path)
    begun = time.monotonic()
    with pytest.raises(FormatError, match="cannot be read safely") as caught:
        record.read_item(path)
    assert time.monotonic() - begun < LIMIT_S
    assert caught.value.where == str(path)
    assert not vetted.is_known(vetted.digest(path))


def test_a_crash_is_an_error_of_ours(
    made: Project, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, started: list[int]
):
    """Where the process that reads first is ended by a signal, the artifact is refused and ours goes on."""
    crash = "import os, sys; sys.stdin.buffer.readline(); os.kill(os.getpid(), 11)"
    monkeypatch.setattr(vetted._Child, "command", (sys.executable, "-c", crash))
    with pytest.raises(FormatError, match="crashes"):
        load_port(View.open(made.root), "r0002", "tilt_series")
    assert len(started) == 1


def test_a_good_file_pays_once_after_another_was_to_blame(
    made: Project, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, started: list[int]
):
    """A process that dies after an earlier file is replaced, and the file is asked about again."""
    _, path = _item(made)
    one = 'import sys; sys.stdin.buffer.readline(); print(\'{"problem": "damaged"}\', flush=True);'
    one += "sys.stdin.buffer.readline(); sys.exit(3)"
    with monkeypatch.context() as patch:
        patch.setattr(vetted._Child, "command", (sys.executable, "-c", one))
        with pytest.raises(ValueError, match="damaged"):
            vetted.vet([path])
    vetted.vet([path], max_bytes=record.MAX_BYTES)
    assert len(started) == 2


def test_own_files_start_no_process(made: Project, started: list[int]):
    """What this person's staproj wrote is opened at once, by another process of staproj too."""
    made.record("shift")
    load_port(View.open(made.root), "r0002", "tilt_series")
    made.rerun("shift", sets={"offset_px": 5})
    made.record("shift")
    with mock.patch.object(vetted, "_here", vetted._Here()):
        record.read_item(_item(made)[1])
    assert not started


def test_a_project_from_elsewhere_costs_one_process_once(made: Project, elsewhere: Path, started: list[int]):
    """One process reads all files that are not known; the next time none is started."""
    made.record("shift")
    for step in ("r0002", "r0003"):
        made.record(step)
    load_port(View.open(made.root), "r0002", "tilt_series")
    assert len(started) == 1
    vetted.end()
    with mock.patch.object(vetted, "_here", vetted._Here()):
        made.record("shift")
    assert len(started) == 1
    (listed,) = elsewhere.iterdir()
    assert listed.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("harm", ["damaged", "directory", "not writable by us alone", "link"])
def test_a_bad_list_costs_time_only(made: Project, elsewhere: Path, started: list[int], harm: str):
    """A list that cannot be trusted or read is as good as none."""
    _, path = _item(made)
    place = vetted.place()
    place.parent.mkdir(parents=True)
    line = vetted.digest(path).removeprefix("sha256:") + "\n"
    if harm == "damaged":
        place.write_bytes(b"\x00\xff" * 1000 + line.encode())
    elif harm == "directory":
        place.mkdir()
    elif harm == "link":
        place.symlink_to("/dev/zero")
    else:
        place.write_text(line)
        place.chmod(0o666)
    assert record.read_item(path).metrics
    assert len(started) == 1


def test_the_list_stays_small(elsewhere: Path, monkeypatch: pytest.MonkeyPatch):
    """The older half is forgotten where the list is full."""
    monkeypatch.setattr(vetted, "MAX_LIST_BYTES", 6500)
    for number in range(400):
        vetted.remember(["sha256:" + hashlib.sha256(b"%d" % number).hexdigest()])
    assert vetted.place().stat().st_size <= 6500 + 65
    monkeypatch.setattr(vetted, "_here", vetted._Here())
    assert vetted.is_known("sha256:" + hashlib.sha256(b"399").hexdigest())
    assert not vetted.is_known("sha256:" + hashlib.sha256(b"0").hexdigest())


def test_the_record_of_an_item_is_compared_with_its_digest(made: Project, toys: None):
    """``item.json`` has the digest of ``meta.h5``; an item whose record is another is not taken."""
    run, path = _item(made)
    entry = json.loads(run.item_done("TS_01").read_text())
    assert entry["record_sha256"] == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert outputs.has_record(run, "TS_01", entry)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert not outputs.has_record(run, "TS_01", entry)
    with pytest.raises(FormatError, match="not what was recorded"):
        record.read_item(path, entry["record_sha256"])
    with pytest.raises(FormatError, match="not what was recorded"):
        record.run_bytes(
            attributes={}, params={}, items={"TS_01": path}, digests={"TS_01": entry["record_sha256"]}
        )


def test_differences_of_files_from_elsewhere_follow_no_links(tmp_path: Path, elsewhere: Path):
    """Two files with external links are compared by bytes; what the links lead to is not read."""
    for name, value in (("a.h5", 1.0), ("b.h5", 2.0)):
        with h5py.File(tmp_path / f"secret-{name}", "w") as other:
            other["x"] = np.full(3, value)
        with h5py.File(tmp_path / name, "w") as handle:
            handle["x"] = h5py.ExternalLink(f"secret-{name}", "x")
    told = differences.amount(tmp_path / "a.h5", tmp_path / "b.h5")
    assert told["max_abs_difference"] is None
    assert "byte" in told["told"]
