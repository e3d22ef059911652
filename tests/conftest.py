"""Fixtures that every test may ask for."""

from __future__ import annotations

import os

# ruff: noqa: E402 - the environment comes before numpy reads it
# One thread each, unless the person asked otherwise: tests run in several processes beside each other.
for _name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("staproj", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("staproj")


@pytest.fixture(scope="session", autouse=True)
def own_queue(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep runs of the tests out of the queue of the person who runs them, and of other test processes."""
    os.environ["STAPROJ_STATE"] = str(tmp_path_factory.mktemp("state"))
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Files of other programs that may not be copied here; skips where they are not beside the clone."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("no ../shared/data beside the clone")
    return path


@pytest.fixture(params=["numpy", "array_api_strict", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest) -> ModuleType:
    """Array namespace: numpy, the strict reading of the array API standard, and cupy where there is a GPU."""
    name: str = request.param
    if name == "cupy":
        cupy = pytest.importorskip("cupy")
        if not cupy.cuda.is_available():
            pytest.skip("cupy sees no device")
    return importlib.import_module(name)


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator with a fixed seed."""
    return np.random.default_rng(20240229)
