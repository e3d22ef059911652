"""Before a project is made: templates to choose from, what would be made, and what it would read."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from staproj.api import Project
from staproj.api.create import plan_new
from staproj.api.raw_data import importers, inspect_project
from staproj.api.templates import template, templates
from staproj.errors import UsageError
from staproj.report import raw_data as report
from tests.integration import toy_stages as toy
from tests.unit.import_sets import write_mdoc, write_movies


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Return a folder with movies and mdoc of one tilt series."""
    folder = tmp_path / "session"
    folder.mkdir()
    write_movies(folder, "TS_01")
    write_mdoc(folder, "TS_01")
    return folder


def staproj(*arguments: str, cwd: Path, code: int = 0) -> str:
    """Return what a command prints; it must leave with ``code``."""
    command = [sys.executable, "-m", "staproj", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_templates_tell_what_they_are(repository: Path) -> None:
    """Each shipped template has help, its steps in order, the data it takes with the step, and its text."""
    told = {one["name"]: one for one in templates()}
    assert set(told) == {path.stem for path in (repository / "templates").glob("*.toml")}
    assert told["stack"]["takes"][0] == "stacks"
    demo = template("demo")
    assert demo["text"] == (repository / "templates" / "demo.toml").read_text(encoding="utf-8")
    assert [step["step"] for step in demo["steps"]][:2] == ["import_movies", "motion"]
    assert demo["steps"][1]["stage"] == "motion"
    assert demo["takes"]["movies"]["step"] == "import_movies"
    assert "patterns of the movies" in demo["takes"]["movies"]["help"]
    assert demo["microscope"]["voltage_kv"] == 300.0
    assert template(str(repository / "templates" / "stack.toml"))["name"] == "stack"
    with pytest.raises(UsageError, match="no template 'dmeo'"):
        template("dmeo")


def test_a_plan_is_what_create_makes(session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of a plan is that of the project but for its identifier, and its command makes the same."""
    monkeypatch.chdir(tmp_path)
    arguments: dict[str, Any] = {
        "movies": ["session/*.mrc"],
        "mdoc": "session/*.mdoc",
        "name": "my virus",
        "sets": {"ctf.defocus_max_um": 6.0, "import_movies.exposure_e_per_angstrom2": {"TS_01": 2.5}},
    }
    plan = plan_new("p", "demo", **arguments)
    assert plan["ok"]
    assert plan["problems"] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["session"]
    made = Project.create("p", "demo", **arguments)
    text = (made.root / "staproj.toml").read_text()
    identifier = tomllib.loads(text)["project"]["uuid"]
    assert plan["manifest"] == text.replace(identifier, tomllib.loads(plan["manifest"])["project"]["uuid"])
    assert plan["steps"] == [step["step"] for step in made.status()["steps"]]
    assert plan["project"] == str(made.root)
    assert plan["importers"] == importers(made.root)
    (tmp_path / "p").rename(tmp_path / "first")
    assert plan["command"][0] == "staproj"
    staproj(*plan["command"][1:], cwd=tmp_path)
    again = tomllib.loads((tmp_path / "p" / "staproj.toml").read_text())
    first = tomllib.loads(text)
    assert again["project"].pop("uuid") != first["project"].pop("uuid")
    assert again == first


def test_a_plan_names_all_that_is_wrong_at_once(session: Path, tmp_path: Path) -> None:
    """Place, data and settings are all checked, each problem says what it is about; nothing is written."""
    (tmp_path / "file").write_text("x")
    sets = {"ctf.defocus_max_um": 600, "ctf.nothing": 1, "no_step.x": 2, "ctf.defocus_min_um": 0.4}
    plan = plan_new(tmp_path / "file", "stack", movies=str(session / "*.st"), gain="g.mrc", sets=sets)
    assert not plan["ok"]
    errors = {one["about"]: one for one in plan["problems"] if one["level"] == "error"}
    assert list(errors) == ["directory", "gain", "ctf.defocus_max_um", "ctf.nothing", "no_step.x"]
    assert "must be <= 20" in errors["ctf.defocus_max_um"]["text"]
    assert all(one["hint"] for one in errors.values())
    (warning,) = [one for one in plan["problems"] if one["level"] == "warning"]
    assert warning["about"] == "stacks"
    assert "no file matches" in warning["text"]
    assert f"{session}/*.mrc (5)" in warning["hint"]
    assert tomllib.loads(plan["manifest"])["step"]["ctf"]["params"]["defocus_min_um"] == 0.4
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize(
    ("name", "about", "says"), [("no-such", "template", "no template"), ("bad.toml", "template", "TOML")]
)
def test_plans_of_templates_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, about: str, says: str
) -> None:
    """A template that is not there or damaged is a problem, not an exception."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("schema = [")
    plan = plan_new("p", name)
    assert not plan["ok"]
    assert plan["problems"][0]["about"] == about
    assert says in plan["problems"][0]["text"]
    assert plan["manifest"] == ""


def test_a_plan_without_data_says_so(tmp_path: Path) -> None:
    """No data is a warning: it may be named later. An existing project is an error."""
    plan = plan_new(tmp_path / "p", "demo")
    assert plan["ok"]
    assert [(one["level"], one["about"]) for one in plan["problems"]] == [("warning", "movies")]
    Project.create(tmp_path / "p", "demo")
    again = plan_new(tmp_path / "p", "demo")
    assert not again["ok"]
    assert "there is a project already" in again["problems"][0]["text"]


def test_a_required_parameter_is_a_problem_of_the_manifest(toys: None, tmp_path: Path) -> None:
    """What the whole manifest lacks is told where it belongs."""
    (tmp_path / "t.toml").write_text(toy.TEMPLATE.replace('movies = "raw/*.txt"', ""))
    plan = plan_new(tmp_path / "p", str(tmp_path / "t.toml"))
    assert not plan["ok"]
    assert [one["about"] for one in plan["problems"] if one["level"] == "error"] == ["manifest"]
    assert "movies" in plan["problems"][0]["text"]


def test_importers_of_a_project(session: Path, tmp_path: Path) -> None:
    """Steps that read data, their parameters with help and patterns, what they match now, what is set."""
    Project.create(tmp_path / "p", "demo", movies=str(session / "*.mrc"), gain=str(session / "gain.mrc"))
    (entry,) = importers(tmp_path / "p")
    assert (entry["step"], entry["stage"]) == ("import_movies", "import_movies")
    told = {one["name"]: one for one in entry["params"]}
    assert list(told) == ["movies", "mdoc", "gain"]
    assert told["movies"]["given"] == [str(session / "*.mrc")]
    assert told["movies"]["count"] == 5
    assert told["mdoc"]["given"] == []
    assert told["gain"]["count"] == 0
    assert "no file or directory 'gain.mrc'" in told["gain"]["matches"][0]["problem"]
    assert entry["microscope"]["exposure_e_per_angstrom2"] == 3.0
    texts = [one["text"] for one in inspect_project(tmp_path / "p")["findings"]]
    assert "movies need mdoc files, one a tilt series" in texts


def test_a_project_is_inspected_with_its_own_values(session: Path, tmp_path: Path) -> None:
    """What a project would read now is held against its [microscope] and the parameters of the step."""
    data = {"movies": str(session / "*.mrc"), "mdoc": str(session / "*.mdoc")}
    Project.create(tmp_path / "p", "demo", **data, sets={"import_movies.voltage_kv": 200})
    found = inspect_project(tmp_path / "p")
    assert found["ok"]
    (warning,) = found["findings"]
    assert warning["text"].startswith("voltage_kv: 200 kV by the settings")
    assert warning["sets"] == {"import_movies.voltage_kv": 300.0}


def test_the_commands(session: Path, tmp_path: Path) -> None:
    """`templates`, `inspect` and `new --dry-run` say it in words and in JSON, with an exit code."""
    assert "empiar-10164" in staproj("templates", cwd=tmp_path)
    assert "# ctfplotter" in staproj("templates", "stack", cwd=tmp_path)
    assert json.loads(staproj("templates", "demo", "--json", cwd=tmp_path))["name"] == "demo"
    told = staproj("inspect", "session", cwd=tmp_path)
    assert "can be imported" in told
    assert "TS_01" in told
    (session / "TS_01_000_0.0.mrc").unlink()
    told = staproj("inspect", "session/*.mrc", "--mdoc", "session/*.mdoc", cwd=tmp_path, code=4)
    assert "!! TS_01: 1 of 5 movies are not among the files" in told
    found = json.loads(staproj("inspect", "session", "--json", cwd=tmp_path, code=4))
    assert found["series"][0]["missing_movies"] == ["TS_01_000_0.0.mrc"]
    assert "no project here" in staproj("inspect", cwd=tmp_path, code=2)
    new = ["new", "p", "--template", "demo", "--movies", "session/*.mrc", "--mdoc", "session/*.mdoc"]
    told = staproj(*new, "--dry-run", cwd=tmp_path)
    assert "nothing was written" in told
    assert f"command: {shlex.join(['staproj', *new])}" in told
    assert "must be <= 20" in staproj(
        *new, "--set", "ctf.defocus_max_um=99", "--dry-run", cwd=tmp_path, code=2
    )
    assert not (tmp_path / "p").exists()
    staproj(*new, cwd=tmp_path)
    assert "would stop the import" in staproj("inspect", "-C", "p", cwd=tmp_path, code=4)


def test_words_for_a_pattern() -> None:
    """One line says how many files, how large, and which; or why none, and what would."""
    found = {"count": 3, "more": False, "bytes": 4_000_000, "first": ["a", "b", "c"], "last": "c"}
    assert report.match_line(found) == "3 files, 4.0 MB: a, b, c"
    found |= {"count": 100_000, "more": True, "last": "z"}
    assert report.match_line(found) == "more than 100000 files, 4.0 MB: a, b, ..., z"
    none = {"count": 0, "problem": "no file matches", "suggest": ["*.tif (4)"]}
    assert report.match_line(none) == "no file: no file matches. Try *.tif (4)"
