"""A project from elsewhere is data: nothing in it is executed, followed out of it, or waited for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
import pytest

from staproj.api import Project
from staproj.errors import FormatError, ProjectError, StaprojError
from staproj.project.record import read_run
from staproj.stages import registry
from tests.integration import toy_stages as toy

SECRET = "only the reader of this project knows this"  # noqa: S105


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a project that was run once."""
    root = tmp_path_factory.mktemp("original")
    (root / "raw").mkdir()
    for number in (1, 2):
        (root / "raw" / f"TS_0{number}.txt").write_text(f"{10 * number}\n")
    (root / "toy.toml").write_text(toy.TEMPLATE)
    with registry.temporarily(*toy.ALL), mock.patch.object(os, "fsync"):
        Project.create(root, str(root / "toy.toml")).run()
    return root


@pytest.fixture
def made(toys: None, original: Path, tmp_path: Path) -> Project:
    """Return a copy of it that a test may damage."""
    shutil.copytree(original, tmp_path / "p")
    return Project.open(tmp_path / "p")


def looks(project: Project) -> dict[str, Callable[[], Any]]:
    """Return everything that only looks."""
    out = project.root / "runs" / "r0002-shift" / "out" / "TS_01" / "tilt_series.h5"
    return {
        "status": project.status,
        "ls": project.ls,
        "notes": project.notes,
        "why": lambda: project.why("shift"),
        "show": lambda: project.show("shift"),
        "log": lambda: project.log("r0002"),
        "diff": lambda: project.diff("r0002", "r0003"),
        "lineage": lambda: project.lineage(out),
        "record": lambda: project.record("shift"),
        "artifact": lambda: project.artifact("shift"),
        "versions": project.versions,
        "version diff": lambda: project.version_diff(1),
        "dry run": lambda: project.run(dry_run=True),
    }


def ask_all(project: Project, limit_s: float = 10.0) -> dict[str, str]:
    """Look in every way; return what each said. Anything but an answer or an error of ours fails."""
    said = {}
    for name, ask in looks(project).items():
        begun = time.monotonic()
        try:
            said[name] = json.dumps(ask(), default=repr)
        except StaprojError as error:
            said[name] = str(error)
        assert time.monotonic() - begun < limit_s, name
    return said


OWN = [
    "staproj.toml",
    "runs/r0002-shift/spec.json",
    "runs/r0002-shift/env.json",
    "runs/r0002-shift/state.jsonl",
    "runs/r0002-shift/outputs.json",
    "runs/r0002-shift/SEALED",
    "runs/r0002-shift/meta.h5",
    "runs/r0002-shift/log/log.txt",
    "runs/r0002-shift/items/TS_01/item.json",
    "runs/r0002-shift/out/TS_01/tilt_series.h5",
    "runs/r0002-shift/out/TS_01/stack.bin",
    "versions/0001.toml",
    ".staproj/fingerprints.json",
]


def replace(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in the place of a file."""
    path.unlink(missing_ok=True)
    make(path)


@pytest.mark.parametrize("name", OWN)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(made: Project, name: str):
    """A FIFO that nobody writes to holds up no command, whichever file it stands for."""
    replace(made.root / name, os.mkfifo)
    ask_all(made)


@pytest.mark.parametrize("name", OWN)
def test_a_link_out_of_the_project_is_not_followed(made: Project, name: str, tmp_path: Path):
    """Nothing of a file elsewhere is shown, and nothing is written to it, when a record is a link to it."""
    outside = tmp_path / "outside.json"
    outside.write_text(json.dumps({"message": SECRET, "steps": SECRET}))
    before = outside.read_bytes()
    replace(made.root / name, lambda path: path.symlink_to(outside))
    said = ask_all(made)
    assert not [command for command, text in said.items() if SECRET in text]
    assert outside.read_bytes() == before


@pytest.mark.parametrize("name", OWN)
def test_an_endless_device_is_not_read(made: Project, name: str):
    """A link to /dev/zero ends no command in a full memory."""
    replace(made.root / name, lambda path: path.symlink_to("/dev/zero"))
    ask_all(made)


@pytest.mark.parametrize("name", ["runs", "versions", ".staproj", ".staproj/jobs", ".staproj/trash", "annot"])
def test_a_directory_that_leads_out_is_refused(made: Project, name: str, tmp_path: Path):
    """A project whose own directories are links does not open, and says which; nothing is written there."""
    elsewhere = tmp_path / "elsewhere"
    own = made.root / name
    if own.exists():
        own.rename(elsewhere)
    else:
        elsewhere.mkdir()
    own.symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    with pytest.raises(ProjectError, match="link") as caught:
        Project.open(made.root).status()
    assert name in str(caught.value.where)
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.parametrize("name", ["", "items", "items/TS_01", "out", "out/TS_01", "log"])
def test_a_link_inside_a_run_is_not_followed(made: Project, name: str, tmp_path: Path):
    """Where a directory of a run is a link, what lies behind it counts as not there."""
    own = made.layout.find_run("r0002").path / name
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(own, elsewhere)
    for text in elsewhere.rglob("*.txt"):
        text.write_text(SECRET)
    for text in elsewhere.rglob("item.json"):
        text.write_text(json.dumps({**json.loads(text.read_text()), "verdict": SECRET}))
    shutil.rmtree(own)
    own.symlink_to(elsewhere)
    said = ask_all(made)
    assert not [command for command, text in said.items() if SECRET in text]
    if name.startswith("out"):
        state = next(step["state"] for step in made.status()["steps"] if step["step"] == "shift")
        assert state.startswith("missing")


def test_a_prepared_link_is_not_written_through(made: Project, tmp_path: Path):
    """Links laid out under every name staproj writes to next leave the files they point to as they are."""
    outside = tmp_path / "precious"
    outside.write_text("precious")
    traps = [
        made.layout.private / f".fingerprints.json.{os.getpid()}.part",
        made.root / f".staproj.toml.{os.getpid()}.part",
        made.layout.versions / f".0002.toml.{os.getpid()}.part",
        made.layout.versions / "0002.toml",
        made.layout.counter,
        made.layout.index,
    ]
    for trap in traps:
        replace(trap, lambda path: path.symlink_to(outside))
    (made.root / "raw" / "TS_01.txt").write_text("77\n")
    for work in (made.status, made.run, lambda: made.rerun("shift", sets={"offset_px": 9})):
        with suppress(StaprojError):
            work()
    assert outside.read_text() == "precious"


def test_code_in_the_directory_is_not_imported(made: Project, tmp_path: Path):
    """Modules and plug-ins lying in a project are never loaded, however staproj is started there."""
    mark = tmp_path / "executed"
    evil = f"open({str(mark)!r}, 'w').write('x')\n"
    for name in ("numpy", "h5py", "tomllib", "json", "cyclopts", "sitecustomize", "usercustomize", "evil"):
        (made.root / f"{name}.py").write_text(evil)
    info = made.root / "evil-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[staproj.stages]\ntoy_shift = evil:STAGE\n")
    for command in ([sys.executable, "-m", "staproj"], [str(Path(sys.executable).parent / "staproj")]):
        for words in (["status"], ["ls"], ["show", "r0002"], ["stages"], ["stages", "toy_shift"]):
            done = subprocess.run(
                [*command, *words], cwd=made.root, capture_output=True, text=True, check=False
            )
            assert done.returncode in (0, 2), done.stderr
            assert not mark.exists(), [*command, *words]


def test_a_stage_is_not_taken_from_the_project(made: Project, monkeypatch: pytest.MonkeyPatch):
    """Even where the project is on the import path, a plug-in that lies in it is no stage."""
    info = made.root / "evil-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[staproj.stages]\nevil_stage = evil:STAGE\n")
    monkeypatch.syspath_prepend(made.root)
    registry._plugins.cache_clear()
    try:
        made.status()
        assert "evil_stage" in registry._plugins()
        assert "evil_stage" not in registry.names()
    finally:
        registry._plugins.cache_clear()


def _attributes(group: Any, **values: Any) -> None:
    for name, value in values.items():
        group.attrs[name] = value


def _opaque(path: Path) -> None:
    """Let the attribute ``verdict`` be an opaque type that h5py takes for addresses of Python objects."""
    with h5py.File(path, "r+") as handle:
        group = handle["items/TS_01"]
        del group.attrs["verdict"]
        kind = h5py.h5t.create(h5py.h5t.OPAQUE, 8)
        kind.set_tag(b"NUMPY:V8")
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        made = h5py.h5a.create(group.id, b"verdict", kind, space)
        made.write(np.array(b"AAAABBBB", dtype="V8"), mtype=kind)
    path.write_bytes(path.read_bytes().replace(b"NUMPY:V8", b"NUMPY:|O"))


def _external_link(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other.create_dataset("x", data=np.arange(3.0))
    with h5py.File(path, "r+") as handle:
        del handle["items/TS_01/curves/ramp/x"]
        handle["items/TS_01/curves/ramp/x"] = h5py.ExternalLink("other.h5", "x")


def _soft_link(path: Path) -> None:
    with h5py.File(path, "r+") as handle:
        del handle["items/TS_01/curves/ramp/x"]
        handle["items/TS_01/curves/ramp/x"] = h5py.SoftLink("/items/TS_01/curves/ramp/y")


def _virtual(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other.create_dataset("x", data=np.arange(2.0))
    layout = h5py.VirtualLayout((2,), "<f8")
    layout[:] = h5py.VirtualSource(path.with_name("other.h5"), "x", (2,))
    with h5py.File(path, "r+") as handle:
        del handle["items/TS_01/curves/ramp/x"]
        handle.create_virtual_dataset("items/TS_01/curves/ramp/x", layout)


def _external_bytes(path: Path) -> None:
    with h5py.File(path, "r+") as handle:
        group = handle["items/TS_01/curves/ramp"]
        del group["x"]
        group.create_dataset("x", (2,), "<f8", external=[("/etc/passwd", 0, 16)])


def _huge(path: Path) -> None:
    with h5py.File(path, "r+") as handle:
        group = handle["items/TS_01/curves/ramp"]
        del group["x"], group["y"]
        for name in "xy":
            group.create_dataset(name, (1 << 40,), "<f8", chunks=(1 << 20,), compression="gzip")


def _bomb(path: Path) -> None:
    with h5py.File(path, "r+") as handle:
        group = handle["items/TS_01/curves/ramp"]
        del group["x"], group["y"]
        for name in "xy":
            data = group.create_dataset(name, (1 << 26,), "<f8", chunks=(1 << 22,), compression="gzip")
            zeros = zlib.compress(bytes(8 << 22))
            for start in range(0, 1 << 26, 1 << 22):
                data.id.write_direct_chunk((start,), zeros)


def _many_texts(path: Path) -> None:
    with h5py.File(path, "r+") as handle:
        group = handle["items/TS_01/tables/rows"]
        del group["name"]
        group.create_dataset("name", (2,), h5py.string_dtype(), data=["a", "b"])


def _references(path: Path) -> None:
    with h5py.File(path, "r+") as handle:
        group = handle["items/TS_01/tables/rows"]
        del group["name"]
        group.create_dataset("name", (2,), h5py.ref_dtype)


def _plugin_filter(path: Path) -> None:
    with h5py.File(path, "r+") as handle:
        group = handle["items/TS_01/tables/rows"]
        del group["view"]
        group.create_dataset(
            "view", data=np.arange(2), chunks=(2,), compression=32001, allow_unknown_filter=True
        )


def _loop(path: Path) -> None:
    with h5py.File(path, "r+") as handle:
        handle["items/TS_09"] = handle["items"]


HOSTILE = [
    _opaque, _external_link, _soft_link, _virtual, _external_bytes, _huge, _bomb, _many_texts, _references,
    _plugin_filter, _loop,
]  # fmt: skip


@pytest.mark.parametrize("harm", HOSTILE, ids=lambda harm: harm.__name__.strip("_"))
def test_hostile_hdf5_is_refused(made: Project, harm: Callable[[Path], None]):
    """What HDF5 can do beyond numbers and text in one file is an error of ours, also where the seal fits."""
    run = made.layout.find_run("r0002")
    run.record.chmod(0o644)
    harm(run.record)
    with pytest.raises(FormatError, match="not what was sealed"):
        read_run(run.record)
    run.sealed.unlink()
    with pytest.raises(FormatError, match="cannot be read") as caught:
        read_run(run.record)
    assert caught.value.where == str(run.record)
