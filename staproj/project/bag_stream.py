"""Bytes of an archive on their way to and from the disk: plain, or cut into zstd frames.

A zstd archive is a row of frames, each made from at most 8 MiB of the tar file in one go, so that the same
tar gives the same frames after an interruption too. A skippable frame at the end, which zstd programs pass
over, holds the SHA-256 of everything before it.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Protocol

from staproj.errors import FormatError, UsageError

FRAME = 8 << 20
_FRAME_MIN = 1 << 20
_BUFFER = 1 << 20
_LEVEL = 3
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SEAL_MAGIC = b"\x5e\x2a\x4d\x18"
_SEAL_BODY = re.compile(rb"staproj archive sha256 ([0-9a-f]{64})\n")
_SEAL_SIZE = 24 + 64
SEAL_LENGTH = 8 + _SEAL_SIZE
RATIO_FREE = 1 << 30
RATIO = 1000


class Sink(Protocol):
    """Where the bytes of the tar file go."""

    def write(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        ...

    def end_member(self) -> int | None:
        """Note the end of a file; return the size of the archive so far if work could begin again here."""
        ...

    def flush(self) -> None:
        """Write what is held back, but for an unfinished frame."""
        ...

    def finish(self) -> None:
        """Write what is still held back."""
        ...


class PlainSink:
    """Writes the tar file as it is."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._held = bytearray()
        self._offset = handle.tell()

    def write(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes; small pieces are put together."""
        if len(data) < _BUFFER // 4:
            self._held += data
            if len(self._held) < _BUFFER:
                return
            data = b""
        self.flush()
        if data:
            _write_all(self._handle, data)
            self._offset += len(data)

    def end_member(self) -> int:
        """Return the size of the archive so far."""
        return self._offset + len(self._held)

    def finish(self) -> None:
        """Write what is still held back."""
        self.flush()

    def flush(self) -> None:
        """Write what is still held back."""
        if self._held:
            _write_all(self._handle, self._held)
            self._offset += len(self._held)
            self._held = bytearray()


class ZstdSink:
    """Compresses the tar file frame by frame."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._compressor = _zstandard().ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._held = bytearray()
        self._offset = handle.tell()
        self._digest = hashlib.sha256()
        handle.seek(0)
        left = self._offset
        while left:
            chunk = handle.read(min(_BUFFER, left))
            self._digest.update(chunk)
            left -= len(chunk)

    def write(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes; a full frame is compressed and written."""
        view = memoryview(data)
        while len(self._held) + len(view) >= FRAME:
            room = FRAME - len(self._held)
            self._held += view[:room]
            view = view[room:]
            self._frame()
        self._held += view

    def end_member(self) -> int | None:
        """End the frame if it is worth one; return the size of the archive so far then."""
        if len(self._held) >= _FRAME_MIN:
            self._frame()
        return None if self._held else self._offset

    def flush(self) -> None:
        """Do nothing: only whole frames are written."""

    def finish(self) -> None:
        """Write the last frame and the digest of all of them."""
        if self._held:
            self._frame()
        body = b"staproj archive sha256 %s\n" % self._digest.hexdigest().encode()
        _write_all(self._handle, _SEAL_MAGIC + len(body).to_bytes(4, "little") + body)

    def _frame(self) -> None:
        packed = self._compressor.compress(bytes(self._held))
        self._digest.update(packed)
        _write_all(self._handle, packed)
        self._offset += len(packed)
        self._held.clear()


def is_zstd_archive(tail: bytes) -> bool:
    """Tell whether a file ends as a zstd archive of staproj does."""
    last = tail[-SEAL_LENGTH:]
    return last[:4] == _SEAL_MAGIC and _SEAL_BODY.fullmatch(last[8:]) is not None


def looks_sealed(tail: bytes) -> bool:
    """Tell whether a file ends almost as a zstd archive of staproj does: its last bytes may be damaged."""
    return b"staproj" in tail or b"archive sha256" in tail


class PlainSource:
    """Reads a tar file."""

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        self._handle = handle
        self._where = str(path)

    def read(self, n: int, /) -> bytes:
        """Return ``n`` bytes; fewer only at the end."""
        return self._handle.read(n)

    def close(self) -> None:
        """Make sure that nothing follows.

        Raises
        ------
        FormatError
            If bytes follow the end of the archive.
        """
        if self._handle.read(1):
            raise FormatError("something follows the end of the archive", where=self._where)


class ZstdSource:
    """Reads the tar file in a zstd archive; memory is bounded, and so is how much it may grow to."""

    def __init__(self, path: Path, handle: BinaryIO, max_bytes: int | None) -> None:
        size = os.fstat(handle.fileno()).st_size
        self._where = str(path)
        self._limit = max_bytes if max_bytes is not None else max(RATIO_FREE, RATIO * size)
        self._given = max_bytes is not None
        self._packed = _Hashing(handle, size - SEAL_LENGTH)
        self._error = _zstandard().ZstdError
        decompressor = _zstandard().ZstdDecompressor(max_window_size=2 * FRAME)
        self._reader = decompressor.stream_reader(self._packed, read_size=_BUFFER, read_across_frames=True)
        self._done = 0

    def read(self, n: int, /) -> bytes:
        """Return ``n`` bytes; fewer only at the end."""
        pieces, lacking = [], n
        while lacking:
            try:
                piece = self._reader.read(min(lacking, FRAME))
            except (self._error, MemoryError) as error:
                raise FormatError(f"compressed data is damaged: {error}", where=self._where) from None
            if not piece:
                break
            pieces.append(piece)
            lacking -= len(piece)
            self._done += len(piece)
            if self._done > self._limit:
                raise self._too_large()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Make sure that nothing follows, and compare the digest of all compressed bytes.

        Raises
        ------
        FormatError
            If a bit of the compressed bytes has changed.
        """
        if self.read(1):
            raise FormatError("something follows the end of the archive", where=self._where)
        while self._packed.read(_BUFFER):
            pass
        seal = self._packed.rest()
        found = _SEAL_BODY.fullmatch(seal[8:])
        wanted = _SEAL_MAGIC + _SEAL_SIZE.to_bytes(4, "little")
        if seal[:8] != wanted or found is None or found[1].decode() != self._packed.hexdigest():
            raise FormatError("compressed data differs from its digest", where=self._where)

    def _too_large(self) -> FormatError:
        why = "--max-bytes" if self._given else f"{RATIO} times its size on disk"
        return FormatError(
            f"the archive unpacks to more than {self._limit} bytes ({why})",
            where=self._where,
            hint="if you trust where it comes from, allow more with --max-bytes",
        )


class _Hashing:
    """The compressed bytes without the seal; each is hashed as it is read."""

    def __init__(self, handle: BinaryIO, size: int) -> None:
        self._handle = handle
        self._left = max(size, 0)
        self._digest = hashlib.sha256()

    def read(self, n: int = -1, /) -> bytes:
        data = self._handle.read(min(n if n >= 0 else self._left, self._left))
        self._left -= len(data)
        self._digest.update(data)
        return data

    def rest(self) -> bytes:
        return self._handle.read(SEAL_LENGTH + 1)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _write_all(handle: BinaryIO, data: bytes | bytearray | memoryview) -> None:
    """Write all bytes: a raw file may take only a part, on a disk that is nearly full."""
    view = memoryview(data)
    while view:
        view = view[handle.write(view) :]


def _zstandard() -> ModuleType:
    try:
        import zstandard
    except ImportError:
        raise UsageError(
            "this installation cannot read or write zstd", hint="pip install 'staproj[zstd]'"
        ) from None
    return zstandard
