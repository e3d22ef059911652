"""`doctor`, `migrate`, `unlock` and `ls` as commands: words, documents, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from staproj.api import Project
from staproj.project.process import this_process
from tests.integration.conftest import edit


@pytest.fixture
def one(project: Project) -> Project:
    """Return a project with one run."""
    project.run(["import"])
    return project


def call(project: Project, *words: str) -> tuple[int, str, str]:
    """Call a command in the project; return exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "staproj", *words, "-C", str(project.root)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_doctor_says_what_it_looked_at_and_leaves_with_four_on_damage(one: Project):
    """Sound: 0, and the capabilities in words; damage: 4, the place and the remedy, as text or document."""
    code, out, err = call(one, "doctor", "--probe")
    assert (code, err) == (0, "")
    assert "hard links" in out
    assert out.endswith("nothing is wrong\n")
    lost = next((one.run_dir("import") / "out").rglob("*.bin"))
    lost.unlink()
    code, out, err = call(one, "doctor")
    assert (code, err) == (4, "")
    assert "!! runs/r0001-import/out: lost 1 of 6 outputs" in out
    assert "staproj rerun import" in out
    code, out, _ = call(one, "doctor", "--deep", "--json")
    assert code == 4
    told = json.loads(out)
    assert not told["sound"]
    assert told["read_bytes"] > 0
    assert [finding["kind"] for finding in told["findings"]] == ["lost"]
    assert call(one, "doctor", "--fix")[0] == 4, "what is lost cannot be made good by sweeping"


def test_migrate_in_words(one: Project):
    """A command that writes refuses with 2 and names the way; dry run, migration, nothing left."""
    edit(one, "schema = 2", "schema = 1")
    code, out, err = call(one, "note", "import", "good")
    assert (code, out) == (2, "")
    assert "staproj migrate" in err
    assert call(one, "status")[0] == 0
    code, out, _ = call(one, "migrate", "--dry-run")
    assert code == 0
    assert "would bring the project from schema 1 to 2" in out
    code, out, _ = call(one, "migrate")
    assert "write schema = 2 into staproj.toml" in out
    assert ".staproj/backup/" in out
    assert "nothing to migrate" in call(one, "migrate")[1]
    assert call(one, "note", "import", "good")[0] == 0
    edit(one, "schema = 2", "schema = 3")
    code, _, err = call(one, "note", "import", "good")
    assert (code, "newer" in err) == (2, True)
    assert call(one, "show", "import")[0] == 0


def test_unlock_in_words(one: Project):
    """Who, where and since when; 3 while nobody can tell; gone with a person's word."""
    assert call(one, "unlock")[1] == "the project is not locked\n"
    owner = {**this_process(), "host": "elsewhere", "user": "anna", "purpose": "a test", "token": "t"}
    one.layout.lock.mkdir()
    (one.layout.lock / "owner.json").write_text(json.dumps({**owner, "since": time.time() - 100}))
    code, _, err = call(one, "unlock")
    assert code == 3
    assert "anna on elsewhere" in err
    assert "--i-checked" in err
    code, out, _ = call(one, "unlock", "--i-checked")
    assert (code, "broken" in out) == (0, True)
    assert not one.layout.lock.exists()


def test_ls_loads_none_of_the_engine(one: Project):
    """The list of runs comes from the index; neither numpy nor pydantic is loaded for it."""
    code = (
        "import sys\nfrom staproj.cli.main import main\n"
        f"try:\n    main(['ls', '--json', '-C', {str(one.root)!r}])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', [m for m in ('numpy', 'pydantic', 'h5py', 'tomlkit') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    document, _, loaded = done.stdout.rpartition("LOADED")
    assert [row["run"] for row in json.loads(document)] == ["r0001"]
    assert loaded.strip() == "[]"
