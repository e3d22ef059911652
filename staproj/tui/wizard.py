"""What the wizards share: patterns as one types them, and all that was chosen for a project to be made."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from staproj.api import Project, create, raw_data, stage_values, templates
from staproj.report.raw_data import count, match_line
from staproj.tui.widgets.path_input import Seen

Described = Mapping[str, Any]
PASSED = ("movies", "mdoc", "gain")
"""Data that the command ``new`` has options of its own for; stacks are given as movies."""
EXPOSURE = "exposure_e_per_angstrom2"
FACTS = (
    "pixel_size_angstrom",
    EXPOSURE,
    "tilt_axis_deg",
    "voltage_kv",
    "spherical_aberration_mm",
    "amplitude_contrast",
)
"""Facts of the microscope session, in the order in which they are shown."""
MANY = "; "


# ---------------------------------------------------------------------------------------------- patterns
def split_patterns(text: str) -> list[str]:
    """Return the patterns of a line; several stand with ``;`` and a space between them.

    >>> split_patterns("/a b/*.tif; c/*"), split_patterns(" ")
    (['/a b/*.tif', 'c/*'], [])
    """
    return [part.strip() for part in text.split(MANY) if part.strip()]


def join_patterns(patterns: str | Sequence[str] | None) -> str:
    """Return patterns as one line."""
    given = [patterns] if isinstance(patterns, str) else list(patterns or ())
    return MANY.join(given)


def see_patterns(text: str, base: Path) -> Seen:
    """Say how many files patterns match, and how large they are; or why none, and what would match."""
    found = [raw_data.matches(pattern, base) for pattern in split_patterns(text)]
    if not found:
        return Seen()
    lacking = [one for one in found if not one["count"]]
    if lacking:
        suggested = [one["pattern"] for one in lacking[0]["patterns"]]
        words = match_line(lacking[0]) + ("; right takes it" if suggested else "")
        return Seen(words, "warning", {"found": found, "suggest": suggested})
    words = match_line(found[0])
    if len(found) > 1:
        together = {
            "count": sum(one["count"] for one in found),
            "bytes": sum(one["bytes"] for one in found),
            "more": any(one["more"] for one in found),
        }
        words = f"{count(together)} together; the first {words}"
    return Seen(words, "", {"found": found, "suggest": []})


def complete_patterns(text: str, base: Path) -> list[str]:
    """Return how the last pattern of a line may go on."""
    before, between, last = text.rpartition(MANY)
    return [before + between + name for name in raw_data.completions(last, base)]


def complete_directories(text: str, base: Path) -> list[str]:
    """Return the directories that a text may go on as; they are names, not patterns."""
    found = [name for name in raw_data.completions(text, base) if name.endswith("/")]
    return [re.sub(r"\[([*?\[])\]", r"\1", name) for name in found]


def full_path(text: str, base: Path) -> str:
    """Return a path or pattern from the root on; relative ones start at ``base``."""
    return os.path.normpath(os.path.join(base, os.path.expanduser(text)))  # noqa: PTH111, PTH118


def see_directory(text: str, base: Path) -> Seen:
    """Say what is at the place of a project to be made."""
    if not text.strip():
        return Seen("a directory is needed; it is made if it is not there", "")
    path = Path(full_path(text.strip(), base))
    if (path / "staproj.toml").exists():
        return Seen("there is a project already: give another directory", "error")
    if not path.exists():
        above = next(parent for parent in path.parents if parent.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            return Seen(f"{above} cannot be written to: give a directory of yours", "error")
        return Seen(f"{path} will be made")
    if not path.is_dir():
        return Seen("this is a file: give another name", "error")
    names = os.listdir(path)  # noqa: PTH208 - only counted
    there = f"{len(names)} names in it stay as they are" if names else "it is empty"
    return Seen(f"{path} is there; {there}")


def suggested(seen: Seen) -> Sequence[str]:
    """Return the patterns that would match where the one that stands there does not."""
    found: Sequence[str] = seen.data["suggest"] if isinstance(seen.data, Mapping) else ()
    return found


def see_session(text: str, base: Path) -> Seen:
    """Say whether a directory is there to look for files in."""
    if not text.strip():
        return Seen()
    path = full_path(text.strip(), base)
    if not os.path.isdir(path):  # noqa: PTH112
        return Seen("there is no such directory", "warning")
    return Seen("enter finds the movies, stacks, mdoc files and gain reference in it")


def find_files(draft: Draft, directory: str) -> dict[str, str]:
    """Return patterns of the files in a directory, by the kinds of data that the template takes."""
    found = raw_data.sort_out([directory], base=draft.base, template=draft.template)
    if len(found.get("gain", [])) == 1:  # one file is meant, so it is named in full
        seen = raw_data.matches(found["gain"][0], draft.base)
        before = found["gain"][0].rpartition("/")[0]
        if seen["count"] == 1 and "/" not in seen["first"][0]:
            found["gain"] = [os.path.join(before, glob.escape(seen["first"][0]))]  # noqa: PTH118
    return {role: join_patterns(patterns) for role, patterns in found.items() if role in draft.takes}


def describe(template: str) -> dict[str, Any]:
    """Describe a template, with what each fact of the microscope that it takes means (``facts``)."""
    told = templates.template(template)
    step = next((one["step"] for one in told["takes"].values()), "")
    stage = next((one["stage"] for one in told["steps"] if one["step"] == step), "")
    params = Project.stages(stage)[0]["params"] if stage else {}
    return {**told, "facts": {name: params[name]["description"] for name in FACTS if name in params}}


# -------------------------------------------------------------------------------------------------- draft
@dataclass
class Draft:
    """What was chosen and typed so far. ``values``: facts of the microscope, ``exposures`` by series."""

    base: Path
    template: str = ""
    described: Described | None = None
    patterns: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    exposures: dict[str, str] = field(default_factory=dict)
    directory: str = ""
    name: str = ""

    def copy(self) -> Draft:
        """Return a copy that does not change with this one."""
        return replace(
            self,
            patterns=dict(self.patterns), values=dict(self.values), exposures=dict(self.exposures),
        )  # fmt: skip

    @property
    def takes(self) -> Mapping[str, Mapping[str, Any]]:
        """The data that the template takes."""
        return self.described["takes"] if self.described is not None else {}

    @property
    def facts(self) -> Mapping[str, str]:
        """The facts of the microscope that the template takes, with what each means."""
        return self.described["facts"] if self.described is not None else {}

    @property
    def step(self) -> str:
        """The step that reads the data, and that facts of the microscope are given to."""
        return next((str(one["step"]) for one in self.takes.values()), "")

    @property
    def stage(self) -> str:
        """The stage of that step."""
        steps = self.described["steps"] if self.described is not None else ()
        return next((str(one["stage"]) for one in steps if one["step"] == self.step), "")

    def given(self, role: str) -> list[str]:
        """Return the patterns of one kind of data; relative ones start where the program was started."""
        return split_patterns(self.patterns.get(role, "")) if role in self.takes else []

    def data(self) -> dict[str, list[str]]:
        """Return all patterns by what they are."""
        return {role: self.given(role) for role in self.takes if self.given(role)}

    def microscope(self) -> dict[str, Any]:
        """Return the facts that were typed, as the stage takes them.

        Raises
        ------
        UsageError
            If a value does not fit.
        """
        return {name: stage_values.value_of(self.stage, name, text) for name, text in self.values.items()}

    def with_exposures(self, items: Sequence[str]) -> dict[str, Any]:
        """Return the facts with the exposures that were typed for single series; others keep theirs."""
        found = self.microscope()
        if not self.exposures:
            return found
        template = self.described["microscope"] if self.described is not None else {}
        start = found.get(EXPOSURE, template.get(EXPOSURE))
        known = dict(start) if isinstance(start, Mapping) else {}
        if isinstance(start, int | float):
            known = dict.fromkeys(items, float(start))
        known |= {item: float(text) for item, text in self.exposures.items()}
        return {**found, EXPOSURE: known}

    def sets(self, items: Sequence[str]) -> dict[str, Any]:
        """Return everything but movies, stacks, mdoc and gain as ``{"step.param": value}``."""
        found = {f"{self.step}.{name}": value for name, value in self.with_exposures(items).items()}
        for role, patterns in self.data().items():
            if role not in (*PASSED, "stacks") or (role in ("mdoc", "gain") and len(patterns) > 1):
                found[f"{self.step}.{role}"] = [self._stored(pattern) for pattern in patterns]
        return found

    def _stored(self, pattern: str) -> str:
        """Return a pattern as the manifest keeps it: relative below the project, else from the root on."""
        path, root = full_path(pattern, self.base), full_path(self.directory, self.base)
        return os.path.relpath(path, root) if path.startswith(root + os.sep) else path

    def arguments(self, items: Sequence[str]) -> dict[str, Any]:
        """Return what ``Project.create`` takes."""
        data = {role: [self._typed(one) for one in given] for role, given in self.data().items()}
        mdoc, gain = data.get("mdoc", []), data.get("gain", [])
        return {
            "movies": data.get("movies") or data.get("stacks") or None,
            "mdoc": mdoc[0] if len(mdoc) == 1 else None,
            "gain": gain[0] if len(gain) == 1 else None,
            "name": self.name.strip() or None,
            "sets": self.sets(items),
        }

    def _typed(self, pattern: str) -> str:
        """Return a pattern as it was typed where that means the same from the working directory."""
        same = os.path.abspath(self.base) == os.path.abspath(".")
        return pattern if same else full_path(pattern, self.base)

    @property
    def place(self) -> str:
        """The directory of the project, as a command would name it."""
        return self._typed(self.directory.strip()) if self.directory.strip() else ""

    def plan(self, items: Sequence[str]) -> dict[str, Any]:
        """Say what would be made; nothing is written."""
        return create.plan_new(os.path.expanduser(self.place), self.template, **self.arguments(items))  # noqa: PTH111

    def inspect_command(self) -> list[str]:
        """Return the command that reads the same files."""
        data = {role: [self._typed(one) for one in given] for role, given in self.data().items()}
        command = ["inspect", *data.pop("movies", data.pop("stacks", []))]
        for role in ("mdoc", "gain", "angles"):
            command += [word for one in data.get(role, []) for word in (f"--{role}", one)]
        return [*command, *(["--template", self.template] if self.template else [])]


@dataclass(frozen=True)
class Inspected:
    """What the files say alone (``files``), and with the values that will count (``used``)."""

    files: Mapping[str, Any]
    used: Mapping[str, Any]

    @property
    def items(self) -> list[str]:
        """The tilt series."""
        return [str(one["item"]) for one in self.files["series"]]

    def exposure(self, item: str) -> float | None:
        """Return the exposure of a view that the files say; ``None`` where they say nothing, or 0."""
        return next((one["exposure"] for one in self.files["series"] if one["item"] == item), None)


def inspect(draft: Draft) -> Inspected:
    """Read headers and mdoc files; nothing is written."""
    data: dict[str, Any] = {role: given for role, given in draft.data().items() if role in raw_data.ROLES}
    files = raw_data.inspect(**data, base=draft.base, step=draft.step)
    items = [str(one["item"]) for one in files["series"]]
    used = raw_data.inspect(
        **data, base=draft.base, template=draft.template, step=draft.step,
        microscope=draft.with_exposures(items),
    )  # fmt: skip
    return Inspected(files, used)
