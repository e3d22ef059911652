"""What stands in an archive: a BagIt 1.0 bag in a tar file, in a fixed order.

::

    <bag>/bagit.txt bag-info.txt README.txt stubs.json    what this is, how to read it, what was left out
    <bag>/data/ro-crate-metadata.json staproj.toml versions/ annot/ runs/*/{spec.json, meta.h5, …}   records
    <bag>/data/runs/*/out/…  exports/ raw/ …              payload
    <bag>/problems.json                                   files that differ from their record (if any)
    <bag>/manifest-sha256.txt tagmanifest-sha256.txt      digests of all of it, in the order of the archive
    <bag>/archive-sha256.txt                              one digest of all headers and contents before it

Below ``data/`` lies the project as it is on disk. Headers follow from names, sizes and times
(:mod:`staproj.project.tarball`), contents from the manifests, and the last file seals both, so no bit of the
archive is without a check. With zstd the tar file is cut into frames, and a skippable frame at the very end
holds the digest of all compressed bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from staproj.errors import FormatError
from staproj.project.tarball import BLOCK, END, Member, header, padding

DECLARATION, INFO, README, STUBS = "bagit.txt", "bag-info.txt", "README.txt", "stubs.json"
PROBLEMS, MANIFEST, TAG_MANIFEST = "problems.json", "manifest-sha256.txt", "tagmanifest-sha256.txt"
SEAL = "archive-sha256.txt"
HEAD = (DECLARATION, INFO, README, STUBS)
DATA = "data/"
CRATE = DATA + "ro-crate-metadata.json"

DECLARATION_TEXT = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
FORMAT = "staproj archive 1"
_OXUM = re.compile(r"(\d{1,18})\.(\d{1,12})")
_LINE = re.compile(r"([0-9a-f]{64})  (.+)\n")
_SEAL_TEXT = re.compile(r"([0-9a-f]{64})  (\d{1,12}) files before this one\n")
SEAL_BYTES = len(header(Member("x", 1, 1))) + BLOCK + len(END)


@dataclass(frozen=True)
class Entry:
    """One payload file to be archived.

    ``source`` is its path on disk, or ``text`` its content where it is made for the archive. ``sha256`` (64
    hexadecimal digits) is what its record says, empty where there is none.
    """

    name: str
    size: int
    mtime_ns: int
    source: str = ""
    text: str | None = None
    sha256: str = ""

    @property
    def member(self) -> Member:
        """Name, size and time as the archive holds them (name without that of the bag)."""
        return Member(self.name, self.size, self.mtime_ns // 1_000_000_000)

    def to_line(self) -> str:
        """Return the entry as a line of JSON."""
        parts = [self.name, self.size, self.mtime_ns, self.source, self.text, self.sha256]
        return json.dumps(parts, ensure_ascii=False) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Entry:
        """Undo :meth:`to_line`."""
        return cls(*json.loads(line))


@dataclass(frozen=True)
class Oxum:
    """Bytes and number of payload files."""

    n_bytes: int
    n_files: int

    def __str__(self) -> str:
        """Return the form of ``Payload-Oxum``."""
        return f"{self.n_bytes}.{self.n_files}"


def text_entry(name: str, text: str, mtime_ns: int) -> Entry:
    """Return an entry whose content is given."""
    raw = text.encode()
    return Entry(name, len(raw), mtime_ns, text=text, sha256=hashlib.sha256(raw).hexdigest())


def bag_name(text: str) -> str:
    """Return a name for the bag's directory that is safe everywhere."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("-.")[:60] or "project"


def info_text(facts: Mapping[str, str], oxum: Oxum) -> str:
    """Return ``bag-info.txt``; values are put on one line."""
    lines = {**facts, "Staproj-Archive-Format": FORMAT, "Payload-Oxum": str(oxum)}
    return "".join(f"{key}: {' '.join(str(value).split())}\n" for key, value in lines.items())


def parse_info(text: str, where: str) -> tuple[dict[str, str], Oxum]:
    """Read ``bag-info.txt``.

    Raises
    ------
    FormatError
        If it is not the one of an archive of this form.
    """
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(": ")
        if not colon or key in facts:
            raise FormatError("bag-info.txt is damaged", where=where)
        facts[key] = value
    oxum = _OXUM.fullmatch(facts.get("Payload-Oxum", ""))
    if oxum is None:
        raise FormatError("bag-info.txt does not say how large the archive is", where=where)
    if facts.get("Staproj-Archive-Format") != FORMAT:
        raise FormatError(
            f"an archive of another form: {facts.get('Staproj-Archive-Format', 'none')!r}",
            where=where,
            hint="a newer staproj can read it; `tar xf` always can",
        )
    return facts, Oxum(int(oxum[1]), int(oxum[2]))


def manifest_line(digest: str, name: str) -> bytes:
    """Return one line of a manifest, as ``sha256sum -c`` reads it (``%`` stays: common readers expect so)."""
    return f"{digest}  {name}\n".encode()


def parse_line(raw: bytes) -> tuple[str, str] | None:
    """Return digest and name of a line of a manifest (``None``: damaged)."""
    try:
        found = _LINE.fullmatch(raw.decode())
    except UnicodeDecodeError:
        return None
    return (found[1], found[2]) if found else None


def tag_manifest(digests: Mapping[str, str]) -> bytes:
    """Return ``tagmanifest-sha256.txt``."""
    return b"".join(manifest_line(digest, name) for name, digest in digests.items())


class Chain:
    """One digest of headers and contents, in order; contents enter by their own digests."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.count = 0

    def add(self, headers: bytes, digest: bytes) -> None:
        """Add one file: its header blocks and the SHA-256 of its content."""
        self._digest.update(headers)
        self._digest.update(digest)
        self.count += 1

    def text(self) -> bytes:
        """Return the content of the last file of an archive."""
        return f"{self._digest.hexdigest()}  {self.count} files before this one\n".encode()


def seal_bytes(bag: str, chain: Chain) -> bytes:
    """Return the last file of an archive, headers included, and its end."""
    text = chain.text()
    return header(Member(f"{bag}/{SEAL}", len(text), 0)) + text + bytes(padding(len(text))) + END


def is_sealed_tail(tail: bytes) -> bool:
    """Tell whether the last bytes of a tar file are those of an archive, whatever stands before."""
    name = tail[:100].rstrip(b"\0")
    text = tail[BLOCK : 2 * BLOCK].rstrip(b"\0")
    try:
        return name.endswith(b"/" + SEAL.encode()) and _SEAL_TEXT.fullmatch(text.decode()) is not None
    except UnicodeDecodeError:
        return False


def run_of(name: str) -> str | None:
    """Return the run that a file of an archive belongs to, as ``r0042``."""
    found = re.match(r"(?:data/)?runs/(r\d{4,})-", name)
    return found[1] if found else None


def stubs_text(entries: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Return ``stubs.json`` piece by piece, one file a line."""
    yield '{"format": 1, "stubs": ['
    first = True
    for entry in entries:
        yield ("\n" if first else ",\n") + json.dumps(entry, ensure_ascii=False)
        first = False
    yield "\n]}\n"
