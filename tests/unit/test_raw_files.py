"""Patterns of raw data: what they match, what would, and what could be typed next."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from staproj.api import raw_files
from staproj.api.raw_data import completions, matches, sort_out
from staproj.project.patterns import match_files


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Return a directory with frames, mdocs and a gain reference, as microscopes leave them."""
    (tmp_path / "frames").mkdir()
    (tmp_path / "mdoc").mkdir()
    for number in range(12):
        (tmp_path / "frames" / f"TS_01_{number:03d}.tif").write_bytes(b"x" * number)
    (tmp_path / "frames" / "readme.txt").write_text("hello")
    (tmp_path / "frames" / ".hidden.tif").write_text("")
    (tmp_path / "mdoc" / "TS_01.mrc.mdoc").write_text("T = SerialEM\n")
    (tmp_path / "gain.mrc").write_text("g")
    return tmp_path


def test_what_a_pattern_matches(session: Path) -> None:
    """Number, bytes, first and last names, as the import finds them, from the base and with its full path."""
    for pattern in ("frames/*.tif", str(session / "frames" / "*.tif"), f"  {session}/./frames/TS*.tif "):
        found = matches(pattern, session, most=2)
        assert (found["count"], found["more"], found["bytes"], found["problem"]) == (12, False, 66, "")
        assert found["first"] == ["TS_01_000.tif", "TS_01_001.tif"]
        assert found["last"] == "TS_01_011.tif"
        assert found["count"] == len(match_files(session, pattern.strip()))
    assert matches("**/*.m*", session)["first"] == ["gain.mrc", "mdoc/TS_01.mrc.mdoc"]


@pytest.mark.parametrize(
    ("pattern", "problem", "suggest"),
    [
        ("frames", "this is a directory", ["frames/*.tif (12)"]),
        ("frames/", "this is a directory", ["frames/*.tif (12)"]),
        (".", "this is a directory", ["./frames/*.tif (12)", "./mdoc/*.mdoc (1)", "./*.mrc (1)"]),
        ("frmes/*.tif", "there is no directory 'frmes'", ["frames/*.tif (12)"]),
        ("frmes/*.tif", "did you mean 'frames'?", []),
        ("gian.mrc", "did you mean 'gain.mrc'?", []),
        ("frames/*.mrc", "no file matches (14 names in frames)", ["frames/*.tif (12)"]),
        ("gain.mrc/*", "is not a directory", []),
        ("", "no file is named", []),
        ("nowhere/at/all/*", "there is no directory 'nowhere'", []),
        ("bad\0name", "there is no", []),
    ],
)
def test_why_nothing_matches_and_what_would(
    session: Path, pattern: str, problem: str, suggest: list[str]
) -> None:
    """A pattern without files says why, and names patterns that have some."""
    found = matches(pattern, session)
    assert found["count"] == 0
    assert problem in found["problem"]
    assert set(suggest) <= set(found["suggest"])
    for one in found["patterns"]:
        assert matches(one["pattern"], session)["count"] == one["count"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_may_not_be_read(session: Path) -> None:
    """Missing permission is said as such."""
    (session / "mdoc").chmod(0)
    try:
        assert "Permission denied" in matches("mdoc/*", session)["problem"]
        assert completions("mdoc/", session) == []
    finally:
        (session / "mdoc").chmod(0o755)


def test_nothing_is_walked_without_two_stars(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only directories that the pattern names are listed."""
    (session / "frames" / "deep" / "deeper").mkdir(parents=True)
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(Path(path).name) or scandir(path))
    matches("frames/*.tif", session)
    assert listed == ["frames"]


def test_counting_stops(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a number of files, of names looked at, and after a time, counting stops and says so."""
    monkeypatch.setattr(raw_files, "MOST_FILES", 5)
    found = matches("frames/*.tif", session)
    assert (found["count"], found["more"]) == (5, True)
    monkeypatch.setattr(raw_files, "MOST_FILES", 100)
    monkeypatch.setattr("staproj.project.patterns.MAX_ENTRIES", 6)
    found = matches("frames/*", session)
    assert 0 < found["count"] <= 6
    assert found["more"]
    monkeypatch.undo()
    monkeypatch.setattr(raw_files, "MOST_SECONDS", -1.0)
    assert matches("frames/*.tif", session)["more"]


def test_a_big_directory_is_quick(tmp_path: Path) -> None:
    """Twenty thousand files are counted, and completed from, in well under a second."""
    for number in range(20_000):
        (tmp_path / f"{number:05d}.tif").touch()
    begun = time.perf_counter()
    assert matches("*.tif", tmp_path)["count"] == 20_000
    assert completions("1234", tmp_path)[0] == "12340.tif"
    assert time.perf_counter() - begun < 2.0


def test_completions(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths that go on from the text; directories end in a slash, hidden names come when asked for."""
    assert completions("", session) == ["frames/", "gain.mrc", "mdoc/"]
    assert completions("fr", session) == ["frames/"]
    assert completions("FR", session) == ["frames/"]
    assert completions("frames/TS_01_00", session, most=2) == ["frames/TS_01_000.tif", "frames/TS_01_001.tif"]
    assert completions("frames/.", session) == ["frames/.hidden.tif"]
    assert f"{session}/mdoc/" in completions(f"{session}/", Path("/"))
    monkeypatch.setenv("HOME", str(session))
    assert completions("~", session) == ["~/"]
    assert completions("~/m", Path("/")) == ["~/mdoc/"]
    for strange in (
        "no/where",
        "bad\0name",
        "~nobody-of-that-name/x",
        "gain.mrc/",
        "x" * 5000,
        "[",
        "frames/*",
    ):
        assert completions(strange, session) == []


def test_completions_of_names_with_wildcards_match_them(tmp_path: Path) -> None:
    """A name that holds wildcards is completed to the pattern that means just it, level by level."""
    (tmp_path / "grid[1]" / "a*b").mkdir(parents=True)
    (tmp_path / "grid[1]" / "a*b" / "x.tif").write_text("x")
    (first,) = completions("gr", tmp_path)
    (second,) = completions(first, tmp_path)
    (third,) = completions(second, tmp_path)
    assert matches(third, tmp_path)["first"] == ["x.tif"]
    assert completions("grid[1]/", tmp_path) == [second]


def test_files_are_sorted_out_by_what_they_are(session: Path) -> None:
    """A session's directory gives movies, mdoc files and gain reference; files in one directory too."""
    assert sort_out(["."], base=session) == {
        "movies": ["./frames/*.tif"],
        "mdoc": ["./mdoc/*.mdoc"],
        "gain": ["./*.mrc"],
    }
    assert sort_out(["frames/*.tif"], base=session) == {"movies": ["frames/*.tif"]}
    assert sort_out(["frames/*.tif"], base=session, template="stack") == {"stacks": ["frames/*.tif"]}
    (session / "one").mkdir()
    for name in ("TS_01.st", "TS_01.rawtlt", "TS_01.tlt", "TS_01.st.mdoc", "notes.txt"):
        (session / "one" / name).write_text("1\n")
    found = sort_out(["one"], base=session)
    assert found == {"stacks": ["one/*.st"], "angles": ["one/*.rawtlt"], "mdoc": ["one/*.mdoc"]}
    mixed = sort_out(["one/*"], base=session)
    assert [Path(path).name for path in mixed["stacks"]] == ["TS_01.st"]
    assert len(mixed["mdoc"]) == 1
