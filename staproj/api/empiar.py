"""A deposition for EMPIAR (raw images): facts from the record, names of people from a file of their own.

What is on record (image sets with sizes, formats and pixel sizes) is filled in; what is not (title, people,
citation) is read from a small TOML file, and its absence is an error that lists all that is lacking. Nothing
is made up. The result is checked against EMPIAR's own schema.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staproj.api import json_schema
from staproj.errors import FormatError, StaprojError, UsageError
from staproj.project import atomic

if TYPE_CHECKING:
    from staproj.api.project import Project

_SCHEMA = "empiar_deposition"
_FORMATS = {
    ".mrc": "T1", ".st": "T1", ".ali": "T1", ".map": "T1", ".rec": "T1", ".mrcs": "T2", ".tif": "T3",
    ".tiff": "T3", ".eer": "T9",
}  # fmt: skip
_VOXELS = {
    "uint8": "T1", "int8": "T2", "uint16": "T3", "int16": "T4", "uint32": "T5", "int32": "T6",
    "float32": "T7",
}  # fmt: skip
_MOVIES, _SERIES, _VOLUMES = "T2", "T9", "T13"
_WORDS = {_MOVIES: "movies", _SERIES: "tilt series", _VOLUMES: "tomograms"}
_FORMAT_WORDS = {"T1": "MRC", "T2": "MRCS", "T3": "TIFF", "T9": "EER"}
_OWN = ("title", "release_date", "experiment_type", "scale", "cross_references", "workflows")
_REFERENCES = ("biostudies_references", "idr_references", "empiar_references")
_LIMIT_BYTES = 1 << 20

TEMPLATE = """# What EMPIAR asks and the project does not know. Fill in what is empty.
title = ""                     # 10 to 255 characters
release_date = ""              # RE directly, EP with the EMDB entry, HP with the publication, HO after a year
experiment_type = 3            # 3: raw images of structures in EMDB; 2: simulated data (ask first)
# scale = "3"                  # 1 molecule, 2 virus, 3 cell, 4 tissue, 5 organism
# emdb = ["EMD-1234"]          # entries in EMDB

[[authors]]                    # one block each, in order
surname = ""
initials = ""                  # capital letters: YW
# orcid = "0000-0000-0000-0000"

[corresponding_author]
first_name = ""
last_name = ""
organization = ""
email = ""
country = ""                   # two letters, ISO 3166-1: DE
# orcid, middle_name, street, town_or_city, state_or_province, post_or_zip, telephone, fax

[[principal_investigator]]     # the same words as above
first_name = ""
last_name = ""
organization = ""
email = ""
country = ""

[[citation]]                   # its authors are those above, unless [[citation.authors]] names others
title = ""
preprint = false
journal_publication = true     # false: a book or a thesis
# journal = "", year = 2026, doi = "10.1234/abc", volume = "", first_page = "", last_page = ""

# [imageset."movies TIFF"]     # only where the record does not say it, or EMPIAR should show other words
# name = "", details = "", voxel_type = "('T3', '')"
"""


@dataclass
class _ImageSet:
    """Files that are alike."""

    category: str
    suffix_type: str
    voxel_type: str | None
    shape_yx: tuple[int, int]
    frames: int
    pixel_angstrom: float
    files: list[Path] = field(default_factory=list)
    details: set[str] = field(default_factory=set)


def template(out: str | Path) -> dict[str, Any]:
    """Write the file that people fill in.

    Raises
    ------
    UsageError
        If there is such a file already.
    """
    path = Path(out)
    if path.exists():
        raise UsageError("there is such a file already", where=str(path), hint="choose another name")
    atomic.write_text(path, TEMPLATE)
    return {"file": str(path)}


def export_empiar(project: Project, out: str | Path, meta: str | Path) -> dict[str, Any]:
    """Write the deposition, a list of which file goes where, and the workflow as an RO-Crate.

    Raises
    ------
    UsageError
        If something EMPIAR asks for is not known (all of it is listed), or a file is there already.
    """
    path = Path(out)
    if path.suffix != ".json":
        raise UsageError("a deposition is a JSON file", where=str(path), hint="name it like empiar.json")
    listing, workflow = path.with_suffix(".files.tsv"), path.with_suffix(".workflow.json")
    for file in (path, listing, workflow):
        if file.exists():
            raise UsageError("there is such a file already", where=str(file), hint="choose another name")
    told = _read_meta(Path(meta))
    sets, notes = image_sets(project)
    content = deposition(told, sets, workflow.name)
    rows = []
    for entry, (_, files) in zip(content["imagesets"], sets, strict=True):
        rows += [
            f"{file}\t{entry['directory']}/{name}" for file, name in zip(files, _names(files), strict=True)
        ]
    made = project.provenance.crate(workflow, ())
    atomic.write_json(path, content)
    atomic.write_text(listing, "\n".join(rows) + "\n")
    return {
        "file": str(path),
        "files": [str(path), str(listing), str(workflow)],
        "imagesets": [{"name": entry["name"], "files": len(files)} for entry, files in sets],
        "n_files": len(rows),
        "runs": made["runs"],
        "notes": notes,
    }


def deposition(
    told: Mapping[str, Any], sets: Iterable[tuple[dict[str, Any], list[Path]]], workflow: str
) -> dict[str, Any]:
    """Put a deposition together from what people told and what is on record, and check it.

    Raises
    ------
    UsageError
        If something is lacking or not of the form EMPIAR wants; all of it is listed.
    """
    wanted: list[tuple[str, str]] = []
    overrides = told.get("imageset", {})
    entries = []
    for entry, _ in sets:
        own = overrides.get(entry["name"], {}) if isinstance(overrides, Mapping) else {}
        entries.append({**entry, **own})
    content: dict[str, Any] = {name: told[name] for name in (*_OWN, *_REFERENCES) if _given(told.get(name))}
    if told.get("emdb"):
        content["cross_references"] = [{"name": name} for name in told["emdb"]]
    content["authors"] = _authors(told.get("authors"), "authors", wanted)
    content["corresponding_author"] = _person(
        told.get("corresponding_author"), "corresponding_author", wanted
    )
    people = told.get("principal_investigator") or []
    content["principal_investigator"] = [
        _person(person, f"principal_investigator[{i}]", wanted) for i, person in enumerate(_list(people))
    ]
    content["workflow_file"] = {"path": f"data/{workflow}"}
    content["imagesets"] = [{k: v for k, v in e.items() if v is not None} for e in entries]
    content["citation"] = [
        _citation(entry, i, content["authors"], wanted) for i, entry in enumerate(_list(told.get("citation")))
    ]
    wanted += json_schema.problems(content, json_schema.load(_SCHEMA))
    if wanted:
        lines = dict.fromkeys(f"{place}: {problem}" for place, problem in wanted)
        raise UsageError(
            f"the deposition lacks {len(lines)} things",
            where="\n         ".join(lines),
            hint="fill them into the TOML file (`staproj export empiar-template FILE` writes an empty one)",
        )
    return content


def image_sets(project: Project) -> tuple[list[tuple[dict[str, Any], list[Path]]], list[str]]:
    """Return the image sets that the heads of the project have on record, with their files, and remarks."""
    from staproj.engine.inputs import load_port
    from staproj.engine.view import View

    view = View.open(project.root)
    groups: dict[tuple[Any, ...], _ImageSet] = {}
    notes: list[str] = []
    for run in dict.fromkeys(view.heads.values()):
        try:
            artifacts = view.outputs(run)["artifacts"]
            from_views = any(use["kind"] == "tilt_series" for use in view.spec(run)["inputs"].values())
        except StaprojError:
            continue
        for port, entry in artifacts.items():
            wanted = entry["kind"] in ("movies", "tomograms") or (
                entry["kind"] == "tilt_series" and not from_views
            )
            if not wanted:
                continue
            try:
                objects = load_port(view, run, port)
            except (StaprojError, OSError) as error:
                notes.append(f"{run}.{port} cannot be described: {error}")
                continue
            for one in objects.values() if isinstance(objects, dict) else [objects]:
                _collect(entry["kind"], one, groups)
    return _described(groups.values()), notes


def _collect(kind: str, one: Any, groups: dict[tuple[Any, ...], _ImageSet]) -> None:
    """Sort the files of one artifact into image sets of equal files."""
    if kind == "movies":
        for path, frames in zip(one.movie_paths, one.n_frames, strict=True):
            _add(groups, _MOVIES, path, one.image_shape_yx, int(frames), one.pixel_size_angstrom)
        return
    if kind == "tilt_series":
        _add(groups, _SERIES, one.stack_path, one.image_shape_yx, one.n_views, one.pixel_size_angstrom)
        return
    for path, voxel, binning in zip(one.paths, one.voxel_size_angstrom, one.binning, strict=True):
        found = _add(groups, _VOLUMES, path, (0, 0), 0, voxel)
        found.details.add(f"binning {binning}, CTF correction: {one.ctf_correction}")


def _add(
    groups: dict[tuple[Any, ...], _ImageSet],
    category: str,
    path: Path,
    shape_yx: tuple[int, int],
    frames: int,
    pixel_angstrom: float,
) -> _ImageSet:
    suffix = _FORMATS.get(path.suffix.lower(), "")
    voxel, frames, shape = _from_header(path, frames, shape_yx)
    alike = (shape, frames) if category == _MOVIES else None
    key = (category, suffix or path.suffix, voxel, round(pixel_angstrom, 4), alike)
    found = groups.setdefault(key, _ImageSet(category, suffix, voxel, shape, frames, pixel_angstrom))
    if found.frames != frames or found.shape_yx != shape:
        found.details.add("sizes differ from file to file; the largest are given")
        found.frames = max(found.frames, frames)
        found.shape_yx = (max(found.shape_yx[0], shape[0]), max(found.shape_yx[1], shape[1]))
    found.files.append(path)
    return found


def _from_header(
    path: Path, frames: int, shape_yx: tuple[int, int]
) -> tuple[str | None, int, tuple[int, int]]:
    """Return the type of values (``None``: the file is out of reach), number of frames, and size."""
    from staproj.formats.movie import Movie

    try:
        movie = Movie(path)
    except (StaprojError, OSError):
        return None, frames, shape_yx
    try:
        return _VOXELS.get(movie.dtype.newbyteorder("=").name), movie.n_frames, movie.shape_yx
    finally:
        movie.close()


def _described(groups: Iterable[_ImageSet]) -> list[tuple[dict[str, Any], list[Path]]]:
    """Return the image sets in EMPIAR's words."""
    found: list[tuple[dict[str, Any], list[Path]]] = []
    names: set[str] = set()
    for one in sorted(
        groups, key=lambda g: (list(_WORDS).index(g.category), g.suffix_type, g.pixel_angstrom)
    ):
        base = f"{_WORDS[one.category]} {_FORMAT_WORDS.get(one.suffix_type, 'other')}"
        name = base if base not in names else f"{base} {sum(n.startswith(base) for n in names) + 1}"
        names.add(name)
        form = f"('{one.suffix_type}', '')" if one.suffix_type else None
        height, width = one.shape_yx
        entry = {
            "name": name,
            "directory": "data/" + name.replace(" ", "_"),
            "category": f"('{one.category}', '')",
            "header_format": form,
            "data_format": form,
            "num_images_or_tilt_series": len(one.files),
            "frames_per_image": one.frames,
            "frame_range_min": 1 if one.frames else None,
            "frame_range_max": one.frames or None,
            "voxel_type": f"('{one.voxel_type}', '')" if one.voxel_type else None,
            "pixel_width": one.pixel_angstrom,
            "pixel_height": one.pixel_angstrom,
            "details": "; ".join(sorted(one.details)) or None,
            "image_width": width or None,
            "image_height": height or None,
        }
        found.append((entry, one.files))
    return found


def _names(files: list[Path]) -> list[str]:
    """Return a name for each file, with as much of its directory as makes them differ."""
    for depth in range(1, max(len(file.parts) for file in files) + 1):
        names = ["/".join(file.parts[-depth:]) for file in files]
        if len(set(names)) == len(files):
            break
    return [name.lstrip("/") for name in names]


def _authors(told: Any, where: str, wanted: list[tuple[str, str]]) -> list[dict[str, Any]]:
    authors = []
    for number, one in enumerate(_list(told)):
        place = f"{where}[{number}]"
        surname, initials = str(one.get("surname", "")).strip(), str(one.get("initials", "")).strip()
        wanted += [(f"{place}.{n}", "is missing") for n in ("surname", "initials") if not one.get(n)]
        if len(surname) > 60 or len(initials) > 20 or (initials and not initials.isupper()):
            wanted.append((place, "surname to 60 characters, initials to 20 capital letters"))
        if surname and initials:
            name = f"('{surname}', '{initials}')"
            orcid = _orcid(one.get("orcid"), place, wanted)
            authors.append({"name": name, "order_id": number, "author_orcid": orcid})
    return authors


def _person(told: Any, where: str, wanted: list[tuple[str, str]]) -> dict[str, Any]:
    person = {key: value for key, value in (told or {}).items() if _given(value) and key != "orcid"}
    person["author_orcid"] = _orcid((told or {}).get("orcid"), where, wanted)
    return person


def _citation(
    told: Mapping[str, Any], number: int, authors: list[dict[str, Any]], wanted: list[tuple[str, str]]
) -> dict[str, Any]:
    renamed = {"preprint": "published", "journal_publication": "j_or_nj_citation"}
    entry = {renamed.get(k, k): v for k, v in told.items() if _given(v) and k != "authors"}
    own = (
        _authors(told.get("authors"), f"citation[{number}].authors", wanted) if told.get("authors") else None
    )
    return {**entry, "authors": own or authors, "editors": entry.get("editors", [])}


def _orcid(value: Any, where: str, wanted: list[tuple[str, str]]) -> str | None:
    """Return an ORCID whose last digit is right (ISO 7064 MOD 11-2), or note the one that is not."""
    if not _given(value):
        return None
    digits = str(value).replace("-", "")
    total = 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2 if digit.isdigit() else -1_000_000
    check = (12 - total % 11) % 11
    if len(digits) != 16 or total < 0 or digits[-1] != ("X" if check == 10 else str(check)):
        wanted.append((f"{where}.orcid", f"is no ORCID: {value!r}"))
    return str(value)


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise FormatError("this file is too large to be written by hand", where=str(path))
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            "there is no such file",
            where=str(path),
            hint="`staproj export empiar-template FILE` writes one to fill in",
        ) from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not TOML: {error}", where=str(path)) from error


def _given(value: Any) -> bool:
    return value not in (None, "", [])


def _list(value: Any) -> list[Any]:
    found = value if isinstance(value, list) else [value] if value else []
    return [entry for entry in found if isinstance(entry, Mapping)]
