"""The manifest ``staproj.toml``: what a person wants, read strictly.

::

    schema = 2
    [project]      name, uuid, seed, template, description
    [microscope]   facts of the data; a parameter layer of the import stages
    [site.STAGE]   values of this laboratory, copied in when the project was made
    [step.NAME]    stage, inputs = { port = "step" | "step.port" | "run:r0007" }
    [step.NAME.params]        parameters
    [step.NAME.item.TS_01]    parameters of one tilt series

Values of parameters are checked by the engine, which knows the stages; here only the form is. Manifests of
older schemas are read too (docs/schema.md says what differs), those of newer ones as well as can be.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staproj.errors import ManifestError, ProjectError, StorageError
from staproj.project import reading
from staproj.project.layout import ITEM_NAME, RUN_ID

SCHEMA = 2
OLDEST_SCHEMA = 1
MAX_BYTES = 4_000_000
STEP_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")
TOP_KEYS = ("schema", "project", "microscope", "site", "step", "template")
PROJECT_KEYS = ("name", "uuid", "seed", "template", "description")
STEP_KEYS = ("stage", "inputs", "params", "item", "help", "variant")
VARIANT_KEYS = ("of", "name", "copy")
MICROSCOPE_KEYS = (
    "voltage_kv",
    "spherical_aberration_mm",
    "amplitude_contrast",
    "pixel_size_angstrom",
    "exposure_e_per_angstrom2",
    "tilt_axis_deg",
)


@dataclass(frozen=True)
class Change:
    """An edit: set the value at ``keys`` (tables on the way are made); ``value=None`` removes it."""

    keys: tuple[str, ...]
    value: Any


@dataclass(frozen=True)
class Ref:
    """Where an input comes from: the head of ``step``, or the fixed run ``run``; ``port`` if it was named."""

    text: str
    step: str | None = None
    run: str | None = None
    port: str | None = None


@dataclass(frozen=True)
class Step:
    """One node of the pipeline, as written."""

    name: str
    stage: str
    inputs: Mapping[str, Ref] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    items: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variant: Variant | None = None


@dataclass(frozen=True)
class Variant:
    """Mark of a step that was written as part of a variant: of which step, its name, a copy of which step."""

    of: str
    name: str
    copy: str


@dataclass(frozen=True)
class Manifest:
    """A manifest that has the right form."""

    text: str
    where: str
    name: str
    uuid: str
    seed: int
    template: str | None
    microscope: Mapping[str, Any]
    site: Mapping[str, Mapping[str, Any]]
    steps: Mapping[str, Step]
    template_help: str = ""
    schema: int = SCHEMA

    def step(self, name: str) -> Step:
        """Return one step.

        Raises
        ------
        ManifestError
            If there is none of that name.
        """
        if name not in self.steps:
            raise ManifestError(
                f"there is no step {name!r}", where=self.where, hint=suggestion(name, self.steps, "steps")
            )
        return self.steps[name]


def suggestion(word: str, known: Iterable[str], what: str = "keys") -> str:
    """Return "did you mean …", or the list of what is known."""
    options = [str(k) for k in known]
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known {what}: {', '.join(options)}" if options else f"there are no {what}"


def load(path: Path) -> Manifest:
    """Read and check a manifest file.

    Raises
    ------
    ProjectError
        If the file is missing or not readable.
    ManifestError
        If it is not TOML, or has wrong types or names, or (unless its schema is a newer one) unknown keys;
        the message names the key.
    """
    try:
        raw = reading.read_bytes(path, MAX_BYTES + 1, link=False)
    except StorageError as error:
        raise ProjectError(f"cannot read the manifest: {error.message}", where=str(path)) from error
    except OSError as error:
        raise ProjectError(f"cannot read the manifest: {error.strerror}", where=str(path)) from error
    if len(raw) > MAX_BYTES:
        raise ManifestError("the manifest is larger than 4 MB", where=str(path), hint="it holds intent only")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError("the manifest is not UTF-8 text", where=f"{path}, byte {error.start}") from error
    return parse(text, str(path))


def parse(text: str, where: str) -> Manifest:
    """Read and check the text of a manifest; ``where`` names it in messages."""
    try:
        data = reading.parse_toml(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"not valid TOML: {error}", where=where, hint="correct this line") from error
    schema = data.get("schema")
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < OLDEST_SCHEMA:
        raise _Checker(where).error(
            "schema", f"must be {SCHEMA}, is {schema!r}", f"write `schema = {SCHEMA}` at the top"
        )
    check = _Checker(where, lenient=schema > SCHEMA)
    check.keys(data, TOP_KEYS, "")
    project = check.table(data, "project", "project")
    check.keys(project, PROJECT_KEYS, "project")
    microscope = check.table(data, "microscope", "microscope")
    check.keys(microscope, MICROSCOPE_KEYS, "microscope")
    site = check.table(data, "site", "site")
    template = check.table(data, "template", "template")
    check.keys(template, ("name", "help"), "template")
    steps = check.table(data, "step", "step")
    return Manifest(
        text=text,
        where=where,
        name=check.text(project, "name", "project") or "",
        uuid=check.text(project, "uuid", "project") or "",
        seed=check.seed(project),
        template=check.text(project, "template", "project"),
        microscope=microscope,
        site={name: check.table(site, name, f"site.{name}") for name in site},
        steps={name: check.step(name, check.table(steps, name, f"step.{name}")) for name in steps},
        template_help=check.text(template, "help", "template") or "",
        schema=schema,
    )


def parse_ref(text: str, where: str) -> Ref:
    """Read ``step``, ``step.port``, ``run:r0007`` or ``run:r0007.port``."""
    body = text.removeprefix("run:")
    source, _, port = body.partition(".")
    if text.startswith("run:"):
        if RUN_ID.match(source):
            return Ref(text, run=source, port=port or None)
    elif STEP_NAME.match(source):
        return Ref(text, step=source, port=port or None)
    raise ManifestError(
        f"{text!r} does not say where an input comes from",
        where=where,
        hint='write "step", "step.port" or "run:r0007"',
    )


class _Checker:
    """Checks of form that know which file and key to name; ``lenient`` lets keys of a newer schema pass."""

    def __init__(self, where: str, *, lenient: bool = False) -> None:
        self.where = where
        self.lenient = lenient

    def error(self, key: str, problem: str, hint: str) -> ManifestError:
        return ManifestError(f"{key}: {problem}", where=f"{self.where} [{key}]", hint=hint)

    def keys(self, table: Mapping[str, Any], known: Iterable[str], place: str) -> None:
        known = tuple(known)
        for key in table:
            if key not in known and not self.lenient:
                full = f"{place}.{key}" if place else key
                raise self.error(full, "unknown key", suggestion(key, known))

    def table(self, parent: Mapping[str, Any], key: str, place: str) -> dict[str, Any]:
        value = parent.get(key, {})
        if not isinstance(value, dict):
            raise self.error(place, f"must be a table, is {_type(value)}", f"write it as [{place}]")
        return value

    def text(self, table: Mapping[str, Any], key: str, place: str) -> str | None:
        value = table.get(key)
        if value is not None and not isinstance(value, str):
            raise self.error(f"{place}.{key}", f"must be text, is {_type(value)}", "put it in quotes")
        return value

    def seed(self, project: Mapping[str, Any]) -> int:
        value = project.get("seed", 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.error(
                "project.seed", f"must be a whole number >= 0, is {value!r}", "write e.g. seed = 1"
            )
        return value

    def step(self, name: str, table: Mapping[str, Any]) -> Step:
        place = f"step.{name}"
        if not STEP_NAME.match(name):
            raise self.error(place, "not a usable name", "use letters, digits, - and _, a letter first")
        self.keys(table, STEP_KEYS, place)
        stage = self.text(table, "stage", place)
        if not stage:
            raise self.error(f"{place}.stage", "is missing", f'say what runs, e.g. stage = "{name}"')
        inputs = self.table(table, "inputs", f"{place}.inputs")
        items = self.table(table, "item", f"{place}.item")
        for item in items:
            if not ITEM_NAME.match(item):
                raise self.error(
                    f"{place}.item.{item}", "not a usable name of a tilt series", "see `staproj ls`"
                )
        return Step(
            name=name,
            stage=stage,
            inputs={port: self._ref(inputs, port, f"{place}.inputs.{port}") for port in inputs},
            params=self.table(table, "params", f"{place}.params"),
            items={item: self.table(items, item, f"{place}.item.{item}") for item in items},
            variant=self._variant(table, f"{place}.variant") if "variant" in table else None,
        )

    def _variant(self, table: Mapping[str, Any], place: str) -> Variant:
        mark = self.table(table, "variant", place)
        self.keys(mark, VARIANT_KEYS, place)
        texts = {key: self.text(mark, key, place) for key in VARIANT_KEYS}
        for key, text in texts.items():
            if not text:
                raise self.error(
                    f"{place}.{key}", "is missing", "take `variant` out: the step stays as it is"
                )
        return Variant(**{key: str(text) for key, text in texts.items()})

    def _ref(self, inputs: Mapping[str, Any], port: str, place: str) -> Ref:
        value = inputs[port]
        if not isinstance(value, str):
            raise self.error(place, f"must be text, is {_type(value)}", 'write e.g. "motion" or "run:r0007"')
        return parse_ref(value, f"{self.where} [{place}]")


def _type(value: Any) -> str:
    names = {
        bool: "true/false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), type(value).__name__)
