"""``gc``, ``trash``, ``remake`` and ``du``: space, and how to get some."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import output
from staproj.cli.options import Json, ProjectDir, Quiet
from staproj.cli.remaking import Remaking
from staproj.errors import CheckError, UsageError
from staproj.report import storage as report

Yes = Annotated[bool, Parameter(name="--yes", negative="", help="Do it.")]
Name = Annotated[str, Parameter(help="A name that `trash list` shows; the newest without.")]


def gc(
    *,
    classes: Annotated[
        str, Parameter(name="--class", help="Classes of outputs, with commas: intermediate, scratch.")
    ] = "intermediate,scratch",
    runs: Annotated[
        str | None, Parameter(help="Only these runs or steps, with commas, e.g. r0003,motion.")
    ] = None,
    superseded: Annotated[
        bool, Parameter(negative="", help="Also all outputs of runs that nothing needs any more.")
    ] = False,
    attempts: Annotated[
        bool, Parameter(negative="", help="Also what failed and interrupted runs left behind.")
    ] = False,
    tagged: Annotated[
        bool, Parameter(negative="", help="Also intermediate outputs of tagged versions.")
    ] = False,
    prove: Annotated[
        int | None, Parameter(help="Make so many of these outputs again in scratch, and compare.")
    ] = None,
    seed: Annotated[int, Parameter(help="Seed of the draw of --prove.")] = 0,
    everything: Annotated[
        bool,
        Parameter(name="--all", negative="", help="With --prove: draw from final outputs too."),
    ] = False,
    fast: Annotated[
        bool, Parameter(negative="", help="With --prove: use inputs that are still there, as they are.")
    ] = False,
    scratch: Annotated[Path | None, Parameter(help="With --prove: directory to work in.")] = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Only say what can go: the default.")] = False,
    yes: Yes = False,
    quiet: Quiet = False,
    project: ProjectDir = None,
    json: Json = False,
) -> int:
    """Move outputs that can be made again to the trash; without --yes only say which."""
    if yes and dry_run:
        raise UsageError("--yes and --dry-run exclude each other", hint="give one of them")
    storage = Project.open(project or ".").storage
    which: dict[str, Any] = {
        "classes": [name.strip() for name in classes.split(",") if name.strip()],
        "runs": [name.strip() for name in runs.split(",") if name.strip()] if runs else None,
        "superseded": superseded,
        "tagged": tagged,
    }
    if prove is not None:
        with Remaking(quiet=quiet or json) as progress:
            proof = storage.prove(
                prove,
                seed=seed,
                everything=everything,
                quick=fast,
                scratch=scratch,
                progress=progress,
                **which,
            )
        if not yes or not proof["equal"]:
            output.emit(proof, report.proof_lines(proof), as_json=json, fit=True)
            return 0 if proof["equal"] else CheckError.exit_code
        if not json:
            output.emit(proof, [*report.proof_lines(proof), ""], as_json=False, fit=True)
    if yes:
        data = storage.clean(attempts=attempts, **which)
        output.emit(data, report.cleaned_lines(data), as_json=json, fit=True)
        return 0
    data = storage.plan(attempts=attempts, **which)
    words = ["staproj gc", *(["--class", classes] if classes != "intermediate,scratch" else [])]
    words += [f"--runs {runs}"] * bool(runs) + ["--superseded"] * superseded
    words += ["--attempts"] * attempts + ["--tagged"] * tagged
    output.emit(data, report.plan_lines(data, " ".join(words)), as_json=json, fit=True)
    return 0


def remake(
    run: Annotated[str, Parameter(help="A run, or a step (its head).")],
    /,
    *,
    items: Annotated[
        list[str] | None, Parameter(name="--item", negative="", help="Only this tilt series. Repeatable.")
    ] = None,
    quiet: Quiet = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Put outputs back that were deleted: from the trash, else made again and compared with their digests."""
    opened = Project.open(project or ".")
    name = opened.run_dir(run).name.split("-", 1)[0]
    with Remaking(quiet=quiet or json) as progress:
        paths = opened.storage.bring_back(name, items=items, progress=progress)
    output.emit({"run": name, "files": paths}, report.remade_lines(name, paths), as_json=json)


def du(
    *,
    by: Annotated[str, Parameter(help="run, class or step.")] = "run",
    recorded: Annotated[
        bool, Parameter(negative="", help="From the records alone: quicker on a slow disk, not exact.")
    ] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Show where the space goes: outputs by class, records, trash. Hard links count once."""
    data = Project.open(project or ".").storage.usage(by, recorded=recorded)
    output.emit(data, report.usage_lines(data), as_json=json, fit=True)


def trash_list(*, project: ProjectDir = None, json: Json = False) -> None:
    """List what was deleted and can be restored."""
    parts = Project.open(project or ".").storage.trash()
    output.emit(parts, report.trash_rows(parts), as_json=json, fit=True)


def trash_restore(
    name: Name = "last",
    /,
    *,
    runs: Annotated[str | None, Parameter(help="Only files of these runs, with commas.")] = None,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Put back what one clean-up deleted, exactly as it was."""
    chosen = [run.strip() for run in runs.split(",") if run.strip()] if runs else None
    data = Project.open(project or ".").storage.trash_restore(name, runs=chosen)
    output.emit(data, report.restored_lines(data), as_json=json)


def trash_purge(
    name: Annotated[str, Parameter(help="A name that `trash list` shows; all of it without.")] = "all",
    /,
    *,
    yes: Yes = False,
    force: Annotated[bool, Parameter(negative="", help="Also what cannot be made again any more.")] = False,
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Delete what is in the trash for good; without --yes only say how much that frees."""
    data = Project.open(project or ".").storage.trash_purge(name, dry_run=not yes, force=force)
    output.emit(data, report.purged_lines(data), as_json=json)
