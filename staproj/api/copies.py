"""Copies of a run's outputs for use elsewhere, each with a record of how it was made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.engine import digest, provenance, sidecar
from staproj.engine.inputs import load_port
from staproj.engine.view import View
from staproj.errors import CheckError, StorageError, UsageError
from staproj.project import atomic
from staproj.project.fingerprints import sha256_file
from staproj.project.layout import SIDECAR
from staproj.project.manifest import suggestion

if TYPE_CHECKING:
    from staproj.api.project import Project

MAP_KINDS = ("map", "half_maps", "mask")


def export_files(
    project: Project,
    what: str,
    out: str | Path,
    *,
    maps_only: bool = False,
    item: str | None = None,
    force: bool = False,
    anonymous: bool = False,
) -> dict[str, Any]:
    """Copy outputs of a run out of the project, checked against their digests.

    Parameters
    ----------
    project
        The project.
    what
        ``STEP``, ``RUN``, ``STEP.PORT`` or ``RUN.PORT``.
    out
        One file where one is copied (its record goes beside it), else a new folder (record inside).
    maps_only
        Only the images of maps, half maps and masks.
    item
        Only what belongs to this tilt series.
    force
        Replace a file that is there.
    anonymous
        Leave people and machines out of the record.

    Returns
    -------
    dict
        ``{"run", "files", "sidecars"}``.

    Raises
    ------
    UsageError
        If there is nothing of that name, or the target exists.
    CheckError
        If a file is not what was sealed.
    """
    view = View.open(project.root)
    run, port = _named(project, view, what)
    facts = provenance.facts(view, run)
    chosen = _chosen(view, facts, port, maps_only=maps_only, item=item)
    target = Path(out).absolute()
    _check_target(view, target)
    folder = target.is_dir() or len(chosen) > 1 or str(out).endswith("/")
    single = not folder
    if len(chosen) > 1 and target.suffix and not target.is_dir() and not str(out).endswith("/"):
        names_ = ", ".join(entry["path"] for entry in chosen[:6])
        raise UsageError(
            f"these are {len(chosen)} files, not one: {names_}",
            where=what,
            hint=f"name one output ({run}.{next(iter(facts['ports']))}), or a folder: {out}/",
        )
    if folder and target.is_dir() and len(chosen) == 1:  # as `cp` does: into the folder that is there
        target, single = target / chosen[0]["path"].rpartition("/")[2], True
    names = (
        {entry["path"]: entry["path"] for entry in chosen} if not single else {chosen[0]["path"]: target.name}
    )
    base = target.parent if single else target
    for name in names.values():
        if (base / name).exists() and not force:
            raise UsageError("the file exists", where=str(base / name), hint="--force replaces it")
    source = view.run(run).out
    asked_last = sorted(facts["ports"], key=lambda name: name == port)  # a file may belong to several
    ports = {path: name for name in asked_last for path in facts["ports"][name]["files"]}
    listed = {}
    for entry in chosen:
        path = entry["path"]
        _copy(source / path, base / names[path], entry)
        first = path.partition("/")[0]
        listed[names[path]] = {
            **{key: entry[key] for key in ("sha256", "size")},
            "run": run,
            "port": ports.get(path),
            "kind": facts["ports"].get(ports.get(path, ""), {}).get("kind"),
            "item": first if first in (facts["items"] or []) else None,
            "output": path,
        }
    files = [str(base / name) for name in names.values()]
    if not single and not (base / SIDECAR).exists():
        record = sidecar.build(view, "files", listed, [run], anonymous=anonymous)
        return {"run": run, "files": files, "sidecars": [str(sidecar.write(base, record))]}
    written = []
    for name, entry in listed.items():  # the folder speaks of other files already
        record = sidecar.build(view, "files", {Path(name).name: entry}, [run], anonymous=anonymous)
        written.append(str(sidecar.write_beside(base / name, record)))
    return {"run": run, "files": files, "sidecars": written}


def _named(project: Project, view: View, what: str) -> tuple[str, str | None]:
    """Split ``RUN.PORT``; steps may have points in their names."""
    from staproj.api.listing import head_or_run, is_run

    if is_run(what) or what in view.graph.nodes:
        return head_or_run(view, what), None
    before, point, port = what.rpartition(".")
    return (head_or_run(view, before), port) if point else (head_or_run(view, what), None)


def _files_of(view: View, run: str, port: str) -> set[str]:
    """Return the files of an output (below ``out/``): its artifacts, and what they say they refer to."""
    out = Path(os.path.abspath(view.run(run).out))
    entry = view.outputs(run)["artifacts"][port]
    found = {part["file"] for part in (entry["items"].values() if "items" in entry else [entry])}
    loaded = load_port(view, run, port)
    for part in loaded.values() if isinstance(loaded, dict) else [loaded]:
        paths = [Path(os.path.abspath(path)) for path in digest.paths_in(part)]
        found |= {path.relative_to(out).as_posix() for path in paths if path.is_relative_to(out)}
    return found


def _chosen(
    view: View, facts: dict[str, Any], port: str | None, *, maps_only: bool, item: str | None
) -> list[dict[str, Any]]:
    ports = facts["ports"]
    if not facts["files"]:
        raise UsageError(f"run {facts['run']} has no outputs", hint="`staproj ls` lists complete runs")
    if port is not None and port not in ports:
        raise UsageError(
            f"run {facts['run']} has no output {port!r}", hint=suggestion(port, ports, "outputs")
        )
    kinds = {name for name in ports if name == port or (port is None and ports[name]["kind"] in MAP_KINDS)}
    names = {file["path"] for file in facts["files"]}
    if port is not None or maps_only:
        names = {path for name in kinds for path in _files_of(view, facts["run"], name)}
    if maps_only:
        names = {path for path in names if not path.endswith(".h5")}
    if item is not None:
        names = {path for path in names if path.startswith(f"{item}/")}
    chosen = [file for file in facts["files"] if file["path"] in names]
    if not chosen:
        wanted = (" of maps" if maps_only else "") + (f" of {item}" if item is not None else "")
        holds = f"its outputs are {', '.join(ports)}"
        source = f"{facts['run']}.{port}" if port is not None else f"run {facts['run']}"
        raise UsageError(f"{source} has no files{wanted}", hint=holds)
    return chosen


def _check_target(view: View, target: Path) -> None:
    inside = target.resolve()
    if inside.is_relative_to(view.layout.runs.resolve()) or inside.is_relative_to(
        view.layout.private.resolve()
    ):
        raise UsageError("exports do not go among the runs", where=str(target), hint="use exports/NAME")


def _copy(source: Path, target: Path, entry: dict[str, Any]) -> None:
    """Copy one file and compare the copy's digest with the record; a wrong copy does not stay."""
    if not source.is_file():
        raise StorageError(
            "the file is not there",
            where=str(source),
            hint="it was cleared or lost; `staproj run` makes what is missing again",
        )
    with atomic.storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        try:
            shutil.copyfile(source, part)
            atomic.fsync_file(part)
            if sha256_file(part) != entry["sha256"]:
                raise CheckError(
                    "the file is not what its run made",
                    where=str(source),
                    hint="restore it from an archive, or rerun the step",
                )
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
