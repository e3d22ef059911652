"""Logs of runs and jobs, read from their end: a log may be larger than memory."""

from __future__ import annotations

from pathlib import Path

from staproj.errors import StaprojError
from staproj.project import reading
from staproj.project.layout import Layout, RunDir

MAX_BYTES = 16 << 20
MAX_JOB_BYTES = 1 << 18


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


def job_log(root: Path, job: str) -> list[str]:
    """Return the last lines that the processes of a job wrote, besides the logs of its runs."""
    from staproj.engine.jobs import record

    try:
        raw, _ = reading.read_end(record.find(Layout(root), job).log, MAX_JOB_BYTES)
    except (OSError, StaprojError):
        return []
    return raw.decode("utf-8", "replace").splitlines()
