"""Read an archive front to back, strictly: names, order, headers, padding and digests must all be right.

Nothing is ever taken on trust: sizes are bounded by what the archive declares, names lead nowhere but below
its directory, and there are no links. Memory does not grow with the size of files.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from staproj.errors import FormatError, StaprojError, StorageError
from staproj.project import bag
from staproj.project.bag import Chain, Oxum
from staproj.project.bag_stream import (
    SEAL_LENGTH,
    ZSTD_MAGIC,
    PlainSource,
    ZstdSource,
    is_zstd_archive,
    looks_sealed,
)
from staproj.project.tarball import Member, Names, padding, read_exactly, read_header

_CHUNK = 1 << 20
_TEXT_BYTES = 1 << 20
_LIMITS = {bag.STUBS: 1 << 40, bag.MANIFEST: 1 << 40, bag.PROBLEMS: 64 << 20}
DIFFERS = "its content differs from its digest"
_FOREIGN = (
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a zip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x89HDF", "an HDF5 file"),
)


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong: the file (as it lies in the project) and what about it."""

    file: str
    problem: str

    @property
    def run(self) -> str | None:
        """Run that the file belongs to."""
        return bag.run_of(self.file)


@dataclass
class Contents:
    """What an archive turned out to hold."""

    bag: str = ""
    info: dict[str, str] = field(default_factory=dict)
    oxum: Oxum = field(default_factory=lambda: Oxum(0, 0))
    n_bytes: int = 0
    n_files: int = 0
    digests: bytearray = field(default_factory=bytearray)
    damage: list[Damage] = field(default_factory=list)
    problems: bytes = b""


class BagReader:
    """Walks through an archive once.

    ``for name, size, mtime, pieces in reader:`` yields every file of the bag in order; ``pieces`` are its
    bytes, and what is not asked for is read and checked all the same. At the end :attr:`contents` is whole
    and every digest compared.
    """

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        """Open an archive.

        Raises
        ------
        FormatError
            If it is no archive of staproj.
        """
        self.path = path
        self.contents = Contents()
        self._where = path.name
        self._handle: BinaryIO = _open(path)
        try:
            self._source = _source(path, self._handle, max_bytes)
        except BaseException:
            self._handle.close()
            raise
        self._chain = Chain()
        self._expected = hashlib.sha256()
        self._tags: dict[str, str] = {}
        self._names = Names()
        self._max_bytes = max_bytes

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def __iter__(self) -> Iterator[tuple[str, Member, Iterator[bytes]]]:
        """Yield name (below the bag), member and content of each file.

        Raises
        ------
        FormatError
            If a header, a name, the order or the end is not as it must be.
        """
        last = "the beginning"
        try:
            while True:
                found = read_header(self._source, f"{self._where}, after {last}")
                if found is None:
                    raise FormatError("the archive ends before its last file", where=self._where)
                member, headers = found
                name = self._accept(member)
                last = name
                if name == bag.SEAL:
                    break
                digest = hashlib.sha256()
                kept: list[bytes] = []
                pieces = self._pieces(name, member, digest, kept)
                yield name, member, pieces
                for _ in pieces:
                    pass
                self._take(name, member, headers, digest.digest(), b"".join(kept))
            self._finish(member, headers)
        finally:
            self.close()

    def _accept(self, member: Member) -> str:
        """Check name, order and size of the next file; return its name below the bag."""
        top, slash, name = member.name.partition("/")
        contents = self.contents
        if not contents.bag:
            contents.bag = top
        if not slash or top != contents.bag:
            raise FormatError("a file lies outside the bag", where=f"{self._where}: {member.name!r}")
        self._in_order(name)
        clash = self._names.add(name)
        if clash:
            raise FormatError(f"a name in the archive is refused: {clash}", where=f"{self._where}: {name!r}")
        if name.startswith(bag.DATA):
            contents.n_files += 1
            contents.n_bytes += member.size
            if contents.n_files > contents.oxum.n_files or contents.n_bytes > contents.oxum.n_bytes:
                raise FormatError("the archive holds more than it declares", where=f"{self._where}: {name}")
        elif member.size > _LIMITS.get(name, _TEXT_BYTES):
            raise FormatError("a file of the bag is too large", where=f"{self._where}: {name}")
        return name

    def _in_order(self, name: str) -> None:
        place = self._chain.count
        if place < len(bag.HEAD):
            right = name == bag.HEAD[place]
        elif name.startswith(bag.DATA):
            right = bag.PROBLEMS not in self._tags and bag.MANIFEST not in self._tags
        else:
            before = {bag.PROBLEMS: bag.STUBS, bag.MANIFEST: bag.STUBS, bag.TAG_MANIFEST: bag.MANIFEST}
            before[bag.SEAL] = bag.TAG_MANIFEST
            right = name in before and before[name] in self._tags and name not in self._tags
        if not right:
            hint = "" if place else "it is a tar file, but not an archive of staproj: `tar xf` unpacks it"
            raise FormatError(
                "a file of another kind, or in another place than in an archive of staproj",
                where=f"{self._where}: {name!r}",
                hint=hint,
            )

    def _pieces(self, name: str, member: Member, digest: hashlib._Hash, kept: list[bytes]) -> Iterator[bytes]:
        left = member.size
        keep = name in (bag.DECLARATION, bag.INFO, bag.TAG_MANIFEST, bag.PROBLEMS)
        lines = _Lines(self.contents) if name == bag.MANIFEST else None
        while left:
            piece = read_exactly(self._source, min(left, _CHUNK), f"{self._where}: {name}")
            left -= len(piece)
            digest.update(piece)
            if keep:
                kept.append(piece)
            if lines is not None:
                lines.feed(piece)
            yield piece
        if lines is not None:
            lines.end()
        if read_exactly(self._source, padding(member.size), f"{self._where}: {name}").strip(b"\0"):
            self._damaged(name, "the filling after this file is not empty")

    def _take(self, name: str, member: Member, headers: bytes, digest: bytes, text: bytes) -> None:
        """Check what can be checked of a file that has been read."""
        contents = self.contents
        self._chain.add(headers, digest)
        if name.startswith(bag.DATA):
            contents.digests += digest
            self._expected.update(bag.manifest_line(digest.hex(), name))
            return
        if name == bag.DECLARATION and text != bag.DECLARATION_TEXT.encode():
            raise FormatError("not a BagIt 1.0 bag as staproj writes it", where=f"{self._where}: {name}")
        if name == bag.INFO:
            self._read_info(text)
        elif name == bag.PROBLEMS:
            contents.problems = text
        elif name == bag.MANIFEST and digest != self._expected.digest() and not self._told_of_files():
            self._damaged(name, "it does not list what is in the archive")
        elif name == bag.TAG_MANIFEST and text != bag.tag_manifest(self._tags):
            self._compare_tags(text)
        self._tags[name] = digest.hex()

    def _told_of_files(self) -> bool:
        return any(damage.problem == DIFFERS for damage in self.contents.damage)

    def _read_info(self, text: bytes) -> None:
        try:
            facts, oxum = bag.parse_info(text.decode(), self._where)
        except UnicodeDecodeError:
            raise FormatError("bag-info.txt is damaged", where=self._where) from None
        size = os.fstat(self._handle.fileno()).st_size
        plain = isinstance(self._source, PlainSource)
        if plain and oxum.n_bytes > size:
            raise FormatError("the archive is shorter than it declares", where=self._where)
        if self._max_bytes is not None and oxum.n_bytes > self._max_bytes:
            raise FormatError(
                f"the archive holds {oxum.n_bytes} bytes, more than --max-bytes", where=self._where
            )
        self.contents.info, self.contents.oxum = facts, oxum

    def _compare_tags(self, text: bytes) -> None:
        listed = {line[1]: line[0] for raw in text.splitlines(keepends=True) if (line := bag.parse_line(raw))}
        wrong = [name for name, digest in self._tags.items() if listed.get(name) != digest]
        if bag.MANIFEST in wrong:
            self.contents.damage = [_doubtful(damage) for damage in self.contents.damage]
        for name in wrong:
            self._damaged(name, DIFFERS)
        if not wrong or len(listed) != len(self._tags):
            self._damaged(bag.TAG_MANIFEST, "it does not list what is in the archive")

    def _finish(self, member: Member, headers: bytes) -> None:
        """Check the seal and that nothing follows."""
        contents = self.contents
        text = read_exactly(self._source, member.size, self._where)
        filling = read_exactly(self._source, padding(member.size), self._where)
        rest = headers + text + filling + read_exactly(self._source, 1024, self._where)
        if contents.n_files != contents.oxum.n_files or contents.n_bytes != contents.oxum.n_bytes:
            self._damaged(bag.INFO, "the archive holds less than it declares")
        if rest != bag.seal_bytes(contents.bag, self._chain) and not contents.damage:
            self._damaged(bag.SEAL, "the digest of the whole archive differs")
        try:
            self._source.close()
        except FormatError as error:
            if not contents.damage:
                self._damaged("", error.message)

    def _damaged(self, name: str, problem: str) -> None:
        self.contents.damage.append(Damage(name.removeprefix(bag.DATA), problem))


class _Lines:
    """Compares the manifest, as it comes, with the digests of the files that were read."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._rest = b""
        self._place = 0

    def feed(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._line(line + b"\n")
        if len(self._rest) > 2 * _CHUNK:
            raise FormatError("the manifest is damaged", where=bag.MANIFEST)

    def end(self) -> None:
        if self._rest:
            self._line(self._rest)

    def _line(self, raw: bytes) -> None:
        contents, start = self._contents, 32 * self._place
        actual = bytes(contents.digests[start : start + 32]).hex()
        found = bag.parse_line(raw)
        self._place += 1
        if found is not None and found[0] != actual:
            name = found[1].removeprefix(bag.DATA)
            contents.damage.append(Damage(name, DIFFERS))


def _doubtful(damage: Damage) -> Damage:
    if damage.problem != DIFFERS:
        return damage
    return Damage(damage.file, "it differs from the list of digests, which is damaged itself")


def read_all(path: Path, *, max_bytes: int | None = None) -> Contents:
    """Read and check a whole archive; damage is in the answer.

    Raises
    ------
    FormatError
        If it is no archive of staproj at all.
    StorageError
        If the file cannot be read.
    """
    ours = is_archive(path)
    reader = BagReader(path, max_bytes=max_bytes)
    try:
        for _ in reader:
            pass
    except FormatError as error:
        if not ours:
            raise
        name = (error.where or "").removeprefix(f"{path.name}: ").removeprefix(f"{path.name}, ")
        reader.contents.damage.append(Damage(name.removeprefix(bag.DATA), error.message))
    return reader.contents


def is_archive(path: Path) -> bool:
    """Tell whether a file begins or ends as an archive of staproj does (damage may have spoiled one)."""
    with _open(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        head = handle.read(512)
        handle.seek(max(size - bag.SEAL_BYTES, 0))
        tail = handle.read(bag.SEAL_BYTES)
    if is_zstd_archive(tail) or bag.is_sealed_tail(tail) or (head[:4] == ZSTD_MAGIC and looks_sealed(tail)):
        return True
    try:
        found = read_header(_Bytes(head), "")
    except FormatError:
        return False
    return found is not None and found[0].name.endswith("/" + bag.DECLARATION)


class _Bytes:
    """Bytes as a source."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, n: int, /) -> bytes:
        data, self._data = self._data[:n], self._data[n:]
        return data


def _open(path: Path) -> BinaryIO:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise StorageError(f"the archive cannot be read: {error.strerror}", where=str(path)) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _foreign("not a regular file", path)
    return os.fdopen(fd, "rb", buffering=_CHUNK)


def _source(path: Path, handle: BinaryIO, max_bytes: int | None) -> PlainSource | ZstdSource:
    """Tell plain and zstd archives apart, and say what other files are."""
    size = os.fstat(handle.fileno()).st_size
    head = handle.read(8)
    handle.seek(max(size - SEAL_LENGTH, 0))
    tail = handle.read(SEAL_LENGTH)
    handle.seek(0)
    if is_zstd_archive(tail) or (head[:4] == ZSTD_MAGIC and looks_sealed(tail)):
        return ZstdSource(path, handle, max_bytes)
    if head[:4] == ZSTD_MAGIC:
        raise _foreign("a zstd file", path)
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise _foreign(what, path)
    if size < bag.SEAL_BYTES:
        raise _foreign("too small to be an archive", path)
    return PlainSource(path, handle)


def _foreign(what: str, path: Path) -> StaprojError:
    return FormatError(
        f"not an archive of staproj: {what}",
        where=str(path),
        hint="`staproj restore` reads what `staproj archive` wrote; unpack others with their own program",
    )
