"""New projects: templates, raw data patterns, mistakes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from staproj.api import Project
from staproj.errors import ManifestError, ProjectError, UsageError
from staproj.project.layout import templates_dir
from staproj.stages import registry
from tests.integration import toy_stages as toy


@pytest.fixture
def template(toys: None, tmp_path: Path) -> str:
    """Return the toy template as a file."""
    path = tmp_path / "toy.toml"
    path.write_text(toy.TEMPLATE)
    return str(path)


def test_comments_stay_and_facts_are_filled_in(
    template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Name, identifier, data and parameters are written; the template's comments and order stay."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p" / "raw").mkdir(parents=True)
    project = Project.create("p", template, movies="p/raw/*.txt", name="five", sets={"again.offset_px": "4"})
    text = (project.root / "staproj.toml").read_text()
    data = tomllib.loads(text)
    assert data["project"]["name"] == "five"
    assert data["project"]["template"] == "toy"
    assert len(data["project"]["uuid"]) == 36
    assert "template" not in data
    assert data["step"]["import"]["params"]["movies"] == "raw/*.txt"
    assert data["step"]["again"]["params"] == {"offset_px": 4}
    for comment in ("# A pipeline of toys.", "# a comment that stays", "# numbers", "# of this microscope"):
        assert comment in text
    assert [v["why"] for v in project.versions()] == ["new project from template toy"]


def test_data_outside_is_kept_by_its_absolute_path(
    template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Patterns are taken from the working directory; several are possible."""
    monkeypatch.chdir(tmp_path)
    project = Project.create("p", template, movies=["raw/a*.txt", "/data/b?.txt"])
    data = tomllib.loads((project.root / "staproj.toml").read_text())
    assert data["step"]["import"]["params"]["movies"] == [f"{tmp_path}/raw/a*.txt", "/data/b?.txt"]


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ({"template": "no-such"}, UsageError, "no-such"),
        ({"gain": "g.mrc"}, UsageError, "gain"),
        ({"sets": {"shift.ofset": 1}}, UsageError, "ofset"),
        ({"sets": {"shift.offset_px": 1000}}, UsageError, "100"),
        ({"sets": {"nothing.offset_px": 1}}, UsageError, "nothing"),
    ],
)
def test_mistakes_leave_nothing_behind(
    template: str, tmp_path: Path, arguments: dict, error: type, word: str
):
    """A mistake gives one error and no directory."""
    with pytest.raises(error, match=word):
        Project.create(tmp_path / "p", **{"template": template, **arguments})
    assert not (tmp_path / "p").exists()


def test_an_existing_project_is_not_overwritten(template: str, tmp_path: Path):
    """A second project in the same directory is refused; the first stays."""
    project = Project.create(tmp_path / "p", template)
    before = (project.root / "staproj.toml").read_bytes()
    with pytest.raises(ProjectError, match="already"):
        Project.create(tmp_path / "p", template)
    assert (project.root / "staproj.toml").read_bytes() == before


def test_a_required_parameter_that_is_missing_is_named(toys: None, tmp_path: Path):
    """Without data, a template that needs some says which."""
    path = tmp_path / "t.toml"
    path.write_text(toy.TEMPLATE.replace('movies = "raw/*.txt"', ""))
    with pytest.raises(ManifestError, match="movies"):
        Project.create(tmp_path / "p", str(path))


@pytest.mark.parametrize("path", sorted(templates_dir().glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_templates_make_projects(path: Path, tmp_path: Path):
    """Every template of this installation joins up, and its parameters are valid."""
    registry.get.cache_clear()
    data = "stacks/*.mrc" if path.stem == "stack" else "frames/*.tif"
    project = Project.create(tmp_path / "p", path.stem, movies=data)
    assert {s["state"] for s in project.status()["steps"]} == {"never-run"}
    assert Project.templates()[path.stem]
