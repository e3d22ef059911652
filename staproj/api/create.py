"""Make a project from a template."""

from __future__ import annotations

import os
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from staproj.engine import intent, params, plan
from staproj.engine.view import View
from staproj.errors import ManifestError, ProjectError, UsageError
from staproj.project import atomic, manifest, manifest_edit, probe, readme, schema, versions
from staproj.project.layout import Layout, templates_dir
from staproj.project.lock import project_lock
from staproj.project.manifest import Change, Manifest, suggestion


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
    layout = Layout(Path(os.path.abspath(root)))
    if layout.manifest.exists():
        raise ProjectError(
            "there is a project already", where=str(layout.manifest), hint="choose another directory"
        )
    _check_place(layout.root)
    text = _read_template(template)
    start = manifest.parse(text, f"template {template}")
    if start.schema > manifest.SCHEMA:
        raise ProjectError(
            f"this template has schema {start.schema}, this staproj knows up to {manifest.SCHEMA}",
            where=f"template {template}",
            hint="use the newer staproj that it was made for",
        )
    text = schema.with_schema(text, manifest.SCHEMA)  # templates of older schemas are as good
    plan.build(start)
    changes = [
        Change(("project", "name"), name or layout.root.name),
        Change(("project", "uuid"), str(uuid.uuid4())),
        Change(("project", "template"), Path(template).stem),
        Change(("template",), None),
        *_site_changes(start),
    ]
    data = {"movies": movies, "mdoc": mdoc, "gain": gain}
    changes += _data_changes(layout, start, {key: value for key, value in data.items() if value is not None})
    text = manifest_edit.apply(text, changes).lstrip("\n")
    if sets:
        text = _with_sets(layout, text, sets)
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


def _check_place(root: Path) -> None:
    """Refuse a place where no project can be made, before anything is written."""
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


def _data_changes(layout: Layout, start: Manifest, data: Mapping[str, Any]) -> list[Change]:
    """Put raw data into the step that imports it: the one whose parameters have these names."""
    changes: list[Change] = []
    graph = plan.build(start)
    importers = [node for node in graph.nodes.values() if not node.spec.inputs]
    for key, value in data.items():
        for node in importers:
            names = params.data_parameters(node.spec)
            target = "stacks" if key == "movies" and "movies" not in names and "stacks" in names else key
            if target in names:
                stored = [_stored(layout, v) for v in ([value] if isinstance(value, str) else value)]
                plain: Any = stored if not isinstance(value, str) else stored[0]
                fits = params.parse_value(node.spec, target, plain, step=node.name)
                changes.append(Change(("step", node.name, "params", target), fits))
                break
        else:
            raise UsageError(f"no step of this template takes {key}", hint="use --set STEP.PARAM=VALUE")
    return changes


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


def _with_sets(layout: Layout, text: str, sets: Mapping[str, Any]) -> str:
    view = View.open(layout.root)
    view.__dict__["manifest"] = manifest.parse(text, str(layout.manifest))
    return manifest_edit.apply(text, intent.changes_for(view, sets))


def _check(text: str, where: str) -> None:
    """Resolve every step's parameters once, so that a bad value shows now and not at the first run."""
    made = manifest.parse(text, where)
    graph = plan.build(made)
    for node in graph.nodes.values():
        params.resolve(made, node.step, node.spec)
