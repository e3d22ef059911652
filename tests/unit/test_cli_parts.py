"""Parts of the command line: text to values, values to JSON, errors to exit codes."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from staproj.cli import diagnostics, output
from staproj.cli.main import main
from staproj.cli.options import parse_sets
from staproj.errors import CheckError, FormatError, LockedError, ManifestError, UsageError


def test_sets_name_step_and_parameter() -> None:
    """Assignments are collected by step and parameter; a value stays text, with equals signs and dots."""
    sets = parse_sets(["ctf.defocus_max_um=6", "ctf.defocus_min_um = 1", "import_movies.gain=a=b.mrc"])
    assert sets == {"ctf.defocus_max_um": "6", "ctf.defocus_min_um": "1", "import_movies.gain": "a=b.mrc"}
    assert parse_sets(["radius_px=3"], default_step="mask") == {"mask.radius_px": "3"}


@pytest.mark.parametrize("text", ["ctf.defocus_max_um", "=3", "ctf.=3", ".x=3", "x=3"])
def test_what_sets_nothing_is_refused(text: str) -> None:
    """An assignment without value, name or step is a usage error that shows how to write it."""
    with pytest.raises(UsageError) as caught:
        parse_sets([text])
    assert "--set" in str(caught.value)


def test_json_has_no_foreign_types() -> None:
    """Arrays, paths and not-a-number become what JSON has."""
    value = {
        "a": np.array([[1, 2]]),
        "b": np.float32(0.5),
        "c": Path("x/y"),
        "d": float("nan"),
        "e": (1, None),
    }
    assert json.loads(json.dumps(output.plain(value), allow_nan=False)) == {
        "a": [[1, 2]],
        "b": 0.5,
        "c": "x/y",
        "d": None,
        "e": [1, None],
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (ManifestError("x"), 2),
        (FormatError("x"), 1),
        (LockedError("x"), 3),
        (CheckError("x"), 4),
        (KeyboardInterrupt(), 130),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 1),
    ],
)
def test_errors_become_exit_codes(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each error leaves with its documented exit code and says something on stderr, nothing on stdout."""

    def fail() -> int:
        raise error

    assert diagnostics.guarded(fail, as_json=False) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip()
    assert "Traceback" not in err


def test_error_document_names_place_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the error is one JSON document on stdout, and text on stderr."""

    def fail() -> int:
        raise FormatError("not an MRC file", where="frames/a.mrc", hint="convert it")

    assert diagnostics.guarded(fail, as_json=True) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "error": "FormatError",
        "message": "not an MRC file",
        "where": "frames/a.mrc",
        "hint": "convert it",
        "exit_code": 1,
    }
    assert "convert it" in err


def test_a_fault_of_ours_is_one_line_and_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception prints no traceback but says in which file it is."""

    def fail() -> int:
        raise ZeroDivisionError("division by zero")

    assert diagnostics.guarded(fail, as_json=True) == 1
    out, err = capsys.readouterr()
    place = Path(json.loads(out)["where"].removeprefix("details in "))
    try:
        assert "ZeroDivisionError: division by zero" in place.read_text()
        assert "Traceback" in place.read_text()
    finally:
        place.unlink()
    assert "Traceback" not in err


def test_full_disk_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk is said to be one, with the file it hit and what to do."""

    def fail() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/project/x.h5")

    diagnostics.guarded(fail, as_json=True)
    error = json.loads(capsys.readouterr().out)
    assert error["error"] == "StorageError"
    assert error["where"] == "/data/project/x.h5"
    assert "room" in error["hint"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["statu"], "status"),
        (["stages", "ctff"], "ctf"),
        (["stages", "--frob"], "--frob"),
        (["help", "nothing"], "topics"),
    ],
)
def test_mistyped_commands_are_usage_errors(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A word that does not exist leaves with 2 and a suggestion."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert word in capsys.readouterr().err


def test_no_project_here_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that needs a project names the directory that is none and how to make one."""
    with pytest.raises(SystemExit) as caught:
        main(["status", "--project", str(tmp_path), "--json"])
    assert caught.value.code == 2
    error = json.loads(capsys.readouterr().out)
    assert error["error"] == "ProjectError"
    assert "staproj new" in error["hint"]


def test_lines_fit_the_terminal_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal a table row takes one line; a pipe gets the whole row."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    output.emit({}, ["x" * 30 + "\nshort"], as_json=False, fit=True)
    monkeypatch.setattr(output, "is_terminal", lambda: False)
    output.emit({}, ["x" * 30], as_json=False, fit=True)

    first, second, third = capsys.readouterr().out.splitlines()

    assert first == "x" * 19 + "…"
    assert (second, third) == ("short", "x" * 30)
