"""Start the processes of a job so that neither a terminal nor its owner can take them along."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import staproj
from staproj.errors import StorageError
from staproj.project import atomic
from staproj.project.layout import JobDir, Layout

SUPERVISE = "_supervise"
WORK = "_work"
_START_TIMEOUT_S = 60.0


def command(word: str, root: Path, job: JobDir) -> list[str]:
    """Return the command of one of the two hidden processes.

    ``-P`` keeps the working directory out of the import path: a project never brings code with it.
    """
    return [sys.executable, "-P", "-m", "staproj", word, str(root), job.id]


def environment() -> dict[str, str]:
    """Return the environment of a job: that of the caller, and a way to find this very package."""
    found = dict(os.environ)
    given = [os.path.abspath(path) for path in found.get("PYTHONPATH", "").split(os.pathsep) if path]
    home = str(Path(staproj.__file__).resolve().parents[1])
    if Path(home).name not in {"site-packages", "dist-packages"} and home not in given:
        given.append(home)
    if given:
        found["PYTHONPATH"] = os.pathsep.join(given)
    found["PYTHONSAFEPATH"] = "1"  # for what the worker starts as well
    return found


def start(layout: Layout, job: JobDir) -> None:
    """Start the supervisor of a job and return; it belongs to nobody any more.

    Raises
    ------
    StorageError
        If it could not be started.
    """
    root = Path(os.path.abspath(layout.root))
    with atomic.storage_errors(job.log), job.log.open("ab") as log:
        first = subprocess.Popen(
            command(SUPERVISE, root, job),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=root,
            env=environment(),
            start_new_session=True,
        )
        # What was started forks at once and ends: the supervisor is then nobody's child.
        code = first.wait(_START_TIMEOUT_S)
    if code:
        raise StorageError(
            f"the supervisor of {job.id} could not be started (exit code {code})",
            where=str(job.log),
            hint="that file says why",
        )
