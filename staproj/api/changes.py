"""Has anything changed? Asked once a second by whoever looks on; costs a few calls of ``stat``.

Directories change when a run begins, a version is written or a job starts; jobs at work are looked at too.
Nothing is locked, nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from staproj.engine.jobs import record
from staproj.errors import StaprojError
from staproj.project.layout import JobDir, Layout

Stamp = tuple[int, ...]


class Changes:
    """Looks on at one project."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self._stamps: dict[str, Stamp] = {}
        self._over: set[int] = set()

    def look(self) -> bool:
        """Tell whether runs, settings, notes, versions or jobs have changed since the last look."""
        now = dict(self._look())
        changed = now != self._stamps
        self._stamps = now
        return changed

    def active(self) -> list[dict[str, Any]]:
        """Return the jobs that are starting, waiting or running, newest first, with their progress."""
        from staproj.api.jobs import Jobs

        jobs = Jobs(self.layout.root)
        found = []
        for job in self._open_jobs():
            try:
                told = jobs.describe(job.id)
            except StaprojError:  # its directory went meanwhile
                continue
            if told["state"] in record.ENDED:
                self._over.add(int(job.id[1:]))
            else:
                found.append(told)
        return found

    def _open_jobs(self) -> list[JobDir]:
        return [self.layout.job(n) for n in reversed(self.layout.iter_jobs()) if n not in self._over]

    def _look(self) -> Iterator[tuple[str, Stamp]]:
        layout = self.layout
        for path in (
            layout.manifest,
            layout.runs,
            layout.versions,
            layout.annotations,
            layout.jobs,
            layout.accepted,
            layout.version_tags,
            layout.trash,
        ):
            yield path.name, _stamp(path)
        for job in self._open_jobs():
            if job.result.exists():  # its last word is read once more by :meth:`active`
                yield job.id, (1,)
            else:
                yield job.id, (*_stamp(job.state), *_stamp(job.events))


def _stamp(path: Path) -> Stamp:
    """Return what changes with a file or directory; empty if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a hundred a second, and errors are an answer
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def read_only(root: Path) -> str:
    """Return why nothing may be written to a project ("" if it may).

    A manifest that does not hold closes no project: a person puts it right, and until then whatever reads it
    says what is wrong.
    """
    from staproj.project.schema import of_project, require_writable

    layout = Layout(root)
    try:
        of_project(layout)
    except StaprojError:
        return ""
    try:
        require_writable(layout)
    except StaprojError as error:
        return error.message
    return ""
