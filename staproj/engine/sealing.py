"""Putting a finished run together and marking it complete, so that no power cut can tell a lie.

What is on the disk when, for a run whose items are all finished (each item's files were made durable before
its ``item.json`` got its name)::

    1  temporaries of meta.h5, outputs.json and SEALED; spec.json, env.json; directories of outputs
       — written, then fsynced at the same time
    2  attempt-N/out -> out, meta.h5                    renamed
    3  values of the command line                       in the manifest (durable by itself)
    4  outputs.json                                     renamed: from here on only the marker is missing
    5  runs/, runs/r0042-ctf/, items/                   fsynced: all names above are durable
    6  SEALED                                           renamed, and its directory fsynced

``SEALED`` holds the digests of the four records, so a marker without its records is never taken for a run.
A stop before 4 leaves an interrupted run whose items are finished; after 4, ``recover`` checks every digest
and writes the marker.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from staproj.engine.spec import RECORD_FORMAT
from staproj.project import atomic
from staproj.project.batch import Batch, fsync_all, json_bytes
from staproj.project.fingerprints import sha256_file
from staproj.project.layout import AttemptDir, RunDir


def seal_run(
    run: RunDir,
    attempt: AttemptDir,
    *,
    record: bytes,
    outputs: Mapping[str, Any],
    usage: Mapping[str, Any],
    before_seal: Callable[[], None],
    last_words: Callable[[], None],
) -> None:
    """Seal a run. ``last_words`` writes what is to be written before the run can never change again.

    Raises
    ------
    StorageError
        If the disk is full or not writable: the run is then not sealed.
    """
    from staproj.formats import vetted

    listed = json_bytes(outputs)
    proof = {
        run.spec.name: sha256_file(run.spec),
        run.env.name: sha256_file(run.env),
        run.record.name: _sha256(record),
        run.outputs.name: _sha256(listed),
    }
    vetted.remember([proof[run.record.name]])
    with Batch() as batch:
        batch.add(run.record, record)
        batch.add(run.outputs, listed)
        batch.add(run.sealed, json_bytes(_marker(proof, usage)))
        batch.sync([run.spec, run.env, *directories_below(attempt.out)])
        with atomic.storage_errors(run.path):
            attempt.out.rename(run.out)
        batch.rename(run.record)
        before_seal()
        batch.rename(run.outputs)
        last_words()
        with atomic.storage_errors(run.path):
            shutil.rmtree(attempt.path)
            for entry in outputs["files"]:
                with suppress(OSError):
                    (run.out / entry["path"]).chmod(0o444)
        fsync_all([run.path.parent, run.path, *directories_below(run.items)])
        batch.rename(run.sealed)
    atomic.fsync_dir(run.path)


def write_marker(run: RunDir, usage: Mapping[str, Any]) -> None:
    """Write ``SEALED`` of a run that has everything else (and was checked)."""
    fsync_all([run.path.parent, run.path])
    proof = {path.name: sha256_file(path) for path in (run.spec, run.env, run.record, run.outputs)}
    atomic.write_json(run.sealed, _marker(proof, usage))


def directories_below(base: Path) -> list[Path]:
    """Return a directory and all below it."""
    return [base, *(path for path in base.rglob("*") if path.is_dir() and not path.is_symlink())]


def _marker(proof: Mapping[str, str], usage: Mapping[str, Any]) -> dict[str, Any]:
    return {"record_format": RECORD_FORMAT, "sha256": dict(proof), **usage}


def _sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
