"""The form of an archive: headers, names, manifests, streams."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from staproj.errors import FormatError, StaprojError
from staproj.project import bag
from staproj.project.bag_stream import FRAME, PlainSink, ZstdSink, ZstdSource
from staproj.project.tarball import BLOCK, END, Member, Names, header, name_problem, padding, read_header

NAMES = [
    "bag/data/a.txt",
    "bag/" + "x" * 96,
    "d" * 150 + "/" + "f" * 99,
    "d" * 100 + "/" + "f" * 120,
    "bag/Übersicht/Å.mrc",
    "bag/a name with spaces, and (signs) 100%.txt",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_another_reader_understands_the_headers(name: str, size: int) -> None:
    """Python's tarfile finds name, size, time, owner 0 and a plain file, whatever the name."""
    member = Member(name, size, 1_700_000_000)
    raw = header(member) + b"z" * size + bytes(padding(size)) + END
    with tarfile.open(fileobj=io.BytesIO(raw)) as found:
        (entry,) = found.getmembers()
    assert (entry.name, entry.size, entry.mtime) == (name, size, 1_700_000_000)
    assert (entry.uid, entry.gid, entry.uname, entry.mode, entry.isreg()) == (0, 0, "", 0o644, True)


def test_files_beyond_eight_gib_have_their_size() -> None:
    """A size that does not fit into the plain header is written so that tarfile reads it."""
    member = Member("bag/data/huge.mrc", 9 * 2**33 + 7, 5)
    info = tarfile.TarInfo.frombuf(header(member)[-BLOCK:], "utf-8", "strict")
    assert info.size == 0
    with tarfile.open(fileobj=io.BytesIO(header(member) + bytes(BLOCK)), ignore_zeros=True) as found:
        entry = found.next()
    assert entry is not None
    assert entry.size == member.size


@given(st.text(min_size=1, max_size=300), st.integers(0, 2**59), st.integers(0, 2**33 - 1))
@settings(max_examples=200, deadline=None)
def test_headers_come_back(name: str, size: int, mtime: int) -> None:
    """Reading what was written gives the same member, for every name that is allowed."""
    if name_problem(name):
        return
    member = Member(name, size, mtime)
    found = read_header(io.BytesIO(header(member)), "here")
    assert found is not None
    assert found[0] == member


@given(st.binary(max_size=4 * BLOCK))
@settings(max_examples=200, deadline=None)
def test_any_bytes_as_header_are_refused_in_words(raw: bytes) -> None:
    """Bytes that are no header raise FormatError, nothing else."""
    with pytest.raises(FormatError):
        read_header(io.BytesIO(raw.lstrip(b"\0") or b"x"), "here")


def test_every_bit_of_a_header_counts() -> None:
    """Flip each bit of a plain and of an extended header: none is read as what it was."""
    for name in ("bag/data/a.txt", "bag/data/Å.txt"):
        member = Member(name, 700, 1_700_000_000)
        raw = header(member)
        for bit in range(8 * len(raw)):
            flipped = bytearray(raw)
            flipped[bit // 8] ^= 1 << bit % 8
            try:
                found = read_header(io.BytesIO(bytes(flipped)), "here")
            except FormatError:
                continue
            assert found is not None
            assert found[0] != member
            assert found[1] != raw  # which the digest of the whole archive covers


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("/etc/passwd", "absolute"),
        ("a/../../b", "elsewhere"),
        ("..", "elsewhere"),
        ("a//b", "elsewhere"),
        ("./a", "elsewhere"),
        ("a/", "elsewhere"),
        ("", "empty"),
        ("a\nb", "control"),
        ("a\x1b[2Jb", "control"),
        ("a\x7f", "control"),
        ("a\u202egnp.exe", "control"),
        ("a\u2028b", "control"),
        ("x" * 256, "part"),
        ("/".join(["x"] * 600), "longer"),
        ("a\\b", "backslash"),
        ("a ", "space"),
        ("a\udc80", "UTF-8"),
    ],
)
def test_names_that_are_refused(name: str, word: str) -> None:
    """Names that lead elsewhere, fool a terminal, or fit no file system are refused with the reason."""
    assert word in name_problem(name)


def test_names_that_meet_on_some_file_system() -> None:
    """Equal names, names equal but for case or Unicode form, and a file that is also a directory clash."""
    names = Names()
    assert [names.add(n) for n in ("a/b", "a/c", "A.txt", "é")] == ["", "", "", ""]
    for clash in ("a/b", "a/B", "a.TXT", "e\u0301", "a", "a/b/c", "A/d"):
        assert names.add(clash), clash


def test_bag_info_says_how_large() -> None:
    """What is written comes back; a missing size, another form and doubled lines are refused."""
    text = bag.info_text({"Bagging-Date": "2026-01-01", "External-Description": "a\nb"}, bag.Oxum(10, 2))
    facts, oxum = bag.parse_info(text, "here")
    assert (oxum, facts["External-Description"]) == (bag.Oxum(10, 2), "a b")
    for wrong in (text.replace("10.2", "10"), text.replace(bag.FORMAT, "staproj archive 9"), text * 2, "x"):
        with pytest.raises(FormatError):
            bag.parse_info(wrong, "here")


def _sink_bytes(kind: type[PlainSink] | type[ZstdSink], path: Path, pieces: list[bytes]) -> bytes:
    with path.open("w+b", buffering=0) as handle:
        sink = kind(handle)
        for piece in pieces:
            sink.write(piece)
        sink.finish()
    return path.read_bytes()


@pytest.mark.parametrize("kind", [PlainSink, ZstdSink])
def test_pieces_make_no_difference(kind: type[PlainSink] | type[ZstdSink], tmp_path: Path) -> None:
    """However the bytes come, the file is the same."""
    data = bytes(range(256)) * (FRAME // 256 + 100)
    whole = _sink_bytes(kind, tmp_path / "a", [data])
    parts = _sink_bytes(kind, tmp_path / "b", [data[i : i + 999_983] for i in range(0, len(data), 999_983)])
    assert whole == parts


def test_zstd_bombs_end_at_the_limit(tmp_path: Path) -> None:
    """Bytes that unpack to more than is allowed are refused while they are read, in little memory."""
    path = tmp_path / "bomb"
    _sink_bytes(ZstdSink, path, [bytes(FRAME)] * 6)
    assert path.stat().st_size < 100_000
    with path.open("rb") as handle:
        source = ZstdSource(path, handle, 3 * FRAME)
        assert len(source.read(2 * FRAME)) == 2 * FRAME
        with pytest.raises(StaprojError, match="more than"):
            source.read(4 * FRAME)
