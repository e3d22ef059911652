"""The device a run uses, the threads it may take, and the log it leaves."""

from __future__ import annotations

import json

import pytest
from threadpoolctl import threadpool_info

from staproj.api import Project
from staproj.engine import resources, runlog
from staproj.errors import DeviceError, UsageError
from staproj.project.layout import RunDir
from tests.integration import toy_stages as toy


def _recorded(project: Project, step: str) -> dict[str, str]:
    run: RunDir = project.layout.find_run(project.newest_run(step))
    return json.loads(run.spec.read_text())["execution"]


def test_a_gpu_that_is_not_there_is_refused_before_anything_runs(project: Project, monkeypatch):
    """Asking for a GPU without one ends with exit code 3 and a remedy; no run is made."""
    monkeypatch.setattr(resources, "_gpu_is_usable", lambda: False)
    with pytest.raises(DeviceError, match=r"--device cpu") as info:
        project.run(device="gpu")
    assert info.value.exit_code == 3
    assert project.ls() == []
    with pytest.raises(UsageError, match="tpu"):
        project.run(device="tpu")


def test_the_device_really_used_is_recorded(project: Project, monkeypatch):
    """With a GPU that the stage cannot use the run says "cpu" and why; auto says "cpu" and nothing else."""
    monkeypatch.setattr(resources, "_gpu_is_usable", lambda: True)
    project.run(["import"], device="gpu")
    execution = _recorded(project, "import")
    assert (execution["device"], execution["device_asked"]) == ("cpu", "gpu")
    assert project.show("import")["environment"]["device"] == "cpu"
    assert any("GPU" in text for text in project.show("import")["results"][""]["fallbacks"])
    project.run(["shift"])
    assert _recorded(project, "shift")["device"] == "cpu"
    assert project.show("shift")["results"]["TS_01"]["fallbacks"] == []


def test_libraries_take_no_more_threads_than_asked(project: Project):
    """While a stage works, every thread pool that is loaded is held to the threads asked for."""
    import numpy as np

    np.ones((4, 4)) @ np.ones((4, 4))
    seen: list[int] = []
    toy.SWITCH["TS_01"] = lambda ctx: seen.extend(pool["num_threads"] for pool in threadpool_info())
    project.run(["shift"], threads=1)
    assert seen
    assert set(seen) == {1}


def test_the_log_tells_beginning_progress_result_and_end(project: Project):
    """The log of a run that said nothing itself has its start, its verdict with times, and its end."""
    project.run(["shift"])
    lines = project.log("shift").splitlines()
    assert "r0002 shift (stage toy_shift) begins: TS_01, TS_02, TS_03" in lines[0]
    assert any("TS_02   50%  adding" in line for line in lines)
    assert any("TS_03  mean 32.0" in line and " s of CPU" in line for line in lines)
    assert "sealed after" in lines[-1]
    toy.SWITCH["TS_02"] = "fail"
    with pytest.raises(Exception, match="this one is bad"):
        project.rerun("shift")
    assert "failed after" in project.log("shift").splitlines()[-1]


def test_progress_lines_stay_few():
    """A loop of ten thousand steps writes a line for each tenth and for new words, not for new numbers."""
    steps = runlog.Steps()
    lines = [steps.line(i, 10_000, f"view {i}") for i in range(10_000)]
    assert sum(line is not None for line in lines) == 10
    assert steps.line(9_999, 10_000, "writing") is not None
    assert steps.line(0, 0, "nothing known") is not None
