"""Every template is a pipeline that could run, and explains itself."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.engine import params, plan
from staproj.project import manifest
from staproj.stages.api import Params

TEMPLATES = sorted((Path(__file__).parents[2] / "templates").glob("*.toml"))

pytestmark = pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)


def test_template_joins_up(path: Path) -> None:
    """Steps, inputs and parameters of a template are valid, and it ends in a map with an FSC."""
    made = manifest.load(path)
    graph = plan.build(made)
    for node in graph.nodes.values():
        resolved = params.resolve(made, node.step, node.spec)
        assert isinstance(resolved.model, Params)
    stages = [node.spec.name for node in graph.nodes.values()]
    assert {"fine_align", "ctf", "refine", "postprocess"} <= set(stages)
    assert stages[0].startswith("import_")


def test_template_explains_itself(path: Path) -> None:
    """A template has a name, one sentence of help, and a comment for every step."""
    text = path.read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text)["template"]
    assert table["name"] == path.stem
    assert table["help"].endswith(".")
    headers = [line for line in text.splitlines() if line.startswith("[step.") and line.count(".") == 1]
    assert len(headers) >= 10
    bare = [line for line in headers if "#" not in line and "import_" not in line and "refine" not in line]
    assert not bare


def test_project_of_a_template_keeps_its_comments(path: Path, tmp_path: Path) -> None:
    """A project made from a template opens, and its manifest still has the template's comments."""
    project = Project.create(tmp_path / "p", path.stem, movies="data/*.mrc")
    text = (tmp_path / "p" / "staproj.toml").read_text(encoding="utf-8")
    template_comments = {
        line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")
    }
    assert template_comments <= set(text.splitlines())
    states = {step["state"] for step in project.status()["steps"]}
    assert states == {"never-run"}
