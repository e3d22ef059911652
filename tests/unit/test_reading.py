"""Files of unknown origin: what is read, what is refused, and that nothing is waited for."""

from __future__ import annotations

import glob
import json
import os
import random
import time
from pathlib import Path

import pytest

from staproj.errors import InputError, StorageError
from staproj.project import atomic, patterns, reading
from tests.trials import fuzz_mutations as mutate


@pytest.mark.parametrize(
    "text",
    [
        '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', '{"a": ' + "9" * 21 + "}", '{"a": "\\ud800"}',
        "[" * 100_000, '{"a":' * 100_000, "[[]," * 500_000 + "[]]", "[" + "0," * 3_000_000 + "0]", "\ufeff{}",
        "{'a': 1}", "", "\x00",
    ],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_json_that_is_no_record_is_refused(text: str):
    """Numbers beyond all bounds, half characters, deep nesting and masses of values are no record."""
    begun = time.monotonic()
    with pytest.raises((ValueError, RecursionError)):
        reading.parse_json(text.encode("utf-8", "surrogatepass"))
    assert time.monotonic() - begun < 5


def test_json_is_read_as_it_stands():
    """Ordinary values, letters outside of ASCII and escapes come through unchanged."""
    value = {"a": [1, -2.5, None, True, "Å \u202e \x1b", {"b": {}}], "n": 2**63 - 1, "𝛼": "\U0001f9ea"}
    assert reading.parse_json(json.dumps(value, ensure_ascii=False).encode()) == value
    assert reading.parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 100_000) + " = 1", "[" + ".".join("a" * 100_000) + "]", "a = 0x" + "f" * 100_000,
        "a = " + "9" * 5000, "a = " + "[" * 2000, "a = " + "{a = " * 200 + "1" + "}" * 200,
        "a = -9" + "0" * 30,
    ],
    ids=["dotted", "header", "hex", "digits", "lists", "tables", "large"],
)  # fmt: skip
def test_toml_that_is_no_manifest_is_refused(text: str):
    """Keys that take quadratic time, numbers of thousands of digits and deep nesting are refused soon."""
    begun = time.monotonic()
    with pytest.raises((ValueError, RecursionError)):
        reading.parse_toml(text)
    assert time.monotonic() - begun < 5


def test_toml_is_read_as_it_stands():
    """Dotted keys, comments with rows of dots and long text are what they were."""
    text = "# " + "." * 300 + '\na.b.c = 1\nd = "' + "x." * 300 + '"\n[e.f]\ng = -9223372036854775808\n'
    assert reading.parse_toml(text) == {
        "a": {"b": {"c": 1}},
        "d": "x." * 300,
        "e": {"f": {"g": -(2**63)}},
    }


def test_only_small_regular_files_are_records(tmp_path: Path):
    """A pipe, a directory, a device and a file that is too large are errors that name the file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "large").write_bytes(bytes(101))
    for name in ("pipe", "zero", "large", "."):
        with pytest.raises(StorageError) as caught:
            reading.read_bytes(tmp_path / name, 100)
        assert caught.value.where
        assert caught.value.hint
    with pytest.raises(FileNotFoundError):
        reading.read_bytes(tmp_path / "absent")


def test_a_huge_list_of_events_is_read_from_its_end(tmp_path: Path):
    """Of a state file of 200 MB the last events are known, in little time and memory."""
    path = tmp_path / "state.jsonl"
    with path.open("wb") as handle:
        handle.truncate(200 << 20)
        handle.seek(0, 2)
        handle.write(b'\n{"event": "failed", "message": "x"}\n{"torn')
    begun = time.monotonic()
    assert atomic.read_lines(path) == [{"event": "failed", "message": "x"}]
    assert time.monotonic() - begun < 5


def test_nothing_is_written_through_a_link(tmp_path: Path):
    """Neither a link in the place of a file nor one on the way to it lets a write end elsewhere."""
    run = tmp_path / "runs" / "r0001-a"
    run.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    (run / "items").symlink_to(elsewhere)
    (run / "log").symlink_to(elsewhere / "file")
    (run / "spec.json").symlink_to(elsewhere / "file")
    for write in (
        lambda: atomic.write_text(run / "items" / "file", "x"),
        lambda: atomic.append_line(run / "items" / "new", {}),
        lambda: atomic.touch(run / "items" / "new"),
    ):
        with pytest.raises(StorageError, match="link"):
            write()
    with pytest.raises(OSError, match=r"[Tt]oo many"):
        atomic.append_line(run / "log", {})
    atomic.write_text(run / "spec.json", "{}")
    assert [path.name for path in elsewhere.iterdir()] == ["file"]
    assert (elsewhere / "file").read_text() == "precious"
    assert not (run / "spec.json").is_symlink()


def test_patterns_match_what_glob_matches(tmp_path: Path):
    """Every pattern finds the files that Python's own glob finds, links to directories of data included."""
    for name in ("a/b/c.tif", "a/.h/x.tif", "a/.i.tif", "x.tif", "a/b/e/f/g.tif", "z[1].tif", "a b/c d.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "dead").symlink_to("/nowhere")
    told = [
        "*.tif",
        "**/*.tif",
        "a/**",
        "**",
        "*",
        "a/?/*.tif",
        "[xz]*",
        "z[[]1].tif",
        "./a/../a/*/*.tif",
        "a//b/*",
    ]
    told += [
        ".*/*",
        "a/.h/*",
        "a/.*",
        "link/**/*.tif",
        "dead",
        "d*",
        "x.tif",
        "nowhere/*",
        "*/",
        "[",
        "*/*/*",
        "",
    ]
    for pattern in [*told, *(str(tmp_path / part) for part in told)]:
        full = str(tmp_path / pattern)
        full += "/" * pattern.endswith("/")
        names = glob.glob(full, recursive=True) if glob.has_magic(full) else [full]  # noqa: PTH207
        wanted = sorted({Path(os.path.abspath(name)) for name in names if os.path.isfile(name)})  # noqa: PTH113
        assert patterns.match_files(tmp_path, pattern) == wanted, pattern


def test_a_pattern_does_not_search_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Links in a circle are gone through once, and a search of the whole disk is given up with advice."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.tif").write_text("x")
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    found = patterns.match_files(tmp_path, "**/x.tif")
    assert tmp_path / "a" / "x.tif" in found
    assert len(found) <= 2
    monkeypatch.setattr(patterns, "MAX_ENTRIES", 1000)
    with pytest.raises(InputError, match="pattern") as caught:
        patterns.match_files(tmp_path, "/usr/**/*.none")
    assert caught.value.where == "/usr/**/*.none"


def test_mutations_are_the_same_again():
    """The fuzzing trial makes the same input of the same number, so that a fault can be looked at."""
    data = b'{"a": [1, {"b": "c"}], "d": 2.5}'
    for change in (mutate.any_bytes, mutate.json_bytes, mutate.lines):
        made = [change(random.Random(f"1 x {number}"), data, data) for number in range(50)]
        assert made == [change(random.Random(f"1 x {number}"), data, data) for number in range(50)]
        assert len(set(made)) > 20
