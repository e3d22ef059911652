"""Raw data before and after it is imported: what patterns match, what the files hold, what is wrong.

Nothing here writes, and nothing reads more than headers.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.api.raw_files import completions, files_of, matches, suggestions
from staproj.errors import StaprojError, UsageError

if TYPE_CHECKING:
    from staproj.api.raw_constants import Given
    from staproj.project.manifest import Manifest

__all__ = [
    "completions",
    "importers",
    "importers_of",
    "inspect",
    "inspect_patterns",
    "inspect_project",
    "matches",
    "sort_out",
]

ROLES = ("movies", "mdoc", "gain", "stacks", "angles")
_MOST_SHOWN = 5
_ANGLES = (".rawtlt", ".tlt")
_IMAGES = (".tif", ".tiff", ".eer", ".mrc", ".mrcs", ".st", ".ali")
_GAIN = re.compile(r"(^|[^a-z])gain(ref)?([^a-z]|$)", re.IGNORECASE)
Patterns = str | Sequence[str] | None


def inspect(
    movies: Patterns = None,
    mdoc: Patterns = None,
    gain: Patterns = None,
    stacks: Patterns = None,
    angles: Patterns = None,
    *,
    base: str | Path = ".",
    template: str | None = None,
    microscope: Mapping[str, Any] | None = None,
    step: str | None = None,
) -> dict[str, Any]:
    """Say what files hold and what an import would stumble over; patterns start at ``base``.

    ``microscope``: values that count whatever files say; ``template`` brings its own; ``step`` takes them.
    Returns ``{"ok", "files", "facts", "series", "findings", "step"}``:

    * ``files``: ``{role: {"patterns", "count", "more", "bytes", "first", "last"}}``
    * ``facts``: ``{name: {"value", "from", "where"}}``, of pixel_size_angstrom, voltage_kv, tilt_axis_deg,
      exposure_e_per_angstrom2 (a number, or one a series), binning, nominal_defocus_um, image_shape_yx,
      data_type, n_frames, gain_shape_yx those that are known
    * ``series``: ``{"item", "views", "tilt_min_deg", "tilt_max_deg", "exposure", "scheme", "missing_movies",
      "where"}``; exposure in e/Å² of one view, as it would count
    * ``findings``: ``{"level", "text", "where", "hint", "sets"}``, errors (the import would stop) first;
      ``sets`` (``{"step.param": value}``) would take what the files say

    Raises
    ------
    UsageError
        If the template does not exist.
    """
    from staproj.api.raw_headers import Findings
    from staproj.api.raw_inspection import Inspection

    place = Path(os.path.abspath(base))
    findings = Findings(place)
    roles = {"movies": movies, "mdoc": mdoc, "gain": gain, "stacks": stacks, "angles": angles}
    patterns = {role: _as_list(value) for role, value in roles.items() if _as_list(value)}
    found = {role: files_of(given, place) for role, given in patterns.items()}
    for role, one in found.items():
        for pattern, problem in one["problems"].items():
            told = [entry["pattern"] for entry in suggestions(pattern, place, 3)]
            hint = f"there is {', '.join(told)}" if told else "check the path, and that its disk is mounted"
            findings.add("error", f"{role}: {problem}", where=pattern, hint=hint)
    if "movies" in patterns and "mdoc" not in patterns:
        findings.add("error", "movies need mdoc files, one a tilt series", hint="name them as mdoc")
    given = _given(template, microscope, step, stacks="stacks" in patterns)
    look = Inspection({role: one["files"] for role, one in found.items()}, given, findings)
    look.look()
    told = findings.sorted()
    return {
        "ok": not any(one["level"] == "error" for one in told),
        "files": {role: _summary(patterns[role], one, findings.named) for role, one in found.items()},
        "facts": look.facts,
        "series": look.series,
        "findings": told,
        "step": given.step,
    }


def sort_out(
    patterns: Sequence[str], *, base: str | Path = ".", template: str | None = None, **named: Patterns
) -> dict[str, list[str]]:
    """Return which patterns are movies, mdoc files, angles, stacks and the gain reference, for ``inspect``.

    A directory stands for the files in it and one level below. ``named`` are patterns whose role is known.
    Images are stacks where the template takes stacks, or angle or mdoc files are named like them.
    """
    place = Path(base)
    roles: dict[str, list[str]] = {role: _as_list(value) for role, value in named.items()}
    images: list[str] = []
    for pattern in patterns:
        for one in _without_directories(pattern, place):
            for role, found in _by_role(one, place).items():
                (images if role == "images" else roles.setdefault(role, [])).extend(found)
    if images:
        roles.setdefault("stacks" if _are_stacks(images, roles, template, place) else "movies", []).extend(
            images
        )
    return {role: found for role, found in roles.items() if found}


def inspect_patterns(
    patterns: Sequence[str], *, base: str | Path = ".", template: str | None = None, **named: Patterns
) -> dict[str, Any]:
    """Inspect files whose roles are found out by :func:`sort_out`."""
    roles = sort_out(patterns, base=base, template=template, **named)
    movies, mdoc, gain, stacks, angles = (roles.get(role) for role in ROLES)
    return inspect(movies, mdoc, gain, stacks, angles, base=base, template=template)


def inspect_project(root: str | Path) -> dict[str, Any]:
    """Inspect what the steps of a project that read data would read now.

    Raises
    ------
    UsageError
        If it has no such step, or none whose files are known here.
    """
    for entry in importers(root):
        roles = {p["name"]: p["given"] for p in entry["params"] if p["name"] in ROLES and p["given"]}
        if roles:
            return inspect(**roles, base=root, microscope=entry["microscope"], step=entry["step"])
    raise UsageError(
        "no step of this project names raw data", hint="give patterns: staproj inspect '/data/frames/*.tif'"
    )


def importers(root: str | Path) -> list[dict[str, Any]]:
    """Return the steps of a project that read data: ``{"step", "stage", "summary", "params", "microscope"}``.

    ``params``: ``{"name", "help", "given", "count", "more", "bytes", "matches"}``: the patterns as they stand
    and what they match, together and (as from :func:`matches`) each. ``microscope``: values that are set.
    Setting others is a rerun: ``rerun STEP --set STEP.movies=...``.
    """
    from staproj.engine.view import View

    view = View.open(Path(os.path.abspath(root)))
    return importers_of(view.manifest, view.layout.root)


def importers_of(manifest: Manifest, base: Path) -> list[dict[str, Any]]:
    """Do the same for a manifest that need not lie anywhere yet."""
    from staproj.engine import params, plan

    entries = []
    for node in plan.build(manifest).nodes.values():
        if node.spec.inputs:
            continue
        values = _resolved(manifest, node)
        fields = node.spec.params.model_fields
        entries.append(
            {
                "step": node.name,
                "stage": node.spec.name,
                "summary": node.spec.summary,
                "params": [
                    _data_parameter(name, fields[name].description or "", values.get(name), base)
                    for name in params.data_parameters(node.spec)
                ],
                "microscope": _set_values(manifest, node),
            }
        )
    return entries


def _data_parameter(name: str, help_text: str, value: Any, base: Path) -> dict[str, Any]:
    given = _as_list(value)
    each = [matches(pattern, base) for pattern in given]
    return {
        "name": name,
        "help": help_text,
        "given": given,
        "count": sum(one["count"] for one in each),
        "more": any(one["more"] for one in each),
        "bytes": sum(one["bytes"] for one in each),
        "matches": each,
    }


def _given(
    template: str | None, microscope: Mapping[str, Any] | None, step: str | None, *, stacks: bool
) -> Given:
    """Return the values that count whatever the files say."""
    from staproj.api.raw_constants import Given

    values: dict[str, Any] = {}
    who, usual = "the settings", "import_stack" if stacks else "import_movies"
    if template is not None:
        from staproj.api.create import load_template

        entries = importers_of(load_template(template), Path())
        wanted = "stacks" if stacks else "movies"
        fits = [one for one in entries if wanted in [p["name"] for p in one["params"]]] or entries
        if fits:
            values, usual = dict(fits[0]["microscope"]), fits[0]["step"]
        who = f"template {template}"
    if microscope:
        values |= {name: value for name, value in microscope.items() if value is not None}
        who = who if template is None else "the settings"
    return Given(values, who, step or usual)


def _resolved(manifest: Manifest, node: Any) -> Mapping[str, Any]:
    """Return the parameters of a step; as written where one that is needed is still missing."""
    from staproj.engine import params

    try:
        return params.resolve(manifest, node.step, node.spec).values
    except StaprojError:
        return dict(node.step.params)


def _set_values(manifest: Manifest, node: Any) -> dict[str, Any]:
    """Return the facts of the microscope that somebody has set for a step."""
    from staproj.project.manifest import MICROSCOPE_KEYS

    layers = (manifest.site.get(node.spec.name, {}), manifest.microscope, node.step.params)
    known = [name for name in MICROSCOPE_KEYS if name in node.spec.params.model_fields]
    return {name: layer[name] for layer in layers for name in known if name in layer}


def _summary(patterns: list[str], found: Mapping[str, Any], named: Any) -> dict[str, Any]:
    names = [named(path) for path in found["files"]]
    return {
        "patterns": patterns,
        "count": len(names),
        "more": found["more"],
        "bytes": sum(found["files"].values()),
        "first": names[:_MOST_SHOWN],
        "last": names[-1] if names else "",
    }


def _without_directories(pattern: str, base: Path) -> list[str]:
    """Return patterns of what lies in a directory; one or two images beside many are something else."""
    if not os.path.isdir(os.path.join(base, os.path.expanduser(pattern))):  # noqa: PTH111, PTH112, PTH118
        return [pattern]
    found = suggestions(pattern, base, 50)
    most = max((one["count"] for one in found), default=0)
    if any(one["pattern"].endswith(".rawtlt") for one in found):  # .tlt are the same angles, refined
        found = [one for one in found if not one["pattern"].endswith(".tlt")]
    kept = [one["pattern"] for one in found if one["count"] > 2 or most <= 2 or not _is_image(one, base)]
    return kept or [pattern]


def _is_image(one: Mapping[str, Any], base: Path) -> bool:
    return "images" in _by_role(one["pattern"], base)


def _by_role(pattern: str, base: Path) -> dict[str, list[str]]:
    """Return the patterns by role; a pattern whose files have several roles as the files themselves."""
    files = list(files_of(pattern, base)["files"])
    roles: dict[str, list[str]] = {}
    for path in files:
        roles.setdefault(_role(path), []).append(path)
    if len(roles) <= 1:
        return {next(iter(roles), "") or "images": [pattern]}
    return {role: [glob.escape(path) for path in found] for role, found in roles.items() if role}


def _role(path: str) -> str:
    stem, suffix = os.path.splitext(os.path.basename(path))  # noqa: PTH119, PTH122
    if suffix.lower() == ".mdoc":
        return "mdoc"
    if suffix.lower() in _ANGLES:
        return "angles"
    if _GAIN.search(stem):
        return "gain"
    return "images" if suffix.lower() in _IMAGES else ""


def _are_stacks(images: list[str], roles: Mapping[str, list[str]], template: str | None, base: Path) -> bool:
    if template is not None:
        from staproj.api.templates import template as described

        takes = described(template)["takes"]
        return "stacks" in takes and "movies" not in takes
    from staproj.api.raw_inspection import series_names

    names = series_names(files_of(images, base)["files"])
    others = series_names(files_of([*roles.get("mdoc", []), *roles.get("angles", [])], base)["files"])
    return bool(names & others)


def _as_list(value: Iterable[str] | str | None) -> list[str]:
    return [value] if isinstance(value, str) and value.strip() else [str(one) for one in value or () if one]
