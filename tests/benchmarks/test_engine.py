"""Time of what people wait for in a project; `make bench` prints the table, a test run only calls it once.

``make bench-engine`` measures the same on ten thousand runs and compares with marks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.project import index, runs
from staproj.project.lock import project_lock
from tests.trials import big_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Project:
    """Return a project of two thousand runs (of sixty where nothing is timed)."""
    few = pytestconfig.getoption("benchmark_disable")
    made = big_project.build(tmp_path_factory.mktemp("bench") / "p", 60 if few else 2000, chains=2)
    opened = Project(made.root)
    opened.status()
    return opened


def test_list_runs(benchmark: Any, project: Project) -> None:
    """List all runs from the index."""
    project.ls()
    assert len(benchmark(project.ls)) >= 60


def test_list_runs_without_index(benchmark: Any, project: Project) -> None:
    """List all runs from their files."""
    listed = benchmark(lambda: (index.drop(project.layout), project.ls())[1])
    assert len(listed) >= 60


def test_status(benchmark: Any, project: Project) -> None:
    """Judge every step, with reasons."""
    steps = benchmark(project.status)["steps"]
    assert {step["state"] for step in steps} == {"fresh"}


def test_lineage_of_a_file(benchmark: Any, project: Project) -> None:
    """Say what made the last map, down to the raw data."""
    step = project.status()["steps"][-1]["step"]
    file = next(path for path in sorted((project.run_dir(step) / "out").rglob("*")) if path.is_file())
    assert benchmark(lambda: project.lineage(file))["raw"]


def test_take_and_give_back_the_lock(benchmark: Any, tmp_path: Path) -> None:
    """Hold the lock of a project for nothing."""

    def hold() -> None:
        with project_lock(tmp_path / "s" / "lock", purpose="a benchmark"):
            pass

    benchmark(hold)
    assert not (tmp_path / "s" / "lock").exists()


def test_reserve_a_number(benchmark: Any, project: Project) -> None:
    """Give out the number of a run (last in this file: it adds runs)."""
    assert benchmark(lambda: runs.reserve(project.layout, "bench")).path.is_dir()
