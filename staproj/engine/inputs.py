"""Artifacts of sealed runs as model objects."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from staproj.engine.view import InputUse, View
from staproj.errors import StorageError, UsageError
from staproj.kinds import ArtifactKind
from staproj.project import reading
from staproj.project.cleared import cleared_paths
from staproj.project.layout import RUN_NAME, RunDir
from staproj.project.manifest import suggestion


def load_port(view: View, run: str, port: str) -> Any:
    """Read one output of a run: the object, or ``{item: object}``.

    Raises
    ------
    UsageError
        If the run is not sealed or has no such output.
    StorageError
        If it was deleted in a clean-up.
    """
    directory = view.run(run)
    if not directory.is_sealed():
        raise UsageError(f"run {directory.id} is not complete", hint=f"`staproj log {directory.id}` says why")
    artifacts = view.outputs(run)["artifacts"]
    if port not in artifacts:
        raise UsageError(f"run {run} has no output {port!r}", hint=suggestion(port, artifacts, "outputs"))
    entry = artifacts[port]
    kind = ArtifactKind(entry["kind"])
    _check_not_cleared(view, directory)
    if "items" in entry:
        return {
            item: _read(view, directory.out / part["file"], kind) for item, part in entry["items"].items()
        }
    return _read(view, directory.out / entry["file"], kind)


def load_inputs(view: View, uses: dict[str, InputUse], item: str | None) -> dict[str, Any]:
    """Read what a stage is called with: its tilt series' artifacts, or everything in project scope."""
    loaded: dict[str, Any] = {}
    for port, use in uses.items():
        if item is None or not use.per_item:
            loaded[port] = load_port(view, use.run, use.source_port)
        else:
            part = view.outputs(use.run)["artifacts"][use.source_port]["items"][item]
            loaded[port] = _read(view, view.run(use.run).out / part["file"], ArtifactKind(use.kind))
    return loaded


def check_unchanged(view: View, uses: dict[str, InputUse], item: str | None) -> None:
    """Refuse inputs whose files are not what was sealed (read only where ``stat`` differs).

    Raises
    ------
    StorageError
        If a file is gone or has other content.
    """
    for use in uses.values():
        directory = view.run(use.run)
        for entry in view.outputs(use.run)["files"]:
            if item is not None and use.per_item and not str(entry["path"]).startswith(f"{item}/"):
                continue
            path = directory.out / entry["path"]
            try:
                stat = reading.stat_regular(path)
                same = (stat.st_size, stat.st_mtime_ns) == (entry["size"], entry["mtime_ns"])
                if same or view.prints.full(path) == entry["sha256"]:
                    continue
                problem = "was changed after it was sealed"
            except OSError:
                problem = "is gone"
            again = f"remake {use.run}" if entry["path"] in cleared_paths(directory) else f"rerun {use.step}"
            raise StorageError(
                f"an output of {use.run} {problem}",
                where=view.layout.relative(path),
                hint=f"`staproj {again}` makes it again",
            )


def _check_not_cleared(view: View, run: RunDir) -> None:
    """Say plainly that outputs were deleted on purpose, and how they come back."""
    gone = [path for path in sorted(cleared_paths(run)) if not (run.out / path).is_file()]
    if gone:
        raise StorageError(
            f"{len(gone)} outputs of {run.id} were deleted in a clean-up",
            where=view.layout.relative(run.out / gone[0]),
            hint=f"`staproj remake {run.id}` puts them back",
        )


def _check_sealed(view: View, path: Path) -> None:
    """Compare an artifact with its digest: the HDF5 library may crash, or never return, on damaged files."""
    above = (RunDir(place) for place in path.parents if RUN_NAME.match(place.name))
    directory = next((run.path for run in above if run.out in path.parents), None)  # in runs/ or a workshop
    if directory is None:
        return
    run = RunDir(directory).id
    below = path.relative_to(directory).as_posix().partition("/")[2]
    listed = next((e for e in view.outputs(run)["files"] if e["path"] == below), None)
    with suppress(FileNotFoundError):  # reading it says so
        if listed is not None and view.prints.full(path) != listed["sha256"]:
            raise StorageError(
                f"an output of {run} was changed after it was sealed",
                where=view.layout.relative(path),
                hint="`staproj verify` lists what is damaged; `staproj rerun` makes it again",
            )


def _read(view: View, path: Path, kind: ArtifactKind) -> Any:
    from staproj.formats.artifact import model_class, read_artifact

    _check_sealed(view, path)
    return read_artifact(path, model_class(kind), project_root=view.layout.root)
