"""What one can do to share and check a project: the questions of each, and the command that comes of it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.report.tables import size
from staproj.tui.widgets.path_input import Seen

Values = Mapping[str, Any]
NEW, OLD, PATH, NAME, TEXT = "new", "old", "path", "name", "text"
"""Kinds of questions: a path that is not there yet, one that is, either, a step or run, and any text."""


@dataclass(frozen=True)
class Question:
    """One line of a form. ``flag`` is the option it becomes ("": the word itself)."""

    key: str
    label: str
    words: str = ""
    kind: str = TEXT
    default: str = ""
    flag: str = ""
    needed: bool = False


@dataclass(frozen=True)
class Switch:
    """One thing that is on or off. ``option`` are the words it becomes."""

    key: str
    words: str
    option: tuple[str, ...]


@dataclass(frozen=True)
class Errand:
    """One thing to do: its name in the menu, what it does, and the words of the command."""

    key: str
    title: str
    about: str
    command: tuple[str, ...]
    questions: tuple[Question, ...] = ()
    switches: tuple[Switch, ...] = ()
    replaces: Callable[[Path, Values], list[Path]] = lambda root, values: []
    force: bool = False

    def words(self, values: Values) -> list[str]:
        """Return the command (without ``staproj``) for what was filled in."""
        found = list(self.command)
        options: list[str] = []
        for question in self.questions:
            text = str(values.get(question.key, question.default)).strip()
            if question.kind in (NEW, OLD, PATH):
                text = os.path.expanduser(text)  # noqa: PTH111 - no shell does it
            if text and question.flag:
                options += [question.flag, text]
            elif text:
                found.append(text)
        without = [switch.option[1] for switch in self._on(values) if switch.option[0] == "--without"]
        options += ["--without", ",".join(without)] if without else []
        for switch in self._on(values):
            options += switch.option if switch.option[0] != "--without" else ()
        return [*found, *options]

    def _on(self, values: Values) -> list[Switch]:
        return [switch for switch in self.switches if values.get(switch.key)]

    def lacking(self, values: Values) -> str:
        """Return what must be filled in and is not ("" if all is there)."""
        for question in self.questions:
            if question.needed and not str(values.get(question.key, "")).strip():
                return f"{question.label} is needed"
        return ""


def at(root: Path, text: str) -> Path:
    """Return the place that a path means: relative ones begin at the project."""
    return root / Path(os.path.expanduser(text.strip()))  # noqa: PTH111 - a part of a path, too


ANONYMOUS = Switch("anonymous", "leave out people and machines", ("--anonymous",))
RUNS = Question("runs", "only these", "runs or steps, with commas; all without", NAME, flag="--runs")


def errands(name: str, last_step: str = "") -> list[Errand]:
    """Return what can be done with the project called ``name``; ``last_step`` is the newest result of it."""
    return [*_archives(name), *_exports(last_step), *_deposit(), *_records()]


def _archives(name: str) -> list[Errand]:
    return [
        Errand(
            "archive",
            "write an archive",
            "The whole project, or some runs with the records they come from, in one file: a BagIt bag in a "
            "tar with SHA-256 of everything, readable without staproj. What was cut off can be gone on with.",
            ("archive",),
            (
                Question(
                    "dest", "new file", ".tar, or .tar.zst with zstd", NEW, f"../{name}.tar", needed=True
                ),
                RUNS,
            ),
            (
                Switch("zstd", "compress with zstd", ("--zstd",)),
                Switch("intermediate", "leave intermediate outputs behind", ("--without", "intermediate")),
                Switch("scratch", "leave scratch outputs behind", ("--without", "scratch")),
                Switch("raw", "leave raw data behind", ("--without", "raw")),
                Switch("exports", "leave exports behind", ("--without", "exports")),
                Switch("other", "leave other files behind", ("--without", "other")),
                Switch("include_raw", "take raw data from outside the project too", ("--include-raw",)),
                Switch("keep_going", "archive damaged files as they are, and list them", ("--keep-going",)),
                Switch("resume", "go on with an unfinished archive of the same", ("--resume",)),
            ),
        ),
        Errand(
            "verify",
            "verify the project",
            "Compare every file of all sealed runs with its SHA-256: any changed bit is found.",
            ("verify",),
            (RUNS,),
            (Switch("raw", "compare raw data with its fingerprints too", ("--raw",)),),
        ),
        Errand(
            "verify_archive",
            "verify an archive",
            "Read an archive from its beginning to its end and find any changed bit.",
            ("verify",),
            (Question("archive", "archive", "a file that staproj wrote", OLD, needed=True),),
        ),
        Errand(
            "restore",
            "restore an archive",
            "Take a project out of an archive into a new directory, checking every digest; if one differs, "
            "nothing is left behind. With a run: only its outputs, also into a project that lacks them.",
            ("restore",),
            (
                Question("archive", "archive", "a file that staproj wrote", OLD, needed=True),
                Question("directory", "directory", "a new one", PATH, needed=True),
                Question("run", "only this run", "all without", TEXT, flag="--run"),
            ),
        ),
    ]


def _exports(last_step: str) -> list[Errand]:
    what = Question(
        "what", "what", "a step or run, or one output of it: RUN.PORT", NAME, last_step, needed=True
    )
    force = Switch("force", "replace files that are there", ("--force",))
    return [
        Errand(
            "relion5",
            "export for RELION 5",
            "tomograms.star, a star file for each tilt series, particles.star, half maps and mask.",
            ("export", "relion5"),
            (
                Question("out", "new directory", "", NEW, "exports/relion", needed=True),
                Question("step", "particles of", "the last refinement without", NAME, flag="--step"),
            ),
            (ANONYMOUS,),
        ),
        Errand(
            "map",
            "export maps",
            "Copies of maps, half maps or masks of a run, checked against their digests. A record of how "
            "they were made goes beside them.",
            ("export", "map"),
            (what, Question("out", "new file, or folder", "", PATH, "exports/maps/", needed=True)),
            (force, ANONYMOUS),
            _target_of_copies,
            force=True,
        ),
        Errand(
            "files",
            "export files of a run",
            "Copies of any outputs of a run, of all tilt series or one, with a record of how they were made.",
            ("export", "files"),
            (
                what,
                Question("out", "new file, or folder", "", PATH, "exports/files/", needed=True),
                Question("item", "only this tilt series", "all without", TEXT, flag="--item"),
            ),
            (force, ANONYMOUS),
            _target_of_copies,
            force=True,
        ),
    ]


def _deposit() -> list[Errand]:
    return [
        Errand(
            "empiar_template",
            "EMPIAR: the form to fill in",
            "A TOML file with what EMPIAR asks and the project does not know: title, people, citation.",
            ("export", "empiar-template"),
            (Question("out", "new file", "", NEW, "empiar.toml", needed=True),),
        ),
        Errand(
            "empiar",
            "EMPIAR: the deposition",
            "A deposition checked against EMPIAR's schema, which file goes where, and the workflow as an "
            "RO-Crate.",
            ("export", "empiar"),
            (
                Question("out", "new file", ".json", NEW, "exports/empiar.json", needed=True),
                Question(
                    "meta", "form", "the TOML file, filled in", OLD, "empiar.toml", "--meta", needed=True
                ),
            ),
        ),
    ]


def _records() -> list[Errand]:
    of = Question("of", "only what is behind", "a run, step or file; everything without", NAME, flag="--of")
    return [
        Errand(
            "crate",
            "RO-Crate metadata",
            "One action a run with inputs, parameters, outputs, software and times (Process Run Crate). In "
            "the project's own directory all files belong to it.",
            ("export", "crate"),
            (
                Question("out", "folder or file", "", PATH, ".", needed=True),
                of,
                Question("licence", "licence of the data", "its address", flag="--licence"),
                Question("author", "who is responsible", "a name", flag="--author"),
                Question("affiliation", "institute", "of that person", flag="--affiliation"),
                Question("orcid", "ORCID", "as an address", flag="--orcid"),
            ),
            (ANONYMOUS,),
            _crate_file,
        ),
        Errand(
            "prov",
            "history as PROV-JSON",
            "Runs, files, people and software, and how they hang together, as W3C PROV-JSON.",
            ("export", "prov"),
            (Question("out", "new file", "", PATH, "exports/history.provjson", needed=True), of),
            (ANONYMOUS,),
            lambda root, values: _there(root, values, "out"),
        ),
        Errand(
            "methods",
            "methods text, references",
            "The methods section and references of everything a result depends on, from the record.",
            ("methods",),
            (
                Question("of", "of", "a run, step or file; the heads of all steps without", NAME),
                Question("bibtex", "references to", "a BibTeX file; none without", PATH, flag="--bibtex"),
            ),
            (Switch("markdown", "as Markdown", ("--markdown",)),),
            lambda root, values: _there(root, values, "bibtex"),
        ),
    ]


# -------------------------------------------------------------------------------------- what is in the way
def _there(root: Path, values: Values, key: str) -> list[Path]:
    text = str(values.get(key, "")).strip()
    place = at(root, text)
    return [place] if text and place.is_file() else []


def _crate_file(root: Path, values: Values) -> list[Path]:
    from staproj.api.crate import METADATA_FILE

    place = at(root, str(values.get("out", "")))
    target = place / METADATA_FILE if place.is_dir() or not place.suffix else place
    return [target] if target.is_file() else []


def _target_of_copies(root: Path, values: Values) -> list[Path]:
    place = at(root, str(values.get("out", "")))
    if place.is_file():
        return [place]
    return [place] if place.is_dir() and any(place.iterdir()) else []


# ------------------------------------------------------------------------------- what is known of a line
_ESCAPED = re.compile(r"\[([*?\[])\]")


def see(root: Path, kind: str, text: str) -> Seen:
    """Say what a path stands for, while it is typed."""
    if not text.strip() or kind not in (NEW, OLD, PATH):
        return Seen()
    place = at(root, text)
    if kind == OLD:
        if place.is_file():
            return Seen(size(place.stat().st_size))
        if place.is_dir():
            return Seen("a directory")
        return Seen("there is no such file", "error")
    if kind == NEW:
        if place.exists() and not (place.is_dir() and not any(place.iterdir())):
            return Seen("there is such a file already: give another name", "error")
        if place.with_name(place.name + ".part").exists():
            return Seen("an unfinished one is there: the last switch goes on with it", "warning")
    above = next((folder for folder in place.parents if folder.is_dir()), root)
    free = f"{size(shutil.disk_usage(above).free)} free there"
    if place.is_dir() and any(place.iterdir()):
        return Seen(f"a folder with files in it; {free}")
    if place.is_file():
        return Seen("there already: it is asked before it is replaced", "warning")
    return Seen(free)


def complete(root: Path, kind: str, names: Sequence[str], text: str) -> list[str]:
    """Return how a line may go on: paths as they are, or names of steps and runs after the last comma."""
    from staproj.api.raw_files import completions

    if kind in (NEW, OLD, PATH):
        return [_ESCAPED.sub(r"\1", found) for found in completions(text, root)]
    if kind == NAME:
        head, comma, begun = text.rpartition(",")
        return [head + comma + name for name in names if name.startswith(begun.strip())]
    return []
