"""The command line on a small session: from movies to an alignment, and everything one can ask afterwards."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from staproj.testing.phantoms import simulate

STEPS = ["import_movies", "motion", "clean", "coarse_align", "fiducials", "fine_align"]
EXPOSURES = "import_movies.exposure_e_per_angstrom2={ TS_01 = 6.0, TS_02 = 6.0 }"


def staproj(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Call the command as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "staproj", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def answer(*arguments: str, cwd: Path | None = None, code: int = 0) -> Any:
    """Return the JSON document of a command that must leave with ``code``."""
    done = staproj(*arguments, "--json", cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Return the first steps of the demo template."""
    text = (repository / "templates" / "demo.toml").read_text(encoding="utf-8")
    head, *tables = re.split(r"(?m)^(?=\[step\.)", text)
    kept = [table for table in tables if re.match(r"\[step\.(\w+)", table)[1] in STEPS]  # type: ignore[index]
    path = tmp_path_factory.mktemp("template") / "short.toml"
    path.write_text(head + "".join(kept), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    """Return a project that has been run, with its session inside."""
    root = tmp_path_factory.mktemp("cli") / "project"
    simulate(root / "session", "tiny", seed=5)
    made = staproj(
        "new", str(root), "--template", str(template), "--movies", str(root / "session/frames/*"),
        "--mdoc", str(root / "session/mdoc/*.mdoc"), "--gain", str(root / "session/gain.mrc"),
        "--set", EXPOSURES,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    ran = staproj("run", cwd=root)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == "", "no progress bars where nobody is looking"
    return root


def test_status_has_the_promised_shape(project: Path) -> None:
    """`status --json` names project and steps, each with stage, state, run, reasons, whether it is to run."""
    status = answer("status", cwd=project)
    assert set(status) == {"project", "steps"}
    assert [step["step"] for step in status["steps"]] == STEPS
    shape = {"step", "stage", "state", "run", "to_do", "verdict", "latest", "going_on", "reasons"}
    assert all(set(step) == shape for step in status["steps"])
    assert {step["state"] for step in status["steps"]} == {"fresh"}


def test_second_run_does_nothing_also_in_a_copy(project: Path, tmp_path: Path) -> None:
    """A second run makes no new run, in under two seconds, in the project and in a copy elsewhere."""
    copy = tmp_path / "elsewhere"
    shutil.copytree(project, copy, symlinks=True)
    for place in (project, copy):
        before = sorted(path.name for path in (place / "runs").iterdir())
        start = time.monotonic()
        result = answer("run", cwd=place)
        assert time.monotonic() - start < 2.0
        assert {step["action"] for step in result["steps"]} == {"fresh"}
        assert sorted(path.name for path in (place / "runs").iterdir()) == before


def test_rerun_makes_downstream_stale_and_says_why(project: Path, tmp_path: Path) -> None:
    """After a rerun exactly the steps downstream are stale, and `why` has the old and the new value."""
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    answer("rerun", "motion", "--set", "max_shift_angstrom=80", "--set", "align=false", cwd=copy)
    states = {step["step"]: step["state"] for step in answer("status", cwd=copy)["steps"]}
    assert states == {step: "fresh" if step in STEPS[:2] else "stale" for step in STEPS}
    reasons = answer("why", "fiducials", cwd=copy)["reasons"]
    named = {
        reason["field"]: (reason["old"], reason["new"]) for reason in reasons if reason["kind"] == "param"
    }
    assert named == {"motion.max_shift_angstrom": (100.0, 80.0), "motion.align": (True, False)}
    runs = answer("ls", cwd=copy)
    assert [run["run"] for run in runs if run["step"] == "motion"] == ["r0007", "r0002"]
    changed = {entry["field"] for entry in answer("diff", "r0002", "r0007", cwd=copy)["params"]}
    assert changed == {"max_shift_angstrom", "align"}
    fewer = answer("version", "diff", "2", cwd=copy)
    assert fewer["heads"] == [{"step": "motion", "old": "r0002", "new": "r0007"}]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_a_project_that_goes_on(project: Path, tmp_path: Path, number: int) -> None:
    """Ctrl-C or a scheduler's end leave with 130 and no run half-written; the next run goes on."""
    copy = tmp_path / "stopped"
    shutil.copytree(project, copy)
    work = subprocess.Popen(
        [sys.executable, "-m", "staproj", "rerun", "motion", "--set", "max_shift_angstrom=70", "--json"],
        cwd=copy,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    started = time.monotonic()
    while not (copy / "runs/r0007-motion/state.jsonl").exists() and time.monotonic() - started < 60:
        time.sleep(0.02)
    work.send_signal(number)
    out, _ = work.communicate(timeout=60)
    assert work.returncode == 130
    assert json.loads(out)["exit_code"] == 130
    states = {step["step"]: step["state"] for step in answer("status", cwd=copy)["steps"]}
    assert states["motion"] in {"fresh", "interrupted"}
    assert not (copy / "runs/r0007-motion/SEALED").exists()
    assert "70" not in (copy / "staproj.toml").read_text(encoding="utf-8"), (
        "a run that stopped changes nothing"
    )
    again = answer("rerun", "motion", "--set", "max_shift_angstrom=70", cwd=copy)
    assert again["run"] == "r0008"


def test_lineage_leads_to_the_movies(project: Path) -> None:
    """Any output file can be asked, from anywhere, and the chain of runs ends at the raw movies."""
    file = project / "runs" / "r0006-fine_align" / "out" / "TS_02" / "alignment.h5"
    told = answer("lineage", str(file), cwd=project.parent)
    assert [node["step"] for node in told["chain"]] == list(reversed(STEPS))
    raw = {Path(entry["path"]).name for entry in told["raw"]}
    assert raw >= {path.name for path in (project / "session" / "frames").iterdir()}


def test_show_has_verdict_metrics_and_layers(project: Path) -> None:
    """`show` tells how it went and which layer each parameter came from; curves and tables can be drawn."""
    run = answer("show", "fine_align", cwd=project)
    assert all(result["verdict"] for result in run["results"].values())
    assert run["results"]["TS_01"]["metrics"]["residual_mean_px"] > 0
    imported = answer("show", "import_movies", cwd=project)["params"]
    assert imported["exposure_e_per_angstrom2"]["layer"] == "step"
    assert imported["voltage_kv"]["layer"] == "microscope"
    assert imported["check_frame_count"]["layer"] == "default"
    text = staproj("show", "fine_align", "--curve", "residual", "--item", "TS_01", cwd=project)
    assert text.returncode == 0
    assert "•" in text.stdout
    table = answer("show", "fine_align", "--table", "views", cwd=project)
    assert set(table["items"]) == {"TS_01", "TS_02"}


@pytest.mark.parametrize("command", ["status", "ls", "why motion", "lineage motion", "version list"])
def test_looking_loads_no_array_library(project: Path, command: str) -> None:
    """Commands that only look import neither numpy nor scipy nor the terminal UI."""
    code = (
        "import sys\nfrom staproj.cli.main import main\n"
        f"try:\n    main({command.split()!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        "found = [m for m in ('numpy', 'scipy', 'textual', 'numba') if m in sys.modules]\n"
        "print(found, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout.strip()


def test_text_answers_are_for_people(project: Path) -> None:
    """Every command that looks has a text answer without JSON, and says what is fresh."""
    assert "everything is fresh" in staproj("status", cwd=project).stdout
    assert "nothing to do" in staproj("run", cwd=project).stdout
    for command in (
        ["ls"],
        ["show", "motion"],
        ["why", "motion"],
        ["lineage", "motion"],
        ["version", "list"],
    ):
        done = staproj(*command, cwd=project)
        assert done.returncode == 0
        assert "motion" in done.stdout or "run" in done.stdout
        assert not done.stdout.lstrip().startswith(("{", "["))


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ('tilt_series = "motion"', 'tilt_series = "montion"', "montion"),
        ('stage = "clean"', 'stage = "cleen"', "cleen"),
        ("schema = 2", "schema = 2\nshema = 2", "shema"),
        ("voltage_kv = 300.0", 'voltage_kv = "high"', "voltage_kv"),
        ('inputs = { movies = "import_movies" }', 'inputs = { movies = "clean" }', "clean"),
        ("schema = 2", "schema = ", "TOML"),
    ],
)
def test_bad_manifest_is_named(project: Path, tmp_path: Path, old: str, new: str, names: str) -> None:
    """A misspelt, mistyped or circular manifest gives one error with file and key, and changes nothing."""
    copy = tmp_path / "bad"
    copy.mkdir()
    text = (project / "staproj.toml").read_text(encoding="utf-8")
    assert old in text
    (copy / "staproj.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    error = answer("run", cwd=copy, code=2)
    assert names in json.dumps(error)
    assert "staproj.toml" in (error["where"] or "")
    assert error["hint"]
    assert not (copy / "runs").exists() or not list((copy / "runs").iterdir())
