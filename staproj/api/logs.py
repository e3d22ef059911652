"""The log of a run, read from its end: a log may be larger than memory."""

from __future__ import annotations

from staproj.project import reading
from staproj.project.layout import RunDir

MAX_BYTES = 16 << 20


def read_log(run: RunDir, start: int | None = None) -> tuple[str, int]:
    """Return the log from byte ``start`` (``None``: its beginning), and where it ends; at most 16 MB at once.

    Of a longer log the end is returned, and a line in front says how much was left out.

    Raises
    ------
    StorageError
        If it is not a regular file of this run.
    """
    try:
        with reading.open_regular(run.log) as handle:
            begin = start or 0
            handle.seek(0, 2)
            end = handle.tell()
            first = max(begin, end - MAX_BYTES)
            handle.seek(first)
            raw = handle.read(MAX_BYTES) or b""
    except FileNotFoundError:
        return "", 0
    text = raw.decode("utf-8", "replace")
    left_out = f"... {first - begin} bytes left out; all of it is in {run.log}\n" if first > begin else ""
    return left_out + text, first + len(raw)
