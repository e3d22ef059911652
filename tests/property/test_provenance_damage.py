"""Sidecars with anything in them: the answer is nothing, an answer, or an error of ours, never a crash."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from staproj.api import Project
from staproj.api.copies import export_files
from staproj.engine import sidecar
from staproj.report.provenance import cost_lines, dot_lines, mermaid_lines, what_made_lines
from staproj.stages import registry
from tests.integration import toy_stages as toy
from tests.property.test_engine_damage import STRANGE, places


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Return a folder with an exported map, and the content of its record."""
    root = tmp_path_factory.mktemp("sidecar")
    (root / "raw").mkdir()
    (root / "raw" / "TS_01.txt").write_text("1\n")
    (root / "toy.toml").write_text(toy.TEMPLATE)
    with registry.temporarily(*toy.ALL), mock.patch.object(os, "fsync"):
        project = Project.create(root, str(root / "toy.toml"))
        project.run(["copy"])
        export_files(project, "copy", root / "away")
    content = json.loads((root / "away" / "provenance.json").read_text())
    for env in content["environments"].values():  # so that damage falls on what is read, not on packages
        env["packages"] = {}
    return root / "away", content


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_sidecar_brings_lineage_down(exported: tuple[Path, Any], data: st.DataObject) -> None:
    """One to three parts of a record are replaced by something strange; all that reads it still speaks."""
    folder, content = exported
    damaged = json.loads(json.dumps(content))
    for _ in range(data.draw(st.integers(1, 3))):
        way = data.draw(st.sampled_from(places(damaged)))
        target = damaged
        for key in way[:-1]:
            target = target[key]
        target[way[-1]] = copy.deepcopy(data.draw(STRANGE))  # lists among them are shared
    (folder / "provenance.json").write_text(json.dumps(damaged, allow_nan=True))
    for path in (folder / "map.bin", folder):
        told = sidecar.find(path)
        if told is None:
            continue
        for words in (what_made_lines, dot_lines, mermaid_lines):
            assert all(isinstance(line, str) for line in words(told))
        assert cost_lines(told["cost"])
        json.dumps(told)
