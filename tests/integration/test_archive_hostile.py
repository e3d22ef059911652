"""Archives from elsewhere: damaged, foreign, or made to do harm."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from staproj.api import Project
from staproj.api.archives import restore, verify_path
from staproj.errors import CheckError, FormatError, StaprojError
from staproj.project import bag
from staproj.project.bag import Chain, Oxum
from staproj.project.bag_stream import ZstdSink
from staproj.project.tarball import END, Member, header, padding
from staproj.stages import registry
from tests.integration import toy_stages as toy
from tests.trials import bit_flips


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Return a small archive, plain and with zstd."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "toy.toml").write_text(toy.TEMPLATE)
    (folder / "p" / "raw").mkdir(parents=True)
    (folder / "p" / "raw" / "TS_01.txt").write_text("10\n")
    fsync = os.fsync
    os.fsync = lambda fd: None  # no power is cut here
    try:
        with registry.temporarily(*toy.ALL):
            project = Project.create(folder / "p", str(folder / "toy.toml"))
            project.run()
            project.archives.write(folder / "a.tar")
            project.archives.write(folder / "a.tar.zst", zstd=True)
            yield {"plain": folder / "a.tar", "zstd": folder / "a.tar.zst"}
    finally:
        os.fsync = fsync


def made_up(*files: tuple[str, bytes] | bytes, oxum: Oxum | None = None, seal: bool = True) -> bytes:
    """Return an archive with right manifests around any files (bytes stand as they are)."""
    chain, tags, lines, out = Chain(), {}, b"", b""
    given_files = [f for f in files if isinstance(f, tuple)]
    size = oxum or Oxum(sum(len(content) for _, content in given_files), len(given_files))
    head = [
        (bag.DECLARATION, bag.DECLARATION_TEXT.encode()),
        (bag.INFO, bag.info_text({}, size).encode()),
        (bag.README, b""),
        (bag.STUBS, b"{}"),
    ]
    import hashlib

    def put(name: str, content: bytes) -> bytes:
        headers = header(Member("b/" + name, len(content), 0))
        chain.add(headers, hashlib.sha256(content).digest())
        return headers + content + bytes(padding(len(content)))

    for name, content in head:
        out += put(name, content)
        tags[name] = hashlib.sha256(content).hexdigest()
    for file in files:
        if isinstance(file, bytes):
            out += file
            continue
        out += put("data/" + file[0], file[1])
        lines += bag.manifest_line(hashlib.sha256(file[1]).hexdigest(), "data/" + file[0])
    out += put(bag.MANIFEST, lines)
    tags[bag.MANIFEST] = hashlib.sha256(lines).hexdigest()
    out += put(bag.TAG_MANIFEST, bag.tag_manifest(tags))
    return out + (bag.seal_bytes("b", chain) if seal else END)


MANIFEST_FILE = ("staproj.toml", b"schema = 1\n")


def refused(tmp_path: Path, raw: bytes, name: str = "evil.tar", *, accept: bool = False) -> str:
    """Restore must refuse and leave nothing behind; verify must not call it whole (``accept``: it may)."""
    (tmp_path / "in").mkdir(exist_ok=True)
    path = tmp_path / "in" / name
    path.write_bytes(raw)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(StaprojError) as caught:
        restore(path, tmp_path / "in" / "out")
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    with suppress(StaprojError):
        assert accept or not verify_path(path)["ok"]
    return caught.value.message + (caught.value.where or "")


def test_the_made_up_archive_is_right(tmp_path: Path) -> None:
    """What the tests below spoil is accepted before it is spoilt."""
    (tmp_path / "a.tar").write_bytes(made_up(MANIFEST_FILE, ("x/y.txt", b"hello")))
    assert verify_path(tmp_path / "a.tar")["ok"]
    restore(tmp_path / "a.tar", tmp_path / "out")
    assert (tmp_path / "out" / "x" / "y.txt").read_bytes() == b"hello"


@pytest.mark.parametrize(
    "name",
    [
        "../../evil",
        "/etc/evil",
        "a/../../../evil",
        "x\x1b[31m",
        "x\ny",
        "./x",
        "a//b",
        "b\u202e.txt",
        "x\\..\\y",
    ],
)
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    """No name leads out of the directory or fools the terminal."""
    bad = header(Member("b/data/" + name, 1, 0)) + b"x" + bytes(511)
    assert "refused" in refused(tmp_path, made_up(MANIFEST_FILE, bad, oxum=Oxum(12, 2)))


def test_absolute_from_the_start(tmp_path: Path) -> None:
    """An archive whose every name is absolute is refused."""
    raw = made_up(MANIFEST_FILE).replace(b"b/bagit.txt", b"/bagit.txt\0")
    refused(tmp_path, raw)


@pytest.mark.parametrize(
    ("first", "second"), [("a.txt", "a.txt"), ("a.txt", "A.TXT"), ("d/x", "D/y"), ("d", "d/x")]
)
def test_names_that_meet(tmp_path: Path, first: str, second: str) -> None:
    """Doubled names, names equal but for case, and a file in the place of a directory are refused."""
    assert "refused" in refused(tmp_path, made_up(MANIFEST_FILE, (first, b"1"), (second, b"2")))


@pytest.mark.parametrize("name", ["lock/owner.json", "journal/1-gc.json", "jobs/j0001/x", "index.jsonl"])
def test_nothing_that_staproj_would_act_on(tmp_path: Path, name: str) -> None:
    """Locks, journals, jobs and caches from elsewhere are refused; the last run number may come."""
    assert "no archive" in refused(tmp_path, made_up(MANIFEST_FILE, (f".staproj/{name}", b"{}")), accept=True)
    assert "no archive" in refused(tmp_path, made_up(MANIFEST_FILE, (f".STAPROJ/{name}", b"{}")), accept=True)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"problems": 3}', b'{"problems": [1]}', b"[" * 100_000])
def test_records_inside_that_make_no_sense(tmp_path: Path, text: bytes) -> None:
    """A right archive around wrong records gives an error of staproj, and nothing is left."""
    run = "runs/r0001-x/"
    files = [(run + "SEALED", b"{}"), (run + "outputs.json", text), (run + "out/map.bin", b"1")]
    refused(tmp_path, made_up(MANIFEST_FILE, *files), accept=True)
    problems = header(Member("b/problems.json", len(text), 0)) + text + bytes(padding(len(text)))
    refused(tmp_path, made_up(MANIFEST_FILE, problems, oxum=Oxum(11, 1)))


KINDS = [
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
]
KINDS += [tarfile.CONTTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE, tarfile.AREGTYPE]


@pytest.mark.parametrize("kind", KINDS)
def test_links_devices_and_other_kinds(tmp_path: Path, kind: bytes) -> None:
    """Anything but a plain file is refused, whatever the rest of its header says."""
    info = tarfile.TarInfo("b/data/x")
    info.type, info.linkname = kind, "/etc/passwd"
    bad = info.tobuf(tarfile.USTAR_FORMAT)
    refused(tmp_path, made_up(MANIFEST_FILE, bad, oxum=Oxum(11, 2)))


def test_more_than_is_declared(tmp_path: Path) -> None:
    """Files beyond the declared number or bytes stop it before they are written; less is found too."""
    files = (MANIFEST_FILE, ("big.bin", bytes(10_000)))
    assert "more than it declares" in refused(tmp_path, made_up(*files, oxum=Oxum(10_010, 2)))
    assert "more than it declares" in refused(tmp_path, made_up(*files, oxum=Oxum(10_012, 1)))
    assert "shorter than it declares" in refused(tmp_path, made_up(*files, oxum=Oxum(10**12, 2)))
    assert "less than it declares" in refused(tmp_path, made_up(*files, oxum=Oxum(10_012, 2)))


def test_sizes_nobody_has(tmp_path: Path) -> None:
    """A header that claims an exabyte ends in an error, not in memory."""
    huge = header(Member("b/data/huge", 2**59, 0))
    refused(tmp_path, made_up(MANIFEST_FILE, huge, oxum=Oxum(2**59, 2)))


def test_bombs(tmp_path: Path) -> None:
    """A zstd archive that unpacks to far more than its size is refused, unless that much was allowed."""
    raw = made_up(MANIFEST_FILE, ("zeros.bin", bytes(40 << 20)))
    path = tmp_path / "bomb.tar.zst"
    with path.open("w+b") as handle:
        sink = ZstdSink(handle)
        sink.write(raw)
        sink.finish()
    assert path.stat().st_size < 100_000
    with pytest.raises(StaprojError, match="more than"):
        restore(path, tmp_path / "out", max_bytes=10 << 20)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bomb.tar.zst"]
    restore(path, tmp_path / "out", max_bytes=100 << 20)


def _foreign() -> dict[str, bytes]:
    tar, archive = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as handle:
        info = tarfile.TarInfo("b/bagit.txt")
        info.size = len(bag.DECLARATION_TEXT)
        handle.addfile(info, io.BytesIO(bag.DECLARATION_TEXT.encode()))
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("bagit.txt", bag.DECLARATION_TEXT)
    return {
        "tar": tar.getvalue(),
        "zip": archive.getvalue(),
        "gz": gzip.compress(tar.getvalue()),
        "empty": b"",
        "zeros": bytes(100_000),
        "text": b"hello " * 1000,
        "zst": b"\x28\xb5\x2f\xfd" + bytes(200),
    }


@pytest.mark.parametrize("kind", list(_foreign()))
def test_files_of_other_programs(tmp_path: Path, kind: str) -> None:
    """Another bag, tar, zip, gzip or zstd file is refused with what it is, not with a wall of text."""
    path = tmp_path / f"x.{kind}"
    path.write_bytes(_foreign()[kind])
    for call in (lambda: restore(path, tmp_path / "out"), lambda: verify_path(path)):
        with pytest.raises(FormatError) as caught:
            call()
        assert caught.value.message
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


def test_directories_pipes_and_nothing(tmp_path: Path) -> None:
    """A FIFO does not hang it; a directory or a missing file is named as such."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dir").mkdir()
    for name in ("pipe", "dir", "nothing"):
        with pytest.raises(StaprojError):
            restore(tmp_path / name, tmp_path / "out")
    with pytest.raises(StaprojError):
        verify_path(tmp_path / "pipe")


@pytest.mark.parametrize("kind", ["plain", "zstd"])
def test_flipped_bits_are_found(archives: dict[str, Path], kind: str) -> None:
    """Every flip of a short trial (tests/trials/bit_flips.py) is found, and the whole archive accepted."""
    made, found, _, _ = bit_flips.trial(archives[kind], 120, 7, 1)
    assert (made, found) == (120, 120)


@pytest.mark.parametrize("kind", ["plain", "zstd"])
def test_cut_off_anywhere(archives: dict[str, Path], kind: str, tmp_path: Path) -> None:
    """An archive that lost its end, or got one more byte, is damaged; restore leaves nothing behind."""
    whole = archives[kind].read_bytes()
    for length in (1, 600, len(whole) // 2, len(whole) - 1025, len(whole) - 1):
        refused(tmp_path, whole[:length])
    refused(tmp_path, whole + b"\0")
    refused(tmp_path, whole + bytes(1024))


def test_damage_names_file_and_run(archives: dict[str, Path], tmp_path: Path) -> None:
    """A flipped bit in an output is reported with exactly that file and run; the exit code is 4."""
    whole = bytearray(archives["plain"].read_bytes())
    with tarfile.open(archives["plain"]) as handle:
        info = next(i for i in handle if i.name.endswith("mean/out/map.bin"))
        whole[info.offset_data + 3] ^= 4
    (tmp_path / "bad.tar").write_bytes(bytes(whole))
    (damage,) = verify_path(tmp_path / "bad.tar")["damage"]
    assert damage["file"] == info.name.partition("/data/")[2]
    assert damage["run"] == damage["file"][5:10]
    with pytest.raises(CheckError) as caught:
        restore(tmp_path / "bad.tar", tmp_path / "out")
    assert caught.value.exit_code == 4
    assert damage["file"] in str(caught.value)
    done = subprocess.run(
        [sys.executable, "-m", "staproj", "verify", str(tmp_path / "bad.tar")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert damage["file"] in done.stdout


@given(st.binary(max_size=3000))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(tmp_path: Path, raw: bytes) -> None:
    """Any bytes at all give StaprojError, nothing else."""
    path = tmp_path / "any"
    path.write_bytes(raw)
    with pytest.raises(StaprojError):
        verify_path(path)
    with pytest.raises(StaprojError):
        restore(path, tmp_path / "out")


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change(archives: dict[str, Path], tmp_path: Path, data: st.DataObject) -> None:
    """Pieces cut out, doubled, or replaced: damage or refusal, nothing else; nothing is restored."""
    whole = archives[data.draw(st.sampled_from(["plain", "zstd"]))].read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    end = min(len(whole), start + data.draw(st.integers(0, 2000)))
    piece = data.draw(st.binary(max_size=600))
    changed = whole[:start] + piece + whole[end:]
    if changed == whole:
        return
    path = tmp_path / "changed"
    path.write_bytes(changed)
    with suppress(StaprojError):
        assert not verify_path(path)["ok"]
    with pytest.raises(StaprojError):
        restore(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
