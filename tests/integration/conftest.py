"""A small project of toy stages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.stages import registry
from tests.integration import toy_stages as toy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the toy stages for processes that are started from here, through the door for plug-ins."""
    home = tmp_path_factory.mktemp("plug-in")
    facts = home / "toys-0.dist-info"
    facts.mkdir()
    facts.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 0\n")
    lines = [f"{spec.name} = {toy.HERE}:{name}" for name, spec in toy.BY_NAME.items()]
    facts.joinpath("entry_points.txt").write_text("[staproj.stages]\n" + "\n".join(lines) + "\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(home), str(ROOT)]))
    return home


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch, plug_in: Path) -> Iterator[None]:
    """Register the toy stages, with clean switches; no test here cuts the power, so fsync is left out."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    toy.CALLS.clear()
    toy.SWITCH.clear()
    with registry.temporarily(*toy.ALL):
        yield
    toy.SWITCH.clear()


@pytest.fixture
def make_project(toys: None, tmp_path: Path) -> Callable[..., Project]:
    """Return a function that makes a project with three tilt series of raw data inside."""

    def make(name: str = "p", text: str = toy.TEMPLATE) -> Project:
        template = tmp_path / "toy.toml"
        template.write_text(text)
        raw = tmp_path / name / "raw"
        raw.mkdir(parents=True)
        for number in (1, 2, 3):
            (raw / f"TS_0{number}.txt").write_text(f"{10 * number}\n")
        return Project.create(tmp_path / name, str(template))

    return make


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """Return a fresh project."""
    return make_project()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with everything made, a version more than needed, and files of other kinds."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "toy.toml").write_text(toy.TEMPLATE)
    (folder / "p" / "raw").mkdir(parents=True)
    for number in (1, 2, 3):
        (folder / "p" / "raw" / f"TS_0{number}.txt").write_text(f"{10 * number}\n")
    fsync, os.fsync = os.fsync, lambda fd: None  # no power is cut here
    try:
        with registry.temporarily(*toy.ALL):
            project = Project.create(folder / "p", str(folder / "toy.toml"))
            project.run()
            project.run(sets={"shift.offset_px": 3.0})
    finally:
        os.fsync = fsync
    (folder / "p" / "exports").mkdir(exist_ok=True)
    (folder / "p" / "exports" / "Å 100%.star").write_text("data_\n")
    (folder / "p" / "notes.txt").write_text("remember\n")
    return folder / "p"


@pytest.fixture
def done(toys: None, built: Path, tmp_path: Path) -> Project:
    """Return a copy of that project."""
    return Project.open(shutil.copytree(built, tmp_path / "p"))


@pytest.fixture(scope="session")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the project of :func:`project` after one run of everything."""
    folder = tmp_path_factory.mktemp("once")
    (folder / "toy.toml").write_text(toy.TEMPLATE)
    (folder / "p" / "raw").mkdir(parents=True)
    for number in (1, 2, 3):
        (folder / "p" / "raw" / f"TS_0{number}.txt").write_text(f"{10 * number}\n")
    fsync, os.fsync = os.fsync, lambda fd: None  # no power is cut here
    try:
        with registry.temporarily(*toy.ALL):
            Project.create(folder / "p", str(folder / "toy.toml")).run()
    finally:
        os.fsync = fsync
    return folder / "p"


@pytest.fixture
def ran(toys: None, run_once: Path, tmp_path: Path) -> Project:
    """Return a copy of that project."""
    return Project.open(shutil.copytree(run_once, tmp_path / "p"))


def states(project: Project) -> dict[str, str]:
    """Return the state of each step."""
    return {step["step"]: step["state"] for step in project.status()["steps"]}


def reasons(project: Project, step: str) -> list[tuple[str, str, object, object]]:
    """Return the reasons of one step as tuples."""
    return [(r["kind"], r["field"], r["old"], r["new"]) for r in project.why(step)["reasons"]]


def edit(project: Project, old: str, new: str) -> None:
    """Change the manifest as a person would, with an editor."""
    path = project.root / "staproj.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
