"""Make a project from a template, or say what would be made."""

from __future__ import annotations

import os
import tomllib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staproj.api.raw_data import importers_of
from staproj.engine import intent, params, plan
from staproj.engine.view import View
from staproj.errors import ManifestError, ProjectError, StaprojError, UsageError
from staproj.project import atomic, manifest, manifest_edit, probe, readme, schema, versions
from staproj.project.layout import Layout, templates_dir
from staproj.project.lock import project_lock
from staproj.project.manifest import Change, Manifest, suggestion

_UUID_TO_COME = "made with the project"


def template_names() -> dict[str, str]:
    """Return ``{name: help}`` of all templates."""
    found = {}
    for path in sorted(templates_dir().glob("*.toml")):
        found[path.stem] = manifest.load(path).template_help
    return found


def create_project(
    root: Path,
    template: str,
    *,
    movies: str | Sequence[str] | None = None,
    mdoc: str | None = None,
    gain: str | None = None,
    name: str | None = None,
    sets: Mapping[str, Any] | None = None,
) -> None:
    """Write the manifest of a new project; the template's comments stay.

    Paths are taken from the working directory, and kept relative if they lie inside the project.

    Raises
    ------
    ProjectError
        If there is a project already.
    UsageError
        If the template or a parameter does not exist.
    """
    wanted = Wanted(Path(os.path.abspath(root)), template, _data(movies, mdoc, gain), name, sets or {})
    layout = Layout(wanted.root)
    _check_place(layout)
    text = _compose(wanted, str(uuid.uuid4()), _raise)
    _check(text, str(layout.manifest))
    with atomic.storage_errors(layout.root):
        try:
            layout.root.mkdir(parents=True, exist_ok=True)
        except (FileNotFoundError, NotADirectoryError) as error:  # file systems that take no directories
            raise ProjectError(
                f"the directory cannot be made: {error.strerror}",
                where=str(layout.root),
                hint="choose a directory of yours",
            ) from error
        for directory in (layout.runs, layout.versions, layout.annotations, layout.private):
            directory.mkdir(exist_ok=True)
    with project_lock(layout.lock, purpose="making the project"):
        atomic.write_text(layout.readme, readme.TEXT)
        atomic.write_text(layout.manifest, text)
        versions.write(
            layout, manifest=text, heads={}, why=f"new project from template {Path(template).stem}"
        )
    probe.first_from_here(layout)


def plan_new(
    directory: str | Path,
    template: str,
    movies: str | Sequence[str] | None = None,
    mdoc: str | None = None,
    gain: str | None = None,
    name: str | None = None,
    sets: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Say what :func:`create_project` would do; everything is checked, nothing is written.

    Returns ``{"ok", "project", "template", "steps", "problems", "importers", "manifest", "command"}``:
    ``problems`` are ``{"level", "about", "text", "where", "hint"}`` (``about``: directory, template, movies,
    mdoc, gain, a key of ``sets``, or manifest), of level error or warning; ``manifest`` is the text (its uuid
    is made when it is written); ``command`` the same on the command line.
    """
    problems: list[dict[str, Any]] = []

    def refuse(about: str, error: StaprojError) -> None:
        told = {"text": error.message, "where": error.where or "", "hint": error.hint}
        problems.append({"level": "error", "about": about, **told})

    wanted = Wanted(Path(os.path.abspath(directory)), template, _data(movies, mdoc, gain), name, sets or {})
    layout = Layout(wanted.root)
    text, steps, importers = "", [], []
    try:
        _check_place(layout)
    except StaprojError as error:
        refuse("directory", error)
    try:
        text = _compose(wanted, _UUID_TO_COME, refuse)
        made = manifest.parse(text, str(layout.manifest))
        steps, importers = list(made.steps), importers_of(made, layout.root)
        _check(text, str(layout.manifest))
    except StaprojError as error:
        refuse("manifest" if text else "template", error)
    for entry in importers:
        problems += _nothing_matched(entry)
    return {
        "ok": not any(problem["level"] == "error" for problem in problems),
        "project": str(layout.root),
        "template": template,
        "steps": steps,
        "problems": problems,
        "importers": importers,
        "manifest": text,
        "command": _command(directory, wanted),
    }


@dataclass(frozen=True)
class Wanted:
    """What a new project is to be made of; ``data`` are patterns by the name of what they are."""

    root: Path
    template: str
    data: Mapping[str, str | Sequence[str]]
    name: str | None
    sets: Mapping[str, Any]


def load_template(template: str) -> Manifest:
    """Read a template by name, or a file.

    Raises
    ------
    UsageError
        If there is none.
    """
    return manifest.parse(_read_template(template), f"template {template}")


def _compose(wanted: Wanted, identifier: str, refuse: Callable[[str, StaprojError], None]) -> str:
    """Return the text of the manifest; what is wrong with data and settings goes to ``refuse``."""
    text = _read_template(wanted.template)
    start = manifest.parse(text, f"template {wanted.template}")
    if start.schema > manifest.SCHEMA:
        raise ProjectError(
            f"this template has schema {start.schema}, this staproj knows up to {manifest.SCHEMA}",
            where=f"template {wanted.template}",
            hint="use the newer staproj that it was made for",
        )
    text = schema.with_schema(text, manifest.SCHEMA)  # templates of older schemas are as good
    plan.build(start)
    layout = Layout(wanted.root)
    changes = [
        Change(("project", "name"), wanted.name or layout.root.name),
        Change(("project", "uuid"), identifier),
        Change(("project", "template"), Path(wanted.template).stem),
        Change(("template",), None),
        *_site_changes(start),
    ]
    for key, value in wanted.data.items():
        try:
            changes.append(_data_change(layout, start, key, value))
        except StaprojError as error:
            refuse(key, error)
    text = manifest_edit.apply(text, changes).lstrip("\n")
    for key, value in wanted.sets.items():
        try:
            text = _with_set(layout, text, key, value)
        except StaprojError as error:
            refuse(key, error)
    return text


def _raise(_about: str, error: StaprojError) -> None:
    raise error


def _data(movies: str | Sequence[str] | None, mdoc: str | None, gain: str | None) -> dict[str, Any]:
    return {key: value for key, value in (("movies", movies), ("mdoc", mdoc), ("gain", gain)) if value}


def _nothing_matched(importer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return warnings about patterns without files, and steps that are to read data and name none."""
    problems = []
    for data in importer["params"]:
        for one in data["matches"]:
            if not one["count"]:
                text = f"{importer['step']}.{data['name']}: {one['problem']}"
                hint = f"there is {', '.join(one['suggest'][:3])}" if one["suggest"] else ""
                told = {"text": text, "where": one["pattern"], "hint": hint}
                problems.append({"level": "warning", "about": data["name"], **told})
    if not any(data["given"] for data in importer["params"]):
        text = f"{importer['step']}: no data are named yet"
        told = {"text": text, "where": "", "hint": f"name {importer['params'][0]['name']}"}
        problems.append({"level": "warning", "about": importer["params"][0]["name"], **told})
    return problems


def _command(directory: str | Path, wanted: Wanted) -> list[str]:
    """Return the command line that makes the same project."""
    command = ["staproj", "new", str(directory), "--template", wanted.template]
    for key, value in wanted.data.items():
        for pattern in [value] if isinstance(value, str) else value:
            command += [f"--{key}", pattern]
    command += ["--name", wanted.name] if wanted.name else []
    for key, value in wanted.sets.items():
        written = value if isinstance(value, str) else manifest_edit.in_toml(value)
        command += ["--set", f"{key}={written}"]
    return command


def _check_place(layout: Layout) -> None:
    """Refuse a place where no project can be made, before anything is written."""
    root = layout.root
    if layout.manifest.exists():
        raise ProjectError(
            "there is a project already", where=str(layout.manifest), hint="choose another directory"
        )
    if root.exists() and not root.is_dir():
        raise ProjectError("this is a file, not a directory", where=str(root), hint="give another name")
    above = next(parent for parent in (root, *root.parents) if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ProjectError(
            "no project can be made here: the directory above cannot be written to",
            where=str(above),
            hint="choose a directory of yours",
        )


def _read_template(template: str) -> str:
    """Return the text of a template by name, or of a file."""
    path = templates_dir() / f"{template}.toml"
    if template.endswith(".toml") and Path(template).is_file():
        path = Path(template)
    if not path.is_file() or ("/" in template and not template.endswith(".toml")):
        raise UsageError(
            f"there is no template {template!r}", hint=suggestion(template, template_names(), "templates")
        )
    return path.read_text(encoding="utf-8")


def _data_change(layout: Layout, start: Manifest, key: str, value: str | Sequence[str]) -> Change:
    """Put raw data into the step that imports it: the one whose parameters have these names."""
    for node in plan.build(start).nodes.values():
        if node.spec.inputs:
            continue
        names = params.data_parameters(node.spec)
        target = "stacks" if key == "movies" and "movies" not in names and "stacks" in names else key
        if target in names:
            stored = [_stored(layout, v) for v in ([value] if isinstance(value, str) else value)]
            plain: Any = stored if not isinstance(value, str) else stored[0]
            fits = params.parse_value(node.spec, target, plain, step=node.name)
            return Change(("step", node.name, "params", target), fits)
    raise UsageError(f"no step of this template takes {key}", hint="use --set STEP.PARAM=VALUE")


def _stored(layout: Layout, pattern: str) -> str:
    return layout.relative(Path(os.path.abspath(Path(pattern).expanduser())))


def _site_changes(start: Manifest) -> list[Change]:
    """Copy this laboratory's values for the stages in use, so that moving the project changes nothing."""
    configured = os.environ.get("STAPROJ_SITE")
    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    path = Path(configured) if configured else home / "staproj" / "site.toml"
    if not path.is_file():
        if configured:
            raise UsageError("the site file does not exist", where=str(path), hint="correct STAPROJ_SITE")
        return []
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("stage", {})
    except (OSError, ValueError) as error:
        raise ManifestError(f"the site file cannot be read: {error}", where=str(path)) from error
    used = {step.stage for step in start.steps.values()}
    return [
        Change(("site", stage, name), value)
        for stage, table in tables.items()
        if stage in used and isinstance(table, dict)
        for name, value in table.items()
    ]


def _with_set(layout: Layout, text: str, key: str, value: Any) -> str:
    view = View.open(layout.root)
    view.__dict__["manifest"] = manifest.parse(text, str(layout.manifest))
    return manifest_edit.apply(text, intent.changes_for(view, {key: value}))


def _check(text: str, where: str) -> None:
    """Resolve every step's parameters once, so that a bad value shows now and not at the first run."""
    made = manifest.parse(text, where)
    graph = plan.build(made)
    for node in graph.nodes.values():
        params.resolve(made, node.step, node.spec)
