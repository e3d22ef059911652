"""Time of archiving, checking and restoring; `make bench` prints the table, a test run only calls them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.api.archives import restore, verify_path
from tests.trials.archive_speed import tiny_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project of 500 small files and two of 16 MB."""
    root = tiny_project(tmp_path_factory.mktemp("speed") / "p", 500)
    for name in ("a.mrc", "b.mrc"):
        (root / name).write_bytes(bytes(range(256)) * (1 << 16))
    return Project.open(root)


@pytest.mark.parametrize("zstd", [False, True])
def test_write_an_archive(benchmark: Any, project: Project, tmp_path: Path, zstd: bool) -> None:
    """Read, hash and write 34 MB."""
    numbers = itertools.count()
    made = benchmark(lambda: project.archives.write(tmp_path / f"{next(numbers)}.tar", zstd=zstd))
    assert made["files"] > 500


def test_check_an_archive(benchmark: Any, project: Project, tmp_path: Path) -> None:
    """Read and compare every bit."""
    project.archives.write(tmp_path / "a.tar")
    assert benchmark(verify_path, tmp_path / "a.tar")["ok"]


def test_restore_an_archive(benchmark: Any, project: Project, tmp_path: Path) -> None:
    """Unpack and compare."""
    project.archives.write(tmp_path / "a.tar")
    numbers = itertools.count()
    made = benchmark(lambda: restore(tmp_path / "a.tar", tmp_path / f"r{next(numbers)}"))
    assert made["files"] > 500
