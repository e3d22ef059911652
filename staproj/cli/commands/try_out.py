"""``simulate``, ``score`` and ``demo``: data with a known answer."""

from __future__ import annotations

import dataclasses
import json as json_format
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from staproj.api import Project
from staproj.cli import diagnostics, output
from staproj.cli.options import Json, ProjectDir, Quiet, Seed
from staproj.errors import UsageError
from staproj.report import runs as report
from staproj.testing.phantoms import PRESETS, SessionSettings

SESSION = "session"
TRUTH = "truth"
NOTES = "session.json"
PROJECT_TEMPLATE = "demo"
ThreadCount = Annotated[int, Parameter(help="Views simulated at a time.")]

# The same settings as SessionSettings, each optional: what is not given is as the preset has it.
if TYPE_CHECKING:
    Overrides = SessionSettings
else:
    Overrides = dataclasses.make_dataclass(
        "Overrides",
        [
            (field.name, f"{field.type} | None", dataclasses.field(default=None))
            for field in dataclasses.fields(SessionSettings)
        ],
        namespace={"__module__": SessionSettings.__module__},
    )


def simulate(
    directory: Annotated[Path, Parameter(help="New or empty directory for the session.")],
    /,
    *,
    preset: Annotated[str, Parameter(help=f"One of {', '.join(PRESETS)}.")] = "demo",
    seed: Seed = 1,
    threads: ThreadCount = 2,
    overrides: Annotated[Overrides | None, Parameter(name="*", negative="")] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Make a dataset as a microscope session leaves it, and the truth beside it."""
    given = {} if overrides is None else {k: v for k, v in vars(overrides).items() if v is not None}
    _simulate(directory, preset, seed, threads, given, quiet=quiet or json)
    facts = _notes(directory)
    data = {
        "directory": str(directory),
        "preset": preset,
        "seed": seed,
        "truth": str(directory / TRUTH),
        **facts,
    }
    quoted = {name: shlex.quote(f"{directory}/{name}") for name in ("frames/*", "mdoc/*.mdoc", "gain.mrc")}
    lines = [
        f"made {directory}: movies in frames/, mdoc files in mdoc/, gain.mrc, the truth in truth/",
        "a project of it:",
        f"  staproj new PROJECT --template demo --movies {quoted['frames/*']} \\",
        f"      --mdoc {quoted['mdoc/*.mdoc']} --gain {quoted['gain.mrc']} \\",
        f"      --set '{_exposure_set(facts)}'",
        "  staproj run -C PROJECT",
        f"  staproj score PROJECT --truth {shlex.quote(str(directory / TRUTH))}",
    ]
    output.emit(data, lines, as_json=json)


def score(
    project_dir: Annotated[
        Path | None, Parameter(help="Project directory; that of --project without.")
    ] = None,
    /,
    *,
    truth: Annotated[Path, Parameter(help="Directory of the truth, as `staproj simulate` wrote it.")],
    project: ProjectDir = None,
    json: Json = False,
) -> None:
    """Compare a project with the truth: alignment, defocus, hand, picks, orientations, and the map."""
    opened = Project.open(project_dir or project or ".")
    scores = _score(opened, truth)
    from staproj.testing.score import write_table

    output.emit(scores, write_table(scores), as_json=json)


def demo(
    directory: Annotated[Path, Parameter(help="Directory for everything; goes on if it is there.")],
    /,
    *,
    seed: Seed = 1,
    preset: Annotated[str, Parameter(help=f"One of {', '.join(PRESETS)}.")] = "demo",
    threads: ThreadCount = 2,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Simulate a small session, run the whole pipeline, compare with the truth; 1 if a mark is missed."""
    from staproj.testing.score import write_table

    silent = quiet or json
    session = directory / SESSION
    opened = _demo_project(directory, preset, seed, threads, quiet=silent)
    with diagnostics.RunProgress(quiet=silent) as progress:
        results = opened.run(progress=progress)
    scores = _score(opened, session / TRUTH)
    end = "all pass marks reached" if scores["passed"] else "not all pass marks reached"
    data = {"project": str(opened.root), "steps": results, "passed": scores["passed"], "scores": scores}
    lines = [*report.result_rows(results), "", write_table(scores), "", end]
    output.emit(data, lines, as_json=json, fit=True)
    return 0 if scores["passed"] else 1


def _demo_project(directory: Path, preset: str, seed: int, threads: int, *, quiet: bool) -> Project:
    """Return the project of a demo, made with its session where it is not there yet."""
    session = directory / SESSION
    if (directory / "staproj.toml").is_file():
        made_with = _notes_of_truth(session)
        if (made_with.get("seed"), made_with.get("preset")) != (seed, preset):
            raise UsageError(
                f"{directory} was made with seed {made_with.get('seed')}, preset {made_with.get('preset')}",
                hint="choose another directory, or the same seed and preset",
            )
        return Project.open(directory)
    if not (session / TRUTH / "truth.json").is_file():
        _simulate(session, preset, seed, threads, {}, quiet=quiet)
    name, _, value = _exposure_set(_notes(session)).partition("=")
    return Project.create(
        directory,
        PROJECT_TEMPLATE,
        movies=[str(session / "frames" / "*")],
        mdoc=str(session / "mdoc" / "*.mdoc"),
        gain=str(session / "gain.mrc"),
        sets={name: value},
    )


def _simulate(
    directory: Path, preset: str, seed: int, threads: int, overrides: dict[str, Any], *, quiet: bool
) -> None:
    from staproj.testing.phantoms import simulate as simulate_session

    with diagnostics.Bars(quiet=quiet) as bars:
        simulate_session(
            directory,
            preset,
            seed=seed,
            threads=threads,
            progress=lambda done, total, name: bars.update(f"simulate {name}", done, total),
            **overrides,
        )


def _score(opened: Project, truth: Path) -> dict[str, Any]:
    from staproj.testing.score import score_project

    if not (truth / "truth.json").is_file():
        raise UsageError(
            "there is no truth", where=str(truth), hint="give the truth/ that `staproj simulate` wrote"
        )
    scores: dict[str, Any] = score_project(opened.root, truth)
    return scores


def _notes(session: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json_format.loads((session / NOTES).read_text(encoding="utf-8"))
    return facts


def _notes_of_truth(session: Path) -> dict[str, Any]:
    path = session / TRUTH / "truth.json"
    facts: dict[str, Any] = json_format.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return facts


def _exposure_set(facts: dict[str, Any]) -> str:
    """Return the assignment that tells the exposures, which not every mdoc of the session knows."""
    values = ", ".join(f"{name} = {value}" for name, value in facts["exposure_e_per_angstrom2"].items())
    return f"import_movies.exposure_e_per_angstrom2={{ {values} }}"
