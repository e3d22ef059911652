"""The one form of tar that staproj writes and reads: plain files only, every bit of it determined.

A member is name, size and time; from these three the 512-byte headers follow exactly (POSIX ustar, owner 0,
mode 0644; a pax header before it where the name or the size does not fit). A reader that makes the headers
again and compares them bytewise therefore finds any changed bit, and refuses links, devices and everything
else that other programs may put into a tar file.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import Protocol

from staproj.errors import FormatError

BLOCK = 512
END = bytes(2 * BLOCK)
NAME_BYTES = 1024
PART_BYTES = 255
_PLAIN_SIZE = 8**11
_PAX_BYTES = 4096
_MODE, _ZERO = b"0000644\0", b"0000000\0"
_BAD_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTION = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Source(Protocol):
    """Anything bytes come from, front to back."""

    def read(self, n: int, /) -> bytes:
        """Return ``n`` bytes; fewer only at the end."""
        ...


@dataclass(frozen=True)
class Member:
    """One file of an archive: path with ``/``, size in bytes, time in whole seconds since 1970."""

    name: str
    size: int
    mtime: int


class Names:
    """Names seen so far, to find those that would meet on some file system: memory is a few bytes a name."""

    def __init__(self) -> None:
        self._files: set[bytes] = set()
        self._folders: dict[bytes, bytes] = {}
        self._last = ""

    def add(self, name: str) -> str:
        """Take a name; say what is wrong with it beside the others (empty: nothing)."""
        key = _key(name)
        if key in self._files or key in self._folders:
            return "this name stands twice, or differs from another only by case"
        self._files.add(key)
        folder = name.rpartition("/")[0]
        if folder == self._last:
            return ""
        self._last = folder
        while folder:
            key, exact = _key(folder), _exact(folder)
            if key in self._files or self._folders.setdefault(key, exact) != exact:
                return "names of directories differ only by case, or one is also a file"
            folder = folder.rpartition("/")[0]
        return ""


def padding(size: int) -> int:
    """Return the number of zero bytes after a file of ``size`` bytes."""
    return -size % BLOCK


def stored(member: Member) -> int:
    """Return the bytes a member takes in the archive: headers, content, padding."""
    return len(header(member)) + member.size + padding(member.size)


def name_problem(name: str) -> str:
    """Say why a path cannot be in an archive (empty: it can).

    Refused are absolute paths, ``..``, control and direction characters, and what no file system takes.
    """
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        return "not valid UTF-8"
    if not name or name.startswith("/"):
        return "an absolute path" if name else "an empty name"
    if len(raw) > NAME_BYTES:
        return f"longer than {NAME_BYTES} bytes"
    if not name.isascii() or not name.isprintable():
        bad = any(unicodedata.category(c) in _BAD_CATEGORIES or c in _DIRECTION for c in name)
    else:
        bad = False
    if bad:
        return "control characters in the name"
    for part in name.split("/"):
        if part in ("", ".", ".."):
            return "a path that leads elsewhere"
        if len(part.encode()) > PART_BYTES:
            return f"a part longer than {PART_BYTES} bytes"
        if part != part.rstrip() or "\\" in part:
            return "a backslash, or a space at the end of a name"
    return ""


def header(member: Member) -> bytes:
    """Return the header blocks of a member."""
    mtime = min(max(member.mtime, 0), _PLAIN_SIZE - 1)
    records = {}
    place = _split(member.name)
    if place is None:
        records["path"] = member.name
        short = member.name.encode("ascii", "replace").replace(b"?", b"_")[-100:].lstrip(b"/")
        place = (b"", short)
    if member.size >= _PLAIN_SIZE:
        records["size"] = str(member.size)
    size = 0 if "size" in records else member.size
    plain = _ustar(place, size, mtime, b"0")
    if not records:
        return plain
    body = b"".join(_pax_record(key, value) for key, value in sorted(records.items()))
    first = _ustar((b"", b"pax-header"), len(body), mtime, b"x")
    return first + body + bytes(padding(len(body))) + plain


def read_header(source: Source, where: str) -> tuple[Member, bytes] | None:
    """Read the header of the next member and return it with its bytes (``None``: two blocks of zeros).

    Raises
    ------
    FormatError
        If it is not bit for bit what :func:`header` gives.
    """
    raw = read_exactly(source, BLOCK, where)
    if not raw.strip(b"\0"):
        if read_exactly(source, BLOCK, where).strip(b"\0"):
            raise FormatError("one block of zeros is not the end of an archive", where=where)
        return None
    records: dict[str, str] = {}
    first = raw
    if raw[156:157] == b"x":
        size = _octal(raw[124:136], where)
        if not 0 < size <= _PAX_BYTES:
            raise FormatError("a header is too long", where=where)
        body = read_exactly(source, size + padding(size), where)
        records = _pax_records(body[:size], where)
        first = read_exactly(source, BLOCK, where)
        raw += body + first
    name = records.get("path")
    if name is None:
        prefix, base = first[345:500].rstrip(b"\0"), first[:100].rstrip(b"\0")
        name = _text(prefix + b"/" + base if prefix else base, where)
    size_text = records.get("size", "")
    size = int(size_text) if size_text else _octal(first[124:136], where)
    problem = name_problem(name)
    if problem:
        raise FormatError(f"a name in the archive is refused: {problem}", where=f"{where}: {name!r}")
    member = Member(name, size, _octal(first[136:148], where))
    if header(member) != raw:
        raise FormatError("a header is damaged, or was not written by staproj", where=f"{where}: {name!r}")
    return member, raw


def read_exactly(source: Source, n: int, where: str) -> bytes:
    """Read ``n`` bytes.

    Raises
    ------
    FormatError
        If the file ends before.
    """
    data = source.read(n)
    if len(data) != n:
        raise FormatError("the archive ends in the middle", where=where)
    return data


def _ustar(place: tuple[bytes, bytes], size: int, mtime: int, kind: bytes) -> bytes:
    prefix, name = place
    block = b"".join(
        [
            name.ljust(100, b"\0"),
            _MODE,
            _ZERO,
            _ZERO,
            b"%011o\0" % size,
            b"%011o\0" % mtime,
            b" " * 8,
            kind,
            bytes(100),
            b"ustar\x0000",
            bytes(64),
            _ZERO,
            _ZERO,
            prefix.ljust(155, b"\0"),
            bytes(12),
        ]
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _split(name: str) -> tuple[bytes, bytes] | None:
    """Return prefix and name as ustar holds them, or ``None`` if they do not fit."""
    if not name.isascii():
        return None
    raw = name.encode()
    if len(raw) <= 100:
        return b"", raw
    cut = raw.rfind(b"/", 0, 156)
    return (raw[:cut], raw[cut + 1 :]) if cut > 0 and len(raw) - cut - 1 <= 100 else None


def _pax_record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return str(length).encode() + rest


def _pax_records(body: bytes, where: str) -> dict[str, str]:
    """Read pax records; the caller compares them with what would be written."""
    found: dict[str, str] = {}
    rest = body
    while rest:
        digits, space, _ = rest[:8].partition(b" ")
        length = int(digits) if digits.isdigit() and space else 0
        if not 5 <= length <= len(rest):
            raise FormatError("an extended header is damaged", where=where)
        key, equals, value = rest[len(digits) + 1 : length - 1].partition(b"=")
        if not equals or key not in (b"path", b"size") or (key == b"size" and not value.isdigit()):
            raise FormatError("an extended header is damaged, or was not written by staproj", where=where)
        if key == b"size" and len(value) > 18:
            raise FormatError("a file of impossible size", where=where)
        found[key.decode()] = _text(value, where)
        rest = rest[length:]
    return found


def _octal(field: bytes, where: str) -> int:
    digits = field[:11]
    if field[11:] != b"\0" or not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise FormatError("a header is damaged, or was not written by staproj", where=where)
    return int(digits, 8)


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise FormatError("a name in the archive is not valid UTF-8", where=where) from None


def _key(name: str) -> bytes:
    """Return a short digest of a name, equal for names that some file system takes for one."""
    return _exact(unicodedata.normalize("NFC", name).casefold())


def _exact(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=12).digest()
